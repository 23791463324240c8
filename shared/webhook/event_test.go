package webhook

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files, but never those of a frozen version that are there")

const (
	someConfig = "01969f3c-7b00-7c3a-9d4e-5f60718293a4"
	someEvent  = "evt_01KFK2W3R0A1B2C3D4E5F6G7H8"

	someSequence = "0000000000000000000111000000000000000042"
)

var noon = At(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))

// TestRenderIsFrozen compares byte by byte: a receiver that compares bodies, and every signature,
// depends on it. What has once been written may never be changed, so -update adds files only.
func TestRenderIsFrozen(t *testing.T) {
	event := func(change func(*Event)) Event {
		e := Event{Version: 1, ID: someEvent, DocumentID: "doc_4711", Status: Processed, Sequence: someSequence, OccurredAt: noon}
		change(&e)
		return e
	}
	for name, e := range map[string]Event{
		"change": event(func(e *Event) { e.PreviousStatus = Processing }),
		"new":    event(func(e *Event) { e.Status, e.OccurredAt = Pending, At(noon.Add(123*time.Millisecond)) }),
		"test":   event(func(e *Event) { e.Status, e.PreviousStatus, e.Sequence, e.Test = Failed, Processing, "", true }),
		"characters": event(func(e *Event) {
			e.DocumentID, e.Status, e.PreviousStatus = "<a href=\"x\">&amp;</a>\\\x00\n\u2028\u2029üñ😀\x7f'", Submitted, Pending
		}),
		"related": event(func(e *Event) {
			e.DocumentID, e.Related = "Rechnung 7/8 & <9>", "https://documents.example/?id=Rechnung%207%2F8%20%26%20%3C9%3E&v=1"
		}),
		"longest": event(func(e *Event) {
			e.DocumentID, e.Status, e.PreviousStatus = strings.Repeat("ü", MaxDocumentIDLength/2), Submitted, Pending
		}),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := e.Render(someConfig)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", fmt.Sprintf("render-%d-%s.json", e.Version, name))
			if _, err := os.Stat(path); *update && os.IsNotExist(err) {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v (go test -update writes it)", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
			var body struct {
				Data struct {
					Relationships struct {
						Document struct{ Data struct{ ID string } }
					}
				}
			}
			if err := json.Unmarshal(got, &body); err != nil || body.Data.Relationships.Document.Data.ID != e.DocumentID {
				t.Errorf("the document's id is %q, %v", body.Data.Relationships.Document.Data.ID, err)
			}
			if len(e.DocumentID) < 20 && len(got) >= 1024 {
				t.Errorf("the body has %d bytes", len(got))
			}
		})
	}
}

func TestEveryVersionHasGoldenFiles(t *testing.T) {
	for version := 1; version <= RenderVersion; version++ {
		if found, err := filepath.Glob(fmt.Sprintf("testdata/render-%d-*.json", version)); len(found) < 5 || err != nil {
			t.Errorf("version %d has %d golden files", version, len(found))
		}
	}
	for _, version := range []int{-1, 0, RenderVersion + 1} {
		e := Event{Version: version, ID: someEvent, DocumentID: "d", Status: Pending, OccurredAt: noon}
		if body, err := e.Render(someConfig); !errors.Is(err, ErrUnknownVersion) {
			t.Errorf("version %d is rendered as %s, %v", version, body, err)
		}
	}
}

func TestEventIDs(t *testing.T) {
	if a, b := NewEventID(noon.Time, "seed"), NewEventID(noon.Add(0), "seed"); a != b || a != "evt_01KG9YS7G036S5GNQ1R58CN0TC" {
		t.Errorf("the same record has the ids %s and %s", a, b)
	}
	seen := map[string]bool{}
	var ids []string
	for i := range 100 {
		at := noon.Add(time.Duration(i) * time.Millisecond)
		id := NewEventID(at, "seed")
		ids = append(ids, id)
		seen[id], seen[NewEventID(at, "other")] = true, true
		if got, err := EventTime(id); !got.Equal(at) || err != nil {
			t.Errorf("%s is of %s (%v), want %s", id, got, err, at)
		}
		if first := FirstEventID(at); first > id || i > 0 && first <= ids[i-1] {
			t.Errorf("the first id of %s is %s, beside %s", at, first, id)
		}
	}
	if !slices.IsSorted(ids) || len(seen) != 200 {
		t.Errorf("%d ids, sorted: %t", len(seen), slices.IsSorted(ids))
	}
}

func TestFirstEventIDAtTheEnds(t *testing.T) {
	least := "evt_00000000000000000000000000"
	for _, early := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 0), time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got := FirstEventID(early); got != least {
			t.Errorf("%s: %s, want %s", early, got, least)
		}
	}
	if got := FirstEventID(time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)); got != "evt_7ZZZZZZZZZ0000000000000000" {
		t.Errorf("the year 20000: %s", got)
	}
}

func TestEventTimeRefuses(t *testing.T) {
	for _, id := range []string{
		"", "evt_", strings.TrimPrefix(someEvent, "evt_"), strings.ToLower(someEvent), "EVT" + someEvent[3:],
		someEvent + "0", someEvent[:len(someEvent)-1], "evt_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
		"evt_01KFK2W3R0A1B2C3D4E5F6G7HU", "evt_01KFK2W3R0A1B2C3D4E5F6G7H\n", "evt_O1KFK2W3R0A1B2C3D4E5F6G7H8",
	} {
		if at, err := EventTime(id); err == nil {
			t.Errorf("%q is of %s", id, at)
		}
	}
}

func TestSequencesCompareAsNumbers(t *testing.T) {
	var last string
	for _, number := range []string{"1", "9", "10", "111000000000000000042", strings.Repeat("9", SequenceLength)} {
		got, err := NewSequence(number)
		if err != nil || len(got) != SequenceLength || got <= last {
			t.Errorf("%s gives %s after %s, %v", number, got, last, err)
		}
		last = got
	}
	for _, wrong := range []string{"", "-1", "+1", "1.0", "0x1", " 1", "١", strings.Repeat("1", SequenceLength+1)} {
		if got, err := NewSequence(wrong); err == nil {
			t.Errorf("%q gives %s", wrong, got)
		}
	}
}
