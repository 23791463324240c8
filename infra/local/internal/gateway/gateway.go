// Package gateway is the part of API Gateway that the system uses: an HTTP API whose routes invoke
// Lambda functions with payload format 2.0.
//
// A request finds its route, passes the throttle and the route's Lambda authorizer (simple
// responses, remembered by identity), and becomes an event; the function's answer becomes the
// response. Everything that API Gateway answers by itself has its body, {"message":…}, and its
// status. The gateway knows functions only by name, through the Invoker it is given.
//
// Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api.html
package gateway

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits of HTTP APIs.
const (
	maxBody    = 10 << 20
	maxHeaders = 10240            // request line and headers together
	patience   = 30 * time.Second // how long a route waits for its function
)

// Invoker invokes functions.
type Invoker interface {
	// Invoke runs a function and returns what it answered. The error is the function's failure,
	// its timeout included, or the lack of such a function.
	Invoke(ctx context.Context, function string, payload []byte) ([]byte, error)
}

// Route is one route of the API.
type Route struct {
	Method     string // upper case; "ANY": every method
	Path       string // segments, or {parameters}
	Function   string
	Authorizer *Authorizer // nil: open
}

// Authorizer is a Lambda authorizer with payload format 2.0 and simple responses.
type Authorizer struct {
	Name     string
	Function string
	Headers  []string      // all must be present, or the answer is 401 without asking the function
	Cache    time.Duration // how long an answer counts for the same header values; 0: not at all
}

// Options are what an API is made of.
type Options struct {
	API      string // its id; this and the next two are what events say
	Account  string
	Region   string
	Routes   []Route
	Throttle *rate.Limiter // of all routes together; nil: no limit
	Invoker  Invoker
	// Throttled is the Invoker's error for a function that had no place for the request; nil: there is none.
	Throttled error
	Now       func() time.Time                                  // nil: time.Now
	Report    func(route, requestID, message string, err error) // why the answer is 5xx; nil: nobody asks
}

// Gateway serves the API. It may be used by many goroutines at once.
type Gateway struct {
	api, account, region string

	mux      *http.ServeMux
	throttle *rate.Limiter
	invoker  Invoker
	busy     error
	now      func() time.Time
	report   func(route, requestID, message string, err error)
	started  string // part of every request id, so that ids differ between runs

	mu       sync.Mutex
	verdicts map[identity]verdict
	requests uint64
}

// New makes the gateway. Greedy and misplaced path parameters, doubled routes, and routes of which neither
// is more specific than the other are errors.
func New(options Options) (*Gateway, error) {
	g := &Gateway{
		api:      options.API,
		account:  options.Account,
		region:   options.Region,
		invoker:  options.Invoker,
		busy:     options.Throttled,
		now:      options.Now,
		report:   options.Report,
		throttle: options.Throttle,
		started:  rand.Text()[:6],
		verdicts: map[identity]verdict{},
	}
	if g.now == nil {
		g.now = time.Now
	}
	if g.report == nil {
		g.report = func(string, string, string, error) {}
	}
	var err error
	if g.mux, err = newMux(options.Routes, g.serve); err != nil {
		return nil, err
	}
	return g, nil
}

// exchange is one request on its way through the gateway.
type exchange struct {
	id         string
	at         time.Time
	request    *http.Request
	route      *Route
	parameters map[string]string
	body       []byte
	context    map[string]any // what the authorizer said
}

func (x *exchange) key() string { return x.route.Method + " " + x.route.Path }

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Apigw-Requestid", g.requestID())
	switch {
	case headerSize(r) > maxHeaders:
		writeMessage(w, http.StatusRequestHeaderFieldsTooLarge, "Request Header Fields Too Large")
	case !canonical(r.URL.Path):
		notFound(w, r)
	default:
		g.mux.ServeHTTP(w, r)
	}
}

// serve takes a request through its route.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, route *Route) {
	x := &exchange{
		id:         w.Header().Get("Apigw-Requestid"),
		at:         g.now(),
		request:    r,
		route:      route,
		parameters: route.parameters(r),
	}
	if g.throttle != nil && !g.throttle.AllowN(x.at, 1) {
		writeMessage(w, http.StatusTooManyRequests, "Too Many Requests")
		return
	}
	var err error
	if x.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			writeMessage(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		} else {
			writeMessage(w, http.StatusBadRequest, "Bad Request")
		}
		return
	}
	if x.route.Authorizer != nil && !g.authorize(w, x) {
		return
	}
	g.integrate(w, x)
}

// integrate invokes the route's function. The function goes on when the client has left or the
// gateway's patience is over, as it does on AWS.
func (g *Gateway) integrate(w http.ResponseWriter, x *exchange) {
	payload, err := x.event(g)
	if err != nil {
		g.fail(w, x, "making the event", err)
		return
	}
	answer, err := g.invoke(x, x.route.Function, payload, patience)
	if errors.Is(err, errPatience) || g.busy != nil && errors.Is(err, g.busy) {
		g.report(x.key(), x.id, "waiting for "+x.route.Function, err)
		writeMessage(w, http.StatusServiceUnavailable, "Service Unavailable")
		return
	}
	if err != nil {
		g.fail(w, x, "invoking "+x.route.Function, err)
		return
	}
	response, err := parseResponse(answer)
	if err != nil {
		g.fail(w, x, "reading the answer of "+x.route.Function, err)
		return
	}
	response.write(w, x.request.UserAgent())
}

var errPatience = errors.New("the integration's timeout is over")

func (g *Gateway) invoke(x *exchange, function string, payload []byte, limit time.Duration) ([]byte, error) {
	type outcome struct {
		answer []byte
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		answer, err := g.invoker.Invoke(context.WithoutCancel(x.request.Context()), function, payload)
		done <- outcome{answer, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-timer.C:
		return nil, fmt.Errorf("%w: %s", errPatience, limit)
	}
}

func (g *Gateway) fail(w http.ResponseWriter, x *exchange, doing string, err error) {
	g.report(x.key(), x.id, doing, err)
	writeMessage(w, http.StatusInternalServerError, "Internal Server Error")
}

// requestID is as long as API Gateway's, which are base64 of 11 bytes.
func (g *Gateway) requestID() string {
	g.mu.Lock()
	g.requests++
	id := fmt.Sprintf("%s%05d", g.started, g.requests)
	g.mu.Unlock()
	return base64.StdEncoding.EncodeToString([]byte(id))
}

func writeMessage(w http.ResponseWriter, status int, text string) {
	body := `{"message":` + strconv.Quote(text) + `}`
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func headerSize(r *http.Request) int {
	size := len(r.Method) + len(r.RequestURI) + len(r.Proto) + len("host") + len(r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	return size
}
