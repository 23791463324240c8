package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// TestTellsAllProblemsAtOnce makes requests with several mistakes of different kinds. Where their
// statuses differ the answer is a 400, and each error tells its own.
func TestTellsAllProblemsAtOnce(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	d := w.delivery(c, 1, nil)
	at := func(name string) string { return "pointer /data/attributes/" + name }
	parameter := problem{"unknown_parameter", "parameter x"}
	for _, r := range []refusal{
		{"a test with a parameter and a body", call{method: "POST", target: configPath(c.ID) + "/test?x=1", body: "{}"}, 400, []problem{
			parameter, {"unexpected_body", "pointer "},
		}},
		{"a resend of a delivery with both", call{
			method: "POST", target: listDeliveries + "/" + d.ID() + "/resend?x=1", body: "{}",
		}, 400, []problem{
			parameter, {"unexpected_body", "pointer "},
		}},
		{"a creation with a parameter and no JSON", call{method: "POST", target: "/v1/webhooks/configs?x=1", body: "{"}, 400, []problem{
			parameter, {"invalid_json", ""},
		}},
		{"a creation of another type with an id and a wrong URL", post(
			`{"data":{"type":"config","id":"1","attributes":{"url":"ftp://x"}}}`,
		), 400, []problem{
			{"type_conflict", "pointer /data/type"}, {"client_generated_id", "pointer /data/id"},
			{"scheme_not_allowed", at("url")}, {"required", "pointer /data/attributes"},
		}},
		{"an update with a parameter, another id and a wrong attribute", call{
			method: "PATCH", target: configPath(c.ID) + "?x=1", body: change(unknownID, `"is_active":0`).body,
		}, 400, []problem{
			parameter, {"id_conflict", "pointer /data/id"}, {"invalid_type", at("is_active")},
		}},
		{"an update of another type with another id", call{
			method: "PATCH", target: configPath(c.ID), body: `{"data":{"type":"config","id":"` + unknownID + `"}}`,
		}, 409, []problem{
			{"type_conflict", "pointer /data/type"}, {"id_conflict", "pointer /data/id"},
		}},
		{"a rotation with a parameter and a wrong overlap", call{
			method: "POST", target: configPath(c.ID) + "/rotate-secret?x=1", body: overlapOf("-1"),
		}, 400, []problem{
			parameter, {"out_of_range", at("overlap_seconds")},
		}},
		{"a resend with a parameter, a wrong id and no time", call{
			method: "POST", target: "/v1/webhooks/resend?x=1", body: resendOf(`"webhook_config_id":"x"`).body,
		}, 400, []problem{
			parameter, {"invalid_id", at("webhook_config_id")}, {"required", "pointer /data/attributes"},
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			w.t = t
			w.refused(t, r)
		})
	}
	if len(w.sent) > 0 {
		t.Errorf("sent %+v", w.sent)
	}
}

// TestUpdateTakesWhatGetAnswered sends a config back as it was read, and with other values of what
// cannot be set.
func TestUpdateTakesWhatGetAnswered(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, func(c *webhook.Config) {
		c.Active, c.DeactivatedReason, c.FailureCount = false, webhook.EndpointFailing, 20
		c.FailingSince = webhook.At(start.Add(-48 * time.Hour))
		c.PreviousSealed, c.PreviousExpiresAt = "sealed", webhook.At(start.Add(time.Hour))
	})
	shown := w.do(get(configPath(c.ID))).body
	w.must(200, call{method: "PATCH", target: configPath(c.ID), body: shown})
	for _, beside := range []string{`"relationships":{}`, `"lid":"mine"`, `"links":{"self":"/"},"meta":{}`} {
		w.must(200, call{method: "PATCH", target: configPath(c.ID), body: strings.Replace(
			w.do(get(configPath(c.ID))).body, `"attributes"`, beside+`,"attributes"`, 1,
		)})
	}
	var attributes map[string]any
	if err := json.Unmarshal([]byte(shown), &struct{ Data any }{&struct{ Attributes any }{&attributes}}); err != nil {
		t.Fatal(err)
	}
	for name := range attributes {
		if slices.Contains([]string{"url", "description", "subscribed_statuses", "is_active"}, name) {
			continue
		}
		t.Run("another "+name, func(t *testing.T) {
			w.t = t
			w.refused(t, refusal{
				call:     change(c.ID, `"`+name+`":"another"`),
				status:   422,
				problems: one("read_only_attribute", "pointer /data/attributes/"+name),
			})
		})
	}
}

// TestHintsAtAPlusSign: in a query string a plus stands for a space, which makes a time with a zone
// unreadable.
func TestHintsAtAPlusSign(t *testing.T) {
	w := newWorld(t)
	w.delivery(w.config(ours, 1, nil), 1, nil)
	for _, list := range []string{listDeliveries, listEvents} {
		for _, filter := range []string{"created_after", "created_before"} {
			for bare, hint := range map[string]bool{
				"2026-11-26T10:00:00+02:00": true, "2026-11-26T10:00:00.123456+05:30": true, "2026-11-26T10:00:00+00:00": true,
				"2026-11-26T10:00:00%2002:00": true, // which is the same
				"2026-11-26+10:00:00":         false, "yesterday+02:00": false, "2026-11-26T10:00:00+0200": false, "+": false,
			} {
				at := list + "?filter[" + filter + "]="
				d := w.must(400, get(at+bare))
				if detail := d.Errors[0].Detail; strings.Contains(detail, "%2B") != hint {
					t.Errorf("%s%s: the detail %q, want a word on how a plus is written: %t", at, bare, detail, hint)
				}
				if hint {
					w.must(200, get(at+strings.NewReplacer("+", "%2B", "%20", "%2B").Replace(bare)))
				}
			}
		}
	}
}

// TestHintsAtPercentEncoding: what RFC 3986 forbids in a URL is refused by some servers at every request.
func TestHintsAtPercentEncoding(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	for rest, hint := range map[string]string{
		"/hook?tenant={acme}": "%7B", "/hook?a=1|2": "%7C", `/hook?x=\"y\"`: "%22", "/hook?filter[a]=1": "%5B", "/hook?a=%zz": "%25",
		"/{acme}/hook": "%7B", "/a|b": "%7C", "/a%": "%25",
	} {
		for _, refused := range []call{
			create(`"url":"https://hooks.example.com` + rest + `"`), change(c.ID, `"url":"https://hooks.example.com`+rest+`"`),
		} {
			d := w.must(422, refused)
			if one := d.Errors[0]; one.Code != "invalid_characters" || !strings.Contains(one.Detail, hint) {
				t.Errorf("%s %s: %q, want a hint at %s", refused.method, rest, one.Detail, hint)
			}
		}
	}
}

func TestAnswersAtMostAHundredErrors(t *testing.T) {
	var attributes strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&attributes, `"%x":1,`, i)
	}
	got := newWorld(t).do(create(strings.TrimSuffix(attributes.String(), ",")))
	var d document
	if err := json.Unmarshal([]byte(got.body), &d); err != nil || got.status != 422 || len(d.Errors) != 100 {
		t.Errorf("status %d with %d errors (%v), want 422 with 100", got.status, len(d.Errors), err)
	}
}
