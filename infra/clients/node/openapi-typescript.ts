// Uses the API with openapi-fetch and the types that openapi-typescript generates.
import createClient from "openapi-fetch"
import type { paths } from "./generated/contract.js"
import { API, API_KEY, CHANGED, ENDPOINT, SENT_TO, UNKNOWN, cursor, must, step } from "./steps.js"

const api = createClient<paths>({ baseUrl: API, headers: { "X-Api-Key": API_KEY, "Content-Type": "application/vnd.api+json" } })

const created: { id: string; secret: string }[] = []
for (let i = 0; i < 2; i++) {
  const { data: config } = await api.POST("/v1/webhooks/configs", {
    body: { data: { type: "webhook_config", attributes: { url: ENDPOINT, subscribed_statuses: ["processed"] } } },
  })
  must(config?.data.attributes.is_active, "no active config was created")
  created.push({ id: config.data.id, secret: config.data.attributes.secret })
}
step("created")

let listed = 0, pages = 0, after: string | undefined
do {
  const { data: page } = await api.GET("/v1/webhooks/configs", { params: { query: { "page[size]": 2, "page[after]": after } } })
  must(page, "no page")
  listed += page.data.length
  pages++
  after = cursor(page.links.next)
} while (after)
step(`listed ${listed} on ${pages} pages`)

const { id, secret } = created[0]
const { data: changed } = await api.PATCH("/v1/webhooks/configs/{id}", {
  params: { path: { id } },
  body: { data: { type: "webhook_config", id, attributes: { url: CHANGED, is_active: false } } },
})
must(changed?.data.attributes.url === CHANGED && !changed.data.attributes.is_active, "the config was not changed")
step("changed")

const { data: rotated } = await api.POST("/v1/webhooks/configs/{id}/rotate-secret", {
  params: { path: { id } },
  body: { data: { type: "webhook_config", attributes: { overlap_seconds: 3600 } } },
})
must(rotated && rotated.data.attributes.secret !== secret, "the secret was not rotated")
must(rotated.data.attributes.previous_secret_expires_at, "the previous secret has no end")
step("rotated")

const { error } = await api.GET("/v1/webhooks/configs/{id}", { params: { path: { id: UNKNOWN } } })
must(error && "errors" in error, "an unknown config was read")
step(`refused ${error.errors[0].code}`)

let last = ""
listed = pages = 0
do {
  const { data: page } = await api.GET("/v1/webhooks/deliveries", {
    params: {
      query: { "filter[webhook_config_id]": SENT_TO, "filter[status]": "delivered", "page[size]": 2, "page[after]": after },
    },
  })
  must(page, "no page")
  listed += page.data.length
  last = page.data.at(-1)?.id ?? last
  pages++
  after = cursor(page.links.next)
} while (after)
step(`${listed} deliveries on ${pages} pages`)

const { data: delivery } = await api.GET("/v1/webhooks/deliveries/{id}", { params: { path: { id: last } } })
must(delivery?.data.attributes.attempts[0].response_status === 200, "another outcome")
step(`${delivery.data.attributes.status} ${delivery.data.attributes.document_status}`)

for (const config of created) {
  const { response } = await api.DELETE("/v1/webhooks/configs/{id}", { params: { path: { id: config.id } } })
  must(response.status === 204, "not deleted")
}
step("deleted")
