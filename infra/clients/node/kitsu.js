// Uses the API with kitsu, which knows JSON:API and nothing of the contract.
import Kitsu from "kitsu"
import { API, API_KEY, CHANGED, ENDPOINT, cursor, must, step } from "./steps.js"

const api = new Kitsu({
  baseURL: API + "/v1/webhooks",
  headers: { "X-Api-Key": API_KEY },
  camelCaseTypes: false,
  pluralize: false,
  resourceCase: "none",
})
// It makes the path of the type, which here is not the path's name.
api.interceptors.request.use((request) => ({ ...request, url: request.url.replace("webhook_config", "configs") }))

let created
for (let i = 0; i < 2; i++) {
  created = (await api.create("webhook_config", { url: ENDPOINT, subscribed_statuses: ["processed"] })).data
  must(created.secret.startsWith("whsec_"), "no secret")
}
step("created")
const read = (await api.get("webhook_config/" + created.id)).data
must(read.url === ENDPOINT, "another URL was read")
step("read")
const changed = (await api.update("webhook_config", { ...read, url: CHANGED, is_active: false })).data
must(changed.url === CHANGED && !changed.is_active, "the config was not changed")
step("changed")
let listed = 0, pages = 0, after
do {
  const page = await api.get("webhook_config", { params: { page: { size: 2, ...(after && { after }) } } })
  listed += page.data.length
  pages++
  after = cursor(page.links.next)
} while (after)
step(`listed ${listed} on ${pages} pages`)
