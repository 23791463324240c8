package webhook

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func someMessage() Message {
	return Message{
		OrganizationID: "org",
		ConfigID:       someConfig,
		Event: Event{
			Version:        1,
			ID:             someEvent,
			DocumentID:     "d",
			Status:         Processed,
			PreviousStatus: Processing,
			Sequence:       someSequence,
			OccurredAt:     noon,
			Test:           true,
		},
		RequestedAt: noon,
		Trigger:     StatusChange,
		Round:       "r1",
		Attempt:     2,
		NotBefore:   noon,
		Again:       true,
	}
}

const someMessageJSON = `{"v":1,"organization_id":"org","config_id":"01969f3c-7b00-7c3a-9d4e-5f60718293a4",` +
	`"event":{"v":1,"id":"evt_01KFK2W3R0A1B2C3D4E5F6G7H8","document_id":"d","status":"processed","previous_status":"processing",` +
	`"sequence":"0000000000000000000111000000000000000042","occurred_at":"2026-01-31T12:00:00.000Z","test":true},` +
	`"requested_at":"2026-01-31T12:00:00.000Z","trigger":"status_change","round":"r1","attempt":2,` +
	`"not_before":"2026-01-31T12:00:00.000Z","again":true}`

func TestMessageRoundTrip(t *testing.T) {
	text, err := json.Marshal(someMessage())
	if diff := cmp.Diff(someMessageJSON, string(text)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for name, change := range map[string]func(*Message){
		"all fields":             func(*Message) {},
		"a request in 5 minutes": func(m *Message) { m.RequestedAt = At(noon.Add(5 * time.Minute)) },
		"an attempt in 30 days":  func(m *Message) { m.NotBefore = At(noon.Add(30 * 24 * time.Hour)) },
		"no optional field": func(m *Message) {
			m.Event.PreviousStatus, m.Event.Sequence, m.Event.Test, m.Again = "", "", false, false
		},
		"a resend":       func(m *Message) { m.Trigger = Resend },
		"a test":         func(m *Message) { m.Trigger = Test },
		"odd characters": func(m *Message) { m.OrganizationID, m.Event.DocumentID = "\x00\u2028<>&", "\"\\\x7fü" },
		"the longest ids": func(m *Message) {
			m.OrganizationID, m.Event.DocumentID = strings.Repeat("o", MaxOrganizationIDLength), strings.Repeat("a", MaxDocumentIDLength)
			m.Round = strings.Repeat("r", maxRoundLength)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := someMessage()
			change(&m)
			text, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range []string{
				string(text), " \n" + string(text) + "\n", strings.Replace(string(text), `{"v":1`, `{"new":[{}],"v":1`, 1),
			} {
				got, err := ParseMessage(body, noon.Time)
				if diff := cmp.Diff(m, got); diff != "" || err != nil {
					t.Errorf("%s: %v (-want +got):\n%s", body, err, diff)
				}
			}
		})
	}
}

