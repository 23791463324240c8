package endpoint

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzAnswer: whatever an endpoint answers, only 2xx is success, and what is logged is short and
// valid text without the credentials.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		ok, answer(500, "", "no"), answer(302, "Location: http://[::1\r\n", ""), answer(429, "Retry-After: 9\xff\r\n", "\xff"), "HTTP/1.1 099 X\r\n\r\n", "HTTP/1.1 \xff\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", "HTTP/1.0 200 \xc3\r\n\xff\xfe: \xc3\r\n\r\n", "HTTP/\xff.1 200 OK\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\n" + ok, "HTTP/1.1 101 X\r\nUpgrade: \xff\r\n\r\n", current.Token.Reveal(), answer(400, "", current.Token.Reveal()),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		requests := &atomic.Int64{}
		client := NewClient(ClientOptions{
			AllowHTTP: true, Now: time.Now, Timeout: 10 * time.Second,
			Dial: func(context.Context, string, string) (net.Conn, error) {
				near, far := connect()
				go func() {
					defer far.Close()
					p := &peer{Conn: far, requests: requests}
					if p.next() != nil {
						far.Write(raw)
					}
				}()
				return near, nil
			},
		})
		defer client.Rested()
		got := client.Post(t.Context(), request("http://"+host))
		if got.Success() != (got.Status >= 200 && got.Status <= 299 && got.Error == "") || got.Success() && got.Snippet != "" {
			t.Errorf("%+v", got)
		}
		if got.Status != 0 && (got.Status < 100 || got.Status > 999) {
			t.Errorf("status %d", got.Status)
		}
		if len(got.Snippet) > maxSnippet || len(got.Error) > maxErrorText || !utf8.ValidString(got.Snippet) || !utf8.ValidString(got.Error) {
			t.Errorf("%q, %q", got.Error, got.Snippet)
		}
		for _, secret := range []string{current.Token.Reveal(), current.Secret.Reveal()} {
			if strings.Contains(got.Snippet+got.Error, secret) {
				t.Errorf("%q, %q", got.Error, got.Snippet)
			}
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}
