package endpoint

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// mostMemory is what an attempt may allocate in all, whatever the endpoint does: ten of them at once
// fit into the function, even if nothing were given back. It includes what the endpoint allocates.
const mostMemory = 8 << 20

const oneGiB = 1 << 30

// largeAnswer is the beginning of an answer of 1 GiB.
func largeAnswer(status int) string {
	return fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n", status, oneGiB)
}

// hostile is an endpoint that does what it should not, and what is to come of each attempt at it.
type hostile struct {
	name     string
	serve    func(*peer)
	secure   func(*testing.T, *authority) *tls.Config // nil for plain HTTP
	code     string                                   // of every attempt
	status   int
	lasts    time.Duration // every attempt; 0 for less than it may
	requests int           // that the endpoint gets in all; 0 for one in every attempt, -1 for none
}

const private = "http://169.254.169.254/latest/meta-data/"

// hostileStatuses are endpoints whose status is the matter.
func hostileStatuses() []hostile {
	return []hostile{
		{name: "1xx and nothing more", serve: stall("HTTP/1.1 100 Continue\r\n\r\n"), lasts: AttemptTimeout, code: CodeTimeout},
		{
			name:   "101",
			serve:  stall("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
			code:   CodeHTTPStatus,
			status: 101,
		},
		{name: "200", serve: speak(ok), status: 200},
		{name: "600", serve: speak(rawAnswer(600, "", "")), code: CodeHTTPStatus, status: 600},
		{name: "099", serve: speak("HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n"), code: CodeProtocolError},
		{name: "000", serve: speak("HTTP/1.1 000 What\r\nContent-Length: 0\r\n\r\n"), code: CodeProtocolError},
		{name: "a status of two digits", serve: speak("HTTP/1.1 20 OK\r\n\r\n"), code: CodeProtocolError},
		{name: "a negative status", serve: speak("HTTP/1.1 -20 OK\r\n\r\n"), code: CodeProtocolError},
		{name: "a redirect loop", serve: speak(rawAnswer(302, "Location: /hook\r\n", "")), code: CodeRedirect, status: 302},
		{
			name:   "a redirect to a private address",
			serve:  speak(rawAnswer(307, "Location: "+private+"\r\n", "")),
			code:   CodeRedirect,
			status: 307,
		},
	}
}

// hostileSlow are endpoints that hang and drip.
func hostileSlow() []hostile {
	return []hostile{
		{name: "nothing", serve: stall(""), lasts: AttemptTimeout, code: CodeTimeout},
		{name: "a hang in the status line", serve: stall("HTTP/1.1 20"), lasts: AttemptTimeout, code: CodeTimeout},
		{name: "a hang in the headers", serve: stall("HTTP/1.1 200 OK\r\nContent-Le"), lasts: AttemptTimeout, code: CodeTimeout},
		{
			name:   "a hang before the body",
			serve:  stall("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
			lasts:  AttemptTimeout,
			code:   CodeBodyTooSlow,
			status: 200,
		},
		{
			name:   "a hang in the body",
			serve:  stall("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12"),
			lasts:  AttemptTimeout,
			code:   CodeBodyTooSlow,
			status: 200,
		},
		{
			name:   "a hang in the body of a 500",
			serve:  stall("HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\n12"),
			lasts:  AttemptTimeout,
			code:   CodeHTTPStatus,
			status: 500,
		},
		{name: "headers that drip", serve: drip("HTTP/1.1 200 OK\r\nX: ", "x"), lasts: AttemptTimeout, code: CodeTimeout},
		{
			name:   "a body that drips",
			serve:  drip("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", "x"),
			lasts:  AttemptTimeout,
			code:   CodeBodyTooSlow,
			status: 200,
		},
		{
			name:   "chunks that drip",
			serve:  drip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
			lasts:  AttemptTimeout,
			code:   CodeBodyTooSlow,
			status: 200,
		},
	}
}

// hostileEndless are endpoints that send too much.
func hostileEndless() []hostile {
	chunk := make([]byte, 64<<10)
	return []hostile{
		{name: "a 200 of 1 GiB", serve: flood(largeAnswer(200), chunk, oneGiB), status: 200},
		{name: "a 500 of 1 GiB", serve: flood(largeAnswer(500), chunk, oneGiB), code: CodeHTTPStatus, status: 500},
		{name: "a 200 without end", serve: flood("HTTP/1.1 200 OK\r\n\r\n", chunk, 0), status: 200},
		{name: "a gzip bomb in a 200", serve: speak(rawAnswer(200, "Content-Encoding: gzip\r\n", bomb())), status: 200},
		{
			name:   "a gzip bomb in a 500",
			serve:  speak(rawAnswer(500, "Content-Encoding: gzip\r\n", bomb())),
			code:   CodeHTTPStatus,
			status: 500,
		},
		{name: "1xx without end", serve: flood("", []byte("HTTP/1.1 102 Processing\r\n\r\n"), 0), code: CodeProtocolError},
		{name: "a status line without end", serve: flood("HTTP/1.1 200 ", chunk, 0), code: CodeProtocolError},
		{name: "headers without end", serve: flood("HTTP/1.1 200 OK\r\n", []byte("X: y\r\n"), 0), code: CodeProtocolError},
		{name: "a header of 1 GiB", serve: flood("HTTP/1.1 200 OK\r\nX: ", chunk, oneGiB), code: CodeProtocolError},
		{
			name:   "a chunk's extension without end",
			serve:  flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", []byte("x=y;"), 0),
			code:   CodeAnswerTruncated,
			status: 200,
		},
		{
			name:   "trailers without end",
			serve:  flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n", []byte("X: y\r\n"), 0),
			code:   CodeAnswerTruncated,
			status: 200,
		},
	}
}

// hostileBroken are endpoints that break off or do not do what they announce.
func hostileBroken() []hostile {
	return []hostile{
		{name: "no answer", serve: func(p *peer) { p.next() }, code: CodeConnectionReset},
		{name: "a reset without an answer", serve: func(p *peer) { p.next(); p.reset() }, code: CodeConnectionReset},
		{
			name:  "a reset in the headers",
			serve: func(p *peer) { p.next(); p.write("HTTP/1.1 200 OK\r\n"); p.reset() },
			code:  CodeConnectionReset,
		},
		{
			name:   "a reset in the body",
			serve:  func(p *peer) { p.next(); p.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12"); p.reset() },
			code:   CodeAnswerTruncated,
			status: 200,
		},
		{
			name:   "less body than announced",
			serve:  func(p *peer) { p.next(); p.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12") },
			code:   CodeAnswerTruncated,
			status: 200,
		},
		{name: "more body than announced", serve: speak("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n12345"), status: 200},
		{name: "two lengths", serve: speak("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12"), code: CodeProtocolError},
		{name: "a length that is no number", serve: speak("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n12345"), code: CodeProtocolError},
		{
			name:   "connections that close after every answer",
			serve:  func(p *peer) { p.next(); p.write(rawAnswer(500, "", "")) },
			code:   CodeHTTPStatus,
			status: 500,
		},
	}
}

// hostileHandshakes are endpoints over TLS. What becomes of bad certificates is told by TestTLS.
func hostileHandshakes() []hostile {
	return []hostile{
		{name: "TLS 1.2", serve: speak(ok), status: 200, secure: certified(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })},
		{name: "TLS 1.3", serve: speak(ok), status: 200, secure: certified(func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 })},
		{
			name:     "a hang after the handshake",
			serve:    (*peer).hang,
			lasts:    AttemptTimeout,
			code:     CodeTimeout,
			requests: -1,
			secure:   certified(func(*tls.Config) {}),
		},
	}
}

// hostileStatusesHTTP2 are as statuses, over HTTP/2.
func hostileStatusesHTTP2() []hostile {
	return []hostile{
		{name: "200", serve: frames(func(p *peer, stream uint32) { finish(p, stream, 200) }), status: 200},
		{name: "500", serve: frames(func(p *peer, stream uint32) { finish(p, stream, 500) }), code: CodeHTTPStatus, status: 500},
		{name: "099", serve: frames(func(p *peer, stream uint32) { finish(p, stream, 99) }), code: CodeProtocolError},
		{name: "101", serve: frames(func(p *peer, stream uint32) { begin(p, stream, 101) }), lasts: AttemptTimeout, code: CodeTimeout},
		{
			name:   "a redirect to a private address",
			serve:  frames(func(p *peer, stream uint32) { finish(p, stream, 302, "location: "+private) }),
			code:   CodeRedirect,
			status: 302,
		},
	}
}

// hostileSlowHTTP2 are as slow, over HTTP/2.
func hostileSlowHTTP2() []hostile {
	return []hostile{
		{name: "nothing", serve: frames(func(*peer, uint32) {}), lasts: AttemptTimeout, code: CodeTimeout},
		{
			name:  "a hang in the headers",
			serve: deaf(func(p *peer) { writeFrame(p, frameHeaders, 0, 1, hpack(200)) }),
			lasts: pingAfter + pingTimeout,
			code:  CodeTimeout,
		},
		{
			name:   "a hang before the body",
			serve:  frames(func(p *peer, stream uint32) { begin(p, stream, 200) }),
			lasts:  AttemptTimeout,
			code:   CodeBodyTooSlow,
			status: 200,
		},
		{
			name: "a body that drips",
			serve: frames(func(p *peer, stream uint32) {
				begin(p, stream, 200)
				pour(p, rawFrame(frameData, 0, stream, []byte("x")), 0, 100*time.Millisecond)
			}),
			lasts:  AttemptTimeout,
			code:   CodeBodyTooSlow,
			status: 200,
		},
		{
			name: "pings and settings without end",
			serve: frames(func(p *peer, _ uint32) {
				pings := append(rawFrame(framePing, 0, 0, make([]byte, 8)), rawFrame(frameSettings, 0, 0, nil)...)
				go pour(p, pings, 0, 10*time.Millisecond)
			}),
			lasts: AttemptTimeout,
			code:  CodeTimeout,
		},
		{
			name: "no room for the request",
			serve: func(p *peer) {
				p.requests = &atomic.Int64{} // a body that is faster than the settings gets through
				windowOfNothing := []byte{0, 4, 0, 0, 0, 0}
				serveFrames(p, windowOfNothing, func(uint32) {})
			},
			lasts:    AttemptTimeout,
			code:     CodeTimeout,
			requests: -1,
		},
		{name: "no answer, to pings neither", serve: deaf(func(*peer) {}), lasts: pingAfter + pingTimeout, code: CodeTimeout},
		{
			name:   "no end of the body, to pings neither",
			serve:  deaf(func(p *peer) { begin(p, 1, 200) }),
			lasts:  pingAfter + pingTimeout,
			code:   CodeBodyTooSlow,
			status: 200,
		},
	}
}

// hostileEndlessHTTP2 are as endless, over HTTP/2.
func hostileEndlessHTTP2() []hostile {
	frame := make([]byte, 16<<10) // the most that one may hold
	large := make([]byte, 1<<20)
	return []hostile{
		{
			name: "a 500 of 1 GiB, as far as it is let",
			serve: frames(func(p *peer, stream uint32) {
				begin(p, stream, 500, fmt.Sprintf("content-length: %d", oneGiB))
				writeFrame(p, frameData, 0, stream, frame)
			}),
			code:   CodeHTTPStatus,
			status: 500,
		},
		{
			name: "a 500 of 8 MiB, however much it is let",
			serve: frames(func(p *peer, stream uint32) {
				begin(p, stream, 500)
				pour(p, rawFrame(frameData, 0, stream, frame), 8<<20, 0)
			}),
			code:   CodeHTTPStatus,
			status: 500,
		},
		{
			name: "a frame larger than it is let",
			serve: frames(func(p *peer, stream uint32) {
				begin(p, stream, 200)
				writeFrame(p, frameData, 0, stream, large)
			}),
			code:   CodeAnswerTruncated,
			status: 200,
		},
		{
			name: "a gzip bomb",
			serve: frames(func(p *peer, stream uint32) {
				begin(p, stream, 500, "content-encoding: gzip")
				writeFrame(p, frameData, flagEndStream, stream, []byte(bomb()[:16<<10]))
			}),
			code:   CodeHTTPStatus,
			status: 500,
		},
		{
			name: "1xx without end",
			serve: frames(func(p *peer, stream uint32) {
				pour(p, rawFrame(frameHeaders, flagEndHeaders, stream, hpack(102)), 0, time.Millisecond)
			}),
			code: CodeProtocolError,
		},
		{
			name: "a bomb of header references",
			serve: frames(func(p *peer, stream uint32) {
				block := append(hpack(200), 0x40) // a field of 4000 bytes, kept as index 62
				block = appendString(appendString(block, "x"), strings.Repeat("y", 4000))
				writeFrame(p, frameHeaders, flagEndHeaders, stream, append(block, bytes.Repeat([]byte{0x80 | 62}, 10<<10)...))
			}),
			code: CodeProtocolError,
		},
		{
			name: "headers without end",
			serve: frames(func(p *peer, stream uint32) {
				writeFrame(p, frameHeaders, 0, stream, hpack(200))
				const frameContinuation = 9
				pour(p, rawFrame(frameContinuation, 0, stream, hpack(200, "x: "+strings.Repeat("y", 10<<10))[5:]), 0, 0)
			}),
			code: CodeProtocolError,
		},
	}
}

// hostileBrokenHTTP2 are as broken, over HTTP/2.
func hostileBrokenHTTP2() []hostile {
	return []hostile{
		{
			name: "less body than announced",
			serve: frames(func(p *peer, stream uint32) {
				begin(p, stream, 200, "content-length: 5")
				writeFrame(p, frameData, flagEndStream, stream, []byte("12"))
			}),
			code:   CodeAnswerTruncated,
			status: 200,
		},
		{
			name:  "a reset without an answer",
			serve: frames(func(p *peer, stream uint32) { resets(p, stream, 2) }),
			code:  CodeConnectionReset,
		},
		{
			name:   "a reset in the body",
			serve:  frames(func(p *peer, stream uint32) { begin(p, stream, 200); resets(p, stream, 2) }),
			code:   CodeAnswerTruncated,
			status: 200,
		},
		{
			name:  "a connection that ends without an answer",
			serve: frames(func(p *peer, _ uint32) { p.Conn.Close() }),
			code:  CodeConnectionReset,
		},
		{name: "garbage", serve: frames(func(p *peer, _ uint32) { p.Conn.Write(make([]byte, 100)) }), code: CodeProtocolError},
	}
}

// hostileRefusals are HTTP/2 endpoints that say that they have not looked at the request. They get it once more, and
// not for ever.
func hostileRefusals() []hostile {
	return []hostile{
		{
			name:     "GOAWAY before every answer",
			serve:    frames(func(p *peer, _ uint32) { writeFrame(p, frameGoAway, 0, 0, make([]byte, 8)) }),
			code:     CodeConnectionReset,
			requests: 10,
		},
		{
			name:     "a refusal of every stream",
			serve:    frames(func(p *peer, stream uint32) { resets(p, stream, 7) }),
			code:     CodeConnectionReset,
			requests: 10,
		},
		{
			name:     "a protocol error for every stream",
			serve:    frames(func(p *peer, stream uint32) { resets(p, stream, 1) }),
			code:     CodeConnectionReset,
			requests: 10,
		},
		{
			name: "GOAWAY after every answer",
			serve: frames(func(p *peer, stream uint32) {
				finish(p, stream, 500)
				writeFrame(p, frameGoAway, 0, 0, binary.BigEndian.AppendUint64(nil, uint64(stream)<<32))
			}),
			code:   CodeHTTPStatus,
			status: 500,
		},
	}
}

// TestHostileEndpoint makes five attempts at endpoints that do what they should not: with which code they
// fail, how many requests the endpoint gets, and what time and memory an attempt takes. The network is in
// memory and the clock the bubble's, so that the limits are those of production and the times exact.
//
// It must not run beside other tests, whose allocations it would count.
func TestHostileEndpoint(t *testing.T) {
	for _, h := range slices.Concat(hostileStatuses(), hostileSlow(), hostileEndless(), hostileBroken(), hostileHandshakes()) {
		t.Run(h.name, func(t *testing.T) { synctest.Test(t, h.test) })
	}
	for _, h := range slices.Concat(
		hostileStatusesHTTP2(), hostileSlowHTTP2(), hostileEndlessHTTP2(), hostileBrokenHTTP2(), hostileRefusals(),
	) {
		h.secure = certified(http2)
		t.Run("HTTP2 "+h.name, func(t *testing.T) { synctest.Test(t, h.test) })
	}
}

func (h hostile) test(t *testing.T) {
	trusted := newAuthority(t)
	var config *tls.Config
	if h.secure != nil {
		config = h.secure(t, trusted)
	}
	network := &memory{serve: h.serve, config: config}
	client := NewClient(ClientOptions{AllowHTTP: true, Now: time.Now, RootCAs: trusted.pool, Dial: network.dial})
	url := "http://" + host + "/hook"
	if config != nil {
		url = "https://" + host + "/hook"
	}
	const attempts = 5
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for n := range attempts {
		started := time.Now()
		got := client.Post(t.Context(), requestTo(url))
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

	allocated := (after.TotalAlloc - before.TotalAlloc) / attempts
	if allocated > mostMemory {
		t.Errorf("an attempt allocated %d KiB", allocated>>10)
	}
	if got := int(network.requests.Load()); got != max(0, cmp.Or(h.requests, attempts)) {
		t.Errorf("the endpoint got %d requests, want %d", got, max(0, cmp.Or(h.requests, attempts)))
	}
}

// TestEndlessAnswerIsReadInPart: over a real connection too, what a client reads and allocates does not depend
// on what an endpoint sends. It must not run beside other tests, whose allocations it would count.
func TestEndlessAnswerIsReadInPart(t *testing.T) {
	cases := map[string]struct {
		status int
		http2  bool
	}{
		"HTTP/1, success": {status: 200},
		"HTTP/1, failure": {status: 500},
		"HTTP/2, success": {status: 200, http2: true},
		"HTTP/2, failure": {status: 500, http2: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			url := "http://" + host
			client, d := newClient(serveRaw(t, nil, flood(largeAnswer(c.status), make([]byte, 64<<10), oneGiB)))
			if c.http2 {
				url = "https://" + host
				client, d = serveHTTP2(t, func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(c.status)
					for chunk := make([]byte, 64<<10); ; {
						if _, err := w.Write(chunk); err != nil {
							return
						}
					}
				})
			}
			const attempts = 10
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range attempts {
				if got := client.Post(t.Context(), requestTo(url)); got.Status != c.status || got.Success() != (c.status == 200) {
					t.Fatalf("%+v", got)
				}
			}
			runtime.ReadMemStats(&after)
			if read := d.read.Load() / attempts; read > 64<<10 {
				t.Errorf("read %d bytes of an answer, want about %d", read, maxAnswer)
			}
			if each := (after.TotalAlloc - before.TotalAlloc) / attempts; each > 1<<20 {
				t.Errorf("an attempt allocated %d bytes", each)
			}
		})
	}
}

func TestAttemptTimeoutCannotBeRaised(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{
		0: AttemptTimeout, -1: AttemptTimeout, time.Hour: AttemptTimeout, time.Second: time.Second,
	} {
		if got := NewClient(ClientOptions{Guard: NewGuard(false), Now: time.Now, Timeout: given}).timeout; got != want {
			t.Errorf("Timeout %v gives %v, want %v", given, got, want)
		}
	}
	if AttemptTimeout != 15*time.Second || connectTimeout != 10*time.Second {
		t.Error("the limits are not those that README states")
	}
}
