package localtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/definition"
	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/template"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
)

// Services are the AWS services in this process, with the tables, queues and secrets of the template
// and nothing in them. The policies of the functions hold; whoever is none of them may do everything.
type Services struct {
	URL string // of all services

	declared *template.Template
}

// NewServices starts the services, which end with the test. intercept, unless it is nil, sees every
// request before it is served: its target, such as "AmazonSQS.SendMessage", and its body. It may return
// the name of an exception with which the request is refused. Requests may come at the same time.
func NewServices(t testing.TB, intercept func(target string, body []byte) (exception string)) *Services {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(dynamotest.Root(t), "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	aws := &awsjson.Server{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if intercept != nil {
			body, _ := io.ReadAll(r.Body) // the service refuses a body that was cut short
			r.Body = io.NopCloser(bytes.NewReader(body))
			if exception := intercept(r.Header.Get("X-Amz-Target"), body); exception != "" {
				w.Header().Set("Content-Type", "application/x-amz-json-1.0")
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"__type":"%s","message":"refused by the test"}`, exception)
				return
			}
		}
		aws.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s := &Services{URL: server.URL}
	if s.declared, err = template.Parse(source, template.Options{Endpoint: s.URL}); err != nil {
		t.Fatal(err)
	}
	aws.Policies, err = identity.New(identity.Options{
		Principals: definition.Principals(s.declared.Functions),
		Enforce:    true,
		OnDenied:   func(d identity.Denial) { t.Errorf("denied: %+v", d) },
	})
	if err != nil {
		t.Fatal(err)
	}
	storage, err := definition.NewStorage(s.declared, nil, sqs.Options{BaseURL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	aws.Services = storage.Services()
	return s
}

// QueueURL is the URL of the queue with a logical id.
func (s *Services) QueueURL(id string) string {
	return s.URL + "/" + template.Account + "/" + id
}

// Environment returns the variables of the function in a folder, such as "functions/deliver": those
// of the template, and those of Lambda, which lead to the services. It calls endpoints on this machine
// only.
func (s *Services) Environment(t testing.TB, folder string) map[string]string {
	t.Helper()
	for _, f := range s.declared.Functions {
		if strings.Trim(f.Folder, "/") != folder {
			continue
		}
		function, err := definition.Function(f, definition.Options{Endpoint: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		return function.Variables()
	}
	t.Fatalf("the template has no function in %s", folder)
	return nil
}
