package gateway

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// response is what a function answered, in payload format 2.0.
type response struct {
	status  int
	header  http.Header
	cookies []string
	body    []byte
}

// parseResponse reads a function's answer. An answer without statusCode is the body of a 200.
func parseResponse(answer []byte) (*response, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(answer, &members); err != nil || members["statusCode"] == nil {
		return bare(answer)
	}
	var raw struct {
		StatusCode        int                 `json:"statusCode"`
		Headers           map[string]any      `json:"headers"`
		MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
		Cookies           []string            `json:"cookies"`
		Body              *string             `json:"body"`
		IsBase64Encoded   bool                `json:"isBase64Encoded"`
	}
	if err := json.Unmarshal(answer, &raw); err != nil {
		return nil, fmt.Errorf("not a response in payload format 2.0: %w", err)
	}
	if raw.StatusCode < 200 || raw.StatusCode > 599 {
		return nil, fmt.Errorf("the status %d cannot be answered", raw.StatusCode)
	}
	r := &response{status: raw.StatusCode, header: http.Header{}, cookies: raw.Cookies}
	for name, value := range raw.Headers {
		switch value := value.(type) {
		case string:
			r.header.Set(name, value)
		case float64, bool:
			r.header.Set(name, fmt.Sprint(value))
		default:
			return nil, fmt.Errorf("the header %s is not a text", name)
		}
	}
	for name, values := range raw.MultiValueHeaders {
		r.header.Del(name)
		for _, value := range values {
			r.header.Add(name, value)
		}
	}
	if raw.Body != nil {
		r.body = []byte(*raw.Body)
	}
	if raw.IsBase64Encoded {
		decoded, err := base64.StdEncoding.DecodeString(string(r.body))
		if err != nil {
			return nil, fmt.Errorf("the body is not base64: %w", err)
		}
		r.body = decoded
	}
	if r.header.Get("Content-Type") == "" && len(r.body) > 0 {
		r.header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	return r, nil
}

// bare makes a response of an answer that is not one: a text is the body itself, anything else the
// body as JSON.
func bare(answer []byte) (*response, error) {
	if !json.Valid(answer) {
		return nil, errors.New("the answer is not JSON")
	}
	body := answer
	var text string
	if json.Unmarshal(answer, &text) == nil && answer[0] == '"' {
		body = []byte(text)
	}
	return &response{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: body}, nil
}

func (r *response) write(w http.ResponseWriter) {
	header := w.Header()
	for name, values := range r.header {
		switch http.CanonicalHeaderKey(name) {
		case "Connection", "Transfer-Encoding", "Content-Length", "Apigw-Requestid":
			continue // the gateway's own
		}
		header[http.CanonicalHeaderKey(name)] = values
	}
	for _, cookie := range r.cookies {
		header.Add("Set-Cookie", cookie)
	}
	bodyless := r.status == http.StatusNoContent || r.status == http.StatusNotModified
	if !bodyless {
		header.Set("Content-Length", strconv.Itoa(len(r.body)))
	}
	w.WriteHeader(r.status)
	if !bodyless {
		w.Write(r.body)
	}
}
