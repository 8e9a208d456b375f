// The call page: a lobby, a call of up to eight, and the lobby again. What
// goes over the wire is turnkey.js's business; this file joins it to the page.
//
// The address names the room: /call#ROOM. It may carry more, as in
// #ROOM&token=…&name=…&relay; all of it stays in the browser, for what stands
// behind # reaches neither servers nor their logs nor referrers.

import { join } from "/turnkey.js";
import { Chat } from "./call-chat.js";
import { attend } from "./call-doctor.js";
import { Media } from "./call-media.js";
import { follow } from "./call-paths.js";
import { Tile } from "./call-tiles.js";

const at = (id) => document.getElementById(id);
const media = new Media();
const preview = new Tile(media.stream, "You");
preview.video.muted = true;
preview.element.classList.add("self");
const chat = new Chat(say);
let room = null; // while in a call

readAddress();
preview.face(at("name").value || "You");
addEventListener("hashchange", () => location.reload()); // another room
addEventListener("pagehide", () => room?.leave());

// --- address and key

function readAddress() {
  const [name, ...rest] = location.hash.slice(1).split("&");
  const given = new URLSearchParams(rest.join("&"));
  const wanted = decodeURIComponent(name);
  const valid = /^[A-Za-z0-9._~-]{1,64}$/.test(wanted);
  const chosen = valid ? wanted : randomRoom();
  if (given.get("token")) sessionStorage.setItem("key", given.get("token"));
  if (given.has("relay")) for (const box of relayBoxes()) box.checked = true;
  at("name").value = given.get("name") ?? sessionStorage.getItem("name") ?? "";
  at("room").textContent = chosen;
  document.title = `${chosen} - turnkey call`;
  history.replaceState(null, "", `#${chosen}`); // and so the token leaves the address
  if (wanted && !valid) tell("problem", "That is no name for a room.", "It has 1 to 64 letters, digits and . _ ~ - in it. Here is a new one.");
}

function randomRoom() {
  const letters = "abcdefghijkmnpqrstuvwxyz23456789"; // 32, none that looks like another
  return [...crypto.getRandomValues(new Uint8Array(12))]
    .map((n, i) => (i && i % 4 === 0 ? "-" : "") + letters[n % 32]).join("");
}

// --- lobby

function tell(id, title, text, code) {
  const strong = document.createElement("strong");
  strong.textContent = title;
  const parts = [strong, ` ${text}`];
  if (code) parts.push(" ", Object.assign(document.createElement("code"), { textContent: code }));
  at(id).replaceChildren(...parts);
  at(id).hidden = false;
}

async function openDevices() {
  at("notice").hidden = true;
  await media.open();
  const { problem } = media;
  at("again").hidden = !problem?.again;
  if (problem) tell("notice", problem.title, problem.text);
}

function enter(event) {
  event.preventDefault();
  const name = at("name").value.trim();
  const key = at("key").value.trim();
  sessionStorage.setItem("name", name);
  if (key) sessionStorage.setItem("key", key);
  at("problem").hidden = true;
  at("join").disabled = true;
  at("join").textContent = "Joining…";
  room = join(at("room").textContent, {
    name: name || "Guest",
    token: sessionStorage.getItem("key") ?? "",
    stream: media.stream,
    iceTransportPolicy: relayBoxes()[0].checked ? "relay" : "all",
  });
  room.addEventListener("state", ({ detail }) => states[detail]());
  room.addEventListener("peer", ({ detail }) => meet(detail));
  room.addEventListener("error", ({ detail }) => refuse(detail));
  room.addEventListener("warning", ({ detail: { code, message, hint } }) => console.warn(`${code}: ${message}; ${hint}`));
}

const states = {
  joined() {
    if (at("stage").hidden) view("in-call");
    link("", "");
    say("You are in the call.");
  },
  reconnecting() { link("Server lost, coming back", "warn"); },
  closed() {
    room = null;
    chat.close();
    view("lobby");
    if (at("problem").hidden) {
      at("lobby-title").textContent = "You left the call";
      at("lobby-text").textContent = "The room stays where it is: join again whenever you like.";
      at("join").focus();
    }
  },
};

function link(text, mood) {
  at("link-state").hidden = !text;
  at("link-state").className = `pill ${mood}`;
  at("link-state").textContent = text;
}

function view(name) {
  const inCall = name === "in-call";
  at("call").classList.toggle("in-call", inCall);
  at("lobby").hidden = inCall;
  at("stage").hidden = !inCall;
  at("join").disabled = false;
  at("join").textContent = inCall ? "" : "Join the call";
  panel(null);
  preview.enter(inCall ? undefined : at("preview"));
  if (inCall) at("problem").hidden = true;
  alone();
  if (inCall) at(media.audio ? "mic" : "show-chat").focus();
}

// A key may help against every refusal but those of the page's origin.
function refuse({ code, message, hint = "", fatal }) {
  const text = `${message.charAt(0).toUpperCase()}${message.slice(1).replace(/\.?$/, ".")}`;
  if (!fatal && room?.state === "joined") {
    say(text);
    return;
  }
  // The server's hint is for programs; a person has a field for it.
  const here = `Enter it below: the server's TURNKEY_API_KEY, or what "turnkey token -room ${at("room").textContent}" prints on the server.`;
  tell("problem", text, code === "auth_required" ? here : hint.replaceAll("`", ""), code);
  if (/^(auth|token)_|^(address|host|forwarded|room)_denied$/.test(code)) {
    sessionStorage.removeItem("key");
    at("key-row").hidden = false;
    at("key").focus();
  }
}

