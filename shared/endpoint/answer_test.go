package endpoint

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/docuhook/docuhook/shared/signature"
)

// statusResult is the result of an answer that is neither 2xx nor 3xx.
func statusResult(n int, snippet string) Result {
	return Result{Status: n, Code: CodeHTTPStatus, Error: fmt.Sprint("the endpoint answered ", n), Snippet: snippet}
}

func redirect(n int, target string) Result {
	r := Result{Status: n, Code: CodeRedirect, Error: "redirects are not followed"}
	if target != "" {
		r.Error += "; this one leads to " + target
	}
	return r
}

func TestAnswerMeans(t *testing.T) {
	after := func(status int, seconds int) Result {
		return Result{
			Status: status, Code: CodeHTTPStatus, Error: fmt.Sprint("the endpoint answered ", status),
			RetryAfter: time.Duration(seconds) * time.Second,
		}
	}
	var (
		timeout   = Result{Code: CodeTimeout, Error: "no answer in time"}
		cutOff    = Result{Code: CodeConnectionReset, Error: "the endpoint ended the connection without an answer"}
		slow      = Result{Status: 200, Code: CodeBodyTooSlow, Error: "the answer did not end in time"}
		truncated = Result{Status: 200, Code: CodeAnswerTruncated, Error: "the connection ended within the answer"}
	)
	const broken = "net/http: HTTP/1.x transport connection broken: "
	send := func(s string) func(*peer) { return func(p *peer) { p.write(s) } }
	sendAndHang := func(s string) func(*peer) { return func(p *peer) { p.write(s); p.hang() } }

	cases := []struct {
		name  string
		hangs bool // until the client gives up
		serve func(*peer)
		want  Result
	}{
		// Success: 2xx and nothing else.
		{name: "200 is success", serve: send(ok), want: Result{Status: 200}},
		{name: "201 is success", serve: send(rawAnswer(201, "", "")), want: Result{Status: 201}},
		{name: "202 with a body is success without a snippet", serve: send(rawAnswer(202, "", "thank you")), want: Result{Status: 202}},
		{name: "204 is success", serve: send("HTTP/1.1 204 No Content\r\n\r\n"), want: Result{Status: 204}},
		{name: "299 is success", serve: send(rawAnswer(299, "", "")), want: Result{Status: 299}},
		{name: "an answer that ends with the connection is success", serve: send("HTTP/1.1 200 OK\r\n\r\ndone"), want: Result{Status: 200}},
		{name: "an answer of HTTP/1.0 is success", serve: send("HTTP/1.0 200 OK\r\n\r\n"), want: Result{Status: 200}},
		{
			name:  "a few 1xx before 200 are success",
			serve: send(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 3) + ok),
			want:  Result{Status: 200},
		},
		{
			name:  "more body than announced is success",
			serve: send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"),
			want:  Result{Status: 200},
		},

		// 1xx.
		{
			name: "1xx without end is a protocol error",
			serve: func(p *peer) {
				for p.write("HTTP/1.1 102 Processing\r\nX-Filler: "+strings.Repeat("x", 1000)+"\r\n\r\n") == nil {
				}
			},
			want: Result{Code: CodeProtocolError, Error: broken + "net/http: server response headers exceeded 65536 bytes; aborted"},
		},
		{
			name:  "101 with an open connection is a failure at once",
			serve: sendAndHang("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
			want:  statusResult(101, ""),
		},
		{name: "100 and nothing more is a timeout", hangs: true, serve: sendAndHang("HTTP/1.1 100 Continue\r\n\r\n"), want: timeout},

		// Redirects: never followed.
		{name: "300 is a failure", serve: send(rawAnswer(300, "", "")), want: redirect(300, "")},
		{
			name:  "301 to a private address is a failure",
			serve: send(rawAnswer(301, "Location: http://169.254.169.254/latest/meta-data/\r\n", "")),
			want:  redirect(301, "http://169.254.169.254/latest/meta-data/"),
		},
		{
			name:  "302 to itself is a failure",
			serve: send(rawAnswer(302, "Location: /hook\r\n", "")),
			want:  redirect(302, "http://"+host+"/hook"),
		},
		{name: "302 to nowhere is a failure with its status", serve: send(rawAnswer(302, "", "")), want: redirect(302, "")},
		{
			name:  "302 to what is no URL is a failure with its status",
			serve: send(rawAnswer(302, "Location: http://[::1\r\n", "")),
			want:  redirect(302, ""),
		},
		{
			name:  "303 is a failure",
			serve: send(rawAnswer(303, "Location: https://other.example/\r\n", "")),
			want:  redirect(303, "https://other.example/"),
		},
		{name: "304 is a failure", serve: send("HTTP/1.1 304 Not Modified\r\n\r\n"), want: redirect(304, "")},
		{
			name:  "307, which would carry the body along, is a failure",
			serve: send(rawAnswer(307, "Location: http://127.0.0.1:1/\r\n", "")),
			want:  redirect(307, "http://127.0.0.1:1/"),
		},
		{
			name:  "308 is a failure",
			serve: send(rawAnswer(308, "Location: http://10.0.0.1/\r\n", "")),
			want:  redirect(308, "http://10.0.0.1/"),
		},
		{
			name:  "a redirect is named without query, fragment and user",
			serve: send(rawAnswer(308, "Location: https://me:mine@www.other.example:8443/a%2Fb/?key=1#top\r\n", "")),
			want:  redirect(308, "https://www.other.example:8443/a%2Fb/"),
		},
		{
			name:  "a redirect of the scheme alone is named",
			serve: send(rawAnswer(301, "Location: https://"+host+"/hook\r\n", "")),
			want:  redirect(301, "https://"+host+"/hook"),
		},
		{
			name:  "a redirect to a path beside the one that was asked is named in full",
			serve: send(rawAnswer(301, "Location: hook/\r\n", "")),
			want:  redirect(301, "http://"+host+"/hook/"),
		},
		{
			name:  "a redirect that holds the token is named without it",
			serve: send(rawAnswer(302, "Location: /"+current.Token.Reveal()+"\r\n", "")),
			want:  redirect(302, "http://"+host+"/[redacted]"),
		},
		{
			name:  "a redirect to what is no place is a failure with its status",
			serve: send(rawAnswer(302, "Location: mailto:me@other.example\r\n", "")),
			want:  redirect(302, ""),
		},

		// Other statuses.
		{
			name:  "400 is a failure with a snippet",
			serve: send(rawAnswer(400, "", "no such field")),
			want:  statusResult(400, "no such field"),
		},
		{name: "401 is a failure", serve: send(rawAnswer(401, "WWW-Authenticate: Basic\r\n", "")), want: statusResult(401, "")},
		{name: "404 is a failure", serve: send(rawAnswer(404, "", "")), want: statusResult(404, "")},
		{name: "404 is not asked when to retry", serve: send(rawAnswer(404, "Retry-After: 60\r\n", "")), want: statusResult(404, "")},
		{name: "410 is a failure", serve: send(rawAnswer(410, "", "bye")), want: statusResult(410, "bye")},
		{
			name:  "410 is 410 even if its body hangs",
			hangs: true,
			serve: sendAndHang("HTTP/1.1 410 Gone\r\nContent-Length: 10\r\n\r\nbye"),
			want:  statusResult(410, "bye"),
		},
		{name: "500 is a failure", serve: send(rawAnswer(500, "", "")), want: statusResult(500, "")},
		{name: "599 is a failure", serve: send(rawAnswer(599, "", "")), want: statusResult(599, "")},
		{name: "999 is a failure", serve: send(rawAnswer(999, "", "")), want: statusResult(999, "")},

		// Retry-After.
		{name: "429 with seconds is to be retried then", serve: send(rawAnswer(429, "Retry-After: 120\r\n", "")), want: after(429, 120)},
		{
			name:  "503 with a date is to be retried then",
			serve: send(rawAnswer(503, "Retry-After: Sun, 01 Mar 2026 12:03:00 GMT\r\n", "")),
			want:  after(503, 180),
		},
		{
			name:  "503 with a past date is to be retried as planned",
			serve: send(rawAnswer(503, "Retry-After: Sun, 01 Mar 2020 12:00:00 GMT\r\n", "")),
			want:  after(503, 0),
		},
		{
			name:  "503 with garbage is to be retried as planned",
			serve: send(rawAnswer(503, "Retry-After: soon\r\n", "")),
			want:  after(503, 0),
		},
		{
			name:  "429 with a negative number is to be retried as planned",
			serve: send(rawAnswer(429, "Retry-After: -120\r\n", "")),
			want:  after(429, 0),
		},
		{
			name:  "429 with a day is to be retried after a day",
			serve: send(rawAnswer(429, "Retry-After: 86400\r\n", "")),
			want:  after(429, 86400),
		},
		{name: "500 is not asked when to retry", serve: send(rawAnswer(500, "Retry-After: 60\r\n", "")), want: statusResult(500, "")},

		// Hanging.
		{name: "nothing at all is a timeout", hangs: true, serve: (*peer).hang, want: timeout},
		{name: "half a status line is a timeout", hangs: true, serve: sendAndHang("HTTP/1.1 2"), want: timeout},
		{name: "half of the headers is a timeout", hangs: true, serve: sendAndHang("HTTP/1.1 200 OK\r\nContent-Le"), want: timeout},
		{
			name:  "2xx that hangs before its body is too slow",
			hangs: true,
			serve: sendAndHang("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
			want:  slow,
		},
		{
			name:  "2xx that hangs in its body is too slow",
			hangs: true,
			serve: sendAndHang("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n"),
			want:  slow,
		},
		{
			name: "2xx that drips is too slow", hangs: true,
			serve: func(p *peer) {
				p.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for range tick.C {
					if p.write(".") != nil {
						return
					}
				}
			},
			want: slow,
		},
		{
			name: "headers that drip are a timeout", hangs: true,
			serve: func(p *peer) {
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for _, c := range "HTTP/1.1 200 OK\r\nX-Filler: " + strings.Repeat("x", 1000) {
					<-tick.C
					if p.write(string(c)) != nil {
						return
					}
				}
			},
			want: timeout,
		},
		{
			name:  "500 that hangs in its body is a 500",
			hangs: true,
			serve: sendAndHang("HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nI think that"),
			want:  statusResult(500, "I think that"),
		},

		// Breaking off.
		{name: "a connection that ends without an answer is cut off", serve: func(*peer) {}, want: cutOff},
		{name: "a connection that is reset without an answer is cut off", serve: (*peer).reset, want: cutOff},
		{
			name:  "a connection that ends within the headers is cut off",
			serve: send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"),
			want:  cutOff,
		},
		{
			name:  "2xx with less body than announced is truncated",
			serve: send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nI think that"),
			want:  truncated,
		},
		{
			name:  "2xx with an unfinished chunk is truncated",
			serve: send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nwiki"),
			want:  truncated,
		},
		{name: "2xx that is reset within its body is truncated", serve: func(p *peer) {
			p.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nI think that")
			p.reset()
		}, want: truncated},
		{
			name:  "500 with less body than announced is a 500",
			serve: send("HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nI think that"),
			want:  statusResult(500, "I think that"),
		},

		// Nonsense.
		{
			name: "half a header is a protocol error", serve: send("HTTP/1.1 200 OK\r\nContent-Le"),
			want: Result{Code: CodeProtocolError, Error: broken + `malformed MIME header: missing colon: "Content-Le"`},
		},
		{
			name: "garbage is a protocol error", serve: send("SSH-2.0-OpenSSH_9.9\r\n"),
			want: Result{Code: CodeProtocolError, Error: broken + `malformed HTTP response "SSH-2.0-OpenSSH_9.9"`},
		},
		{
			name: "garbage that speaks of TLS is a protocol error", serve: send("tls:handshake\r\n"),
			want: Result{Code: CodeProtocolError, Error: broken + `malformed HTTP response "tls:handshake"`},
		},
		{
			name:  "headers beyond 64 KiB are a protocol error",
			serve: send("HTTP/1.1 200 OK\r\nX-Filler: " + strings.Repeat("x", 70<<10) + "\r\n\r\n"),
			want:  Result{Code: CodeProtocolError, Error: broken + "net/http: server response headers exceeded 65536 bytes; aborted"},
		},
		{
			name:  "two different lengths are a protocol error",
			serve: send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok"),
			want: Result{
				Code:  CodeProtocolError,
				Error: broken + `http: message cannot contain multiple Content-Length headers; got ["1" "2"]`,
			},
		},
		{
			name: "a negative length is a protocol error", serve: send("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
			want: Result{Code: CodeProtocolError, Error: broken + `bad Content-Length "-1"`},
		},

		// Snippets.
		{
			name:  "a long answer is cut to 256 bytes",
			serve: send(rawAnswer(500, "", strings.Repeat("a", 1000))),
			want:  statusResult(500, strings.Repeat("a", 256)),
		},
		{
			name:  "a character is not cut in two",
			serve: send(rawAnswer(500, "", strings.Repeat("a", 255)+"€")),
			want:  statusResult(500, strings.Repeat("a", 255)),
		},
		{name: "what is not UTF-8 is replaced", serve: send(rawAnswer(500, "", "a\xff\xfeb")), want: statusResult(500, "a\uFFFDb")},
		{
			name:  "the token and the secret do not come back",
			serve: send(rawAnswer(500, "", "got "+current.Token.Reveal()+" and "+current.Secret.Reveal())),
			want:  statusResult(500, "got [redacted] and [redacted]"),
		},
		{
			name:  "nor do they without their prefixes",
			serve: send(rawAnswer(500, "", "got "+current.Token.Reveal()[6:]+" and "+current.Secret.Reveal()[6:])),
			want:  statusResult(500, "got [redacted] and [redacted]"),
		},
		{
			name:  "a token is not cut into something that is not recognized",
			serve: send(rawAnswer(500, "", strings.Repeat("a", 250)+current.Token.Reveal())),
			want:  statusResult(500, strings.Repeat("a", 250)+"[redac"),
		},
		{
			name: "the token does not come back in an error either", serve: send(current.Token.Reveal() + "\r\n"),
			want: Result{Code: CodeProtocolError, Error: broken + `malformed HTTP response "[redacted]"`},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := serveRaw(t, nil, func(p *peer) {
				if p.next() != nil {
					c.serve(p)
				}
			})
			const hanging, most = 300 * time.Millisecond, 4 * time.Second
			client, dialer := newClient(address, func(o *ClientOptions) {
				if c.hangs {
					o.Timeout = hanging
				}
			})
			started := time.Now()
			got := client.Post(t.Context(), requestTo("http://"+host+"/hook"))
			took := time.Since(started)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Result{}, "StartedAt", "Duration")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if took > most || c.hangs && took < hanging {
				t.Errorf("took %v", took)
			}
			if n := dialer.dials.Load(); n != 1 {
				t.Errorf("%d connections, want one", n)
			}
		})
	}
}

