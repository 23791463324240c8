package awsjson

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCallsAreCountedByFunction(t *testing.T) {
	calls := &Calls{Functions: map[string]string{"AKIAF": "DeliverFunction"}}
	server := &Server{Calls: calls, Services: map[string]Service{
		"Echo_2026": serviceFunc(func(string, []byte, Allow) (any, error) { return nil, nil }),
	}}
	for _, call := range [][2]string{
		{"AKIAF", "Echo_2026.Say"}, {"AKIAF", "Echo_2026.Say"}, {"AKIAF", "Echo_2026.Ask"}, {"AKIAO", "Echo_2026.Say"},
		{"AKIAF", "Other_2026.Say"}, // which there is not
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+call[0]+"/20260101/us-east-1/echo/aws4_request")
		r.Header.Set("X-Amz-Target", call[1])
		server.ServeHTTP(httptest.NewRecorder(), r)
	}
	want := []Count{
		{Target: "Echo_2026.Say", N: 1},
		{Function: "DeliverFunction", Target: "Echo_2026.Ask", N: 1},
		{Function: "DeliverFunction", Target: "Echo_2026.Say", N: 2},
	}
	if diff := cmp.Diff(want, calls.List()); diff != "" {
		t.Error(diff)
	}
}
