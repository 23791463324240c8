package dispatch

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

const oldStatus = `"OldImage":{"id":{"S":"doc"},"organization_id":{"S":"org"},"status":{"S":"processing"}},`

func TestHandleRecord(t *testing.T) {
	const (
		newImage = `"NewImage":{"id":{"S":"doc"},"organization_id":{"S":"org"},"status":{"S":"processed"},` +
			`"updated_at":{"S":"2026-03-14T15:09:26.535+01:00"}},`
		sentOne = "processed from processing at 2026-03-14T14:09:26.535Z"
		sentNew = "processed from  at 2026-03-14T14:09:26.535Z"
		created = "2026-03-14T15:09:26.000Z" // of the record
	)
	long := strings.Repeat("x", 257)
	for name, test := range map[string]struct {
		record json.RawMessage
		want   string // the event, "" for none
		reason string // of being passed over, "" if it is not
	}{
		"a change of the status is sent": {record: changed(1), want: sentOne},
		"a new document is sent":         {record: changed(1, "MODIFY", "INSERT", oldStatus, ""), want: sentNew},
		"a new document without status is no": {
			record: changed(1, "MODIFY", "INSERT", oldStatus, "", `"status":{"S":"processed"},`, ""),
		},
		"a document that gets its first status is sent": {record: changed(1, `,"status":{"S":"processing"}`, ""), want: sentNew},
		"a removed document is no change":               {record: changed(1, "MODIFY", "REMOVE", newImage, "")},
		"a document that time to live removed is no change": {
			record: changed(
				1,
				"MODIFY", "REMOVE",
				newImage, "",
				`"eventSourceARN"`, `"userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},"eventSourceARN"`,
			),
		},
		"the same status is no change": {record: changed(1, `{"S":"processing"}`, `{"S":"processed"}`)},
		"a removed status is unknown":  {record: changed(1, `"status":{"S":"processed"},`, ""), reason: "unknown status"},
		"an unknown status is passed over": {
			record: changed(1, `{"S":"processed"}`, `{"S":"archived"}`),
			reason: `unknown status \"archived\"`,
		},
		"a status in capitals is unknown": {
			record: changed(1, `{"S":"processed"}`, `{"S":"PROCESSED"}`),
			reason: "unknown status",
		},
		"a status that is a number is unknown":      {record: changed(1, `{"S":"processed"}`, `{"N":"3"}`), reason: "unknown status"},
		"an unknown previous status is left out":    {record: changed(1, `{"S":"processing"}`, `{"S":"archived"}`), want: sentNew},
		"a previous status of another type is none": {record: changed(1, `{"S":"processing"}`, `{"N":"3"}`), want: sentNew},
		"no old image is passed over":               {record: changed(1, oldStatus, ""), reason: "NEW_AND_OLD_IMAGES"},
		"no organization is passed over": {
			record: changed(1, `"organization_id":{"S":"org"},"status":{"S":"processed"}`, `"status":{"S":"processed"}`),
			reason: "no organization_id",
		},
		"an organization that is a number is none": {
			record: changed(1, `{"S":"org"},"status":{"S":"processed"}`, `{"N":"7"},"status":{"S":"processed"}`),
			reason: "no organization_id",
		},
		"an organization that is a null is none": {
			record: changed(1, `{"S":"org"},"status":{"S":"processed"}`, `{"NULL":true},"status":{"S":"processed"}`),
			reason: "no organization_id",
		},
		"an organization that no key can hold": {
			record: changed(1, `{"S":"org"},"status":{"S":"processed"}`,
				`{"S":"`+strings.Repeat("o", 1792)+`"},"status":{"S":"processed"}`),
			reason: "organization_id of 1792 bytes",
		},
		"a document id of 257 bytes is passed over": {
			record: changed(1, `{"S":"doc"}`, `{"S":"`+long+`"}`),
			reason: "document id of 257 bytes",
		},
		"a document id of 256 bytes is sent": {record: changed(1, `{"S":"doc"}`, `{"S":"`+long[1:]+`"}`), want: sentOne},
		"a document id that is a number is none": {
			record: changed(1, `"Keys":{"id":{"S":"doc"}}`, `"Keys":{"id":{"N":"1"}}`),
			reason: "no string attribute id",
		},
		"a table with another key is passed over": {
			record: changed(1, `"Keys":{"id"`, `"Keys":{"pk"`),
			reason: "no string attribute id",
		},
		"no event id is passed over": {record: changed(1, `"e1"`, `""`), reason: "no event id"},
		"no sequence number is passed over": {
			record: changed(1, `"SequenceNumber":"1"`, `"SequenceNumber":""`),
			reason: "not a sequence number",
		},
		"a sequence number of letters is passed over": {
			record: changed(1, `"SequenceNumber":"1"`, `"SequenceNumber":"1a"`),
			reason: "not a sequence number",
		},
		"no creation time is passed over": {
			record: changed(1, `"ApproximateCreationDateTime":1773500966,`, ""),
			reason: "creation time",
		},
		"a creation time in milliseconds is no": {record: changed(1, "1773500966", "1773500966000"), reason: "creation time"},
		"a negative creation time is none":      {record: changed(1, "1773500966", "-1"), reason: "creation time"},
		"without updated_at the record's time counts": {
			record: changed(1, `,"updated_at":{"S":"2026-03-14T15:09:26.535+01:00"}`, ""),
			want:   "processed from processing at " + created,
		},
		"a fraction of the record's time is dropped": {
			record: changed(1, `,"updated_at":{"S":"2026-03-14T15:09:26.535+01:00"}`, "", "1773500966", "1.773500966987E9"),
			want:   "processed from processing at " + created,
		},
		"an updated_at that is no time is none": {
			record: changed(1, "2026-03-14T15:09:26.535+01:00", "14 March 2026"),
			want:   "processed from processing at " + created,
		},
		"an updated_at that is a number counts": {
			record: changed(1, `{"S":"2026-03-14T15:09:26.535+01:00"}`, `{"N":"1773500000.5"}`),
			want:   "processed from processing at 2026-03-14T14:53:20.500Z",
		},
		"an updated_at in another form counts": {
			record: changed(1, "2026-03-14T15:09:26.535+01:00", "2026-03-14 15:09:26.535+0100"),
			want:   sentOne,
		},
		"an updated_at of the far future does not": {
			record: changed(1, "2026-03-14T15:09:26.535+01:00", "2026-03-15T15:09:26.001Z"),
			want:   "processed from processing at " + created,
		},
		"an updated_at from long ago counts": {
			record: changed(1, "2026-03-14T15:09:26.535+01:00", "1999-12-31T23:59:59.9999Z"),
			want:   "processed from processing at 1999-12-31T23:59:59.999Z",
		},
		"an updated_at that UTC cannot write is none": {
			record: changed(1, "2026-03-14T15:09:26.535+01:00", "9999-12-31T23:59:59-10:00"),
			want:   "processed from processing at " + created,
		},
		"an updated_at that is the zero time is none": {
			record: changed(1, "2026-03-14T15:09:26.535+01:00", "0001-01-01T00:00:00Z"),
			want:   "processed from processing at " + created,
		},
		"an event that this stream never has": {record: changed(1, `"MODIFY"`, `"UPSERT"`)},
		"an image that is no object is passed over": {
			record: changed(1, `"Keys":{"id":{"S":"doc"}}`, `"Keys":"none"`),
			reason: "not a stream record",
		},
		"an attribute that is no object is none": {
			record: changed(1, `{"S":"org"},"status":{"S":"processed"}`, `"org","status":{"S":"processed"}`),
			reason: "no organization_id",
		},
		"a record that is no object is passed over": {record: json.RawMessage(`"record"`), reason: "not a stream record"},
		"a null record is no change":                {record: json.RawMessage(`null`)},
		"a record that is no JSON is passed over":   {record: json.RawMessage(`{"eventID":`), reason: "not a stream record"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(map[string][]webhook.Config{"org": {everything(1)}}, nil)
			// Whatever comes of it, the records around it are sent.
			if got := handle(t, f, changed(7), test.record, changed(8)); got != accepted {
				t.Errorf("got %s; what cannot work must not hold up its shard", got)
			}
			var events []string
			for _, m := range f.sent {
				if e := m.Event; e.ID != eventOf(7).ID && e.ID != eventOf(8).ID {
					events = append(events, fmt.Sprintf("%s from %s at %s", e.Status, e.PreviousStatus, e.OccurredAt))
				}
			}
			if got := strings.Join(events, "\n"); got != test.want {
				t.Errorf("sent %q, want %q", got, test.want)
			}
			if want := 2 + len(events); len(f.sent) != want || f.metrics.of[metricMessages] != want {
				t.Errorf("%d messages, counted %d, want %d", len(f.sent), f.metrics.of[metricMessages], want)
			}
			if passed := f.metrics.of[metricUnroutable]; (passed == 1) != (test.reason != "") || passed > 1 {
				t.Errorf("%d records counted as passed over", passed)
			}
			if test.reason != "" && !strings.Contains(f.log.String(), test.reason) {
				t.Errorf("the log does not say %q: %s", test.reason, &f.log)
			}
			if len(f.log.String()) > 4096 {
				t.Error("the log quotes too much")
			}
		})
	}
}

