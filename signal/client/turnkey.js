// Rooms of WebRTC peers over a turnkey server: signaling, ICE servers and
// reconnection, as docs/protocol.md says them.
//
//   import { join } from "https://HOST/turnkey.js";
//
//   const room = join("demo", { name: "Anna", stream });
//   room.addEventListener("peer", ({ detail: peer }) => {
//     video.srcObject = peer.stream;
//     peer.addEventListener("message", ({ detail }) => console.log(peer.name, detail));
//   });
//   room.send("hello");
//
// Peers offer and answer by perfect negotiation, so tracks, transceivers and
// data channels may be added to peer.pc at any time by either side. A failed
// connection restarts ICE by itself, a lost socket joins again by itself.

const settle = 4_000;       // ms that a broken path has to come back by itself
const patience = 10_000;    // ms that the server has to answer
const longestPause = 15_000; // ms between two attempts to join
const mostHeld = 200;       // candidates that wait for their description

// Close codes after which joining again is of no use: said bye, refused, full.
const final = [4000, 4003, 4010];

/**
 * Joins a room and returns it at once; its events tell the rest.
 *
 * @param {string} name of the room, 1 to 64 of A-Z a-z 0-9 . _ ~ -
 * @param {object} [options]
 * @param {string} [options.url] of the signaling endpoint; default /v1/ws of the server that this module came from
 * @param {string} [options.name] shown to the others, at most 64 characters
 * @param {object} [options.meta] shown to the others, at most 1024 bytes as JSON
 * @param {string} [options.token] an API key or a token, where the server wants one
 * @param {MediaStream} [options.stream] whose first audio and first video track are sent
 * @param {string[]} [options.media] kinds that are sent and received, default ["audio", "video"]; [] for data alone
 * @param {RTCIceTransportPolicy} [options.iceTransportPolicy] "all", or "relay" to use relays only
 * @returns {Room}
 */
export function join(name, options = {}) {
  return new Room(name, options);
}

/**
 * A room, and the way to the server.
 *
 * Events, their value in `detail`:
 *   state  the new state
 *   peer   a Peer that came, or was there
 *   error  {code, message, hint, fatal}; after a fatal one the state is "closed"
 */
class Room extends EventTarget {
  state = "connecting"; // then "joined", "reconnecting" while the socket is lost, and "closed" for good
  id = "";              // own peer id, new for each socket
  peers = new Map();    // by id, each with a connection

  #options; #url; #socket; #timer;
  #known = new Map();  // what the server said of who is in the room, by id
  #tracks = new Map(); // by kind
  #ice = { iceServers: [] };
  #expires = Infinity; // of the ICE servers, ms since the epoch
  #attempts = 0;
  #joinedAt = Infinity;
  #pause; // before the next attempt, if the server named one
  #ended = new AbortController();

