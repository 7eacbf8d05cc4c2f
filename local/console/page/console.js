// The console's page: listens to /api/stream, sends requests through /api/send, and shows the results.
// All content is untrusted, so it is inserted as text, never as HTML.

const LISTED = 50;
const MEMBER_ACTIONS = new Set([
  "abort_transfer", "resume_call", "voicemail_drop", "hangup", "hold", "unhold",
]);
const WORDS = { not_sent: "not sent", open: "in progress" };
const FAILING = /^\+15550100(\d{3})$/;

const $ = (id) => document.getElementById(id);
const form = $("form");

/** Make an element; names with a hyphen, and those that are no property, become attributes. */
function h(tag, properties, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === false) continue;
    if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...inside.flat(3).filter((one) => one || one === 0));
  return element;
}

const word = (outcome) => WORDS[outcome] ?? outcome;
const pill = (outcome, text) => h("span", { className: `pill ${outcome}` }, text ?? word(outcome));
const milliseconds = (value) => (value === null ? "" : `${value.toFixed(1)} ms`);
const pretty = (text) => {
  try {
    return JSON.stringify(typeof text === "string" ? JSON.parse(text) : text, null, 2);
  } catch {
    return text;
  }
};

function clock(moment) {
  const date = typeof moment === "number" ? new Date(moment * 1000) : new Date(moment);
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()];
  const fraction = String(date.getMilliseconds()).padStart(3, "0");
  return `${parts.map((one) => String(one).padStart(2, "0")).join(":")}.${fraction}`;
}

async function api(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const answer = await fetch(path, options || {});
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

/** Replace an element's content, but keep the focus and which of its details are open. */
function renew(element, ...inside) {
  const keyOf = (one) => one?.closest?.("[data-key]")?.dataset.key;
  const open = new Set([...element.querySelectorAll("details[open]")].map(keyOf));
  const focused = element.contains(document.activeElement) && keyOf(document.activeElement);
  element.replaceChildren(...inside.flat(3).filter(Boolean));
  for (const one of element.querySelectorAll("[data-key]")) {
    if (one.tagName === "DETAILS") one.open ||= open.has(one.dataset.key);
    if (focused && one.dataset.key === focused) {
      (one.tagName === "DETAILS" ? one.firstElementChild : one).focus();
    }
  }
}

// --- the form -----------------------------------------------------------------------------------

let typed = false; // whether the user typed the key
let used = ""; // the content that the key in the field was last sent with
let last = null; // the last request, for "Send again"
let latest = 0; // the number of the latest request, whose answer is shown

const freshKey = () => `key-${crypto.randomUUID().slice(0, 13)}`;

function content() {
  const fields = Object.fromEntries(new FormData(form));
  delete fields["Idempotency-Key"];
  return fields;
}

/** The key to send: a new one if `fresh` or if the content changed, unless the user typed one. */
function key({ fresh }) {
  const field = form.elements["Idempotency-Key"];
  const now = JSON.stringify(content());
  if (!typed && (fresh || !field.value || used !== now)) field.value = freshKey();
  used = now;
  return field.value;
}

async function send(keys, fields) {
  const number = ++latest;
  last = { keys: keys.slice(0, 1), fields };
  $("again").disabled = false;
  actions.expected = true;
  renew($("answer"), h("p", {}, keys.length > 1 ? `Sending ${keys.length} requests…` : "Sending…"));
  preview();
  try {
    const { answers } = await api("/api/send", { form: fields, keys });
    if (number === latest) renew($("answer"), shownAnswers(answers));
    actions.open(answers[0].action);
  } catch (error) {
    if (number === latest) renew($("answer"), h("p", {}, `The console could not send it: ${error.message}`));
  }
}

/** The answers in words; equal ones are shown once, with their number. */
function shownAnswers(answers) {
  const lines = new Map();
  for (const one of answers) {
    const outcome = one.outcome || (one.cause.includes("progress") ? "open" : "refused");
    const how = one.duplicate_of ? "duplicate" : one.replayed ? "replayed" : "";
    const line = JSON.stringify([one.status, outcome, how, one.cause, one.advice]);
    lines.set(line, (lines.get(line) ?? 0) + 1);
  }
  return [...lines].map(([line, count]) => {
    const [status, outcome, how, cause, advice] = JSON.parse(line);
    return h("div", { className: "result" },
      h("p", {},
        answers.length > 1 && h("span", {}, `${count} × `),
        h("strong", {}, status ? String(status) : "event"), " ", pill(outcome), " ",
        how && pill("how", how), " ", cause !== outcome && h("code", {}, cause)),
      h("p", {}, advice));
  });
}

function fit() {
  const event = form.elements.entry_point.value === "event";
  const member = MEMBER_ACTIONS.has(form.elements.action.value);
  form.elements.client.hidden = event;
  $("event-client").hidden = !event;
  for (const one of form.querySelectorAll(".of-call")) one.hidden = member;
  for (const one of form.querySelectorAll(".of-member")) one.hidden = !member;
}

const address = () => form.elements[MEMBER_ACTIONS.has(form.elements.action.value) ? "member_address" : "to"];

function fail() {
  const field = address();
  const digits = $("failure").value;
  if (!FAILING.test(field.value)) field.dataset.plain = field.value;
  field.value = digits ? `+15550100${digits}` : (field.dataset.plain ?? field.value);
}

function showFailure() {
  const digits = FAILING.exec(address().value)?.[1] ?? "";
  $("failure").value = digits;
  if ($("failure").selectedIndex < 0) $("failure").value = "";
}

let previewing = 0;
function preview() {
  clearTimeout(previewing);
  previewing = setTimeout(async () => {
    const query = new URLSearchParams(new FormData(form));
    try {
      const lines = await api(`/api/commands?${query}`);
      $("curl").textContent = lines.curl;
      $("put-events").textContent = lines.put_events;
    } catch (error) {
      $("curl").textContent = $("put-events").textContent = error.message;
    }
  }, 150);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send([key({ fresh: true })], content());
});
$("again").addEventListener("click", () => send(last.keys, last.fields));
$("double").addEventListener("click", () => send([freshKey(), freshKey()], content()));
$("many").addEventListener("click", () => {
  const one = key({ fresh: false });
  send(Array.from({ length: 30 }, () => one), content());
});
form.addEventListener("input", (event) => {
  if (event.target.name === "Idempotency-Key") typed = true;
  if (event.target.id === "failure") fail();
  if (event.target.name === "action" || event.target === address()) showFailure();
  fit();
  preview();
});
$("new-call").addEventListener("click", async () => {
  try {
    useCall(await api("/api/calls", {}));
  } catch (error) {
    renew($("answer"), h("p", {}, error.message));
  }
});
$("count").addEventListener("click", () => api("/api/count", {}));
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText($(button.dataset.copies).textContent);
    const before = button.firstChild.textContent;
    button.firstChild.textContent = "Copied";
    setTimeout(() => (button.firstChild.textContent = before), 1500);
  });
}

