// What the server knows of a connection that does not come about. It saw the
// signaling, STUN and TURN of both sides, so it can often say what is wrong.

const soon = 8_000;   // ms that a connection may take before anybody asks
const again = 10_000; // ms until the same is asked again
const apart = 5_000;  // ms between two questions of this page: eight behind one address stay within what the server answers

/** Shows, in the peer's card, what the server says of it while it is not connected. */
export function attend(peer, who, room) {
  const list = document.querySelector(`.path[data-peer="${peer.id}"] .findings`);
  let timer;
  const ask = async () => {
    const connected = peer.state === "connected";
    const asked = peer.state;
    const told = await findings(room, peer.id);
    if (peer.state !== asked || !list.isConnected) return; // it is another matter by now
    if (told) show(list, told.filter(({ code }) => !connected || code === "relayed_tcp"), (text) => text.replaceAll(peer.id, who).replaceAll(room.id, "this browser"));
    if (!told || !connected) timer = setTimeout(ask, again);
  };
  const changed = () => {
    clearTimeout(timer);
    if (peer.state === "connected") show(list, []);
    timer = setTimeout(ask, peer.state === "failed" ? 500 : soon); // the report of the failure is on its way
  };
  peer.addEventListener("state", changed);
  peer.addEventListener("left", () => {
    clearTimeout(timer);
    peer.removeEventListener("state", changed);
  });
  changed();
}

/** What the server says of the pair of this page and a peer; undefined if it does not answer. */
async function findings(room, id) {
  const pairs = await (next ??= question(room).finally(() => { next = null; }));
  return pairs && (pairs.find(({ peers }) => peers.includes(id) && peers.includes(room.id))?.findings ?? []);
}

let next = null; // the question that is about to be asked, or under way: its answer is for every peer
let last = -apart;

async function question(room) {
  await new Promise((done) => { setTimeout(done, last + apart - performance.now()); });
  last = performance.now();
  const key = sessionStorage.getItem("key");
  try {
    const answer = await fetch(`/v1/rooms/${encodeURIComponent(room.name)}/doctor`, { headers: key ? { Authorization: `Bearer ${key}` } : {} });
    if (answer.ok) return (await answer.json()).pairs;
  } catch { /* the page says already that the server is lost */ }
  return undefined;
}

function show(list, told, named) {
  list.hidden = told.length === 0;
  list.replaceChildren(...told.map(({ message, hint }) => {
    const item = document.createElement("li");
    item.append(sentence(named(message)));
    if (hint) item.append(Object.assign(document.createElement("span"), { className: "muted small", textContent: ` ${sentence(named(hint))}` }));
    return item;
  }));
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
