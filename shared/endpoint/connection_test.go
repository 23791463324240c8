package endpoint

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTLS(t *testing.T) {
	trusted := newAuthority(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	serve := func(c tls.Certificate, change ...func(*tls.Config)) string {
		config := &tls.Config{Certificates: []tls.Certificate{c}}
		for _, f := range change {
			f(config)
		}
		return serveRaw(t, config, speak(ok))
	}
	cases := []struct {
		name    string
		scheme  string
		address string
		code    string
		text    string // part of the error
	}{
		{name: "a trusted certificate is accepted", address: serve(trusted.issue(t, host, tomorrow))},
		{
			name:    "an expired certificate is refused",
			address: serve(trusted.issue(t, host, time.Now().Add(-time.Hour))),
			code:    CodeTLSFailure,
			text:    "certificate has expired",
		},
		{
			name:    "a certificate for another host is refused",
			address: serve(trusted.issue(t, "other.example", tomorrow)),
			code:    CodeTLSFailure,
			text:    "valid for other.example, not " + host,
		},
		{
			name:    "a self-signed certificate is refused",
			address: serve((*authority)(nil).issue(t, host, tomorrow)),
			code:    CodeTLSFailure,
			text:    "unknown authority",
		},
		{
			name:    "a certificate of an unknown authority is refused",
			address: serve(newAuthority(t).issue(t, host, tomorrow)),
			code:    CodeTLSFailure,
			text:    "unknown authority",
		},
		{
			name: "a server that knows only TLS 1.1 is refused",
			address: serve(trusted.issue(t, host, tomorrow), func(c *tls.Config) {
				c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			}),
			code: CodeTLSFailure, text: "protocol version",
		},
		{
			name: "a server that insists on a client certificate is refused",
			address: serve(trusted.issue(t, host, tomorrow), func(c *tls.Config) {
				c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
			}),
			code: CodeTLSFailure, text: "tls: ",
		},
		{
			name:    "a server that answers in plain HTTP is refused",
			address: serveRaw(t, nil, func(p *peer) { p.write("HTTP/1.1 400 Bad Request\r\n\r\n"); p.hang() }),
			code:    CodeTLSFailure, text: "first record does not look like a TLS handshake",
		},
		{
			name: "a server that is called in plain HTTP where it wants TLS has its say", scheme: "http",
			address: serve(trusted.issue(t, host, tomorrow)),
			code:    CodeConnectionReset,
		},
		{name: "a server that hangs in the handshake times out", address: serveRaw(t, nil, (*peer).hang), code: CodeTimeout},
		{
			name:    "a server that ends the connection in the handshake is cut off",
			address: serveRaw(t, nil, func(p *peer) { io.ReadFull(p, make([]byte, 5)) }),
			code:    CodeConnectionReset,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, _ := newClient(c.address, func(o *ClientOptions) {
				o.RootCAs = trusted.pool
				if c.code == CodeTimeout {
					o.Timeout = 300 * time.Millisecond
				}
			})
			scheme := "https"
			if c.scheme != "" {
				scheme = c.scheme
			}
			got := client.Post(t.Context(), requestTo(scheme+"://"+host+"/hook"))
			if got.Code != c.code || !strings.Contains(got.Error, c.text) {
				t.Errorf("code %q, error %q; want %q, %q", got.Code, got.Error, c.code, c.text)
			}
		})
	}
}