func TestOnlyTextIsKeptOfAnAnswer(t *testing.T) {
	packed := func(text string) string {
		var out bytes.Buffer
		writer := gzip.NewWriter(&out)
		writer.Write([]byte(text))
		writer.Close()
		return out.String()
	}
	for name, test := range map[string]struct {
		headers, body, want string
	}{
		"text":                      {body: "no such field", want: "no such field"},
		"JSON":                      {headers: "Content-Type: application/json\r\n", body: `{"error":"no"}`, want: `{"error":"no"}`},
		"HTML":                      {body: "<!DOCTYPE html><title>Oops</title>", want: "<!DOCTYPE html><title>Oops</title>"},
		"XML":                       {body: "<?xml version=\"1.0\"?><a/>", want: "<?xml version=\"1.0\"?><a/>"},
		"text of several lines":     {body: "a\r\n\tb\n", want: "a\r\n\tb\n"},
		"text beyond ASCII":         {body: "größer 大", want: "größer 大"},
		"text in Latin-1":           {body: "gr\xf6\xdfer", want: "gr\uFFFDer"},
		"text that says identity":   {headers: "Content-Encoding: Identity\r\n", body: "no", want: "no"},
		"gzip":                      {headers: "Content-Encoding: gzip\r\n", body: packed("no")},
		"gzip that does not say so": {body: packed("no")},
		"gzip of 4 MiB":             {headers: "Content-Encoding: gzip\r\n", body: packed(strings.Repeat("0", 4<<20))},
		"what says it is Brotli":    {headers: "Content-Encoding: br\r\n", body: "looks like text"},
		"a picture":                 {body: "\x89PNG\r\n\x1a\n"},
		"a PDF":                     {body: "%PDF-1.7"},
		"text in UTF-16":            {body: "\xff\xfen\x00o\x00"},
		"text and a zero byte":      {body: "no\x00"},
		"nothing":                   {},
	} {
		t.Run(name, func(t *testing.T) {
			address := serveRaw(t, nil, func(p *peer) {
				p.next()
				p.write(rawAnswer(500, test.headers, test.body))
			})
			for omit, want := range map[bool]string{false: test.want, true: ""} {
				client, _ := newClient(address, func(o *ClientOptions) { o.OmitAnswers = omit })
				got := client.Post(t.Context(), requestTo("http://"+host))
				if got.Status != 500 || got.Snippet != want {
					t.Errorf("status %d, snippet %q, want %q", got.Status, got.Snippet, want)
				}
			}
		})
	}
}

