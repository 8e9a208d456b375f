// How a pair is connected: what getStats() of either browser says, in one
// shape and in words.

/**
 * One sample of a peer connection.
 *   local, remote  {type, protocol, relay, address, relayed} of the selected pair; type is host, srflx, prflx
 *                  or relay, and relay the transport to the TURN server, where the browser tells
 *   transport      udp, tcp or tls: of this side's first hop
 *   rtt            ms, or undefined
 *   in, out        {bytes, rate} with rate in bit/s since before
 *   lossIn, lossOut  0 to 1 since before, or undefined
 * Returns null while nothing is selected.
 */
export async function sample(pc, before) {
  const stats = [...(await pc.getStats()).values()];
  const pair = selected(stats);
  if (!pair) return null;
  const at = pair.timestamp;
  const local = candidate(stats, pair.localCandidateId);
  const remote = candidate(stats, pair.remoteCandidateId);
  remote.relayed = remote.type === "relay" || isRelay(remote, pc.remoteDescription);
  const back = of(stats, "remote-inbound-rtp");
  const rtt = pair.currentRoundTripTime ?? back.find((s) => s.roundTripTime !== undefined)?.roundTripTime;
  const same = before?.pair === pair.id ? before : undefined;
  const inbound = of(stats, "inbound-rtp");
  const lost = sum(inbound, "packetsLost");
  const got = sum(inbound, "packetsReceived");
  return {
    pair: pair.id, at, local, remote, lost, got,
    transport: local.relay || local.protocol,
    rtt: rtt === undefined ? undefined : rtt * 1000,
    in: flow(pair.bytesReceived, same?.in, at, same?.at),
    out: flow(pair.bytesSent, same?.out, at, same?.at),
    lossIn: before && share(lost - before.lost, got - before.got),
    lossOut: back.length ? Math.max(...back.map((s) => s.fractionLost ?? 0)) : undefined,
  };
}

// Chromium names the pair on the transport, Firefox marks it as selected.
function selected(stats) {
  const named = of(stats, "transport").find((s) => s.selectedCandidatePairId)?.selectedCandidatePairId;
  const pairs = of(stats, "candidate-pair");
  return pairs.find((s) => s.id === named) ?? pairs.find((s) => s.selected);
}

function candidate(stats, id) {
  const c = stats.find((s) => s.id === id) ?? {};
  const host = c.address ?? c.ip ?? "";
  return {
    type: c.candidateType ?? "unknown",
    protocol: c.protocol ?? "",
    relay: c.candidateType === "relay" ? c.relayProtocol ?? "" : "",
    relayed: c.candidateType === "relay",
    address: host && (host.includes(":") ? `[${host}]:${c.port}` : `${host}:${c.port}`),
  };
}

// A relay whose packets were faster than its candidate is called peer-reflexive.
function isRelay({ type, address }, description) {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? [];
  return type === "prflx" && Boolean(port) && Boolean(description?.sdp.includes(` ${host} ${port} typ relay`));
}

const of = (stats, type) => stats.filter((s) => s.type === type);
const sum = (list, name) => list.reduce((n, s) => n + (s[name] ?? 0), 0);
const share = (lost, got) => (lost + got > 0 ? Math.max(0, lost) / (Math.max(0, lost) + got) : 0);

function flow(bytes = 0, before, at, since) {
  const rate = before && at > since ? Math.max(0, bytes - before.bytes) * 8000 / (at - since) : 0;
  return { bytes, rate };
}

export const kinds = {
  host: "host", srflx: "server-reflexive", prflx: "peer-reflexive", relay: "relay", unknown: "unknown",
};

/** The path in a sentence; who is the other's name. */
export function sentence({ local, remote, transport }, who) {
  const over = transport ? ` over ${transport.toUpperCase()}` : "";
  if (local.relayed && remote.relayed) return `Through a relay on each side; yours is reached${over}.`;
  if (local.relayed) return `Through a relay on your side, reached${over}.`;
  if (remote.relayed) return `Through a relay on the side of ${who}${over}.`;
  if (local.type === "host" && remote.type === "host") return `Direct from host to host${over}; no server in between.`;
  return `Direct${over} (${kinds[local.type]} here, ${kinds[remote.type]} there); no server in between.`;
}

/** The path in two words, for a badge. */
export function brief({ local, remote, rtt }) {
  const path = local.relayed || remote.relayed ? "relay" : "direct";
  return rtt === undefined ? path : `${path} · ${milliseconds(rtt)}`;
}

export const milliseconds = (ms) => (ms < 1 ? "below 1 ms" : `${Math.round(ms)} ms`);
export const percent = (part) => (part === undefined ? "–" : `${(part * 100).toFixed(1)} %`);

export function bits(rate) {
  if (rate >= 1e6) return `${(rate / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(rate / 1e3)} kbit/s`;
}
