// Uses the API with the TypeScript client that openapi-generator generates.
import { Configuration, ConfigsApi, DeliveriesApi, DeliveryStatus, DocumentStatus, ErrorsFromJSON, ResponseError } from "./generated/client/index.js"
import { API, API_KEY, CHANGED, ENDPOINT, SENT_TO, UNKNOWN, cursor, must, step } from "./steps.js"

const configuration = new Configuration({ basePath: API, apiKey: API_KEY })
const configs = new ConfigsApi(configuration), deliveries = new DeliveriesApi(configuration)

const created: { id: string; secret: string }[] = []
for (let i = 0; i < 2; i++) {
  const attributes = { url: ENDPOINT, subscribedStatuses: new Set([DocumentStatus.Processed]) }
  const config = await configs.createConfig({ configCreation: { data: { type: "webhook_config", attributes } } })
  must(config.data.attributes.isActive, "an inactive config")
  created.push({ id: config.data.id, secret: config.data.attributes.secret })
}
step("created")

let listed = 0, pages = 0, pageAfter: string | undefined
do {
  const page = await configs.listConfigs({ pageSize: 2, pageAfter })
  listed += page.data.length
  pages++
  pageAfter = cursor(page.links.next)
} while (pageAfter)
step(`listed ${listed} on ${pages} pages`)

const { id, secret } = created[0]
const changed = await configs.updateConfig({
  id,
  configUpdate: { data: { type: "webhook_config", id, attributes: { url: CHANGED, isActive: false } } },
})
must(changed.data.attributes.url === CHANGED && !changed.data.attributes.isActive, "the config was not changed")
step("changed")

const rotated = await configs.rotateSecret({
  id,
  rotation: { data: { type: "webhook_config", attributes: { overlapSeconds: 3600 } } },
})
must(rotated.data.attributes.secret !== secret, "the secret was not rotated")
must(rotated.data.attributes.previousSecretExpiresAt, "the previous secret has no end")
step("rotated")

try {
  await configs.getConfig({ id: UNKNOWN })
} catch (refused) {
  must(refused instanceof ResponseError, String(refused))
  step(`refused ${ErrorsFromJSON(await refused.response.json()).errors[0].code}`)
}

let last = ""
listed = pages = 0
do {
  const page = await deliveries.listDeliveries({
    filterWebhookConfigId: SENT_TO, filterStatus: DeliveryStatus.Delivered, pageSize: 2, pageAfter,
  })
  listed += page.data.length
  last = page.data.at(-1)?.id ?? last
  pages++
  pageAfter = cursor(page.links.next)
} while (pageAfter)
step(`${listed} deliveries on ${pages} pages`)

const delivery = await deliveries.getDelivery({ id: last })
must(delivery.data.attributes.attempts[0].responseStatus === 200, "another outcome")
step(`${delivery.data.attributes.status} ${delivery.data.attributes.documentStatus}`)

for (const config of created) await configs.deleteConfig(config)
step("deleted")
