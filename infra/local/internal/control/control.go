// Package control serves what the local stack adds to the system below /_local/: the page with what it
// shows, what the page's buttons do, and how to look inside.
package control

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/docuhook/docuhook/infra/local/internal/demo"
	"github.com/docuhook/docuhook/infra/local/internal/fault"
	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/page"
	"github.com/docuhook/docuhook/infra/local/internal/stack"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// Control looks into a running stack and acts on it. Its fields do not change.
type Control struct {
	Stack   *stack.Stack
	Journal *journal.Journal
	Demo    *demo.Demo      // nil: none
	Samples http.Handler    // begins the world of the sample events anew; nil: there is none
	Closing <-chan struct{} // closed when open pages are to end
}

// Handler serves everything below /_local/.
func (c *Control) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /_local/documents/{id}", c.serveDocument)
	mux.HandleFunc("GET /_local/queues", c.serveQueues)
	mux.HandleFunc("GET /_local/config", c.serveConfig)
	mux.HandleFunc("GET /_local/calls", c.serveCalls)
	mux.HandleFunc("GET /_local/faults", c.serveFaults)
	mux.HandleFunc("PUT /_local/faults", c.serveFaults)
	mux.HandleFunc("DELETE /_local/faults", c.serveFaults)
	mux.HandleFunc("PUT /_local/endpoint", c.serveEndpoint)
	mux.HandleFunc("POST /_local/queues/{name}/redrive", c.serveRedrive)
	mux.HandleFunc("POST /_local/requests", c.serveRequest)
	if c.Samples != nil {
		mux.Handle("POST /_local/samples", c.Samples)
	}
	mux.Handle(
		"GET /_local/",
		http.StripPrefix("/_local", page.Handler(page.Options{Journal: c.Journal, Status: c.pageStatus, Closing: c.Closing})),
	)
	mux.HandleFunc("/_local/", func(w http.ResponseWriter, r *http.Request) {
		answerError(w, http.StatusNotFound, fmt.Sprintf("the local stack has no %s %s", r.Method, r.URL.Path))
	})
	// What anybody on this machine may do, a web page from elsewhere in their browser may not: neither by
	// a request across origins nor under a name of its own that leads here.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, err := net.SplitHostPort(r.Host); err != nil || host != "localhost" && !net.ParseIP(host).IsLoopback() {
			answerError(w, http.StatusForbidden, "the local stack answers to loopback addresses only")
			return
		}
		http.NewCrossOriginProtection().Handler(mux).ServeHTTP(w, r)
	})
}

// serveEndpoint changes what the demo's endpoint does, and gives it the credentials of another config.
func (c *Control) serveEndpoint(w http.ResponseWriter, r *http.Request) {
	endpoint := c.Demo.Endpoint()
	if endpoint == nil {
		answerError(w, http.StatusNotFound, "there is no endpoint: the stack runs without its demo")
		return
	}
	wanted := struct {
		Behaviour     demo.Behaviour
		Token, Secret string
	}{Behaviour: endpoint.Behaviour()}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&wanted)
	if err == nil {
		err = endpoint.Behave(wanted.Behaviour)
	}
	if err != nil {
		answerError(w, http.StatusBadRequest, err.Error())
		return
	}
	if wanted.Token != "" {
		endpoint.Learn(wanted.Token, wanted.Secret)
	}
	answer(w, http.StatusOK, map[string]demo.Behaviour{"behaviour": wanted.Behaviour})
}

// serveCalls tells how often each function called each operation of the AWS services.
func (c *Control) serveCalls(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"calls": c.Stack.Calls.List()})
}

// serveFaults tells the plan of faults and what it has hit, after following another one or none.
func (c *Control) serveFaults(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		var plan fault.Plan
		if r.Method == http.MethodPut {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
			if err == nil {
				plan, err = fault.ParsePlan(body)
			}
			if err != nil {
				answerError(w, http.StatusBadRequest, err.Error())
				return
			}
		}
		c.Stack.Injector.Follow(plan)
	}
	answer(w, http.StatusOK, c.Stack.Injector.Report())
}

// serveRedrive moves what is in a dead-letter queue back to where it came from, as the console does.
func (c *Control) serveRedrive(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !slices.Contains(c.Stack.Template.DeadLetterQueues(), name) {
		answerError(w, http.StatusNotFound, fmt.Sprintf("there is no dead-letter queue %q", name))
		return
	}
	request := map[string]any{"SourceArn": template.QueueARN(name)}
	if err := ask(r.Context(), c.Stack.Broker.Service(), "StartMessageMoveTask", request, new(any)); err != nil {
		answerError(w, http.StatusConflict, err.Error())
		return
	}
	answer(w, http.StatusAccepted, map[string]string{"message": "the messages of " + name + " are on their way back"})
}

func (c *Control) serveDocument(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		answerError(w, http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB")
		return
	}
	document, err := stack.ParseDocument(body)
	if err == nil {
		document, err = c.Stack.PutDocument(r.Context(), r.PathValue("id"), document)
	}
	if err != nil {
		answerError(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, document)
}

func (c *Control) serveQueues(w http.ResponseWriter, r *http.Request) {
	depths, err := c.queueDepths(r.Context())
	if err != nil {
		answerError(w, http.StatusInternalServerError, err.Error())
		return
	}
	answer(w, http.StatusOK, depths)
}

func (c *Control) serveConfig(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, c.configuration())
}

func answer(w http.ResponseWriter, status int, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		answerError(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

func answerError(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}
