package endpoint

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// mostMemory is what an attempt may allocate in all, whatever the endpoint does: ten of them at once
// fit into the function, even if nothing were given back. It includes what the endpoint allocates.
const mostMemory = 8 << 20

const oneGiB = 1 << 30

// speak answers in HTTP/1 every request of a connection with the same bytes.
func speak(text string) func(*peer) {
	return func(p *peer) {
		for p.next() != nil && p.write(text) == nil {
		}
	}
}

// stall answers with the beginning of something and then nothing.
func stall(text string) func(*peer) {
	return func(p *peer) {
		if p.next() != nil && p.write(text) == nil {
			p.hang()
		}
	}
}

// pour writes a piece again and again, up to n bytes, or for ever if that is 0, with a pause after each.
func pour(p *peer, piece []byte, n int, pause time.Duration) {
	for sent := 0; n == 0 || sent < n; sent += len(piece) {
		if _, err := p.Conn.Write(piece); err != nil {
			return
		}
		if pause > 0 {
			time.Sleep(pause) // the bubble's clock
		}
	}
}

// drip answers with a beginning and then a byte now and then.
func drip(beginning, piece string) func(*peer) {
	return func(p *peer) {
		if p.next() != nil && p.write(beginning) == nil {
			pour(p, []byte(piece), 0, 100*time.Millisecond)
		}
	}
}

// flood answers with a beginning and then a piece as often and as fast as it goes.
func flood(beginning string, piece []byte, n int) func(*peer) {
	return func(p *peer) {
		for p.next() != nil && p.write(beginning) == nil {
			pour(p, piece, n, 0)
		}
	}
}

// frames is an HTTP/2 server that answers each request, which is told from the others by its stream.
func frames(answer func(p *peer, stream uint32)) func(*peer) {
	return func(p *peer) { serveFrames(p, nil, func(stream uint32) { answer(p, stream) }) }
}

// deaf is an HTTP/2 server that looks at nothing any more after the first request of a connection.
func deaf(then func(*peer)) func(*peer) {
	return func(p *peer) { serveFrames(p, nil, func(uint32) { then(p); p.hang() }) }
}

// hpack returns headers in HPACK (RFC 7541): :status and literals that are not kept.
func hpack(status int, fields ...string) []byte {
	block := fmt.Appendf([]byte{0x08, 3}, "%03d", status) // the name is that of index 8
	for _, field := range fields {
		block = append(block, 0)
		for part := range strings.SplitSeq(field, ": ") {
			block = appendString(block, part)
		}
	}
	return block
}

// appendString writes a string as HPACK does, with its length as an integer of a prefix of 7 bits.
func appendString(block []byte, s string) []byte {
	n := len(s)
	if n < 127 {
		return append(append(block, byte(n)), s...)
	}
	block = append(block, 127)
	for n -= 127; n >= 128; n >>= 7 {
		block = append(block, byte(n&127|128))
	}
	return append(append(block, byte(n)), s...)
}

// begin answers with headers and leaves the stream open.
func begin(p *peer, stream uint32, status int, fields ...string) {
	writeFrame(p, frameHeaders, flagEndHeaders, stream, hpack(status, fields...))
}

// resets ends a stream with an error code (RFC 9113, section 7).
func resets(p *peer, stream, code uint32) {
	writeFrame(p, frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, code))
}

// bomb is much of nothing, compressed.
var bomb = sync.OnceValue(func() string {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	for range 64 {
		writer.Write(make([]byte, 1<<20))
	}
	writer.Close()
	return out.String()
})

// wire is the client's end of a connection in memory. Its writes never wait for the other end, which
// may be busy with writing.
type wire struct {
	net.Conn
	reset *atomic.Bool // by the other end

	mu    sync.Mutex
	queue []byte
	more  chan struct{} // closed with the connection
	ended bool
}

