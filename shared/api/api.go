// Package api holds the operations of the management API, one type each, and the authorizer.
//
// An operation gets a Request, whose organization the authorizer has established, and returns a
// Response or an error. Every operation knows its route; a Handler is the Lambda function of some of
// them: it decodes what API Gateway hands over, negotiates media types, and maps errors to JSON:API
// error objects in one place.
// Whatever belongs to another organization does not exist: there is no way to tell the two apart.
package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/events"

	"github.com/docuhook/docuhook/shared/jsonapi"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Request is a request of an organization.
type Request struct {
	OrganizationID string
	Path           string
	RawQuery       string
	ID             string // the path parameter {id}
	Body           []byte
}

// Response is the answer to a request. Without a document it has no body.
type Response struct {
	Status   int
	Document *jsonapi.Document
	Location string
}

// Operation is one operation of the API.
type Operation interface {
	// Route returns the route key of API Gateway, such as "GET /v1/webhooks/configs/{id}".
	Route() string
	// Serve answers a request. An error that is neither jsonapi.Errors nor in the table of failure is
	// answered as 500, without its text.
	Serve(ctx context.Context, r *Request) (*Response, error)
}

// Handler is a Lambda function that serves operations, each on its route.
type Handler struct {
	log        *slog.Logger
	operations map[string]Operation // by route key
}

// NewHandler returns the handler of operations, of which no two may have the same route.
func NewHandler(log *slog.Logger, operations ...Operation) *Handler {
	h := &Handler{log: log, operations: map[string]Operation{}}
	for _, o := range operations {
		if h.operations[o.Route()] != nil {
			panic("two operations serve " + o.Route())
		}
		h.operations[o.Route()] = o
	}
	return h
}

// Handle answers an event of API Gateway. It returns no error: what goes wrong is answered as 500 and
// logged.
func (h *Handler) Handle(ctx context.Context, event events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
	response, err := h.serve(ctx, event)
	if err == nil {
		return answer(response), nil
	}
	requestID := event.RequestContext.RequestID
	problems := failure(err)
	if problems.Status() >= 500 {
		h.log.ErrorContext(ctx, "request failed", "route", event.RouteKey, "api_request_id", requestID, "error", err.Error())
	}
	out := answerErrors(problems, requestID)
	if limited, ok := errors.AsType[spent](err); ok {
		out.Headers["Retry-After"] = strconv.Itoa(seconds(limited.wait))
	}
	return out, nil
}

func (h *Handler) serve(ctx context.Context, event events.APIGatewayV2HTTPRequest) (response *Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			h.log.ErrorContext(ctx, "panic", "route", event.RouteKey, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			response, err = nil, errors.New("panic")
		}
	}()
	operation := h.operations[event.RouteKey]
	if operation == nil {
		return nil, fmt.Errorf("no operation for route %q", event.RouteKey)
	}
	request, err := decode(event)
	if err != nil {
		return nil, err
	}
	return operation.Serve(ctx, request)
}

