// Opens the NAT page and waits until it has a report, or says why not.
//
// Input: url (of the page), browser, key (to enter when the page asks for one),
// views: [{width, height, scheme, shot, fold}] to take pictures of, with fold of
// what is seen without scrolling.
// Result: the report, what the page shows, and what the console complains of.
import { launch, openPage, patience, run, screenshot } from './driver.mjs';

const usual = /^The Cross-Origin-Opener-Policy header has been ignored/;

run(async ({ url, browser: name, key = '', views = [] }) => {
  const browser = await launch(name);
  const page = await openPage(browser, 'about:blank', views[0] ?? {});
  const errors = [];
  page.on('console', (m) => { if (m.type() === 'error' && !usual.test(m.text())) errors.push(m.text()); });
  page.on('pageerror', (err) => errors.push(err.message));
  const begun = Date.now();
  await page.goto(url);
  const over = () => page.waitForFunction(() => globalThis.natReport?.() || !document.getElementById('problem').hidden, { timeout: patience });
  await over();
  const took = Date.now() - begun;
  const asked = await page.evaluate(() => document.getElementById('problem').textContent);
  if (key) { // by keyboard alone
    await page.focus('#key');
    await page.keyboard.type(key);
    await page.keyboard.press('Enter');
    await over();
  }
  const got = await page.evaluate(() => globalThis.natReport() ?? { problem: document.getElementById('problem').textContent });
  for (const { width, height, scheme, shot, fold } of views) {
    await page.setViewport({ width, height });
    if (scheme && name === 'chromium') await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
    await (fold ? page.screenshot({ path: shot }) : screenshot(page, shot));
  }
  return { ...got, asked, took, errors, copied: await page.evaluate(copy) };
});

// copy presses the button and returns what a person could paste.
function copy() {
  let text = '';
  document.execCommand = () => { text = document.activeElement.value ?? ''; return true; };
  if (navigator.clipboard) Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (t) => { text = t; } } });
  document.getElementById('copy').click();
  return new Promise((resolve) => { setTimeout(() => resolve(text), 100); });
}
