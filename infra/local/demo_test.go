package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDemoShowsTheWholePath(t *testing.T) {
	if testing.Short() {
		t.Skip("builds every function of the system")
	}
	r := start(t, "-template", "../../template.yaml")
	select {
	case <-r.stdout.await(`Ctrl-C stops`):
	case <-time.After(2 * time.Minute):
		t.Fatal("the demo did not come to its end")
	}
	shown := r.stdout.String()
	for _, want := range []string{
		"A webhook arrived", "token and both signatures verified", `"document_id": "doc_demo"`, `"status": "processed"`,
		"PUT '" + r.api + "/_local/documents/doc_demo'", "X-Api-Key: dk_test_local", "--table-name DocumentsTable",
		"/v1/webhooks/deliveries/dlv_",
		"start-message-move-task --source-arn arn:aws:sqs:us-east-1:000000000000:DeliveryDeadLetterQueue",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if strings.Contains(shown, "\x1b") {
		t.Error("colours are for terminals only")
	}
	if denied := r.configuration(t).IAM.Denied; len(denied) > 0 {
		t.Errorf("denied on the way: %v", denied)
	}

	t.Run("every further webhook is one line", func(t *testing.T) {
		fails(t, r, `webhook evt_\w{26}, attempt 1: doc_demo failed, verified, answered 204\n`)
		if logged := r.stderr.String(); strings.Contains(logged, "batch") {
			t.Errorf("beside it there is %s", logged)
		}
	})

	t.Run("the commands work as they are printed", func(t *testing.T) {
		match := regexp.MustCompile(`/v1/webhooks/deliveries/(dlv_[^/]+)/resend`).FindStringSubmatch(shown)
		if match == nil {
			t.Fatal("there is no command to send a delivery again")
		}
		if status, body := r.do(t, "POST", match[0], "", "X-Api-Key", "dk_test_local"); status != http.StatusAccepted {
			t.Errorf("sending again answered %d %s", status, body)
		}
	})
	t.Run("the page shows a request as its endpoint has received it", func(t *testing.T) {
		received := make(chan *http.Request, 1)
		endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) { received <- request }))
		defer endpoint.Close()
		attributes := fmt.Sprintf(`{"url":"%s/hook?a=https:","subscribed_statuses":["submitted"]}`, endpoint.URL)
		config := `{"data":{"type":"webhook_config","attributes":` + attributes + `}}`
		key, media := []string{"X-Api-Key", "dk_test_local"}, []string{"Content-Type", "application/vnd.api+json"}
		if status, body := r.do(t, "POST", "/v1/webhooks/configs", config, slices.Concat(key, media)...); status != http.StatusCreated {
			t.Fatalf("got %d %s", status, body)
		}
		if status, body := r.do(t, "PUT", "/_local/documents/doc_shown", `{"status":"submitted"}`); status != http.StatusOK {
			t.Fatalf("got %d %s", status, body)
		}
		arrived := <-received
		seconds, err := strconv.ParseInt(arrived.Header.Get("Webhook-Timestamp"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		delivery := arrived.Header.Get("Idempotency-Key")
		var read struct {
			Data struct {
				Attributes struct {
					RequestBody string `json:"request_body"`
				}
			}
		}
		for read.Data.Attributes.RequestBody == "" { // until the attempt is logged
			if status, body := r.do(t, "GET", "/v1/webhooks/deliveries/"+delivery, "", key...); status == http.StatusOK {
				if err := json.Unmarshal([]byte(body), &read); err != nil {
					t.Fatal(err)
				}
			}
		}
		wanted, err := json.Marshal(map[string]any{
			"organization_id": "org_local", "delivery_id": delivery, "attempt": 1, "at": time.Unix(seconds, 0),
			"body": read.Data.Attributes.RequestBody,
		})
		if err != nil {
			t.Fatal(err)
		}
		status, body := r.do(t, "POST", "/_local/requests", string(wanted))
		var shown struct {
			URL, Body string
			Headers   [][2]string
		}
		if err := json.Unmarshal([]byte(body), &shown); err != nil || status != http.StatusOK {
			t.Fatalf("got %d %s (%v)", status, body, err)
		}
		if shown.URL != endpoint.URL+"/hook?a=https:" || int64(len(shown.Body)) != arrived.ContentLength {
			t.Errorf("the request is %q to %s", shown.Body, shown.URL)
		}
		header := http.Header{}
		for _, h := range shown.Headers {
			header.Add(h[0], h[1])
		}
		if header.Get("Host") != arrived.Host {
			t.Errorf("Host is %s, want %s", header.Get("Host"), arrived.Host)
		}
		header.Del("Host") // which net/http keeps apart
		if diff := cmp.Diff(arrived.Header, header); diff != "" {
			t.Errorf("headers (-received +shown):\n%s", diff)
		}
	})
	if code := r.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// fails lets the demo's document fail, and waits for what is to be shown then.
func fails(t *testing.T, r *running, shown string) {
	t.Helper()
	second := r.stdout.await(shown)
	if status, body := r.do(t, "PUT", "/_local/documents/doc_demo", `{"status":"failed"}`); status != http.StatusOK {
		t.Fatalf("got %d %s", status, body)
	}
	select {
	case <-second:
	case <-time.After(time.Minute):
		t.Error("no second webhook was shown")
	}
}

func TestDemoTellsDetailsWhenAsked(t *testing.T) {
	if testing.Short() {
		t.Skip("builds every function of the system")
	}
	r := start(t, "-template", "../../template.yaml", "-details")
	select {
	case <-r.stdout.await(`Ctrl-C stops`):
		fails(t, r, `(?s)A webhook arrived.*A webhook arrived.*"status": "failed".*verified`)
		if logged := r.stderr.String(); !strings.Contains(logged, `"batch"`) {
			t.Errorf("no line tells of a batch: %s", logged)
		}
	case <-time.After(2 * time.Minute):
		t.Error("the demo did not come to its end")
	}
}

func TestASecondStackSaysWhatToDo(t *testing.T) {
	r := start(t, "-demo=false", "-template", "testdata/template.yaml")
	address := strings.TrimPrefix(r.api, "http://")
	arguments := []string{"-addr", address, "-aws-addr", "127.0.0.1:0", "-template", "testdata/template.yaml"}
	var stdout, stderr screen
	if code := run(t.Context(), arguments, &stdout, &stderr); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, want := range []string{
		address + " is in use by a local stack", "http://" + address + "/_local/", "Ctrl-C", "-addr 127.0.0.1:0 -aws-addr 127.0.0.1:0",
	} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("it says %q, want %q", &stderr, want)
		}
	}
	stderr = screen{}
	if code := run(t.Context(), append(arguments, "-ignored"), &stdout, &stderr); code != 0 {
		t.Errorf("-ignored beside a running stack: exit code %d, %s", code, &stderr)
	}
}

func TestDemoNeedsTheSandbox(t *testing.T) {
	r := start(t, "-template", "testdata/template.yaml", "-parameter", "Environment=production")
	select {
	case <-r.stdout.await(`The demo did not succeed: .*only Environment=sandbox allows`):
	case <-time.After(time.Minute):
		t.Error("the demo does not say why it cannot run")
	}
}