func TestParseMessageRefuses(t *testing.T) {
	replace := func(old, replacement string) string {
		if strings.Count(someMessageJSON, old) != 1 {
			t.Fatalf("%s is there %d times", old, strings.Count(someMessageJSON, old))
		}
		return strings.Replace(someMessageJSON, old, replacement, 1)
	}
	requested := func(at string) string {
		return replace(`"requested_at":"2026-01-31T12:00:00.000Z"`, `"requested_at":"`+at+`"`)
	}
	for name, body := range map[string]string{
		"nothing":                         "",
		"no JSON":                         "hello",
		"null":                            "null",
		"a list":                          "[" + someMessageJSON + "]",
		"an empty object":                 "{}",
		"a message cut off":               someMessageJSON[:len(someMessageJSON)-1],
		"a second message":                someMessageJSON + someMessageJSON,
		"a brace too many":                someMessageJSON + "}",
		"a bracket too many":              someMessageJSON + "]",
		"garbage after it":                someMessageJSON + "x",
		"another version":                 replace(`{"v":1,"org`, `{"v":2,"org`),
		"no version":                      replace(`{"v":1,"org`, `{"org`),
		"no organization":                 replace(`"organization_id":"org"`, `"organization_id":""`),
		"an organization of 1792 bytes":   replace(`"organization_id":"org"`, `"organization_id":"`+strings.Repeat("o", 1792)+`"`),
		"a round of 121 bytes":            replace(`"round":"r1"`, `"round":"`+strings.Repeat("r", 121)+`"`),
		"no round":                        replace(`"round":"r1",`, ``),
		"attempt 0":                       replace(`"attempt":2`, `"attempt":0`),
		"attempt 6":                       replace(`"attempt":2`, `"attempt":6`),
		"half an attempt":                 replace(`"attempt":2`, `"attempt":1.5`),
		"no time before which it waits":   replace(`"not_before":"2026-01-31T12:00:00.000Z",`, ``),
		"a request of the far future":     requested("9999-12-31T23:59:59.000Z"),
		"a request in 5 minutes and 1 ms": requested("2026-01-31T12:05:00.001Z"),
		"an attempt due in 31 days":       replace(`"not_before":"2026-01-31T12:00:00.000Z"`, `"not_before":"2026-03-03T12:00:00.000Z"`),
		"a sequence of 39 digits":         replace(`"sequence":"00`, `"sequence":"0`),
		"a sequence that is no number":    replace(`"sequence":"00`, `"sequence":"+0`),
		"a config id that is none":        replace(`"config_id":"01969f3c`, `"config_id":"x`),
		"a config id in capitals":         replace(`7c3a-9d4e`, `7C3A-9D4E`),
		"an event id that is none":        replace(someEvent, "evt_1"),
		"an event of a later version":     replace(`{"v":1,"id"`, `{"v":2,"id"`),
		"an event without a version":      replace(`{"v":1,"id"`, `{"id"`),
		"no document":                     replace(`"document_id":"d"`, `"document_id":""`),
		"a document id of 257 bytes":      replace(`"document_id":"d"`, `"document_id":"`+strings.Repeat("a", 257)+`"`),
		"an unknown status":               replace(`"processed"`, `"done"`),
		"no status":                       replace(`"status":"processed",`, ``),
		"an unknown previous status":      replace(`"processing"`, `"done"`),
		"no time of occurrence":           replace(`"occurred_at":"2026-01-31T12:00:00.000Z"`, `"occurred_at":null`),
		"a time that is none":             replace(`"occurred_at":"2026-01-31T12:00:00.000Z"`, `"occurred_at":"now"`),
		"no time of the request":          replace(`"requested_at":"2026-01-31T12:00:00.000Z",`, ``),
		"a time that is a number":         replace(`"requested_at":"2026-01-31T12:00:00.000Z"`, `"requested_at":5`),
		"an unknown trigger":              replace(`"status_change"`, `"retry"`),
		"no trigger":                      replace(`"trigger":"status_change",`, ``),
		"a field of another type":         replace(`"round":"r1"`, `"round":1`),
		"a flag that is a string":         replace(`"test":true`, `"test":"true"`),
		"a document system's own record":  `{"Records":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := ParseMessage(body, noon.Time); !errors.Is(err, ErrMessage) || m != (Message{}) {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add(someMessageJSON)
	f.Add(someMessageJSON + "}")
	f.Add(strings.ReplaceAll(someMessageJSON, "12:00:00.000Z", "23:59:59.9999-23:00"))
	f.Fuzz(func(t *testing.T, body string) {
		m, err := ParseMessage(body, noon.Time)
		if err != nil {
			if !errors.Is(err, ErrMessage) || m != (Message{}) {
				t.Fatalf("%q: %+v, %v", body, m, err)
			}
			return
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		again, err := ParseMessage(string(text), noon.Time)
		if err != nil || again != m {
			t.Fatalf("%q reads as %+v, written as %s, which reads as %+v, %v", body, m, text, again, err)
		}
		rendered, err := m.Event.Render(m.ConfigID)
		if err != nil || !json.Valid(rendered) {
			t.Fatalf("%q is rendered as %s, %v", body, rendered, err)
		}
		if _, err := DeliveryID(m.ConfigID, m.Event.ID); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
	})
}
