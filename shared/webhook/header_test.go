package webhook

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckCustomHeaders(t *testing.T) {
	many := func(n int, value string) map[string]string {
		headers := map[string]string{}
		for i := range n {
			headers[fmt.Sprintf("X-%02d", i)] = value
		}
		return headers
	}
	for name, test := range map[string]struct {
		headers map[string]string
		want    []string // attribute and code of every problem
	}{
		"none are fine": {},
		"usual ones are fine": {headers: map[string]string{
			"Authorization": "Bearer abc", "x-api-key": "k", "Cookie": "a=b; c=d", "X-Forwarded-For": "192.0.2.1",
			"Traceparent": "00-1-2-3",
		}},
		"ten are fine":            {headers: many(10, "v")},
		"eleven are too many":     {headers: many(11, "\n"), want: []string{"custom_headers too_many"}},
		"a name of 64 characters": {headers: map[string]string{strings.Repeat("a", 64): "v"}},
		"a name of 65 characters": {
			headers: map[string]string{strings.Repeat("a", 65): "v"},
			want:    []string{"custom_headers/" + strings.Repeat("a", 65) + " invalid_name"},
		},
		"a value of 1024 bytes": {headers: map[string]string{"X": strings.Repeat("v", 1024)}},
		"a value of 1025 bytes": {
			headers: map[string]string{"X": strings.Repeat("v", 1025)},
			want:    []string{"custom_headers/X invalid_value"},
		},
		"4096 bytes together": {headers: many(4, strings.Repeat("v", 1020))},
		"4097 bytes together": {
			headers: map[string]string{
				"a": strings.Repeat("v", 1024), "b": strings.Repeat("v", 1024), "c": strings.Repeat("v", 1024),
				"d": strings.Repeat("v", 1021),
			},
			want: []string{"custom_headers headers_too_large"},
		},
		"a value of every visible one": {headers: map[string]string{"X": `!"#$%&'()*+,-./09:;<=>?@AZ[\]^_` + "`az{|}~ \t~"}},
		"one name in two spellings": {
			headers: map[string]string{"X-Key": "1", "x-key": "2"},
			want:    []string{"custom_headers/x-key duplicate_name"},
		},
		"one name to an application behind CGI": {
			headers: map[string]string{"X-Key": "1", "X_Key": "2", "x.key": "3"},
			want:    []string{"custom_headers/X_Key duplicate_name", "custom_headers/x.key duplicate_name"},
		},
		"names that only begin alike": {headers: map[string]string{
			"Acceptance": "v", "Dates": "v", "Hostname": "v", "Viable": "v", "Webhook": "v", "X-Webhooks-Of": "v", "Ifs": "v",
			"Trailers": "v",
		}},
		"all problems at once": {
			headers: map[string]string{"": "v", "Host": "v", "X": "", "a b": "v"},
			want: []string{
				"custom_headers/ invalid_name", "custom_headers/Host reserved_name", "custom_headers/X invalid_value",
				"custom_headers/a b invalid_name",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range CheckCustomHeaders(test.headers) {
				got = append(got, p.Attribute+" "+p.Code)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	code := func(name, value string) string {
		problems := CheckCustomHeaders(map[string]string{name: value})
		if len(problems) == 0 {
			return ""
		}
		if len(value) > 3 && strings.Contains(problems[0].Detail, value) {
			t.Errorf("%q quotes the value %q", problems[0].Detail, value)
		}
		return problems[0].Code
	}
	for _, name := range []string{
		"webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE", "webhook-anything", "X-Webhook-Token", "X-Webhook-Signature",
		"x-webhook-attempt", "Idempotency-Key", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Content-Type",
		"content-length", "Content-Encoding", "Content-Digest", "Host", "Connection", "Keep-Alive", "Proxy-Connection",
		"Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "HTTP2-Settings", "Date", "Via", "Range",
		"If-None-Match", "If-Modified-Since", "Max-Forwards", "Forwarded", "Sec-Fetch-Mode", "webhook_id", "WEBHOOK_Signature",
		"X_Webhook_Token", "x-webhook_signature", "x.webhook.attempt", "Idempotency_Key", "content_length", "Transfer_Encoding",
		"USER_AGENT", "webhook|timestamp", "accept_encoding", "host", "hOsT",
	} {
		if got := code(name, "value"); got != "reserved_name" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{
		"a b", "a:", ":authority", "a\r\nHost", "a\x00", "ä", "(a)", "a/b", "a\"", "a,b", "{a}", "a=b", "a;b", "a\x7f",
	} {
		if got := code(name, "value"); got != "invalid_name" {
			t.Errorf("%q: %q", name, got)
		}
	}
	for _, value := range []string{"", " a", "a ", "\ta", "a\r\nHost: x", "a\nb", "a\x00b", "a\x7fb", "größer", "\x1b[0m", " "} {
		if got := code("X-Key", value); got != "invalid_value" {
			t.Errorf("%q: %q", value, got)
		}
	}
}
