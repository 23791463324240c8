package lambda

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// Paths is what the paths of the API begin with.
const Paths = "/2015-03-31/functions/"

// API is Lambda's own API, as far as people invoke functions with it: with the AWS CLI, sam remote invoke or curl.
// What it does not have is answered 404, and an invocation that is not waited for is refused.
//
// Sources: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html and API_GetFunctionConfiguration.html
func (s *Service) API(policies awsjson.Policies) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Paths+"{name}/invocations", s.on(policies, "lambda:InvokeFunction", s.serveInvoke))
	mux.HandleFunc("GET "+Paths+"{name}/configuration", s.on(policies, "lambda:GetFunctionConfiguration", serveConfiguration))
	return mux
}

// on finds the function that a request names, by its name or ARN, and does something with it if the caller may.
func (s *Service) on(
	policies awsjson.Policies, action string, do func(http.ResponseWriter, *http.Request, Function) error,
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimSuffix(r.PathValue("name"), ":$LATEST")
		name = name[strings.LastIndex(name, ":")+1:]
		s.mu.Lock()
		f := s.functions[name]
		s.mu.Unlock()
		err := error(ErrNotFound)
		if f != nil {
			if err = policies.Allow(awsjson.AccessKey(r), action, f.ARN); err == nil {
				err = do(w, r, f.Function)
			}
		}
		if refused := (*awsjson.Error)(nil); errors.As(err, &refused) {
			w.Header().Set("X-Amzn-Errortype", refused.Code)
			err = refused
		}
		if err != nil {
			awsjson.WriteError(w, err)
		}
	}
}

func (s *Service) serveInvoke(w http.ResponseWriter, r *http.Request, f Function) error {
	payload, err := io.ReadAll(io.LimitReader(r.Body, MaxRequest+1))
	if err != nil {
		return err
	}
	if kind := r.Header.Get("X-Amz-Invocation-Type"); kind != "" && kind != "RequestResponse" {
		return awsjson.Errorf("InvalidParameterValueException", "InvocationType must be RequestResponse here, not %s", kind)
	}
	tail := r.Header.Get("X-Amz-Log-Type") == "Tail"
	inv, err := s.invoke(r.Context(), f.Name, payload, tail)
	if err != nil {
		return err
	}
	h, response := w.Header(), inv.response
	if failed := (*FunctionError)(nil); errors.As(inv.err, &failed) {
		h.Set("X-Amz-Function-Error", failed.Type)
		response = failed.Payload
	} else if inv.err != nil {
		return inv.err
	}
	if tail {
		h.Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString(inv.log))
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-Amzn-Requestid", inv.id)
	h.Set("X-Amz-Executed-Version", "$LATEST")
	_, _ = w.Write(response) // who has left does not need it
	return nil
}

// serveConfiguration tells what a function is told, credentials too: here they are no secret.
func serveConfiguration(w http.ResponseWriter, _ *http.Request, f Function) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string]any{
		"FunctionName": f.Name, "FunctionArn": f.ARN, "MemorySize": f.MemoryMB, "Timeout": f.Timeout.Seconds(),
		"Environment": map[string]any{"Variables": f.Variables()},
	})
}
