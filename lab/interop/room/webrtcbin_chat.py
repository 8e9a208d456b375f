"""GStreamer's webrtcbin: joins a room of a turnkey server and talks over a data channel.

usage: webrtcbin_chat.py wss://HOST/v1/ws ROOM NAME
"""

import asyncio
import json
import sys
from urllib.parse import quote

import gi
import websockets

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst, GstSdp, GstWebRTC  # noqa: E402


def ask(element, signal, *args):
    """A signal that takes a promise, as a call."""
    promise = Gst.Promise.new()
    element.emit(signal, *args, promise)
    promise.wait()
    return promise.get_reply()


def configure(webrtc, servers):
    """Servers as webrtcbin takes them: stun://host:port, turn://user:password@host:port?transport=x."""
    for server in servers:
        for url in server["urls"]:
            scheme, rest = url.split(":", 1)
            if scheme == "stun":
                webrtc.set_property("stun-server", f"stun://{rest}")
            else:
                user, password = (quote(server[key], safe="") for key in ("username", "credential"))
                webrtc.emit("add-turn-server", f"{scheme}://{user}:{password}@{rest}")


class Chat:
    def __init__(self, ws, name):
        self.ws, self.name, self.peer = ws, name, None
        self.loop, self.channels = asyncio.get_running_loop(), []
        self.we, self.they, self.heard = asyncio.Event(), asyncio.Event(), set()
        self.pipeline, self.webrtc = Gst.Pipeline.new(), Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.webrtc.connect("on-ice-candidate", self.on_candidate)
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathering)
        self.webrtc.connect("on-data-channel", lambda _, channel: self.talk(channel))
        self.pipeline.add(self.webrtc)

    def tell(self, **message):
        """May be called by any thread, and webrtcbin has its own."""
        asyncio.run_coroutine_threadsafe(self.ws.send(json.dumps({**message, "peer": self.peer})), self.loop)

    def on_candidate(self, _, index, candidate):
        self.tell(type="candidate", candidate={"candidate": candidate, "sdpMLineIndex": index})

    def on_gathering(self, *_):
        if self.webrtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.tell(type="candidate", candidate=None)

    def talk(self, channel):
        self.channels.append(channel)  # else it is collected
        channel.connect("on-message-string", self.on_message)
        if channel.get_property("ready-state") == GstWebRTC.WebRTCDataChannelState.OPEN:
            channel.emit("send-string", f"hello from {self.name}")
        else:
            channel.connect("on-open", lambda c: c.emit("send-string", f"hello from {self.name}"))

    def on_message(self, channel, message):
        self.heard.add(message)
        if message != f"hello from {self.name}":
            channel.emit("send-string", message)
        if len(self.heard) == 2:  # it is echoed, and what was sent has come back
            self.loop.call_soon_threadsafe(self.we.set)

    def describe(self, kind):
        reply = ask(self.webrtc, f"create-{kind}", None)
        description = reply.get_value(kind)  # which lives no longer than reply
        ask(self.webrtc, "set-local-description", description)
        self.tell(type=kind, sdp=description.sdp.as_text())

    def handle(self, m):
        if m["type"] == "welcome":
            print("joined", flush=True)
            configure(self.webrtc, m["iceServers"])
            self.pipeline.set_state(Gst.State.PLAYING)
            for other in m["peers"][:1]:
                if other["initiator"]:
                    self.peer = other["id"]
                    self.talk(self.webrtc.emit("create-data-channel", "chat", None))
                    self.describe("offer")
        elif m["type"] in ("offer", "answer"):
            self.peer = m["peer"]
            _, sdp = GstSdp.SDPMessage.new_from_text(m["sdp"])
            kind = getattr(GstWebRTC.WebRTCSDPType, m["type"].upper())
            ask(self.webrtc, "set-remote-description", GstWebRTC.WebRTCSessionDescription.new(kind, sdp))
            if m["type"] == "offer":
                self.describe("answer")
        elif m["type"] == "candidate" and m["candidate"]:
            self.webrtc.emit("add-ice-candidate", m["candidate"]["sdpMLineIndex"], m["candidate"]["candidate"])
        elif m["type"] == "message":
            self.they.set()
        elif m["type"] in ("error", "warning"):
            raise SystemExit(f"{self.name}: {m['code']}: {m['message']}; {m['hint']}")


async def main(url, room, name):
    async with websockets.connect(url) as ws:
        chat = Chat(ws, name)

        async def hear():
            async for frame in ws:
                chat.handle(json.loads(frame))

        async def finish():
            await chat.we.wait()
            chat.tell(type="message", data="done")
            await chat.they.wait()

        await ws.send(json.dumps({"type": "join", "room": room, "name": name, "rollback": False}))
        hearing, finishing = asyncio.ensure_future(hear()), asyncio.ensure_future(finish())
        await asyncio.wait({hearing, finishing}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if hearing.done():
            hearing.result()
        if not finishing.done():
            raise SystemExit(f"{name}: not done within 20 s: ICE {chat.webrtc.get_property('ice-connection-state').value_nick}")
        hearing.cancel()
        await ws.send(json.dumps({"type": "bye"}))
        chat.pipeline.set_state(Gst.State.NULL)


Gst.init(None)
asyncio.run(main(*sys.argv[1:4]))
