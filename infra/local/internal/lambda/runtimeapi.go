package lambda

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// runtimeAPI is the HTTP API that the process asks for work, version 2018-06-01.
func (in *instance) runtimeAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", in.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", in.serveResponse)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", in.serveError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", in.serveInitError)
	return mux
}

// serveNext answers with the next event, however long that takes.
func (in *instance) serveNext(w http.ResponseWriter, r *http.Request) {
	if !in.becomeReady() {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the current invocation has no result yet")
		return
	}
	var inv *invocation
	select {
	case inv = <-in.events:
	case <-r.Context().Done():
		return
	}
	in.mu.Lock()
	in.current = inv
	in.mu.Unlock()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", inv.function.ARN)
	h.Set("Lambda-Runtime-Trace-Id", inv.traceID())
	h.Set("Content-Length", strconv.Itoa(len(inv.payload)))
	// A process that no longer listens has ended, which is noticed elsewhere.
	_, _ = w.Write(inv.payload)
}

// becomeReady ends the initialization or the invocation before. False if that one has no result yet.
func (in *instance) becomeReady() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.current != nil {
		select {
		case <-in.current.answered:
			close(in.current.released)
			in.current = nil
		default:
			return false
		}
	}
	if !in.isReady {
		in.isReady = true
		close(in.ready)
	}
	return true
}

func (in *instance) serveResponse(w http.ResponseWriter, r *http.Request) {
	inv := in.invocation(w, r)
	if inv == nil {
		return
	}
	body, tooLarge, err := read(r)
	switch {
	case err != nil:
		// Half an answer: the process is dying, or will say more.
		refuse(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	case tooLarge:
		inv.answer(nil, failure(inv.id, "Function.ResponseSizeTooLarge",
			fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", MaxResponse)))
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge",
			fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", MaxResponse))
		return
	}
	// A stream that the function could not finish says so after the body.
	if kind := r.Trailer.Get("Lambda-Runtime-Function-Error-Type"); kind != "" {
		payload, err := base64.StdEncoding.DecodeString(r.Trailer.Get("Lambda-Runtime-Function-Error-Body"))
		if err != nil {
			payload = nil
		}
		inv.answer(nil, reported(inv.id, kind, payload))
	} else {
		inv.answer(body, nil)
	}
	accept(w)
}

func (in *instance) serveError(w http.ResponseWriter, r *http.Request) {
	inv := in.invocation(w, r)
	if inv == nil {
		return
	}
	body, _, err := read(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	}
	inv.answer(nil, reported(inv.id, r.Header.Get("Lambda-Runtime-Function-Error-Type"), body))
	accept(w)
}

func (in *instance) serveInitError(w http.ResponseWriter, r *http.Request) {
	body, _, err := read(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.isReady {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the initialization has ended")
		return
	}
	in.initError = reported("", r.Header.Get("Lambda-Runtime-Function-Error-Type"), body).Payload
	accept(w)
}

// invocation is the current one, if the request is about it and it has no result yet; else the request is refused.
func (in *instance) invocation(w http.ResponseWriter, r *http.Request) *invocation {
	in.mu.Lock()
	inv := in.current
	in.mu.Unlock()
	if inv == nil || inv.id != r.PathValue("id") {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return nil
	}
	select {
	case <-inv.answered:
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the invocation has a result already")
		return nil
	default:
		return inv
	}
}

// reported is an error that the runtime reported. Its payload is the runtime's, if that is JSON.
func reported(requestID, kind string, payload []byte) *FunctionError {
	if json.Valid(payload) {
		return &FunctionError{Type: "Unhandled", RequestID: requestID, Payload: payload}
	}
	if kind == "" {
		kind = "Runtime.Unknown"
	}
	return failure(requestID, kind, string(payload))
}

// read reads a request's body as far as an answer may go. What is beyond is passed over, so that the process can
// read why it was refused.
func read(r *http.Request) (body []byte, tooLarge bool, err error) {
	body, err = io.ReadAll(io.LimitReader(r.Body, MaxResponse+1))
	if err != nil {
		return nil, false, fmt.Errorf("reading the body: %w", err)
	}
	if len(body) > MaxResponse {
		_, err = io.Copy(io.Discard, r.Body)
		return nil, true, err
	}
	return body, false, nil
}

func accept(w http.ResponseWriter) {
	respond(w, http.StatusAccepted, map[string]string{"status": "OK"})
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	respond(w, status, map[string]string{"errorType": kind, "errorMessage": message})
}

func respond(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// As above: whoever does not listen has ended.
	_ = json.NewEncoder(w).Encode(body)
}