  constructor(name, options) {
    super();
    this.name = name;
    this.#options = { media: ["audio", "video"], iceTransportPolicy: "all", ...options };
    this.#url = new URL(options.url ?? "/v1/ws", import.meta.url);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    for (const kind of this.#options.media) {
      this.#tracks.set(kind, options.stream?.getTracks().find((t) => t.kind === kind) ?? null);
    }
    this.#watchNetwork();
    this.#connect();
  }

  get iceTransportPolicy() { return this.#options.iceTransportPolicy; }

  /** Sends a string or bytes over the data channel of every peer that is connected. */
  send(data) {
    for (const peer of this.peers.values()) peer.send(data);
  }

  /** Replaces what is sent of a kind to every peer, now and later; null sends nothing. */
  replaceTrack(kind, track) {
    this.#tracks.set(kind, track);
    return Promise.all([...this.peers.values()].map((peer) => peer.replaceTrack(kind, track)));
  }

  /**
   * Sets whether every path is allowed ("all") or relays only ("relay"), and connects anew to
   * everybody: after an ICE restart Chromium would go on with the addresses it had.
   */
  setIceTransportPolicy(policy) {
    this.#options.iceTransportPolicy = policy;
    for (const id of [...this.peers.keys()]) {
      this.#tell({ type: "bye", peer: id });
      this.#disconnect(id, "renewed");
      this.#meet(id, { initiator: true, present: true });
    }
  }

  /** Leaves the room for good. */
  leave() {
    this.#tell({ type: "bye" });
    this.#close();
  }

  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #tell(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  // ICE servers that are about to expire are of no use for a restart: fresh
  // ones are asked for, and restart what is broken when they come.
  #renewing() {
    if (Date.now() < this.#expires - 60_000) return false;
    this.#tell({ type: "ice" });
    return true;
  }

  #connect() {
    const socket = new WebSocket(this.#url, "turnkey.v1");
    const { name, meta, token } = this.#options;
    socket.onopen = () => this.#tell({ type: "join", id: 1, room: this.name, name, meta, token: token || undefined });
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code }) => this.#lost(code);
    this.#socket = socket;
    this.#expect();
  }

  // The server has to answer, or the socket counts as lost.
  #expect() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(0), patience);
  }

  #receive(m) {
    switch (m.type) {
      case "welcome": return this.#welcome(m);
      case "peer-joined": return this.#add(m.peer, m);
      case "peer-left": return this.#remove(m.peer, m.reason);
      case "bye": return this.peers.get(m.peer)?.insists || this.#disconnect(m.peer, "renewed");
      case "ice": return this.#fresh(m);
      case "goaway": this.#pause = Math.random() * m.jitter * 1000; return undefined;
      case "error": return m.code === "peer_not_found" ? undefined : this.#emit("error", m); // it left just now
      case "offer": this.#meet(m.peer, { initiator: false, present: true }); // falls through
      default: return this.peers.get(m.peer)?.receive(m);
    }
  }

  // After a lost socket everybody is met anew: the others saw this peer leave.
  #welcome(m) {
    clearTimeout(this.#timer);
    this.#joinedAt = Date.now();
    this.id = m.peer;
    for (const id of this.#known.keys()) this.#remove(id, "rejoined");
    this.#fresh(m);
    this.#become("joined");
    for (const peer of m.peers) this.#add(peer.id, { ...peer, present: true });
  }

  #fresh({ iceServers, iceExpiresAt }) {
    clearTimeout(this.#timer);
    this.#ice = { iceServers };
    this.#expires = iceExpiresAt ? Date.parse(iceExpiresAt) : Infinity;
    this.#configure();
    for (const peer of this.peers.values()) if (peer.broken) peer.pc.restartIce();
  }

  get #configuration() {
    return { ...this.#ice, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require", iceTransportPolicy: this.#options.iceTransportPolicy };
  }

  #configure() {
    for (const { pc } of this.peers.values()) pc.setConfiguration(this.#configuration);
  }

  #add(id, facts) {
    this.#known.set(id, facts);
    this.#meet(id);
  }

  #remove(id, reason) {
    this.#known.delete(id);
    this.#disconnect(id, reason);
  }

  // Connects to a peer that is in the room, unless that is done.
  #meet(id, terms) {
    if (this.peers.has(id) || !this.#known.has(id)) return;
    const peer = new Peer(id, { ...this.#known.get(id), ...terms }, {
      tell: (message) => this.#tell({ ...message, peer: id }),
      renewing: () => this.#renewing(),
      fail: (error) => this.#emit("error", error),
      configuration: this.#configuration,
      tracks: this.#tracks,
    });
    this.peers.set(id, peer);
    this.#emit("peer", peer);
  }

  #disconnect(id, reason) {
    const peer = this.peers.get(id);
    this.peers.delete(id);
    peer?.close(reason);
  }

  #lost(code) {
    clearTimeout(this.#timer);
    if (this.#socket) {
      this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close();
      this.#socket = null;
    }
    const rejoin = this.#joinedAt < Infinity; // then a full room may be full of the lost socket
    if (final.includes(code) && !(rejoin && code === 4010)) return this.#close();
    if (Date.now() - this.#joinedAt > patience) this.#attempts = 0;
    if (!rejoin && this.#attempts === 0) {
      this.#emit("error", { code: "unreachable", message: "the server does not answer", hint: "Trying again. Is it running, and is this address not holding too many connections to it?" });
    }
    const pause = this.#pause ?? Math.min(longestPause, 500 * 2 ** this.#attempts) * (0.5 + Math.random() / 2);
    this.#attempts++;
    this.#pause = undefined;
    this.#timer = setTimeout(() => this.#connect(), pause);
    return rejoin && this.#become("reconnecting");
  }

  #close() {
    clearTimeout(this.#timer);
    this.#ended.abort();
    if (this.#socket) this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket?.close();
    for (const id of this.#known.keys()) this.#remove(id, "own");
    this.#become("closed");
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.#emit("state", state);
  }

  // A network that changed may have cut socket and paths without a word.
  #watchNetwork() {
    const { signal } = this.#ended;
    let { type } = navigator.connection ?? {};
    const changed = () => {
      if (this.state === "joined") {
        this.#tell({ type: "ice" });
        this.#expect();
        for (const peer of this.peers.values()) peer.restart();
      } else if (!this.#socket) {
        clearTimeout(this.#timer);
        this.#connect();
      }
    };
    addEventListener("online", changed, { signal });
    navigator.connection?.addEventListener("change", () => {
      if (navigator.connection.type === type) return; // only an estimate of the speed
      type = navigator.connection.type;
      changed();
    }, { signal });
  }
}

/**
 * Another peer in the room.
 *
 * Events, their value in `detail`:
 *   state    the state of its RTCPeerConnection
 *   track    a track that is now in its stream
 *   open     the data channel is open
 *   message  a string or an ArrayBuffer from the data channel
 *   signal   data that it sent through the server as `message`
 *   left     the reason that the server gives, "own" if it was us, or "renewed" or "rejoined" and another Peer follows
 */
class Peer extends EventTarget {
  stream = new MediaStream(); // what it sends
  #room; #polite; #initiator; #channel; #timer;
  #work = Promise.resolve(); // negotiation goes one step at a time
  #held = [];                // candidates whose description has not come
  #ignoring = false;         // the offer that its candidates belong to
  #offered;                  // names the last offer, and comes back with its answer

  constructor(id, { name = "", meta = {}, present = false, initiator, polite }, room) {
    super();
    Object.assign(this, { id, name, meta, present }); // present: it was here before us, or before a renewal
    this.#room = room;
    this.#initiator = initiator;
    this.#polite = polite;
    const pc = this.pc = new RTCPeerConnection(room.configuration);
    pc.onnegotiationneeded = () => this.#next(() => this.#offer());
    pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate !== "") room.tell({ type: "candidate", candidate });
    };
    pc.ontrack = ({ track }) => {
      this.stream.addTrack(track);
      this.#emit("track", track);
    };
    pc.onconnectionstatechange = () => this.#changed();
    this.#openChannel();
    if (initiator) for (const [kind, track] of room.tracks) pc.addTransceiver(track ?? kind);
  }

  get state() { return this.pc.connectionState; }
  // Both sides may renew at once: then the first offer of the impolite one counts.
  get insists() { return this.#initiator && !this.#polite && !this.pc.remoteDescription; }
  get broken() { return this.state === "failed" || this.state === "disconnected"; }

  /** Sends a string or bytes over the data channel; false if it is not open. */
  send(data) {
    const open = this.#channel.readyState === "open";
    if (open) this.#channel.send(data);
    return open;
  }

  /** Sends data, anything that JSON can hold, through the server. */
  signal(data) { this.#room.tell({ type: "message", data }); }

  /** Replaces what is sent of a kind; null sends nothing. */
  async replaceTrack(kind, track) {
    await this.#sender(kind)?.replaceTrack(track);
  }

  /** Finds new paths. */
  restart() {
    if (this.pc.remoteDescription && !this.#room.renewing()) this.pc.restartIce();
  }

  /** Ends the connection; the room does so when the peer leaves. */
  close(reason) {
    clearTimeout(this.#timer);
    this.pc.onconnectionstatechange = this.pc.onicecandidate = this.pc.onnegotiationneeded = null;
    this.pc.close();
    this.#emit("left", reason);
  }

  /** Takes a message of the protocol that came from this peer. */
  receive(m) {
    switch (m.type) {
      case "offer": case "answer": return this.#next(() => this.#describe(m));
      case "candidate": return this.#next(() => this.#candidate(m.candidate));
      case "message": return this.#emit("signal", m.data);
      default: return undefined; // of a later version
    }
  }

  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #next(step) {
    this.#work = this.#work.then(step).catch((err) => {
      if (this.pc.signalingState === "closed") return;
      this.#room.fail({ code: "negotiation_failed", message: `with ${this.name || this.id}: ${err.message}`, hint: "Reload the page; if it stays so, the two browsers may have no codec in common." });
    });
  }

  // Only the initiator makes the first offer. After it, who needs one makes it.
  async #offer() {
    const { pc } = this;
    if (!this.#initiator && !pc.remoteDescription || pc.signalingState !== "stable") return;
    await pc.setLocalDescription();
    this.#offered = Math.random().toString(36).slice(2);
    this.#room.tell({ type: "offer", sdp: pc.localDescription.sdp, offer: this.#offered });
  }

  // Steps never overlap, so an offer has crossed exactly if one of our own is
  // out: the polite side takes its own back, the other ignores what came.
  async #describe({ type, sdp, offer }) {
    const { pc } = this;
    const crossed = type === "offer" && pc.signalingState !== "stable";
    this.#ignoring = crossed && !this.#polite;
    const late = type === "answer" && (pc.signalingState !== "have-local-offer" || offer && offer !== this.#offered);
    if (this.#ignoring || late) return;
    const first = !pc.remoteDescription;
    await pc.setRemoteDescription({ type, sdp });
    if (first && !this.#initiator) await this.#attach();
    if (type === "offer") {
      await pc.setLocalDescription();
      this.#room.tell({ type: "answer", sdp: pc.localDescription.sdp, offer });
    }
    for (const candidate of this.#held.splice(0)) {
      if (this.#current(candidate)) await pc.addIceCandidate(candidate);
    }
  }

  // What the first offer wants to receive is sent where we have it.
  async #attach() {
    for (const [kind, track] of this.#room.tracks) {
      const sender = this.#sender(kind);
      if (!sender) continue;
      this.pc.getTransceivers().find((t) => t.sender === sender).direction = "sendrecv";
      await sender.replaceTrack(track);
    }
  }

  // The first of each kind; its receiver has a track also while the sender has none.
  #sender(kind) {
    return this.pc.getTransceivers().find((t) => t.receiver.track.kind === kind)?.sender;
  }

  async #candidate(candidate) {
    if (this.#current(candidate)) await this.pc.addIceCandidate(candidate);
    else if (this.#held.length < mostHeld) this.#held.push(candidate);
  }

  // A candidate belongs to the description that names its username fragment.
  #current(candidate) {
    const { remoteDescription: remote } = this.pc;
    if (!remote || !candidate && this.#ignoring) return false;
    const ufrag = candidate?.usernameFragment;
    return !ufrag || remote.sdp.split(/\r?\n/).includes(`a=ice-ufrag:${ufrag}`);
  }

  #changed() {
    clearTimeout(this.#timer);
    if (this.state === "failed") this.restart();
    if (this.state === "disconnected") this.#timer = setTimeout(() => this.restart(), settle);
    this.#emit("state", this.state);
  }

  #openChannel() {
    const channel = this.#channel = this.pc.createDataChannel("turnkey", { negotiated: true, id: 0 });
    channel.binaryType = "arraybuffer";
    channel.onopen = () => this.#emit("open");
    channel.onmessage = ({ data }) => this.#emit("message", data);
  }
}
