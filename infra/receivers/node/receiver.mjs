// An example of a webhook receiver, to copy.
//
//   npm ci && WEBHOOK_TOKEN=whtok_… WEBHOOK_SECRET=whsec_… PORT=8080 node receiver.mjs
//
// A request proves its origin twice, and either proof will do: register the endpoint with the path
// /standard-webhooks to check it with the official Standard Webhooks library, or with /hmac to check
// it with what Node.js has. The first also refuses old requests, so prefer it.
//
// During a rotation set both variables to the previous and the new value with a space between them:
// "whtok_old whtok_new" and "whsec_old whsec_new".

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const tokens = (process.env.WEBHOOK_TOKEN ?? "").split(" ").filter(Boolean);
const secrets = (process.env.WEBHOOK_SECRET ?? "").split(" ").filter(Boolean);
if (secrets.length === 0 || tokens.length !== secrets.length) {
  console.error("set WEBHOOK_TOKEN and WEBHOOK_SECRET to the values shown when the endpoint was registered");
  process.exit(1);
}

// Checks webhook-id, webhook-timestamp and webhook-signature. During a rotation a request carries a
// signature for each secret, and the library looks for any that matches.
function verifyStandard(headers, body) {
  return secrets.some((secret) => {
    try {
      new Webhook(secret).verify(body, headers, { jsonParse: false });
      return true;
    } catch {
      return false;
    }
  });
}

// Compares in a time that tells nothing: timingSafeEqual wants equal lengths, which hashes have.
function equal(a, b) {
  const hash = (text) => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}

// Checks X-Webhook-Token and X-Webhook-Signature. The key is the secret as it was shown, "whsec_" included.
function verifyHMAC(headers, body) {
  let valid = false;
  tokens.forEach((expected, i) => {
    const token = equal(headers["x-webhook-token"] ?? "", expected);
    const signature = equal(headers["x-webhook-signature"] ?? "", createHmac("sha256", secrets[i]).update(body).digest("hex"));
    valid ||= token && signature;
  });
  return valid;
}

// Reads the raw body: the signature covers its bytes, so do not parse and write them again before
// it is checked. undefined if it is too large.
async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= 64 * 1024) chunks.push(chunk);
  }
  return size <= 64 * 1024 ? Buffer.concat(chunks) : undefined;
}

// Which events have come: an event may be delivered more than once. In production let a database
// remember, with a unique key on the event's id, so that nothing is forgotten on a restart.
const seen = new Set();

// Does with an event what has to be done, after it was answered.
function work(event) {
  console.log(`${event.data.id}: document ${event.data.attributes.document_id} is ${event.data.attributes.status}`);
}

async function receive(request) {
  const verify = { "/standard-webhooks": verifyStandard, "/hmac": verifyHMAC }[request.url];
  if (!verify) return 404;
  if (request.method !== "POST") return 405;
  const body = await readBody(request);
  if (!body) return 413;
  if (!verify(request.headers, body)) return 401;
  let event;
  try {
    event = JSON.parse(body);
  } catch {
    return 400;
  }
  // The id in the body equals the header webhook-id, and unlike that header it is covered by both signatures.
  if (!event?.data?.id) return 400;
  if (!seen.has(event.data.id)) {
    seen.add(event.data.id);
    setImmediate(work, event);
  }
  return 204; // at once: whoever answers after 15 seconds gets the event again
}

const server = createServer((request, response) => {
  receive(request).then(
    (status) => response.writeHead(status).end(),
    () => response.destroy(), // the sender hung up
  );
});
server.listen(Number(process.env.PORT), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
