// Somebody calls a peer that never answers, and reads on the page why nothing
// comes about.
//
// Input: url of the server, token for the room "doctor". Result: what the card
// of the peer says, and the errors of the console.
import { launch, run } from './driver.mjs';
import { Person } from './call-person.mjs';

run(async ({ url, token }) => {
  const browser = await launch('chromium', { media: true, trust: new URL(url).origin });
  const anna = await Person.open(browser, url, `doctor&token=${encodeURIComponent(token)}&name=Anna`);
  await anna.enter();
  await anna.until(() => document.querySelector('.path .findings:not([hidden]) li'));
  const said = await anna.page.$eval('.path .findings', (list) => list.textContent);
  return { said, errors: anna.errors };
}, 60_000);
