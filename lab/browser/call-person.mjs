// One person at the call page, as a test sees them: what they press, what
// they see, and what their browser's statistics say behind the page's back.
import { openPage, patience } from './driver.mjs';

export class Person {
  errors = []; // of the browser's console

  // open goes to the call page with something behind the #; before, if given,
  // is run in the page before its own scripts.
  static async open(browser, url, hash, before) {
    const p = new Person();
    p.page = await openPage(browser, `${url}docs/protocol`);
    p.page.on('console', (m) => { if (m.type() === 'error') p.errors.push(m.text()); });
    p.page.on('pageerror', (err) => p.errors.push(err.message));
    await p.page.evaluateOnNewDocument(listen);
    if (before) await p.page.evaluateOnNewDocument(before);
    await p.page.goto(`${url}call#${hash}`);
    return p;
  }

  // until waits until f, a function of the page, returns something true.
  until(f, ...args) {
    return this.page.waitForFunction(f, { polling: 100, timeout: patience }, ...args)
      .catch((err) => { throw new Error(`${err.message}: ${f} of ${JSON.stringify(args)}; console: ${this.errors}`); });
  }

  async press(selector) {
    await this.page.bringToFront();
    await this.page.click(selector);
  }

  // join presses the button once the camera's picture is there, or cannot be.
  async join() {
    await this.page.bringToFront();
    await this.until(() => document.querySelector('#preview video').videoWidth > 0 || !document.getElementById('notice').hidden);
    await this.press('#join');
  }

  async enter() {
    await this.join();
    await this.until(() => document.querySelector('.call.in-call'));
  }

  // sees waits until that many others are there, connected.
  async sees(n) {
    await this.until((n) => document.querySelectorAll('#tiles .tile').length === n + 1
      && document.querySelectorAll('#path-list .path .pill.ok').length === n, n);
  }

  // plays waits until pictures and sound of n others grow in number.
  async plays(n) {
    await this.page.bringToFront();
    const before = await this.received();
    await this.until(async (before, n) => {
      const now = await lab.received();
      const grown = Object.entries(now).filter(([id, { frames, audio }]) =>
        frames >= (before[id]?.frames ?? 0) + 10 && audio >= (before[id]?.audio ?? 0) + 1000);
      return grown.length === n;
    }, before, n);
    return true;
  }

  received() { return this.page.evaluate(() => lab.received()); }

  async says(text) {
    if (await this.page.$eval('#chat', (e) => e.hidden)) await this.press('#show-chat');
    await this.page.bringToFront();
    await this.page.type('#text', text);
    await this.page.keyboard.press('Enter');
  }

  hears(who, text) {
    return this.until((who, text) => [...document.querySelectorAll('#log li')]
      .some((line) => line.innerText.includes(who) && line.innerText.includes(text)), who, text);
  }

  tile(who, field, value) {
    return this.until((who, field, value) =>
      document.querySelector(`#tiles .tile[aria-label="${who}"]`)?.dataset[field] === value, who, field, value);
  }

  // path returns what the panel says of the way to the only other, and what
  // getStats says, once the two agree and the other end has an address, which
  // Chromium tells once it was signaled; at the end of patience as they are.
  async path() {
    await this.page.bringToFront();
    const end = Date.now() + patience / 2;
    for (;;) {
      const both = await this.page.evaluate(async () => ({ shown: lab.shown(), stats: await lab.selected() }));
      const same = both.stats && ['local', 'remote', 'transport'].every((k) => both.shown[k] === both.stats[k]);
      if (same && (both.stats.remote !== 'prflx' || both.stats.address) || Date.now() > end) return both;
    }
  }

  // loudness returns how much sound energy came in over a second; Chromium's
  // microphone beeps twice in it.
  loudness() {
    return this.page.evaluate(() => lab.loudness());
  }

  // quiet waits until no more than that comes in over a second, which takes as long
  // as a busy browser has sound in store, and returns how much it is in the end.
  quiet(most) {
    return this.page.evaluate((most, patience) => lab.quiet(most, patience), most, patience / 2);
  }
}

// listen runs in the page before its own scripts.
function listen() {
  const lab = globalThis.lab = { pcs: [], sockets: [] };
  const keep = (name, list) => {
    globalThis[name] = class extends globalThis[name] {
      constructor(...args) { super(...args); list.push(this); }
    };
  };
  keep('RTCPeerConnection', lab.pcs);
  keep('WebSocket', lab.sockets);
  const live = () => lab.pcs.filter((pc) => pc.connectionState === 'connected');
  const stats = async (pc) => [...(await pc.getStats()).values()];
  const inbound = async (pc, kind) => (await stats(pc)).find((s) => s.type === 'inbound-rtp' && s.kind === kind);

  lab.received = async () => Object.fromEntries(await Promise.all(live().map(async (pc) => [lab.pcs.indexOf(pc), {
    frames: (await inbound(pc, 'video'))?.framesDecoded ?? 0,
    audio: (await inbound(pc, 'audio'))?.bytesReceived ?? 0,
  }])));
  const energy = async () => (await inbound(live().at(-1), 'audio'))?.totalAudioEnergy ?? 0;
  const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
  lab.loudness = async () => {
    const first = await energy();
    await wait(1000);
    return await energy() - first;
  };
  lab.quiet = async (most, patience) => {
    const past = [];
    for (const end = Date.now() + patience; ; await wait(100)) {
      past.push(await energy());
      const loud = past.length > 10 ? past.at(-1) - past.at(-11) : Infinity;
      if (loud <= most || Date.now() > end) return loud;
    }
  };
  lab.ufrag = () => /a=ice-ufrag:(\S+)/.exec(live().at(-1)?.localDescription.sdp)?.[1];
  lab.selected = async () => {
    const all = await stats(live().at(-1));
    const get = (id) => all.find((s) => s.id === id);
    const named = all.find((s) => s.type === 'transport')?.selectedCandidatePairId;
    const pair = get(named) ?? all.find((s) => s.type === 'candidate-pair' && s.selected);
    if (!pair) return null;
    const [local, remote] = [get(pair.localCandidateId), get(pair.remoteCandidateId)];
    const transport = local.candidateType === 'relay' ? local.relayProtocol : local.protocol;
    return { local: local.candidateType, remote: remote.candidateType, transport, address: remote.address ?? remote.ip ?? '' };
  };
  // In the words of RFC 8445 on the page, in those of getStats here.
  const short = { host: 'host', 'server-reflexive': 'srflx', 'peer-reflexive': 'prflx', relay: 'relay' };
  lab.shown = () => {
    const fact = (name) => document.querySelector(`#path-list .path [data-fact=${name}]`)?.textContent ?? '';
    return {
      local: short[fact('local').split(',')[0]], remote: short[fact('remote').split(',')[0]],
      transport: fact('transport').split(' ')[0].toLowerCase(), rtt: fact('rtt'), in: fact('in'), out: fact('out'),
      sentence: document.querySelector('#path-list .sentence')?.textContent ?? '',
    };
  };
}
