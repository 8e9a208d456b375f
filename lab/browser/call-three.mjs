// Three people in a room; one switches to relays, then all switch at once, one loses the server, one
// finds the network changed, one shows the screen. Each time, pictures and
// sound of the two others come to everybody.
//
// Input: url of the server, browsers (three names).
// Result: what went on, step by step, and the errors of the consoles; also
// where it stopped.
import { launch, run } from './driver.mjs';
import { Person } from './call-person.mjs';

run(async ({ url, browsers }) => {
  const running = {};
  const origin = new URL(url).origin;
  for (const name of new Set(browsers)) running[name] = await launch(name, { media: true, trust: origin });
  const steps = [];
  const people = [];
  try {
    await call(people, steps, url, browsers.map((name) => running[name]));
  } catch (err) {
    return { steps, error: err.message };
  }
  return { steps, errors: people.flatMap((p) => p.errors) };
});

async function call(people, steps, url, browsers) {
  for (const [i, browser] of browsers.entries()) {
    const p = await Person.open(browser, url, `three&name=${['Anna', 'Bob', 'Chiara'][i]}`);
    await p.enter();
    people.push(p);
  }
  const [anna, bob, chiara] = people;
  const everybody = async (what) => {
    for (const p of people) await p.sees(2);
    for (const p of people) await p.plays(2);
    steps.push(what);
  };
  await everybody('joined');

  await anna.says('Good morning');
  await bob.hears('Anna', 'Good morning');
  await chiara.hears('Anna', 'Good morning');
  steps.push('chat');

  await bob.press('#show-paths');
  await bob.press('#paths .relay');
  await bob.until(() => [...document.querySelectorAll('[data-fact=local]')].filter((e) => e.textContent.startsWith('relay')).length === 2);
  await everybody('relay');

  const flip = () => document.querySelector('#paths .relay').click();
  await Promise.all([anna, chiara, bob].map((p) => p.page.evaluate(flip)));
  await everybody('at once');

  const connections = await chiara.page.evaluate(() => lab.pcs.length);
  await chiara.page.evaluate(() => lab.sockets.at(-1).close(4999));
  await chiara.until(() => lab.sockets.length === 2 && document.getElementById('link-state').hidden);
  if (await chiara.page.evaluate(() => lab.pcs.length) !== connections) throw new Error('connected anew after a lost socket');
  await everybody('resumed');

  const before = await anna.page.evaluate(() => lab.ufrag());
  await anna.page.evaluate(() => dispatchEvent(new Event('online')));
  await anna.until((before) => lab.ufrag() !== before, before);
  await everybody('restarted');

  await anna.press('#screen');
  await bob.until(() => document.querySelector('.tile[aria-label=Anna].screen'));
  await anna.press('#screen');
  await bob.until(() => !document.querySelector('.tile[aria-label=Anna].screen'));
  await everybody('screen');
}