// connect returns both ends of a connection.
func connect() (*wire, *farEnd) {
	near, far := net.Pipe()
	w := &wire{Conn: near, more: make(chan struct{}, 1), reset: &atomic.Bool{}}
	go func() {
		for range w.more {
			w.mu.Lock()
			b := w.queue
			w.queue = nil
			w.mu.Unlock()
			near.Write(b)
		}
	}()
	return w, &farEnd{far, w.reset}
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, net.ErrClosed
	}
	w.queue = append(w.queue, b...)
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended = true
		close(w.more)
		w.Conn.Close()
	}
	return nil
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err == io.EOF && w.reset.Load() {
		err = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	return n, err
}

// farEnd is the server's end. What SetLinger does to a TCP connection makes its end a reset here.
type farEnd struct {
	net.Conn
	reset *atomic.Bool
}

func (c *farEnd) SetLinger(int) error { c.reset.Store(true); return nil }

// hostile is an endpoint, and what is to become of a delivery to it.
type hostile struct {
	name     string
	serve    func(*peer)
	secure   func(*testing.T, *authority) *tls.Config // nil for plain HTTP
	code     string                                   // of every attempt
	status   int
	lasts    time.Duration // every attempt; 0 for less than it may
	requests int           // that the endpoint gets in all; 0 for one in every attempt, -1 for none
}

// certified is HTTPS with a good certificate; secured with another one.
func certified(change func(*tls.Config)) func(*testing.T, *authority) *tls.Config {
	return func(t *testing.T, a *authority) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{a.issue(t, host, time.Now().Add(24*time.Hour))}}
		change(c)
		return c
	}
}

func secured(issue func(*testing.T, *authority) tls.Certificate) func(*testing.T, *authority) *tls.Config {
	return func(t *testing.T, a *authority) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{issue(t, a)}}
	}
}

func http2(c *tls.Config) { c.NextProtos = []string{"h2"} }

const (
	private = "http://169.254.169.254/latest/meta-data/"
)

