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
// connection restarts ICE by itself. A lost socket is replaced by itself, and
// what was under way then arrives all the same, once and in order.
//
// Types are in turnkey.d.ts.

const settle = 4_000;        // ms that a broken path has to come back by itself
const patience = 10_000;     // ms that the server has to answer
const firstPause = 250;      // ms before the first attempt to come back
const longestPause = 15_000; // ms between two attempts
const mostCandidates = 200;  // that wait for their description
const mostRequests = 1024;   // that wait for the server
const ackAfter = 100;        // messages
const offerAgain = 30_000;   // ms; the server keeps what waits for somebody for twice as long

// Close codes after which joining again is of no use: said bye, refused, full.
const final = [4000, 4003, 4010];
// Unlike 1000 and 1001, it leaves the session to be resumed.
const abandoned = 4100;
// What follows from two peers that go or renew at once: what matters of it is sent again.
const benign = ["peer_not_found", "answer_without_offer", "answer_stale", "candidate_stale"];

/**
 * Joins a room and returns it at once; its events tell the rest.
 *
 * name: 1 to 64 of A-Z a-z 0-9 . _ ~ -
 * options, none of which is needed in a browser:
 *   url     of the signaling endpoint; default /v1/ws of the server that this module came from
 *   name    shown to the others, at most 64 characters
 *   meta    shown to the others, an object of at most 1024 bytes as JSON
 *   token   an API key or a token, where the server wants one
 *   stream  whose first audio and first video track are sent
 *   wait    true offers to whoever comes next before anybody is there, so that who cannot offer may come; default false
 *   media   kinds that are sent and received, default ["audio", "video"]; [] for data alone, the default in Node
 *   iceTransportPolicy            "all", or "relay" to use relays only
 *   WebSocket, RTCPeerConnection  where the language has none, as in Node 20
 */
export function join(name, options = {}) {
  return new Room(name, options);
}

/**
 * A room, and the way to the server.
 *
 * Events, their value in `detail`:
 *   state    the new state
 *   peer     a Peer that came, or was there
 *   server   data that the operator of the server sent
 *   warning  {code, message, hint}: it works as it is, and may not elsewhere; with not_delivered, perhaps {peer, data} of the message
 *   error    {code, message, hint, fatal}; after a fatal one the socket is closed
 */
class Room extends EventTarget {
  state = "connecting"; // then "joined", "reconnecting" while the socket is lost, and "closed" for good
  id = "";              // own peer id, kept as long as the session can be resumed
  peers = new Map();    // by id, each with a connection

  #options; #url; #socket; #timer; #pacer;
  #session = new Session();
  #next = null;        // a Peer that offers to whoever comes next
  #known = new Map();  // what the server said of who is in the room, by id
  #tracks = new Map(); // by kind
  #ice = { iceServers: [] };
  #attempts = 0;
  #joinedAt = Infinity;
  #pause; // before the next attempt, if the server named one
  #ended = new AbortController();

