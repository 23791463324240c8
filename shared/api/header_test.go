package api_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	headerValue  = "Bearer-of-secrets-4711"
	headersOfOne = `"custom_headers":{"Authorization":"` + headerValue + `"}`
)

// names returns the custom header names that an answer shows.
func names(r resource) string { return fmt.Sprint(r.Attributes["custom_header_names"]) }

func TestCustomHeadersAreSealedAndNeverShown(t *testing.T) {
	w := newWorld(t)
	r := w.do(create(`"custom_headers":{"x-key":"another-4712","Authorization":"` + headerValue + `"}`))
	golden(t, "create-with-headers", r)
	if r.status != 201 || strings.Contains(r.body, headerValue) || strings.Contains(r.body, "another-4712") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	path := r.header.Get("Location")
	id := strings.TrimPrefix(path, "/v1/webhooks/configs/")
	stored := w.configs[ours+"/"+id]
	if !strings.HasSuffix(stored.Sealed, " Authorization="+headerValue+" x-key=another-4712") {
		t.Errorf("sealed as %q", stored.Sealed)
	}
	// world.do looks for the values in all that follows.
	if got := names(w.must(200, get(path)).one(t)); got != "[Authorization x-key]" {
		t.Errorf("shown: %s", got)
	}
	w.must(200, get("/v1/webhooks/configs"))
	before := stored.Sealed
	if got := names(w.must(200, change(id, `"description":"other"`)).one(t)); got != "[Authorization x-key]" || stored.Sealed != before {
		t.Errorf("another attribute changes them: %s", got)
	}
	if got := names(w.must(200, change(id, `"custom_headers":{"X-Other":"third-4713"}`)).one(t)); got != "[X-Other]" {
		t.Errorf("after a change: %s", got)
	}
	want := strings.Replace(before, " Authorization="+headerValue+" x-key=another-4712", " X-Other=third-4713", 1)
	if stored.Sealed != want {
		t.Errorf("sealed as %q, want %q: token and secret stay", stored.Sealed, want)
	}
	if got := names(w.must(200, change(id, `"custom_headers":{}`)).one(t)); got != "[]" || strings.Contains(stored.Sealed, "4713") {
		t.Errorf("after they were taken away: %s, %q", got, stored.Sealed)
	}
	if strings.Contains(w.log.String(), "471") {
		t.Errorf("a value is logged:\n%s", w.log.String())
	}
}

func TestRotationKeepsCustomHeaders(t *testing.T) {
	for name, test := range map[string]struct {
		openErr error
		status  int
		names   string
		keeps   bool
	}{
		"that can be opened":                      {status: 200, names: "[Authorization]", keeps: true},
		"but not those that nobody can open":      {openErr: keyring.ErrSealed, status: 200, names: "[]"},
		"nor those of a key that is gone":         {openErr: keyring.ErrUnknownKey, status: 200, names: "[]"},
		"and is refused while none can be opened": {openErr: errors.New("throttled"), status: 500, keeps: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.config(ours, 1, nil)
			w.must(200, change(c.ID, headersOfOne))
			before := *w.configs[ours+"/"+c.ID]
			w.openErr = test.openErr
			got := w.must(test.status, rotate(c.ID, ""))
			after := *w.configs[ours+"/"+c.ID]
			if test.status == 200 && names(got.one(t)) != test.names {
				t.Errorf("shown: %s, want %s", names(got.one(t)), test.names)
			}
			if strings.Contains(after.Sealed, headerValue) != test.keeps {
				t.Errorf("sealed as %q", after.Sealed)
			}
			if (after.Sealed == before.Sealed) != (test.status != 200) {
				t.Errorf("before %q, after %q", before.Sealed, after.Sealed)
			}
		})
	}
}

func TestRotationWithoutCustomHeadersOpensNothing(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	w.openErr = errors.New("throttled")
	w.must(200, rotate(c.ID, ""))
}

func TestCustomHeadersBesideCredentialsThatAreLost(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	w.openErr = keyring.ErrUnknownKey
	w.refused(t, refusal{call: change(c.ID, headersOfOne), status: 409, problems: one("credentials_lost", "")})
	w.must(200, change(c.ID, `"description":"still"`))
	w.openErr = errors.New("throttled")
	w.refused(t, refusal{call: change(c.ID, headersOfOne), status: 500, problems: one("internal_error", "")})
}

func TestCustomHeadersAndAChangeAtTheSameTime(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	w.beforeUpdate = func() { // a rotation comes between reading and writing
		w.beforeUpdate = nil
		w.must(200, rotate(c.ID, ""))
	}
	w.must(200, change(c.ID, headersOfOne))
	stored := w.configs[ours+"/"+c.ID]
	if rotated := w.secrets[2:4]; !strings.Contains(stored.Sealed, strings.Join(w.secrets[len(w.secrets)-3:len(w.secrets)-1], " ")) ||
		!strings.HasSuffix(stored.Sealed, "Authorization="+headerValue) || !strings.Contains(stored.Sealed, stored.SecretPrefix) {
		t.Errorf("rotated to %v, sealed as %q with prefix %s", rotated, stored.Sealed, stored.SecretPrefix)
	}
}

func TestCustomHeadersAreRefused(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	at := func(name string) string { return "pointer /data/attributes/custom_headers" + name }
	for value, want := range map[string][]problem{
		`null`:                         one("invalid_type", at("")),
		`[]`:                           one("invalid_type", at("")),
		`"X-Key: 1"`:                   one("invalid_type", at("")),
		`{"X-Key":1}`:                  one("invalid_type", at("")),
		`{"X-Key":null}`:               one("invalid_type", at("")),
		`{"X-Key":["a"]}`:              one("invalid_type", at("")),
		`{"Host":"hidden-4714"}`:       one("reserved_name", at("/Host")),
		`{"WEBHOOK-ID":"hidden-4714"}`: one("reserved_name", at("/WEBHOOK-ID")),
		`{"a/~b":"hidden-4714"}`:       one("invalid_name", at("/a~1~0b")),
		`{"X":"hidden-4714\r\n"}`:      one("invalid_value", at("/X")),
		`{"X":"","Y":""}`:              {{"invalid_value", at("/X")}, {"invalid_value", at("/Y")}},
		`{"x":"a","X":"b"}`:            one("duplicate_name", at("/x")),
		`{"1":"","2":"","3":"","4":"","5":"","6":"","7":"","8":"","9":"","10":"","11":""}`: {
			{"too_many", at("")},
		},
	} {
		for _, request := range []call{create(`"custom_headers":` + value), change(c.ID, `"custom_headers":`+value)} {
			w.refused(t, refusal{call: request, status: 422, problems: want})
			if r := w.do(request); strings.Contains(r.body, "4714") {
				t.Errorf("the answer quotes a value: %s", r.body)
			}
		}
	}
	w.refused(t, refusal{
		call: create(`"custom_header_names":["X"]`), status: 422,
		problems: one("read_only_attribute", "pointer /data/attributes/custom_header_names"),
	})
	if stored := w.configs[ours+"/"+c.ID]; len(stored.CustomHeaderNames) > 0 {
		t.Errorf("stored: %v", stored.CustomHeaderNames)
	}
}

func TestConfigThatWasReadCanBeSentBackWithItsHeaderNames(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, func(c *webhook.Config) { c.CustomHeaderNames = []string{"Authorization"} })
	w.must(200, change(c.ID, `"custom_header_names":["Authorization"]`))
	w.refused(t, refusal{
		call: change(c.ID, `"custom_header_names":[]`), status: 422,
		problems: one("read_only_attribute", "pointer /data/attributes/custom_header_names"),
	})
}
