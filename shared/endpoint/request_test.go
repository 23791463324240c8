package endpoint

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

var (
	current = signature.Credentials{
		Token:  "whtok_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		Secret: "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
	}
	previous = signature.Credentials{
		Token:  "whtok_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
		Secret: "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
	}
)

// event is what these tests deliver.
func event() webhook.Event {
	at := webhook.At(time.Date(1999, 12, 31, 20, 0, 0, 0, time.UTC))
	return webhook.Event{
		Version: 1, ID: webhook.NewEventID(at.Time, "event1"), DocumentID: "doc_1",
		Status: webhook.Processed, PreviousStatus: webhook.Processing, OccurredAt: at,
	}
}

// requestTo is the attempt that these tests make.
func requestTo(url string) Request {
	e := event()
	body, err := e.Render("01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		panic(err)
	}
	return Request{URL: url, EventID: e.ID, Key: "dlv_1", Body: body, Attempt: 2, Current: current}
}

func TestRequestIsSentExactlyAsPromised(t *testing.T) {
	for name, previousOne := range map[string]bool{"request.txt": false, "request_overlap.txt": true} {
		t.Run(name, func(t *testing.T) {
			got := make(chan []byte, 1)
			address := serveRaw(t, nil, func(p *peer) {
				got <- p.next()
				p.write(ok)
			})
			client, _ := newClient(address)
			r := requestTo("http://" + host + "/hook?tenant=7")
			if previousOne {
				r.Previous = &previous
			}
			if result := client.Post(t.Context(), r); !result.Success() {
				t.Fatalf("failed: %+v", result)
			}
			raw := <-got
			golden(t, name, raw)
			if !bytes.HasSuffix(raw, append([]byte("\r\n\r\n"), r.Body...)) {
				t.Error("the body is not byte for byte what was rendered")
			}
		})
	}
}

func TestBodyAndIDStayTheSameOverAttempts(t *testing.T) {
	var bodies [][]byte
	var attempts, ids []string
	address := serveRaw(t, nil, func(p *peer) {
		for raw := p.next(); raw != nil; raw = p.next() {
			head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
			bodies = append(bodies, body)
			for line := range strings.SplitSeq(string(head), "\r\n") {
				if value, found := strings.CutPrefix(line, "X-Webhook-Attempt: "); found {
					attempts = append(attempts, value)
				}
				if value, found := strings.CutPrefix(line, "Idempotency-Key: "); found {
					ids = append(ids, value)
				}
			}
			p.write(rawAnswer(500, "", ""))
		}
	})
	client, _ := newClient(address)
	for n := 1; n <= 5; n++ {
		r := requestTo("http://" + host)
		r.Attempt = n
		client.Post(t.Context(), r)
	}
	client.Rested() // ends the connection and with it the server's work
	if diff := cmp.Diff([]string{"1", "2", "3", "4", "5"}, attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	for n := range bodies {
		if !bytes.Equal(bodies[n], bodies[0]) || ids[n] != "dlv_1" {
			t.Errorf("attempt %d differs in body or id", n+1)
		}
	}
}

func TestDestinationIsRefused(t *testing.T) {
	cases := []struct {
		name, url string
		https     bool // only
		want      string
	}{
		{name: "http in production", url: "http://" + host, https: true, want: CodeBlockedScheme},
		{name: "HTTP in capitals in production", url: "HTTP://" + host, https: true, want: CodeBlockedScheme},
		{name: "ftp", url: "ftp://" + host, want: CodeBlockedScheme},
		{name: "file", url: "file:///etc/passwd", want: CodeInvalidDestination},
		{name: "a path alone", url: "/hook", want: CodeInvalidDestination},
		{name: "no host", url: "https://", want: CodeInvalidDestination},
		{name: "a port alone", url: "https://:443/", want: CodeInvalidDestination},
		{name: "what is no URL", url: "https://%zz/", want: CodeInvalidDestination},
		{name: "a host with a space", url: "https://a b/", want: CodeInvalidDestination},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client, dialer := newClient("127.0.0.1:1", func(o *ClientOptions) { o.AllowHTTP = !c.https })
			got := client.Post(t.Context(), requestTo(c.url))
			if got.Code != c.want || dialer.dials.Load() != 0 {
				t.Errorf("code %q after %d connections, want %q after none", got.Code, dialer.dials.Load(), c.want)
			}
			if strings.Contains(got.Error, c.url) {
				t.Errorf("the error %q quotes the URL", got.Error)
			}
		})
	}
}

func TestBrokenCredentialsSendNothing(t *testing.T) {
	client, dialer := newClient("127.0.0.1:1")
	r := requestTo("https://" + host)
	r.Current.Secret = "whsec_not base64"
	got := client.Post(t.Context(), r)
	if got.Success() || dialer.dials.Load() != 0 || strings.Contains(got.Error, "not base64") {
		t.Errorf("result %+v after %d connections", got, dialer.dials.Load())
	}
}

func TestProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	address := serveRaw(t, nil, func(p *peer) { p.next(); p.write(ok) })
	client, dialer := newClient(address)
	if got := client.Post(t.Context(), requestTo("http://"+host+":8080/hook")); !got.Success() {
		t.Errorf("failed: %+v", got)
	}
	if diff := cmp.Diff([]string{host + ":8080"}, dialer.asked); diff != "" {
		t.Errorf("dialed (-want +got):\n%s", diff)
	}
	if client.transport.Proxy != nil {
		t.Error("the transport asks for a proxy")
	}
}
