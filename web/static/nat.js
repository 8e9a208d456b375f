// The NAT page: it does what a browser can, asks the server to judge, and shows
// what that says. It decides nothing itself: verdict and words are the server's.

import { filtering } from "./nat-checks.js";
import { gather, pause } from "./nat-gather.js";
import { draw } from "./nat-picture.js";
import { verify } from "./nat-turn.js";
import { begin, finish, refuse, row, showReport } from "./nat-view.js";

const at = (id) => document.getElementById(id);
const connections = 3; // fresh ones, each asks every STUN endpoint

let last = null; // the report that is shown

async function post(path, body = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), cache: "no-store" });
  } catch {
    throw Object.assign(new Error("the server did not answer"), { code: "unreachable", hint: "Is it still running? Run the test again." });
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  const { code = `http_${answer.status}`, message = "the server refused", hint = "" } = content.error ?? {};
  throw Object.assign(new Error(message), { code, hint });
}

// step is a row of the list while what runs, and after it.
async function step(name, what, outcome) {
  const end = row(name);
  const begun = performance.now();
  try {
    const got = await what();
    end(performance.now() - begun, ...outcome(got));
    return got;
  } catch (err) {
    end(performance.now() - begun, "bad", err.message);
    throw err;
  }
}

async function run() {
  last = null;
  begin();
  draw(at("picture"), null);
  try {
    if (!globalThis.RTCPeerConnection) {
      throw Object.assign(new Error("this browser has no WebRTC"), { code: "no_webrtc", hint: "Somebody switched it off, or an extension did: without it there are no calls either." });
    }
    last = await test();
    finish(last);
    draw(at("picture"), last.report);
  } catch (err) {
    refuse(err);
  }
}

async function test() {
  const begun = performance.now();
  const given = await step("Ask this server", () => post("/v1/nat"), ({ seen }) => ["ok", seen ? `it sees this browser at ${seen}` : "it answers"]);
  const way = `/v1/nat/${given.id}`;
  const mapping = Array.from({ length: connections }, (_, i) => step(`Mapping, connection ${i + 1}`,
    () => gather([{ urls: given.stun }], 20 * i), found));
  const local = {};
  const checks = Object.entries(given.filtering).map(([family, server]) => step(`Filtering, ${family === "v4" ? "IPv4" : "IPv6"}`,
    () => Promise.race([filtering(server, (path, body) => post(`${way}/${family}/${path}`, body)), late()]), passed)
    .then((got) => { local[family] = got.local ?? ""; }, () => {}));
  const relays = given.turn.flatMap((server) => server.urls.map((url) => step(url, () => verify({ ...server, urls: [url] }), relayed)));
  const [trials, turn] = await Promise.all([Promise.all(mapping), Promise.all(relays), Promise.all(checks)]);
  return step("Judge", () => post(`${way}/report`, { ms: performance.now() - begun, trials, turn, local }), () => ["ok", "by the rules of turnkey nattest"]);
}

// late ends a step that packet loss draws out; what the server has seen counts.
const late = () => pause(4800).then(() => ({ skipped: "not over in time: packets get lost" }));

// What the rows say. The verdict is not among it.

function found({ srflx, complete }) {
  const list = srflx.map(({ address, port }) => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`));
  if (!list.length) return ["bad", "no answer from any STUN endpoint"];
  return [complete ? "ok" : "warn", list.join(", ") + (complete ? "" : " (some endpoints are silent)")];
}

function passed({ skipped, rounds, both }) {
  if (skipped) return ["warn", skipped];
  const { sent, control_ok, changed_port_ok, changed_both_ok } = rounds;
  if (!sent) return ["warn", "the way for a control did not open"];
  const far = both ? `, from the other address ${changed_both_ok}` : "";
  return ["ok", `${sent} ${sent === 1 ? "round" : "rounds"}, arrived: control ${control_ok}, from the other port ${changed_port_ok}${far}`];
}

function relayed({ stages, rtt_ms, code }) {
  const failed = stages.find((s) => !s.ok);
  if (failed) return ["bad", `failed at ${failed.name}${code ? `, error ${code}` : ""}`];
  return ["ok", `${rtt_ms.toFixed(1)} ms there and back; ${stages.map((s) => `${s.name} ${Math.round(s.ms)}`).join(", ")} ms`];
}

// --- buttons

async function copy() {
  const { report, text } = last;
  const all = `${text}\n${JSON.stringify(report, null, 2)}\n`;
  let done = false;
  try {
    await navigator.clipboard.writeText(all);
    done = true;
  } catch { // no clipboard over plain http
    const field = Object.assign(document.createElement("textarea"), { value: all, ariaLabel: "Report" });
    at("copy").after(field);
    field.select();
    done = document.execCommand("copy");
    field.remove();
  }
  at("copy").textContent = done ? "Copied" : "Copy it from below";
  setTimeout(() => { at("copy").textContent = "Copy report"; }, 2000);
  at("copy").focus();
}

at("copy").addEventListener("click", copy);
at("again").addEventListener("click", run);
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", at("key").value.trim());
  run();
});
new ResizeObserver(() => draw(at("picture"), last?.report ?? null)).observe(at("picture"));
globalThis.natReport = () => (last ? showReport(last) : null); // for who drives the page
run();
