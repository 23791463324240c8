package gateway

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestEventIsWhatAPIGatewaySends(t *testing.T) {
	var payload []byte
	g := newGateway(t, Options{
		Routes: []Route{{Method: "POST", Path: "/v1/configs/{id}", Function: "F"}},
		Invoker: invoker(func(_ string, p []byte) ([]byte, error) {
			payload = p
			return []byte(empty), nil
		}),
	})
	request := httptest.NewRequest("POST", "/v1/configs/a%20b?page%5Bsize%5D=5&x=1&x=2&flag&bad=%zz", strings.NewReader(`{"a":1}`))
	request.Host = "127.0.0.1:3000"
	request.RemoteAddr = "127.0.0.1:55555"
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "curl/8")
	request.Header.Add("X-Twice", "a")
	request.Header.Add("X-Twice", "b")
	request.Header.Add("Cookie", "c=1; d=2")
	request.Header.Set("Connection", "close")
	do(g, request)

	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"version":        "2.0",
		"routeKey":       "POST /v1/configs/{id}",
		"rawPath":        "/v1/configs/a b",
		"rawQueryString": "page%5Bsize%5D=5&x=1&x=2&flag&bad=%zz",
		"cookies":        []any{"c=1", "d=2"},
		"headers": map[string]any{
			"host": "127.0.0.1:3000", "content-type": "application/json; charset=utf-8", "content-length": "7",
			"user-agent": "curl/8", "x-twice": "a,b",
			"x-forwarded-for": "127.0.0.1", "x-forwarded-port": "3000", "x-forwarded-proto": "http",
		},
		"queryStringParameters": map[string]any{"page[size]": "5", "x": "1,2", "flag": "", "bad": "%zz"},
		"pathParameters":        map[string]any{"id": "a b"},
		"requestContext": map[string]any{
			"accountId": "000000000000", "apiId": "Api", "domainName": "127.0.0.1", "domainPrefix": "127",
			"http": map[string]any{
				"method": "POST", "path": "/v1/configs/a b", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "curl/8",
			},
			"routeKey": "POST /v1/configs/{id}", "stage": "$default",
			"time": "01/Jul/2026:12:00:00 +0000", "timeEpoch": 1782907200005.0,
		},
		"body": `{"a":1}`, "isBase64Encoded": false,
	}
	isID := func(name string, _ any) bool { return name == "requestId" }
	if diff := cmp.Diff(want, got, cmpopts.IgnoreMapEntries(isID)); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}

	var decoded events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(payload, &decoded); err != nil {
		t.Fatalf("AWS's own type does not decode the event: %v", err)
	}
	if decoded.RequestContext.RequestID == "" || decoded.RequestContext.TimeEpoch != noon.UnixMilli() {
		t.Errorf("request context = %+v", decoded.RequestContext)
	}
}

func TestBodyEncoding(t *testing.T) {
	for name, test := range map[string]struct {
		contentType, contentEncoding, body string
		wantBody                           string
		wantEncoded                        bool
	}{
		"JSON stays":                      {"application/json", "", `{}`, `{}`, false},
		"JSON with charset stays":         {"application/json; charset=utf-8", "", `{}`, `{}`, false},
		"JSON:API is encoded":             {"application/vnd.api+json", "", `{}`, `e30=`, true},
		"plain text stays":                {"text/plain", "", `x`, `x`, false},
		"XML stays":                       {"application/xml", "", `<a/>`, `<a/>`, false},
		"JavaScript stays":                {"application/javascript", "", `1`, `1`, false},
		"a form is encoded":               {"application/x-www-form-urlencoded", "", `a=1`, `YT0x`, true},
		"bytes are encoded":               {"application/octet-stream", "", "\x00\xff", `AP8=`, true},
		"compressed JSON is encoded":      {"application/json", "gzip", "\x1f\x8b", `H4s=`, true},
		"text that is no UTF-8 is too":    {"text/plain", "", "\xff", `/w==`, true},
		"without a type text stays":       {"", "", `x`, `x`, false},
		"without a body there is nothing": {"application/vnd.api+json", "", ``, ``, false},
	} {
		t.Run(name, func(t *testing.T) {
			var e event
			g := newGateway(t, Options{
				Routes: []Route{{Method: "POST", Path: "/a", Function: "F"}},
				Invoker: invoker(func(_ string, p []byte) ([]byte, error) {
					return []byte(empty), json.Unmarshal(p, &e)
				}),
			})
			request := httptest.NewRequest("POST", "/a", strings.NewReader(test.body))
			if test.contentType != "" {
				request.Header.Set("Content-Type", test.contentType)
			}
			if test.contentEncoding != "" {
				request.Header.Set("Content-Encoding", test.contentEncoding)
			}
			do(g, request)
			body := ""
			if e.Body != nil {
				body = *e.Body
			}
			if e.IsBase64Encoded == nil || body != test.wantBody || *e.IsBase64Encoded != test.wantEncoded {
				t.Errorf("body %q, encoded %v; want %q, %v", body, e.IsBase64Encoded, test.wantBody, test.wantEncoded)
			}
			if (e.Body == nil) != (test.body == "") {
				t.Errorf("body member present = %v for %q", e.Body != nil, test.body)
			}
		})
	}
}
