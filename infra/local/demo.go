package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// demoDocument is the id of the document whose status the demo changes.
const demoDocument = "doc_demo"

// runDemo shows the whole path once, as an organization and its document system would go it, and
// then prints every webhook that arrives until ctx ends. What goes wrong is printed; the stack stays.
func runDemo(ctx context.Context, s *stack, stdout io.Writer) {
	if err := demo(ctx, s, stdout); err != nil && ctx.Err() == nil {
		fmt.Fprintf(stdout, "\nThe demo did not succeed: %v\nThe stack goes on. -demo=false leaves the demo out. Ctrl-C stops.\n", err)
	}
}

func demo(ctx context.Context, s *stack, stdout io.Writer) error {
	if environment := s.declared.Parameters["Environment"]; environment != "sandbox" {
		return fmt.Errorf("its receiver is a plain http endpoint on this machine, which Environment=%s refuses", environment)
	}
	style := newPalette(stdout)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("starting the receiver: %w", err)
	}
	arrived := make(chan arrival, 16)
	url := "http://" + listener.Addr().String()
	endpoint := newReceiver(url, arrived, s.journal)
	server := &http.Server{Handler: endpoint, ReadHeaderTimeout: 10 * time.Second}
	defer server.Close()
	go server.Serve(listener)
	s.receiver.Store(endpoint)

	fmt.Fprintf(stdout, "%s\n  receiver    %s\n", style.bold("Demo"), url)
	config, err := register(ctx, s, url)
	if err != nil {
		return fmt.Errorf("registering the receiver: %w", err)
	}
	endpoint.setCredentials(config.token, config.secret)
	fmt.Fprintf(stdout, "  registered  POST /v1/webhooks/configs -> config %s\n", config.id)
	for _, status := range []string{"processing", "processed"} {
		if _, err := s.putDocument(ctx, demoDocument, map[string]any{"status": status, "title": "Invoice 4711"}); err != nil {
			return fmt.Errorf("writing the document: %w", err)
		}
	}
	fmt.Fprintf(stdout, "  document    %s: processing -> processed in %s\n", demoDocument, s.documentsTable())

	first := time.NewTimer(30 * time.Second)
	defer first.Stop()
	for n := 0; ; n++ {
		select {
		case hook := <-arrived:
			fmt.Fprint(stdout, hook.describe(style))
			if n > 0 {
				continue
			}
			first.Stop()
			if hook.rejected != nil {
				return fmt.Errorf("the first webhook could not be verified: %w", hook.rejected)
			}
			fmt.Fprint(stdout, s.commands(ctx, config.id, style))
		case <-first.C:
			return errors.New("no webhook arrived within 30 s; see the functions' log lines above")
		case <-ctx.Done():
			return nil
		}
	}
}

// registration is what creating a config answers.
type registration struct{ id, token, secret string }

