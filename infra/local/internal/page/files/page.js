// The page of the local stack: what flows, and what may be done with it.

import {$, clock, disclosure, h, keep, moment, plural, refocus, took} from "./element.js";
import {ask, copier, list, shown} from "./request.js";

const kept = 100;
const flows = new Map(); // by id: {flow, card}
const requests = new Map(); // that were signed again, by their attempts
const credentials = new Map(); // that this page has been shown, by config
let status = null;
let configs = [], waiting = [], more = false, unread = null; // what the API has told last, and why not more

const outcomes = {
  delivered: ["delivered", "good"], retrying: ["retrying", "wait"], failed: ["failed", "bad"], canceled: ["canceled", ""],
  queued: ["queued", "busy"], waiting: ["waiting", "wait"], attempting: ["attempting", "busy"], dead_letter: ["in the dead-letter queue", "bad"], unknown: ["unknown", ""],
};
const triggers = {status_change: "status change", resend: "resend", test: "test event"};
const behaviours = {
  succeed: ["accepts", "It verifies each request and answers 204."],
  fail: ["fails", "It answers 500 to every request."],
  gone: ["is gone", "It answers 410, which deactivates its config."],
  limit: ["limits", "It answers 429 with Retry-After: 120, two minutes of the stack’s clock."],
  redirect: ["redirects", "It answers 308 with a Location, which is not followed."],
  slow: ["is slow", "It answers 204 after 3 seconds, so that its config’s first attempts go through RetryQueue."],
  hang: ["hangs", "It does not answer until you change this."],
};

function notify(text, tone) {
  $("notice").textContent = text;
  $("notice").className = tone;
  $("notice").hidden = false;
  clearTimeout(notify.timer);
  notify.timer = setTimeout(() => { $("notice").hidden = true; }, 6000);
}

// button does something when it is pressed, once at a time, and says what went wrong.
const button = (key, label, does, attributes) => h("button", {type: "button", "data-focus": key, click: e => act(e.currentTarget, does), ...attributes}, label);

async function act(pressed, does) {
  if (pressed.ariaBusy === "true") return;
  pressed.ariaBusy = "true";
  try { await does(); } catch (error) { notify(error.message, "bad"); }
  pressed.ariaBusy = null;
  soon();
}

// ---- the API, as an organization

const organizations = () => [...new Set(status.organizations.map(o => o.id))];

function api(organization, method, path, data) {
  const key = status.organizations.find(o => o.id === organization)?.key;
  if (!key) throw new Error(`The stack was not started with an API key of ${organization}.`);
  return ask(method, "/v1/webhooks/" + path, data && {data}, {"X-Api-Key": key, "Content-Type": "application/vnd.api+json"});
}

const resend = (organization, delivery) => api(organization, "POST", `deliveries/${encodeURIComponent(delivery)}/resend`);

// soon reads what the API lists, at most once a second, while somebody looks.
function soon() {
  soon.timer ??= setTimeout(async () => {
    if (!document.hidden && status) await refresh();
    soon.timer = null;
  }, Math.max(150, 1000 + (soon.last ?? 0) - Date.now()));
}

async function refresh() {
  const latest = refresh.latest = {};
  soon.last = Date.now();
  const urls = () => JSON.stringify(configs.map(c => [c.id, c.url]));
  const before = urls();
  try {
    const found = {configs: [], waiting: [], more: false};
    for (const organization of organizations()) {
      const all = await api(organization, "GET", "configs?" + new URLSearchParams({"page[size]": 100}));
      found.configs.push(...all.data.map(c => ({organization, id: c.id, ...c.attributes})));
      const retrying = await api(organization, "GET", "deliveries?" + new URLSearchParams({"filter[status]": "retrying", "page[size]": 100}));
      found.more ||= Boolean(retrying.links?.next);
      found.waiting.push(...retrying.data.map(d => ({
        organization, id: d.id, document: d.relationships.document.data.id, config: d.relationships.webhook_config.data.id, ...d.attributes,
      })));
    }
    if (latest !== refresh.latest) return; // what another has read since is newer
    ({configs, waiting, more} = found);
    unread = null;
  } catch (error) {
    if (latest === refresh.latest) unread = error.message;
  }
  if (urls() !== before) for (const {flow} of flows.values()) draw(flow);
  drawStatus();
}