function useCall(call) {
  const { elements } = form;
  const agent = call.members.find((one) => one.role === "agent") ?? call.members[0];
  const customer = call.members.find((one) => one.role === "customer") ?? agent;
  elements.phlo_id.value = call.phlo_id;
  elements.node_id.value = call.node_id;
  elements.trigger_source.value = agent.address;
  elements.member_address.value = customer.address;
  elements.to.value = `+1555040${String(Math.floor(Math.random() * 1e4)).padStart(4, "0")}`;
  showFailure();
  calls.draw();
  preview();
}

// --- the calls ----------------------------------------------------------------------------------

const calls = {
  known: "",
  list: [],
  members: new Map(),

  show(list) {
    const now = JSON.stringify(list);
    if (now === this.known) return;
    this.known = now;
    $("no-call").hidden = list.length > 0;
    this.list = list;
    this.draw();
    this.members = new Map(list.map((call) => [call.call_id, call.members.map((one) => one.address)]));
    const addresses = new Set(list.flatMap((call) => call.members.map((one) => one.address)));
    $("addresses").replaceChildren(...[...addresses].map((value) => h("option", { value })));
  },

  /** Show the form's call, or else the latest one; the others are collapsed. */
  draw() {
    const { phlo_id: phlo, node_id: node } = form.elements;
    const ours = (call) => call.phlo_id === phlo.value && call.node_id === node.value;
    const first = this.list.find(ours) ?? this.list[0];
    const others = this.list.filter((call) => call !== first);
    renew($("calls"), first && h("ul", { className: "calls" }, this.card(first)),
      others.length > 0 && h("details", { "data-key": "others" },
        h("summary", { className: "hint" }, others.length === 1 ? "1 other call" : `${others.length} other calls`),
        h("ul", { className: "calls" }, others.map((call) => this.card(call)))));
  },

  card(call) {
    const before = this.members.get(call.call_id) ?? [];
    const live = call.state === "live";
    return h("li", { className: `call ${call.state}` },
      h("div", { className: "bar" },
        h("h3", {}, `Call ${call.call_id} `, !live && pill("refused", "ended"),
          call.private_talk && pill("open", "private talk")),
        live && h("button", {
          className: "quiet", type: "button", onclick: () => useCall(call), "data-key": `use${call.call_id}`,
        }, "Use", h("span", { className: "visually-hidden" }, ` call ${call.call_id}`))),
      h("ul", { className: "members" },
        call.members.map((one) =>
          h("li", { className: before.includes(one.address) ? "" : "joined" },
            h("span", { className: "role" }, one.role), h("span", { className: "address" }, one.address),
            one.on_hold && pill("not_sent", "on hold"))),
        call.left.map((one) =>
          h("li", { className: "left-call" },
            h("span", { className: "role" }, one.role), h("span", { className: "address" }, one.address),
            h("span", { className: "how-left" }, `left ${clock(one.at).slice(0, 8)} ${one.action}`)))));
  },
};

