// Two people call each other.
//
// Input: url of the server, browsers (two names; the second comes later), ways
// (for each call to make: over "any" path, over two relays, over a "half" of
// them, Anna's, or "direct"), token (that gives no relays).
// Result: for each call what the panel and getStats say on both sides, and for
// the last how loud Anna was before and after being muted.
import { launch, run } from './driver.mjs';
import { Person } from './call-person.mjs';

run(async ({ url, browsers, ways, token }) => {
  const running = {};
  const origin = new URL(url).origin;
  for (const name of new Set(browsers)) running[name] = await launch(name, { media: true, trust: origin });
  const calls = [];
  for (const way of ways) calls.push(await call(browsers.map((name) => running[name]), url, way, token, way === ways.at(-1)));
  return { calls };
});

async function call(browsers, url, way, token, mutes) {
  const none = `&token=${token}`;
  const [hers, his] = { any: ['', ''], relay: ['&relay', '&relay'], half: ['&relay', none], direct: [none, none] }[way];
  const anna = await Person.open(browsers[0], url, `${way}&name=Anna${hers}`);
  const bob = await Person.open(browsers[1], url, `${way}&name=Bob${his}`);
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

  const sound = mutes ? await mute(anna, bob) : {};

  await anna.press('#leave');
  await bob.until(() => document.querySelectorAll('#tiles .tile').length === 1);
  await bob.hears('', 'Anna left.');
  await anna.until(() => document.getElementById('lobby-title').innerText === 'You left the call');
  const errors = both.flatMap((p) => p.errors);
  for (const p of both) await p.page.close();
  return { way, paths, sound, flows, errors };
}

// mute stops and starts what Anna sends, and returns how loud she was before and after.
async function mute(anna, bob) {
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
  return { loud, muted };
}