func TestConnectionThatCannotBeMade(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	listener.Close()
	failing := func(err error) func(*ClientOptions) {
		return func(o *ClientOptions) {
			o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, err }
		}
	}
	cases := []struct {
		name   string
		change func(*ClientOptions)
		want   Result
	}{
		{
			name:   "is refused",
			change: func(*ClientOptions) {},
			want:   Result{Code: CodeConnectionRefused, Error: "the endpoint refused the connection"},
		},
		{
			name: "is without a route", change: failing(&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no route to host")}),
			want: Result{Code: CodeConnectionFailed, Error: "connecting to the endpoint failed"},
		},
		{
			name: "never comes about",
			change: func(o *ClientOptions) {
				o.Timeout = 50 * time.Millisecond
				o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
			},
			want: Result{Code: CodeTimeout, Error: "no answer in time"},
		},
		{
			name: "has a name that does not exist",
			change: failing(&net.OpError{
				Op: "dial", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true},
			}),
			want: Result{Code: CodeDNSFailure, Error: "the endpoint's host could not be found"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client, _ := newClient(nobody, c.change)
			got := client.Post(t.Context(), requestTo("http://"+host))
			got.StartedAt = time.Time{}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestStaleConnectionCostsNoAttempt: a server may hang up on an idle connection at any moment, also
// at the one when the next request is on its way.
func TestStaleConnectionCostsNoAttempt(t *testing.T) {
	cases := map[string]func(p *peer){
		"when the server hangs up after its answer":       func(p *peer) { p.next(); p.write(ok) },
		"when the server resets after its answer":         func(p *peer) { p.next(); p.write(ok); p.reset() },
		"when the server hangs up after the next request": func(p *peer) { p.next(); p.write(ok); p.next() },
		"when the server resets after the next request":   func(p *peer) { p.next(); p.write(ok); p.next(); p.reset() },
		"when the server says that it will close": func(p *peer) {
			p.next()
			p.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		},
		"when the server goes on answering, reusing it": speak(ok),
		"when the server has sent what nobody has asked": func(p *peer) {
			p.next()
			p.write(ok + "HTTP/1.1 408 Request Timeout\r\n\r\n")
			p.hang()
		},
		"when the server says that nobody has asked for long": func(p *peer) {
			p.next()
			p.write(ok)
			p.next()
			p.write("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		},
		"when the server's answer was longer than is read": func(p *peer) {
			p.next()
			p.write(rawAnswer(200, "", strings.Repeat("x", 100<<10)))
			p.hang()
		},
	}
	for name, first := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var last []byte
			address := serveRaw(t, nil, func(p *peer) {
				if p.number == 1 {
					first(p)
					return
				}
				for raw := p.next(); raw != nil; raw = p.next() {
					mu.Lock()
					last = raw
					mu.Unlock()
					p.write(ok)
				}
			})
			client, dialer := newClient(address)
			for n := range 3 {
				r := requestTo("http://" + host)
				if got := client.Post(t.Context(), r); !got.Success() {
					t.Fatalf("attempt %d failed: %+v", n+1, got)
				}
				mu.Lock()
				if last != nil && !bytes.HasSuffix(last, r.Body) {
					t.Errorf("attempt %d arrived as %q", n+1, last)
				}
				mu.Unlock()
			}
			if n := dialer.dials.Load(); n > 2 {
				t.Errorf("%d connections for three attempts", n)
			}
		})
	}
}

// TestEndpointThatDiesAtItsWorkGetsOneReplay drops the connection on every POST while ten
// connections are kept alive. net/http would replay the request on each of them.
func TestEndpointThatDiesAtItsWorkGetsOneReplay(t *testing.T) {
	const connections = 10
	var dying atomic.Bool
	var posts atomic.Int32
	var together sync.WaitGroup
	together.Add(connections)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if dying.Load() {
			posts.Add(1)
			panic(http.ErrAbortHandler)
		}
		together.Done()
		together.Wait() // so that each request has a connection of its own
	}))
	defer server.Close()
	client := NewClient(ClientOptions{Guard: NewGuard(true), AllowHTTP: true, Now: time.Now})
	var wait sync.WaitGroup
	for range connections {
		wait.Go(func() { client.Post(t.Context(), requestTo(server.URL)) })
	}
	wait.Wait()
	dying.Store(true)
	if result := client.Post(t.Context(), requestTo(server.URL)); result.Success() {
		t.Errorf("the attempt succeeded: %+v", result)
	}
	if n := posts.Load(); n > 3 {
		t.Errorf("one attempt made %d POSTs", n)
	}
}

// TestRequestTimeoutIsAFailure where it is the answer to the request: on a connection of its own, on one
// that stays open, and the second time.
func TestRequestTimeoutIsAFailure(t *testing.T) {
	for name, test := range map[string]struct {
		header   string
		requests []int64 // after each attempt
	}{
		"when the connection stays open": {header: "Content-Length: 0\r\n", requests: []int64{2, 3}},
		"when it is closed":              {header: "Content-Length: 0\r\nConnection: close\r\n", requests: []int64{3, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			address := serveRaw(t, nil, func(p *peer) {
				for p.next() != nil {
					if requests.Add(1) == 1 {
						p.write(ok)
						continue
					}
					p.write("HTTP/1.1 408 Request Timeout\r\n" + test.header + "\r\n")
					if strings.Contains(test.header, "close") {
						return
					}
				}
			})
			client, _ := newClient(address)
			if got := client.Post(t.Context(), requestTo("http://"+host)); !got.Success() {
				t.Fatalf("%+v", got)
			}
			for n, want := range test.requests {
				if got := client.Post(t.Context(), requestTo("http://"+host)); got.Code != CodeHTTPStatus || got.Status != 408 {
					t.Errorf("attempt %d: %+v", n+1, got)
				}
				if got := requests.Load(); got != want {
					t.Errorf("%d requests after attempt %d, want %d", got, n+1, want)
				}
			}
		})
	}
}

