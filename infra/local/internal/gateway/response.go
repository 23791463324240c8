package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// response is what a function answered, in payload format 2.0.
type response struct {
	status int
	header http.Header
	body   []byte
}

// parseResponse reads a function's answer. One without a statusCode, of which API Gateway would make the body
// of a 200, is an error here, as are cookies and headers with several values.
func parseResponse(answer []byte) (*response, error) {
	var raw struct {
		StatusCode        int               `json:"statusCode"`
		Headers           map[string]string `json:"headers"`
		MultiValueHeaders map[string]any    `json:"multiValueHeaders"`
		Cookies           []string          `json:"cookies"`
		Body              string            `json:"body"`
		IsBase64Encoded   bool              `json:"isBase64Encoded"`
	}
	if err := json.Unmarshal(answer, &raw); err != nil {
		return nil, fmt.Errorf("not a response in payload format 2.0: %w", err)
	}
	if raw.StatusCode < 200 || raw.StatusCode > 599 {
		return nil, fmt.Errorf("the status %d cannot be answered", raw.StatusCode)
	}
	if len(raw.MultiValueHeaders)+len(raw.Cookies) > 0 {
		return nil, errors.New("multiValueHeaders and cookies are not supported by the local stack")
	}
	r := &response{status: raw.StatusCode, header: http.Header{}, body: []byte(raw.Body)}
	for name, value := range raw.Headers {
		r.header.Set(name, value)
	}
	if raw.IsBase64Encoded {
		decoded, err := base64.StdEncoding.DecodeString(raw.Body)
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

// write answers, and to a person with curl in lines.
func (r *response) write(w http.ResponseWriter, agent string) {
	header := w.Header()
	var lines bytes.Buffer
	if strings.HasPrefix(agent, "curl/") && json.Indent(&lines, r.body, "", "  ") == nil {
		r.body = append(lines.Bytes(), '\n')
	}
	for name, values := range r.header {
		switch http.CanonicalHeaderKey(name) {
		case "Connection", "Transfer-Encoding", "Content-Length", "Apigw-Requestid":
			continue // the gateway's own
		}
		header[http.CanonicalHeaderKey(name)] = values
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
