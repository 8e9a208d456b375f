// The page /lint: sends what was pasted to /v1/lint and shows what it says.

const at = (id) => document.getElementById(id);
const kinds = {
  offer: "An offer", answer: "An answer", candidate: "A candidate", iceServers: "ICE servers", unknown: "Not known",
};

at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const answer = await fetch("/v1/lint", { method: "POST", body: at("text").value, headers: { "Content-Type": "text/plain" } });
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    show(await answer.json());
  } catch (err) {
    show({ kind: "unknown", ok: false, findings: [{ severity: "error", code: "unreachable", message: `It could not be looked at: ${err.message}`, hint: "try again" }] });
  }
});

function show({ kind, ok, findings, mended }) {
  const errors = findings.filter((f) => f.severity === "error").length;
  at("h-result").textContent = `${kinds[kind] ?? kind}: ${ok ? "nothing that keeps it from working" : `${errors} ${errors === 1 ? "error" : "errors"}`}`;
  at("findings").replaceChildren(...findings.map(finding));
  at("mended").hidden = !mended;
  at("text-mended").textContent = mended ?? "";
  at("result").hidden = false;
}

function finding({ severity, code, message, hint }) {
  const li = document.createElement("li");
  li.className = severity;
  const say = (text, tag = "p") => {
    const e = document.createElement(tag);
    e.textContent = text;
    li.append(e);
    return e;
  };
  say(sentence(message)).prepend(Object.assign(document.createElement("strong"), { textContent: `${sentence(severity)} ` }));
  if (hint) say(sentence(hint));
  say(code, "code");
  return li;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
