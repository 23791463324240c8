package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"

	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/page"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// control serves what the stack adds to the system below /_local/: writing documents and looking
// inside.
func (s *stack) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /_local/documents/{id}", s.serveDocument)
	mux.HandleFunc("GET /_local/queues", s.serveQueues)
	mux.HandleFunc("GET /_local/config", s.serveConfig)
	mux.HandleFunc("PUT /_local/endpoint", s.serveBehaviour)
	mux.HandleFunc("POST /_local/queues/{name}/redrive", s.serveRedrive)
	mux.HandleFunc("POST /_local/deliveries/{id}/resend", s.serveResend)
	mux.Handle("GET /_local/", http.StripPrefix("/_local", page.Handler(page.Options{Journal: s.journal, Status: s.pageStatus, Closing: s.closing})))
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

// serveBehaviour changes what the demo's endpoint does.
func (s *stack) serveBehaviour(w http.ResponseWriter, r *http.Request) {
	endpoint := s.receiver.Load()
	if endpoint == nil {
		answerError(w, http.StatusNotFound, "there is no endpoint: the stack runs without its demo")
		return
	}
	var wanted struct{ Behaviour behaviour }
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&wanted)
	if err == nil {
		err = endpoint.behave(wanted.Behaviour)
	}
	if err != nil {
		answerError(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, map[string]behaviour{"behaviour": wanted.Behaviour})
}

// serveRedrive moves what is in a dead-letter queue back to where it came from, as the console does.
func (s *stack) serveRedrive(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !slices.Contains(s.deadLetterQueues(), name) {
		answerError(w, http.StatusNotFound, fmt.Sprintf("there is no dead-letter queue %q", name))
		return
	}
	request, err := json.Marshal(map[string]string{"SourceArn": template.QueueARN(name)})
	if err == nil {
		_, err = s.broker.Service().Serve(r.Context(), "StartMessageMoveTask", request, administrator)
	}
	if err != nil {
		answerError(w, http.StatusConflict, err.Error())
		return
	}
	answer(w, http.StatusAccepted, map[string]string{"message": "the messages of " + name + " are on their way back"})
}

// serveResend sends a delivery again, as its organization would.
func (s *stack) serveResend(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	owner, ok := s.journal.Owner(id)
	if !ok {
		answerError(w, http.StatusNotFound, fmt.Sprintf("the page does not show a delivery %q any more", id))
		return
	}
	err := s.call(r.Context(), owner, http.MethodPost, "/v1/webhooks/deliveries/"+id+"/resend", nil, http.StatusAccepted, nil)
	if err != nil {
		answerError(w, http.StatusBadGateway, err.Error())
		return
	}
	answer(w, http.StatusAccepted, map[string]string{"message": "it is sent again"})
}

func (s *stack) serveDocument(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		answerError(w, http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB")
		return
	}
	document, err := parseDocument(body)
	if err == nil {
		document, err = s.putDocument(r.Context(), r.PathValue("id"), document)
	}
	if err != nil {
		answerError(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, document)
}

// depth is how many messages a queue has.
type depth struct {
	Visible  int `json:"visible"`
	InFlight int `json:"in_flight"`
	Delayed  int `json:"delayed"`
}

func (s *stack) queueDepths(ctx context.Context) (map[string]depth, error) {
	result := map[string]depth{}
	for _, queue := range s.declared.Queues {
		request, err := json.Marshal(map[string]any{"QueueUrl": s.queueURL(queue.Name), "AttributeNames": []string{"All"}})
		if err != nil {
			return nil, err
		}
		response, err := s.broker.Service().Serve(ctx, "GetQueueAttributes", request, administrator)
		if err != nil {
			return nil, fmt.Errorf("asking %s: %w", queue.Name, err)
		}
		raw, err := json.Marshal(response)
		if err != nil {
			return nil, err
		}
		var answer struct{ Attributes map[string]string }
		if err := json.Unmarshal(raw, &answer); err != nil {
			return nil, err
		}
		var d depth
		for name, to := range map[string]*int{
			"ApproximateNumberOfMessages":           &d.Visible,
			"ApproximateNumberOfMessagesNotVisible": &d.InFlight,
			"ApproximateNumberOfMessagesDelayed":    &d.Delayed,
		} {
			if *to, err = strconv.Atoi(answer.Attributes[name]); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", name, queue.Name, err)
			}
		}
		result[queue.Name] = d
	}
	return result, nil
}