setInterval(soon, 10000); // what others have changed
document.addEventListener("visibilitychange", soon);

// ---- flows

function draw(flow) {
  const known = flows.get(flow.id);
  const card = h("article", {class: known ? "flow" : "flow fresh", "data-flow": flow.id, "data-document": flow.document_id, "data-status": flow.status},
    h("div", {class: "change"}, headline(flow), moment(flow.at)),
    flow.deliveries.map(d => delivery(flow, d)),
    flow.changed && flow.deliveries.length === 0 && h("div", {class: "delivery", "data-outcome": flow.recorded ? "unwanted" : "none"},
      flow.recorded && h("div", {class: "bar"}, h("span", {class: "badge"}, "recorded, nobody wanted it"), h("span", {class: "config quiet mono"}, flow.id)),
      h("p", {class: "quiet"}, `${flow.recorded ? "" : "No message so far: "}A change goes to the active configs of ${flow.organization_id} that subscribe to “${flow.status}”.`)));
  card.hidden = !matches(flow);
  if (known) refocus(known.card, () => { known.card.replaceWith(card); return card; });
  else {
    const after = [...flows.values()].filter(f => f.flow.serial < flow.serial).sort((a, b) => b.flow.serial - a.flow.serial)[0];
    $("flows").insertBefore(card, after?.card ?? null);
  }
  flows.set(flow.id, {flow, card});
}

function headline(flow) {
  if (!flow.document_id) return [h("span", {class: "what"}, "A request that belongs to no delivery")];
  return [
    h("span", {class: "what mono"}, flow.document_id),
    flow.previous_status && [h("span", {class: "status"}, flow.previous_status), h("span", {class: "arrow"}, "→")],
    h("span", {class: "status now"}, flow.status),
    !flow.previous_status && flow.changed && h("span", {class: "quiet"}, "new"),
    flow.test && h("span", {class: "quiet"}, "test event"),
    organizations().length > 1 && h("span", {class: "quiet"}, flow.organization_id),
  ].flat();
}

function delivery(flow, d) {
  const [label, tone] = outcomes[d.outcome] ?? [d.outcome, ""];
  const due = d.outcome === "retrying" && d.next_attempt_at || d.messages.findLast(m => m.visible_at)?.visible_at;
  const key = flow.id + "/" + d.config_id;
  return h("div", {class: "delivery", "data-delivery": d.id, "data-outcome": d.outcome},
    d.id && h("div", {class: "bar"},
      h("span", {class: "badge " + tone}, label),
      due && h("span", {class: "quiet", title: due, "data-until": due, "data-before": "next attempt "}),
      d.trigger && d.trigger !== "status_change" && h("span", {class: "quiet"}, triggers[d.trigger] ?? d.trigger),
      h("span", {class: "config quiet mono", title: "config " + d.config_id}, configs.find(c => c.id === d.config_id)?.url ?? d.config_id),
      button(key + "/resend", due ? "Send now" : "Resend", () => resend(flow.organization_id, d.id), {class: "resend small"})),
    d.attempts.length > 0 && h("div", {class: "tries"}, d.attempts.map((t, n) => [
      n > 0 && pause(d, d.attempts[n - 1], t), attempt(`${key}/${n}`, flow, d, t),
    ]).flat()),
    d.problem && h("p", {class: "problem"}, "Its log could not be read: " + d.problem),
    d.messages.length > 0 && messages(key, d));
}

const number = t => t.number ?? Number(header(t.request, "X-Webhook-Attempt") ?? 0);
const began = t => Date.parse(t.started_at ?? t.request.arrived_at);
const header = (r, name) => r.headers.find(([n]) => n === name)?.[1];

