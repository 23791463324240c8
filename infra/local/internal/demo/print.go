package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// describe is how an arrived webhook is printed.
func (h arrival) describe(style palette) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s\n", style.bold("A webhook arrived"))
	for _, name := range []string{
		"Content-Type", "User-Agent", "webhook-id", "webhook-timestamp", "webhook-signature", "X-Webhook-Signature", "X-Webhook-Token",
		"X-Webhook-Attempt", "Idempotency-Key",
	} {
		fmt.Fprintf(&out, "  %-20s %s\n", name, h.header.Get(name))
	}
	var indented bytes.Buffer
	if json.Indent(&indented, h.body, "  ", "  ") != nil {
		indented.Reset()
		indented.Write(h.body)
	}
	fmt.Fprintf(&out, "  %s\n", indented.Bytes())
	if h.rejected != nil {
		fmt.Fprintf(&out, "  %s\n", style.red("refused: "+h.rejected.Error()))
	} else {
		fmt.Fprintf(&out, "  %s\n", style.green("token and both signatures verified"))
		if h.answered != http.StatusNoContent {
			fmt.Fprintf(&out, "  %s\n", style.red(fmt.Sprintf("answered %d all the same, as the page was told", h.answered)))
		}
	}
	return out.String()
}

// line is how a webhook that arrived later is printed.
func (h arrival) line(style palette) string {
	var body struct {
		Data struct {
			ID         string
			Attributes struct {
				Status     string
				DocumentID string `json:"document_id"`
			}
		}
	}
	outcome := style.green("verified")
	if h.rejected != nil {
		outcome = style.red("refused: " + h.rejected.Error())
	}
	json.Unmarshal(h.body, &body) // what makes no sense has no words to show
	return fmt.Sprintf("%s %s, attempt %s: %s %s, %s, answered %d\n", style.dim("webhook"), body.Data.ID,
		h.header.Get("X-Webhook-Attempt"), body.Data.Attributes.DocumentID, body.Data.Attributes.Status, outcome, h.answered)
}

// commands are lines to copy and paste, with the values of this run.
func (d *Demo) commands(ctx context.Context, config string, style palette) string {
	s := d.Stack
	key := s.Organizations[0].Key
	delivery := d.firstDelivery(ctx)
	api := func(arguments, path string) string {
		return fmt.Sprintf("curl -s %s-H 'X-Api-Key: %s' '%s%s'", arguments, key, s.APIURL(), path)
	}
	const jsonAPI = "-H 'Content-Type: application/vnd.api+json' "
	var out strings.Builder
	show := func(what, command string) { fmt.Fprintf(&out, "  %s\n  %s\n", style.dim("# "+what), command) }
	fmt.Fprintf(&out, "\n%s\n", style.bold("Try it"))
	show("change a document's status",
		fmt.Sprintf(`curl -s -X PUT '%s/_local/documents/%s' -d '{"status":"failed"}'`, s.APIURL(), demoDocument))
	show("list the configs", api("", "/v1/webhooks/configs"))
	show("create a config", api("-X POST "+jsonAPI+`-d '{"data":{"type":"webhook_config","attributes":{`+
		`"url":"http://127.0.0.1:8080/hook","subscribed_statuses":["processed"]}}}' `, "/v1/webhooks/configs"))
	show("send a test event", api("-X POST ", "/v1/webhooks/configs/"+config+"/test"))
	show("list the events", api("", "/v1/webhooks/events"))
	show("list the deliveries", api("", "/v1/webhooks/deliveries"))
	show("send a delivery again", api("-X POST ", "/v1/webhooks/deliveries/"+delivery+"/resend"))
	show("look inside the stack", fmt.Sprintf("curl -s '%s/_local/config'", s.APIURL()))
	show("the AWS CLI for this stack", fmt.Sprintf(
		`aws_local() { AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=%s aws --endpoint-url %s "$@"; }`,
		template.Region, s.Endpoint()))
	show("change a document as the document system does it", fmt.Sprintf("aws_local dynamodb put-item --table-name %s --item "+
		`'{"id":{"S":"doc_2"},"organization_id":{"S":"%s"},"status":{"S":"processed"}}'`, s.DocumentsTable(), s.Organizations[0].ID))
	show("look at the queues", fmt.Sprintf("curl -s '%s/_local/queues'", s.APIURL()))
	for _, queue := range s.Template.DeadLetterQueues() {
		show("redrive the dead-letter queue", "aws_local sqs start-message-move-task --source-arn "+template.QueueARN(queue))
	}
	show("or do most of this on the page", s.APIURL()+"/_local/")
	out.WriteString("\nCtrl-C stops.\n")
	return out.String()
}

// firstDelivery returns the id of a delivery that the API lists. The log is written after the
// endpoint has answered, so that it may take a moment; without one the id is left to be filled in.
func (d *Demo) firstDelivery(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		var listed struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
		}
		err := d.Stack.Call(ctx, d.Stack.Organizations[0].ID, http.MethodGet, "/v1/webhooks/deliveries", nil, http.StatusOK, &listed)
		if err == nil && len(listed.Data) > 0 {
			return listed.Data[0].ID
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return "DELIVERY_ID"
		}
	}
}

// palette colours text where it goes to a terminal.
type palette struct{ terminal bool }

func newPalette(w io.Writer) palette {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return palette{}
	}
	info, err := file.Stat()
	return palette{terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (p palette) bold(text string) string  { return p.paint("1", text) }
func (p palette) dim(text string) string   { return p.paint("2", text) }
func (p palette) red(text string) string   { return p.paint("31", text) }
func (p palette) green(text string) string { return p.paint("32", text) }

func (p palette) paint(code, text string) string {
	if !p.terminal {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
