// Package awsjson is the wire protocol that the emulated AWS services share: AWS JSON 1.0 and 1.1.
//
// A request is a POST whose X-Amz-Target header names service and operation and whose SigV4
// Authorization header names the caller's access key (the signature itself is not verified: this
// is a local stack, bound to loopback). The Server hands the operation to the Service that owns
// the target's prefix, together with an Allow function that answers whether the caller's policies
// permit an action on a resource. A service calls it before it acts.
//
// Source: https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
package awsjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// maxBody is more than the largest request of any emulated service (DynamoDB's 16 MB batch).
const maxBody = 17 << 20

// Allow answers whether the caller may perform action ("dynamodb:GetItem") on the resource with
// this ARN. A refusal is an *Error with code AccessDeniedException.
type Allow func(action, arn string) error

// Service is one emulated AWS service.
type Service interface {
	// Serve performs one operation. The result is encoded as the JSON response; an *Error is
	// encoded as AWS would, any other error as an InternalServerError.
	Serve(ctx context.Context, operation string, body []byte, allow Allow) (any, error)
}

// Error is an error as the AWS JSON protocols carry it.
type Error struct {
	Status  int            // HTTP status; 0 means 400
	Code    string         // the exception's name, e.g. "ValidationException"
	Query   string         // value of x-amzn-query-error, for services that moved from the query protocol (SQS)
	Message string         // for people
	Fields  map[string]any // further members, e.g. CancellationReasons
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf makes an Error with status 400.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// AccessDenied is what AWS answers when no policy of the caller allows an action.
func AccessDenied(principal, action, arn string) *Error {
	return Errorf(
		"AccessDeniedException",
		"User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the action", principal,
		action, arn,
	)
}

// Policies decides what the owner of an access key may do.
type Policies interface {
	Allow(accessKey, action, arn string) error
}

// Server dispatches requests to services. Its fields must not change once it serves.
type Server struct {
	Services map[string]Service // by target prefix: "DynamoDB_20120810", "AmazonSQS", …
	Policies Policies           // nil: everybody is administrator
	Calls    *Calls             // nil: nobody counts
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	requestID := uuid.NewString()
	w.Header().Set("x-amzn-RequestId", requestID)
	target := r.Header.Get("X-Amz-Target")
	prefix, operation, ok := strings.Cut(target, ".")
	service := s.Services[prefix]
	if r.Method != http.MethodPost || !ok || service == nil {
		WriteError(w, Errorf("UnknownOperationException",
			"the local stack has no operation %q; it speaks the AWS JSON protocol of %s", target, s.prefixes()))
		return
	}
	body, err := readBody(http.MaxBytesReader(w, r.Body, maxBody), r.ContentLength)
	if err != nil {
		WriteError(w, Errorf("SerializationException", "reading the request: %v", err))
		return
	}
	accessKey := AccessKey(r)
	s.Calls.add(accessKey, target)
	allow := func(action, arn string) error {
		if s.Policies == nil {
			return nil
		}
		return s.Policies.Allow(accessKey, action, arn)
	}
	ctx := context.WithValue(r.Context(), callKey{}, call{trace: r.Header.Get("X-Amzn-Trace-Id"), accessKey: accessKey})
	result, err := service.Serve(ctx, operation, body, allow)
	if err != nil {
		WriteError(w, err)
		return
	}
	payload := []byte("{}")
	if result != nil {
		if payload, err = json.Marshal(result); err != nil {
			WriteError(w, err)
			return
		}
	}
	Write(w, http.StatusOK, payload)
}

type callKey struct{}

type call struct{ trace, accessKey string }

// Call returns the tracing header and the access key id of the request that a service is serving, or "".
func Call(ctx context.Context) (trace, accessKey string) {
	c, _ := ctx.Value(callKey{}).(call)
	return c.trace, c.accessKey
}

// readBody reads a body of a size that its sender has named, or -1, into no more memory than it takes.
func readBody(r io.Reader, size int64) ([]byte, error) {
	if size < 0 || size > maxBody {
		return io.ReadAll(r)
	}
	body := make([]byte, size)
	_, err := io.ReadFull(r, body)
	return body, err
}

// Write sends a response with the checksum that DynamoDB's clients verify.
func Write(w http.ResponseWriter, status int, payload []byte) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(payload)), 10))
	w.WriteHeader(status)
	w.Write(payload)
}

func (s *Server) prefixes() string {
	return strings.Join(slices.Sorted(maps.Keys(s.Services)), ", ")
}

// AccessKey returns the access key id of a SigV4 signed request, or "".
func AccessKey(r *http.Request) string {
	_, rest, ok := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	if !ok {
		return ""
	}
	id, _, _ := strings.Cut(rest, "/")
	return id
}

// WriteError sends an error: an *Error as AWS would, any other as an InternalServerError.
func WriteError(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Code: "InternalServerError", Message: err.Error()}
	}
	body := map[string]any{"__type": e.Code, "message": e.Message}
	for name, value := range e.Fields {
		body[name] = value
	}
	if e.Query != "" {
		w.Header().Set("x-amzn-query-error", e.Query+";Sender")
	}
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	payload, err := json.Marshal(body)
	if err != nil {
		payload = []byte(`{"__type":"InternalServerError"}`)
	}
	Write(w, status, payload)
}
