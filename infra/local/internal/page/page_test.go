package page_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/page"
)

func serve(t *testing.T, options page.Options) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(page.Handler(options))
	t.Cleanup(server.Close)
	return server
}

func TestFilesComeFromHereOnly(t *testing.T) {
	server := serve(t, page.Options{})
	for path, kind := range map[string]string{
		"/":           "text/html",
		"/page.css":   "text/css",
		"/page.js":    "text/javascript",
		"/element.js": "text/javascript",
		"/request.js": "text/javascript",
		"/icon.svg":   "image/svg+xml",
	} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		served, policy := response.Header.Get("Content-Type"), response.Header.Get("Content-Security-Policy")
		if response.StatusCode != 200 || !strings.HasPrefix(served, kind) || !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("%s answered %s with %v", path, response.Status, response.Header)
		}
	}
}

// read returns the next n events of a stream, as "name data".
func read(t *testing.T, lines *bufio.Scanner, n int) []string {
	t.Helper()
	var events []string
	name := ""
	for len(events) < n && lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = value
		}
		if value, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			events = append(events, name+" "+value)
		}
	}
	return events
}

func TestStreamTellsTheStatusAndWhatChanges(t *testing.T) {
	j := journal.New(journal.Options{})
	closing := make(chan struct{})
	statuses := make(chan string, 10)
	statuses <- "one"
	statuses <- "one"
	statuses <- "two"
	last := "two"
	server := serve(t, page.Options{Journal: j, Closing: closing, Status: func(context.Context) (any, error) {
		select {
		case last = <-statuses:
		default:
		}
		return last, nil
	}})
	response, err := http.Get(server.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("content type %q", kind)
	}
	lines := bufio.NewScanner(response.Body)
	first := read(t, lines, 1)
	j.Changed(journal.Change{EventID: "evt_1", DocumentID: "line\nbreak", Status: "processed", At: time.Unix(0, 0).UTC()})
	got := append(first, read(t, lines, 2)...)
	want := []string{
		`status "one"`,
		`flows [{"id":"evt_1","serial":1,"at":"1970-01-01T00:00:00Z","changed":true,"recorded":false,"test":false,` +
			`"organization_id":"","document_id":"line\nbreak","status":"processed","previous_status":"","deliveries":[]}]`,
		`status "two"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	close(closing)
	if rest := read(t, lines, 1); len(rest) > 0 {
		t.Errorf("after the end came %v", rest)
	}
}
