package endpoint

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// host is the name under which the clients of these tests know the server on the loopback address.
const host = "endpoint.example"

// fixed is the time of every attempt in these tests, but where durations count.
var fixed = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// dialer counts what a client dials and reads, and connects to address whatever it asks for.
type dialer struct {
	address string
	dials   atomic.Int64
	read    atomic.Int64
	mu      sync.Mutex
	asked   []string
}

func (d *dialer) dial(ctx context.Context, network, asked string) (net.Conn, error) {
	d.dials.Add(1)
	d.mu.Lock()
	d.asked = append(d.asked, asked)
	d.mu.Unlock()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, d.address)
	if err != nil {
		return nil, err
	}
	return &countingConn{conn, &d.read}, nil
}

type countingConn struct {
	net.Conn
	read *atomic.Int64
}

func (c *countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// newClient returns a client whose connections all go to address.
func newClient(address string, change ...func(*ClientOptions)) (*Client, *dialer) {
	d := &dialer{address: address}
	options := ClientOptions{
		Guard: NewGuard(true), AllowHTTP: true, Now: func() time.Time { return fixed }, Timeout: 5 * time.Second, Dial: d.dial,
	}
	for _, f := range change {
		f(&options)
	}
	return NewClient(options), d
}

// peer is a raw server's side of one connection.
type peer struct {
	net.Conn
	reader   *bufio.Reader
	number   int           // of the connection, from 1
	requests *atomic.Int64 // that the server has read, over all connections
}

// next reads one request and returns its bytes, or nil if there is none.
func (p *peer) next() []byte {
	var raw bytes.Buffer
	p.reader = bufio.NewReader(io.TeeReader(io.MultiReader(bytes.NewReader(p.buffered()), p.Conn), &raw))
	request, err := http.ReadRequest(p.reader)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return nil
	}
	p.requests.Add(1)
	return raw.Bytes()
}

func (p *peer) buffered() []byte {
	if p.reader == nil {
		return nil
	}
	b, _ := p.reader.Peek(p.reader.Buffered())
	return b
}

func (p *peer) write(s string) error {
	_, err := io.WriteString(p.Conn, s)
	return err
}

// hang returns when the other side hangs up.
func (p *peer) hang() { io.Copy(io.Discard, p.Conn) }

// reset ends the connection with a RST.
func (p *peer) reset() {
	if tcp, ok := p.Conn.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0)
	}
	p.Conn.Close()
}

// serveRaw runs serve for every connection, over TLS if config is not nil, and returns the address.
func serveRaw(t *testing.T, config *tls.Config, serve func(p *peer)) string {
	t.Helper()
	requests := &atomic.Int64{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	running.Go(func() {
		for number := 1; ; number++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				served := conn
				if config != nil {
					served = tls.Server(conn, config)
				}
				serve(&peer{Conn: served, number: number, requests: requests})
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return listener.Addr().String()
}

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{certificate: certificate, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(certificate)
	return a
}

// intermediate returns an authority that a vouches for.
func (a *authority) intermediate(t *testing.T, name string, until time.Time) *authority {
	t.Helper()
	below := newAuthority(t)
	template := *below.certificate
	template.RawSubject = nil // which would come before Subject
	template.Subject, template.SerialNumber, template.NotAfter = pkix.Name{CommonName: name}, big.NewInt(3), until
	raw, err := x509.CreateCertificate(rand.Reader, &template, a.certificate, below.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if below.certificate, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	return below
}

// issueRSA is issue with a key of RSA.
func (a *authority) issueRSA(t *testing.T, name string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// issue returns a certificate for name that ends at until. Signed by itself if a is nil.
func (a *authority) issue(t *testing.T, name string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	parent, signer := template, key
	if a != nil {
		parent, signer = a.certificate, a.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// serveHTTP2 runs a server that offers HTTP/2 and returns a client of it.
func serveHTTP2(t *testing.T, handler http.HandlerFunc) (*Client, *dialer) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	trusted := newAuthority(t)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{trusted.issue(t, host, time.Now().Add(time.Hour))}}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return newClient(server.Listener.Addr().String(), func(o *ClientOptions) { o.RootCAs = trusted.pool })
}

// ok is the smallest answer that says that the webhook was accepted.
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// answering is a complete answer.
func rawAnswer(status int, headers, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d Whatever\r\n%sContent-Length: %d\r\n\r\n%s", status, headers, len(body), body)
}

// listen returns a server on the loopback address, its port and how often it has been called.
func listen(t *testing.T) (port string, calls *atomic.Int64) {
	t.Helper()
	calls = &atomic.Int64{}
	_, port, err := net.SplitHostPort(serveRaw(t, nil, func(p *peer) {
		calls.Add(1)
		speak(ok)(p)
	}))
	if err != nil {
		t.Fatal(err)
	}
	return port, calls
}

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

// bomb is 64 MiB of zeros in gzip.
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

// memory is a network in memory on which one endpoint listens, over TLS if config is not nil.
type memory struct {
	serve    func(*peer)
	config   *tls.Config
	dials    atomic.Int64
	requests atomic.Int64 // that the endpoint has read
}

// dial connects to the endpoint, whatever the address.
func (m *memory) dial(context.Context, string, string) (net.Conn, error) {
	number := int(m.dials.Add(1))
	near, far := connect()
	go func() {
		defer far.Close()
		p := &peer{Conn: far, number: number, requests: &m.requests}
		if m.config != nil {
			secure := tls.Server(far, m.config)
			if secure.Handshake() != nil {
				return
			}
			p.Conn = secure
		}
		m.serve(p)
	}()
	return near, nil
}

// certified returns a configuration of HTTPS with a good certificate, changed.
func certified(change func(*tls.Config)) func(*testing.T, *authority) *tls.Config {
	return func(t *testing.T, a *authority) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{a.issue(t, host, time.Now().Add(24*time.Hour))}}
		change(c)
		return c
	}
}

// http2 is the change that makes a server speak HTTP/2 and nothing else.
func http2(c *tls.Config) { c.NextProtos = []string{"h2"} }

// received is one request as an endpoint saw it.
type received struct {
	header http.Header
	body   []byte
}

// endpoint runs an HTTP server that keeps what it receives.
func endpoint(t *testing.T, answer http.HandlerFunc) (url string, requests <-chan received) {
	t.Helper()
	all := make(chan received, 20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		all <- received{r.Header.Clone(), body}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, all
}

func answering(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for n := 0; n < len(header); n += 2 {
			w.Header().Set(header[n], header[n+1])
		}
		w.WriteHeader(status)
	}
}
