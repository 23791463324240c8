package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/journal"
)

func TestControlRefuses(t *testing.T) {
	r := start(t, "-template", "testdata/template.yaml", "-demo=false")
	for name, test := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		"a web page of another origin":             {"PUT", "/_local/documents/d", `{"status":"processed"}`, []string{"Origin", "https://example.com", "Sec-Fetch-Site", "cross-site"}, 403, "cross-origin"},
		"a name of somebody else that leads here":  {"GET", "/_local/config", "", []string{"Host", "example.com:80"}, 403, "loopback addresses only"},
		"an endpoint that is not there":            {"PUT", "/_local/endpoint", `{"behaviour":"fail"}`, nil, 404, "without its demo"},
		"to redrive what is no dead-letter queue":  {"POST", "/_local/queues/Queue/redrive", "", nil, 404, `no dead-letter queue \"Queue\"`},
		"to resend what the page does not show":    {"POST", "/_local/deliveries/dlv_1/resend", "", nil, 404, "does not show"},
		"a method that a path does not have":       {"DELETE", "/_local/documents/d", "", nil, 404, "no DELETE /_local/documents/d"},
		"a file that the page does not consist of": {"GET", "/_local/other.js", "", nil, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), test.method, r.api+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(test.header); i += 2 {
				if test.header[i] == "Host" {
					request.Host = test.header[i+1]
				}
				request.Header.Set(test.header[i], test.header[i+1])
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != test.status || !strings.Contains(string(body), test.want) {
				t.Errorf("got %s %s (%v), want %d and %q", response.Status, body, err, test.status, test.want)
			}
		})
	}

	t.Run("nothing, when the queue is one of dead letters", func(t *testing.T) {
		if status, body := r.do(t, "POST", "/_local/queues/DeadLetterQueue/redrive", ""); status != http.StatusAccepted {
			t.Errorf("got %d %s", status, body)
		}
	})
	t.Run("and an open page does not hold the end up", func(t *testing.T) {
		response, err := http.Get(r.api + "/_local/events")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		started := time.Now()
		if code := r.stop(); code != 0 || time.Since(started) > grace {
			t.Errorf("stopped with %d after %s", code, time.Since(started))
		}
	})
}

func TestReceiverBehaves(t *testing.T) {
	const (
		token  = "whtok_abc"
		secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	)
	ctx, giveUp := context.WithCancel(t.Context())
	r := newReceiver("http://127.0.0.1:1", make(chan arrival, 1), journal.New(journal.Options{}))
	for _, b := range []behaviour{"", "dance"} {
		if err := r.behave(b); err == nil {
			t.Errorf("it does %q", b)
		}
	}
	if got := r.decide(ctx); got != http.StatusNoContent {
		t.Errorf("at first it answers %d", got)
	}
	if err := r.behave(fail); err != nil || r.decide(ctx) != http.StatusInternalServerError || r.behaviour() != fail {
		t.Errorf("told to fail it does %q (%v)", r.behaviour(), err)
	}
	if err := r.behave(hang); err != nil {
		t.Fatal(err)
	}
	answers := make(chan int)
	go func() { answers <- r.decide(t.Context()) }()
	if err := r.behave(succeed); err != nil {
		t.Fatal(err)
	}
	if got := <-answers; got != http.StatusNoContent {
		t.Errorf("recovered it answers %d", got)
	}
	if err := r.behave(hang); err != nil {
		t.Fatal(err)
	}
	giveUp()
	if got := r.decide(ctx); got != 0 {
		t.Errorf("to a sender that gave up it answers %d", got)
	}

	// What cannot be verified is refused, whatever else the endpoint would do.
	r.setCredentials(token, secret)
	answer := httptest.NewRecorder()
	r.ServeHTTP(answer, httptest.NewRequest("POST", "/", strings.NewReader("{}")))
	if answer.Code != http.StatusUnauthorized {
		t.Errorf("a forged request is answered %d", answer.Code)
	}
}

func TestPageStatusNamesWhatTheTemplateDeclares(t *testing.T) {
	r := start(t, "-template", "testdata/template.yaml", "-demo=false", "-organization", "org_a=key_1", "-organization", "org_a=key_2")
	request, err := http.NewRequestWithContext(t.Context(), "GET", r.api+"/_local/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	decoder := newEventReader(response.Body)
	var status pageStatus
	if err := json.Unmarshal(decoder.next(t, "status"), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Organizations) != 1 || status.Demo != nil || len(status.Functions) != 4 || len(status.Queues) != 2 || len(status.Statuses) != 5 {
		t.Errorf("status = %+v", status)
	}
	for _, q := range status.Queues {
		if q.DeadLetter != (q.Name == "DeadLetterQueue") {
			t.Errorf("queue %+v", q)
		}
	}
	if status, body := r.do(t, "PUT", "/_local/documents/doc_1", `{"status":"processed"}`); status != http.StatusOK {
		t.Fatalf("got %d %s", status, body)
	}
	var flows []journal.Flow
	if err := json.Unmarshal(decoder.next(t, "flows"), &flows); err != nil {
		t.Fatal(err)
	}
	if len(flows) != 1 || flows[0].DocumentID != "doc_1" || flows[0].OrganizationID != "org_a" || !flows[0].Changed {
		t.Errorf("flows = %+v", flows)
	}
}

// eventReader reads server-sent events.
type eventReader struct{ lines *bufio.Scanner }

func newEventReader(r io.Reader) eventReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	return eventReader{lines}
}

// next returns the data of the next event of a kind.
func (r eventReader) next(t *testing.T, kind string) []byte {
	t.Helper()
	current := ""
	for r.lines.Scan() {
		if name, ok := strings.CutPrefix(r.lines.Text(), "event: "); ok {
			current = name
		}
		if data, ok := strings.CutPrefix(r.lines.Text(), "data: "); ok && current == kind {
			return []byte(data)
		}
	}
	t.Fatalf("the events ended without one of %s: %v", kind, r.lines.Err())
	return nil
}
