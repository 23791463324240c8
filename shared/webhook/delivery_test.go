package webhook

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDeliveryIDs(t *testing.T) {
	const want = "dlv_AZafPHsAfDqdTl9gcYKTpAGb5i4PAFBWJg2kcV5oHig"
	id, err := DeliveryID(someConfig, someEvent)
	if err != nil || id != want {
		t.Fatalf("%s, %v", id, err)
	}
	config, event, err := ParseDeliveryID(id)
	if config != someConfig || event != someEvent || err != nil {
		t.Errorf("%s reads as %s and %s, %v", id, config, event, err)
	}
	if d := (&Delivery{ConfigID: someConfig, Event: Event{ID: someEvent}}); d.ID() != id || !d.CreatedAt().Equal(must(EventTime(someEvent))) {
		t.Errorf("the delivery has the id %s and the time %s", d.ID(), d.CreatedAt())
	}
	for _, pair := range [][2]string{{"", someEvent}, {strings.ToUpper(someConfig), someEvent}, {"{" + someConfig + "}", someEvent}, {"urn:uuid:" + someConfig, someEvent}, {someConfig, ""}, {someConfig, id}} {
		if got, err := DeliveryID(pair[0], pair[1]); !errors.Is(err, ErrDeliveryID) {
			t.Errorf("%q has the id %s, %v", pair, got, err)
		}
	}
	raw := id[len("dlv_"):]
	for _, wrong := range []string{
		"", "dlv_", raw, "DLV_" + raw, "dlv-" + raw, id + "A", id + "=", id[:len(id)-1], id + "\n", id[:10] + "\n" + id[10:], id[:len(id)-1] + "!",
		id[:len(id)-1] + string(next(id[len(id)-1])), "dlv_" + strings.NewReplacer("-", "+", "_", "/").Replace(raw) + "==",
		"dlv_" + base64.RawURLEncoding.EncodeToString(make([]byte, 31)), "dlv_" + base64.RawURLEncoding.EncodeToString(make([]byte, 33)), someConfig, someEvent,
	} {
		if config, event, err := ParseDeliveryID(wrong); !errors.Is(err, ErrDeliveryID) {
			t.Errorf("%q reads as %s and %s, %v", wrong, config, event, err)
		}
	}
}

// next is another last character that only differs in bits that mean nothing.
func next(last byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, last)+1]
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestStatusAt(t *testing.T) {
	due := noon
	for _, test := range []struct {
		name   string
		status DeliveryStatus
		after  time.Duration // of the due time
		want   DeliveryStatus
		failed Time
	}{
		{"a retry that is not due is retrying", Retrying, -time.Minute, Retrying, Time{}},
		{"a retry that is late is retrying", Retrying, time.Hour, Retrying, Time{}},
		{"a retry that is long overdue has failed when it was due", Retrying, time.Hour + time.Millisecond, DeliveryFailed, due},
		{"delivered stays", Delivered, 1000 * time.Hour, Delivered, Time{}},
		{"failed stays", DeliveryFailed, 1000 * time.Hour, DeliveryFailed, Time{}},
		{"canceled stays", Canceled, 1000 * time.Hour, Canceled, Time{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &Delivery{Status: test.status, NextAttemptAt: due}
			now := due.Add(test.after)
			if got := d.StatusAt(now); got != test.want || d.FailedAsOf(now) != test.failed {
				t.Errorf("%s, failed at %s, want %s at %s", got, d.FailedAsOf(now), test.want, test.failed)
			}
		})
	}
}

func TestExpired(t *testing.T) {
	d := &Delivery{ExpiresAt: noon}
	if d.Expired(noon.Time) || !d.Expired(noon.Add(time.Millisecond)) || (&Delivery{}).Expired(noon.Time) {
		t.Error("a delivery expires just after its time, and never without one")
	}
}

func TestNewResendIsNeverTakenForADuplicate(t *testing.T) {
	before, later := At(noon.Add(-time.Hour)), At(noon.Add(time.Hour))
	for _, test := range []struct {
		name            string
		requested, done Time
		want            Time
	}{
		{"now", before, before, noon},
		{"now, for what was never requested", Time{}, Time{}, noon},
		{"a millisecond after the last request of this millisecond", noon, Time{}, At(noon.Add(time.Millisecond))},
		{"a millisecond after a success of this millisecond", before, noon, At(noon.Add(time.Millisecond))},
		{"after a request in the future, of another clock", later, before, At(later.Add(time.Millisecond))},
		{"after a success in the future", before, later, At(later.Add(time.Millisecond))},
		{"after the later one", noon, later, At(later.Add(time.Millisecond))},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &Delivery{
				OrganizationID: "org", ConfigID: someConfig, Event: Event{Version: 1, ID: someEvent, DocumentID: "d", Status: Failed, OccurredAt: before},
				RequestedAt: test.requested, DoneFor: test.done, Trigger: StatusChange, Round: "old",
			}
			want := Message{OrganizationID: "org", ConfigID: someConfig, Event: d.Event, RequestedAt: test.want, Trigger: Resend}
			if diff := cmp.Diff(want, NewResend(d, noon.Add(999*time.Microsecond))); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseDeliveryID(f *testing.F) {
	f.Add("dlv_AZafPHsAfDqdTl9gcYKTpAGb5C4PAFBYsRoqMXA8HhE")
	f.Add("dlv_" + strings.Repeat("_", 43))
	f.Add("dlv_" + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, id string) {
		config, event, err := ParseDeliveryID(id)
		if err != nil {
			if !errors.Is(err, ErrDeliveryID) || config != "" || event != "" {
				t.Fatalf("%q: %q, %q, %v", id, config, event, err)
			}
			return
		}
		if again, err := DeliveryID(config, event); again != id || err != nil {
			t.Fatalf("%q reads as %s and %s, which have the id %q, %v", id, config, event, again, err)
		}
		if _, err := EventTime(event); err != nil || !ValidConfigID(config) {
			t.Fatalf("%q reads as %s and %s, %v", id, config, event, err)
		}
	})
}
