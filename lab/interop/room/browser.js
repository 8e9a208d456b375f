// For browsers: turnkey.js does all of the protocol.
export async function chat(room, name) {
  const { join } = await import(new URL('/turnkey.js', location.href));
  const here = join(room, { name, media: [] });
  const notices = new Promise((_, reject) => {
    for (const kind of ['error', 'warning']) {
      here.addEventListener(kind, ({ detail: { code, message } }) => reject(new Error(`${code}: ${message}`)));
    }
  });

  const talk = (channel) => new Promise((resolve) => {
    const heard = new Set(), hello = `hello from ${name}`;
    channel.onmessage = ({ data }) => {
      heard.add(data);
      if (data !== hello) channel.send(data);
      if (heard.size === 2) resolve(); // it is echoed, and what was sent has come back
    };
    if (channel.readyState === 'open') channel.send(hello);
    else channel.onopen = () => channel.send(hello);
  });

  const met = (peer) => new Promise((resolve) => {
    const they = new Promise((done) => { peer.addEventListener('signal', done); });
    const both = async (channel) => {
      await talk(channel);
      peer.signal('done');
      resolve(they);
    };
    // Between browsers peer.send and its event "message" are all it takes; a channel
    // by name is for stacks that do not have turnkey.js at the other end.
    peer.pc.ondatachannel = ({ channel }) => both(channel);
    if (peer.present) both(peer.pc.createDataChannel('chat'));
  });

  await Promise.race([notices, new Promise((resolve) => {
    here.addEventListener('peer', ({ detail: peer }) => resolve(met(peer)), { once: true });
  })]);
  here.leave();
}