func register(ctx context.Context, s *stack, url string) (registration, error) {
	body, err := json.Marshal(map[string]any{"data": map[string]any{
		"type": "webhook_config",
		"attributes": map[string]any{
			"url":                 url,
			"description":         "demo receiver",
			"subscribed_statuses": []string{"processed", "failed"},
		},
	}})
	if err != nil {
		return registration{}, err
	}
	var created struct {
		Data struct {
			ID         string `json:"id"`
			Attributes struct {
				Token  string `json:"token"`
				Secret string `json:"secret"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if err := s.call(ctx, s.settings.organizations[0].id, http.MethodPost, "/v1/webhooks/configs", body, http.StatusCreated, &created); err != nil {
		return registration{}, err
	}
	result := registration{created.Data.ID, created.Data.Attributes.Token, created.Data.Attributes.Secret}
	if result.id == "" || result.token == "" || result.secret == "" {
		return registration{}, errors.New("the answer lacks id, token or secret")
	}
	return result, nil
}

// apiError is an answer of the API that was not expected.
type apiError struct {
	request string
	status  int
	body    []byte
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%s answered %d %s: %s", e.request, e.status, http.StatusText(e.status), e.body)
}

// call makes an API request as an organization and decodes the answer, unless there is no place for
// it. Any status but the wanted one is an *apiError.
func (s *stack) call(ctx context.Context, organizationID, method, path string, body []byte, want int, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, s.apiURL()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	owner := slices.IndexFunc(s.settings.organizations, func(o organization) bool { return o.id == organizationID })
	if owner < 0 {
		return fmt.Errorf("the stack was not started with an API key of %q", organizationID)
	}
	request.Header.Set("X-Api-Key", s.settings.organizations[owner].key)
	request.Header.Set("Content-Type", "application/vnd.api+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != want {
		return &apiError{method + " " + path, response.StatusCode, bytes.TrimSpace(raw)}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(raw, answer)
}

// describe is how an arrived webhook is printed.
func (h arrival) describe(style palette) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s\n", style.bold("A webhook arrived"))
	for _, name := range []string{"Content-Type", "User-Agent", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "X-Webhook-Signature", "X-Webhook-Token", "X-Webhook-Attempt", "Idempotency-Key"} {
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

// commands are lines to copy and paste, with the values of this run.
func (s *stack) commands(ctx context.Context, config string, style palette) string {
	key := s.settings.organizations[0].key
	delivery := s.firstDelivery(ctx)
	api := func(arguments, path string) string {
		return fmt.Sprintf("curl -s %s-H 'X-Api-Key: %s' '%s%s'", arguments, key, s.apiURL(), path)
	}
	aws := func(arguments string) string {
		return fmt.Sprintf("AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=%s aws --endpoint-url %s %s", template.Region, s.endpoint(), arguments)
	}
	const jsonAPI = "-H 'Content-Type: application/vnd.api+json' "
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s\n", style.bold("Try it"))
	for _, line := range [][2]string{
		{"change a document's status", fmt.Sprintf(`curl -s -X PUT '%s/_local/documents/%s' -d '{"status":"failed"}'`, s.apiURL(), demoDocument)},
		{"the same as the document system does it", aws(fmt.Sprintf(`dynamodb put-item --table-name %s --item '{"id":{"S":"doc_2"},"organization_id":{"S":"%s"},"status":{"S":"processed"}}'`, s.documentsTable(), s.settings.organizations[0].id))},
		{"list the configs", api("", "/v1/webhooks/configs")},
		{"create a config", api("-X POST "+jsonAPI+`-d '{"data":{"type":"webhook_config","attributes":{"url":"http://127.0.0.1:8080/hook","subscribed_statuses":["processed"]}}}' `, "/v1/webhooks/configs")},
		{"send a test event", api("-X POST ", "/v1/webhooks/configs/"+config+"/test")},
		{"list the deliveries", api("", "/v1/webhooks/deliveries")},
		{"send a delivery again", api("-X POST ", "/v1/webhooks/deliveries/"+delivery+"/resend")},
		{"look inside the stack", fmt.Sprintf("curl -s '%s/_local/config'", s.apiURL())},
	} {
		fmt.Fprintf(&out, "  %s\n  %s\n", style.dim("# "+line[0]), line[1])
	}
	for _, queue := range s.declared.Queues {
		if queue.DeadLetterQueue != "" {
			fmt.Fprintf(&out, "  %s\n  %s\n", style.dim("# look at the queue"), aws("sqs get-queue-attributes --attribute-names All --queue-url "+s.queueURL(queue.Name)))
			fmt.Fprintf(&out, "  %s\n  %s\n", style.dim("# redrive its dead-letter queue"), aws("sqs start-message-move-task --source-arn "+template.QueueARN(queue.DeadLetterQueue)))
		}
	}
	fmt.Fprintf(&out, "  %s\n  %s/_local/\n", style.dim("# or do most of this on the page"), s.apiURL())
	out.WriteString("\nCtrl-C stops.\n")
	return out.String()
}

// firstDelivery returns the id of a delivery that the API lists. The log is written after the
// endpoint has answered, so that it may take a moment; without one the id is left to be filled in.
func (s *stack) firstDelivery(ctx context.Context) string {
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
		err := s.call(ctx, s.settings.organizations[0].id, http.MethodGet, "/v1/webhooks/deliveries", nil, http.StatusOK, &listed)
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