// header returns a header of the request. API Gateway's names are in lower case, those of sam local start-api are not.
func header(event events.APIGatewayV2HTTPRequest, name string) string {
	for key, value := range event.Headers {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// decode reads what API Gateway hands over: bodies of any type but text are base64-encoded.
func decode(event events.APIGatewayV2HTTPRequest) (*Request, error) {
	if err := jsonapi.CheckAccept(header(event, "accept")); err != nil {
		return nil, err
	}
	body := []byte(event.Body)
	if event.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(event.Body); err != nil {
			return nil, jsonapi.NewError(400, jsonapi.CodeInvalidJSON, "the body is not valid")
		}
	}
	if len(body) > jsonapi.MaxBody {
		return nil, jsonapi.NewError(413, jsonapi.CodeTooLarge, "the body must have at most %d bytes", jsonapi.MaxBody)
	}
	method := event.RequestContext.HTTP.Method
	if len(body) > 0 && (method == http.MethodPost || method == http.MethodPatch) {
		if err := jsonapi.CheckContentType(header(event, "content-type")); err != nil {
			return nil, err
		}
	}
	if event.RequestContext.Authorizer == nil {
		return nil, errors.New("the request has not passed the authorizer")
	}
	organizationID, _ := event.RequestContext.Authorizer.Lambda[organizationKey].(string)
	if organizationID == "" {
		return nil, errors.New("the authorizer has named no organization")
	}
	return &Request{
		OrganizationID: organizationID,
		Path:           event.RawPath,
		RawQuery:       event.RawQueryString,
		ID:             event.PathParameters["id"],
		Body:           body,
	}, nil
}

// failure maps an error to error objects. This is the only place that does.
func failure(err error) jsonapi.Errors {
	var problems jsonapi.Errors
	switch {
	case errors.As(err, &problems):
		return problems
	case errors.Is(err, webhook.ErrNotFound):
		return jsonapi.NewError(404, "not_found", "there is no such resource")
	case errors.Is(err, webhook.ErrConflict):
		return jsonapi.NewError(409, "version_conflict",
			"the config was changed by another request at the same time; read it and try again")
	case errors.Is(err, webhook.ErrLimit):
		return jsonapi.NewError(409, "config_limit_reached", "the organization has as many configs as it may have; delete one first")
	}
	return jsonapi.NewError(500, "internal_error", "something went wrong on our side; the request may be tried again")
}

func answer(r *Response) events.APIGatewayV2HTTPResponse {
	out := events.APIGatewayV2HTTPResponse{
		StatusCode: r.Status,
		Headers:    map[string]string{"Cache-Control": "no-store", "Vary": "Accept"},
	}
	if r.Location != "" {
		out.Headers["Location"] = r.Location
	}
	if r.Document != nil {
		r.Document.JSONAPI = jsonapi.V11()
		out.Headers["Content-Type"] = jsonapi.MediaType
		out.Body = encode(r.Document)
	}
	return out
}

// maxErrors is how many errors one answer lists. A body of 64 KiB can have many thousands, more than
// fit into the answer of a Lambda function.
const maxErrors = 100

func answerErrors(problems jsonapi.Errors, requestID string) events.APIGatewayV2HTTPResponse {
	status := problems.Status()
	problems = problems[:min(len(problems), maxErrors)]
	for i := range problems {
		problems[i].ID = requestID
		problems[i].Title = http.StatusText(problems[i].Status)
	}
	return events.APIGatewayV2HTTPResponse{
		StatusCode: status,
		Headers:    map[string]string{"Content-Type": jsonapi.MediaType, "Cache-Control": "no-store", "Vary": "Accept"},
		Body: encode(struct {
			JSONAPI jsonapi.Version `json:"jsonapi"`
			Errors  jsonapi.Errors  `json:"errors"`
		}{
			JSONAPI: jsonapi.V11(),
			Errors:  problems,
		}),
	}
}

func encode(document any) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		panic(err) // the documents are made of strings, numbers and times only
	}
	return out.String() // ends the line, so that a terminal's prompt begins another one
}

// bare refuses query parameters and a body, for operations that take neither.
func bare(r *Request) error {
	var body error
	if len(r.Body) > 0 {
		body = jsonapi.NewError(400, "unexpected_body", "this operation takes no body").AtPointer("")
	}
	return jsonapi.Join(noQuery(r), body)
}

// noQuery refuses query parameters, for operations that take none.
func noQuery(r *Request) error {
	return jsonapi.ParseQuery(r.RawQuery, nil).Err()
}

// single answers with one resource, whose links become those of the document.
func single(status int, resource jsonapi.Resource) *Response {
	links := resource.Links
	resource.Links = nil
	return &Response{Status: status, Document: &jsonapi.Document{Data: resource, Links: links}}
}
