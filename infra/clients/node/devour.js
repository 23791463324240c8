// Uses the API with devour-client, which knows JSON:API and nothing of the contract.
import Devour from "devour-client"
import { API, API_KEY, CHANGED, ENDPOINT, cursor, must, step } from "./steps.js"

const api = new (Devour.default ?? Devour)({ apiUrl: API + "/v1/webhooks", pluralize: false, logger: false })
api.headers["X-Api-Key"] = API_KEY
api.define("webhook_config", { url: "", subscribed_statuses: [], is_active: true, secret: "" }, { collectionPath: "configs" })

let created
for (let i = 0; i < 2; i++) {
  created = (await api.create("webhook_config", { url: ENDPOINT, subscribed_statuses: ["processed"] })).data
  must(created.secret.startsWith("whsec_"), "no secret")
}
step("created")
const read = (await api.find("webhook_config", created.id)).data
must(read.url === ENDPOINT, "another URL was read")
step("read")
const changed = (await api.update("webhook_config", { id: read.id, url: CHANGED, is_active: false })).data
must(changed.url === CHANGED && !changed.is_active, "the config was not changed")
step("changed")
let listed = 0, pages = 0, after
do {
  const page = await api.findAll("webhook_config", { page: { size: 2, ...(after && { after }) } })
  listed += page.data.length
  pages++
  after = cursor(page.links.next)
} while (after)
step(`listed ${listed} on ${pages} pages`)
