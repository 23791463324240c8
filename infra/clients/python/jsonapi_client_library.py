"""Uses the API with jsonapi-client, which knows JSON:API and nothing of the contract."""

from jsonapi_client import Session

from steps import API, API_KEY, ENDPOINT, step

CONFIGS = f"{API}/v1/webhooks/configs"
session = Session(API, request_kwargs={"headers": {"X-Api-Key": API_KEY}}, schema={"webhook_config": {"properties": {
    "url": {"type": "string"},
    "subscribed_statuses": {"type": "array", "items": {"type": "string"}},
    "is_active": {"type": "boolean"},
}}})

for _ in range(2):
    config = session.create("webhook_config", fields={"url": ENDPOINT, "subscribed_statuses": ["processed"], "is_active": True})
    config.commit(CONFIGS)
    assert config.secret.startswith("whsec_")
step("created")
read = session.fetch_document_by_url(f"{CONFIGS}/{config.id}").resource
assert read["url"] == ENDPOINT  # read.url is that of the resource itself
step("read")
read["is_active"] = False  # as an attribute of the object it would become is-active
read.commit(f"{CONFIGS}/{read.id}")
assert read["is_active"] is False and read["updated_at"] > read["created_at"] and read["url"] == ENDPOINT
step("changed")
page, listed, count = session.fetch_document_by_url(f"{CONFIGS}?page[size]=2"), 0, 0
while page is not None:
    listed, count = listed + len(page.resources), count + 1
    page = page.links.next.fetch() if page.links.next else None
step(f"listed {listed} on {count} pages")
