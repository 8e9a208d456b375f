// The page /lint as a person uses it, by keyboard.
//
// Input: url of the server, texts to paste, shot (a file for a picture, or empty).
// Result: what the page says of each: its headline and the codes.
import { launch, openPage, run, screenshot } from './driver.mjs';

run(async ({ url, texts, shot }) => {
  const browser = await launch('chromium');
  const page = await openPage(browser, `${url}lint`, { width: 390, height: 844 });
  const said = [];
  for (const text of texts) {
    await page.focus('#text');
    await page.evaluate((text) => { document.querySelector('#text').value = text; }, text);
    await page.keyboard.press('Tab');
    const answered = page.waitForResponse((r) => r.url().endsWith('/v1/lint'));
    await page.keyboard.press('Enter');
    await answered;
    await page.waitForFunction(() => !document.querySelector('#result').hidden);
    said.push(await page.evaluate(() => ({
      headline: document.querySelector('#h-result').textContent,
      codes: [...document.querySelectorAll('#findings code')].map((e) => e.textContent),
      mended: document.querySelector('#text-mended').textContent,
    })));
    if (shot) await screenshot(page, shot);
    await page.evaluate(() => { document.querySelector('#result').hidden = true; });
  }
  return { said };
});
