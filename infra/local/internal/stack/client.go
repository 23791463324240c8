package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/shared/webhook"
)

// This file is a client of the API.

// apiError is an answer of the API that was not expected.
type apiError struct {
	request string
	status  int
	body    []byte
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%s answered %d %s: %s", e.request, e.status, http.StatusText(e.status), e.body)
}

// Call makes an API request as an organization and decodes the answer, unless there is no place for
// it. Any status but the wanted one is an *apiError.
func (s *Stack) Call(ctx context.Context, organizationID, method, path string, body []byte, want int, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, s.APIURL()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	owner := slices.IndexFunc(s.Organizations, func(o Organization) bool { return o.ID == organizationID })
	if owner < 0 {
		return fmt.Errorf("the stack was not started with an API key of %q", organizationID)
	}
	request.Header.Set("X-Api-Key", s.Organizations[owner].Key)
	request.Header.Set("Content-Type", "application/vnd.api+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != want {
		return &apiError{method + " " + path, response.StatusCode, bytes.TrimSpace(raw)}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(raw, answer)
}

// Delivery asks the API for a delivery, as its organization; nil if there is none.
func (s *Stack) Delivery(ctx context.Context, organizationID, deliveryID string) (*journal.Details, error) {
	var got struct {
		Data struct {
			Attributes struct {
				Status        string            `json:"status"`
				Trigger       string            `json:"trigger"`
				NextAttemptAt webhook.Time      `json:"next_attempt_at"`
				Attempts      []journal.Attempt `json:"attempts"`
			} `json:"attributes"`
		} `json:"data"`
	}
	found, err := s.find(ctx, organizationID, "/v1/webhooks/deliveries/"+deliveryID, &got)
	if err != nil || !found {
		return nil, err
	}
	return (*journal.Details)(&got.Data.Attributes), nil
}

// Recorded asks the API, as the organization, whether it has an event.
func (s *Stack) Recorded(ctx context.Context, organizationID, eventID string) (bool, error) {
	return s.find(ctx, organizationID, "/v1/webhooks/events/"+eventID, nil)
}

// find reads a resource; false if there is none.
func (s *Stack) find(ctx context.Context, organizationID, path string, answer any) (bool, error) {
	err := s.Call(ctx, organizationID, http.MethodGet, path, nil, http.StatusOK, answer)
	if refused := (*apiError)(nil); errors.As(err, &refused) && refused.status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}