func overHTTP1() []hostile {
	chunk := make([]byte, 64<<10)
	large := func(status int) string {
		return fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n", status, oneGiB)
	}
	handshake := certified(func(*tls.Config) {})
	return []hostile{
		// Status classes.
		{name: "1xx and nothing more", serve: stall("HTTP/1.1 100 Continue\r\n\r\n"), lasts: AttemptTimeout, code: CodeTimeout},
		{name: "101", serve: stall("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), code: CodeHTTPStatus, status: 101},
		{name: "200", serve: speak(ok), status: 200},
		{name: "204", serve: speak("HTTP/1.1 204 No Content\r\n\r\n"), status: 204},
		{name: "299", serve: speak(answer(299, "", "fine")), status: 299},
		{name: "304", serve: speak("HTTP/1.1 304 Not Modified\r\n\r\n"), code: CodeRedirect, status: 304},
		{name: "404", serve: speak(answer(404, "", "")), code: CodeHTTPStatus, status: 404},
		{name: "410", serve: speak(answer(410, "", "")), code: CodeHTTPStatus, status: 410},
		{name: "429", serve: speak(answer(429, "Retry-After: 1\r\n", "")), code: CodeHTTPStatus, status: 429},
		{name: "503", serve: speak(answer(503, "", "")), code: CodeHTTPStatus, status: 503},
		{name: "600", serve: speak(answer(600, "", "")), code: CodeHTTPStatus, status: 600},
		{name: "099", serve: speak("HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n"), code: CodeProtocolError},
		{name: "000", serve: speak("HTTP/1.1 000 What\r\nContent-Length: 0\r\n\r\n"), code: CodeProtocolError},
		{name: "a status of two digits", serve: speak("HTTP/1.1 20 OK\r\n\r\n"), code: CodeProtocolError},
		{name: "a negative status", serve: speak("HTTP/1.1 -20 OK\r\n\r\n"), code: CodeProtocolError},

		// Hanging and dripping.
		{name: "nothing", serve: stall(""), lasts: AttemptTimeout, code: CodeTimeout},
		{name: "a hang in the status line", serve: stall("HTTP/1.1 20"), lasts: AttemptTimeout, code: CodeTimeout},
		{name: "a hang in the headers", serve: stall("HTTP/1.1 200 OK\r\nContent-Le"), lasts: AttemptTimeout, code: CodeTimeout},
		{name: "a hang before the body", serve: stall("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), lasts: AttemptTimeout, code: CodeBodyTooSlow, status: 200},
		{name: "a hang in the body", serve: stall("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12"), lasts: AttemptTimeout, code: CodeBodyTooSlow, status: 200},
		{name: "a hang in the body of a 500", serve: stall("HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\n12"), lasts: AttemptTimeout, code: CodeHTTPStatus, status: 500},
		{name: "headers that drip", serve: drip("HTTP/1.1 200 OK\r\nX: ", "x"), lasts: AttemptTimeout, code: CodeTimeout},
		{name: "a body that drips", serve: drip("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", "x"), lasts: AttemptTimeout, code: CodeBodyTooSlow, status: 200},
		{name: "chunks that drip", serve: drip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), lasts: AttemptTimeout, code: CodeBodyTooSlow, status: 200},

		// Too much.
		{name: "a 200 of 1 GiB", serve: flood(large(200), chunk, oneGiB), status: 200},
		{name: "a 500 of 1 GiB", serve: flood(large(500), chunk, oneGiB), code: CodeHTTPStatus, status: 500},
		{name: "a 200 without end", serve: flood("HTTP/1.1 200 OK\r\n\r\n", chunk, 0), status: 200},
		{name: "a gzip bomb in a 200", serve: speak(answer(200, "Content-Encoding: gzip\r\n", bomb())), status: 200},
		{name: "a gzip bomb in a 500", serve: speak(answer(500, "Content-Encoding: gzip\r\n", bomb())), code: CodeHTTPStatus, status: 500},
		{name: "1xx without end", serve: flood("", []byte("HTTP/1.1 102 Processing\r\n\r\n"), 0), code: CodeProtocolError},
		{name: "a status line without end", serve: flood("HTTP/1.1 200 ", chunk, 0), code: CodeProtocolError},
		{name: "headers without end", serve: flood("HTTP/1.1 200 OK\r\n", []byte("X: y\r\n"), 0), code: CodeProtocolError},
		{name: "a header of 1 GiB", serve: flood("HTTP/1.1 200 OK\r\nX: ", chunk, oneGiB), code: CodeProtocolError},
		{name: "a chunk's extension without end", serve: flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", []byte("x=y;"), 0), code: CodeAnswerTruncated, status: 200},
		{name: "trailers without end", serve: flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n", []byte("X: y\r\n"), 0), code: CodeAnswerTruncated, status: 200},

		// Breaking off.
		{name: "no answer", serve: func(p *peer) { p.next() }, code: CodeConnectionReset},
		{name: "a reset without an answer", serve: func(p *peer) { p.next(); p.reset() }, code: CodeConnectionReset},
		{name: "a reset in the headers", serve: func(p *peer) { p.next(); p.write("HTTP/1.1 200 OK\r\n"); p.reset() }, code: CodeConnectionReset},
		{name: "a reset in the body", serve: func(p *peer) { p.next(); p.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12"); p.reset() }, code: CodeAnswerTruncated, status: 200},
		{name: "less body than announced", serve: func(p *peer) { p.next(); p.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12") }, code: CodeAnswerTruncated, status: 200},
		{name: "more body than announced", serve: speak("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n12345"), status: 200},
		{name: "two lengths", serve: speak("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12"), code: CodeProtocolError},
		{name: "a length that is no number", serve: speak("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n12345"), code: CodeProtocolError},
		{name: "connections that close after every answer", serve: func(p *peer) { p.next(); p.write(answer(500, "", "")) }, code: CodeHTTPStatus, status: 500},

		// Redirects.
		{name: "a redirect loop", serve: speak(answer(302, "Location: /hook\r\n", "")), code: CodeRedirect, status: 302},
		{name: "a redirect to a private address", serve: speak(answer(307, "Location: "+private+"\r\n", "")), code: CodeRedirect, status: 307},

		// TLS.
		{name: "an expired certificate", serve: speak(ok), code: CodeTLSFailure, requests: -1, secure: secured(func(t *testing.T, a *authority) tls.Certificate {
			return a.issue(t, host, time.Now().Add(-time.Hour))
		})},
		{name: "a self-signed certificate", serve: speak(ok), code: CodeTLSFailure, requests: -1, secure: secured(func(t *testing.T, _ *authority) tls.Certificate {
			return (*authority)(nil).issue(t, host, time.Now().Add(time.Hour))
		})},
		{name: "a certificate of another host", serve: speak(ok), code: CodeTLSFailure, requests: -1, secure: secured(func(t *testing.T, a *authority) tls.Certificate {
			return a.issue(t, "other.example", time.Now().Add(time.Hour))
		})},
		{name: "TLS 1.1", serve: speak(ok), code: CodeTLSFailure, requests: -1, secure: certified(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })},
		{name: "TLS 1.2", serve: speak(ok), status: 200, secure: certified(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })},
		{name: "TLS 1.3", serve: speak(ok), status: 200, secure: certified(func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 })},
		{name: "a hang after the handshake", serve: (*peer).hang, code: CodeTimeout, lasts: AttemptTimeout, requests: -1, secure: handshake},
	}
}

func overHTTP2() []hostile {
	frame := make([]byte, 16<<10) // the most that one may hold
	large := make([]byte, 1<<20)
	end := func(p *peer, stream uint32, status int, fields ...string) {
		writeFrame(p, frameHeaders, flagEndStream|flagEndHeaders, stream, hpack(status, fields...))
	}
	rows := []hostile{
		{name: "200", serve: frames(func(p *peer, stream uint32) { end(p, stream, 200) }), status: 200},
		{name: "410", serve: frames(func(p *peer, stream uint32) { end(p, stream, 410) }), code: CodeHTTPStatus, status: 410},
		{name: "500", serve: frames(func(p *peer, stream uint32) { end(p, stream, 500) }), code: CodeHTTPStatus, status: 500},
		{name: "099", serve: frames(func(p *peer, stream uint32) { end(p, stream, 99) }), code: CodeProtocolError},
		{name: "101", serve: frames(func(p *peer, stream uint32) { begin(p, stream, 101) }), lasts: AttemptTimeout, code: CodeTimeout},
		{name: "a redirect to a private address", serve: frames(func(p *peer, stream uint32) { end(p, stream, 302, "location: "+private) }), code: CodeRedirect, status: 302},

		{name: "nothing", serve: frames(func(*peer, uint32) {}), lasts: AttemptTimeout, code: CodeTimeout},
		{name: "a hang in the headers", serve: deaf(func(p *peer) { writeFrame(p, frameHeaders, 0, 1, hpack(200)) }), lasts: pingAfter + pingTimeout, code: CodeTimeout},
		{name: "a hang before the body", serve: frames(func(p *peer, stream uint32) { begin(p, stream, 200) }), lasts: AttemptTimeout, code: CodeBodyTooSlow, status: 200},
		{name: "a body that drips", serve: frames(func(p *peer, stream uint32) {
			begin(p, stream, 200)
			pour(p, rawFrame(frameData, 0, stream, []byte("x")), 0, 100*time.Millisecond)
		}), lasts: AttemptTimeout, code: CodeBodyTooSlow, status: 200},
		{name: "pings and settings without end", serve: frames(func(p *peer, _ uint32) {
			go pour(p, append(rawFrame(framePing, 0, 0, make([]byte, 8)), rawFrame(frameSettings, 0, 0, nil)...), 0, 10*time.Millisecond)
		}), lasts: AttemptTimeout, code: CodeTimeout},
		{name: "no room for the request", serve: func(p *peer) {
			p.requests = &atomic.Int64{} // a body that is faster than the settings gets through
			windowOfNothing := []byte{0, 4, 0, 0, 0, 0}
			serveFrames(p, windowOfNothing, func(uint32) {})
		}, lasts: AttemptTimeout, code: CodeTimeout, requests: -1},
		{name: "no answer, to pings neither", serve: deaf(func(*peer) {}), lasts: pingAfter + pingTimeout, code: CodeTimeout},
		{name: "no end of the body, to pings neither", serve: deaf(func(p *peer) { begin(p, 1, 200) }), lasts: pingAfter + pingTimeout, code: CodeBodyTooSlow, status: 200},

		{name: "a 500 of 1 GiB, as far as it is let", serve: frames(func(p *peer, stream uint32) {
			begin(p, stream, 500, fmt.Sprintf("content-length: %d", oneGiB))
			writeFrame(p, frameData, 0, stream, frame)
		}), code: CodeHTTPStatus, status: 500},
		{name: "a 500 of 8 MiB, however much it is let", serve: frames(func(p *peer, stream uint32) {
			begin(p, stream, 500)
			pour(p, rawFrame(frameData, 0, stream, frame), 8<<20, 0)
		}), code: CodeHTTPStatus, status: 500},
		{name: "a frame larger than it is let", serve: frames(func(p *peer, stream uint32) {
			begin(p, stream, 200)
			writeFrame(p, frameData, 0, stream, large)
		}), code: CodeAnswerTruncated, status: 200},
		{name: "a gzip bomb", serve: frames(func(p *peer, stream uint32) {
			begin(p, stream, 500, "content-encoding: gzip")
			writeFrame(p, frameData, flagEndStream, stream, []byte(bomb()[:16<<10]))
		}), code: CodeHTTPStatus, status: 500},
		{name: "1xx without end", serve: frames(func(p *peer, stream uint32) {
			pour(p, rawFrame(frameHeaders, flagEndHeaders, stream, hpack(102)), 0, time.Millisecond)
		}), code: CodeProtocolError},
		{name: "a bomb of header references", serve: frames(func(p *peer, stream uint32) {
			block := append(hpack(200), 0x40) // a field of 4000 bytes, kept as index 62
			block = appendString(appendString(block, "x"), strings.Repeat("y", 4000))
			writeFrame(p, frameHeaders, flagEndHeaders, stream, append(block, bytes.Repeat([]byte{0x80 | 62}, 10<<10)...))
		}), code: CodeProtocolError},
		{name: "headers without end", serve: frames(func(p *peer, stream uint32) {
			writeFrame(p, frameHeaders, 0, stream, hpack(200))
			const frameContinuation = 9
			pour(p, rawFrame(frameContinuation, 0, stream, hpack(200, "x: "+strings.Repeat("y", 10<<10))[5:]), 0, 0)
		}), code: CodeProtocolError},

		{name: "less body than announced", serve: frames(func(p *peer, stream uint32) {
			begin(p, stream, 200, "content-length: 5")
			writeFrame(p, frameData, flagEndStream, stream, []byte("12"))
		}), code: CodeAnswerTruncated, status: 200},
		{name: "a reset without an answer", serve: frames(func(p *peer, stream uint32) { resets(p, stream, 2) }), code: CodeConnectionReset},
		{name: "a reset in the body", serve: frames(func(p *peer, stream uint32) { begin(p, stream, 200); resets(p, stream, 2) }), code: CodeAnswerTruncated, status: 200},
		{name: "a connection that ends without an answer", serve: frames(func(p *peer, _ uint32) { p.Conn.Close() }), code: CodeConnectionReset},
		{name: "garbage", serve: frames(func(p *peer, _ uint32) { p.Conn.Write(make([]byte, 100)) }), code: CodeProtocolError},

		// Those that say that they have not looked at the request get it once more, and not for ever.
		{name: "GOAWAY before every answer", serve: frames(func(p *peer, _ uint32) { writeFrame(p, frameGoAway, 0, 0, make([]byte, 8)) }), code: CodeConnectionReset, requests: 10},
		{name: "a refusal of every stream", serve: frames(func(p *peer, stream uint32) { resets(p, stream, 7) }), code: CodeConnectionReset, requests: 10},
		{name: "a protocol error for every stream", serve: frames(func(p *peer, stream uint32) { resets(p, stream, 1) }), code: CodeConnectionReset, requests: 10},
		{name: "GOAWAY after every answer", serve: frames(func(p *peer, stream uint32) {
			end(p, stream, 500)
			writeFrame(p, frameGoAway, 0, 0, binary.BigEndian.AppendUint64(nil, uint64(stream)<<32))
		}), code: CodeHTTPStatus, status: 500},
	}
	for i := range rows {
		rows[i].name = "HTTP2 " + rows[i].name
		rows[i].secure = certified(http2)
	}
	return rows
}

// TestHostileEndpoint takes a delivery through its whole round with endpoints that do what they
// should not: what becomes of it, after how many attempts and with which code, how many requests
// the endpoint has got, and what time and memory an attempt takes. The network is in memory and the
// clock the bubble's, so that the limits are those of production and the times exact.
//
// It must not run beside other tests, whose allocations it would count.
func TestHostileEndpoint(t *testing.T) {
	for _, h := range slices.Concat(overHTTP1(), overHTTP2()) {
		t.Run(h.name, func(t *testing.T) { synctest.Test(t, h.test) })
	}
}

// client returns a client of the endpoint, and how many connections and requests there have been.
func (h hostile) client(t *testing.T) (client *Client, dials, requests *atomic.Int64) {
	trusted := newAuthority(t)
	var config *tls.Config
	if h.secure != nil {
		config = h.secure(t, trusted)
	}
	dials, requests = &atomic.Int64{}, &atomic.Int64{}
	client = NewClient(ClientOptions{
		AllowHTTP: true, Now: time.Now, RootCAs: trusted.pool,
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dials.Add(1)
			if name, _, _ := net.SplitHostPort(address); name != host {
				t.Errorf("%s was dialed", address)
			}
			near, far := connect()
			go func() {
				defer far.Close()
				p := &peer{Conn: far, requests: requests}
				if config != nil {
					secure := tls.Server(far, config)
					if secure.Handshake() != nil {
						return
					}
					p.Conn = secure
				}
				h.serve(p)
			}()
			return near, nil
		},
	})
	return client, dials, requests
}

func (h hostile) url() string {
	if h.secure != nil {
		return "https://" + host + "/hook"
	}
	return "http://" + host + "/hook"
}

func TestConnectionIsKeptAliveUntilARest(t *testing.T) {
	for _, h := range []hostile{overHTTP1()[2], overHTTP2()[0]} {
		synctest.Test(t, func(t *testing.T) {
			client, dials, _ := h.client(t)
			for n, want := range []int64{1, 1, 2, 2} {
				if n == 2 {
					synctest.Wait()
					client.Rested()
				}
				if got := client.Post(t.Context(), request(h.url())); !got.Success() {
					t.Fatalf("failed: %+v", got)
				}
				if got := dials.Load(); got != want {
					t.Errorf("%s: %d connections after %d attempts, want %d", h.name, got, n+1, want)
				}
			}
			time.Sleep(idleTimeout + time.Second)
			client.Post(t.Context(), request(h.url()))
			if got := dials.Load(); got != 3 {
				t.Errorf("%s: a connection is used after %v of idleness", h.name, idleTimeout)
			}
			time.Sleep(2 * idleTimeout) // until the last connection is given up
		})
	}
}

func (h hostile) test(t *testing.T) {
	client, _, requests := h.client(t)
	const attempts = 5
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for n := range attempts {
		started := time.Now()
		got := client.Post(t.Context(), request(h.url()))
		took := time.Since(started)
		if h.lasts > 0 && took != h.lasts || h.lasts == 0 && took >= AttemptTimeout {
			t.Errorf("attempt %d took %v", n+1, took)
		}
		if got.Code != h.code || got.Status != h.status || got.Success() != (h.code == "") {
			t.Errorf("attempt %d: code %q and status %d, want %q and %d: %s", n+1, got.Code, got.Status, h.code, h.status, got.Error)
		}
		time.Sleep(2 * idleTimeout) // on the bubble's clock: the client has given up its connections then
	}
	runtime.ReadMemStats(&after)

	memory := (after.TotalAlloc - before.TotalAlloc) / attempts
	if memory > mostMemory {
		t.Errorf("an attempt allocated %d KiB", memory>>10)
	}
	if got := int(requests.Load()); got != max(0, cmp.Or(h.requests, attempts)) {
		t.Errorf("the endpoint got %d requests, want %d", got, max(0, cmp.Or(h.requests, attempts)))
	}
}