// --- requests -----------------------------------------------------------------------------------

const actions = {
  rows: new Map(), // by number: {summary, element, details}
  limit: LISTED,
  instance: "",
  expected: false,
  opened: 0,
  meaning: {},

  filters() {
    return Object.fromEntries([...new FormData($("filters"))].filter(([, value]) => value));
  },

  wanted(summary) {
    const { outcome, entry_point: entryPoint, client } = this.filters();
    return (!outcome || outcome === summary.outcome)
      && (!entryPoint || summary.entry_points.includes(entryPoint))
      && (!client || summary.clients.includes(client));
  },

  /** After a restart of the console, remove the rows: its numbers now mean other actions. */
  begin(instance) {
    if (this.instance !== instance) for (const number of [...this.rows.keys()]) this.remove(number);
    this.instance = instance;
  },

  /** Fetch the current list; open rows stay open. */
  async refresh() {
    const query = new URLSearchParams({ ...this.filters(), limit: this.limit });
    const found = await api(`/api/actions?${query}`);
    const listed = new Set(found.actions.map((one) => one.number));
    for (const number of [...this.rows.keys()]) if (!listed.has(number)) this.remove(number);
    $("older").hidden = !found.more;
    this.update(found.actions, []);
  },

  update(summaries, joined) {
    for (const number of joined) this.remove(number);
    // oldest first, because each row is inserted above the existing ones
    for (const summary of summaries.toSorted((one, other) => one.number - other.number)) {
      if (!this.wanted(summary)) this.remove(summary.number);
      else this.put(summary);
    }
    const numbers = [...this.rows.keys()].sort((one, other) => other - one);
    for (const number of numbers.slice(this.limit)) {
      this.remove(number);
      $("older").hidden = false;
    }
    $("no-action").hidden = this.rows.size > 0;
    $("no-action").textContent = Object.keys(this.filters()).length
      ? "No requests match the filter." : "No requests yet.";
  },

  put(summary) {
    const known = this.rows.get(summary.number);
    if (known && known.summary.version >= summary.version) return;
    const row = known ?? this.add(summary.number);
    row.summary = summary;
    renew(row.details.firstElementChild, this.line(summary));
    if (row.details.open) this.fill(row);
    if (!known && this.expected && summary.own) {
      this.expected = false;
      this.open(summary.number);
    }
  },

  add(number) {
    const body = h("div", { className: "body" });
    const details = h("details", { "data-number": number }, h("summary"), body);
    const element = h("li", {}, details);
    const row = { summary: { version: -1 }, element, details, body, shown: -1, whole: false };
    details.addEventListener("toggle", () => details.open && this.fill(row));
    const next = [...this.rows.keys()].filter((one) => one < number);
    const after = next.length ? this.rows.get(Math.max(...next)).element : null;
    this.rows.set(number, row);
    $("actions").insertBefore(element, after);
    return row;
  },

  remove(number) {
    this.rows.get(number)?.element.remove();
    this.rows.delete(number);
  },

  open(number) {
    const row = this.rows.get(number);
    if (!row || row.details.open) return;
    const before = this.rows.get(this.opened);
    if (before) before.details.open = false;
    this.opened = number;
    row.details.open = true;
  },

  line(one) {
    const who = `${one.clients.join(", ")} · ${one.entry_points.join(", ")}`;
    return [
      h("span", { className: "when" }, one.at === null ? "" : clock(one.at)),
      pill(one.outcome),
      h("span", { className: "name" }, one.name || "action"),
      h("span", { className: "who" }, who),
      h("span", { className: "count" },
        "requests ", h("b", {}, String(one.request_count)), " sent ", h("b", {}, String(one.sent))),
    ];
  },

  /** Fetch and show the details of an open action; one fetch at a time. */
  async fill(row) {
    if (row.busy) return;
    row.busy = true;
    try {
      while (row.details.open && row.shown < row.summary.version) {
        const version = row.summary.version;
        const { number } = row.summary;
        const detail = await api(`/api/actions/${number}${row.whole ? "?whole=1" : ""}`);
        row.shown = Math.max(version, detail.version);
        renew(row.body, this.body(row, detail));
      }
    } catch (error) {
      renew(row.body, h("p", {}, error.message));
    } finally {
      row.busy = false;
    }
  },

  body(row, one) {
    return [
      h("p", { className: "meaning" }, this.meaning[one.outcome], " ",
        one.cause && one.cause !== one.outcome && h("code", {}, one.cause)),
      one.steps.length > 0 && [h("h3", {}, "Steps of the attempt"), steps(one.steps)],
      h("h3", {}, one.request_count === 1 ? "The request" : `The ${one.request_count} requests`),
      h("ol", { className: "requests" }, one.requests.map((each) => h("li", {}, request(each)))),
      one.more > 0 && h("button", {
        type: "button", className: "quiet", "data-key": "whole",
        onclick: () => { row.whole = true; row.shown = -1; this.fill(row); },
      }, `${one.more} more between the first and these`),
      Object.keys(one.record).length > 0 && [h("h3", {}, "The record in the ledger"), record(one.record)],
      one.received.length > 0 && [
        h("h3", {}, "What Plivo received"),
        h("ol", { className: "posts" }, one.received.map((each, index) => post(each, `p${index}`)))],
      one.events.length > 0 && h("h3", {}, "Published events"),
      one.events.map((each, index) => folded(`e${index}`, each["detail-type"], pretty(each.detail))),
      one.letters.length > 0 && h("h3", {}, "In the dead-letter queue"),
      one.letters.map((each, index) =>
        folded(`l${index}`, each.reason || "the whole event", pretty(each.event))),
    ];
  },
};

