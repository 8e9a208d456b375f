// turnkey.js in Node, with the WebSocket of ws and the RTCPeerConnection of
// node-datachannel: call set-ups whose sockets are cut at every point, and calls
// that lose theirs.
//
// Input: url of the server, program (the server, for those that are killed), stride (1: each point at which a socket can be cut),
// browsers (with which Node makes a call, too).
// Result: the cases that went wrong, how many there were, and what else was seen.
import { spawn } from 'node:child_process';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as path } from 'node:path';
import { Worker } from 'node:worker_threads';

import { RTCPeerConnection } from 'node-datachannel/polyfill';
import WebSocket from 'ws';
import { launch, openPage, patience, run, within } from './driver.mjs';

const atOnce = 16; // cases that run together

let client, endpoint;

// The watchdog ends a process that has been blocked for ten seconds: no script can
// do so itself.
const beat = new Int32Array(new SharedArrayBuffer(4));
setInterval(() => { beat[0]++; }, 500);
new Worker(`
  const { workerData: beat } = require('node:worker_threads');
  let before = -1;
  setInterval(() => {
    if (beat[0] === before) {
      require('node:fs').writeSync(2, 'the process is blocked');
      process.kill(process.pid, 'SIGKILL');
    }
    before = beat[0];
  }, 10_000);
`, { eval: true, workerData: beat });

// node-datachannel makes URLs of ICE servers, and so wants their credentials encoded.
class Connection extends RTCPeerConnection {
  constructor({ iceServers, ...rest }) {
    const encoded = iceServers.map(({ username = "", credential = "", ...server }) =>
      ({ ...server, username: encodeURIComponent(username), credential: encodeURIComponent(credential) }));
    super({ ...rest, iceServers: encoded });
  }
}

run(async ({ url, key, program, stride, browsers }) => {
  endpoint = new URL('/v1/ws', url);
  client = await load(url);
  const failures = [];
  const attempt = (name, f) => within(patience, name, f()).catch((err) => failures.push(`${name}: ${err.message}`));

  await attempt('over relays', overRelays);
  const quiet = await setUp('whole', [[], []]); // how many points there are
  const cases = [];
  for (const side of [0, 1]) {
    for (let step = 1; step <= quiet[side]; step += stride) {
      for (const again of [[], [1, 2]]) { // once, or in what follows the cut as well
        const cuts = [[], []];
        cuts[side] = [step, ...again.map((n) => step + n)];
        cases.push([`cut-${side}-${cuts[side].join('-')}`, cuts]);
      }
    }
  }
  for (let step = 3; step <= Math.min(...quiet); step += stride) cases.push([`both-${step}`, [[step], [step]]]);
  const total = cases.length;
  const work = async () => {
    for (let next = cases.pop(); next; next = cases.pop()) await attempt(next[0], () => setUp(...next));
  };
  await Promise.all(Array.from({ length: atOnce }, work));

  await attempt('during a call', duringCall);
  await attempt('expired', expired);
  await attempt('ended', ended);
  await attempt('a message is missing', missing);
  await attempt('the server is away', away);
  await attempt('waits', waits);
  await attempt('a lost welcome', lostWelcome);
  await killed(program, 4 * stride, attempt);
  await attempt('told by the operator', () => toldByOperator(url, key));
  for (const name of browsers) {
    const browser = await launch(name);
    await attempt(`with ${name}`, () => withBrowser(browser, name, url));
  }
  return { failures, total, points: quiet };
});

// load imports the module as the server has it.
async function load(url) {
  const response = await fetch(new URL('/turnkey.js', url));
  const file = path(await mkdtemp(path(tmpdir(), 'tk-client-')), 'turnkey.mjs');
  await writeFile(file, await response.text());
  return import(file);
}

