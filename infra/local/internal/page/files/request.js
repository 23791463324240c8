// Requests: of the page to the stack, and of the stack to endpoints, as they are shown and copied.

import {h} from "./element.js";

// ask makes a request to the stack and returns the JSON of the answer; any status but 2xx is an error that says why.
export async function ask(method, path, body, headers = {"Content-Type": "application/json"}) {
  const response = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
  const text = await response.text();
  let answer = null;
  try { answer = JSON.parse(text); } catch { /* it is no JSON: show it as it is */ }
  if (response.ok) return answer;
  const problems = answer?.errors?.map(e => e.detail ?? e.title); // the detail names the attribute or parameter
  throw new Error(problems?.join("; ") ?? answer?.message ?? (text || response.statusText));
}

const quote = text => `'${text.replaceAll("'", "'\\''")}'`;
const pretty = body => { try { return JSON.stringify(JSON.parse(body), null, 2); } catch { return body; } };

// curl is a command that makes a request again. It says Host and Content-Length itself.
export const curl = r => ["curl -i " + quote(r.url),
  ...r.headers.filter(([name]) => !/^(host|content-length)$/i.test(name)).map(([name, value]) => "-H " + quote(`${name}: ${value}`)),
  "--data-raw " + quote(r.body)].join(" \\\n  ");

// copier is a button that copies the text that a function returns, or promises.
export const copier = (key, label, text, notify) => h("button", {type: "button", class: "small", "data-focus": key, click: async () => {
  try {
    await navigator.clipboard.writeText(await text());
    notify("Copied.", "good");
  } catch (error) { notify(error.message, "bad"); }
}}, label);

export const list = pairs => h("dl", {}, pairs.filter(([, v]) => v != null && v !== "").map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]).flat());

// wire has the names of Standard Webhooks as they are sent, whatever the demo's endpoint has made of them.
const wire = r => ({...r, headers: r.headers.map(([name, value]) => [name.replace(/^Webhook-.*/, n => n.toLowerCase()), value])});

// shown is a request with what copies it; fresh returns the same request signed for now, if it can be.
export const shown = (key, received, fresh, notify, r = wire(received)) => [
  h("div", {}, h("h3", {}, "Request headers"), list(r.headers)),
  h("div", {}, h("h3", {}, "Request body"), h("pre", {}, pretty(r.body))),
  h("div", {class: "bar"},
    copier(key + "/headers", "Copy headers", () => r.headers.map(([name, value]) => `${name}: ${value}`).join("\n"), notify),
    copier(key + "/body", "Copy body", () => r.body, notify),
    r.url && copier(key + "/curl", "Copy as curl", () => curl(r), notify),
    fresh && copier(key + "/fresh", "Copy as curl, signed now", async () => curl(await fresh()), notify)),
];
