// Candidates of a fresh peer connection: where its socket is, and which public
// addresses STUN servers see it at.

const limit = 2500; // ms: browsers wait for a silent server up to 20 s

/** Waits for ms. */
export const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** An offer with a data channel is what makes a connection gather. */
export async function offer(pc) {
  pc.createDataChannel("nat");
  await pc.setLocalDescription(await pc.createOffer());
}

/**
 * Gathers with these servers until every one has answered, or the limit.
 * @returns {Promise<{host: object[], srflx: object[], complete: boolean, ms: number}>}
 */
export async function gather(iceServers, delay = 0) {
  await pause(delay);
  const begun = performance.now();
  const pc = new RTCPeerConnection({ iceServers });
  const seen = { host: [], srflx: [], complete: false, ms: 0 };
  const complete = new Promise((resolve) => {
    pc.addEventListener("icecandidate", ({ candidate }) => {
      if (!candidate?.candidate) {
        if (!candidate) resolve();
        return;
      }
      const { type, protocol, address, port } = candidate;
      const bare = address?.replace(/^\[(.*)\]$/, "$1"); // Chromium writes IPv6 in brackets
      if (bare && protocol === "udp" && seen[type]?.length < 32) seen[type].push({ address: bare, port });
    });
  }).then(() => { seen.complete = true; });
  try {
    await offer(pc);
    await Promise.race([complete, pause(limit)]);
  } finally {
    pc.close();
  }
  seen.ms = performance.now() - begun;
  return seen;
}
