// Lets a page in a browser run browser.js, with the arguments and the outcome of
// the other stacks.
//
// A browser takes its time to start: there is a line "ready" then, and the room is
// entered when a line comes in.
//
// usage: node drive.mjs chromium|firefox ws://HOST/v1/ws ROOM NAME
import { once } from 'node:events';

import { kill, launch, openPage, within } from '../../browser/driver.mjs';
import { chat } from './browser.js';

const [kind, url, room, name] = process.argv.slice(2);
const browser = await launch(kind, { mdns: false });
let code = 0;
try {
  const page = await openPage(browser, new URL('/', url.replace('ws', 'http')).href);
  await page.exposeFunction('heard', hear);
  await page.evaluate(eavesdrop);
  console.log('ready');
  await once(process.stdin, 'data');
  await within(20_000, name, page.evaluate(chat, room, name));
} catch (err) {
  console.error(`${name}: ${err.message}`);
  code = 1;
}
await kill(browser);
process.exit(code);

// turnkey.js keeps some notices to itself. Here they all count.
function eavesdrop() {
  globalThis.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', ({ data }) => globalThis.heard(data));
    }
  };
}

function hear(frame) {
  const m = JSON.parse(frame);
  if (m.type === 'welcome') console.log('joined');
  if (m.type === 'error' || m.type === 'warning') {
    console.error(`${name}: ${m.code}: ${m.message}; ${m.hint}`);
    code = 1;
  }
}
