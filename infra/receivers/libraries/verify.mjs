// Verifies a request, in a file as it came over the wire: node verify.mjs FILE SECRET.

import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const [file, secret] = process.argv.slice(2);
const raw = readFileSync(file, "utf8");
const end = raw.indexOf("\r\n\r\n");
const headers = Object.fromEntries(
  raw.slice(0, end).split("\r\n").slice(1).map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]),
);
try {
  new Webhook(secret).verify(raw.slice(end + 4), headers);
} catch (problem) {
  console.error(problem.message);
  process.exit(1);
}
