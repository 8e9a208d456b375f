// The examples of docs/examples as pages of the server, and calls between pages
// whose way to the server is cut.
//
// Input: url of the server, examples (name: HTML), group (how many), hidden (true: a tab stays in the
// background for longer than browsers leave timers alone).
// Result: what went on, step by step.
import net from 'node:net';

import { launch, patience, run, within } from './driver.mjs';

run(async ({ url, examples, group, hidden }) => {
  const steps = [];
  const way = await startWay(new URL(url));
  const browser = await launch('chromium', { media: true, trust: new URL(url).origin });
  try {
    for (const [name, count] of [['call', 2], ['group', group]]) {
      await example(browser, url, name, examples[name], count);
      steps.push(name);
    }
    for (const frames of [1, 2, 3, 4]) await cutSetUp(browser, way, frames);
    steps.push('cut while it is set up');
    await cutCall(browser, way, hidden);
    steps.push('cut during a call');
  } catch (err) {
    return { steps, error: err.message };
  }
  return { steps };
});

const until = (page, f, ...args) => page.waitForFunction(f, { polling: 100, timeout: patience }, ...args);

// example opens a page some times over, as if the server had it, and waits until
// each shows the pictures of all.
async function example(browser, url, name, html, count) {
  const pages = [];
  for (let i = 0; i < count; i++) {
    const page = await browser.newPage();
    await page.setRequestInterception(true);
    page.on('request', (request) => (request.url().endsWith(`/${name}.html`)
      ? request.respond({ contentType: 'text/html; charset=utf-8', body: html.replaceAll('https://turn.example.com/', url) })
      : request.continue()));
    await page.goto(`${url}${name}.html`);
    pages.push(page);
  }
  const playing = (count) => [...document.querySelectorAll('video')].filter((v) => v.videoWidth > 0 && v.currentTime > 0).length === count;
  for (const page of pages) {
    await page.bringToFront();
    await until(page, playing, count).catch(async (err) => {
      throw new Error(`${name}: ${err.message}: ${await page.evaluate(() => document.body.innerText)}`);
    });
  }
  for (const page of pages) await page.close();
}

// startWay runs a way to the server that can be cut. It counts what it passes on
// and can be cut after so much; or be deaf for a while, without a word.
async function startWay(to) {
  const way = { sockets: new Set(), left: Infinity, deaf: false };
  const proxy = net.createServer((a) => {
    const b = net.connect(to.port, to.hostname);
    const pair = { cut: () => { a.resetAndDestroy(); b.resetAndDestroy(); way.sockets.delete(pair); }, upgraded: false };
    way.sockets.add(pair);
    for (const [from, other] of [[a, b], [b, a]]) {
      from.on('data', (data) => {
        if (pair.deaf) return;
        if (pair.upgraded && --way.left === 0) pair.cut();
        else other.write(data);
        pair.upgraded ||= data.includes('101 Switching');
      });
      from.on('error', () => {});
      from.on('close', () => { other.destroy(); way.sockets.delete(pair); });
    }
  });
  await new Promise((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
  way.url = `http://127.0.0.1:${proxy.address().port}/`;
  way.cut = () => { for (const pair of way.sockets) if (pair.upgraded) pair.cut(); };
  way.silence = () => { for (const pair of way.sockets) pair.deaf = pair.upgraded; };
  return way;
}

// enter joins a room in a page, tells everybody it meets numbers, and keeps what it hears.
async function enter(browser, way, room) {
  const page = await browser.newPage();
  await page.goto(`${way.url}docs/protocol`);
  await page.evaluate(async (name) => {
    const { join } = await import('/turnkey.js');
    globalThis.lab = { heard: [], events: [], said: 0, open: 0 };
    const room = lab.room = join(name);
    const note = (what) => lab.events.push(what);
    room.addEventListener('error', ({ detail }) => note(`error ${detail.code}`));
    room.addEventListener('state', ({ detail }) => note(detail));
    lab.say = (n) => { for (let i = 0; i < n; i++) lab.peer.signal(lab.said++); };
    room.addEventListener('peer', ({ detail: peer }) => {
      note('peer');
      lab.peer = peer;
      for (const event of ['away', 'back', 'left']) peer.addEventListener(event, () => note(event));
      peer.addEventListener('signal', ({ detail }) => lab.heard.push(detail));
      peer.addEventListener('open', () => { lab.open++; });
      lab.say(10);
    });
    await new Promise((resolve) => { room.addEventListener('state', resolve, { once: true }); });
  }, room);
  return page;
}

const hears = (page, n) => until(page, (n) => lab.open === 1 && lab.heard.length === n && lab.heard.every((m, i) => m === i), n)
  .catch(async (err) => {
    throw new Error(`${err.message}: ${JSON.stringify(await page.evaluate(() => ({ ...lab, room: lab.room.state, peer: lab.peer?.state })))}`);
  });

// cutSetUp cuts what is under way to both, again and again while the call comes up.
async function cutSetUp(browser, way, frames) {
  const room = `cut-${frames}`;
  const anna = await enter(browser, way, room);
  const bob = await enter(browser, way, room);
  for (let i = 0; i < 3; i++) {
    way.left = frames; // one of both, then the other one, too
    await within(patience, 'a cut', new Promise((resolve) => {
      const look = () => (way.left <= 0 ? resolve() : setTimeout(look, 20));
      look();
      bob.evaluate(() => lab.peer?.signal(lab.said++)); // so that there is something to cut
      anna.evaluate(() => lab.peer?.signal(lab.said++));
    }));
    way.cut();
  }
  for (const [page, other] of [[anna, bob], [bob, anna]]) await hears(page, await other.evaluate(() => lab.said));
  const both = await Promise.all([anna, bob].map((page) => page.evaluate(() => lab.events))); // before one of them leaves
  for (const events of both) {
    if (events.includes('left') || events.some((e) => e.startsWith('error'))) throw new Error(`${room}: ${events}`);
  }
  for (const page of [anna, bob]) await page.close();
}

// cutCall cuts a call: with a word and without one.
async function cutCall(browser, way, hidden) {
  const anna = await enter(browser, way, 'call');
  const bob = await enter(browser, way, 'call');
  let said = 10;
  for (const page of [anna, bob]) await hears(page, said);

  way.cut();
  for (const page of [anna, bob]) await page.evaluate(() => lab.say(20));
  said += 20;
  for (const page of [anna, bob]) await hears(page, said);

  way.silence(); // and the network says that it has changed
  for (const page of [anna, bob]) await page.evaluate(() => lab.say(20));
  await anna.evaluate(() => dispatchEvent(new Event('online')));
  await bob.evaluate(() => dispatchEvent(new Event('online')));
  said += 20;
  for (const page of [anna, bob]) await hears(page, said);

  if (hidden) {
    const front = await browser.newPage();
    await front.bringToFront();
    await new Promise((resolve) => { setTimeout(resolve, 32_000); });
    await front.close();
    for (const page of [anna, bob]) {
      if (await page.evaluate(() => lab.room.state !== 'joined')) throw new Error('a tab in the background lost the room');
      await page.evaluate(() => lab.say(1));
    }
    said++;
    for (const page of [anna, bob]) await hears(page, said);
  }
  for (const page of [anna, bob]) {
    const { events } = await page.evaluate(() => lab);
    const count = (what) => events.filter((e) => e === what).length;
    if (count('peer') !== 1 || count('left') || count('reconnecting') !== 2) throw new Error(`events of a call: ${events}`);
    await page.close();
  }
}