// Cut makes a class of WebSockets that are cut at some points: before and after
// each message that is sent or received there is one, counted over all sockets.
function cutting(steps, { spoil = (frame) => frame, deaf = () => false } = {}) {
  const wire = { points: 0, steps: new Set(steps), live: null, refuse: () => false };
  wire.Socket = class {
    constructor(url, protocols) {
      wire.live = this;
      this.ws = new WebSocket(wire.refuse() ? 'ws://127.0.0.1:9' : url, protocols); // where nobody listens
      this.ws.onerror = () => {};
      this.ws.onopen = (event) => this.onopen?.(event);
      this.ws.onclose = (event) => this.onclose?.(event);
      this.ws.onmessage = (event) => this.pass(() => deaf(event.data) || this.onmessage?.(event));
    }
    get readyState() { return this.ws.readyState; }
    send(frame) { this.pass(() => this.ws.send(spoil(frame))); }
    close(code) { this.ws.close(code); }
    pass(how) {
      if (this.cut()) return;
      how();
      this.cut();
    }
    cut() {
      if (this.ws.readyState !== WebSocket.OPEN) return true;
      wire.points++;
      if (!wire.steps.has(wire.points)) return false;
      this.ws.terminate();
      return true;
    }
  };
  return wire;
}

function enter(room, wire, options = {}) {
  return client.join(room, { url: endpoint, WebSocket: wire.Socket, RTCPeerConnection: Connection, ...options });
}

const once = (target, type, fits = () => true) => new Promise((resolve) => {
  target.addEventListener(type, ({ detail }) => { if (fits(detail)) resolve(detail); });
});

// meet lets a person tell everybody it meets ten numbers through the server, ten more and a word
// when the data channel is open, and so on if they connect anew; it resolves with the first with
// whom all of that went both ways.
function meet(room) {
  const heard = new Map(); // numbers, by who said them
  const said = new Map();
  const say = (peer) => {
    for (let i = 0; i < 10; i++) {
      said.set(peer.id, (said.get(peer.id) ?? -1) + 1);
      peer.signal(said.get(peer.id));
    }
  };
  return new Promise((resolve, reject) => {
    room.addEventListener('error', ({ detail: { code, message } }) => {
      if (code !== 'unreachable') reject(new Error(`${code}: ${message}`));
    });
    room.addEventListener('peer', ({ detail: peer }) => {
      if (!heard.has(peer.id)) heard.set(peer.id, []);
      const got = heard.get(peer.id);
      let word;
      const check = () => {
        if (got.some((n, i) => n !== i)) reject(new Error(`got numbers ${got}`));
        if (got.length >= 20 && word) resolve({ peer, got });
      };
      peer.addEventListener('signal', ({ detail }) => { got.push(detail); check(); });
      peer.addEventListener('message', ({ detail }) => { word = detail; check(); });
      peer.addEventListener('open', () => {
        peer.send('hello');
        say(peer);
      });
      say(peer);
    });
  });
}

// setUp makes a call between two whose sockets are cut at some points, and
// returns how many points there were on each side.
async function setUp(name, cuts) {
  const wires = cuts.map((steps) => cutting(steps));
  const rooms = [];
  try {
    const met = [];
    for (const wire of wires) {
      rooms.push(enter(name, wire));
      met.push(meet(rooms.at(-1)));
      await once(rooms.at(-1), 'state', (state) => state === 'joined');
    }
    await Promise.all(met);
    if (rooms.some((room) => room.peers.size !== 1)) throw new Error('somebody is there twice');
    return wires.map((wire) => wire.points);
  } finally {
    for (const room of rooms) room.leave();
  }
}

// call has two people in a call.
async function call(name, tricks = [{}, {}], options = {}) {
  const wires = tricks.map((t) => cutting([], t));
  const rooms = wires.map((wire) => enter(name, wire, options));
  const met = await Promise.all(rooms.map(meet));
  return { wires, rooms, peers: met.map(({ peer }) => peer) };
}

// The credentials of the server are good for node-datachannel.
async function overRelays() {
  const { rooms, peers } = await call('relays', [{}, {}], { iceTransportPolicy: 'relay' });
  for (const peer of peers) {
    const { local } = peer.pc.selectedCandidatePair();
    if (local.type !== 'relay') throw new Error(`connected from ${local.type}`);
  }
  for (const room of rooms) room.leave();
}

