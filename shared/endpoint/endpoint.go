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
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/docuhook/docuhook/shared/signature"
)

// Version is the release, as the User-Agent shows it.
const Version = "1.0.0"

// Limits of one attempt.
const (
	AttemptTimeout   = 15 * time.Second // from the first look-up to the end of the answer
	connectTimeout   = 10 * time.Second
	idleTimeout      = 10 * time.Second
	pingAfter        = 5 * time.Second // of silence on an HTTP/2 connection
	pingTimeout      = 3 * time.Second
	maxRewinds       = 2        // of the body: over HTTP/2, one replay takes two
	maxAnswer        = 16 << 10 // bytes of the answer that are read
	maxAnswerHeaders = 64 << 10 // bytes
	maxSnippet       = 256      // bytes of an answer that are logged
	maxErrorText     = 200      // bytes
)

// Error codes of an attempt. They are stable: programs may rely on them.
const (
	CodeTimeout            = "timeout"             // no answer in time
	CodeBodyTooSlow        = "body_too_slow"       // the answer began but did not end in time
	CodeAnswerTruncated    = "answer_truncated"    // the connection ended within the answer's body
	CodeConnectionRefused  = "connection_refused"  //
	CodeConnectionReset    = "connection_reset"    // the connection ended before an answer
	CodeConnectionFailed   = "connection_failed"   // any other failure to connect
	CodeDNSFailure         = "dns_failure"         // the host's address could not be found
	CodeTLSFailure         = "tls_failure"         // no trustworthy TLS connection
	CodeBlockedAddress     = "blocked_address"     // the host's address is special-purpose
	CodeBlockedScheme      = "blocked_scheme"      // http where only https is allowed
	CodeRedirect           = "redirect"            // 3xx, which is never followed
	CodeHTTPStatus         = "http_status"         // any other answer but 2xx
	CodeProtocolError      = "protocol_error"      // not an HTTP answer, or its headers are too large
	CodeInvalidDestination = "invalid_destination" // the config's URL cannot be requested
)

// errTooManyReplays ends an attempt whose request was sent away again and again.
var errTooManyReplays = errors.New("too many replays")

// Request is one attempt to make.
type Request struct {
	URL      string
	EventID  string
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
	RetryAfter time.Duration // what the endpoint asked for, 0 if nothing
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
	Timeout   time.Duration                                                        // of an attempt, 0 for AttemptTimeout, which is also the most
	Resolver  *net.Resolver                                                        // nil for the system's
	RootCAs   *x509.CertPool                                                       // nil for the system's
	Dial      func(ctx context.Context, network, address string) (net.Conn, error) // nil for the guard's dialer
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
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil || request.URL.Hostname() == "" {
		result.Code, result.Error = CodeInvalidDestination, "the config's url cannot be requested"
		return
	}
	if request.URL.Scheme != "https" && !(c.allowHTTP && request.URL.Scheme == "http") {
		result.Code, result.Error = CodeBlockedScheme, "only https is allowed"
		return
	}
	// The transport replays the request on every kept-alive connection that turns out to be dead. An
	// endpoint that dies at its work would get it on each of them: the first replay takes a new one.
	// And it replays it without end to an HTTP/2 endpoint that says that it has not looked at it.
	rewinds := 0
	request.GetBody = func() (io.ReadCloser, error) {
		if rewinds++; rewinds > maxRewinds {
			return nil, errTooManyReplays
		}
		c.transport.CloseIdleConnections()
		return io.NopCloser(bytes.NewReader(r.Body)), nil
	}
	header := request.Header
	header.Set("Content-Type", "application/json")
	header.Set("Idempotency-Key", r.EventID)
	header.Set("X-Webhook-Attempt", strconv.Itoa(r.Attempt))
	header.Set("User-Agent", "Docuhook/"+Version)
	if err := signature.Sign(header, r.EventID, r.Body, result.StartedAt, r.Current, r.Previous); err != nil {
		result.Code, result.Error = CodeInvalidDestination, err.Error()
		return
	}
	answer, err := c.roundTrip(request)
	if err != nil {
		result.Code, result.Error = classify(err)
		return
	}
	defer answer.Body.Close()
	if answer.StatusCode < 100 {
		result.Code, result.Error = CodeProtocolError, fmt.Sprintf("the endpoint answered %03d, which is no status", answer.StatusCode)
		return
	}
	result.Status = answer.StatusCode
	var body []byte
	if answer.StatusCode != http.StatusSwitchingProtocols {
		// After 101 the body is the connection itself, which no deadline ends.
		body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	}
	switch {
	case answer.StatusCode >= 200 && answer.StatusCode <= 299:
		if isTimeout(err) {
			result.Code, result.Error = CodeBodyTooSlow, "the answer did not end in time"
		} else if err != nil {
			result.Code, result.Error = CodeAnswerTruncated, "the connection ended within the answer"
		}
		return
	case answer.StatusCode >= 300 && answer.StatusCode <= 399:
		result.Code, result.Error = CodeRedirect, "redirects are not followed"
	default:
		result.Code, result.Error = CodeHTTPStatus, fmt.Sprintf("the endpoint answered %d", answer.StatusCode)
	}
	if answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable {
		result.RetryAfter = retryAfter(answer.Header, c.now())
	}
	result.Snippet = cut(redact(strings.ToValidUTF8(string(body), "\uFFFD"), r), maxSnippet)
}

// roundTrip sends a request. A 408 that closes a kept-alive connection may have been sent while that was
// idle and then says nothing of the request, which is sent again on a new one. Over HTTP/2 an answer names its request.
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

// classify returns the code of an error before an answer, and its text.
func classify(err error) (code, text string) {
	text = err.Error()
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var operation *net.OpError
	switch {
	case errors.Is(err, errElsewhere):
		return CodeBlockedAddress, "the local stack calls endpoints on this machine only, unless it is started with -public"
	case errors.Is(err, ErrBlockedAddress):
		return CodeBlockedAddress, "the endpoint's host has a special-purpose address"
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return CodeDNSFailure, "looking up the endpoint's host took too long"
		}
		return CodeDNSFailure, "the endpoint's host could not be found"
	case errors.As(err, &certificate), errors.As(err, &record), strings.HasPrefix(text, "tls: "),
		errors.As(err, &operation) && (operation.Op == "remote error" || operation.Op == "local error"): // TLS alerts
		return CodeTLSFailure, text
	case isTimeout(err):
		return CodeTimeout, "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return CodeConnectionRefused, "the endpoint refused the connection"
	case errors.As(err, &operation) && operation.Op == "dial":
		return CodeConnectionFailed, "connecting to the endpoint failed"
	case errors.Is(err, errTooManyReplays), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed),
		strings.Contains(text, "server closed idle connection"),
		strings.Contains(text, "GOAWAY"), strings.Contains(text, "received from peer"): // a reset of the stream alone
		return CodeConnectionReset, "the endpoint ended the connection without an answer"
	}
	return CodeProtocolError, text
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() ||
		err != nil && strings.Contains(err.Error(), "client connection lost") // HTTP/2 pings have gone unanswered
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