function steps(list) {
  const whole = Math.max(...list.map((one) => one.at_ms + one.ms), 0.1);
  return h("ol", { className: "steps" }, list.map((one) => {
    const bar = h("span", { className: `stretch${one.post ? " post" : ""}${one.fault ? " fault" : ""}` });
    bar.style.setProperty("--at", `${(one.at_ms / whole) * 100}%`);
    bar.style.setProperty("--long", `${(one.ms / whole) * 100}%`);
    return h("li", {},
      h("span", { className: "step" }, one.name, one.status && ` ${one.status}`),
      h("span", { className: "track", "aria-hidden": "true" }, bar),
      h("span", { className: "took" }, milliseconds(one.ms)));
  }));
}

const folded = (key, title, text) =>
  h("details", { "data-key": key }, h("summary", {}, title), h("pre", {}, text));

function request(one) {
  const headers = Object.entries(one.answer.headers ?? {}).map(([name, value]) => `${name}: ${value}`);
  const answer = one.answer.status === undefined ? pretty(one.answer.body ?? "")
    : [`HTTP ${one.answer.status}`, ...headers, "", pretty(one.answer.body)].join("\n");
  const posted = one.steps.some((each) => each.post);
  return h("details", { "data-key": `r${one.number}` },
    h("summary", {},
      h("span", { className: "when" }, clock(one.at)),
      pill(one.kind.startsWith("first") || one.kind.startsWith("attempt") ? "how first" : "how", one.kind),
      h("span", {}, one.status ? String(one.status) : word(one.outcome || one.kind)),
      h("span", { className: "who" }, `${one.client} · ${one.entry_point}`),
      h("span", { className: "took" }, milliseconds(one.milliseconds))),
    h("dl", { className: "facts" },
      fact("key", one.key || (one.own ? "none" : "not known: sent by another program")),
      fact("Action-Id", one.action_id),
      fact("Duplicate-Of", one.duplicate_of),
      fact("cause", one.cause),
      fact("trace", one.trace_id),
      fact(one.entry_point === "event" ? "event" : "request", one.correlation_id),
      fact("fault", one.fault)),
    one.steps.length > 0 && !posted && steps(one.steps),
    one.own && answer && [h("h4", {}, one.entry_point === "event" ? "The bus's answer" : "The answer"),
      h("pre", {}, answer)],
    one.lines.length > 0 && [h("h4", {}, "The log"), h("pre", {}, one.lines.map(pretty).join("\n"))]);
}