// Both lose their sockets, and have more to say than the server takes at once.
async function duringCall() {
  const { wires, rooms, peers } = await call('during');
  const ids = rooms.map((room) => room.id);
  const heard = peers.map((peer) => {
    const got = [];
    peer.addEventListener('signal', ({ detail }) => got.push(detail));
    return got;
  });
  const left = peers.map((peer) => once(peer, 'left').then((why) => { throw new Error(`left: ${why}`); }));
  const away = once(peers[0], 'away');
  const back = once(peers[0], 'back');
  wires[1].live.ws.terminate();
  await away;
  if (!peers[0].away) throw new Error('not away');
  wires[0].live.ws.terminate();
  const most = 220;
  for (const peer of peers) for (let n = 0; n < most; n++) peer.signal(n);
  const echo = once(peers[1], 'message');
  peers[0].send('over the channel'); // needs no server
  await Promise.race([Promise.all([back, echo]), ...left]);
  while (heard.some((got) => got.length < most)) await Promise.race([once(peers[0], 'signal'), once(peers[1], 'signal'), ...left]);
  for (const got of heard) if (got.some((n, i) => n !== i)) throw new Error(`heard ${got}`);
  if (rooms.some((room, i) => room.id !== ids[i] || room.peers.size !== 1)) throw new Error('the session is another');
  for (const room of rooms) room.leave();
}

