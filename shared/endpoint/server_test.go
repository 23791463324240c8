package endpoint

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
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
	address, _ := serveCounting(t, config, serve)
	return address
}

// serveCounting is serveRaw and counts the requests.
func serveCounting(t *testing.T, config *tls.Config, serve func(p *peer)) (string, *atomic.Int64) {
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
	return listener.Addr().String(), requests
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
	a := &authority{certificate, key, x509.NewCertPool()}
	a.pool.AddCert(certificate)
	return a
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
