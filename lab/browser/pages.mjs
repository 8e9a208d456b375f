// Opens pages at several widths, light and dark, and looks for what no page
// may have.
//
// Input: url (origin), paths, browser, widths (CSS pixels), shots (a folder
// for pictures, or empty).
// Result: faults, one sentence each, and pages, how many were looked at.
import { join } from 'node:path';
import { launch, openPage, run, screenshot } from './driver.mjs';

// Over plain http Chromium says that some headers are for https only.
const usual = /^The Cross-Origin-Opener-Policy header has been ignored/;

run(async ({ url, paths, browser: name, widths, shots }) => {
  const browser = await launch(name);
  const schemes = name === 'chromium' ? ['light', 'dark'] : [undefined];
  const faults = [];
  let pages = 0;
  for (const path of paths) {
    for (const width of widths) {
      for (const scheme of schemes) {
        const which = [path, width, scheme].filter(Boolean).join(' ');
        const page = await openPage(browser, 'about:blank', { width, height: 900, scheme });
        page.on('console', (m) => { if (m.type() === 'error' && !usual.test(m.text())) faults.push(`${which}: console: ${m.text()}`); });
        page.on('pageerror', (err) => faults.push(`${which}: ${err.message}`));
        page.on('request', (r) => { if (/^(https?|wss?):/.test(r.url()) && !r.url().startsWith(url)) faults.push(`${which}: asks ${r.url()}`); });
        const response = await page.goto(url + path, { waitUntil: 'networkidle0' });
        if (!response.ok()) faults.push(`${which}: answered ${response.status()}`);
        faults.push(...(await page.evaluate(look)).map((fault) => `${which}: ${fault}`));
        if (shots) await screenshot(page, join(shots, `${name}${which.replaceAll(/[^a-z0-9]+/g, '-')}.png`));
        await page.close();
        pages += 1;
      }
    }
  }
  return { faults, pages };
});

// look runs in the page.
function look() {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) faults.push(`is ${root.scrollWidth} pixels wide in a window of ${innerWidth}`);
  if (!document.title) faults.push('has no title');
  if (!root.lang) faults.push('names no language');
  if (document.querySelectorAll('h1').length !== 1) faults.push('does not have exactly one h1');
  for (const e of document.querySelectorAll('img:not([alt]), button:empty:not([aria-label]), a:not([href])')) {
    if (!e.checkVisibility()) continue;
    faults.push(`${e.outerHTML.slice(0, 80)} says nothing to a screen reader`);
  }
  for (const e of document.querySelectorAll('input, select, textarea')) {
    if (!e.labels?.length && !e.ariaLabel) faults.push(`${e.outerHTML.slice(0, 80)} has no label`);
  }
  // Contrast of text against its background, WCAG 2: 4.5 to 1, 3 to 1 if large.
  const channels = (c) => c.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const backdrop = (e) => {
    for (; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c[3] === undefined || c[3] === 1) return c;
    }
    return channels(getComputedStyle(root).colorScheme.includes('dark') && matchMedia('(prefers-color-scheme: dark)').matches
      ? 'rgb(18, 18, 18)' : 'rgb(255, 255, 255)');
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    const style = getComputedStyle(e);
    if (!texts.currentNode.data.trim() || seen.has(e) || !e.checkVisibility() || !style.color.startsWith('rgb')) continue;
    seen.add(e);
    const [a, b] = [luminance(channels(style.color)), luminance(backdrop(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) faults.push(`"${texts.currentNode.data.trim().slice(0, 40)}" has a contrast of ${ratio.toFixed(2)}`);
  }
  return faults;
}