// The server does not know the session any more: all meet anew.
async function expired() {
  let bad = false;
  const spoil = (frame) => (bad ? frame.replace(/"resume":"r_/, '"resume":"r_gone') : frame);
  const { wires, rooms, peers } = await call('expired', [{ spoil }, {}]);
  bad = true;
  const why = once(peers[0], 'left');
  const again = meet(rooms[0]);
  wires[0].live.ws.terminate();
  if (await why !== 'rejoined') throw new Error(`left: ${await why}`);
  const { peer } = await again;
  if (peer === peers[0] || rooms[0].state !== 'joined') throw new Error('not met anew');
  for (const room of rooms) room.leave();
}

// The server knows how far it came in a session that is over: what it has not handled
// goes out in the next one, what it has does not.
async function ended() {
  let resume, lose = false;
  const deaf = (frame) => { resume = JSON.parse(frame).resume ?? resume; return false; };
  const spoil = (frame) => (lose ? '{"type":"ice"}' : frame);
  const { rooms, peers } = await call('ended', [{ spoil, deaf }, {}]);
  const got = [];
  const hear = (peer) => peer.addEventListener('signal', ({ detail }) => typeof detail === 'string' && got.push(detail));
  hear(peers[1]);
  rooms[1].addEventListener('peer', ({ detail }) => hear(detail));
  const lost = [];
  rooms[0].addEventListener('warning', ({ detail }) => lost.push(detail));
  const handled = once(peers[1], 'signal', (s) => s === 'handled');
  peers[0].signal('handled');
  await handled;
  lose = true;
  peers[0].signal('written');
  const last = new Promise((resolve) => {
    rooms[1].addEventListener('peer', ({ detail }) => detail.addEventListener('signal', ({ detail: s }) => s === 'last' && resolve()));
  });
  const gone = once(rooms[0], 'state', (state) => state === 'reconnecting');
  const other = new WebSocket(endpoint, 'turnkey.v1');
  other.onopen = () => {
    other.send(JSON.stringify({ type: 'resume', resume, seq: 0 }));
    other.send('{"type":"bye"}');
  };
  await gone;
  lose = false;
  peers[0].signal('last');
  await last;
  if (got.join() !== 'handled,written,last' || lost.length > 0) throw new Error(`got ${got}, and warnings ${JSON.stringify(lost)}`);
  for (const room of rooms) room.leave();
}

// One message is lost on the way, without the socket: it is sent again.
async function missing() {
  let lose = false;
  const deaf = (frame) => lose && frame.includes('"message"') && !(lose = false);
  const { rooms, peers } = await call('missing', [{ deaf }, {}]);
  const got = [];
  const all = new Promise((resolve) => {
    peers[0].addEventListener('signal', ({ detail }) => { if (got.push(detail) === 20) resolve(); });
  });
  lose = true;
  for (let n = 0; n < 20; n++) peers[1].signal(n);
  await all;
  if (lose || got.some((n, i) => n !== i)) throw new Error(`got ${got}`);
  for (const room of rooms) room.leave();
}

// Who waits has offered before anybody is there, and offers to each who comes; they
// never do. One takes an offer that another took before: it gets a new one.
async function waits() {
  const hello = (room) => new Promise((resolve) => {
    room.addEventListener('peer', ({ detail: peer }) => {
      peer.addEventListener('message', () => resolve(peer));
      peer.addEventListener('open', () => peer.send('hello'));
    });
  });
  let first, lose = false;
  const spoil = (frame) => {
    const m = JSON.parse(frame);
    if (m.type !== 'offer' || m.peer !== 'next') return frame;
    first ??= m;
    return lose ? '{"type":"ice"}' : frame;
  };
  const wire = cutting([], { spoil });
  const erik = enter('waits', wire, { wait: true });
  while (!first) await new Promise((resolve) => { setTimeout(resolve, 10); });
  const guest = (name) => {
    const offered = [];
    const room = enter('waits', cutting([], { spoil: (frame) => { offered.push(...frame.match(/"type":"offer"/g) ?? []); return frame; } }), { name });
    return { room, offered };
  };
  for (const name of ['Fay', 'Gil', 'Hal']) {
    lose = name === 'Gil'; // Hal gets what Fay had
    if (name === 'Hal') wire.live.ws.send(JSON.stringify({ ...first, id: undefined }));
    const there = hello(erik);
    const { room, offered } = guest(name);
    const [it] = await Promise.all([there, hello(room)]);
    if (it.id !== room.id || it.name !== name || it.present !== (name === 'Hal')) throw new Error(`met ${it.id}, ${it.name}`);
    if (offered.length > 0) throw new Error(`${name} has offered`);
    const left = once(it, 'left');
    room.leave();
    await left;
  }
  erik.leave();
}

// The socket is cut when the welcome comes: nobody is seen twice, or away.
async function lostWelcome() {
  const anna = enter('welcome', cutting([]));
  await once(anna, 'state', (state) => state === 'joined');
  const seen = [];
  anna.addEventListener('peer', ({ detail: peer }) => {
    seen.push(peer.id);
    peer.addEventListener('left', () => seen.push('left'));
  });
  let cuts = 0;
  const wire = cutting([], { deaf: (frame) => frame.includes('"welcome"') && ++cuts < 4 && (wire.live.ws.terminate(), true) });
  const bob = enter('welcome', wire);
  const met = meet(bob);
  await meet(anna);
  await met;
  if (seen.join() !== bob.id || anna.peers.size !== 1) throw new Error(`saw ${seen}, and ${bob.id} is there`);
  for (const room of [anna, bob]) room.leave();
}

// While there is no server after a long call, the pauses grow; then the call goes on.
async function away() {
  const { wires, rooms } = await call('away');
  const { id } = rooms[0];
  const attempts = [];
  wires[0].refuse = () => attempts.push(performance.now()) <= 3;
  const { now } = Date;
  Date.now = () => now() + 60_000;
  try {
    wires[0].live.ws.terminate();
    await once(rooms[0], 'state', (state) => state === 'joined');
  } finally {
    Date.now = now;
  }
  const pauses = attempts.slice(1).map((at, i) => at - attempts[i]);
  if (rooms[0].id !== id || pauses.some((pause, i) => pause < 245 * 2 ** i)) throw new Error(`${id} is ${rooms[0].id} after pauses of ${pauses} ms`);
  for (const room of rooms) room.leave();
}

// The server is killed when some message was sent or has come, and another one comes up
// that knows nothing: all meet anew, and nobody is there twice.
async function killed(program, stride, attempt) {
  const here = endpoint;
  endpoint = new URL('ws://127.0.0.1:8080/v1/ws');
  let server;
  const up = async () => {
    server = spawn(program, ['serve'], { env: { TURNKEY_PUBLIC_IP: '127.0.0.1', TURNKEY_ALLOW_PEERS: '127.0.0.0/8' }, stdio: 'ignore' });
    const alive = () => fetch('http://127.0.0.1:8080/healthz').then(() => true, () => false);
    while (!await alive()) await new Promise((resolve) => { setTimeout(resolve, 20); });
  };
  const call = async (name, at) => {
    let messages = 0;
    const count = () => {
      if (++messages !== at) return;
      server.once('exit', up);
      server.kill('SIGKILL');
    };
    const wires = [0, 1].map(() => cutting([], { spoil: (frame) => { count(); return frame; }, deaf: () => { count(); return false; } }));
    const rooms = wires.map((wire) => enter(name, wire));
    try {
      await Promise.all(rooms.map(meet));
      if (rooms.some((room) => room.peers.size !== 1)) throw new Error('somebody is there twice');
      return messages;
    } finally {
      for (const room of rooms) room.leave();
    }
  };
  await up();
  let messages = 0;
  await attempt('not killed', async () => { messages = await call('alive', 0); });
  for (let at = 1; at <= messages; at += stride) await attempt(`killed at ${at}`, () => call(`killed-${at}`, at));
  server.removeAllListeners('exit');
  server.kill();
  endpoint = here;
}

// What the operator sends through the API arrives, to all and to one.
async function toldByOperator(url, key) {
  const { rooms } = await call('told');
  const tell = (to, data) => fetch(new URL('/v1/rooms/told/messages', url), {
    method: 'POST', headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' }, body: JSON.stringify({ ...to, data }),
  });
  const all = rooms.map((room) => once(room, 'server'));
  const answer = await tell({ peer: '*' }, { closing: 'soon' });
  if (!answer.ok) throw new Error(`the API answers ${answer.status}: ${await answer.text()}`);
  for (const told of await Promise.all(all)) if (told.closing !== 'soon') throw new Error(`got ${JSON.stringify(told)}`);
  const one = once(rooms[1], 'server');
  await tell({ peer: rooms[1].id }, 'you');
  if (await one !== 'you') throw new Error(`got ${await one}`);
  for (const room of rooms) room.leave();
}

// A page and Node exchange words, whoever comes first.
async function withBrowser(browser, name, url) {
  for (const first of ['node', 'page']) {
    const room = `with-${name}-${first}`;
    const page = await openPage(browser, new URL('/docs/protocol', url).href);
    const inPage = () => page.evaluate(async (room) => {
      const { join } = await import('/turnkey.js');
      globalThis.room = join(room);
      globalThis.heard = new Promise((resolve) => {
        globalThis.room.addEventListener('peer', ({ detail: peer }) => {
          peer.addEventListener('message', ({ detail }) => resolve(detail));
          peer.addEventListener('open', () => peer.send('from the page'));
        });
      });
      await new Promise((resolve) => { globalThis.room.addEventListener('state', resolve, { once: true }); });
    }, room);
    if (first === 'page') await inPage();
    const mine = enter(room, cutting([]));
    const heard = once(mine, 'peer').then((peer) => {
      peer.addEventListener('open', () => peer.send('from Node'));
      return once(peer, 'message');
    });
    if (first === 'node') {
      await once(mine, 'state', (state) => state === 'joined');
      await inPage();
    }
    const words = await Promise.all([heard, page.evaluate(() => globalThis.heard)]);
    if (words.join() !== 'from the page,from Node') throw new Error(`got ${words}`);
    mine.leave();
    await page.close();
  }
}
