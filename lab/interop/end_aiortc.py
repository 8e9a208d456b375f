"""One end of a data channel by aiortc, for TestOtherStacksRelay.

Reads {"role", "iceServers", "messages", "size"} from the first line of its
input, as JSON; its description goes out as one line, and the other's comes in
as one. The offer's end sends the messages one by one and wants each back.
"""

import asyncio
import json
import os
import sys

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription


def line():
    return json.loads(sys.stdin.readline())


def tell(description):
    print(json.dumps({"type": description.type, "sdp": description.sdp}), flush=True)


async def hear(pc):
    said = await asyncio.get_running_loop().run_in_executor(None, line)
    await pc.setRemoteDescription(RTCSessionDescription(said["sdp"], said["type"]))


async def offer(pc, job):
    channel, answers = pc.createDataChannel("lab"), asyncio.Queue()
    opened = asyncio.Event()
    channel.on("open", opened.set)
    channel.on("message", answers.put_nowait)
    await pc.setLocalDescription(await pc.createOffer())
    tell(pc.localDescription)
    await hear(pc)
    await opened.wait()
    for i in range(job["messages"]):
        message = f"{i}".ljust(job["size"], ".")
        channel.send(message)
        got = await answers.get()
        if got != message:
            raise SystemExit(f"message {i}: got {got!r}")


async def answer(pc):
    @pc.on("datachannel")
    def on_channel(channel):
        channel.on("message", channel.send)

    await hear(pc)
    await pc.setLocalDescription(await pc.createAnswer())
    tell(pc.localDescription)
    # The input ends when the other end has all it wanted.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def main():
    job = line()
    servers = [RTCIceServer(urls=s["urls"], username=s.get("username"), credential=s.get("credential")) for s in job["iceServers"]]
    pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    await (offer(pc, job) if job["role"] == "offer" else answer(pc))
    await asyncio.wait_for(pc.close(), 3)


asyncio.run(main())
