// Joins a room of a turnkey server, as docs/protocol.md says it, and talks over a
// data channel to whoever else comes: each says hello and echoes what it hears.
// For every stack whose RTCPeerConnection is like a browser's.
//
// usage: node STACK.mjs wss://HOST/v1/ws ROOM NAME
import { on } from 'node:events';

import WebSocket from 'ws';

const [url, room, name] = process.argv.slice(2);
const ws = new WebSocket(url);
const tell = (message) => ws.send(JSON.stringify(message));
const fail = (why) => { console.error(`${name}: ${why}`); process.exit(1); };

// chat makes its connection with connect(iceServers), once it knows them.
export async function chat(connect) {
  let pc, peer, iceServers;
  const done = { we: false, they: false };
  const finish = () => {
    if (!done.we || !done.they) return;
    ws.removeAllListeners('message');
    ws.on('close', () => process.exit(0));
    tell({ type: 'bye' });
  };

  const meet = (id) => {
    peer = id;
    pc = connect(iceServers);
    pc.onicecandidate = ({ candidate }) => candidate?.candidate !== '' && tell({ type: 'candidate', peer, candidate: candidate ?? null });
    pc.ondatachannel = ({ channel }) => talk(channel);
  };
  const talk = (channel) => {
    const heard = new Set(), hello = `hello from ${name}`;
    const open = () => channel.send(hello);
    channel.onmessage = ({ data }) => {
      heard.add(data);
      if (data !== hello) channel.send(data);
      if (heard.size < 2) return;
      done.we = true; // it is echoed, and what was sent has come back
      tell({ type: 'message', peer, data: 'done' });
      finish();
    };
    if (channel.readyState === 'open') open();
    else channel.onopen = open;
  };
  const describe = async (type) => {
    await pc.setLocalDescription(await (type === 'offer' ? pc.createOffer() : pc.createAnswer()));
    tell({ type, peer, sdp: pc.localDescription.sdp });
  };

  setTimeout(() => fail(`not done within 20 s: connection ${pc?.connectionState}`), 20_000);
  ws.on('error', (err) => fail(err.message));
  ws.on('open', () => tell({ type: 'join', room, name, rollback: false }));
  for await (const [frame] of on(ws, 'message')) { // one after the other
    const m = JSON.parse(frame);
    switch (m.type) {
      case 'welcome':
        console.log('joined');
        ({ iceServers } = m);
        for (const { id, initiator } of m.peers.slice(0, 1)) {
          meet(id);
          if (!initiator) break;
          talk(pc.createDataChannel('chat'));
          await describe('offer');
        }
        break;
      case 'offer':
        if (!pc) meet(m.peer);
        await pc.setRemoteDescription({ type: 'offer', sdp: m.sdp });
        await describe('answer');
        break;
      case 'answer': await pc.setRemoteDescription({ type: 'answer', sdp: m.sdp }); break;
      case 'candidate': if (m.candidate) await pc.addIceCandidate(m.candidate); break;
      case 'message': done.they = true; finish(); break;
      case 'error': case 'warning': fail(`${m.code}: ${m.message}; ${m.hint}`); break;
      default: // who comes will offer
    }
  }
}
