// One TURN URL: two peer connections of this page that may use nothing else,
// and a few messages from one to the other and back.

import { pause } from "./nat-gather.js";

const limit = 4000; // ms
const rounds = 5;

/**
 * @param {RTCIceServer} server  with a single URL
 * @returns {Promise<{url: string, stages: object[], rtt_ms: number, code: number}>}
 */
export async function verify(server) {
  const out = { url: server.urls[0], stages: [], rtt_ms: 0, code: 0 };
  const config = { iceServers: [server], iceTransportPolicy: "relay" };
  const [a, b] = [new RTCPeerConnection(config), new RTCPeerConnection(config)];
  for (const pc of [a, b]) pc.addEventListener("icecandidateerror", ({ errorCode }) => { out.code ||= errorCode; });
  let since = performance.now();
  const end = pause(limit).then(() => false);
  const stage = async (name, what) => {
    const ok = await Promise.race([what, end]);
    out.stages.push({ name, ok: Boolean(ok), ms: performance.now() - since });
    since = performance.now();
    return ok;
  };
  try {
    const channel = a.createDataChannel("nat", { negotiated: true, id: 0, ordered: false, maxRetransmits: 0 });
    const echo = b.createDataChannel("nat", { negotiated: true, id: 0, ordered: false, maxRetransmits: 0 });
    echo.onmessage = ({ data }) => echo.send(data);
    const allocated = Promise.all([trickle(a, b), trickle(b, a)]).then((both) => both.every(Boolean));
    const open = new Promise((resolve) => { channel.onopen = () => resolve(true); });
    await a.setLocalDescription(await a.createOffer());
    await b.setRemoteDescription(a.localDescription);
    await b.setLocalDescription(await b.createAnswer());
    await a.setRemoteDescription(b.localDescription);
    if (await stage("allocate", allocated) && await stage("connect", open)) await stage("relay", roundTrips(channel, out));
  } finally {
    a.close();
    b.close();
  }
  if (out.stages.every((s) => s.ok)) out.code = 0; // of an address that was not needed
  return out;
}

// trickle hands the candidates of one to the other; it resolves to whether
// there was one.
function trickle(from, to) {
  return new Promise((resolve) => {
    const waiting = [];
    const add = (candidate) => to.addIceCandidate(candidate).catch(() => {}); // closed meanwhile
    to.addEventListener("signalingstatechange", () => { if (to.remoteDescription) waiting.splice(0).forEach(add); });
    from.addEventListener("icecandidate", ({ candidate }) => {
      if (!candidate) resolve(false);
      if (!candidate?.candidate) return;
      resolve(true);
      if (to.remoteDescription) add(candidate);
      else waiting.push(candidate);
    });
  });
}

// roundTrips takes the mean of a few, for the clocks of browsers are coarse;
// what is lost is sent again.
async function roundTrips(channel, out) {
  const all = performance.now();
  for (let i = 0; i < rounds; i++) {
    const back = new Promise((resolve) => { channel.onmessage = ({ data }) => { if (data === String(i)) resolve(true); }; });
    do channel.send(String(i)); while (!(await Promise.race([back, pause(500).then(() => channel.readyState !== "open")])));
  }
  out.rtt_ms = (performance.now() - all) / rounds;
  return true;
}