// pause is what lies between two attempts: a time, and what began another round.
function pause(d, before, t) {
  const later = `${took(began(t) - began(before))} later`;
  if (number(t) > number(before)) return h("p", {class: "pause"}, later);
  // The attempt was made with the message that was received last before it began.
  const received = d.messages.flatMap(m => m.steps.filter(s => s.kind === "received").map(s => ({m, at: Date.parse(s.at)})))
    .filter(r => r.at <= began(t) + 2).sort((a, b) => b.at - a.at)[0]?.m;
  const dead = status.queues.filter(q => q.dead_letter).map(q => q.name);
  const cause = received?.steps.some(s => s.kind === "moved" && dead.includes(s.from)) ? "by a redrive" : received?.trigger === "resend" ? "by a resend" : "";
  return h("p", {class: "pause round"}, `${later}, another round ${cause}`.trim());
}

function attempt(key, flow, d, t) {
  const r = t.request;
  const logged = t.started_at != null;
  const code = logged ? t.response_status : r.answered || null;
  const success = code >= 200 && code < 300;
  const running = !logged && !r.answered && !r.gave_up;
  const reason = logged ? t.error : r.gave_up ? "the sender hung up" : null;
  const summary = h("summary", {"data-focus": key},
    h("span", {class: "dot"}),
    h("span", {}, number(t) ? `attempt ${number(t)}` : "request"),
    h("span", {class: "result"}, running ? "waiting for the answer" : [code && h("b", {}, code), code && reason && " ", reason && h("span", {class: "bad"}, reason), !code && !reason && "no answer"]),
    h("span", {class: "seal " + (r ? r.verified ? "good" : "bad" : "")}, r ? r.verified ? "✓ verified" : "✗ not verified" : ""),
    h("span", {class: "took"}, running ? h("span", {"data-since": r.arrived_at}) : took(logged ? t.duration_ms : r.took_ms)));
  const details = disclosure(key, {class: "try " + (running ? "running" : success ? "good" : "bad"), "data-result": running ? "running" : code ?? "none"}, summary,
    h("div", {class: "inside"},
      logged && h("div", {}, h("h3", {}, "What it answered, by the log"), list([
        ["started", clock(t.started_at)], ["duration", took(t.duration_ms)], ["status", t.response_status ?? "none"],
        ["error", t.error_code && `${t.error_code}: ${t.error}`], ["body", t.response_snippet ?? (success ? "not kept, as it was accepted" : null)]])),
      r && h("div", {}, h("h3", {}, `Arrived at ${clock(r.arrived_at)}`),
        h("p", {class: r.verified ? "good" : "bad"}, r.verified ? "Token and both signatures verified." : "Not verified: " + r.rejected)),
      request(key, flow, d, t)));
  if (logged && !r) details.addEventListener("opened", () => load(flow, d, t));
  return details;
}

const signed = (d, t) => d.id + t.started_at;

// sign asks for an attempt's request, signed for a time of this machine's clock.
async function sign(flow, d, t, at) {
  const read = await api(flow.organization_id, "GET", "deliveries/" + encodeURIComponent(d.id));
  return ask("POST", "requests", {
    organization_id: flow.organization_id, delivery_id: d.id, attempt: number(t), at: new Date(at).toISOString(), body: read.data.attributes.request_body,
  });
}

async function load(flow, d, t) {
  const key = signed(d, t);
  if (requests.has(key)) return;
  try {
    const began = Date.parse(status.started) + (Date.parse(t.started_at) - Date.parse(status.started)) / status.time_scale;
    requests.set(key, await sign(flow, d, t, began));
  } catch (error) { requests.set(key, {problem: error.message}); }
  draw(flows.get(flow.id).flow);
}

function request(key, flow, d, t) {
  const config = configs.find(c => c.id === d.config_id);
  const fresh = d.id && (() => sign(flow, d, t, Date.now()));
  if (t.request) return shown(key, {url: config?.url ?? status.endpoint_demo?.url, ...t.request}, fresh, notify);
  const r = requests.get(signed(d, t));
  if (!r) return h("p", {class: "quiet"}, "…");
  if (r.problem) return h("p", {class: "problem"}, r.problem);
  const changed = config?.updated_at > t.started_at;
  return [h("p", {class: changed ? "problem" : "quiet"}, "The stack has signed this request again for the time of the attempt. " +
    (changed ? "The config was changed since: what was sent may differ." : "It is what was sent, unless the secret was rotated since.")), shown(key, r, fresh, notify)].flat();
}

