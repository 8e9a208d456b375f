// Camera, microphone and screen: the tracks that are sent, and why one is
// missing.

const picture = { width: { ideal: 960 }, height: { ideal: 540 }, frameRate: { ideal: 30, max: 30 } };
const sound = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** Own tracks. `onchange(kind)` is called after each change of what is sent. */
export class Media {
  audio = null;  // microphone track
  video = null;  // camera or screen track
  screen = false; // whether video is the screen
  problem = null; // {title, text, again}: why something is missing
  stream = new MediaStream();
  onchange = () => {};

  get state() {
    return { audio: Boolean(this.audio?.enabled), video: Boolean(this.video), screen: this.screen };
  }
  get canShare() { return Boolean(navigator.mediaDevices?.getDisplayMedia); }

  /** Asks for camera and microphone, or for what there is of them. */
  async open() {
    this.problem = null;
    if (!navigator.mediaDevices?.getUserMedia) {
      this.problem = insecure();
      return;
    }
    try {
      this.#take(await navigator.mediaDevices.getUserMedia({ audio: sound, video: picture }));
    } catch (err) {
      this.problem = explain(err);
      for (const wish of [{ audio: sound }, { video: picture }]) {
        if (err.name === "NotAllowedError" || this.audio) break;
        const got = await navigator.mediaDevices.getUserMedia(wish).catch(() => null);
        if (got) this.#take(got);
      }
      if (this.audio && !this.video) this.problem = { ...this.problem, title: "No camera." };
      if (this.video && !this.audio) this.problem = { ...this.problem, title: "No microphone." };
    }
  }

  mute(quiet) {
    if (this.audio) this.audio.enabled = !quiet;
    this.onchange("audio");
  }

  /** Switches the camera, its light included. */
  async camera(on) {
    if (!on) this.#put("video", null);
    else {
      const got = await navigator.mediaDevices.getUserMedia({ video: picture });
      this.#put("video", got.getVideoTracks()[0]);
    }
  }

  /** Shows the screen in place of the camera; ends with the browser's own button too. */
  async share() {
    const got = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } } });
    const [track] = got.getVideoTracks();
    track.contentHint = "detail";
    const back = Boolean(this.video) && !this.screen;
    this.#put("video", track, true);
    this.#back = back;
    track.onended = () => this.unshare();
  }

  async unshare() {
    if (!this.screen) return;
    this.#put("video", null);
    if (this.#back) await this.camera(true).catch(() => {});
  }

  close() {
    for (const track of this.stream.getTracks()) track.stop();
    for (const track of this.stream.getTracks()) this.stream.removeTrack(track);
    this.audio = this.video = null;
    this.screen = false;
  }

  #back = false; // to the camera, after the screen

  #take(stream) {
    for (const track of stream.getTracks()) this.#put(track.kind, track);
  }

  #put(kind, track, screen = false) {
    if (this[kind]) {
      this[kind].onended = null;
      this[kind].stop();
      this.stream.removeTrack(this[kind]);
    }
    this[kind] = track;
    if (kind === "video") this.screen = screen;
    if (track) {
      this.stream.addTrack(track);
      track.onended = () => this.#put(kind, null); // unplugged
    }
    this.onchange(kind);
  }
}

const still = "You can join all the same: you see and hear the others, and can chat.";

function insecure() {
  const port = location.port ? `:${location.port}` : "";
  return {
    title: "No camera or microphone over plain http.",
    text: `Browsers give them to secure pages only. Open this page over https, or on the server's own machine as http://localhost${port}/call. ${still}`,
    again: false,
  };
}

function explain({ name, message }) {
  const again = true;
  switch (name) {
    case "NotAllowedError":
      return { again, title: "Camera and microphone were refused.", text: `Allow them beside the address bar, then ask again. ${still}` };
    case "NotFoundError":
      return { again, title: "No camera or microphone was found.", text: `Plug one in, then ask again. ${still}` };
    case "NotReadableError":
      return { again, title: "Camera or microphone is in use.", text: `Another program seems to have it; close that one, then ask again. ${still}` };
    default:
      return { again, title: "No camera or microphone.", text: `The browser says: ${message} ${still}` };
  }
}
