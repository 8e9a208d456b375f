// Somebody calls seven peers that never answer, and reads on the page why nothing
// comes about.
//
// Input: url of the server, token for the room "doctor". Result: what the cards
// of the peers say, how often the page asked, and the errors of the console.
import { launch, run } from './driver.mjs';
import { Person } from './call-person.mjs';

run(async ({ url, token }) => {
  const browser = await launch('chromium', { media: true, trust: new URL(url).origin });
  const anna = await Person.open(browser, url, `doctor&token=${encodeURIComponent(token)}&name=Anna`);
  let asked = 0;
  anna.page.on('request', (r) => { asked += r.url().endsWith('/doctor'); });
  await anna.enter();
  await anna.until(() => document.querySelectorAll('.path .findings:not([hidden]) li').length >= 7);
  const said = await anna.page.$$eval('.path .findings', (lists) => lists.map((list) => list.textContent));
  return { said, asked, errors: anna.errors };
});