  constructor(name, options) {
    super();
    this.name = name;
    this.#options = {
      media: globalThis.MediaStream ? ["audio", "video"] : [],
      iceTransportPolicy: "all",
      WebSocket: globalThis.WebSocket,
      RTCPeerConnection: globalThis.RTCPeerConnection,
      ...options,
    };
    this.#url = new URL(options.url ?? "/v1/ws", import.meta.url);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    for (const kind of this.#options.media) {
      this.#tracks.set(kind, options.stream?.getTracks().find((t) => t.kind === kind) ?? null);
    }
    this.#watchNetwork();
    if (options.wait) {
      const timer = setInterval(() => this.#next?.repeat(), offerAgain);
      this.#ended.signal.addEventListener("abort", () => clearInterval(timer));
    }
    this.#connect();
  }

  get iceTransportPolicy() { return this.#options.iceTransportPolicy; }

  /** Sends a string or bytes over the data channel of every peer that is connected. */
  send(data) {
    for (const peer of this.peers.values()) peer.send(data);
  }

  /** Sends data, anything that JSON can hold, to all others through the server; false if it cannot take it. */
  signal(data) { return this.#request({ type: "message", peer: "*", data }); }

  /** Changes what the others see: {name} or {meta} or both. */
  update({ name, meta }) {
    if (name !== undefined) this.#options.name = name;
    if (meta !== undefined) this.#options.meta = meta;
    return this.#request({ type: "update", name, meta });
  }

  /** Replaces what is sent of a kind to every peer, now and later; null sends nothing. */
  replaceTrack(kind, track) {
    this.#tracks.set(kind, track);
    return Promise.all(this.#connections.map((peer) => peer.replaceTrack(kind, track)));
  }

  /** Allows every path ("all") or relays only ("relay"), by new connections: Chromium keeps its addresses in a restart. */
  setIceTransportPolicy(policy) {
    this.#options.iceTransportPolicy = policy;
    for (const id of [...this.peers.keys()]) this.#again(id);
    this.#await();
  }

  /** Leaves the room for good. */
  leave() {
    this.#tell({ type: "bye" });
    this.#close();
  }

  // --- what is sent

  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  // Now or never.
  #tell(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message)); // 1: open
  }

  // Now or when the server is back, once, and in order.
  #request(message) {
    if (this.state === "closed") return false;
    try {
      this.#session.hold(message);
    } catch (err) {
      this.#emit("error", { code: "not_sent", message: err.message, hint: "Send big or frequent data over a data channel." });
      return false;
    }
    this.#write();
    return true;
  }

  #write() {
    clearTimeout(this.#pacer);
    while (this.state === "joined" && this.#session.waiting) {
      if (!this.#session.mayWrite(Date.now())) {
        this.#pacer = setTimeout(() => this.#write(), 100);
        return;
      }
      this.#socket.send(this.#session.next());
    }
  }

  // Asks for fresh ICE servers, which shows whether the socket lives. A new socket brings some anyway.
  #renew() {
    if (this.state !== "joined" || this.#timer) return;
    this.#tell({ type: "ice" });
    this.#expect();
  }

  // --- the socket

  #connect() {
    const socket = new this.#options.WebSocket(this.#url, "turnkey.v1");
    socket.onopen = () => this.#greet();
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code }) => this.#lost(code);
    socket.onerror = () => {}; // close follows, and Node wants somebody to listen
    this.#socket = socket;
    this.#expect();
  }

  #greet() {
    const { name, meta, token, wait } = this.#options;
    this.#tell(this.#session.greeting({ type: "join", room: this.name, name, meta, token: token || undefined, resume: true, wait }));
  }

  // The server has to answer, or the socket counts as lost.
  #expect() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(0), patience);
  }

  #answered() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #lost(code) {
    this.#answered();
    this.#drop();
    const rejoin = this.#joinedAt < Infinity; // then a full room may be full of the lost socket
    if (final.includes(code) && !(rejoin && code === 4010)) return this.#close();
    if (this.state === "joined" && Date.now() - this.#joinedAt > patience) this.#attempts = 0;
    if (!rejoin && this.#attempts === 0) {
      this.#emit("error", { code: "unreachable", message: "the server does not answer", hint: "Trying again. Is it running, and is this address not holding too many connections to it?" });
    }
    const pause = this.#pause ?? Math.min(longestPause, firstPause * 2 ** this.#attempts) * (0.5 + Math.random() / 2);
    this.#attempts++;
    this.#pause = undefined;
    this.#timer = setTimeout(() => this.#connect(), pause);
    return rejoin && this.#become("reconnecting");
  }

  #drop() {
    if (!this.#socket) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(abandoned);
    this.#socket = null;
  }

  #close() {
    this.#answered();
    clearTimeout(this.#pacer);
    this.#ended.abort();
    this.#drop();
    this.#forget("own");
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
    const { connection } = globalThis.navigator ?? {};
    let type = connection?.type;
    const changed = () => {
      for (const peer of this.peers.values()) peer.restart();
      this.#await();
      this.#renew();
      if (this.#socket || this.state === "closed") return;
      clearTimeout(this.#timer);
      this.#connect();
    };
    globalThis.addEventListener?.("online", changed, { signal });
    globalThis.document?.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#renew(); // the machine may have slept
    }, { signal });
    connection?.addEventListener?.("change", () => {
      if (connection.type === type) return; // only an estimate of the speed
      type = connection.type;
      changed();
    }, { signal });
  }

  // --- what the server says

  #receive(m) {
    const fresh = this.#session.take(m);
    if (fresh === undefined) return this.#lost(0); // something is missing: have it sent again
    const ack = this.#session.ack();
    if (ack) this.#tell(ack);
    return fresh && this.#handle(m);
  }

  #handle(m) {
    switch (m.type) {
      case "welcome": return this.#welcome(m);
      case "resumed": return this.#joined(m);
      case "peer-joined": return this.#add(m.peer, m);
      case "peer-left": return this.#remove(m.peer, m.reason);
      case "peer-away": return this.#change(m.peer, { away: true }, "away");
      case "peer-back": return this.#change(m.peer, { away: false }, "back");
      case "peer-updated": return this.#change(m.peer, { name: m.name ?? "", meta: m.meta ?? {} }, "updated");
      case "bye": return this.peers.get(m.peer)?.insist() || this.#disconnect(m.peer, "renewed");
      case "ice": return this.#fresh(m);
      case "goaway": this.#pause = Math.random() * m.jitter * 1000; return undefined;
      case "warning": return benign.includes(m.code) || this.#emit("warning", m);
      case "error": return this.#refused(m);
      case "message": if (m.peer === "server") return this.#emit("server", m.data); // falls through
      case "offer": case "offer-request": this.#meet(m.peer, { initiator: false, present: true }); // falls through
      default: return this.peers.get(m.peer)?.receive(m);
    }
  }

  // If a session cannot be resumed, all are met anew: they saw this peer leave.
  #refused(m) {
    if (m.code === "resume_expired") {
      this.#undelivered(this.#session.expire(m.lastId), "a message may not have arrived", "The session ended first; send it anew, if twice does no harm.");
      this.#forget("rejoined");
      this.#greet();
    } else if (!benign.includes(m.code)) this.#emit(m.code === "not_delivered" ? "warning" : "error", m);
  }

  #undelivered(messages, message, hint) {
    for (const { peer, data } of messages) this.#emit("warning", { code: "not_delivered", message, hint, peer, data });
  }

  #welcome(m) {
    this.id = m.peer;
    this.#forget("rejoined");
    this.#undelivered(this.#session.keep(m.peers.map(({ id }) => id)), "who a message is for is gone", "Send it to who has come in its place.");
    this.#joined(m);
    for (const peer of m.peers) this.#add(peer.id, { ...peer, present: true });
    this.#await();
  }

  #joined(m) {
    this.#joinedAt = Date.now();
    this.#fresh(m);
    this.#become("joined");
    this.#write();
  }

  #fresh({ iceServers }) {
    this.#answered();
    this.#ice = { iceServers };
    for (const peer of this.#connections) peer.configure(this.#configuration);
  }

  get #connections() { return [...this.peers.values(), ...(this.#next ? [this.#next] : [])]; }

  get #configuration() {
    return { ...this.#ice, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require", iceTransportPolicy: this.#options.iceTransportPolicy };
  }

  // --- who is there

  #add(id, facts) {
    this.#known.set(id, facts);
    if (this.#next && facts.initiator && !facts.present) this.#taken(id, facts);
    else this.#meet(id);
  }

  #change(id, facts, event) {
    const known = this.#known.get(id);
    if (!known) return;
    Object.assign(known, facts);
    this.peers.get(id)?.change(facts, event);
  }

  #remove(id, reason) {
    this.#known.delete(id);
    this.#disconnect(id, reason);
  }

  #forget(reason) {
    for (const id of [...this.#known.keys()]) this.#remove(id, reason);
    this.#next?.close(reason);
    this.#next = null;
  }

  // Connects to a peer that is in the room, unless that is done.
  #meet(id, terms) {
    if (this.peers.has(id) || !this.#known.has(id)) return;
    const peer = this.#make(id, { ...this.#known.get(id), ...terms });
    this.peers.set(id, peer);
    this.#emit("peer", peer);
  }

  #make(id, facts) {
    const peer = new Peer(id, facts, {
      tell: (message) => this.#request({ ...message, peer: peer.id }),
      renew: () => this.#renew(),
      again: () => this.#again(peer.id),
      fail: (error) => this.#emit("error", error),
      RTCPeerConnection: this.#options.RTCPeerConnection,
      configuration: this.#configuration,
      tracks: this.#tracks,
    });
    return peer;
  }

  // Offers to whoever comes next, if that is wanted, by a new connection.
  #await() {
    this.#next?.close("renewed");
    this.#next = this.#options.wait && this.state === "joined" ? this.#make("next", { initiator: true, polite: true }) : null;
  }

  // Who has come took the offer that waited; another one waits from now on.
  #taken(id, facts) {
    const peer = this.#next;
    this.#next = null;
    peer.become(id, facts);
    this.peers.set(id, peer);
    this.#await();
    this.#emit("peer", peer);
  }

  // A new connection in place of the one there is.
  #again(id) {
    this.#request({ type: "bye", peer: id });
    this.#disconnect(id, "renewed");
    this.#meet(id, { initiator: true, present: true });
  }

  #disconnect(id, reason) {
    const peer = this.peers.get(id);
    this.peers.delete(id);
    peer?.close(reason);
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
 *   away     its socket is lost, and it may come back; the connection goes on
 *   back     it has a socket again
 *   updated  its name or meta is another
 *   left     the reason that the server gives, "own" if it was us, or "renewed" or "rejoined" and another Peer follows
 */
