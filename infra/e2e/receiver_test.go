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
	if under.tunnel != nil {
		r.url = under.tunnel.open(t, r)
		return r
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// tunnel is the one public URL through which a deployed stack reaches all receivers, each at a path
// of its own.
type tunnel struct {
	url       string
	mu        sync.Mutex
	receivers map[string]*receiver // by path
}

// newTunnel listens on the address that the URL leads to.
func newTunnel(url, address string) (*tunnel, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	tunnel := &tunnel{url: strings.TrimSuffix(url, "/"), receivers: map[string]*receiver{}}
	go http.Serve(listener, tunnel) // ends with the process
	return tunnel, nil
}

// open returns the URL of a receiver, until the test ends.
func (u *tunnel) open(t *testing.T, r *receiver) string {
	path := "/" + uuid.NewString()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.receivers[path] = r
	t.Cleanup(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.receivers, path)
	})
	return u.url + path
}

func (u *tunnel) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	u.mu.Lock()
	r := u.receivers[request.URL.Path]
	u.mu.Unlock()
	if r == nil {
		http.NotFound(w, request) // what a test has left over
		return
	}
	r.ServeHTTP(w, request)
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

// hold makes the endpoint keep its answers to itself until release is called or the test ends. It answers with a status.
func (r *receiver) hold(t *testing.T, code int) (release func()) {
	t.Helper()
	released := make(chan struct{})
	r.answer(func(w http.ResponseWriter, request *http.Request) {
		select {
		case <-released:
			w.WriteHeader(code)
		case <-request.Context().Done():
		}
	})
	release = sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	return release
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
	case <-time.After(under.patience):
		t.Fatalf("waited %s in vain for a webhook", under.patience)
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