const fact = (name, value) =>
  value !== null && value !== undefined && value !== ""
    && h("div", { className: String(value).length > 30 ? "long" : "" },
      h("dt", {}, name), h("dd", {}, String(value)));

function record(item) {
  const time = (name, value) =>
    name.endsWith("_at") || name === "first_seen" || name === "lease_until" ? clock(value / 1000)
      : name === "ttl" ? new Date(value * 1000).toLocaleDateString() : value;
  return h("dl", { className: "facts record" },
    Object.entries(item).map(([name, value]) => fact(name, time(name, value))));
}

function post(one, key) {
  const headers = Object.entries(one.headers).map(([name, value]) => `${name}: ${value}`).join("\n");
  return h("li", {},
    h("details", { "data-key": key },
      h("summary", {},
        h("span", { className: "when" }, clock(one.at)),
        h("span", { className: "name" }, one.action),
        h("span", { className: "took" }, one.manner === "whole" ? `→ ${one.status}` : `→ ${one.manner}`)),
      h("pre", {}, `${one.method} ${one.path}\n${headers}\n\n${pretty(one.body)}`)),
    h("p", { className: "brief" }, brief(one.body)));
}

/** Plivo's parameters in one line, without the action. */
function brief(body) {
  try {
    const { action, ...rest } = JSON.parse(body);
    return Object.entries(rest).map(([name, value]) => `${name} ${value}`).join(" · ");
  } catch {
    return "";
  }
}

$("older").addEventListener("click", () => {
  actions.limit += LISTED;
  actions.refresh();
});
$("filters").addEventListener("input", () => {
  actions.limit = LISTED;
  actions.refresh();
});

// --- the stream ---------------------------------------------------------------------------------

let posts = "";

function showPosts(list) {
  const now = JSON.stringify(list);
  if (now === posts) return;
  posts = now;
  $("no-post").hidden = list.length > 0;
  renew($("posts"), list.map((one) => post(one, `${one.at}${one.path}`)));
}

async function introduce(about) {
  const { client } = form.elements;
  const chosen = client.value || "phlo";
  const options = () => about.clients.map((value) => h("option", { value }, value));
  client.replaceChildren(...options());
  client.value = about.clients.includes(chosen) ? chosen : about.clients[0];
  $("event-client").textContent = `for events: ${about.event_source}`;
  const filter = $("filters").elements.client;
  const filtered = filter.value;
  filter.replaceChildren(h("option", { value: "" }, "all"), ...options(),
    h("option", { value: about.event_source }, about.event_source));
  filter.value = filtered;
  $("new-call").disabled = !about.simulator;
  if (!about.simulator) {
    $("no-call").textContent = `Plivo is at ${about.plivo_base_url}: its calls cannot be shown.`;
    $("no-post").textContent = `Plivo is at ${about.plivo_base_url}: what it receives cannot be shown.`;
  }
  actions.meaning = about.meaning;
  actions.begin(about.instance);
  fit();
  preview();
  await actions.refresh();
}

document.querySelector(".commands").open = matchMedia("(min-width: 821px)").matches;

const stream = new EventSource("/api/stream");
stream.addEventListener("open", () => ($("connection").textContent = "live"));
stream.addEventListener("error", () => ($("connection").textContent = "not connected, trying again…"));
stream.addEventListener("message", async ({ data }) => {
  const update = JSON.parse(data);
  $("figure-requests").textContent = update.figures.requests;
  $("figure-sent").textContent = update.figures.sent;
  $("figure-source").textContent = update.figures.from_traces ? " (from traces)" : "";
  calls.show(update.calls);
  showPosts(update.received);
  if (update.about) await introduce(update.about);
  else if (update.too_many) await actions.refresh();
  else actions.update(update.actions, update.joined);
});