func (s *stack) serveQueues(w http.ResponseWriter, r *http.Request) {
	depths, err := s.queueDepths(r.Context())
	if err != nil {
		answerError(w, http.StatusInternalServerError, err.Error())
		return
	}
	answer(w, http.StatusOK, depths)
}

// configuration is what tests and tools need to know about a running stack.
type configuration struct {
	API           string                   `json:"api"`
	Endpoint      string                   `json:"endpoint"`
	Region        string                   `json:"region"`
	Account       string                   `json:"account"`
	TimeScale     float64                  `json:"time_scale"`
	Organizations []string                 `json:"organizations"`
	Parameters    map[string]string        `json:"parameters"`
	Outputs       map[string]string        `json:"outputs"`
	Tables        map[string]tableConfig   `json:"tables"`
	Queues        map[string]queueConfig   `json:"queues"`
	Secrets       map[string]string        `json:"secrets"` // ARN by name
	IAM           iamConfig                `json:"iam"`
	Processes     map[string][]processInfo `json:"processes"` // by function
}

type tableConfig struct {
	ARN       string `json:"arn"`
	StreamARN string `json:"stream_arn,omitzero"`
}

type queueConfig struct {
	URL string `json:"url"`
	ARN string `json:"arn"`
}

type iamConfig struct {
	Enforced bool              `json:"enforced"`
	Granted  []identity.Grant  `json:"granted"`
	Needed   []identity.Grant  `json:"needed"` // granted, and a call would have been denied without
	Denied   []identity.Denial `json:"denied"`
}

type processInfo struct {
	PID  int  `json:"pid"`
	Busy bool `json:"busy"`
}

func (s *stack) configuration() configuration {
	c := configuration{
		API:        s.apiURL(),
		Endpoint:   s.endpoint(),
		Region:     template.Region,
		Account:    template.Account,
		TimeScale:  s.settings.timeScale,
		Parameters: s.declared.Parameters,
		Outputs:    map[string]string{},
		Tables:     map[string]tableConfig{},
		Queues:     map[string]queueConfig{},
		Secrets:    map[string]string{},
		IAM: iamConfig{
			Enforced: s.settings.enforceIAM,
			Granted:  s.policies.Granted(),
			Needed:   s.policies.Needed(),
			Denied:   s.policies.Denied(),
		},
		Processes: map[string][]processInfo{},
	}
	for _, o := range s.settings.organizations {
		c.Organizations = append(c.Organizations, o.id)
	}
	for _, o := range s.declared.Outputs {
		c.Outputs[o.Name] = o.Value
	}
	for _, t := range s.declared.Tables {
		config := tableConfig{ARN: template.TableARN(t.Name)}
		if t.StreamView != "" {
			config.StreamARN = template.StreamARN(t.Name)
		}
		c.Tables[t.Name] = config
	}
	for _, q := range s.declared.Queues {
		c.Queues[q.Name] = queueConfig{URL: s.queueURL(q.Name), ARN: template.QueueARN(q.Name)}
	}
	for _, secret := range s.declared.Secrets {
		c.Secrets[secret.Name] = template.SecretARN(secret.Name)
	}
	for _, instance := range s.functions.Instances() {
		c.Processes[instance.Function] = append(c.Processes[instance.Function], processInfo{PID: instance.PID, Busy: instance.Busy})
	}
	return c
}

func (s *stack) serveConfig(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.configuration())
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
