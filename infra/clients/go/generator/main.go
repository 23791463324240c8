// Command generator uses the API with the Go client that openapi-generator generates.
package main

import (
	"context"
	"errors"

	generated "clients/generated/generator"
	"clients/steps"
)

func main() {
	ctx := context.WithValue(context.Background(), generated.ContextAPIKeys, map[string]generated.APIKey{"ApiKey": {Key: steps.Key}})
	settings := generated.NewConfiguration()
	settings.Servers = generated.ServerConfigurations{{URL: steps.API}}
	client := generated.NewAPIClient(settings)

	var ids []string
	var secret string
	for range 2 {
		attributes := generated.NewConfigCreationAttributes(steps.Endpoint, []generated.DocumentStatus{generated.DOCUMENTSTATUS_PROCESSED})
		body := generated.NewConfigCreation(*generated.NewConfigCreationData("webhook_config", *attributes))
		created, _, err := client.ConfigsAPI.CreateConfig(ctx).ConfigCreation(*body).Execute()
		steps.Must(err)
		steps.True(created.Data.Attributes.IsActive, "an inactive config")
		ids, secret = append(ids, created.Data.Id), created.Data.Attributes.Secret
	}
	steps.Done("created")

	listed, pages := 0, 0
	for after := new(string); after != nil; pages++ {
		request := client.ConfigsAPI.ListConfigs(ctx).PageSize(2)
		if *after != "" {
			request = request.PageAfter(*after)
		}
		page, _, err := request.Execute()
		steps.Must(err)
		listed, after = listed+len(page.Data), steps.Cursor(page.Links.Next)
	}
	steps.Done("listed %d on %d pages", listed, pages)

	one := ids[1]
	data := generated.NewConfigUpdateData("webhook_config", one)
	data.Attributes = &generated.ConfigUpdateAttributes{Url: &steps.Changed}
	updated, _, err := client.ConfigsAPI.UpdateConfig(ctx, one).ConfigUpdate(*generated.NewConfigUpdate(*data)).Execute()
	steps.Must(err)
	steps.True(updated.Data.Attributes.Url == steps.Changed && updated.Data.Attributes.IsActive, "the config was not changed")
	steps.Done("changed")

	rotation := generated.NewRotation(*generated.NewRotationData("webhook_config"))
	rotated, _, err := client.ConfigsAPI.RotateSecret(ctx, one).Rotation(*rotation).Execute()
	steps.Must(err)
	fresh := rotated.Data.Attributes
	steps.True(fresh.Secret != secret && fresh.PreviousSecretExpiresAt.Get() != nil, "the secret was not rotated")
	steps.Done("rotated")

	_, _, err = client.ConfigsAPI.GetConfig(ctx, steps.Unknown).Execute()
	var refused *generated.GenericOpenAPIError
	steps.True(errors.As(err, &refused), "reading an unknown config: %v", err)
	model, ok := refused.Model().(generated.Errors)
	steps.True(ok, "no errors in %s", refused.Body())
	steps.Done("refused %s", model.Errors[0].Code)

	id := deliveries(ctx, client)
	delivery, _, err := client.DeliveriesAPI.GetDelivery(ctx, id).Execute()
	steps.Must(err)
	steps.True(*delivery.Data.Attributes.Attempts[0].ResponseStatus.Get() == 200, "another outcome")
	steps.Done("%s %s", delivery.Data.Attributes.Status, delivery.Data.Attributes.DocumentStatus)

	for _, id := range ids {
		_, err := client.ConfigsAPI.DeleteConfig(ctx, id).Execute()
		steps.Must(err)
	}
	steps.Done("deleted")
}

// deliveries lists those of a config and returns the id of the last one.
func deliveries(ctx context.Context, client *generated.APIClient) (id string) {
	listed, pages := 0, 0
	for after := new(string); after != nil; pages++ {
		request := client.DeliveriesAPI.ListDeliveries(ctx).PageSize(2).
			FilterWebhookConfigId(steps.SentTo).FilterStatus(generated.DELIVERYSTATUS_DELIVERED)
		if *after != "" {
			request = request.PageAfter(*after)
		}
		page, _, err := request.Execute()
		steps.Must(err)
		listed, after, id = listed+len(page.Data), steps.Cursor(page.Links.Next), page.Data[len(page.Data)-1].Id
	}
	steps.Done("%d deliveries on %d pages", listed, pages)
	return id
}
