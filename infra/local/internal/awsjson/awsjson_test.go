package awsjson

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serviceFunc is a service of one function.
type serviceFunc func(operation string, body []byte, allow Allow) (any, error)

func (f serviceFunc) Serve(_ context.Context, operation string, body []byte, allow Allow) (any, error) {
	return f(operation, body, allow)
}

// only allows one access key.
type only string

func (o only) Allow(accessKey, action, arn string) error {
	if accessKey == string(o) {
		return nil
	}
	return AccessDenied(accessKey, action, arn)
}

func TestServer(t *testing.T) {
	service := serviceFunc(func(operation string, body []byte, allow Allow) (any, error) {
		switch operation {
		case "Echo":
			return map[string]string{"got": string(body)}, nil
		case "Nothing":
			return nil, nil
		case "Guarded":
			return nil, allow("echo:Guarded", "arn:thing")
		case "Refuse":
			return nil, fmt.Errorf(
				"refusing: %w",
				&Error{
					Status:  409,
					Code:    "ns#Conflict",
					Query:   "Old.Conflict",
					Message: "taken",
					Fields:  map[string]any{"Reasons": []string{"a"}},
				},
			)
		case "Break":
			return nil, errors.New("broken")
		}
		return func() {}, nil // which JSON cannot encode
	})
	server := httptest.NewServer(&Server{Services: map[string]Service{"Echo_2026": service}, Policies: only("AKIAOK")})
	defer server.Close()
	for name, test := range map[string]struct {
		method, target, key string
		status              int
		body                string // exact, or its beginning where it ends with …
		query               string
	}{
		"an answer is JSON":          {method: "POST", target: "Echo_2026.Echo", key: "AKIAOK", status: 200, body: `{"got":"{}"}`},
		"nothing is an empty object": {method: "POST", target: "Echo_2026.Nothing", key: "AKIAOK", status: 200, body: `{}`},
		"what is allowed is done":    {method: "POST", target: "Echo_2026.Guarded", key: "AKIAOK", status: 200, body: `{}`},
		"what is not is refused": {
			method: "POST", target: "Echo_2026.Guarded", key: "AKIANO", status: 400,
			body: `{"__type":"AccessDeniedException","message":"User: AKIANO is not authorized to perform: echo:Guarded on resource: ` +
				`arn:thing because no identity-based policy allows the action"}`,
		},
		"a caller without a key is nobody": {
			method: "POST", target: "Echo_2026.Guarded", status: 400, body: `{"__type":"AccessDeniedException","message":"User:  is not…`,
		},
		"an error says what it says": {
			method: "POST",
			target: "Echo_2026.Refuse",
			key:    "AKIAOK",
			status: 409,
			body:   `{"Reasons":["a"],"__type":"ns#Conflict","message":"taken"}`,
			query:  "Old.Conflict;Sender",
		},
		"any other error is the service's fault": {
			method: "POST",
			target: "Echo_2026.Break",
			key:    "AKIAOK",
			status: 500,
			body:   `{"__type":"InternalServerError","message":"broken"}`,
		},
		"so is an answer that is no JSON": {
			method: "POST",
			target: "Echo_2026.Unencodable",
			key:    "AKIAOK",
			status: 500,
			body:   `{"__type":"InternalServerError"…`,
		},
		"another service is named with what there": {
			method: "POST", target: "Other.Echo", key: "AKIAOK", status: 400,
			body: `{"__type":"UnknownOperationException","message":"the local stack has no operation \"Other.Echo\"; ` +
				`it speaks the AWS JSON protocol of Echo_2026"}`,
		},
		"a target without an operation is none": {
			method: "POST",
			target: "Echo_2026",
			key:    "AKIAOK",
			status: 400,
			body:   `{"__type":"UnknownOperationException"…`,
		},
		"another method is none": {
			method: "GET",
			target: "Echo_2026.Echo",
			key:    "AKIAOK",
			status: 400,
			body:   `{"__type":"UnknownOperationException"…`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), test.method, server.URL, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("X-Amz-Target", test.target)
			if test.key != "" {
				request.Header.Set(
					"Authorization",
					"AWS4-HMAC-SHA256 Credential="+test.key+"/20260102/us-east-1/echo/aws4_request, SignedHeaders=host, Signature=0",
				)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			got := string(body)
			if beginning, ok := strings.CutSuffix(test.body, "…"); ok && strings.HasPrefix(got, beginning) {
				got = test.body
			}
			if diff := cmp.Diff(test.body, got); diff != "" || response.StatusCode != test.status {
				t.Errorf("status %d, want %d; body (-want +got):\n%s", response.StatusCode, test.status, diff)
			}
			header := response.Header
			if header.Get("X-Amz-Crc32") != strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10) {
				t.Errorf("X-Amz-Crc32 %s is not the body's", header.Get("X-Amz-Crc32"))
			}
			if header.Get("x-amzn-query-error") != test.query || header.Get("x-amzn-RequestId") == "" ||
				header.Get("Content-Type") != "application/x-amz-json-1.0" {
				t.Errorf("headers %v", header)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	got := 0
	service := serviceFunc(func(_ string, body []byte, _ Allow) (any, error) { got = len(body); return nil, nil })
	server := &Server{Services: map[string]Service{"S": service}} // without policies everybody is administrator
	serve := func(body io.Reader, length int64) *httptest.ResponseRecorder {
		request := httptest.NewRequest("POST", "/", body)
		request.ContentLength = length
		request.Header.Set("X-Amz-Target", "S.Do")
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, request)
		return answer
	}
	for name, test := range map[string]struct {
		size, length int64
		status       int
	}{
		"of the size that was named":    {5, 5, 200},
		"of a size that was not":        {5, -1, 200},
		"shorter than what was named":   {5, 9, 400},
		"larger than any service takes": {maxBody + 1, maxBody + 1, 400},
	} {
		t.Run(name, func(t *testing.T) {
			got = -1
			answer := serve(io.LimitReader(zeros{}, test.size), test.length)
			if answer.Code != test.status || test.status == 200 && int64(got) != test.size {
				t.Errorf("answered %d %s, the service got %d bytes", answer.Code, answer.Body, got)
			}
			if test.status != 200 && (got != -1 || !strings.Contains(answer.Body.String(), "SerializationException")) {
				t.Errorf("answered %s, the service got %d bytes", answer.Body, got)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