// TestRequestTimeoutOverHTTP2IsAFailure at once: an answer over HTTP/2 names its request, so nothing is sent again.
func TestRequestTimeoutOverHTTP2IsAFailure(t *testing.T) {
	var requests atomic.Int64
	client, dialer := serveHTTP2(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusRequestTimeout)
	})
	for want := range int64(3) {
		if got := client.Post(t.Context(), requestTo("https://"+host)); got.Status != 408 || requests.Load() != want+1 {
			t.Errorf("%+v after %d requests, want %d", got, requests.Load(), want+1)
		}
	}
	if n := dialer.dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestHTTP2IsUsedWhereOffered(t *testing.T) {
	client, dialer := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Proto != "HTTP/2.0" || !bytes.Equal(body, requestTo("").Body) || r.ContentLength != int64(len(body)) {
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, r.Proto, r.ContentLength, string(body), err)
		}
	})
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			if got := client.Post(t.Context(), requestTo("https://"+host)); !got.Success() {
				t.Errorf("failed: %+v", got)
			}
		})
	}
	wait.Wait()
	before := dialer.dials.Load()
	if got := client.Post(t.Context(), requestTo("https://"+host)); !got.Success() || dialer.dials.Load() != before {
		t.Errorf("%+v, %d connections after %d", got, dialer.dials.Load(), before)
	}
}

func TestGoAwayCostsNoAttempt(t *testing.T) {
	t.Run("when it comes after the answer", func(t *testing.T) {
		client, _ := serveHTTP2(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
		for n := range 3 {
			if got := client.Post(t.Context(), requestTo("https://"+host)); !got.Success() {
				t.Errorf("attempt %d failed: %+v", n+1, got)
			}
		}
	})
	// Both say that the request has not been looked at.
	refusals := map[string]func(p *peer, stream uint32){
		"when it comes instead of an answer": func(p *peer, _ uint32) { writeFrame(p, frameGoAway, 0, 0, make([]byte, 8)) },
		"when the stream alone is refused unanswered": func(p *peer, stream uint32) {
			writeFrame(p, frameReset, 0, stream, []byte{0, 0, 0, 7})
		},
	}
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			trusted := newAuthority(t)
			config := &tls.Config{
				Certificates: []tls.Certificate{trusted.issue(t, host, time.Now().Add(time.Hour))},
				NextProtos:   []string{"h2"},
			}
			var requests atomic.Int64
			address := serveRaw(t, config, func(p *peer) {
				serveFrames(p, nil, func(stream uint32) {
					if requests.Add(1) == 1 {
						refuse(p, stream)
						return
					}
					const status200 = 0x88 // index 8 of HPACK's static table
					writeFrame(p, frameHeaders, flagEndStream|flagEndHeaders, stream, []byte{status200})
				})
			})
			client, _ := newClient(address, func(o *ClientOptions) { o.RootCAs = trusted.pool })
			got := client.Post(t.Context(), requestTo("https://"+host))
			if !got.Success() || requests.Load() != 2 {
				t.Errorf("%+v after %d requests, want success after 2", got, requests.Load())
			}
		})
	}
}

func TestConnectionIsKeptAliveUntilARest(t *testing.T) {
	cases := map[string]struct {
		serve  func(*peer)
		change func(*tls.Config)
	}{
		"HTTP/1": {serve: speak(ok), change: func(*tls.Config) {}},
		"HTTP/2": {serve: frames(func(p *peer, stream uint32) { finish(p, stream, 200) }), change: http2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				trusted := newAuthority(t)
				network := &memory{serve: c.serve, config: certified(c.change)(t, trusted)}
				client := NewClient(ClientOptions{Now: time.Now, RootCAs: trusted.pool, Dial: network.dial})
				post := func(dials int64, when string) {
					t.Helper()
					if got := client.Post(t.Context(), requestTo("https://"+host)); !got.Success() {
						t.Fatalf("failed: %+v", got)
					}
					synctest.Wait()
					if got := network.dials.Load(); got != dials {
						t.Errorf("%d connections %s, want %d", got, when, dials)
					}
				}
				post(1, "for the first attempt")
				post(1, "after the second one")
				client.Rested()
				post(2, "after a rest")
				post(2, "and one more attempt")
				time.Sleep(idleTimeout + time.Second) // on the bubble's clock
				post(3, "after idleness")
				time.Sleep(2 * idleTimeout) // until the last connection is given up
			})
		})
	}
}
