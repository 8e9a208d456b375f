// node-datachannel: libdatachannel with a browser's names, for Node.
import { RTCPeerConnection } from 'node-datachannel/polyfill';

import { chat } from './chat.mjs';

// It makes URLs of usernames and credentials, and escapes neither.
const escaped = ({ urls, username, credential }) => (username
  ? { urls, username: encodeURIComponent(username), credential: encodeURIComponent(credential) } : { urls });

// It refuses names of media sections longer than three characters, and has but one.
class Connection extends RTCPeerConnection {
  addIceCandidate({ candidate }) { return super.addIceCandidate({ candidate, sdpMLineIndex: 0 }); }
}

await chat((iceServers) => new Connection({ iceServers: iceServers.map(escaped) }));
