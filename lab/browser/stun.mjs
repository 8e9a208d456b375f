// A page gathers candidates by STUN alone.
//
// Input: url of a page of the server, browser, servers (STUN URLs).
// Result: candidates, the server-reflexive ones over UDP, as address:port; and
// errors, the URLs that failed, with their code.
import { launch, openPage, run, within } from './driver.mjs';

run(async ({ url, browser, servers }) => {
  const page = await openPage(await launch(browser), url);
  return within(30_000, 'gathering', page.evaluate(gather, servers));
});

// gather runs in the page. It waits for an end of the gathering that it can
// rely on: the null candidate.
async function gather(servers) {
  const pc = new RTCPeerConnection({ iceServers: [{ urls: servers }] });
  pc.createDataChannel('lab');
  const candidates = new Set();
  const errors = [];
  const gathered = new Promise((resolve) => {
    pc.onicecandidate = ({ candidate }) => {
      if (!candidate) resolve();
      else if (candidate.type === 'srflx' && candidate.protocol === 'udp') candidates.add(`${candidate.address}:${candidate.port}`);
    };
    pc.onicecandidateerror = (e) => errors.push(`${e.url} ${e.errorCode}`);
  });
  await pc.setLocalDescription(await pc.createOffer());
  await gathered;
  pc.close();
  return { candidates: [...candidates], errors };
}
