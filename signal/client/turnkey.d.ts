// Types of turnkey.js, which says what it all does.

export interface Options {
  url?: string | URL;
  name?: string;
  meta?: Record<string, unknown>;
  token?: string;
  stream?: MediaStream;
  wait?: boolean;
  media?: Kind[];
  iceTransportPolicy?: RTCIceTransportPolicy;
  // Not the browser's own types: those of ws and node-datachannel differ from them.
  WebSocket?: new (url: any, protocols?: any) => any;
  RTCPeerConnection?: new (configuration?: any) => any;
}

export type Kind = "audio" | "video";

/** What the server says of a mistake; docs/protocol.md lists the codes. */
export interface Notice {
  code: string;
  message: string;
  hint?: string;
  fatal?: boolean;
  /** Of a message that may not have arrived. */
  peer?: string;
  data?: unknown;
}

interface Target<Events> {
  addEventListener<K extends keyof Events>(
    type: K, listener: (event: CustomEvent<Events[K]>) => void, options?: AddEventListenerOptions | boolean): void;
  removeEventListener<K extends keyof Events>(
    type: K, listener: (event: CustomEvent<Events[K]>) => void, options?: EventListenerOptions | boolean): void;
  dispatchEvent(event: Event): boolean;
}

export type RoomState = "connecting" | "joined" | "reconnecting" | "closed";

export interface RoomEvents {
  state: RoomState;
  peer: Peer;
  server: unknown;
  warning: Notice;
  error: Notice;
}

export interface Room extends Target<RoomEvents> {
  readonly name: string;
  readonly state: RoomState;
  readonly id: string;
  readonly peers: ReadonlyMap<string, Peer>;
  readonly iceTransportPolicy: RTCIceTransportPolicy;
  send(data: string | ArrayBuffer | ArrayBufferView): void;
  signal(data: unknown): boolean;
  update(what: { name?: string; meta?: Record<string, unknown> }): boolean;
  replaceTrack(kind: Kind, track: MediaStreamTrack | null): Promise<unknown>;
  setIceTransportPolicy(policy: RTCIceTransportPolicy): void;
  leave(): void;
}

/** Why a Peer ended; the server may know more reasons. */
export type Reason = "bye" | "closed" | "timeout" | "slow" | "kicked" | "own" | "renewed" | "rejoined" | (string & {});

export interface PeerEvents {
  state: RTCPeerConnectionState;
  track: MediaStreamTrack;
  open: null;
  message: string | ArrayBuffer;
  signal: any;
  away: null;
  back: null;
  updated: null;
  left: Reason;
}

export interface Peer extends Target<PeerEvents> {
  readonly id: string;
  readonly name: string;
  readonly meta: Record<string, unknown>;
  readonly present: boolean;
  readonly away: boolean;
  readonly state: RTCPeerConnectionState;
  /** null where there is no MediaStream. */
  readonly stream: MediaStream;
  readonly pc: RTCPeerConnection;
  send(data: string | ArrayBuffer | ArrayBufferView): boolean;
  signal(data: unknown): boolean;
  replaceTrack(kind: Kind, track: MediaStreamTrack | null): Promise<void>;
  restart(): void;
}

export function join(name: string, options?: Options): Room;
