// The landing page: asks /v1/ice as any page would, and shows what came, or
// why nothing came and what to do about it.

const at = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

at("fetch").textContent = `const { iceServers } = await (await fetch("${location.origin}/v1/ice")).json();
const pc = new RTCPeerConnection({ iceServers });`;

async function ask(key) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  try {
    const answer = await fetch("/v1/ice", { headers, cache: "no-store" });
    const body = await answer.json();
    if (answer.ok) show(body);
    else refuse(body.error);
  } catch {
    refuse({ code: "unreachable", message: "The server did not answer.", hint: "Is it still running? Reload to ask again." });
  }
}

function show({ iceServers, expiresAt }) {
  at("snippet").textContent = `const pc = new RTCPeerConnection({\n  iceServers: ${lines(iceServers)}\n});`;
  say("state ok", "Paste this into a page to try it. New relays can be made with it until ", strong(clock.format(new Date(expiresAt))), ".");
  at("given").hidden = at("copy").hidden = false;
  at("key-form").hidden = at("how").hidden = true;
}

function refuse({ code, message, hint }) {
  say("state bad", strong(sentence(message)), " ", ...ticks(hint), " ", element("code", code));
  at("given").hidden = at("copy").hidden = true;
  at("key-form").hidden = at("how").hidden = code === "unreachable" || code === "rate_limited";
}

// As a person would write it: names unquoted, a line for each URL.
const lines = (servers) => JSON.stringify(servers, null, 2)
  .replace(/^( *)"(\w+)":/gm, "$1$2:")
  .replace(/\n/g, "\n  ");

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.?$/, ".");
const ticks = (text) => text.split("`").map((part, i) => (i % 2 ? element("code", part) : part));
const strong = (text) => element("strong", text);

function element(name, text) {
  const e = document.createElement(name);
  e.textContent = text;
  return e;
}

function say(className, ...parts) {
  at("state").className = className;
  at("state").replaceChildren(...parts);
}

// The clipboard API is missing over plain http from another host; there, the
// selection is copied, or at least left for the person to copy.
async function copy() {
  const button = at("copy");
  let done = false;
  try {
    await navigator.clipboard.writeText(at("snippet").textContent);
    done = true;
  } catch {
    getSelection().selectAllChildren(at("snippet"));
    done = document.execCommand("copy");
  }
  button.textContent = done ? "Copied" : "Press Ctrl+C";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

at("copy").addEventListener("click", copy);
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(at("key").value.trim());
});
ask("");