const steps = {
  sent: s => `sent to ${s.queue}` + (s.visible_at && s.visible_at > s.at ? `, delayed until ${clock(s.visible_at)}` : ""),
  received: s => `received from ${s.queue}, receive ${s.receives}`,
  returned: s => "given back, visible again " + (s.visible_at > s.at ? `at ${clock(s.visible_at)}` : "at once"),
  deleted: s => `done, deleted from ${s.queue}`,
  moved: s => `moved from ${s.from} to ${s.queue}`,
  expired: s => `expired in ${s.queue}`,
};

const by = name => name.replace(/Function$/, "").toLowerCase();
const round = m => /^\d{13}-/.test(m.round) ? `of the round of ${clock(Number(m.round.slice(0, 13)))}` : "of the first round";

// origin says who sent a message, and why.
function origin(m, earlier) {
  if (!m.sender) return "sent from outside";
  const same = earlier.some(e => e.round === m.round && e.attempt === m.attempt);
  return (by(m.sender) === "deliver" && same ? m.again ? "copied by " : "handed over by " : by(m.sender) === "sweep" ? "brought by the " : "sent by ") + by(m.sender);
}

function messages(key, d) {
  const last = d.messages.at(-1);
  const log = d.outcome === "retrying" && !d.messages.some(m => ["queued", "in_flight", "waiting"].includes(m.state));
  const where = log ? "the delivery waits in the log" : {
    queued: `queued in ${last.queue}`, in_flight: "in flight", waiting: `waiting in ${last.queue}`, done: "done", dead: `in ${last.queue}`, expired: "expired",
  }[last.state];
  return disclosure(key + "/messages", {class: "messages", "data-waits": log ? "log" : last.state === "waiting" ? last.queue : null},
    h("summary", {"data-focus": key + "/messages"}, `${plural(d.messages.length, "message")}, ${where}`),
    d.messages.map((m, n) => [
      h("p", {class: "id quiet"}, `Attempt ${m.attempt} ${round(m)} (${triggers[m.trigger] ?? m.trigger}), ${origin(m, d.messages.slice(0, n))}` +
        (m.attempt > 1 ? `, due at ${clock(m.not_before)}` : "") + (m.again ? ", again: the log is asked before the POST" : "")),
      h("p", {class: "quiet mono"}, m.id),
      h("ol", {}, m.steps.map(s => h("li", {}, moment(s.at), h("span", {}, (steps[s.kind] ?? (() => s.kind))(s))))),
    ]).flat());
}

// ---- the filter, and what has come above

const wanted = {
  "": ["any", () => true],
  delivered: ["delivered", d => d.outcome === "delivered"],
  way: ["on its way", d => ["queued", "attempting", "unknown"].includes(d.outcome)],
  waiting: ["waiting", d => ["retrying", "waiting"].includes(d.outcome)],
  failed: ["failed", d => ["failed", "dead_letter", "canceled"].includes(d.outcome)],
  unwanted: ["nobody wanted it", () => false],
};
const unwanted = flow => flow.recorded && flow.deliveries.length === 0;

function matches(flow) {
  const {document, status, outcome, config} = Object.fromEntries(new FormData($("filter")));
  return flow.document_id.toLowerCase().includes(document.trim().toLowerCase()) && (!status || flow.status === status) &&
    (!outcome && !config || outcome === "unwanted" && !config && unwanted(flow) ||
      flow.deliveries.some(d => wanted[outcome][1](d) && (!config || d.config_id === config)));
}

function filter() {
  for (const {flow, card} of flows.values()) card.hidden = !matches(flow);
  drawCount();
}

function drawCount() {
  const all = [...flows.values()];
  const visible = all.filter(({card}) => !card.hidden).length;
  const nobody = all.filter(({flow}) => unwanted(flow)).length;
  $("count").textContent = [
    all.length && (visible < all.length ? `${visible} of the last ${plural(all.length, "event")}` : `the last ${plural(all.length, "event")}`),
    nobody && `${nobody} that nobody wanted`, status?.passed_over && `${status.passed_over} steps passed over: too much at once`,
  ].filter(Boolean).join(", ");
  $("empty").hidden = visible > 0;
  $("empty").textContent = all.length ? "No event fits the filter." : "Nothing yet. Change a document’s status and watch it travel.";
}

