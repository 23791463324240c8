package lambda

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// Why an invocation did not reach the function.
var (
	ErrThrottled       = &awsjson.Error{Status: 429, Code: "TooManyRequestsException", Message: "Rate Exceeded"}
	ErrNotFound        = &awsjson.Error{Status: 404, Code: "ResourceNotFoundException", Message: "no such function"}
	ErrRequestTooLarge = &awsjson.Error{Status: 413, Code: "RequestEntityTooLargeException", Message: "payload too large"}
	ErrInvalidRequest  = awsjson.Errorf("InvalidRequestContentException", "could not parse request body into json")
	ErrClosed          = errors.New("lambda: closed")
)

// FunctionError is how a function's own failure comes back: an error that it reported, an answer that was too
// large, a timeout or the end of its process.
type FunctionError struct {
	Type      string // the value of the header X-Amz-Function-Error, always "Unhandled"
	RequestID string
	Payload   []byte // {"errorMessage":…,"errorType":…,"stackTrace":…?}
}

// Error says what went wrong in the function's words.
func (e *FunctionError) Error() string {
	var p struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}
	if json.Unmarshal(e.Payload, &p) != nil || p.Message == "" && p.Type == "" {
		return fmt.Sprintf("%s: %.200s", e.Type, e.Payload)
	}
	return fmt.Sprintf("%s: %s: %s", e.Type, p.Type, p.Message)
}

// FunctionError is the value of the header X-Amz-Function-Error. It sets this error apart from the ones that say that
// the function was not reached.
func (e *FunctionError) FunctionError() string { return e.Type }

// failure makes a FunctionError as Lambda words its own.
func failure(requestID, kind, message string) *FunctionError {
	p, err := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{kind, message})
	if err != nil {
		panic(err) // two strings always encode
	}
	return &FunctionError{Type: "Unhandled", RequestID: requestID, Payload: p}
}

// sandboxFailure is one that is the end of the process. Lambda puts the request id before the message.
func sandboxFailure(requestID, kind, format string, args ...any) *FunctionError {
	return failure(requestID, kind, fmt.Sprintf("RequestId: %s Error: %s", requestID, fmt.Sprintf(format, args...)))
}
