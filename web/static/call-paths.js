// The panel that says, for each peer, how it is connected: a card with a
// sentence, numbers, and a plot of the last minute.

import { bits, brief, kinds, milliseconds, percent, sample, sentence } from "./call-stats.js";

const length = 60; // samples in the plot, one each second

/** Adds a card for a peer and keeps it up to date until the peer has left. */
export function follow(peer, who, tile) {
  const card = document.getElementById("path").content.cloneNode(true).firstElementChild;
  card.dataset.peer = peer.id;
  card.querySelector("h3").textContent = who;
  document.getElementById("path-list").append(card);
  const past = [];
  const update = async () => {
    const now = await sample(peer.pc, past.at(-1));
    if (now) past.push(now);
    if (past.length > length) past.shift();
    state(card, tile, peer.state, now);
    if (now) facts(card, who, now);
    plot(card, past, who);
  };
  const timer = setInterval(update, 1000);
  const soon = () => { update(); };
  peer.addEventListener("state", soon);
  peer.addEventListener("left", () => {
    clearInterval(timer);
    peer.removeEventListener("state", soon);
    card.remove();
  });
  update();
}

const words = {
  new: ["connecting", ""], connecting: ["connecting", ""], connected: ["connected", "ok"],
  disconnected: ["interrupted", "warn"], failed: ["no way through", "bad"], closed: ["closed", ""],
};

function state(card, tile, name, now) {
  const [word, mood] = words[name];
  const pill = card.querySelector(".pill");
  pill.textContent = word;
  pill.className = `pill ${mood}`;
  tile.badge(name === "connected" && now ? brief(now) : word, name === "connected" ? "" : mood || "warn");
  if (now) return;
  card.querySelector(".sentence").textContent = name === "failed"
    ? "No pair of addresses works. If relays are allowed, is the server's relay port range open? Trying again."
    : "Looking for a path.";
}

function facts(card, who, now) {
  const set = (name, text) => { card.querySelector(`[data-fact=${name}]`).textContent = text; };
  const end = ({ type, address }) => (address ? `${kinds[type]}, ${address}` : kinds[type]);
  card.querySelector(".sentence").textContent = sentence(now, who);
  set("rtt", now.rtt === undefined ? "–" : milliseconds(now.rtt));
  set("in", bits(now.in.rate));
  set("out", bits(now.out.rate));
  set("loss", `${percent(now.lossIn)} received, ${percent(now.lossOut)} sent`);
  set("local", end(now.local));
  set("remote", end(now.remote));
  set("transport", now.transport ? now.transport.toUpperCase() + (now.local.type === "relay" ? " to the relay" : "") : "–");
}

function plot(card, past, who) {
  const top = scale(Math.max(...past.map((s) => Math.max(s.in.rate, s.out.rate)), 64_000));
  const step = 300 / (length - 1);
  const line = (way) => past
    .map((s, i) => `${(300 - (past.length - 1 - i) * step).toFixed(1)},${(62 - (s[way].rate / top) * 60).toFixed(1)}`)
    .join(" ");
  for (const way of ["in", "out"]) card.querySelector(`polyline.${way}`).setAttribute("points", line(way));
  card.querySelector(".top").textContent = `1 min, to ${bits(top)}`;
  const last = past.at(-1);
  card.querySelector(".plot").setAttribute("aria-label",
    last ? `Bitrate with ${who} over the last minute; now ${bits(last.in.rate)} received, ${bits(last.out.rate)} sent` : "No bitrate yet");
}

// The next of 1, 2, 5, 10, 20, 50 … that is not below n.
function scale(n) {
  const ten = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].map((f) => f * ten).find((s) => s >= n);
}
