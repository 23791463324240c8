// Package endpoint makes one POST to one endpoint and says what came of it.
//
// The client signs a request, sends it and reads the beginning of the answer, within limits of time and
// memory that no endpoint can exceed; it follows no redirect, uses no proxy and decompresses nothing. The
// guard looks at every address when it is dialed, so that an endpoint cannot lead into a private network.
// What went wrong comes back as a stable code and a text without credentials; whether and when to try
// again is the caller's to decide.
package endpoint

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"github.com/docuhook/docuhook/shared/signature"
)

// Version is the release, as the User-Agent shows it. The linker sets it (see the Makefile), and nothing else does.
var Version = "dev"

// Limits of one attempt.
const (
	AttemptTimeout   = 15 * time.Second // from the first look-up to the end of the answer
	connectTimeout   = 10 * time.Second
	idleTimeout      = 10 * time.Second
	pingAfter        = 5 * time.Second // of silence on an HTTP/2 connection
	pingTimeout      = 3 * time.Second
	maxRewinds       = 2        // of the body: over HTTP/2, one replay rewinds it twice
	maxAnswer        = 16 << 10 // bytes of the answer that are read
	maxAnswerHeaders = 64 << 10 // bytes
	maxSnippet       = 256      // bytes of an answer that are logged
	maxErrorText     = 200      // bytes
)

// Request is one attempt to make.
type Request struct {
	URL      string
	EventID  string
	Key      string // the Idempotency-Key: the same for all attempts at one delivery, and for no other
	Body     []byte
	Attempt  int                    // from 1
	Current  signature.Credentials  // with the custom headers
	Previous *signature.Credentials // during an overlap
}

// Result is what came of an attempt.
type Result struct {
	StartedAt  time.Time
	Duration   time.Duration
	Status     int           // HTTP status, 0 if there was no answer
	Code       string        // "" on success
	Error      string        // for people; never holds the URL's query, a token, a secret or the value of a custom header
	Snippet    string        // beginning of an answer that is not 2xx
	RetryAfter time.Duration // what a 429 or 503 asked for, however long; 0 if nothing
}

// Success reports whether the endpoint has accepted the webhook: 2xx and nothing else.
func (r Result) Success() bool { return r.Code == "" }

// Gone reports whether the endpoint wants no more webhooks.
func (r Result) Gone() bool { return r.Status == http.StatusGone }

// Client makes attempts over HTTP. It keeps connections alive and is safe for concurrent use.
type Client struct {
	transport   *http.Transport // and no http.Client, which would look at redirects
	http1       *http.Transport // for endpoints that offer HTTP/2 and then ask for HTTP/1.1
	allowHTTP   bool
	omitAnswers bool
	now         func() time.Time
	timeout     time.Duration
}

// ClientOptions are the choices that a Client leaves.
type ClientOptions struct {
	Guard     *Guard
	AllowHTTP bool
	// OmitAnswers keeps of an answer its status and Retry-After alone: nothing of its body, no target of a redirect, and
	// no text that is not HTTP. What is wrong with a certificate, which is no answer, is told.
	OmitAnswers bool
	Now         func() time.Time
	Timeout     time.Duration  // of an attempt, 0 for AttemptTimeout, which is also the most
	Resolver    *net.Resolver  // nil for the system's
	RootCAs     *x509.CertPool // nil for the system's
	// Dial is nil for the guard's dialer. With another one, Guard and Resolver are not used.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewClient returns a client that ignores proxies, follows no redirects and asks for no compression.
func NewClient(options ClientOptions) *Client {
	dial := options.Dial
	if dial == nil {
		dial = options.Guard.dialer(options.Resolver)
	}
	timeout := options.Timeout
	if timeout <= 0 || timeout > AttemptTimeout {
		timeout = AttemptTimeout
	}
	http1 := newTransport(dial, options.RootCAs)
	http1.ForceAttemptHTTP2 = false // which dials of one's own prevent otherwise
	return &Client{
		transport: newTransport(dial, options.RootCAs), http1: http1,
		allowHTTP: options.AllowHTTP, omitAnswers: options.OmitAnswers, now: options.Now, timeout: timeout,
	}
}

func newTransport(dial func(ctx context.Context, network, address string) (net.Conn, error), roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // a proxy from the environment would be dialed in the endpoint's place
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  AttemptTimeout,
		MaxResponseHeaderBytes: maxAnswerHeaders,
		DisableCompression:     true, // nothing is decompressed, so nothing can explode
		IdleConnTimeout:        idleTimeout,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    10, // as many as a batch has messages
		ForceAttemptHTTP2:      true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: pingAfter, PingTimeout: pingTimeout,
			// By default an endpoint may send 4 MiB of an answer before anyone has read a byte of it.
			MaxReceiveBufferPerStream: maxAnswer, MaxReceiveBufferPerConnection: 16 * maxAnswer,
		},
	}
}