func TestEventIDs(t *testing.T) {
	t.Run("they are the same for ever", func(t *testing.T) {
		// Receivers recognize duplicates by them, and replay must meet what dispatch has sent.
		golden := map[string]json.RawMessage{
			"evt_01KKPEA93GHDEC9QVYXHYK59W1": changed(1),
			"evt_01KKPEA93GNG7GKG7RQXF7MJR6": changed(2),
		}
		for want, record := range golden {
			for range 2 {
				c, err := parse(record)
				if err != nil || c.event.ID != want {
					t.Errorf("got %s (%v), want %s", c.event.ID, err, want)
				}
			}
		}
	})
	t.Run("the precision of the stream's time does not matter", func(t *testing.T) {
		for _, written := range []string{"1773500966.0", "1.773500966E9", "1773500966.999"} {
			if c, err := parse(changed(1, "1773500966", written)); err != nil || c.event.ID != eventOf(1).ID {
				t.Errorf("%s: got %s, %v", written, c.event.ID, err)
			}
		}
	})
	t.Run("they sort by the records' times", func(t *testing.T) {
		earlier, err := parse(changed(9, "1773500966", "1773500965"))
		if err != nil || earlier.event.ID >= eventOf(1).ID {
			t.Errorf("%s is not before %s", earlier.event.ID, eventOf(1).ID)
		}
	})
	t.Run("nothing but the record's id and time decides them", func(t *testing.T) {
		c, err := parse(changed(1, `{"S":"processed"}`, `{"S":"failed"}`, `"SequenceNumber":"1"`, `"SequenceNumber":"5"`))
		if err != nil || c.event.ID != eventOf(1).ID {
			t.Errorf("got %s, %v", c.event.ID, err)
		}
	})
}

