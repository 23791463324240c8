package e2e

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/docuhook/docuhook/infra/contract"
	"github.com/docuhook/docuhook/shared/signature"
)

// received is one request that an endpoint got.
type received struct {
	header http.Header
	body   []byte
	at     time.Time
}

// receiver is an organization's endpoint.
type receiver struct {
	url     string
	arrived chan received

	mu      sync.Mutex
	respond http.HandlerFunc
}

// newReceiver starts an endpoint that answers 204 until told otherwise.
func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{arrived: make(chan received, 1000)}
	r.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := httptest.NewUnstartedServer(r)
	if under.receiverURL != "" {
		listener, err := net.Listen("tcp", under.receiverListener)
		if err != nil {
			t.Fatal(err)
		}
		server.Listener = listener
	}
	server.Start()
	t.Cleanup(server.Close)
	r.url = server.URL + "/" + uuid.NewString()
	if under.receiverURL != "" {
		r.url = strings.Replace(r.url, server.URL, under.receiverURL, 1)
	}
	return r
}

// answer sets what the endpoint does from now on.
func (r *receiver) answer(respond http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.respond = respond
}

// status makes the endpoint answer with a status from now on.
func (r *receiver) status(code int) {
	r.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the sender was killed
	}
	r.mu.Lock()
	respond := r.respond
	r.mu.Unlock()
	r.arrived <- received{request.Header.Clone(), body, time.Now()}
	respond(w, request)
}

// next returns the next request.
func (r *receiver) next(t *testing.T) received {
	t.Helper()
	select {
	case got := <-r.arrived:
		return got
	case <-time.After(patience):
		t.Fatalf("waited %s in vain for a webhook", patience)
		return received{}
	}
}

// verified returns the next request, which must carry both signatures.
func (r *receiver) verified(t *testing.T, credentials signature.Credentials) received {
	t.Helper()
	got := r.next(t)
	contract.CheckWebhook(t, &http.Request{Method: http.MethodPost, URL: &url.URL{}, Header: got.header}, got.body)
	if err := signature.Verify(got.header, got.body, credentials); err != nil {
		t.Fatalf("the webhook does not verify: %v", err)
	}
	return got
}

// none fails if a request has arrived that nobody has asked for.
func (r *receiver) none(t *testing.T) {
	t.Helper()
	select {
	case got := <-r.arrived:
		t.Fatalf("a webhook too many: %s", got.body)
	default:
	}
}
