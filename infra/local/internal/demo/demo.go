// Package demo shows the whole path once and then what goes on: an organization that registers an
// endpoint, a document whose status changes, and the webhooks that arrive, verified and printed.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/stack"
)

// demoDocument is the id of the document whose status the demo changes.
const demoDocument = "doc_demo"

// Demo is an organization with an endpoint and a document. Its fields do not change.
type Demo struct {
	Stack   *stack.Stack
	Journal *journal.Journal
	Out     io.Writer
	Details bool // print headers and body of every webhook, else of the first one

	endpoint atomic.Pointer[Endpoint] // nil before it listens
}

// Endpoint is the demo's endpoint, or nil if it has none yet, or if there is no demo.
func (d *Demo) Endpoint() *Endpoint {
	if d == nil {
		return nil
	}
	return d.endpoint.Load()
}

// Run shows the whole path once, as an organization and its document system would go it, and
// then prints every webhook that arrives until ctx ends. What goes wrong is printed; the stack stays.
func (d *Demo) Run(ctx context.Context) {
	if err := d.show(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintf(d.Out, "\nThe demo did not succeed: %v\nThe stack goes on. -demo=false leaves the demo out. Ctrl-C stops.\n", err)
	}
}

func (d *Demo) show(ctx context.Context) error {
	if !d.Stack.Sandbox {
		return errors.New("its endpoint is plain http on this machine, which only Environment=sandbox allows")
	}
	s, stdout := d.Stack, d.Out
	style := newPalette(stdout)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("starting the receiver: %w", err)
	}
	arrived := make(chan arrival, 16)
	url := "http://" + listener.Addr().String()
	endpoint := newEndpoint(url, arrived, d.Journal)
	server := &http.Server{Handler: endpoint, ReadHeaderTimeout: 10 * time.Second}
	defer server.Close()
	go server.Serve(listener)
	d.endpoint.Store(endpoint)

	fmt.Fprintf(stdout, "%s\n  receiver    %s\n", style.bold("Demo"), url)
	config, err := register(ctx, s, url)
	if err != nil {
		return fmt.Errorf("registering the receiver: %w", err)
	}
	endpoint.Learn(config.token, config.secret)
	fmt.Fprintf(stdout, "  registered  POST /v1/webhooks/configs -> config %s\n", config.id)
	for _, status := range []string{"processing", "processed"} {
		if _, err := s.PutDocument(ctx, demoDocument, map[string]any{"status": status, "title": "Invoice 4711"}); err != nil {
			return fmt.Errorf("writing the document: %w", err)
		}
	}
	fmt.Fprintf(stdout, "  document    %s: processing -> processed in %s\n", demoDocument, s.DocumentsTable())

	first := time.NewTimer(30 * time.Second)
	defer first.Stop()
	for n := 0; ; n++ {
		select {
		case hook := <-arrived:
			if n > 0 && !d.Details {
				fmt.Fprint(stdout, hook.line(style))
				continue
			}
			fmt.Fprint(stdout, hook.describe(style))
			if n > 0 {
				continue
			}
			first.Stop()
			if hook.rejected != nil {
				return fmt.Errorf("the first webhook could not be verified: %w", hook.rejected)
			}
			fmt.Fprint(stdout, d.commands(ctx, config.id, style))
		case <-first.C:
			return errors.New("no webhook arrived within 30 s; see the functions' log lines above")
		case <-ctx.Done():
			return nil
		}
	}
}

// registration is what creating a config answers.
type registration struct{ id, token, secret string }

func register(ctx context.Context, s *stack.Stack, url string) (registration, error) {
	body := fmt.Appendf(nil, `{"data":{"type":"webhook_config","attributes":{"url":%q,"description":"demo receiver",`+
		`"subscribed_statuses":["processed","failed"]}}}`, url)
	var created struct {
		Data struct {
			ID         string
			Attributes struct{ Token, Secret string }
		}
	}
	if err := s.Call(ctx, s.Organizations[0].ID, http.MethodPost, "/v1/webhooks/configs", body, http.StatusCreated, &created); err != nil {
		return registration{}, err
	}
	result := registration{created.Data.ID, created.Data.Attributes.Token, created.Data.Attributes.Secret}
	if result.id == "" || result.token == "" || result.secret == "" {
		return registration{}, errors.New("the answer lacks id, token or secret")
	}
	return result, nil
}