let unseen = 0;
const away = () => $("stream").getBoundingClientRect().top < -40;

function drawUnseen() {
  if (!away()) unseen = 0;
  $("unseen").hidden = unseen === 0;
  $("unseen").textContent = `${unseen} new`;
}
addEventListener("scroll", drawUnseen, {passive: true});
$("unseen").addEventListener("click", () => {
  $("stream").scrollIntoView();
  $("filter").elements.document.focus({preventScroll: true});
});

// ---- the side

// options sets what may be chosen, and keeps what is.
function options(select, choices) {
  const value = select.value;
  keep(select, choices.map(([v, label]) => h("option", {value: v}, label)));
  select.value = choices.some(([v]) => v === value) ? value : choices[0]?.[0];
}

function drawStatus() {
  $("facts").textContent = `${status.api}  ·  AWS ${status.endpoint}` + (status.time_scale === 1 ? "" : `  ·  clock ×${status.time_scale}`);
  for (const label of document.querySelectorAll(".organizations")) {
    label.hidden = organizations().length < 2;
    options(label.querySelector("select"), organizations().map(o => [o, o]));
  }
  if ($("statuses").querySelector("button") === null) {
    $("statuses").append(...status.statuses.map(s => h("button", {type: "submit", value: s}, s)));
    for (const set of document.querySelectorAll(".subscribed"))
      set.append(...status.statuses.map(s => h("label", {class: "check"}, h("input", {type: "checkbox", name: "statuses", value: s, checked: ["processed", "failed"].includes(s)}), s)));
    $("behaviours").append(...Object.entries(behaviours).map(([b, [label]]) => button(b, label, () => ask("PUT", "endpoint", {behaviour: b}), {"data-behaviour": b})));
    options($("filter").elements.status, [["", "any"], ...status.statuses.map(s => [s, s])]);
    options($("filter").elements.outcome, Object.entries(wanted).map(([v, [label]]) => [v, label]));
  }
  const endpoint = status.endpoint_demo;
  $("endpoint").hidden = !endpoint;
  if (endpoint) {
    $("endpoint-url").textContent = endpoint.url;
    $("behaviour-text").textContent = behaviours[endpoint.behaviour][1];
    for (const b of $("behaviours").children) b.setAttribute("aria-pressed", b.dataset.behaviour === endpoint.behaviour);
  }
  keep($("configs"), configs.length ? configs.map(config) : [h("p", {class: "quiet"}, unread ?? "None is registered.")]);
  options($("filter").elements.config, [["", "any"], ...configs.map(c => [c.id, c.url + (c.description ? `, ${c.description}` : "")])]);
  $("waiting").dataset.waiting = waiting.length;
  $("send-all").hidden = waiting.length < 2;
  keep($("waiting"), waiting.length ? [...waiting.map(waits), more && h("li", {class: "quiet"}, "and more")].filter(Boolean) : [h("li", {class: "quiet"}, unread ?? "Nothing waits.")]);
  keep($("queues"), status.queues.map(queue));
  keep($("functions"), status.functions.map(f =>
    h("span", {class: f.busy ? "busy" : f.processes ? "warm" : "", title: plural(f.processes, "process", "processes") + (f.busy ? `, ${f.busy} busy` : "")}, f.name.replace(/Function$/, "") + (f.processes > 1 ? ` ×${f.processes}` : ""))));
  $("denied").hidden = status.denied.length === 0;
  $("denied").textContent = "Denied by IAM: " + status.denied.join("; ");
  drawCount();
}

const path = c => "configs/" + encodeURIComponent(c.id);

