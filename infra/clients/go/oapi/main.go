// Command oapi uses the API with the client that oapi-codegen generates.
package main

import (
	"context"
	"net/http"

	"clients/generated/oapi"
	"clients/steps"
)

func main() {
	ctx, two := context.Background(), 2
	client, err := oapi.NewClientWithResponses(steps.API, oapi.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-Api-Key", steps.Key)
		return nil
	}))
	steps.Must(err)

	var ids []string
	var secret string
	for range 2 {
		var body oapi.ConfigCreation
		body.Data.Type = "webhook_config"
		body.Data.Attributes.Url = steps.Endpoint
		body.Data.Attributes.SubscribedStatuses = oapi.DocumentStatuses{"processed"}
		answer, err := client.CreateConfigWithApplicationVndAPIPlusJSONBodyWithResponse(ctx, body)
		steps.Must(err)
		created := answer.ApplicationvndApiJSON201
		steps.True(created != nil && created.Data.Attributes.IsActive, "creating: %s", answer.Body)
		ids, secret = append(ids, created.Data.Id), created.Data.Attributes.Secret
	}
	steps.Done("created")

	listed, pages := 0, 0
	for after := new(string); after != nil; pages++ {
		parameters := &oapi.ListConfigsParams{PageSize: &two}
		if *after != "" {
			parameters.PageAfter = after
		}
		answer, err := client.ListConfigsWithResponse(ctx, parameters)
		steps.Must(err)
		page := answer.ApplicationvndApiJSON200
		steps.True(page != nil, "listing: %s", answer.Body)
		listed, after = listed+len(page.Data), steps.Cursor(page.Links.Next)
	}
	steps.Done("listed %d on %d pages", listed, pages)

	one := ids[1]
	var update oapi.ConfigUpdate
	update.Data.Type, update.Data.Id = "webhook_config", one
	update.Data.Attributes = &oapi.ConfigUpdateAttributes{Url: &steps.Changed}
	updated, err := client.UpdateConfigWithApplicationVndAPIPlusJSONBodyWithResponse(ctx, one, update)
	steps.Must(err)
	config := updated.ApplicationvndApiJSON200
	steps.True(config != nil && config.Data.Attributes.Url == steps.Changed, "changing: %s", updated.Body)
	steps.Done("changed")

	var rotation oapi.Rotation
	rotation.Data.Type = "webhook_config"
	rotated, err := client.RotateSecretWithApplicationVndAPIPlusJSONBodyWithResponse(ctx, one, rotation)
	steps.Must(err)
	fresh := rotated.ApplicationvndApiJSON200
	steps.True(fresh != nil && fresh.Data.Attributes.Secret != secret && fresh.Data.Attributes.PreviousSecretExpiresAt != nil,
		"rotating: %s", rotated.Body)
	steps.Done("rotated")

	refused, err := client.GetConfigWithResponse(ctx, steps.Unknown)
	steps.Must(err)
	steps.True(refused.ApplicationvndApiJSON404 != nil, "reading an unknown config: %s", refused.Body)
	steps.Done("refused %s", refused.ApplicationvndApiJSON404.Errors[0].Code)

	id := deliveries(ctx, client)
	read, err := client.GetDeliveryWithResponse(ctx, id)
	steps.Must(err)
	delivery := read.ApplicationvndApiJSON200
	steps.True(delivery != nil && *delivery.Data.Attributes.Attempts[0].ResponseStatus == 200, "reading a delivery: %s", read.Body)
	steps.Done("%s %s", delivery.Data.Attributes.Status, delivery.Data.Attributes.DocumentStatus)

	for _, id := range ids {
		deleted, err := client.DeleteConfigWithResponse(ctx, id)
		steps.Must(err)
		steps.True(deleted.StatusCode() == http.StatusNoContent, "deleting: %s", deleted.Body)
	}
	steps.Done("deleted")
}

// deliveries lists those of a config and returns the id of the last one.
func deliveries(ctx context.Context, client *oapi.ClientWithResponses) (id string) {
	two, status, listed, pages := 2, oapi.DeliveryStatus("delivered"), 0, 0
	for after := new(string); after != nil; pages++ {
		parameters := &oapi.ListDeliveriesParams{FilterWebhookConfigId: &steps.SentTo, FilterStatus: &status, PageSize: &two}
		if *after != "" {
			parameters.PageAfter = after
		}
		answer, err := client.ListDeliveriesWithResponse(ctx, parameters)
		steps.Must(err)
		page := answer.ApplicationvndApiJSON200
		steps.True(page != nil, "listing: %s", answer.Body)
		listed, after, id = listed+len(page.Data), steps.Cursor(page.Links.Next), page.Data[len(page.Data)-1].Id
	}
	steps.Done("%d deliveries on %d pages", listed, pages)
	return id
}