func TestNothingOfAnAnswerIsKeptOnRequest(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		want   Result
	}{
		"a body": {
			answer: rawAnswer(400, "", "Erika Mustermann is no customer of ours"),
			want:   statusResult(400, ""),
		},
		"where a redirect leads": {
			answer: rawAnswer(302, "Location: https://other.example/mustermann\r\n", "Erika Mustermann"),
			want:   redirect(302, ""),
		},
		"what is not HTTP": {
			answer: "Erika Mustermann\r\n",
			want:   Result{Code: CodeProtocolError, Error: "the endpoint does not answer as HTTP wants"},
		},
		"a header that makes no sense": {
			answer: "HTTP/1.1 200 OK\r\nContent-Length: Mustermann\r\n\r\n",
			want:   Result{Code: CodeProtocolError, Error: "the endpoint does not answer as HTTP wants"},
		},
		"and when to come back is still heard": {
			answer: rawAnswer(503, "Retry-After: 60\r\n", "Erika Mustermann"),
			want:   Result{Status: 503, Code: CodeHTTPStatus, Error: "the endpoint answered 503", RetryAfter: time.Minute},
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := newClient(serveRaw(t, nil, speak(test.answer)), func(o *ClientOptions) { o.OmitAnswers = true })
			got := client.Post(t.Context(), requestTo("http://"+host))
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(Result{}, "StartedAt", "Duration")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCustomHeaderDoesNotComeBack(t *testing.T) {
	const value = `Bearer key<1>/"2"+3\4&5=`
	for name, echoed := range map[string]string{
		"as it is":               value,
		"without its scheme":     value[len("Bearer "):],
		"in JSON":                `Bearer key<1>/\"2\"+3\\4&5=`,
		"in JSON of PHP":         `Bearer key<1>\/\"2\"+3\\4&5=`,
		"in JSON of Go":          `Bearer key\u003c1\u003e/\"2\"+3\\4\u0026 5=`,
		"in HTML":                "Bearer key&lt;1&gt;/&#34;2&#34;+3\\4&amp;5=",
		"in a form":              "Bearer+key%3C1%3E%2F%222%22%2B3%5C4%265%3D",
		"in a path":              "Bearer%20key%3C1%3E%2F%222%22+3%5C4&5=",
		"that is part of others": "x" + value + "y",
	} {
		t.Run(name, func(t *testing.T) {
			echoed = strings.ReplaceAll(echoed, "\\u0026 5", "\\u00265")
			client, _ := newClient(serveRaw(t, nil, speak(rawAnswer(401, "", "got "+echoed+" and eu"))))
			r := requestTo("http://" + host)
			r.Current.Headers = map[string]signature.Secret{"Authorization": value, "X-Region": "eu"}
			got := client.Post(t.Context(), r)
			wrong := strings.Contains(got.Snippet, "key") || !strings.Contains(got.Snippet, "[redacted]")
			if wrong || !strings.HasSuffix(got.Snippet, " and eu") {
				t.Errorf("snippet %q", got.Snippet)
			}
		})
	}
}

// TestShortCustomHeaderDoesNotComeBackAfterItsName has values that are no secrets and would be found in every other word.
func TestShortCustomHeaderDoesNotComeBackAfterItsName(t *testing.T) {
	headers := map[string]signature.Secret{"X-Env": "1", "x-region": "eu", "X-Odd": `"<`, "X-Sign": "-1*", "X-Tag": "<<<"}
	for echoed, want := range map[string]string{
		"X-Env: 1\r\nx-region: eu\r\n":                        "X-Env: [redacted]\r\nx-region: [redacted]\r\n",
		"x-env:1, X-REGION=eu; a neutral 1":                   "x-env:[redacted], X-REGION=[redacted]; a neutral 1",
		`{"x-env":"1","X-Region":["eu"],"n":1}`:               `{"x-env":"[redacted]","X-Region":["[redacted]"],"n":1}`,
		`[["X-Env","1"],["x-region", "eu"]]`:                  `[["X-Env","[redacted]"],["x-region", "[redacted]"]]`,
		`{"name": "X-Env", "value": "1"}`:                     `{"name": "X-Env", "value": "[redacted]"}`,
		`{"raw":"POST /1\r\nX-Env: 1\r\n"}`:                   `{"raw":"POST /1\r\nX-Env: [redacted]\r\n"}`,
		`{"log":"{\"X-Env\":\"1\"}"}`:                         `{"log":"{\"X-Env\":\"[redacted]\"}"}`,
		"array('HTTP_X_ENV' => '1', 'HTTP_X_REGION' => 'eu')": "array('HTTP_X_ENV' => '[redacted]', 'HTTP_X_REGION' => '[redacted]')",
		"<tr><td>X-Env</td>\n<td class=v>1</td></tr>":         "<tr><td>X-Env</td>\n<td class=v>[redacted]</td></tr>",
		"{&quot;X-Env&quot;:&quot;1&quot;}":                   "{&quot;X-Env&quot;:&quot;[redacted]&quot;}",
		"%7B%22X-Env%22%3A%221%22%7D":                         "%7B%22X-Env%22%3A%22[redacted]%22%7D",
		"X-Odd: \"<, x-sign: -1*.":                            "X-Odd: [redacted], x-sign: [redacted].",
		`{"X-Odd":"\"\u003c"}`:                                `{"X-Odd":"[redacted]"}`,
		strings.Repeat("-", 248) + "X-Env: 1":                 strings.Repeat("-", 248) + "X-Env: [",
		strings.Repeat("-", 248) + `X-Odd:\"\u003c`:           strings.Repeat("-", 248) + "X-Odd:[r",
		strings.Repeat(`X-Tag:\u003c\u003c\u003c; `, 40):      strings.Repeat("X-Tag:[redacted]; ", 14) + "X-Ta",
		"x-region: europe, x-env: 12, 1 eu neutral":           "x-region: europe, x-env: 12, 1 eu neutral",
		"no x-environment 1, no max-region: eu":               "no x-environment 1, no max-region: eu",
	} {
		t.Run(echoed, func(t *testing.T) {
			client, _ := newClient(serveRaw(t, nil, speak(rawAnswer(401, "", echoed))))
			r := requestTo("http://" + host)
			r.Previous = &signature.Credentials{Token: previous.Token, Secret: previous.Secret, Headers: headers}
			r.Current.Headers = headers
			if got := client.Post(t.Context(), r).Snippet; got != want {
				t.Errorf("snippet %q, want %q", got, want)
			}
		})
	}
}

// FuzzAnswer: whatever an endpoint answers, only 2xx is success, and what is logged is short and
// valid text without the credentials.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		ok,
		rawAnswer(500, "", "no"),
		rawAnswer(302, "Location: http://[::1\r\n", ""),
		rawAnswer(429, "Retry-After: 9\xff\r\n", "\xff"),
		rawAnswer(400, "", current.Token.Reveal()),
		current.Token.Reveal(),
		"HTTP/1.1 099 X\r\n\r\n",
		"HTTP/1.1 \xff\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.0 200 \xc3\r\n\xff\xfe: \xc3\r\n\r\n",
		"HTTP/\xff.1 200 OK\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\n" + ok,
		"HTTP/1.1 101 X\r\nUpgrade: \xff\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		network := &memory{serve: func(p *peer) {
			if p.next() != nil {
				p.Conn.Write(raw)
			}
		}}
		client := NewClient(ClientOptions{AllowHTTP: true, Now: time.Now, Timeout: 10 * time.Second, Dial: network.dial})
		defer client.Rested()
		got := client.Post(t.Context(), requestTo("http://"+host))
		if got.Success() != (got.Status >= 200 && got.Status <= 299 && got.Error == "") || got.Success() && got.Snippet != "" {
			t.Errorf("%+v", got)
		}
		if got.Status != 0 && (got.Status < 100 || got.Status > 999) {
			t.Errorf("status %d", got.Status)
		}
		if len(got.Snippet) > maxSnippet || len(got.Error) > maxErrorText ||
			!utf8.ValidString(got.Snippet) || !utf8.ValidString(got.Error) {
			t.Errorf("%q, %q", got.Error, got.Snippet)
		}
		for _, secret := range []string{current.Token.Reveal(), current.Secret.Reveal()} {
			if strings.Contains(got.Snippet+got.Error, secret) {
				t.Errorf("%q, %q", got.Error, got.Snippet)
			}
		}
		if n := network.requests.Load(); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}
