// The page of the local stack. All text reaches the document as text nodes, never as markup.

const $ = id => document.getElementById(id);
const kept = 100;
const flows = new Map(); // by id: {flow, card}
const open = new Set(); // keys of the details that somebody has opened
let status = null;

// h makes an element. Attributes that are false or null are left out, functions are listeners.
function h(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") e.addEventListener(key, value);
    else if (value !== false && value != null) e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children.flat().filter(c => c != null && c !== false));
  return e;
}

// disclosure is a details element that stays open when its card is drawn anew.
function disclosure(key, attributes, summary, ...children) {
  const e = h("details", {...attributes, open: open.has(key)}, summary, ...children);
  e.addEventListener("toggle", () => e.open ? open.add(key) : open.delete(key));
  return e;
}

const clock = t => {
  const d = new Date(t), two = (n, w = 2) => String(n).padStart(w, "0");
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${two(d.getMilliseconds(), 3)}`;
};
const took = ms => ms == null ? "" : ms < 1 ? "< 1 ms" : ms < 1000 ? `${Math.round(ms)} ms` : ms < 6e4 ? `${(ms / 1000).toFixed(1)} s` :
  ms < 6e6 ? `${Math.floor(ms / 6e4)} min ${Math.round(ms % 6e4 / 1000)} s` : `${(ms / 36e5).toFixed(1)} h`;
const moment = t => h("time", {datetime: t, title: t}, clock(t));
const plural = (n, one, many = one + "s") => `${n} ${n === 1 ? one : many}`;

const outcomes = {
  delivered: ["delivered", "good"], retrying: ["retrying", "wait"], failed: ["failed", "bad"], canceled: ["canceled", ""],
  queued: ["queued", "busy"], waiting: ["waiting", "wait"], attempting: ["attempting", "busy"], dead_letter: ["in the dead-letter queue", "bad"], unknown: ["unknown", ""],
};
const triggers = {status_change: "status change", resend: "resend", test: "test event"};

async function call(method, path, body) {
  try {
    const response = await fetch(path, {method, headers: {"Content-Type": "application/json"}, body: body && JSON.stringify(body)});
    if (!response.ok) {
      const text = await response.text();
      let message = text;
      try { message = JSON.parse(text).message ?? text; } catch { /* it is no JSON: show it as it is */ }
      throw new Error(message);
    }
    return true;
  } catch (error) {
    const notice = $("notice");
    notice.textContent = error.message;
    notice.hidden = false;
    clearTimeout(call.timer);
    call.timer = setTimeout(() => { notice.hidden = true; }, 6000);
    return false;
  }
}

// ---- flows

function draw(flow) {
  const known = flows.get(flow.id);
  const card = h("article", {class: known ? "flow" : "flow fresh", "data-flow": flow.id, "data-document": flow.document_id, "data-status": flow.status},
    h("div", {class: "change"}, headline(flow), moment(flow.at)),
    flow.deliveries.map(d => delivery(flow, d)),
    flow.changed && flow.deliveries.length === 0 && h("div", {class: "delivery", "data-outcome": flow.recorded ? "unwanted" : "none"},
      flow.recorded && h("div", {class: "bar"}, h("span", {class: "badge"}, "recorded, nobody wanted it"), h("span", {class: "config quiet mono"}, flow.id)),
      h("p", {class: "quiet"}, `${flow.recorded ? "" : "No message so far: "}A change goes to the active configs of ${flow.organization_id} that subscribe to “${flow.status}”.`)));
  const focus = known?.card.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  if (known) known.card.replaceWith(card);
  else {
    const after = [...flows.values()].filter(f => f.flow.serial < flow.serial).sort((a, b) => b.flow.serial - a.flow.serial)[0];
    $("flows").insertBefore(card, after?.card ?? null);
  }
  flows.set(flow.id, {flow, card});
  if (focus) [...card.querySelectorAll("[data-focus]")].find(e => e.dataset.focus === focus)?.focus({preventScroll: true});
}

function headline(flow) {
  if (!flow.document_id) return [h("span", {class: "what"}, "A request that belongs to no delivery")];
  return [
    h("span", {class: "what mono"}, flow.document_id),
    flow.previous_status && [h("span", {class: "status"}, flow.previous_status), h("span", {class: "arrow"}, "→")],
    h("span", {class: "status now"}, flow.status),
    !flow.previous_status && flow.changed && h("span", {class: "quiet"}, "new"),
    flow.test && h("span", {class: "quiet"}, "test event"),
    status?.organizations.length > 1 && h("span", {class: "quiet"}, flow.organization_id),
  ].flat();
}

function delivery(flow, d) {
  const [label, tone] = outcomes[d.outcome] ?? [d.outcome, ""];
  const waiting = d.messages.findLast(m => m.visible_at);
  const due = d.outcome === "retrying" && d.next_attempt_at || waiting?.visible_at;
  const key = flow.id + "/" + d.config_id;
  return h("div", {class: "delivery", "data-delivery": d.id, "data-outcome": d.outcome},
    d.id && h("div", {class: "bar"},
      h("span", {class: "badge " + tone}, label),
      due && h("span", {class: "quiet", title: due, "data-until": due, "data-before": "next attempt "}),
      d.trigger && d.trigger !== "status_change" && h("span", {class: "quiet"}, triggers[d.trigger] ?? d.trigger),
      h("span", {class: "config quiet mono", title: "config"}, d.config_id),
      h("button", {type: "button", class: "resend", "data-focus": key + "/resend", click: e => act(e.currentTarget, "POST", `deliveries/${encodeURIComponent(d.id)}/resend`)}, "Resend")),
    d.attempts.length > 0 && h("div", {class: "tries"}, d.attempts.map((t, n) => [
      n > 0 && h("p", {class: "pause" + (again(d.attempts[n - 1], t) ? " round" : "")},
        `${took(Date.parse(began(t)) - Date.parse(began(d.attempts[n - 1])))} later` + (again(d.attempts[n - 1], t) ? ", another round" : "")),
      attempt(`${key}/${n}`, t),
    ]).flat()),
    d.problem && h("p", {class: "problem"}, "Its log could not be read: " + d.problem),
    d.messages.length > 0 && messages(key, d));
}

const number = t => t.number ?? Number(header(t.request, "X-Webhook-Attempt") ?? 0);
const again = (before, t) => number(t) <= number(before);
const began = t => t.started_at ?? t.request.arrived_at;

function attempt(key, t) {
  const r = t.request;
  const logged = t.started_at != null;
  const code = logged ? t.response_status : r.answered || null;
  const success = code >= 200 && code < 300;
  const running = !logged && !r.answered && !r.gave_up;
  const reason = logged ? t.error : r.gave_up ? "the sender hung up" : null;
  const summary = h("summary", {"data-focus": key},
    h("span", {class: "dot"}),
    h("span", {}, logged ? `attempt ${t.number}` : header(r, "X-Webhook-Attempt") ? `attempt ${header(r, "X-Webhook-Attempt")}` : "request"),
    h("span", {class: "result"}, running ? "waiting for the answer" : [code && h("b", {}, code), code && reason && " ", reason && h("span", {class: "bad"}, reason), !code && !reason && "no answer"]),
    h("span", {class: "seal " + (r ? r.verified ? "good" : "bad" : "")}, r ? r.verified ? "✓ verified" : "✗ not verified" : ""),
    h("span", {class: "took"}, running ? h("span", {"data-since": r.arrived_at}) : took(logged ? t.duration_ms : r.took_ms)));
  return disclosure(key, {class: "try " + (running ? "running" : success ? "good" : "bad"), "data-result": running ? "running" : code ?? "none"}, summary,
    h("div", {class: "inside"},
      logged && h("div", {}, h("h3", {}, "In the log"), list([
        ["started", clock(t.started_at)], ["duration", took(t.duration_ms)], ["response", t.response_status ?? "none"],
        ["error", t.error_code && `${t.error_code}: ${t.error}`], ["answer", t.response_snippet]])),
      r && h("div", {}, h("h3", {}, `Arrived at ${clock(r.arrived_at)}`),
        h("p", {class: r.verified ? "good" : "bad"}, r.verified ? "Token and both signatures verified." : "Not verified: " + r.rejected)),
      r && h("div", {}, h("h3", {}, "Headers"), list(r.headers)),
      r && h("div", {}, h("h3", {}, "Body"), h("pre", {}, pretty(r.body))),
      !r && h("p", {class: "quiet"}, "The request itself is seen only where the demo’s endpoint receives it.")));
}

const header = (r, name) => r.headers.find(([n]) => n === name)?.[1];
const list = pairs => h("dl", {}, pairs.filter(([, v]) => v != null && v !== "").map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]).flat());
const pretty = body => { try { return JSON.stringify(JSON.parse(body), null, 2); } catch { return body; } };

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

// ---- the side

async function act(button, ...request) {
  button.disabled = true;
  await call(...request);
  button.disabled = false;
}

function drawStatus() {
  $("facts").textContent = `${status.api}  ·  AWS ${status.endpoint}` + (status.time_scale === 1 ? "" : `  ·  clock ×${status.time_scale}`);
  const organization = $("change").elements.organization;
  if (organization.length !== status.organizations.length) {
    $("organizations").hidden = status.organizations.length < 2;
    organization.replaceChildren(...status.organizations.map(o => h("option", {}, o)));
    for (const b of $("statuses").querySelectorAll("button")) b.remove();
    $("statuses").append(...status.statuses.map(s => h("button", {type: "submit", value: s}, s)));
  }
  const endpoint = status.endpoint_demo;
  $("endpoint").hidden = !endpoint;
  if (endpoint) {
    $("endpoint-url").textContent = endpoint.url;
    $("behaviour-text").textContent = {
      succeed: "It verifies each request and answers 204.", fail: "It answers 500 to every request.", hang: "It does not answer until you change this.",
    }[endpoint.behaviour];
    for (const b of $("behaviours").children) b.setAttribute("aria-pressed", b.dataset.behaviour === endpoint.behaviour);
  }
  keep($("queues"), [...status.queues.map(queue), status.waiting && log(status.waiting)].filter(Boolean));
  keep($("functions"), status.functions.map(f =>
    h("span", {class: f.busy ? "busy" : f.processes ? "warm" : "", title: plural(f.processes, "process", "processes") + (f.busy ? `, ${f.busy} busy` : "")}, f.name.replace(/Function$/, "") + (f.processes > 1 ? ` ×${f.processes}` : ""))));
  $("denied").hidden = status.denied.length === 0;
  $("denied").textContent = "Denied by IAM: " + status.denied.join("; ");
  const unwanted = [...flows.values()].filter(({flow}) => flow.recorded && flow.deliveries.length === 0).length;
  $("count").textContent = [flows.size && `the last ${plural(flows.size, "event")}`, unwanted && `${unwanted} that nobody wanted`, status.passed_over && `${status.passed_over} steps passed over: too much at once`].filter(Boolean).join(", ");
}

// keep replaces the children, unless they are equal: a button must not vanish under the pointer.
function keep(parent, children) {
  const next = h("div", {}, children);
  if (parent.innerHTML !== next.innerHTML) parent.replaceChildren(...children);
}

function queue(q) {
  const total = q.visible + q.in_flight + q.delayed;
  return h("div", {class: "queue" + (q.dead_letter ? " dead" : "") + (total ? " filled" : ""), "data-queue": q.name, "data-total": total},
    h("span", {class: "name"}, q.name),
    h("span", {class: "depths"}, h("span", {}, h("b", {}, q.visible), " visible"), h("span", {}, h("b", {}, q.in_flight), " in flight"), h("span", {}, h("b", {}, q.delayed), " delayed")),
    q.dead_letter && h("button", {type: "button", disabled: q.visible === 0, "data-redrive": q.name}, "Redrive"));
}

function log(w) {
  return h("div", {class: "queue", "data-waiting": w.count},
    h("span", {class: "name"}, w.table),
    h("span", {class: "depths"}, h("span", {}, h("b", {}, w.count + (w.more ? "+" : "")), " waiting for an attempt"),
      w.next_attempt_at && h("span", {title: w.next_attempt_at}, `next due at ${clock(w.next_attempt_at)}`)));
}

$("queues").addEventListener("click", e => {
  const name = e.target.dataset?.redrive;
  if (name) act(e.target, "POST", `queues/${encodeURIComponent(name)}/redrive`);
});
$("behaviours").addEventListener("click", e => {
  const behaviour = e.target.dataset?.behaviour;
  if (behaviour) act(e.target, "PUT", "endpoint", {behaviour});
});
$("change").addEventListener("submit", e => {
  e.preventDefault();
  const form = e.currentTarget.elements;
  // Enter in a field has no button of its own: it would pick a status by chance.
  const status = e.submitter && document.activeElement !== form.id ? e.submitter.value : null;
  if (status) call("PUT", `documents/${encodeURIComponent(form.id.value)}`, {organization_id: form.organization.value, status});
});

// ---- time and the stream of events

setInterval(() => {
  // The stack's clock is the machine's at its start, and may be faster.
  const started = status ? Date.parse(status.started) : 0, scale = status ? status.time_scale : 1;
  const now = started + (Date.now() - started) * scale;
  for (const e of document.querySelectorAll("[data-until]")) {
    const left = Date.parse(e.dataset.until) - now;
    e.textContent = e.dataset.before + (left > 0 ? `in ${took(left)}` : "now");
  }
  for (const e of document.querySelectorAll("[data-since]")) e.textContent = ((now - Date.parse(e.dataset.since)) / scale / 1000).toFixed(1) + " s";
}, 100);

function link(state, text) {
  $("link").dataset.state = state;
  $("link").textContent = text;
}

const events = new EventSource("events");
events.onerror = () => link("lost", "the stack does not answer");
events.addEventListener("status", e => {
  const fresh = JSON.parse(e.data);
  if (status && fresh.started !== status.started) { // another run of the stack: nothing of this one is there
    flows.clear();
    $("flows").replaceChildren();
  }
  status = fresh;
  link("live", "live");
  drawStatus();
});
events.addEventListener("flows", e => {
  for (const flow of JSON.parse(e.data)) draw(flow);
  const oldest = [...flows.values()].sort((a, b) => b.flow.serial - a.flow.serial).slice(kept);
  for (const {flow, card} of oldest) { card.remove(); flows.delete(flow.id); }
  $("empty").hidden = flows.size > 0;
  if (status) drawStatus();
});
