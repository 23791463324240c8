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
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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
	Attempt  int // from 1
	Current  signature.Credentials
	Previous *signature.Credentials // during an overlap
}

// Result is what came of an attempt.
type Result struct {
	StartedAt  time.Time
	Duration   time.Duration
	Status     int           // HTTP status, 0 if there was no answer
	Code       string        // "" on success
	Error      string        // for people; never holds the URL, a token or a secret
	Snippet    string        // beginning of an answer that is not 2xx
	RetryAfter time.Duration // what a 429 or 503 asked for, however long; 0 if nothing
}

// Success reports whether the endpoint has accepted the webhook: 2xx and nothing else.
func (r Result) Success() bool { return r.Code == "" }

// Gone reports whether the endpoint wants no more webhooks.
func (r Result) Gone() bool { return r.Status == http.StatusGone }

// Client makes attempts over HTTP. It keeps connections alive and is safe for concurrent use.
type Client struct {
	transport *http.Transport // and no http.Client, which would look at redirects
	allowHTTP bool
	now       func() time.Time
	timeout   time.Duration
}

// ClientOptions are the choices that a Client leaves.
type ClientOptions struct {
	Guard     *Guard
	AllowHTTP bool
	Now       func() time.Time
	Timeout   time.Duration  // of an attempt, 0 for AttemptTimeout, which is also the most
	Resolver  *net.Resolver  // nil for the system's
	RootCAs   *x509.CertPool // nil for the system's
	// Dial is nil for the guard's dialer. With another one, Guard and Resolver are not used.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewClient returns a client that ignores proxies, follows no redirects and asks for no compression.
func NewClient(options ClientOptions) *Client {
	dial := options.Dial
	if dial == nil {
		dial = options.Guard.dialer(options.Resolver)
	}
	transport := &http.Transport{
		Proxy:                  nil, // a proxy from the environment would be dialed in the endpoint's place
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: options.RootCAs},
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
	timeout := options.Timeout
	if timeout <= 0 || timeout > AttemptTimeout {
		timeout = AttemptTimeout
	}
	return &Client{transport: transport, allowHTTP: options.AllowHTTP, now: options.Now, timeout: timeout}
}

// Rested drops idle connections, which may be dead after the process was frozen.
func (c *Client) Rested() { c.transport.CloseIdleConnections() }

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
	result.Error = cut(redact(result.Error, r), maxErrorText)
	return result
}

func (c *Client) post(ctx context.Context, r Request, result *Result) {
	request, err := c.newRequest(ctx, r, result.StartedAt)
	if err != nil {
		result.Code, result.Error = classify(err)
		return
	}
	answer, err := c.roundTrip(request)
	if err != nil {
		result.Code, result.Error = classify(err)
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
	header := request.Header
	header.Set("Content-Type", "application/json")
	header.Set("Idempotency-Key", r.Key)
	header.Set("X-Webhook-Attempt", strconv.Itoa(r.Attempt))
	header.Set("User-Agent", "Docuhook/"+Version)
	if err := signature.Sign(header, r.EventID, r.Body, now, r.Current, r.Previous); err != nil {
		return nil, refusal{CodeInvalidDestination, err.Error()}
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
		c.transport.CloseIdleConnections()
		return io.NopCloser(bytes.NewReader(body)), nil
	}
}

// judge reads an answer and says in result what it means.
func (c *Client) judge(answer *http.Response, r Request, result *Result) {
	status := answer.StatusCode
	if status < 100 {
		result.Code, result.Error = CodeProtocolError, fmt.Sprintf("the endpoint answered %03d, which is no status", status)
		return
	}
	result.Status = status
	var body []byte
	var err error
	if status != http.StatusSwitchingProtocols {
		// After 101 the body is the connection itself, which no deadline ends.
		body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	}
	switch {
	case status >= 200 && status <= 299:
		if isTimeout(err) {
			result.Code, result.Error = CodeBodyTooSlow, "the answer did not end in time"
		} else if err != nil {
			result.Code, result.Error = CodeAnswerTruncated, "the connection ended within the answer"
		}
		return
	case status >= 300 && status <= 399:
		result.Code, result.Error = CodeRedirect, "redirects are not followed"
	default:
		result.Code, result.Error = CodeHTTPStatus, fmt.Sprintf("the endpoint answered %d", status)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		result.RetryAfter = retryAfter(answer.Header, c.now())
	}
	result.Snippet = cut(redact(strings.ToValidUTF8(string(body), "\uFFFD"), r), maxSnippet)
}

// roundTrip sends a request. A 408 that closes a kept-alive connection may have been sent while the connection
// was idle, and then says nothing of the request, which is therefore sent again on a new connection. Over
// HTTP/2 an answer names its request, so that a 408 is always the request's.
//
// Source: RFC 9110, section 15.5.9
func (c *Client) roundTrip(request *http.Request) (*http.Response, error) {
	reused := false
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
	answer, err := c.transport.RoundTrip(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil || answer.StatusCode != http.StatusRequestTimeout || !answer.Close || !reused || answer.ProtoMajor > 1 {
		return answer, err
	}
	answer.Body.Close()
	if request.Body, err = request.GetBody(); err != nil {
		return nil, err
	}
	return c.transport.RoundTrip(request)
}

// redact removes the credentials from what an endpoint sent back.
func redact(s string, r Request) string {
	for _, credentials := range []*signature.Credentials{&r.Current, r.Previous} {
		if credentials == nil {
			continue
		}
		for _, secret := range []signature.Secret{credentials.Token, credentials.Secret} {
			_, bare, _ := strings.Cut(secret.Reveal(), "_") // as some receivers keep it
			for _, text := range []string{secret.Reveal(), bare} {
				if text != "" {
					s = strings.ReplaceAll(s, text, secret.String())
				}
			}
		}
	}
	return s
}

// cut returns at most n bytes of s without cutting a character in two.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
