// Two people call each other, over any path or over relays alone.
//
// Input: url of the server, browsers (two names; the second comes later),
// relay (for each call to make, whether over relays alone).
// Result: for each call what the panel and getStats say on both
// sides, and how loud the first was before and after being muted.
import { launch, run } from './driver.mjs';
import { Person } from './call-person.mjs';

run(async ({ url, browsers, relay }) => {
  const running = {};
  const origin = new URL(url).origin;
  for (const name of new Set(browsers)) running[name] = await launch(name, { media: true, trust: origin });
  const calls = [];
  for (const forced of relay) calls.push(await call(browsers.map((name) => running[name]), url, forced));
  return { calls };
}, 85_000);

async function call(browsers, url, relay) {
  const room = relay ? 'pair&relay' : 'pair';
  const anna = await Person.open(browsers[0], url, `${room}&name=Anna`);
  const bob = await Person.open(browsers[1], url, `${room}&name=Bob`);
  await anna.enter();
  await bob.enter();
  const both = [anna, bob];
  for (const p of both) await p.sees(1);
  const flows = [];
  for (const p of both) flows.push(await p.plays(1));
  await anna.says('Hello Bob');
  await bob.hears('Anna', 'Hello Bob');
  await bob.says('Hello Anna');
  await anna.hears('Bob', 'Hello Anna');
  const paths = [];
  for (const p of both) paths.push(await p.path());

  const loud = await bob.loudness();
  await anna.press('#mic');
  await bob.tile('Anna', 'audio', 'off');
  const muted = await bob.quiet(loud / 100);
  await anna.press('#mic');
  await bob.tile('Anna', 'audio', 'on');

  await anna.press('#cam');
  await bob.tile('Anna', 'video', 'off');
  await anna.press('#cam');
  await bob.tile('Anna', 'video', 'on');
  await bob.plays(1);

  await anna.press('#leave');
  await bob.until(() => document.querySelectorAll('#tiles .tile').length === 1);
  await bob.hears('', 'Anna left.');
  await anna.until(() => document.getElementById('lobby-title').innerText === 'You left the call');
  const errors = both.flatMap((p) => p.errors);
  for (const p of both) await p.page.close();
  return { relay, paths, loud, muted, flows, errors };
}