class Peer extends EventTarget {
  stream = globalThis.MediaStream ? new MediaStream() : null; // what it sends
  #room; #polite; #initiator; #channel; #timer;
  #work = Promise.resolve(); // negotiation goes one step at a time
  #held = [];                // candidates whose description has not come
  #ignoring = false;         // the offer that its candidates belong to
  #offered = "";             // names the offer that has no answer yet, and comes back with that
  #blind = false;            // it offered before it was known to whom
  #stale = false;            // ICE is to be restarted when fresh servers come
  #closed = false;

  constructor(id, { name = "", meta = {}, present = false, away = false, initiator, polite }, room) {
    super();
    Object.assign(this, { id, name, meta, present, away }); // present: it was here before us, or before a renewal
    this.#room = room;
    this.#initiator = initiator;
    this.#polite = polite;
    const pc = this.pc = new room.RTCPeerConnection(room.configuration);
    pc.onnegotiationneeded = () => this.#next(() => this.#offer());
    pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate === "") return;
      const usernameFragment = candidate ? undefined : /^a=ice-ufrag:(\S+)/m.exec(pc.localDescription?.sdp)?.[1];
      room.tell({ type: "candidate", candidate, usernameFragment });
    };
    pc.ontrack = ({ track }) => {
      this.stream?.addTrack(track);
      this.#emit("track", track);
    };
    pc.onconnectionstatechange = () => this.#changed();
    if (initiator) this.#begin();
  }

  get state() { return this.pc.connectionState; }

  /** Sends a string or bytes over the data channel; false if it is not open. */
  send(data) {
    const open = this.#channel?.readyState === "open";
    if (open) this.#channel.send(data);
    return open;
  }

  /** Sends data, anything that JSON can hold, through the server; false if it cannot take it. */
  signal(data) { return this.#room.tell({ type: "message", data }); }

  /** Replaces what is sent of a kind; null sends nothing. */
  async replaceTrack(kind, track) {
    await this.#sender(kind)?.replaceTrack(track);
  }

  /** Finds new paths, as soon as there are fresh ICE servers. */
  restart() {
    this.#stale = true;
    this.#room.renew();
  }

  /* What follows is for the room. */

  /** Ends the connection; the room does so when the peer leaves. */
  close(reason) {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.pc.onconnectionstatechange = this.pc.onicecandidate = this.pc.onnegotiationneeded = null;
    this.pc.close();
    this.#emit("left", reason);
  }

  /** Takes a message of the protocol that came from this peer. */
  receive(m) {
    switch (m.type) {
      case "offer": case "answer": return this.#next(() => this.#describe(m));
      case "candidate": return this.#next(() => this.#candidate(m));
      case "restart": return this.#next(() => this.#restart());
      case "offer-request": return this.#next(() => (this.#described ? this.#offer() : this.#begin()));
      case "message": return this.#emit("signal", m.data);
      default: return undefined; // of a later version
    }
  }

  // Some stacks close by themselves what has failed.
  get broken() { return ["disconnected", "failed", "closed"].includes(this.state); }

  /** Takes fresh ICE servers, which a broken connection is waiting for. */
  configure(configuration) {
    this.pc.setConfiguration(configuration);
    if (this.#stale || this.broken) this.#restart();
  }

  change(facts, event) {
    Object.assign(this, facts);
    this.#emit(event);
  }

  /** Offers once more to whoever comes next. */
  repeat() {
    if (this.pc.iceGatheringState === "complete") this.#repeat(); // then all candidates are in it
  }

  /** Is from now on who has come, and took the offer. */
  become(id, { name = "", meta = {} }) {
    Object.assign(this, { id, name, meta });
    this.#blind = true;
  }

  /** Says whether to ignore a bye: if both renew at once, the impolite one's offer counts, which the server forgot. */
  insist() {
    const insists = this.#initiator && !this.#polite && !this.#described;
    if (insists) this.#repeat();
    return insists;
  }

  // --- negotiation

  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #next(step) {
    this.#work = this.#work.then(() => !this.#closed && step()).catch((err) => {
      if (this.#closed || this.state === "closed") return;
      this.#room.fail({ code: "negotiation_failed", message: `with ${this.name || this.id}: ${err.message}`, hint: "Reload the page; if it stays so, the two browsers may have no codec in common." });
    });
  }

  get #described() { return Boolean(this.pc.remoteDescription?.sdp); }

  // The first offer does not wait for onnegotiationneeded, which some stacks never call.
  #begin() {
    this.#initiator = true;
    this.#openChannel();
    for (const [kind, track] of this.#room.tracks) this.pc.addTransceiver(track ?? kind);
    this.#next(() => this.#offer());
  }

  // Only the initiator makes the first offer; after it, who needs one.
  async #offer() {
    if (!this.#initiator && !this.#described || this.#offered) return;
    await this.pc.setLocalDescription();
    this.#offered = random();
    this.#repeat();
  }

  #repeat() {
    if (this.#offered) this.#room.tell({ type: "offer", sdp: this.pc.localDescription.sdp, offer: this.#offered });
  }

  // Steps never overlap, so an offer has crossed exactly if one of our own is
  // out: the polite side takes its own back, the other ignores what came.
  async #describe({ type, sdp, offer }) {
    const { pc } = this;
    if (type === "answer" && (!this.#offered || offer && offer !== this.#offered)) {
      // It answers an offer from before a renewal; or took one that was of another connection.
      return this.#blind && !this.#described ? this.#room.again() : undefined;
    }
    this.#ignoring = type === "offer" && this.#offered !== "" && !this.#polite;
    if (this.#ignoring) return undefined;
    const first = !this.#described && !this.#channel;
    await pc.setRemoteDescription({ type, sdp });
    this.#offered = "";
    if (first) await this.#attach();
    if (type === "offer") {
      await pc.setLocalDescription();
      this.#room.tell({ type: "answer", sdp: pc.localDescription.sdp, offer });
    }
    for (const held of this.#held.splice(0)) await this.#candidate(held, false);
    return undefined;
  }

  // What the first offer wants to receive is sent where we have it.
  async #attach() {
    this.#openChannel();
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

  // A candidate, or their end, waits once for the description with its username fragment.
  async #candidate(m, wait = true) {
    const { candidate, usernameFragment = candidate?.usernameFragment } = m;
    const { sdp } = this.pc.remoteDescription ?? {};
    const current = sdp && (usernameFragment ? sdp.split(/\r?\n/).includes(`a=ice-ufrag:${usernameFragment}`) : !this.#ignoring);
    if (current) await this.pc.addIceCandidate(candidate);
    else if (wait && this.#held.length < mostCandidates) this.#held.push(m);
  }

  // --- the path

  #changed() {
    clearTimeout(this.#timer);
    if (this.state === "failed" || this.state === "closed") this.restart();
    if (this.state === "disconnected") this.#timer = setTimeout(() => this.restart(), settle);
    this.#report();
    this.#emit("state", this.state);
  }

  // Tells the server how the connection stands: it can then say why one fails.
  async #report() {
    const { state } = this;
    if (this.id === "next") return;
    const selected = state === "connected" ? await path(this.pc) : undefined;
    if (!this.#closed && this.state === state) this.#room.tell({ type: "state", state, selected });
  }

  // Stacks that cannot restart ICE make a new connection.
  #restart() {
    this.#stale = false;
    if (!this.#described) return;
    try {
      this.pc.restartIce();
    } catch {
      this.#room.again();
    }
  }

  #openChannel() {
    if (this.#channel) return;
    const channel = this.#channel = this.pc.createDataChannel("turnkey", { negotiated: true, id: 0 });
    channel.binaryType = "arraybuffer";
    channel.onopen = () => this.#emit("open");
    channel.onmessage = ({ data }) => this.#emit("message", data);
  }
}

/** What is remembered so that nothing is lost and nothing comes twice, over however many sockets. It does no I/O. */
class Session {
  #token = "";    // to resume with, "" = there is no session
  #nonce = random(); // to join with again, if the welcome does not arrive
  #id = 1;        // of the newest request; the first join has 1
  #held = [];     // requests not known to have been handled, oldest first
  #written = 0;   // how many of them the present socket has had
  #seq = 0;       // of the newest message received
  #unacked = 0;   // messages received since the last ack
  #limits = { bytes: 65_536, rate: 30, burst: 200 };
  #spent = 0; #spentAt = 0; // of the burst, and when

  /** Numbers a request and holds it until it has been handled; throws if the server would not take it. */
  hold(message) {
    const frame = JSON.stringify({ ...message, id: this.#id + 1 });
    const bytes = new TextEncoder().encode(frame).length;
    if (bytes > this.#limits.bytes) throw new RangeError(`a message of ${bytes} bytes: one may have ${this.#limits.bytes}`);
    if (this.#held.length >= mostRequests) throw new RangeError("too many messages wait for the server");
    this.#held.push({ id: ++this.#id, message, frame, written: false });
  }

  get waiting() { return this.#written < this.#held.length; }

  /** The oldest request that the present socket has not had. */
  next() {
    const request = this.#held[this.#written++];
    request.written = true;
    return request.frame;
  }

  /** Says whether the server will bear another message at this time, in ms, and counts it if so. */
  mayWrite(now) {
    const { rate, burst } = this.#limits;
    this.#spent = Math.max(0, this.#spent - (now - this.#spentAt) / 1000 * rate * 0.8); // the rest is for what is not held
    this.#spentAt = now;
    if (this.#spent >= burst * 0.8) return false;
    this.#spent++;
    return true;
  }

  /** The first message on a new socket. What is held follows a join, too, so its number is below. */
  greeting(join) {
    if (this.#token) return { type: "resume", resume: this.#token, seq: this.#seq };
    return { ...join, nonce: this.#nonce, id: (this.#held[0]?.id ?? this.#id + 1) - 1 };
  }

  /** Takes a message of the server: true if it is new, false if not, undefined if one before it is missing. */
  take(m) {
    switch (m.type) {
      case "welcome":
        this.#token = m.resume ?? "";
        this.#limits = { ...this.#limits, ...m.limits };
        this.#seq = this.#unacked = this.#written = this.#spent = 0;
        return true;
      case "resumed":
        this.#written = this.#spent = 0; // falls through
      case "ack":
        this.#handled(m.lastId);
        return true;
      default:
    }
    if (m.seq > this.#seq + 1) return undefined;
    if (m.seq <= this.#seq) return false;
    if (m.seq) {
      this.#seq = m.seq;
      this.#unacked++;
    }
    return true;
  }

  /** The acknowledgement that is due, if one is. */
  ack() {
    if (this.#unacked < ackAfter) return null;
    this.#unacked = 0;
    return { type: "ack", seq: this.#seq };
  }

  #handled(lastId) {
    while (this.#held[0]?.id <= lastId) {
      this.#held.shift();
      this.#written = Math.max(0, this.#written - 1);
    }
  }

  /**
   * Ends the session, which was handled up to lastId, if the server knows, so that the next greeting joins as somebody new.
   * Messages that were not handled go out then. Returns those of which that is not known; all else belongs to connections
   * that end with the session.
   */
  expire(lastId) {
    this.#token = "";
    this.#nonce = random();
    this.#handled(lastId);
    const messages = this.#held.filter(({ message }) => message.type === "message");
    const doubtful = (request) => request.written && !lastId;
    this.#held = messages.filter((request) => !doubtful(request));
    this.#written = 0;
    return messages.filter(doubtful).map(({ message }) => message);
  }

  /** Keeps of what is held what is for all, or for one of these; returns the messages that are not. */
  keep(ids) {
    const there = ({ message: { peer } }) => !peer || ["*", "next", ...ids].includes(peer);
    const gone = this.#held.filter((request) => !there(request)).map(({ message }) => message);
    this.#held = this.#held.filter(there);
    return gone;
  }
}

// A secret, or a name that nobody else has.
function random() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

// The selected pair of candidates; nothing if the stack does not tell.
async function path(pc) {
  try {
    const stats = [...(await pc.getStats()).values()];
    const named = stats.find((s) => s.type === "transport" && s.selectedCandidatePairId)?.selectedCandidatePairId;
    const pair = stats.find((s) => s.type === "candidate-pair" && (s.id === named || s.selected));
    const [local, remote] = [pair.localCandidateId, pair.remoteCandidateId].map((id) => stats.find((s) => s.id === id));
    const types = ["host", "srflx", "prflx", "relay"];
    if (![local, remote].every((c) => types.includes(c.candidateType))) return undefined;
    return { local: local.candidateType, remote: remote.candidateType, protocol: (local.relayProtocol || local.protocol)?.toLowerCase() };
  } catch {
    return undefined;
  }
}
