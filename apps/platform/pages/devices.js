// The live table. Text from devices only ever goes into textContent.

import { get, keepConnected } from "./connection.js";

const rows = new Map();
const devices = new Map();
const body = document.querySelector("#devices tbody");
const template = document.querySelector("#row");
const events = document.querySelector("#events");
const filter = document.querySelector("#filter");
let simulation = {};
/** Server clock minus this browser's, in ms. */
let skew = 0;

const STATES = {
  reachable: ["Reachable", "It spoke or answered lately."],
  uncertain: ["Uncertain", "Silent for longer than a NAT is known to hold its mapping."],
  asleep: ["Asleep", "Queue mode: orders wait for its next word."],
  unreachable: ["Unreachable", "It did not answer the last request. Orders wait for its next word."],
};

function draw(device) {
  devices.set(device.endpoint, device);
  let row = rows.get(device.endpoint);
  if (row === undefined) {
    row = template.content.firstElementChild.cloneNode(true);
    row.querySelector(".read").addEventListener("click", () => order(device.endpoint));
    rows.set(device.endpoint, row);
    const after = [...rows.keys()].filter((name) => name > device.endpoint).sort()[0];
    body.insertBefore(row, after === undefined ? null : rows.get(after));
  }
  const [word, why] = STATES[device.reachability];
  const state = row.querySelector(".state");
  state.className = `state ${device.reachability}`;
  set(state, word);
  state.title = why;
  set(row.querySelector(".name"), device.endpoint);
  set(row.querySelector(".address"), `${device.address ?? "no address"} · LwM2M ${device.version}${device.queueMode ? " · queue mode" : ""} · ${session(device)}`);
  set(row.querySelector(".waiting"), String(device.waitingOperations));
  set(row.querySelector(".bytes"), `${count(device.ledger.in.total)} / ${count(device.ledger.out.total)}`);
  set(row.querySelector(".moves"), String(device.ledger.addressChanges));
  const simulated = simulation[device.endpoint];
  row.querySelector(".nat").hidden = simulated === undefined;
  if (simulated !== undefined) {
    const mapping = row.querySelector(".mapping");
    mapping.className = `mapping ${simulated.mapping}`;
    set(mapping, simulated.mapping === "open" ? `open, ${Math.max(0, Math.ceil(simulated.closesIn / 1000))} s left` : "forgotten");
  }
  row.hidden = !device.endpoint.includes(filter.value);
  tick(device.endpoint);
}

/** How the device proves who it is, and what that has cost in handshakes. */
function session({ identity, ledger }) {
  if (identity.kind === "none") return "NoSec";
  if (identity.kind === "oscore") return "OSCORE";
  const { full, resumed } = ledger.handshakes;
  return `DTLS, handshakes ${full} full, ${resumed} resumed`;
}

function tick(endpoint) {
  const device = devices.get(endpoint);
  const row = rows.get(endpoint);
  const now = Date.now() + skew;
  set(row.querySelector(".seen"), ago(now - device.seenAt));
  const progress = row.querySelector("progress");
  if (device.expiresAt === undefined || device.expiresAt === null) {
    progress.hidden = true;
    set(row.querySelector(".left"), "for ever");
    return;
  }
  const left = Math.max(0, device.expiresAt - now);
  progress.hidden = false;
  progress.value = Math.min(1, left / (device.lifetime * 1000));
  set(row.querySelector(".left"), span(left));
}

function drop(endpoint) {
  rows.get(endpoint)?.remove();
  rows.delete(endpoint);
  devices.delete(endpoint);
}

async function order(endpoint) {
  const text = prompt(`Read which path of ${endpoint}?`, "/3303/0/5700");
  if (text === null) return;
  const path = `/${text.trim().replace(/^\/+/, "")}`;
  if (!/^\/\d+(\/\d+){0,3}$/.test(path)) {
    say(`${endpoint}: "${text.slice(0, 40)}" is no path such as /3303/0/5700`, "bad");
    return;
  }
  say(`${endpoint}: read ${path} ordered`);
  try {
    const answer = await fetch(`/api/v1/devices/${encodeURIComponent(endpoint)}${path}?wait=0&expires=3600`);
    const { detail, task } = await answer.json();
    if (!answer.ok && task === undefined) say(`${endpoint}: ${detail}`, "bad"); // of a task the events tell
  } catch {
    say(`${endpoint}: the server does not answer`, "bad");
  }
}

