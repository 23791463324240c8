"""Uses the API with the Python client that openapi-generator generates."""

import json
from urllib.parse import parse_qs, urlsplit

import openapi_client as generated

from steps import API, API_KEY, CHANGED, ENDPOINT, SENT_TO, UNKNOWN, step

client = generated.ApiClient(generated.Configuration(host=API, api_key={"ApiKey": API_KEY}))
configs, deliveries = generated.ConfigsApi(client), generated.DeliveriesApi(client)


def pages(read, **parameters):
    """Return the resources of all pages of two, and how many pages there were."""
    resources, count, after = [], 0, {}
    while after is not None:
        page = read(page_size=2, **parameters, **after)
        resources += page.data
        count += 1
        following = page.links.next
        after = {"page_after": parse_qs(urlsplit(following).query)["page[after]"][0]} if following else None
    return resources, count


created = []
for _ in range(2):
    answer = configs.create_config(generated.ConfigCreation(data=generated.ConfigCreationData(
        type="webhook_config",
        attributes=generated.ConfigCreationAttributes(url=ENDPOINT, subscribed_statuses=["processed"]))))
    assert answer.data.attributes.secret.startswith("whsec_") and answer.data.attributes.is_active
    created.append(answer.data)
step("created")
listed, count = pages(configs.list_configs)
step(f"listed {len(listed)} on {count} pages")
one = created[0].id
answer = configs.update_config(one, generated.ConfigUpdate(data=generated.ConfigUpdateData(
    type="webhook_config", id=one, attributes=generated.ConfigUpdateAttributes(url=CHANGED, is_active=False))))
assert answer.data.attributes.url == CHANGED and answer.data.attributes.subscribed_statuses == ["processed"]
step("changed")
answer = configs.rotate_secret(one, generated.Rotation(data=generated.RotationData(
    type="webhook_config", attributes=generated.RotationAttributes(overlap_seconds=3600))))
assert answer.data.attributes.secret != created[0].attributes.secret
assert answer.data.attributes.previous_secret_expires_at > answer.data.attributes.updated_at
step("rotated")
try:
    configs.get_config(UNKNOWN)
except generated.exceptions.NotFoundException as refused:
    errors = refused.data or generated.Errors.from_json(refused.body)
    step(f"refused {errors.errors[0].code}")
listed, count = pages(deliveries.list_deliveries, filter_webhook_config_id=SENT_TO, filter_status="delivered")
step(f"{len(listed)} deliveries on {count} pages")
delivery = deliveries.get_delivery(listed[0].id).data
assert delivery.attributes.attempts[0].response_status == 200 and delivery.relationships.webhook_config.data.id == SENT_TO
assert json.loads(delivery.attributes.request_body)["data"]["id"] == delivery.attributes.event_id
step(f"{delivery.attributes.status.value} {delivery.attributes.document_status.value}")
for config in created:
    configs.delete_config(config.id)
step("deleted")
