// The tiles: a picture, a face in its place while there is none, a name.

const grid = document.getElementById("tiles");

/** A tile for somebody's stream. */
export class Tile {
  constructor(stream, name) {
    this.element = document.getElementById("tile").content.cloneNode(true).firstElementChild;
    this.video = this.element.querySelector("video");
    this.stream = stream;
    this.video.onresize = arrange;
    this.video.onloadedmetadata = () => play(this.video);
    this.element.setAttribute("aria-label", name);
    this.element.querySelector(".who").textContent = name;
    this.face(name);
    this.show({});
  }

  /** The initials in place of the picture. */
  face(name) {
    const face = this.element.querySelector(".face");
    face.textContent = initials(name);
    face.dataset.hue = [...name].reduce((n, c) => n + c.codePointAt(0), 0) % 6;
  }

  /** What is sent: audio and video tell whether, screen that the picture is one. */
  show({ audio = false, video = false, screen = false }) {
    // A picture that never comes would keep a page from having loaded.
    if (!this.video.srcObject && this.stream.active) this.video.srcObject = this.stream;
    if (video) play(this.video);
    this.element.classList.toggle("no-picture", !video);
    this.element.classList.toggle("screen", screen);
    this.element.querySelector(".off").toggleAttribute("hidden", audio);
    this.element.dataset.audio = audio ? "on" : "off";
    this.element.dataset.video = video ? "on" : "off";
  }

  badge(text, mood) {
    const badge = this.element.querySelector(".badge");
    badge.hidden = false;
    badge.className = `badge ${mood}`;
    badge.textContent = text;
    badge.setAttribute("aria-label", `${this.element.getAttribute("aria-label")}: ${text}. Show connections`);
  }

  /** Goes among the others, or to another place. */
  enter(place = grid) {
    place.append(this.element);
    play(this.video);
    arrange();
  }

  leave() {
    this.video.srcObject = null;
    this.element.remove();
    arrange();
  }
}

// A browser that plays no sound before a gesture plays it after the next one.
function play(video) {
  video.play().catch((err) => { // also when it has nothing to play, or no more
    if (err.name === "NotAllowedError") document.addEventListener("click", () => play(video), { once: true });
  });
}

function initials(name) {
  const words = name.trim().split(/\s+/).filter((w) => /^[\p{L}\p{N}]/u.test(w));
  return words.slice(0, 2).map((w) => [...w][0].toUpperCase()).join("") || "?";
}

// As many columns as make the tiles largest; a tile is between 4:3 and 16:9.
function arrange() {
  const n = grid.childElementCount;
  const { clientWidth: width, clientHeight: height } = grid;
  if (n === 0 || width === 0) return;
  const gap = 10;
  const area = (cols) => {
    const rows = Math.ceil(n / cols);
    const w = (width - gap * (cols - 1)) / cols;
    const h = Math.min((height - gap * (rows - 1)) / rows, w * 3 / 4);
    return { cols, w: Math.min(w, h * 16 / 9), h };
  };
  const all = Array.from({ length: n }, (_, i) => area(i + 1));
  const best = all.reduce((a, b) => (b.w * b.h > a.w * a.h ? b : a));
  grid.style.setProperty("--w", `${Math.floor(best.w)}px`);
  grid.style.setProperty("--h", `${Math.floor(best.h)}px`);
}

new ResizeObserver(arrange).observe(grid);