// --- people

function meet(peer) {
  const who = peer.name || "Guest";
  const tile = new Tile(peer.stream, who);
  tile.enter();
  follow(peer, who, tile);
  attend(peer, who, room);
  alone();
  if (!peer.present) say(`${who} joined.`, true);
  let told = false; // another program than this page tells nothing of its state
  peer.addEventListener("track", ({ detail: track }) => {
    track.addEventListener("unmute", () => told || tile.show({ audio: true, video: track.kind === "video" }));
  });
  peer.addEventListener("open", () => peer.send(JSON.stringify({ state: media.state })));
  peer.addEventListener("message", ({ detail }) => {
    const { state, text } = parse(detail);
    if (state) tile.show(told = state);
    if (text) chat.add(who, text);
  });
  peer.addEventListener("away", () => say(`${who} has lost the server.`));
  peer.addEventListener("left", ({ detail }) => {
    tile.leave();
    alone();
    if (!["own", "renewed", "rejoined"].includes(detail)) say(`${who} left.`, true);
  });
}

// The other end may be any program.
function parse(message) {
  try {
    const { state, text } = JSON.parse(message);
    return { state, text: typeof text === "string" ? text.slice(0, 2000) : "" };
  } catch {
    return {};
  }
}

function alone() {
  at("alone").hidden = Boolean(room?.peers.size);
  at("no-paths").hidden = Boolean(room?.peers.size);
}

/** Tells a screen reader, and with keep also the chat. */
function say(text, keep = false) {
  if (!keep || at("chat").hidden) at("announce").textContent = text; // the open chat is read out by itself
  if (keep) chat.note(text);
}

// --- tools

function relayBoxes() { return [...document.querySelectorAll("input.relay")]; }

function sent(kind) {
  room?.replaceTrack(kind, media[kind]);
  room?.send(JSON.stringify({ state: media.state }));
  const { audio, video, screen } = media.state;
  preview.show(media.state);
  preview.element.classList.toggle("mirror", !screen);
  const camera = video && !screen;
  tool("mic", audio ? "" : "off", audio ? "mic" : "mic-off", audio ? "Mute" : "Unmute", media.audio);
  tool("cam", camera ? "" : "off", camera ? "cam" : "cam-off", camera ? "Stop camera" : "Start camera", navigator.mediaDevices);
  tool("screen", screen ? "on" : "", "screen", screen ? "Stop sharing" : "Share screen", media.canShare);
}

// The label is what pressing does.
function tool(id, mood, icon, label, possible) {
  const button = at(id);
  button.dataset.mood = mood;
  button.disabled = !possible;
  button.querySelector("use").setAttribute("href", `#i-${icon}`);
  button.querySelector(".label").textContent = label;
}

// Refused or dismissed: nothing changes, and the reason is told.
const attempt = (what) => () => what().catch((err) => say(`That did not work: ${err.message}`, true));

function panel(id) {
  for (const name of ["chat", "paths"]) {
    at(name).hidden = name !== id;
    at(`show-${name}`).setAttribute("aria-expanded", String(name === id));
  }
  if (id === "chat") chat.open();
}

const toggle = (id) => panel(at(id).hidden ? id : null);

async function copyLink() {
  const text = at("copy-link").querySelector("span");
  try {
    await navigator.clipboard.writeText(location.href);
    text.textContent = "Copied";
  } catch { // no clipboard over plain http
    const field = Object.assign(document.createElement("input"), { value: location.href });
    at("copy-link").after(field);
    field.select();
    text.textContent = document.execCommand("copy") ? "Copied" : "Copy it from the address bar";
    field.remove();
  }
  say(text.textContent);
  setTimeout(() => { text.textContent = "Copy link"; }, 2000);
}

media.onchange = sent;
at("enter").addEventListener("submit", enter);
at("name").addEventListener("input", () => preview.face(at("name").value || "You"));
at("again").addEventListener("click", openDevices);
at("copy-link").addEventListener("click", copyLink);
at("mic").addEventListener("click", () => media.mute(media.audio.enabled));
at("cam").addEventListener("click", attempt(() => media.camera(!media.video || media.screen)));
at("screen").addEventListener("click", attempt(() => (media.screen ? media.unshare() : media.share())));
at("show-chat").addEventListener("click", () => toggle("chat"));
at("show-paths").addEventListener("click", () => toggle("paths"));
at("leave").addEventListener("click", () => room?.leave());
at("tiles").addEventListener("click", ({ target }) => target.closest(".badge") && panel("paths"));
at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text || !room) return;
  room.send(JSON.stringify({ text }));
  chat.add("You", text);
  at("text").value = "";
});
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => shut(button.dataset.close));
}
for (const box of relayBoxes()) {
  box.addEventListener("change", () => {
    for (const other of relayBoxes()) other.checked = box.checked;
    room?.setIceTransportPolicy(box.checked ? "relay" : "all");
  });
}
document.addEventListener("keydown", ({ key }) => {
  const open = ["chat", "paths"].find((id) => !at(id).hidden);
  if (key === "Escape" && open) shut(open);
});

function shut(id) {
  panel(null);
  at(`show-${id}`).focus();
}

sent("audio");
view("lobby");
openDevices();
