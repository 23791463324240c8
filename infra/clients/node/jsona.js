// Uses the API with jsona, which reads and writes documents of JSON:API; fetch sends them.
import { Jsona } from "jsona"
import { API, API_KEY, CHANGED, ENDPOINT, must, step } from "./steps.js"

const documents = new Jsona()

async function call(method, path, model) {
  const response = await fetch(new URL(path, API), {
    method,
    headers: { "X-Api-Key": API_KEY, "Content-Type": "application/vnd.api+json", Accept: "application/vnd.api+json" },
    body: model && JSON.stringify(documents.serialize({ stuff: model })),
  })
  const document = await response.json()
  must(response.ok, JSON.stringify(document))
  return { model: documents.deserialize(document), next: document.links?.next }
}

let created
for (let i = 0; i < 2; i++) {
  const model = { type: "webhook_config", url: ENDPOINT, subscribed_statuses: ["processed"] }
  created = (await call("POST", "/v1/webhooks/configs", model)).model
  must(created.secret.startsWith("whsec_"), "no secret")
}
step("created")
const read = (await call("GET", "/v1/webhooks/configs/" + created.id)).model
must(read.url === ENDPOINT, "another URL was read")
step("read")
const changed = (await call("PATCH", "/v1/webhooks/configs/" + read.id, { ...read, url: CHANGED, is_active: false })).model
must(changed.url === CHANGED && !changed.is_active, "the config was not changed")
step("changed")
let listed = 0, pages = 0
for (let path = "/v1/webhooks/configs?page[size]=2"; path; pages++) {
  const page = await call("GET", path)
  listed += page.model.length
  path = page.next
}
step(`listed ${listed} on ${pages} pages`)
