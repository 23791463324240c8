// Writes down what Node.js hands to an application of a request. MODE is http, http2, or http1-required: a server
// that offers HTTP/2 and then asks for HTTP/1.1.

import { createHash } from "node:crypto";
import { appendFileSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { constants, createSecureServer } from "node:http2";

async function app(request, response) {
  if (process.env.MODE === "http1-required" && request.httpVersionMajor === 2) {
    request.stream.close(constants.NGHTTP2_HTTP_1_1_REQUIRED);
    return;
  }
  const hash = createHash("sha256");
  for await (const chunk of request) hash.update(chunk);
  const headers = {};
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    if (!request.rawHeaders[i].startsWith(":")) headers[request.rawHeaders[i]] = request.rawHeaders[i + 1];
  }
  appendFileSync(process.env.SEEN, JSON.stringify({ target: request.url, headers, sha256: hash.digest("hex") }) + "\n");
  response.end();
}

const secure = () => ({ cert: readFileSync(process.env.CERT), key: readFileSync(process.env.KEY) });
const server =
  process.env.MODE === "http" ? createServer(app) : createSecureServer({ ...secure(), allowHTTP1: process.env.MODE !== "http2" }, app);
server.listen(Number(process.env.PORT), "127.0.0.1");
