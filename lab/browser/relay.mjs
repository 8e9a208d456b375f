// Two peer connections, each in a page of its own, may use only relays that
// GET /v1/ice hands out, and pass messages both ways.
//
// Input: url of a page of the server, browsers (two names), ways (one after the
// other: transport of the TURN URL that is left in, udp or tcp, or only, that URL
// itself, and label, which begins those of the credentials), messages and size
// (bytes of each), spoil (true: with a wrong credential), resolver (a resolv.conf
// to live with; any certificate is believed then).
// Result: for each way and side, what it sent and received and its selected
// candidate pair.
import { launch, openPage, patience, run, useResolver, within } from './driver.mjs';

run(async ({ url, browsers, ways, messages, size, spoil, resolver = '' }) => {
  if (resolver) useResolver(resolver);
  const running = {};
  for (const name of new Set(browsers)) running[name] = await launch(name, { insecure: resolver !== '' });
  const results = [];
  for (const way of ways) results.push(await pass(browsers.map((name) => running[name]), url, { ...way, messages, size, spoil }));
  return { ways: results };
});

async function pass(browsers, url, terms) {
  const sides = await Promise.all(browsers.map(async (browser, i) => {
    const page = await openPage(browser, url);
    await page.evaluate(prepare, { ...terms, label: `${terms.label}-${i}` });
    return page;
  }));
  const [a, b] = sides;
  const offer = await a.evaluate(() => lab.offer());
  const answer = await b.evaluate((sdp) => lab.answer(sdp), offer);
  await a.evaluate((sdp) => lab.accept(sdp), answer);
  await within(patience, 'data channel', Promise.all(sides.map((page) => page.evaluate(() => lab.opened))));
  await within(patience, 'messages', Promise.all(sides.map((page) => page.evaluate(() => lab.exchange()))));
  return Promise.all(sides.map((page) => page.evaluate(() => lab.finish())));
}

// prepare runs in the page and leaves one half of the lab there.
async function prepare({ transport, only = '', messages, size, spoil, label }) {
  const response = await fetch(`/v1/ice?label=${label}`);
  if (!response.ok) throw new Error(`/v1/ice answered ${response.status}: ${await response.text()}`);
  const { iceServers } = await response.json();
  const wanted = (u) => (only ? u === only : u.startsWith('turn:') && u.includes('transport=tcp') === (transport === 'tcp'));
  const servers = iceServers
    .map((server) => ({ ...server, urls: [server.urls].flat().filter(wanted) }))
    .filter((server) => server.urls.length > 0);
  if (servers.length === 0) throw new Error(`no turn URL ${only || `over ${transport}`} in ${JSON.stringify(iceServers)}`);
  if (spoil) for (const server of servers) server.credential = 'wrong';

  const pc = new RTCPeerConnection({ iceServers: servers, iceTransportPolicy: 'relay' });
  const channel = pc.createDataChannel('lab', { negotiated: true, id: 0 });
  channel.binaryType = 'arraybuffer';
  const lab = globalThis.lab = { opened: new Promise((resolve) => { channel.onopen = () => resolve(true); }) };

  // describe sets a local description and waits for its candidates.
  const describe = async (description) => {
    const gathered = new Promise((resolve) => {
      pc.onicecandidate = ({ candidate }) => { if (!candidate) resolve(); };
    });
    await pc.setLocalDescription(description);
    await gathered;
    if (!/^a=candidate:/m.test(pc.localDescription.sdp)) throw new Error('no relay candidate was gathered');
    return pc.localDescription.sdp;
  };
  lab.offer = async () => describe(await pc.createOffer());
  lab.answer = async (sdp) => {
    await pc.setRemoteDescription({ type: 'offer', sdp });
    return describe(await pc.createAnswer());
  };
  lab.accept = (sdp) => pc.setRemoteDescription({ type: 'answer', sdp });

  let received = 0;
  const complete = new Promise((resolve) => {
    channel.onmessage = ({ data }) => {
      received += data.byteLength;
      if (received >= messages * size) resolve();
    };
  });
  lab.exchange = async () => {
    for (let i = 0; i < messages; i++) {
      if (channel.bufferedAmount > 1 << 20) await new Promise((resolve) => { channel.onbufferedamountlow = resolve; });
      channel.send(new Uint8Array(size).fill(i));
    }
    await complete;
    return true;
  };

  lab.finish = async () => {
    const stats = await pc.getStats();
    const all = [...stats.values()];
    const named = all.find((s) => s.type === 'transport')?.selectedCandidatePairId;
    const pair = stats.get(named) ?? all.find((s) => s.type === 'candidate-pair' && s.selected);
    const [local, remote] = [stats.get(pair?.localCandidateId), stats.get(pair?.remoteCandidateId)];
    pc.close();
    return {
      label, received, url: servers[0].urls[0],
      local: local?.candidateType ?? '', remote: remote?.candidateType ?? '',
      relayProtocol: local?.relayProtocol ?? '',
    };
  };
}
