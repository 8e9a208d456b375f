// Drives a real Chromium or Firefox for the browser labs.
//
// A lab is a script that calls run(lab): it gets its input from the Go test
// as one JSON argument, and what it returns goes back as one line of JSON.
// Browsers share the network namespace of the script.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import puppeteer from 'puppeteer-core';

const open = new Set(); // browsers not yet closed

const limit = Number(process.env.LAB_LIMIT) || 60_000; // ms for the script

// What has to become true may take so many ms: more where browsers are many.
export const patience = limit / 5;

const chromiumFlags = [
  '--no-sandbox', // the labs run as root
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
  '--disable-background-networking', '--disable-component-update',
  '--autoplay-policy=no-user-gesture-required',
];

const firefoxPrefs = {
  'media.autoplay.default': 0,
  'app.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
};

// launch starts 'chromium' or 'firefox', headless, with a profile of its own.
//   media  true: camera and microphone exist, are fake and need no permission
//   trust  an http origin that is to count as secure, so that it may use them
//   mdns   false: host candidates show addresses, as after getUserMedia
//   insecure  true: certificates of nobody are believed, for turns: URLs, too
export async function launch(name, { media = false, trust = '', mdns = true, insecure = false } = {}) {
  const starters = { chromium: launchChromium, firefox: launchFirefox };
  const browser = await starters[name]({ media, trust, mdns, insecure });
  open.add(browser);
  return browser;
}

function launchChromium({ media, trust, mdns, insecure }) {
  const args = [...chromiumFlags];
  if (insecure) args.push('--ignore-certificate-errors');
  if (media) {
    args.push('--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${pictures()}`);
  }
  if (trust) args.push(`--unsafely-treat-insecure-origin-as-secure=${trust}`);
  if (!mdns) args.push('--disable-features=WebRtcHideLocalIpsWithMdns');
  return puppeteer.launch({
    browser: 'chrome', executablePath: '/usr/bin/chromium', defaultViewport: null, pipe: true, args,
  });
}

// pictures writes a second of small ones, in shades of grey, and returns the file:
// with the browsers' own a few calls at once take all of a small machine.
function pictures() {
  const file = join(mkdtempSync(join(tmpdir(), 'tk-camera-')), 'grey.y4m');
  const parts = [Buffer.from('YUV4MPEG2 W160 H120 F20:1 Ip A1:1 C420\n')];
  for (let i = 0; i < 20; i++) parts.push(Buffer.from('FRAME\n'), Buffer.alloc(160 * 120, 60 + 8 * i), Buffer.alloc(160 * 120 / 2, 128));
  writeFileSync(file, Buffer.concat(parts));
  return file;
}

function launchFirefox({ media, trust, mdns, insecure }) {
  const prefs = { ...firefoxPrefs };
  if (media) {
    prefs['media.navigator.streams.fake'] = true;
    prefs['media.navigator.permission.disabled'] = true;
    prefs['media.navigator.video.default_width'] = 160;
    prefs['media.navigator.video.default_height'] = 120;
  }
  if (trust) {
    prefs['media.devices.insecure.enabled'] = true;
    prefs['media.getusermedia.insecure.enabled'] = true;
  }
  if (!mdns) prefs['media.peerconnection.ice.obfuscate_host_addresses'] = false;
  return puppeteer.launch({
    browser: 'firefox', acceptInsecureCerts: insecure, executablePath: '/usr/bin/firefox-esr', defaultViewport: null, extraPrefsFirefox: prefs,
    env: { ...process.env, MOZ_HEADLESS: '1' },
  });
}

// useResolver lets a file stand for /etc/resolv.conf, for this script and its
// browsers alone: `ip netns exec` gave them mounts of their own.
export function useResolver(file) {
  execFileSync('mount', ['--bind', file, '/etc/resolv.conf']);
}

// openPage opens url in a new tab and throws if it answers, but not with 2xx.
//   width, height  of the viewport in CSS pixels; not in Firefox before 144
//   scheme         'light' or 'dark'; only in Chromium
export async function openPage(browser, url, { width, height, scheme } = {}) {
  const page = await browser.newPage();
  page.setDefaultTimeout(Math.max(patience, 30_000));
  page.on('pageerror', (err) => process.stderr.write(`error in ${url}: ${err.message}\n`));
  if (width && height) await page.setViewport({ width, height });
  if (scheme) await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  const response = await page.goto(url);
  if (response && !response.ok()) throw new Error(`${url} answered ${response.status()}`);
  return page;
}

// screenshot writes the whole page as a PNG file.
export function screenshot(page, path) {
  return page.screenshot({ path, fullPage: true });
}

// within rejects with a message if promise takes longer than limit ms.
export function within(limit, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${limit} ms`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// run runs a lab, prints its result and ends every browser, whatever
// happens, before LAB_LIMIT milliseconds are over. An error is a result too:
// {"error": "..."}.
export async function run(lab) {
  let result;
  try {
    result = await within(limit, 'lab', lab(JSON.parse(process.argv[2])));
  } catch (err) {
    result = { error: err.message };
  }
  await Promise.all([...open].map(kill));
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

// kill ends a browser and its helpers, which are one process group. Asked
// politely, Firefox takes more than five seconds after a call.
export function kill(browser) {
  const child = browser.process();
  if (child.exitCode !== null || child.signalCode !== null) return undefined;
  const ended = new Promise((resolve) => { child.once('exit', resolve); });
  process.kill(-child.pid, 'SIGKILL');
  return ended;
}
