"""One end of a data channel by GStreamer's webrtcbin, whose ICE is libnice's,
for TestOtherStacksRelay. It speaks as end_aiortc.py does."""

import json
import sys
import threading
from urllib.parse import quote

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402


def line():
    return json.loads(sys.stdin.readline())


def uri(server):
    """turn:host:port?transport=x and a credential, as webrtcbin takes them."""
    scheme, rest = server["urls"][0].split(":", 1)
    if scheme == "stun":
        return f"stun://{rest}"
    return f"{scheme}://{quote(server['username'], safe='')}:{quote(server['credential'], safe='')}@{rest}"


def ask(element, signal, *args):
    """A signal that takes a promise, as a call."""
    promise = Gst.Promise.new()
    element.emit(signal, *args, promise)
    if promise.wait() != Gst.PromiseResult.REPLIED:
        raise SystemExit(f"{signal}: no reply")
    reply = promise.get_reply()
    if reply is not None and reply.has_field("error"):
        raise SystemExit(f"{signal}: {reply.get_value('error')}")
    return reply


class Peer:
    def __init__(self, job):
        self.job = job
        self.pipeline = Gst.Pipeline.new()
        self.bin = Gst.ElementFactory.make("webrtcbin")
        self.bin.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.bin.set_property("ice-transport-policy", GstWebRTC.WebRTCICETransportPolicy.RELAY)
        for server in job["iceServers"]:
            self.bin.set_property("stun-server" if server["urls"][0].startswith("stun:") else "turn-server", uri(server))
        self.gathered = threading.Event()
        self.bin.connect("notify::ice-gathering-state", self.on_gathering)
        self.bin.connect("on-data-channel", self.on_channel)
        self.pipeline.add(self.bin)
        self.pipeline.set_state(Gst.State.PLAYING)

    def on_gathering(self, *_):
        if self.bin.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.gathered.set()

    def on_channel(self, _, channel):
        channel.connect("on-message-string", lambda c, message: c.emit("send-string", message))

    def tell(self, kind):
        reply = ask(self.bin, f"create-{kind}", None)
        ask(self.bin, "set-local-description", reply.get_value(kind))
        self.gathered.wait()
        sdp = self.bin.get_property("local-description").sdp.as_text()
        print(json.dumps({"type": kind, "sdp": sdp}), flush=True)

    def hear(self):
        said = line()
        _, sdp = GstSdp.SDPMessage.new_from_text(said["sdp"])
        kind = getattr(GstWebRTC.WebRTCSDPType, said["type"].upper())
        ask(self.bin, "set-remote-description", GstWebRTC.WebRTCSessionDescription.new(kind, sdp))

    def offer(self):
        ready, answers = threading.Semaphore(0), []
        channel = self.bin.emit("create-data-channel", "lab", None)
        channel.connect("on-open", lambda _: ready.release())
        channel.connect("on-message-string", lambda _, message: (answers.append(message), ready.release()))
        self.tell("offer")
        self.hear()
        ready.acquire()
        for i in range(self.job["messages"]):
            message = f"{i}".ljust(self.job["size"], ".")
            channel.emit("send-string", message)
            ready.acquire()
            if answers[i] != message:
                raise SystemExit(f"message {i}: got {answers[i]!r}")

    def answer(self):
        self.hear()
        self.tell("answer")
        sys.stdin.read()  # ends when the other end has all it wanted


Gst.init(None)
job = line()
peer = Peer(job)
peer.offer() if job["role"] == "offer" else peer.answer()
peer.pipeline.set_state(Gst.State.NULL)