// Rested drops idle connections, which may be dead after the process was frozen.
func (c *Client) Rested() {
	c.transport.CloseIdleConnections()
	c.http1.CloseIdleConnections()
}

// Post makes one attempt. It returns within AttemptTimeout and reads at most 16 KiB of the answer.
//
// An attempt succeeds when a 2xx answer has arrived in whole, or its first 16 KiB have. One that
// breaks off or does not end in time is a failure even though its status says 2xx: the endpoint
// may have died at its work, and a webhook that comes twice does less harm than one that is lost.
func (c *Client) Post(ctx context.Context, r Request) Result {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	result := Result{StartedAt: c.now()}
	c.post(ctx, r, &result)
	result.Duration = c.now().Sub(result.StartedAt)
	result.Error = redact(result.Error, r, maxErrorText)
	return result
}

func (c *Client) post(ctx context.Context, r Request, result *Result) {
	request, err := c.newRequest(ctx, r, result.StartedAt)
	if err != nil {
		result.Code, result.Error = classify(err)
		return
	}
	answer, err := roundTrip(c.transport, request)
	if wantsHTTP1(err) {
		request.Body = io.NopCloser(bytes.NewReader(r.Body))
		answer, err = roundTrip(c.http1, request)
	}
	if err != nil {
		result.Code, result.Error = classify(err)
		if result.Code == CodeProtocolError && c.omitAnswers {
			result.Error = "the endpoint does not answer as HTTP wants"
		}
		return
	}
	defer answer.Body.Close()
	c.judge(answer, r, result)
}

// newRequest returns the signed HTTP request of an attempt. Its error is a refusal.
func (c *Client) newRequest(ctx context.Context, r Request, now time.Time) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil || request.URL.Hostname() == "" {
		return nil, refusal{CodeInvalidDestination, "the config's url cannot be requested"}
	}
	if request.URL.Scheme != "https" && !(c.allowHTTP && request.URL.Scheme == "http") {
		return nil, refusal{CodeBlockedScheme, "only https is allowed"}
	}
	request.GetBody = c.rewinder(r.Body)
	if port := request.URL.Port(); port == "443" && request.URL.Scheme == "https" || port == "80" && request.URL.Scheme == "http" {
		request.Host = strings.TrimSuffix(request.URL.Host, ":"+port) // RFC 9110, section 4.2.3; some servers know only that name
	}
	header := request.Header
	for name, value := range r.Current.Headers {
		header[name] = []string{value.Reveal()} // as it was written, which matters to some over HTTP/1.1
	}
	header.Set("Accept", "*/*")
	header.Set("Accept-Encoding", "identity")
	header.Set("Content-Type", "application/json")
	header.Set("Idempotency-Key", r.Key)
	header.Set("X-Webhook-Attempt", strconv.Itoa(r.Attempt))
	header.Set("User-Agent", "Docuhook/"+Version)
	if err := signature.Sign(header, r.EventID, r.Body, now, r.Current, r.Previous); err != nil {
		return nil, refusal{CodeInvalidDestination, err.Error()}
	}
	for _, name := range signature.StandardHeaders() {
		// In lower case, as the specification writes them and some receivers look them up.
		header[name] = header.Values(name)
		header.Del(name)
	}
	return request, nil
}

// rewinder returns a request's GetBody. The transport calls it to replay the request when a kept-alive
// connection turns out to be dead, and without end when an HTTP/2 endpoint says that it has not looked at
// the request. An endpoint that dies at its work would get the request on each connection that is kept
// alive, so all of them are closed and the first replay takes a new one.
func (c *Client) rewinder(body []byte) func() (io.ReadCloser, error) {
	rewinds := 0
	return func() (io.ReadCloser, error) {
		if rewinds++; rewinds > maxRewinds {
			return nil, errTooManyReplays
		}
		c.Rested()
		return io.NopCloser(bytes.NewReader(body)), nil
	}
}

// roundTrip sends a request. A 408 that closes a kept-alive connection may have been sent while the connection
// was idle, and then says nothing of the request, which is therefore sent again on a new connection. Over
// HTTP/2 an answer names its request, so that a 408 is always the request's.
//
// Source: RFC 9110, section 15.5.9
func roundTrip(transport *http.Transport, request *http.Request) (*http.Response, error) {
	reused := false
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
	answer, err := transport.RoundTrip(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil || answer.StatusCode != http.StatusRequestTimeout || !answer.Close || !reused || answer.ProtoMajor > 1 {
		return answer, err
	}
	answer.Body.Close()
	if request.Body, err = request.GetBody(); err != nil {
		return nil, err
	}
	return transport.RoundTrip(request)
}
