package endpoint

import (
	"crypto/tls"
	"encoding/binary"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/signature"
)

// head returns the lines of a request's head, and header fields by their names as they were sent.
func head(raw []byte) (line string, fields map[string]string) {
	text, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	lines := strings.Split(text, "\r\n")
	fields = map[string]string{}
	for _, field := range lines[1:] {
		name, value, _ := strings.Cut(field, ": ")
		fields[name] = value
	}
	return lines[0], fields
}

// sent returns the head of what a client sends for a request.
func sent(t *testing.T, r Request, config *tls.Config, change ...func(*ClientOptions)) (line string, fields map[string]string) {
	t.Helper()
	got := make(chan []byte, 1)
	address := serveRaw(t, config, func(p *peer) {
		got <- p.next()
		p.write(ok)
	})
	client, _ := newClient(address, change...)
	if result := client.Post(t.Context(), r); !result.Success() {
		t.Fatalf("failed: %+v", result)
	}
	return head(<-got)
}

func TestStandardHeadersAreInLowerCase(t *testing.T) {
	r := requestTo("http://" + host)
	r.Previous = &previous
	_, fields := sent(t, r, nil)
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		if fields[name] == "" {
			t.Errorf("%s is not among %v", name, fields)
		}
	}
	if fields["Accept"] != "*/*" || fields["Accept-Encoding"] != "identity" {
		t.Errorf("Accept %q, Accept-Encoding %q", fields["Accept"], fields["Accept-Encoding"])
	}
}

func TestHostLeavesOutTheDefaultPort(t *testing.T) {
	trusted := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{trusted.issue(t, host, time.Now().Add(time.Hour))}}
	withRoots := func(o *ClientOptions) { o.RootCAs = trusted.pool }
	for url, want := range map[string]string{
		"https://" + host + "/hook":      host,
		"https://" + host + ":443/hook":  host,
		"https://" + host + ":443":       host,
		"https://" + host + ":80/hook":   host + ":80",
		"https://" + host + ":8443/hook": host + ":8443",
		"https://" + host + ":4430/hook": host + ":4430",
		"http://" + host + "/hook":       host,
		"http://" + host + ":80/hook":    host,
		"HTTP://" + host + ":80?a=:80":   host,
		"http://" + host + ":443/hook":   host + ":443",
		"http://" + host + ":8080/hook":  host + ":8080",
		"http://[2001:db8::1]:80/hook":   "[2001:db8::1]",
		"http://[2001:db8::80]/hook":     "[2001:db8::80]",
		"http://[2001:db8::1]:81/hook":   "[2001:db8::1]:81",
		"http://192.0.2.1:80/hook":       "192.0.2.1",
	} {
		t.Run(url, func(t *testing.T) {
			served := config
			if strings.HasPrefix(strings.ToLower(url), "http:") {
				served = nil
			}
			if _, fields := sent(t, requestTo(url), served, withRoots); fields["Host"] != want {
				t.Errorf("Host is %q, want %q", fields["Host"], want)
			}
		})
	}
	t.Run("over HTTP/2", func(t *testing.T) {
		var got atomic.Value
		client, _ := serveHTTP2(t, func(_ http.ResponseWriter, r *http.Request) { got.Store(r.Host) })
		if result := client.Post(t.Context(), requestTo("https://"+host+":443/hook")); !result.Success() || got.Load() != host {
			t.Errorf("%+v, authority %q", result, got.Load())
		}
	})
}

func TestURLGoesOutAsItWasWritten(t *testing.T) {
	for _, target := range []string{
		"/", "/hook", "/hook?a=1&b=2", "/a%2Fb/%7Bc%7D?d=%7Be%7D", "/;v=1/a:b@c/!$&'()*+,=", "/?a=/?:@!$'()*+,;", "/a//b/../c?", "/%e4?%E4",
	} {
		line, _ := sent(t, requestTo("http://"+host+target), nil)
		if want := "POST " + target + " HTTP/1.1"; line != want {
			t.Errorf("%q, want %q", line, want)
		}
	}
}

func TestCustomHeadersGoOut(t *testing.T) {
	r := requestTo("http://" + host)
	r.Previous = &signature.Credentials{
		Token: previous.Token, Secret: previous.Secret, Headers: map[string]signature.Secret{"X-Old": "of the time before"},
	}
	r.Current.Headers = map[string]signature.Secret{
		"Authorization": "Basic dXNlcjpwYXNz", "x-api-key": "k1", "X-ENV": "staging", "Cookie": "a=b; c=d",
	}
	_, fields := sent(t, r, nil)
	for name, value := range r.Current.Headers {
		if fields[name] != value.Reveal() {
			t.Errorf("%s is %q, want %q", name, fields[name], value.Reveal())
		}
	}
	if fields["X-Old"] != "" || fields["X-Webhook-Token"] != previous.Token.Reveal() {
		t.Errorf("headers of the credentials before are sent, or their token is not: %v", fields)
	}
	t.Run("over HTTP/2", func(t *testing.T) {
		var got atomic.Pointer[http.Header]
		client, _ := serveHTTP2(t, func(_ http.ResponseWriter, r *http.Request) { got.Store(&r.Header) })
		r.URL = "https://" + host
		if result := client.Post(t.Context(), r); !result.Success() {
			t.Fatalf("%+v", result)
		}
		for name, value := range r.Current.Headers {
			if got.Load().Get(name) != value.Reveal() {
				t.Errorf("%s is %q, want %q", name, got.Load().Get(name), value.Reveal())
			}
		}
	})
}

