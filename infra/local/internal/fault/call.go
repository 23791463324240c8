package fault

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// services are the names of services by their target prefixes.
var services = map[string]string{"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "secretsmanager": "secretsmanager"}

// message is what failures say.
const message = "a fault of the plan"

// Handler is the services with faults. Functions are those whose calls may fail, by access key.
func (i *Injector) Handler(services http.Handler, functions map[string]string) http.Handler {
	return &calls{Injector: i, next: services, functions: functions}
}

// calls stands before the services.
type calls struct {
	*Injector
	next      http.Handler
	functions map[string]string // by access key
}

// ServeHTTP implements http.Handler.
func (i *calls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	prefix, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c := Hit{Function: i.functions[awsjson.AccessKey(r)], Service: services[prefix], Operation: operation}
	if c.Function == "" || c.Service == "" || i.idle() {
		i.next.ServeHTTP(w, r)
		return
	}
	can := happens[c.Service]
	if batches[operation] == nil {
		can = slices.DeleteFunc(slices.Clone(can), func(k Kind) bool { return k == Partial })
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		reset(w)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch f := i.strike(c, body, can); f.Kind {
	case Throttled:
		awsjson.WriteError(w, throttling(c.Service))
	case Internal:
		awsjson.WriteError(w, &awsjson.Error{Status: http.StatusInternalServerError, Code: "InternalServerError", Message: message})
	case Hanging:
		<-r.Context().Done()
		reset(w)
	case ResetBefore:
		reset(w)
	case ResetAfter:
		i.next.ServeHTTP(newAnswer(), r)
		reset(w)
	case Partial:
		i.part(w, r, operation, body, f.Random)
	default:
		i.next.ServeHTTP(w, r)
	}
}

func throttling(service string) *awsjson.Error {
	switch service {
	case "dynamodb":
		return awsjson.Errorf("com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", message)
	case "sqs":
		return &awsjson.Error{Code: "com.amazonaws.sqs#RequestThrottled", Query: "RequestThrottled", Message: message}
	}
	return awsjson.Errorf("ThrottlingException", message)
}

// reset ends the connection so that its other end sees a reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset: without it, the connection ends in an orderly way
	}
	conn.Close()
}

// answer is a response that is looked at before it is sent, if it is.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{header: http.Header{}, status: http.StatusOK} }

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
