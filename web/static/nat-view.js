// What the NAT page shows: rows while it tests, then the server's report in the
// server's words.

const at = (id) => document.getElementById(id);

const moods = { not_required: "ok", unlikely: "ok", likely: "warn", required: "bad", unknown: "" };
const marks = { ok: "OK", warn: "Partly", bad: "Failed", "": "…" };

/** Clears the page for a new test. */
export function begin() {
  pill("", "Testing");
  at("headline").textContent = "Testing…";
  at("why").replaceChildren(element("p", "It takes a second or two, and a few more where something is blocked.", "muted"));
  at("steps").replaceChildren();
  at("facts").replaceChildren(element("p", "As soon as the test is over.", "muted"));
  at("problem").hidden = at("key-form").hidden = at("whole").hidden = true;
  at("again").disabled = at("copy").disabled = true;
}

/**
 * Adds a running step; what it returns ends it.
 * @returns {(ms: number, mood: "ok" | "warn" | "bad", outcome: string) => void}
 */
export function row(name) {
  const item = document.createElement("li");
  const mark = element("span", marks[""], "mark");
  const time = element("span", "", "time");
  const outcome = element("span", "", "outcome");
  item.append(mark, element("span", name, "name"), time, outcome);
  at("steps").append(item);
  return (ms, mood, text) => {
    item.className = mood;
    mark.textContent = marks[mood];
    time.textContent = `${Math.round(ms)} ms`;
    outcome.textContent = text;
  };
}

/** Shows the report. */
export function finish({ report, text }) {
  const [headline] = text.split("\n");
  const { relay, reason, scope, advice, caveats = [] } = report.verdict;
  pill(moods[relay] ?? "", `verdict: ${relay.replaceAll("_", " ")}`);
  at("headline").textContent = headline;
  at("why").replaceChildren(...[reason, scope && `${capital(scope)}.`, advice].filter(Boolean).map((s) => element("p", s)),
    ...caveats.map((s) => element("p", `Note: ${s}.`, "muted")));
  at("facts").replaceChildren(...family("IPv4", report.v4), ...family("IPv6", report.v6), ...turn(report.turn));
  at("text").textContent = text;
  at("json").textContent = JSON.stringify(report, null, 2);
  at("whole").hidden = false;
  at("again").disabled = at("copy").disabled = false;
}

/** What there is to see, for who drives the page. */
export function showReport({ report, text }) {
  return { report, text, headline: at("headline").textContent, steps: [...at("steps").children].map((li) => [li.className, li.textContent]) };
}

/** Shows why there is no report, and what to do about it. */
export function refuse({ code = "", message, hint = "" }) {
  pill("bad", "No result");
  at("headline").textContent = "The test could not be made";
  at("why").replaceChildren();
  at("problem").replaceChildren(element("strong", `${capital(message)}.`), ` ${hint.replaceAll("`", "")} `, element("code", code));
  at("problem").hidden = false;
  at("key-form").hidden = !/^(auth|token)_|^(address|host|forwarded)_denied$/.test(code);
  if (!at("key-form").hidden) sessionStorage.removeItem("key");
  at("again").disabled = false;
}

function family(name, f) {
  if (f.udp === "not_tested") return [element("h3", name), element("p", `Not tested: ${f.why}.`, "muted")];
  const facts = [
    ["Public address", f.mapped.map((m) => m.address).join(", ")],
    ["NAT", f.nat],
    ["Mapping", known(f.mapping)],
    ["Filtering", known(f.filtering)],
    ["Known as", f.classic],
    ["Keeps the port", f.port_preservation],
    ["Unsolicited packets disturb it", f.inbound_disturbs.replaceAll("_", " ")],
    ["UDP", f.udp.replaceAll("_", " ")],
  ];
  const list = document.createElement("dl");
  for (const [what, is] of facts) if (is) list.append(element("dt", what), element("dd", is));
  return [element("h3", name), list];
}

// known is a behavior with its confidence, or what is still possible.
function known({ behavior, possible, level }) {
  if (behavior !== "unknown") return level === "none" ? behavior.replaceAll("_", " ") : `${behavior}, confidence ${level}`;
  return possible.length > 0 && possible.length < 3 ? `${possible.join(" or ")}` : "unknown";
}

function turn({ state, why, urls }) {
  const out = [element("h3", "TURN")];
  if (!urls.length) return [...out, element("p", `${capital(state.replaceAll("_", " "))}: ${why}.`, "muted")];
  const list = element("dl", "", "urls");
  for (const u of urls) {
    const says = { ok: `works, ${u.rtt_ms?.toFixed(1)} ms there and back`, failed: `failed at ${u.failed}: ${u.reason}. ${u.hint ?? ""}`, not_tested: `not tested: ${u.reason}` };
    const name = document.createElement("dt");
    name.append(element("code", u.url));
    list.append(name, element("dd", says[u.state], u.state === "failed" ? "failed" : ""));
  }
  return [...out, list];
}

function pill(mood, text) {
  at("mood").className = `pill ${mood}`;
  at("mood").textContent = text;
}

const capital = (s) => s.charAt(0).toUpperCase() + s.slice(1);

function element(name, text, className = "") {
  const e = document.createElement(name);
  e.textContent = text;
  if (className) e.className = className;
  return e;
}
