package jsonapi

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestErrorsMarshal(t *testing.T) {
	for _, test := range []struct {
		name   string
		errors Errors
		want   string
	}{
		{"without a source", NewError(404, "not_found", "no %s", "thing"),
			`[{"id":"","status":"404","code":"not_found","title":"","detail":"no thing"}]`},
		{"with a pointer to the whole document", NewError(422, "x", "d").AtPointer(""),
			`[{"id":"","status":"422","code":"x","title":"","detail":"d","source":{"pointer":""}}]`},
		{"with a parameter", NewError(400, "x", "d").AtParameter("page[size]"),
			`[{"id":"","status":"400","code":"x","title":"","detail":"d","source":{"parameter":"page[size]"}}]`},
		{"with a header", NewError(406, "x", "d").AtHeader("Accept"),
			`[{"id":"","status":"406","code":"x","title":"","detail":"d","source":{"header":"Accept"}}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := json.Marshal(test.errors)
			if diff := cmp.Diff(test.want, string(got)); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestStatusOfSeveralErrors(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"that agree is theirs":      {Join(NewError(422, "a", "a"), nil, NewError(422, "b", "b")), 422},
		"that differ is 400":        {Join(NewError(422, "a", "a"), NewError(409, "b", "b")), 400},
		"of which one is 400, too":  {Join(NewError(400, "a", "a"), NewError(422, "b", "b")), 400},
		"of one is that of the one": {Join(nil, NewError(403, "a", "a")), 403},
	} {
		if got := test.err.(Errors).Status(); got != test.want {
			t.Errorf("the status of errors %s: got %d, want %d", name, got, test.want)
		}
	}
	if err := Join(nil, nil); err != nil {
		t.Errorf("no problems are %v", err)
	}
}
