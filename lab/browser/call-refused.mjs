// A server that wants a key and lets two into a room; a page over plain http;
// a person who refuses the camera.
//
// Input: url of the server, key, token for the room "full".
// Result: what the people read.
import { launch, run } from './driver.mjs';
import { Person } from './call-person.mjs';

run(async ({ url, key, token }) => {
  const secure = await launch('chromium', { media: true, trust: new URL(url).origin });
  const plain = await launch('chromium', { media: true });
  const read = (p, id) => p.page.$eval(`#${id}`, (e) => (e.hidden ? '' : e.innerText));

  const anna = await Person.open(secure, url, 'full&name=Anna');
  await anna.join();
  await anna.until(() => !document.getElementById('problem').hidden);
  const asked = await read(anna, 'problem');
  await anna.page.type('#key', key);
  await anna.press('#join');
  await anna.until(() => document.querySelector('.call.in-call'));

  const bob = await Person.open(plain, url, `full&name=Bob&token=${token}`);
  const address = bob.page.url();
  const notice = await read(bob, 'notice');
  await bob.enter();
  await bob.sees(1);
  await bob.plays(1);
  await bob.says('I see you');
  await anna.hears('Bob', 'I see you');
  await anna.tile('Bob', 'video', 'off');

  const chiara = await Person.open(secure, url, `full&name=Chiara&token=${token}`, () => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
  });
  await chiara.until(() => !document.getElementById('again').hidden);
  const refused = await read(chiara, 'notice');
  await chiara.join();
  await chiara.until(() => !document.getElementById('problem').hidden);
  return { asked, address, notice, refused, full: await read(chiara, 'problem'), errors: [...anna.errors, ...chiara.errors] };
});