function say(text, kind = "") {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date(Date.now() + skew).toLocaleTimeString();
  item.append(time, ` ${text}`);
  item.className = kind;
  events.prepend(item);
  while (events.children.length > 100) events.lastElementChild.remove();
}

async function refresh() {
  const { json, date } = await get("/api/v1/devices?limit=1000");
  if (date !== null && Math.abs(Date.parse(date) - Date.now()) > 5000) skew = Date.parse(date) - Date.now();
  simulation = (await get("/api/v1/simulation")).json;
  document.body.classList.toggle("simulated", Object.keys(simulation).length > 0);
  const { items, total } = json;
  const names = new Set(items.map(({ endpoint }) => endpoint));
  for (const endpoint of [...rows.keys()]) if (!names.has(endpoint)) drop(endpoint);
  for (const device of items) draw(device);
  drawRefusals((await get("/api/v1/refusals?limit=5")).json.items);
  document.querySelector("#count").textContent = String(total);
  document.querySelector("#shown").textContent = total > items.length ? `The first ${items.length} by name are shown.` : "";
  document.querySelector("#empty").hidden = total > 0;
  document.querySelector("#devices").hidden = total === 0;
}

/** The latest that were not let in: who, from where, which rule, and what to do. */
function drawRefusals(items) {
  const section = document.querySelector("#refusals");
  section.hidden = items.length === 0;
  section.querySelector("ul").replaceChildren(
    ...items.map(({ endpoint, identity, address, code, rule, advice, lastAt, count }) => {
      const item = document.createElement("li");
      const time = document.createElement("time");
      time.textContent = new Date(lastAt).toLocaleTimeString();
      const what = document.createElement("span");
      what.className = "bad";
      const who = [endpoint, identity].filter((one) => one !== undefined).join(", ") || "unknown";
      const times = count === 1 ? "" : `, ${count} times`;
      what.textContent = `${who} from ${address}${times}: ${code === undefined ? "" : `${code}, `}${rule}. `;
      const hint = document.createElement("span");
      hint.className = "hint";
      hint.textContent = advice;
      item.append(time, what, hint);
      return item;
    }),
  );
}

function listen(stream) {
  const on = (name, act) => stream.addEventListener(name, ({ data }) => act(JSON.parse(data)));
  on("registered", ({ device, replaced }) => {
    draw(device);
    say(`${device.endpoint} registered${replaced ? " again" : ""} from ${device.address}`);
  });
  on("updated", ({ device, moved }) => {
    draw(device);
    if (moved) say(`${device.endpoint} came back from ${device.address}: same session, same registration`, "good");
  });
  on("deregistered", ({ endpoint, why }) => {
    if (why === "replaced") return;
    drop(endpoint);
    say(`${endpoint} is gone: ${why}`);
  });
  on("task", (task) => {
    const what = `${task.endpoint}: ${task.operation} ${task.path}`;
    if (task.state === "done") {
      say(`${what}: ${task.answer.code} ${valuesOf(task)}`, task.answer.success ? "good" : "bad");
    } else if (task.state === "waiting" && task.attempts > 0) {
      say(`${what}: no answer, waits for the device's next word`);
    } else if (task.state !== "waiting") say(`${what}: ${task.state} ${task.reason ?? ""}`, "bad");
  });
  on("notification", ({ endpoint, path, answer }) => {
    say(`${endpoint}: ${path} is ${answer.values?.[0]?.value ?? answer.text ?? "?"}`);
  });
}

/** One value as it is, several with their paths. */
function valuesOf({ answer }) {
  const { values = [], text = "" } = answer;
  if (values.length < 2) return String(values[0]?.value ?? text);
  return values.map(({ path, value }) => `${path} = ${value}`).join(", ");
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function ago(ms) {
  return ms < 1500 ? "now" : `${span(ms)} ago`;
}

function span(ms) {
  const s = Math.round(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172_800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} d`;
}

function count(bytes) {
  if (bytes < 10_000) return `${bytes} B`;
  return bytes < 10_000_000 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

filter.addEventListener("input", () => {
  for (const [name, row] of rows) row.hidden = !name.includes(filter.value);
});
setInterval(() => {
  for (const endpoint of rows.keys()) tick(endpoint);
}, 1000);
const logOut = document.querySelector("#log-out");
logOut.addEventListener("click", async () => {
  await fetch("/logout", { method: "POST" }).catch(() => undefined);
  location.replace("/login.html#out");
});
await keepConnected({ refresh, listen });
logOut.hidden = (await get("/api/v1/access")).json.by === "open";
