// An example of a webhook receiver, to copy.
//
//   npm ci && WEBHOOK_TOKEN=whtok_… WEBHOOK_SECRET=whsec_… PORT=8080 node receiver.mjs
//
// A request proves its origin twice, and either proof will do: register the endpoint with the path
// /standard-webhooks to check it with the official Standard Webhooks library, or with /hmac to check
// it with what Node.js has. The first also refuses old requests, so prefer it.
//
// During a rotation set both variables to the previous and the new value with a space between them:
// "whtok_old whtok_new" and "whsec_old whsec_new". Set DATABASE to a file that outlives the program.

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout } from "node:timers/promises";
import sqlite from "node-sqlite3-wasm"; // from Node.js 22 on, node:sqlite
import { Webhook } from "standardwebhooks";

const tokens = (process.env.WEBHOOK_TOKEN ?? "").split(" ").filter(Boolean);
const secrets = (process.env.WEBHOOK_SECRET ?? "").split(" ").filter(Boolean);
const shown = (values, form) => values.length > 0 && values.every((value) => form.test(value));
if (!shown(tokens, /^whtok_[\w-]{43}$/) || !shown(secrets, /^whsec_[A-Za-z0-9+/]{43}=$/) || tokens.length !== secrets.length) {
  console.error("set WEBHOOK_TOKEN and WEBHOOK_SECRET to the values shown when the endpoint was registered: " +
    "whtok_ and 43 characters, whsec_ and 44");
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

// The state of documents, which follows the events. Several processes may have the file open.
const db = new sqlite.Database(process.env.DATABASE || ":memory:");

// Runs a transaction; while another process is writing, it waits.
async function transaction(f) {
  for (const end = Date.now() + 10_000; ; await setTimeout(5 + Math.random() * 20)) {
    try {
      db.exec("BEGIN IMMEDIATE");
      const result = f();
      db.exec("COMMIT");
      return result;
    } catch (error) {
      if (db.inTransaction) db.exec("ROLLBACK");
      if (!/locked/.test(error.message) || Date.now() > end) throw error;
    }
  }
}

await transaction(() => {
  db.exec("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY)");
  db.exec("CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, status TEXT NOT NULL, sequence TEXT NOT NULL)");
});

// Takes a status whose sequence is greater than the one that is known. Where nothing is known it takes any; an event
// without a sequence, which is "" here, compares with none and changes nothing that is known.
const newer = `
  INSERT INTO documents (id, status, sequence) VALUES (?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET status = excluded.status, sequence = excluded.sequence
  WHERE excluded.sequence > documents.sequence`;

// Takes an event and says what it has told. That it has come, and what is known of its document, is written in one
// transaction: an event may come twice, and an older one after a newer one. The id in the body equals the header
// webhook-id, and unlike that header it is covered by both signatures.
function put(event) {
  return transaction(() => {
    const { document_id: id, status, sequence } = event.data.attributes;
    if (db.run("INSERT INTO events (id) VALUES (?) ON CONFLICT DO NOTHING", [event.data.id]).changes === 0) return "had come already";
    if (event.meta?.test) return "a test";
    const changed = db.run(newer, [id, status, sequence ?? ""]).changes;
    return changed ? `document ${id} is ${status}` : `document ${id} was ${status} before what is known of it`;
  });
}

async function receive(request) {
  const verify = { "/standard-webhooks": verifyStandard, "/hmac": verifyHMAC }[request.url];
  if (!verify) return 404;
  if (request.method !== "POST") return 405;
  const body = await readBody(request);
  if (!body) return 413;
  if (!verify(request.headers, body)) {
    console.log(`refused ${JSON.stringify(request.headers["webhook-id"] ?? "")}: not signed with these credentials, or not now`);
    return 401;
  }
  let event;
  try {
    event = JSON.parse(body);
  } catch {
    return 400;
  }
  if (!event?.data?.id) return 400;
  try {
    console.log(`${event.data.id}: ${await put(event)}`);
  } catch (error) {
    console.error(error);
    return 503; // it will be tried again
  }
  // What takes longer than a transaction belongs behind the answer: whoever answers after 15 seconds gets the event again.
  return 204;
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