function config(c) {
  const [label, tone] = !c.is_active ? c.deactivated_reason ? [c.deactivated_reason.replace("_", " "), "bad"] : ["paused", "wait"]
    : c.consecutive_failures ? ["failing", "bad"] : ["active", "good"];
  const key = "config/" + c.id;
  const known = credentials.get(c.id);
  return h("article", {class: "registered", "data-config": c.id, "data-state": label},
    h("p", {class: "mono"}, c.url),
    c.description && h("p", {class: "quiet"}, c.description),
    h("p", {class: "quiet"}, h("span", {class: "badge " + tone}, label), " " + c.subscribed_statuses.join(", ")),
    organizations().length > 1 && h("p", {class: "quiet"}, c.organization),
    c.consecutive_failures > 0 && h("p", {class: "problem"}, `${plural(c.consecutive_failures, "final failure")} in a row` + (c.failing_since ? ` since ${clock(c.failing_since)}` : "")),
    Date.parse(c.previous_secret_expires_at) > now() && h("p", {class: "quiet", title: c.previous_secret_expires_at, "data-until": c.previous_secret_expires_at, "data-before": "The previous secret ends "}),
    h("div", {class: "bar"},
      button(key + "/active", c.is_active ? "Pause" : "Activate", () => api(c.organization, "PATCH", path(c), {type: "webhook_config", id: c.id, attributes: {is_active: !c.is_active}}), {class: "small", "data-do": "active"}),
      button(key + "/test", "Test", () => api(c.organization, "POST", path(c) + "/test"), {class: "small", "data-do": "test", disabled: !c.is_active}),
      button(key + "/rotate", "Rotate secret", async () => learn((await api(c.organization, "POST", path(c) + "/rotate-secret")).data), {class: "small", "data-do": "rotate"}),
      button(key + "/edit", "Edit", () => edit(c), {class: "small", "data-do": "edit"}),
      button(key + "/delete", "Delete", () => remove(c), {class: "small", "data-do": "delete"})),
    known && h("div", {class: "credentials"},
      h("p", {class: "quiet"}, "Shown this once:"),
      ["token", "secret"].map(name => h("div", {class: "bar"}, h("span", {class: "mono", "data-credential": name}, known[name]), copier(`${key}/${name}`, "Copy " + name, () => known[name], notify))),
      button(key + "/hide", "Hide", () => { credentials.delete(c.id); drawStatus(); }, {class: "small"})));
}

// learn shows the credentials of an answer, and gives them to the demo's endpoint if they are for it.
async function learn({id, attributes: {url, token, secret}}) {
  credentials.set(id, {token, secret});
  if (status.endpoint_demo && new URL(url).origin === status.endpoint_demo.url) await ask("PUT", "endpoint", {token, secret});
}

// consult opens a dialog about a config, which closes when its form has done what it is for, and says there why it could not.
function consult(id, c, does) {
  const form = $(id).querySelector("form");
  form.querySelector(".problem").textContent = "";
  form.onsubmit = e => {
    e.preventDefault();
    act(e.submitter, async () => {
      try { await does(new FormData(form)); } catch (error) { form.querySelector(".problem").textContent = error.message; return; }
      await refresh();
      $(id).close();
    });
  };
  $(id).onclose = () => // the button that opened it may have been drawn anew, or be gone
    (document.querySelector(`[data-focus="config/${c.id}/${id}"]`) ?? $("register").querySelector("summary")).focus();
  $(id).showModal();
}
for (const cancel of document.querySelectorAll("dialog .cancel")) cancel.addEventListener("click", () => cancel.closest("dialog").close());

function edit(c) {
  const {url, description, statuses} = $("edit").querySelector("form").elements;
  url.value = c.url;
  description.value = c.description ?? "";
  for (const s of statuses) s.checked = c.subscribed_statuses.includes(s.value);
  consult("edit", c, async values => {
    const attributes = {url: values.get("url"), description: values.get("description"), subscribed_statuses: values.getAll("statuses")};
    await api(c.organization, "PATCH", path(c), {type: "webhook_config", id: c.id, attributes});
    if (credentials.has(c.id)) await learn({id: c.id, attributes: {url: attributes.url, ...credentials.get(c.id)}});
  });
}

function remove(c) {
  $("delete-url").textContent = c.url;
  consult("delete", c, () => api(c.organization, "DELETE", path(c)));
}

