// The way as a picture: this device, its NAT, and from there the two ways to
// other people, direct or through this server. It is drawn for the width there
// is, so that its text has the size of the page's.

const ns = "http://www.w3.org/2000/svg";
const direct = { not_required: "ok", unlikely: "ok", likely: "warn", required: "bad" };
const relayed = { ok: "ok", failed: "bad" };
const narrow = 620; // CSS pixels

/** Draws what a report says into box, or the bare way if it is null. */
export function draw(box, report) {
  const width = Math.floor(box.clientWidth);
  if (!width) return;
  const nodes = describe(report);
  const places = width < narrow ? upright(width) : lying(width);
  const svg = make("svg", { width, height: places.height, viewBox: `0 0 ${width} ${places.height}`, role: "img", "aria-label": sentence(nodes) });
  for (const [name, d] of Object.entries(places.lines)) svg.append(make("path", { d, class: `way ${nodes.ways[name]}` }));
  for (const [name, x, y, anchor] of places.words) svg.append(text(nodes.words[name], x, y, `word ${nodes.ways[name]}`, anchor));
  for (const name of ["device", "nat", "peers", "server"]) svg.append(...node(nodes[name], places[name]));
  box.replaceChildren(svg);
}

// describe is what stands where.
function describe(report) {
  const f = report && (report.v4.udp === "not_tested" && report.v6.udp !== "not_tested" ? report.v6 : report.v4);
  const urls = report?.turn.urls.filter((u) => u.state === "ok").map((u) => transport(u.url)) ?? [];
  const verdict = report?.verdict.relay;
  const behavior = (b) => (b.behavior === "unknown" || b.behavior === "not_tested" ? (b.possible.length < 3 ? b.possible.map(short).join(" or ") : "unknown") : short(b.behavior));
  return {
    device: { title: "This device", lines: [f?.udp === "blocked" ? "UDP blocked" : ""] },
    nat: {
      title: f?.nat === "no" ? "No NAT" : f?.udp === "blocked" ? "Firewall" : "NAT",
      lines: f ? [f.mapped[0]?.address ?? "", f.udp === "blocked" ? "" : `maps: ${behavior(f.mapping)}`, f.udp === "blocked" ? "" : `filters: ${behavior(f.filtering)}`] : [],
    },
    peers: { title: "Other people", lines: [] },
    server: { title: "This server", lines: report ? [f.rtt_ms ? `${f.rtt_ms.toFixed(1)} ms` : "", urls.length ? `relays: ${[...new Set(urls)].join(", ")}` : "no relay works"] : [] },
    ways: { up: report ? "known" : "", direct: direct[verdict] ?? "", relay: relayed[report?.turn.state] ?? "", over: relayed[report?.turn.state] ?? "" },
    words: {
      direct: { not_required: "direct", unlikely: "direct to most", likely: "direct to some", required: f?.udp === "blocked" ? "no direct way" : "direct to few" }[verdict] ?? "direct?",
      relay: { ok: "relay works", failed: "relay fails" }[report?.turn.state] ?? "relay?",
    },
  };
}

const short = (b) => ({ "endpoint-independent": "by socket", "address-dependent": "by address", "address-and-port-dependent": "by address and port" })[b] ?? b;
const transport = (url) => (url.startsWith("turns:") ? "TLS" : url.endsWith("tcp") ? "TCP" : "UDP");

function sentence({ nat, words, server }) {
  return `This device, then ${[nat.title, ...nat.lines].filter(Boolean).join(", ")}; to other people: ${words.direct}; through this server: ${words.relay}${server.lines.length ? ` (${server.lines.filter(Boolean).join(", ")})` : ""}.`;
}

// Places, for a wide and for a narrow page.

function lying(w) {
  const box = Math.min(230, Math.floor((w - 120) / 3));
  const [x2, x3] = [Math.round((w - box) / 2), w - box];
  const device = { x: 0, y: 78, w: box, h: 84 };
  const nat = { x: x2, y: 68, w: box, h: 104 };
  const peers = { x: x3, y: 4, w: box, h: 72 };
  const server = { x: x3, y: 160, w: box, h: 84 };
  const right = x2 + box;
  return {
    device, nat, peers, server, height: 250,
    lines: {
      up: `M${box} 120H${x2}`,
      direct: `M${right} 104C${right + 40} 104 ${x3 - 40} 40 ${x3} 40`,
      relay: `M${right} 136C${right + 40} 136 ${x3 - 40} 202 ${x3} 202`,
      over: `M${x3 + box / 2} 160V76`,
    },
    words: [["direct", x3 - 14, 26, "end"], ["relay", x3 - 14, 226, "end"]],
  };
}

function upright(w) {
  const half = Math.floor((w - 24) / 2);
  const wide = Math.min(w, 300);
  const x = Math.round((w - wide) / 2);
  const [mid, left] = [w / 2, Math.round(half * 0.78)];
  return {
    device: { x, y: 0, w: wide, h: 60 }, nat: { x, y: 92, w: wide, h: 104 },
    peers: { x: 0, y: 272, w: half, h: 84 }, server: { x: w - half, y: 272, w: half, h: 84 }, height: 360,
    lines: {
      up: `M${mid} 60V92`, direct: `M${mid - 20} 196C${mid - 20} 240 ${left} 228 ${left} 272`,
      relay: `M${mid + 20} 196C${mid + 20} 240 ${w - left} 228 ${w - left} 272`, over: `M${half} 314H${w - half}`,
    },
    words: [["direct", left - 12, 260, "end"], ["relay", w - left + 12, 260, "start"]],
  };
}

function node({ title, lines }, { x, y, w, h }) {
  const shown = lines.filter(Boolean);
  const top = y + h / 2 - (shown.length * 20) / 2 + 5;
  return [
    make("rect", { x: x + 1, y: y + 1, width: w - 2, height: h - 2, rx: 10, class: "node" }),
    text(title, x + w / 2, top, "title"),
    ...shown.map((line, i) => text(fit(line, w), x + w / 2, top + 20 * (i + 1), "line")),
  ];
}

const fit = (line, w) => (line.length * 7.4 <= w - 16 ? line : `${line.slice(0, Math.floor((w - 16) / 7.4) - 1)}…`);

function text(content, x, y, className, anchor = "middle") {
  const e = make("text", { x, y, class: className, "text-anchor": anchor });
  e.textContent = content;
  return e;
}

function make(name, attributes) {
  const e = document.createElementNS(ns, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  return e;
}
