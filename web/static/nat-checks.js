// Filtering: the server sends ICE checks to a peer connection of this page from
// its other ports and addresses; those that come through are answered by the
// browser itself. The page only introduces the two, and sends where it is told.

import { offer, pause } from "./nat-gather.js";

const limit = 3200; // ms, for the Allocate that proves our address to the server
const patience = 1500; // ms, for an answered check

/**
 * @param {RTCIceServer} server  TURN over UDP at the server's first address
 * @param {(path: string, body?: object) => Promise<object>} post
 * @returns {Promise<{rounds?: object, both?: boolean, local?: string, skipped?: string}>}
 */
export async function filtering(server, post) {
  const pc = new RTCPeerConnection({ iceServers: [server] });
  const plain = new RTCPeerConnection(); // knows no address but its own
  try {
    const allocated = relayCandidate(pc);
    await Promise.all([offer(pc), offer(plain)]);
    if (!(await Promise.race([allocated, pause(limit)]))) return { skipped: "no way to the server's TURN over UDP" };
    const { sdp } = pc.localDescription;
    const own = await post("checks", { ufrag: line(sdp, "ice-ufrag"), pwd: line(sdp, "ice-pwd") });
    await introduce(pc, own);
    await introduce(plain, own);
    const local = localType(plain);
    const { candidates, rounds } = await post("rounds");
    await send(pc, candidates);
    await post("disturb");
    return { rounds, both: candidates.length > 1, local: await local };
  } finally {
    pc.close();
    plain.close();
  }
}

async function introduce(pc, own) {
  await pc.setRemoteDescription({ type: "answer", sdp: answer(pc.localDescription.sdp, own) });
  await send(pc, own.candidates);
}

// relayCandidate resolves to whether there is one.
function relayCandidate(pc) {
  return new Promise((resolve) => {
    pc.addEventListener("icecandidate", ({ candidate }) => {
      if (!candidate) resolve(false);
      else if (candidate.type === "relay") resolve(true);
    });
  });
}

// localType is the type of the local candidate of a pair whose check the server
// answered: host where the address that it saw is this device's own, else prflx.
// Browsers keep that address for themselves, but not this.
async function localType(pc) {
  for (const end = performance.now() + patience; performance.now() < end; await pause(20)) {
    const stats = await pc.getStats().catch(() => new Map());
    for (const pair of stats.values()) {
      if (pair.type === "candidate-pair" && pair.state === "succeeded") return stats.get(pair.localCandidateId)?.candidateType;
    }
  }
  return undefined;
}

const line = (sdp, name) => sdp.match(new RegExp(`^a=${name}:(.*)$`, "m"))[1].trim();

// answer accepts the offer in the server's name. Nobody holds the key of its
// fingerprint, and nothing is ever connected.
function answer(sdp, { ufrag, pwd }) {
  const mid = line(sdp, "mid");
  return ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", `a=group:BUNDLE ${mid}`,
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", `a=mid:${mid}`, `a=ice-ufrag:${ufrag}`, `a=ice-pwd:${pwd}`,
    `a=fingerprint:sha-256 ${Array(32).fill("00").join(":")}`, "a=setup:passive", "a=sctp-port:5000", ""].join("\r\n");
}

// send makes the browser send checks to these addresses of the server.
async function send(pc, addresses) {
  for (const [i, text] of addresses.entries()) {
    const [, ip, port] = text.match(/^\[?([^\]]*)\]?:(\d+)$/);
    await pc.addIceCandidate({ candidate: `candidate:${port} 1 udp ${2130706431 - i} ${ip} ${port} typ host`, sdpMid: line(pc.localDescription.sdp, "mid") });
  }
}
