// Command jsonapi uses the API with hashicorp/jsonapi, which reads and writes documents of JSON:API; net/http sends them.
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"reflect"

	"github.com/hashicorp/jsonapi"

	"clients/steps"
)

// config is what the program wants to know of one.
type config struct {
	ID                 string   `jsonapi:"primary,webhook_config"`
	URL                string   `jsonapi:"attr,url,omitempty"`
	SubscribedStatuses []string `jsonapi:"attr,subscribed_statuses,omitempty"`
	Secret             string   `jsonapi:"attr,secret,omitempty"`
	CreatedAt          string   `jsonapi:"attr,created_at,omitempty"` // as time.Time it would go back without milliseconds
}

const configs = "/v1/webhooks/configs"

func call(method, path string, model any) []byte {
	var body bytes.Buffer
	if model != nil {
		steps.Must(jsonapi.MarshalPayloadWithoutIncluded(&body, model))
	}
	request, err := http.NewRequest(method, steps.API+path, &body)
	steps.Must(err)
	request.Header.Set("X-Api-Key", steps.Key)
	request.Header.Set("Accept", jsonapi.MediaType)
	request.Header.Set("Content-Type", jsonapi.MediaType)
	response, err := http.DefaultClient.Do(request)
	steps.Must(err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	steps.Must(err)
	steps.True(response.StatusCode < 300, "%s %s: %s", method, path, answer)
	return answer
}

func main() {
	var one config
	for range 2 {
		one = config{}
		answer := call(http.MethodPost, configs, &config{URL: steps.Endpoint, SubscribedStatuses: []string{"processed"}})
		steps.Must(jsonapi.UnmarshalPayload(bytes.NewReader(answer), &one))
		steps.True(one.Secret != "", "no secret in %s", answer)
	}
	steps.Done("created")

	var read config
	steps.Must(jsonapi.UnmarshalPayload(bytes.NewReader(call(http.MethodGet, configs+"/"+one.ID, nil)), &read))
	steps.True(read.URL == steps.Endpoint && read.CreatedAt != "", "read %+v", read)
	steps.Done("read")

	read.URL = steps.Changed // the rest goes back as it was read
	answer := call(http.MethodPatch, configs+"/"+one.ID, &read)
	steps.Must(jsonapi.UnmarshalPayload(bytes.NewReader(answer), &read))
	steps.True(read.URL == steps.Changed, "changed %+v", read)
	steps.Done("changed")

	listed, pages := 0, 0
	for path := configs + "?page[size]=2"; path != ""; pages++ {
		answer := call(http.MethodGet, path, nil)
		page, err := jsonapi.UnmarshalManyPayload(bytes.NewReader(answer), reflect.TypeFor[*config]())
		steps.Must(err)
		var document struct{ Links struct{ Next string } }
		steps.Must(json.Unmarshal(answer, &document))
		listed, path = listed+len(page), document.Links.Next
	}
	steps.Done("listed %d on %d pages", listed, pages)
}
