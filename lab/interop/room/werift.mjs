// werift: WebRTC in TypeScript, for Node.
import { RTCPeerConnection } from 'werift';

import { chat } from './chat.mjs';

// It takes one URL an entry.
await chat((iceServers) => new RTCPeerConnection({
  iceServers: iceServers.flatMap(({ urls, ...rest }) => urls.map((url) => ({ urls: url, ...rest }))),
}));