// Whatever a record holds: it is sent, not a change, or refused; never both, and what is sent can
// be read again by the other side of the queue. What waits means the same when it comes back.
func FuzzParse(f *testing.F) {
	f.Add([]byte(changed(1)))
	f.Add([]byte(changed(1, "MODIFY", "INSERT", oldStatus, "")))
	f.Add([]byte(changed(1, "1773500966", "1e300")))
	f.Add([]byte(changed(1, "2026-03-14T15:09:26.535+01:00", "0000-01-01T00:00:00+10:00")))
	large := `"text":{"S":"` + strings.Repeat("x", webhook.MaxHeldRecord) + `"},"organization_id"`
	f.Add([]byte(changed(1, `"id":{"S":"doc"},"organization_id"`, large)))
	f.Add([]byte(`{"dynamodb":null}`))
	f.Add([]byte(`{"eventName":"INSERT","dynamodb":{"NewImage":{"status":{"S":"pending"}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if err != nil {
			if c.event != (webhook.Event{}) {
				t.Errorf("refused with %v, and still an event: %+v", err, c.event)
			}
			return
		}
		message := webhook.NewFirst(c.organizationID, idOf(1), c.event, webhook.At(c.created), c.created)
		body, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		again, err := webhook.ParseMessage(string(body), c.created)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if diff := cmp.Diff(message, again); diff != "" {
			t.Error(diff)
		}
		held := c.heldRecord()
		back, err := parse(json.RawMessage(held.Body))
		if err != nil || len(held.Body) > webhook.MaxHeldRecord {
			t.Fatalf("%d bytes: %v", len(held.Body), err)
		}
		if diff := cmp.Diff(c.event, back.event); diff != "" || c.organizationID != back.organizationID {
			t.Errorf("what has waited is another change: %s", diff)
		}
	})
}
