package endpoint

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

var (
	current = signature.Credentials{
		Token:  "whtok_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		Secret: "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
	}
	previous = signature.Credentials{
		Token:  "whtok_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
		Secret: "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
	}
)

// event is what these tests deliver.
func event() webhook.Event {
	at := webhook.At(time.Date(1999, 12, 31, 20, 0, 0, 0, time.UTC))
	return webhook.Event{
		Version: 1, ID: webhook.NewEventID(at.Time, "event1"), DocumentID: "doc_1",
		Status: webhook.Processed, PreviousStatus: webhook.Processing, OccurredAt: at,
	}
}

// request is the attempt that these tests make.
func request(url string) Request {
	e := event()
	body, err := e.Render("01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		panic(err)
	}
	return Request{URL: url, EventID: e.ID, Body: body, Attempt: 2, Current: current}
}
