// @roamhq/wrtc: libwebrtc, which Chromium has, for Node.
import wrtc from '@roamhq/wrtc';

import { chat } from './chat.mjs';

await chat((iceServers) => new wrtc.RTCPeerConnection({ iceServers }));
