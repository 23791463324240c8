package endpoint

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Error codes of an attempt. They are stable: programs may rely on them.
const (
	CodeTimeout            = "timeout"             // no answer in time
	CodeBodyTooSlow        = "body_too_slow"       // the answer began but did not end in time
	CodeAnswerTruncated    = "answer_truncated"    // the connection ended within the answer's body
	CodeConnectionRefused  = "connection_refused"  // nobody listens at the endpoint's port
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

// refusal is an error of a request that is not sent.
type refusal struct{ code, text string }

func (r refusal) Error() string { return r.text }

// errTooManyReplays ends an attempt whose request was sent away again and again.
var errTooManyReplays = errors.New("too many replays")

// failures are the errors of a request that got no answer. The first one that matches says what it is. A
// text of "" stands for the error's own.
var failures = []struct {
	matches    func(error) bool
	code, text string
}{
	{
		matches: func(err error) bool { return errors.Is(err, errElsewhere) },
		code:    CodeBlockedAddress,
		text:    "the local stack calls endpoints on this machine only, unless it is started with -public",
	},
	{
		matches: func(err error) bool { return errors.Is(err, ErrBlockedAddress) },
		code:    CodeBlockedAddress,
		text:    "the endpoint's host has a special-purpose address",
	},
	{
		matches: func(err error) bool {
			dns, ok := errors.AsType[*net.DNSError](err)
			return ok && dns.IsTimeout
		},
		code: CodeDNSFailure,
		text: "looking up the endpoint's host took too long",
	},
	{matches: is[*net.DNSError], code: CodeDNSFailure, text: "the endpoint's host could not be found"},
	{matches: isTLS, code: CodeTLSFailure},
	{matches: isTimeout, code: CodeTimeout, text: "no answer in time"},
	{
		matches: func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) },
		code:    CodeConnectionRefused,
		text:    "the endpoint refused the connection",
	},
	{
		matches: func(err error) bool { return during(err, "dial") },
		code:    CodeConnectionFailed,
		text:    "connecting to the endpoint failed",
	},
	{matches: isReset, code: CodeConnectionReset, text: "the endpoint ended the connection without an answer"},
}

// classify returns the code and the text of an error that stands in place of an answer.
func classify(err error) (code, text string) {
	if refused, ok := errors.AsType[refusal](err); ok {
		return refused.code, refused.text
	}
	for _, f := range failures {
		if f.matches(err) {
			return f.code, cmp.Or(f.text, explainTLS(err), err.Error())
		}
	}
	return CodeProtocolError, err.Error()
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// during reports whether err is of an operation on the network.
func during(err error, operations ...string) bool {
	operation, ok := errors.AsType[*net.OpError](err)
	return ok && slices.Contains(operations, operation.Op)
}

// isTLS reports whether err is one of TLS. An alert is an operation of its own, "remote error" or "local error".
func isTLS(err error) bool {
	return is[*tls.CertificateVerificationError](err) || is[tls.RecordHeaderError](err) ||
		during(err, "remote error", "local error") || strings.HasPrefix(err.Error(), "tls: ")
}

// maxIssuer is how much of the name of a certificate's issuer is told, in bytes.
const maxIssuer = 60

// explainTLS returns what to do about an error of TLS that its own text does not tell, "" for all others.
func explainTLS(err error) string {
	unverified, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if ok && is[x509.UnknownAuthorityError](err) && len(unverified.UnverifiedCertificates) > 0 {
		last := unverified.UnverifiedCertificates[len(unverified.UnverifiedCertificates)-1]
		if !bytes.Equal(last.RawIssuer, last.RawSubject) {
			return fmt.Sprintf("certificate signed by unknown authority: the endpoint must also send the intermediate "+
				"certificate of its issuer, %q, or that is not trusted", cut(last.Issuer.CommonName, maxIssuer))
		}
	}
	if text := err.Error(); strings.HasSuffix(text, "tls: handshake failure") {
		return text + ": the endpoint must offer TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305"
	}
	return ""
}

// http1Required matches the errors of an HTTP/2 stream or connection that was ended because the endpoint wants
// HTTP/1.1. They have no type. All of them begin in net/http, so that no answer can look like one.
//
// Source: https://www.rfc-editor.org/rfc/rfc9113#section-7
var http1Required = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(stream error: stream ID \d+; |http2: server sent GOAWAY and closed the connection; ` +
		`LastStreamID=\d+, ErrCode=|http2: Transport received GOAWAY from server ErrCode:)HTTP_1_1_REQUIRED\b`)
})

// wantsHTTP1 reports whether err, which may be nil, says that the endpoint answers a request over HTTP/1.1 alone.
func wantsHTTP1(err error) bool { return err != nil && http1Required().MatchString(err.Error()) }

// isTimeout reports whether err, which may be nil, says that something did not happen in time. HTTP/2 pings
// that nobody answers are told by their text alone.
func isTimeout(err error) bool {
	if err == nil {
		return false
	}
	timeout, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() ||
		strings.Contains(err.Error(), "client connection lost")
}

// isReset reports whether err says that the connection, or the HTTP/2 stream, ended before an answer. The last
// three of net/http have no type: a kept-alive connection that was dead, and an HTTP/2 connection and stream.
func isReset(err error) bool {
	for _, end := range []error{
		errTooManyReplays, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed,
	} {
		if errors.Is(err, end) {
			return true
		}
	}
	for _, text := range []string{"server closed idle connection", "GOAWAY", "received from peer"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