func TestEndpointThatWantsHTTP1IsAskedAgainOverIt(t *testing.T) {
	const required, internal = 0xd, 0x2
	trusted := newAuthority(t)
	goAway := func(last, code uint32, debug string) []byte {
		return append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code), debug...)
	}
	for name, test := range map[string]struct {
		refuse func(p *peer, stream uint32) // over HTTP/2
		answer string                       // over HTTP/1.1
		want   Result
		asked  []string // the protocols of all requests
	}{
		"a stream that is reset": {
			refuse: func(p *peer, stream uint32) { resets(p, stream, required) },
			answer: ok, want: Result{Status: 200}, asked: []string{"h2", "http/1.1"},
		},
		"a connection that is told to go": {
			refuse: func(p *peer, stream uint32) { writeFrame(p, frameGoAway, 0, 0, goAway(0, required, "")) },
			answer: ok, want: Result{Status: 200}, asked: []string{"h2", "http/1.1"},
		},
		"a connection that is told to go and ended": {
			refuse: func(p *peer, stream uint32) {
				writeFrame(p, frameGoAway, 0, 0, goAway(stream, required, "please"))
				p.Close()
			},
			answer: ok, want: Result{Status: 200}, asked: []string{"h2", "http/1.1"},
		},
		"an endpoint that fails over HTTP/1.1 too": {
			refuse: func(p *peer, stream uint32) { resets(p, stream, required) },
			answer: rawAnswer(500, "", "oops"), want: statusResult(500, "oops"), asked: []string{"h2", "http/1.1"},
		},
		"but not a stream that is reset for another reason": {
			refuse: func(p *peer, stream uint32) { resets(p, stream, internal) },
			want:   Result{Code: CodeConnectionReset, Error: "the endpoint ended the connection without an answer"},
			asked:  []string{"h2"},
		},
		"nor a connection that only speaks of it": {
			refuse: func(p *peer, stream uint32) {
				writeFrame(p, frameGoAway, 0, 0, goAway(stream, internal, "ErrCode=HTTP_1_1_REQUIRED"))
				p.Close()
			},
			want:  Result{Code: CodeConnectionReset, Error: "the endpoint ended the connection without an answer"},
			asked: []string{"h2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan string, 20)
			config := &tls.Config{
				Certificates: []tls.Certificate{trusted.issue(t, host, time.Now().Add(time.Hour))},
				NextProtos:   []string{"h2", "http/1.1"},
			}
			address := serveRaw(t, config, func(p *peer) {
				secure := p.Conn.(*tls.Conn)
				if secure.Handshake() != nil {
					return
				}
				if secure.ConnectionState().NegotiatedProtocol == "h2" {
					serveFrames(p, nil, func(stream uint32) { asked <- "h2"; test.refuse(p, stream) })
					return
				}
				if p.next() != nil {
					asked <- "http/1.1"
					p.write(test.answer)
				}
			})
			client, _ := newClient(address, func(o *ClientOptions) { o.RootCAs = trusted.pool })
			got := client.Post(t.Context(), requestTo("https://"+host))
			got.StartedAt, got.Duration = time.Time{}, 0
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var protocols []string
			for len(asked) > 0 {
				protocols = append(protocols, <-asked)
			}
			if diff := cmp.Diff(test.asked, protocols); diff != "" {
				t.Errorf("asked over (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTLSThatAnEndpointMustOffer holds the client to what limits.md says.
func TestTLSThatAnEndpointMustOffer(t *testing.T) {
	trusted := newAuthority(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	leaf := trusted.issue(t, host, tomorrow)
	old := func(suites ...uint16) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{leaf}, MaxVersion: tls.VersionTLS12, CipherSuites: suites}
	}
	rsaLeaf := trusted.issueRSA(t, host, tomorrow)
	oldRSA := func(suites ...uint16) *tls.Config {
		c := old(suites...)
		c.Certificates = []tls.Certificate{rsaLeaf}
		return c
	}
	middle := trusted.intermediate(t, "test intermediate", tomorrow)
	below := middle.issue(t, host, tomorrow)
	chain := below
	chain.Certificate = append(append([][]byte{}, below.Certificate...), middle.certificate.Raw)
	const offer = "must offer TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305"
	only := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	for name, test := range map[string]struct {
		config *tls.Config
		says   string // part of the error, "" if it is enough
	}{
		"TLS 1.3":                             {config: &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS13}},
		"TLS 1.2 with ECDHE and AES-GCM":      {config: old(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)},
		"TLS 1.2 with ECDHE and ChaCha20":     {config: old(tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256)},
		"TLS 1.2 with ECDHE, AES-GCM and RSA": {config: oldRSA(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)},
		"TLS 1.2 with an intermediate":        {config: only(chain)},
		"TLS 1.2 with RSA key exchange alone": {config: oldRSA(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), says: offer},
		"TLS 1.2 with CBC and SHA-256 alone":  {config: old(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256), says: offer},
		"TLS 1.2 with RC4 alone":              {config: old(tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA), says: offer},
		"TLS 1.1": {
			config: &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
			says:   "protocol version",
		},
		"a certificate without its intermediate": {
			config: only(below),
			says:   `must also send the intermediate certificate of its issuer, "test intermediate"`,
		},
		"a certificate that signed itself": {config: only((*authority)(nil).issue(t, host, tomorrow)), says: "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := newClient(serveRaw(t, test.config, speak(ok)), func(o *ClientOptions) { o.RootCAs = trusted.pool })
			got := client.Post(t.Context(), requestTo("https://"+host))
			wrong := !got.Success() && got.Code != CodeTLSFailure
			if wrong || got.Success() != (test.says == "") || !strings.Contains(got.Error, test.says) {
				t.Errorf("code %q, error %q, want %q", got.Code, got.Error, test.says)
			}
			if strings.Contains(got.Error, "intermediate") != strings.Contains(test.says, "intermediate") {
				t.Errorf("%q", got.Error)
			}
		})
	}
}
