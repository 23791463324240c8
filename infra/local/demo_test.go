package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
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

	t.Run("every further webhook is shown as well", func(t *testing.T) {
		second := r.stdout.await(`(?s)A webhook arrived.*A webhook arrived.*"status": "failed".*verified`)
		if status, body := r.do(t, "PUT", "/_local/documents/doc_demo", `{"status":"failed"}`); status != http.StatusOK {
			t.Fatalf("got %d %s", status, body)
		}
		select {
		case <-second:
		case <-time.After(time.Minute):
			t.Error("no second webhook was shown")
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
	if code := r.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
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
