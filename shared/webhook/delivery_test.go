package webhook

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
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
	d := &Delivery{ConfigID: someConfig, Event: Event{ID: someEvent}}
	if d.ID() != id || !d.CreatedAt().Equal(must(EventTime(someEvent))) {
		t.Errorf("the delivery has the id %s and the time %s", d.ID(), d.CreatedAt())
	}
	for _, pair := range [][2]string{
		{"", someEvent}, {strings.ToUpper(someConfig), someEvent}, {"{" + someConfig + "}", someEvent},
		{"urn:uuid:" + someConfig, someEvent}, {someConfig, ""}, {someConfig, id},
	} {
		if got, err := DeliveryID(pair[0], pair[1]); !errors.Is(err, ErrDeliveryID) {
			t.Errorf("%q has the id %s, %v", pair, got, err)
		}
	}
	raw := id[len("dlv_"):]
	for _, wrong := range []string{
		"", "dlv_", raw, "DLV_" + raw, "dlv-" + raw, id + "A", id + "=", id[:len(id)-1], id + "\n", id[:10] + "\n" + id[10:],
		id[:len(id)-1] + "!",
		id[:len(id)-1] + string(next(id[len(id)-1])), "dlv_" + strings.NewReplacer("-", "+", "_", "/").Replace(raw) + "==",
		"dlv_" + base64.RawURLEncoding.EncodeToString(make([]byte, 31)),
		"dlv_" + base64.RawURLEncoding.EncodeToString(make([]byte, 33)), someConfig, someEvent,
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

func TestOverdue(t *testing.T) {
	for _, test := range []struct {
		name  string
		d     Delivery
		after time.Duration // of the time it is due
		want  bool
	}{
		{name: "an attempt that is late is not overdue", d: Delivery{NextAttemptAt: noon, WakeAt: noon}, after: time.Hour},
		{
			name:  "one that is an hour late is",
			d:     Delivery{NextAttemptAt: noon, WakeAt: noon},
			after: time.Hour + time.Millisecond,
			want:  true,
		},
		{name: "what does not wait never is", d: Delivery{NextAttemptAt: noon}, after: 1000 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.d.Overdue(noon.Add(test.after)); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
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
