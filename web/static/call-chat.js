// The chat: what was said, and how much of it has not been seen yet.

const at = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const most = 500; // lines that are kept

export class Chat {
  #unseen = 0;
  #announce;

  /** announce(text) tells a screen reader while the chat is closed. */
  constructor(announce) { this.#announce = announce; }

  add(who, text) {
    const line = document.createElement("li");
    const head = document.createElement("p");
    head.className = "head";
    const name = Object.assign(document.createElement("strong"), { textContent: who });
    const time = Object.assign(document.createElement("time"), { textContent: clock.format(new Date()) });
    head.append(name, " ", time);
    const body = Object.assign(document.createElement("p"), { textContent: text });
    line.append(head, body);
    line.classList.toggle("own", who === "You");
    this.#append(line);
    if (!at("chat").hidden) return;
    this.#count(this.#unseen + 1);
    this.#announce(`${who}: ${text}`);
  }

  /** A line that nobody said. */
  note(text) {
    this.#append(Object.assign(document.createElement("li"), { className: "note", textContent: text }));
  }

  open() {
    this.#count(0);
    const log = at("log");
    log.scrollTop = log.scrollHeight;
    at("text").focus();
  }

  close() {
    at("log").replaceChildren();
    this.#count(0);
  }

  #append(line) {
    const log = at("log");
    log.append(line);
    if (log.childElementCount > most) log.firstElementChild.remove();
    log.scrollTop = log.scrollHeight;
  }

  #count(n) {
    this.#unseen = n;
    at("unread").hidden = n === 0;
    at("unread").textContent = String(n);
    at("show-chat").setAttribute("aria-label", n ? `Chat, ${n} new` : "Chat");
  }
}
