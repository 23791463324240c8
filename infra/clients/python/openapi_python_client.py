"""Uses the API with the client that openapi-python-client generates."""

from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from docuhook_client import AuthenticatedClient
from docuhook_client.api.configs import create_config, delete_config, get_config, list_configs, rotate_secret, update_config
from docuhook_client.api.deliveries import get_delivery, list_deliveries
from docuhook_client.models import (
    ConfigCreation, ConfigCreationData, ConfigCreationAttributes, ConfigUpdate, ConfigUpdateData,
    ConfigUpdateAttributes, DeliveryStatus, DocumentStatus, Rotation, RotationData, RotationAttributes,
)

from steps import API, API_KEY, CHANGED, ENDPOINT, SENT_TO, UNKNOWN, step

client = AuthenticatedClient(API, API_KEY, prefix="", auth_header_name="X-Api-Key")


def pages(read, **parameters):
    """Return the resources of all pages of two, and how many pages there were."""
    resources, count, after = [], 0, {}
    while after is not None:
        page = read.sync(client=client, pagesize=2, **parameters, **after)
        resources += page.data
        count += 1
        following = page.links.next_
        after = {"pageafter": parse_qs(urlsplit(following).query)["page[after]"][0]} if following else None
    return resources, count


created = []
for _ in range(2):
    answer = create_config.sync(client=client, body=ConfigCreation(ConfigCreationData(
        "webhook_config", ConfigCreationAttributes(ENDPOINT, [DocumentStatus.PROCESSED]))))
    assert answer.data.attributes.secret.startswith("whsec_") and answer.data.attributes.is_active
    created.append(answer.data)
step("created")
configs, count = pages(list_configs)
step(f"listed {len(configs)} on {count} pages")
one = created[0].id
answer = update_config.sync(one, client=client, body=ConfigUpdate(ConfigUpdateData(
    "webhook_config", one, attributes=ConfigUpdateAttributes(url=CHANGED, is_active=False))))
assert answer.data.attributes.url == CHANGED and answer.data.attributes.subscribed_statuses == [DocumentStatus.PROCESSED]
step("changed")
answer = rotate_secret.sync(one, client=client, body=Rotation(RotationData(
    "webhook_config", attributes=RotationAttributes(overlap_seconds=3600))))
assert answer.data.attributes.secret != created[0].attributes.secret
assert answer.data.attributes.previous_secret_expires_at > answer.data.attributes.updated_at
step("rotated")
refused = get_config.sync(UNKNOWN, client=client)
step(f"refused {refused.errors[0].code}")
deliveries, count = pages(list_deliveries, filterwebhook_config_id=SENT_TO, filterstatus=DeliveryStatus.DELIVERED)
step(f"{len(deliveries)} deliveries on {count} pages")
delivery = get_delivery.sync(deliveries[0].id, client=client).data
assert delivery.attributes.attempts[0].response_status == 200 and delivery.relationships.webhook_config.data.id == SENT_TO
step(f"{delivery.attributes.status.value} {delivery.attributes.document_status.value}")
for config in created:
    assert delete_config.sync_detailed(config.id, client=client).status_code == HTTPStatus.NO_CONTENT
step("deleted")