$("register").querySelector("form").addEventListener("submit", e => {
  e.preventDefault();
  const form = e.currentTarget;
  const values = new FormData(form);
  act(form.querySelector("button"), async () => {
    const attributes = {url: values.get("url"), subscribed_statuses: values.getAll("statuses")};
    if (values.get("description")) attributes.description = values.get("description");
    await learn((await api(values.get("organization"), "POST", "configs", {type: "webhook_config", attributes})).data);
    form.elements.url.value = form.elements.description.value = "";
    $("register").open = false;
    $("register").querySelector("summary").focus();
  });
});

const waits = w => h("li", {"data-delivery": w.id},
  h("span", {class: "mono"}, w.document), h("span", {class: "status"}, w.document_status),
  h("span", {class: "quiet", title: w.next_attempt_at, "data-until": w.next_attempt_at, "data-before": "next attempt "}),
  button("waiting/" + w.id, "Send now", () => resend(w.organization, w.id), {class: "small"}));

$("send-all").addEventListener("click", e => act(e.currentTarget, async () => { for (const w of waiting) await resend(w.organization, w.id); }));

function queue(q) {
  const total = q.visible + q.in_flight + q.delayed;
  return h("div", {class: "queue" + (q.dead_letter ? " dead" : "") + (total ? " filled" : ""), "data-queue": q.name, "data-total": total},
    h("span", {class: "name"}, q.name),
    h("span", {class: "depths"}, h("span", {}, h("b", {}, q.visible), " visible"), h("span", {}, h("b", {}, q.in_flight), " in flight"), h("span", {}, h("b", {}, q.delayed), " delayed")),
    q.dead_letter && button("redrive/" + q.name, "Redrive", () => ask("POST", `queues/${encodeURIComponent(q.name)}/redrive`), {disabled: q.visible === 0, "data-redrive": q.name}));
}

for (const what of ["input", "change"]) $("filter").addEventListener(what, filter);
$("filter").addEventListener("submit", e => e.preventDefault());
$("change").addEventListener("submit", e => {
  e.preventDefault();
  const form = e.currentTarget.elements;
  // Enter in a field has no button of its own: it would pick a status by chance.
  const status = e.submitter && document.activeElement !== form.id ? e.submitter.value : null;
  if (status) act(e.submitter, () => ask("PUT", `documents/${encodeURIComponent(form.id.value)}`, {organization_id: form.organization.value, status}));
});

// ---- time and the stream of events

// now is what the stack's clock shows: the machine's at its start, and from then on as much faster as it is.
function now() {
  const started = status ? Date.parse(status.started) : 0;
  return started + (Date.now() - started) * (status ? status.time_scale : 1);
}

setInterval(() => {
  for (const e of document.querySelectorAll("[data-until]")) {
    const left = Date.parse(e.dataset.until) - now();
    e.textContent = e.dataset.before + (left > 0 ? `in ${took(left)}` : "now");
  }
  for (const e of document.querySelectorAll("[data-since]")) e.textContent = ((now() - Date.parse(e.dataset.since)) / (status?.time_scale ?? 1) / 1000).toFixed(1) + " s";
}, 100);

function link(state, text) {
  if ($("link").dataset.state === state) return;
  $("link").dataset.state = state;
  $("link").textContent = text;
}

const events = new EventSource("events");
events.onerror = () => link("lost", "the stack does not answer");
events.addEventListener("status", e => {
  const fresh = JSON.parse(e.data);
  if (status && fresh.started !== status.started) { // another run of the stack: nothing of this one is there
    for (const of of [flows, requests, credentials]) of.clear();
    $("flows").replaceChildren();
  }
  if (fresh.started !== status?.started) soon();
  status = fresh;
  link("live", "live");
  drawStatus();
});
events.addEventListener("flows", e => {
  const first = flows.size === 0;
  for (const flow of JSON.parse(e.data)) {
    const fresh = !first && !flows.has(flow.id) && away();
    draw(flow);
    if (fresh && matches(flow)) unseen++;
  }
  const oldest = [...flows.values()].sort((a, b) => b.flow.serial - a.flow.serial).slice(kept);
  for (const {flow, card} of oldest) { card.remove(); flows.delete(flow.id); }
  drawUnseen();
  drawCount();
  soon();
});
