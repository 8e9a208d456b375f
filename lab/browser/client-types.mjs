// Compares turnkey.d.ts with turnkey.js, and compiles what uses it, rightly and
// wrongly. It prints what is amiss.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import ts from 'typescript';

const dir = new URL('../../signal/client/', import.meta.url);
const declared = parse('turnkey.d.ts');
const written = parse('turnkey.js');

function parse(name) {
  return ts.createSourceFile(name, readFileSync(new URL(name, dir), 'utf8'), ts.ScriptTarget.Latest, true);
}

// members lists what an interface or a class shows of itself.
function members(file, name) {
  const found = new Set();
  const walk = (node) => {
    if ((ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node)) && node.name.text === name) {
      for (const { name: member, kind } of node.members) {
        if (member && ts.isIdentifier(member) && kind !== ts.SyntaxKind.Constructor) found.add(member.text);
      }
    }
    // Members that the constructor gives by Object.assign(this, { … }).
    if (ts.isCallExpression(node) && node.getText().startsWith('Object.assign(this, {') && file === written) {
      if (enclosing(node) === name) for (const p of node.arguments[1].properties) found.add(p.name.text);
    }
    // or by this.name = …
    if (ts.isBinaryExpression(node) && /^this\.[a-z]+$/i.test(node.left.getText()) && enclosing(node) === name) found.add(node.left.name.text);
    ts.forEachChild(node, walk);
  };
  walk(file);
  return found;
}

function enclosing(node) {
  while (node && !ts.isClassDeclaration(node)) node = node.parent;
  return node?.name.text;
}

// events lists those that the comment of a class names.
function events(name) {
  const source = written.text;
  const comment = source.slice(0, source.indexOf(`class ${name} extends`)).split('/**').at(-1);
  return new Set([...comment.matchAll(/^ \* {3}(\w+) {2,}/gm)].map((m) => m[1]));
}

function same(what, a, b, except = []) {
  for (const name of new Set([...a, ...b])) {
    if (!except.includes(name) && a.has(name) !== b.has(name)) console.log(`${what}: ${name} is in ${a.has(name) ? 'turnkey.d.ts' : 'turnkey.js'} alone`);
  }
}

same('Room', members(declared, 'Room'), members(written, 'Room'));
same('Peer', members(declared, 'Peer'), members(written, 'Peer'), ['close', 'receive', 'configure', 'change', 'insist', 'broken', 'repeat', 'become']);
same('events of Room', members(declared, 'RoomEvents'), events('Room'));
same('events of Peer', members(declared, 'PeerEvents'), events('Peer'));
same('options', members(declared, 'Options'), new Set(['url', 'name', 'meta', 'token', 'stream', 'media', 'wait', 'iceTransportPolicy', 'WebSocket', 'RTCPeerConnection']
  .filter((option) => new RegExp(`\\b${option}\\b`).test(written.text))));

const right = `
import { join, type Peer } from './turnkey.js';
const room = join('demo', { name: 'Anna', meta: { camera: true }, media: ['audio'], wait: true, stream: new MediaStream() });
const all: Peer[] = [];
room.addEventListener('peer', ({ detail: peer }) => {
  all.push(peer);
  document.querySelector('video')!.srcObject = peer.stream;
  peer.addEventListener('message', ({ detail }) => { if (typeof detail === 'string') peer.send(detail); else peer.send(new Uint8Array(detail)); });
  peer.addEventListener('left', ({ detail }) => { if (detail === 'renewed') all.pop(); });
  peer.pc.addTransceiver('video');
});
room.addEventListener('error', ({ detail: { code, fatal } }) => { if (fatal) console.log(code); });
if (room.state === 'joined' && room.signal({ any: 'thing' })) room.leave();
`;
const wrong = [
  "import { join } from './turnkey.js'; join();",
  "import { join } from './turnkey.js'; join('a', { nme: 'b' });",
  "import { join } from './turnkey.js'; join('a').addEventListener('peers', () => {});",
  "import { join } from './turnkey.js'; join('a').send({});",
  "import { join } from './turnkey.js'; if (join('a').state === 'open') {}",
];

// compile returns the faults of some programs, by file.
function compile(sources) {
  const home = mkdtempSync(path.join(tmpdir(), 'tk-types-'));
  const files = new Map([['turnkey.d.ts', declared.text], ...sources.map((text, i) => [`${i}.ts`, text])]);
  for (const [name, text] of files) writeFileSync(path.join(home, name), text);
  const program = ts.createProgram([...files.keys()].map((name) => path.join(home, name)), {
    strict: true, noEmit: true, types: [], target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
  });
  const faults = ts.getPreEmitDiagnostics(program).map((d) => [path.basename(d.file?.fileName ?? ''), ts.flattenDiagnosticMessageText(d.messageText, '\n')]);
  rmSync(home, { recursive: true });
  return faults;
}

const faults = compile([right, ...wrong]);
for (const [file, text] of faults) if (!/^[1-9]/.test(file)) console.log(`${file}: ${text}`);
wrong.forEach((text, i) => {
  if (!faults.some(([file]) => file === `${i + 1}.ts`)) console.log(`compiles, and should not: ${text}`);
});
