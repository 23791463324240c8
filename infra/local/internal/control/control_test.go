package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/stack"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// running is a stack whose functions are not there.
type running struct {
	*stack.Stack
	api  string
	stop func() error
}

func start(t *testing.T, organizations ...stack.Organization) *running {
	t.Helper()
	return startWith(t, "", organizations...)
}

// startWith starts a stack whose template has further resources.
func startWith(t *testing.T, resources string, organizations ...stack.Organization) *running {
	t.Helper()
	listen := func() net.Listener {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return listener
	}
	source, err := os.ReadFile("../../testdata/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	declared, err := template.Parse(bytes.Replace(source, []byte("Resources:\n"), []byte("Resources:\n"+resources), 1), template.Options{})
	if err != nil {
		t.Fatal(err)
	}
	told := journal.New(journal.Options{})
	s, err := stack.New(stack.Options{
		Template: declared, Binaries: t.TempDir(), API: listen(), AWS: listen(), Organizations: organizations,
		Clock: clock.New(1, nil), Observe: told.Queued, Log: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	page := &Control{Stack: s, Journal: told, Closing: ctx.Done()}
	watching := make(chan struct{})
	go func() { defer close(watching); page.Watch(ctx) }()
	go told.Run(ctx, s)
	s.Start(ctx, page.Handler())
	r := &running{Stack: s, api: s.APIURL(), stop: sync.OnceValue(func() error { cancel(); <-watching; return s.Stop() })}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestControlRefuses(t *testing.T) {
	r := start(t, stack.Organization{ID: "org_a", Key: "key_1"})
	for name, test := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		"a web page of another origin": {
			method: "PUT", path: "/_local/documents/d", body: `{"status":"processed"}`,
			header: []string{"Origin", "https://example.com", "Sec-Fetch-Site", "cross-site"},
			status: 403, want: "cross-origin",
		},
		"a name of somebody else that leads here": {
			method: "GET", path: "/_local/config", header: []string{"Host", "example.com:80"},
			status: 403, want: "loopback addresses only",
		},
		"an endpoint that is not there": {
			method: "PUT", path: "/_local/endpoint", body: `{"behaviour":"fail"}`,
			status: 404, want: "without its demo",
		},
		"to redrive what is no dead-letter queue": {
			method: "POST", path: "/_local/queues/Queue/redrive",
			status: 404, want: `no dead-letter queue \"Queue\"`,
		},
		"the request of what is no delivery": {
			method: "POST", path: "/_local/requests", body: `{"delivery_id":"dlv_1"}`,
			status: 404, want: `no config of a delivery \"dlv_1\"`,
		},
		"a request without a question": {
			method: "POST", path: "/_local/requests", body: `dlv_1`,
			status: 400,
		},
		"faults of an unknown kind": {
			method: "PUT", path: "/_local/faults", body: `{"rules":[{"kind":"odd"}]}`,
			status: 400, want: `kind \"odd\"`,
		},
		"a status that no webhook is sent for": {
			method: "PUT", path: "/_local/documents/d", body: `{"status":"archived"}`,
			status: 400, want: `status \"archived\" is none of [pending submitted processing processed failed]`,
		},
		"a method that a path does not have": {
			method: "DELETE", path: "/_local/documents/d",
			status: 404, want: "no DELETE /_local/documents/d",
		},
		"a file that the page does not consist of": {
			method: "GET", path: "/_local/other.js",
			status: 404,
		},
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
		response, err := http.Post(r.api+"/_local/queues/DeadLetterQueue/redrive", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusAccepted {
			t.Errorf("got %s", response.Status)
		}
	})
	t.Run("and an open page does not hold the end up", func(t *testing.T) {
		response, err := http.Get(r.api + "/_local/events")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		started := time.Now()
		if err := r.stop(); err != nil || time.Since(started) > stack.Grace {
			t.Errorf("stopped with %v after %s", err, time.Since(started))
		}
	})
}

func TestRedriveMovesEveryMessageToWhereItCameFrom(t *testing.T) {
	queues := []string{"FirstQueue", "SecondQueue"}
	resources := "  BothDeadLetterQueue: {Type: AWS::SQS::Queue}\n"
	for _, queue := range queues {
		resources += "  " + queue + ":\n    Type: AWS::SQS::Queue\n    Properties: " +
			"{RedrivePolicy: {deadLetterTargetArn: !GetAtt BothDeadLetterQueue.Arn, maxReceiveCount: 1}}\n"
	}
	r := startWith(t, resources, stack.Organization{ID: "org_a", Key: "key_1"})
	call := func(operation, queue string, request map[string]any) (got struct{ Messages []struct{ Body string } }) {
		t.Helper()
		request["QueueUrl"] = r.QueueURL(queue)
		if err := ask(t.Context(), r.Broker.Service(), operation, request, &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, queue := range queues {
		call("SendMessage", queue, map[string]any{"MessageBody": "of " + queue})
		for range 2 { // the second finds it spent, and moves it
			call("ReceiveMessage", queue, map[string]any{"VisibilityTimeout": 0})
		}
	}
	response, err := http.Post(r.api+"/_local/queues/BothDeadLetterQueue/redrive", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		t.Fatalf("the redrive answered %s", response.Status)
	}
	for _, queue := range queues {
		got := call("ReceiveMessage", queue, map[string]any{"WaitTimeSeconds": 10}).Messages
		if len(got) != 1 || got[0].Body != "of "+queue {
			t.Errorf("%s has %v, want its own message", queue, got)
		}
	}
}

func TestPageStatusNamesWhatTheTemplateDeclares(t *testing.T) {
	r := start(t, stack.Organization{ID: "org_a", Key: "key_1"}, stack.Organization{ID: "org_a", Key: "key_2"})
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
	organizations := []organization{{ID: "org_a", Key: "key_1"}, {ID: "org_a", Key: "key_2"}}
	if diff := cmp.Diff(organizations, status.Organizations); diff != "" {
		t.Errorf("organizations (-want +got):\n%s", diff)
	}
	if status.Demo != nil || len(status.Functions) != 4 ||
		len(status.Queues) != 2 || len(status.Statuses) != 5 {
		t.Errorf("status = %+v", status)
	}
	for _, q := range status.Queues {
		if q.DeadLetter != (q.Name == "DeadLetterQueue") {
			t.Errorf("queue %+v", q)
		}
	}
	processed := strings.NewReader(`{"status":"processed"}`)
	change, err := http.NewRequestWithContext(t.Context(), "PUT", r.api+"/_local/documents/doc_1", processed)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := http.DefaultClient.Do(change)
	if err != nil {
		t.Fatal(err)
	}
	changed.Body.Close()
	if changed.StatusCode != http.StatusOK {
		t.Fatalf("changing a document answered %s", changed.Status)
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

func TestFaultsAreFollowedUntilTheyAreDeleted(t *testing.T) {
	r := start(t, stack.Organization{ID: "org_a", Key: "key_1"})
	plan := `{"seed":7,"rules":[{"function":"RelayFunction","operation":"SendMessage","kind":"reset-after","probability":0.5}]}`
	idle := `"kinds":{"frozen":0,"hanging":0,"internal":0,"killed":0,"late":0,"missed":0,"out-of-order":0,"over-limit":0,"partial":0,` +
		`"refused":0,"reset-after":0,"reset-before":0,"skewed":0,"throttled":0,"twice":0},"hits":[]}`
	none, followed := `{"seed":0,"rules":null,`+idle, strings.TrimSuffix(plan, "}")+","+idle
	for _, step := range []struct{ method, body, want string }{
		{"GET", "", none},
		{"PUT", plan, followed},
		{"GET", "", followed},
		{"DELETE", "", none},
	} {
		request, err := http.NewRequestWithContext(t.Context(), step.method, r.api+"/_local/faults", strings.NewReader(step.body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		var got bytes.Buffer
		if err == nil {
			err = json.Compact(&got, body)
		}
		if err != nil || response.StatusCode != http.StatusOK || strings.TrimSpace(got.String()) != step.want {
			t.Errorf("%s answered %s %s (%v), want %s", step.method, response.Status, body, err, step.want)
		}
	}
}
