"""aiortc: joins a room of a turnkey server and talks over a data channel.

usage: aiortc_chat.py wss://HOST/v1/ws ROOM NAME
"""

import asyncio
import json
import sys

import websockets
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp


async def chat(url, room, name):
    async with websockets.connect(url) as ws:
        pc, peer, done = None, None, {"we": asyncio.Event(), "they": asyncio.Event()}

        async def tell(**message):
            await ws.send(json.dumps(message))

        def talk(channel):
            hello, heard, opened = f"hello from {name}", set(), asyncio.Event()

            @channel.on("open")
            def on_open():
                channel.send(hello)
                opened.set()

            @channel.on("message")
            async def on_message(message):
                await opened.wait()  # the other end may find the channel open first
                heard.add(message)
                if message != hello:
                    channel.send(message)
                if len(heard) == 2:  # it is echoed, and what was sent has come back
                    done["we"].set()

            if channel.readyState == "open":
                on_open()

        # Descriptions are complete: setLocalDescription gathers all candidates.
        async def describe(description):
            await pc.setLocalDescription(description)
            await tell(type=description.type, peer=peer, sdp=pc.localDescription.sdp)

        async def hear():
            nonlocal pc, peer
            await tell(type="join", room=room, name=name, rollback=False)
            async for frame in ws:
                m = json.loads(frame)
                if m["type"] == "welcome":
                    print("joined", flush=True)
                    pc = RTCPeerConnection(RTCConfiguration([RTCIceServer(**s) for s in m["iceServers"]]))
                    pc.on("datachannel", talk)
                    for other in m["peers"][:1]:
                        if other["initiator"]:
                            peer = other["id"]
                            talk(pc.createDataChannel("chat"))
                            await describe(await pc.createOffer())
                elif m["type"] in ("offer", "answer"):
                    peer = m["peer"]
                    await pc.setRemoteDescription(RTCSessionDescription(m["sdp"], m["type"]))
                    if m["type"] == "offer":
                        await describe(await pc.createAnswer())
                elif m["type"] == "candidate" and m["candidate"]:
                    candidate = candidate_from_sdp(m["candidate"]["candidate"].split(":", 1)[1])
                    candidate.sdpMid = m["candidate"].get("sdpMid")
                    candidate.sdpMLineIndex = m["candidate"].get("sdpMLineIndex")
                    await pc.addIceCandidate(candidate)
                elif m["type"] == "message":
                    done["they"].set()
                elif m["type"] in ("error", "warning"):
                    raise SystemExit(f"{name}: {m['code']}: {m['message']}; {m['hint']}")

        hearing = asyncio.ensure_future(hear())
        hearing.add_done_callback(lambda task: task.cancelled() or task.exception() and done["we"].set())
        await done["we"].wait()
        if hearing.done():
            return hearing.result()
        await tell(type="message", peer=peer, data="done")
        await done["they"].wait()
        await tell(type="bye")
        hearing.cancel()
        await asyncio.wait_for(pc.close(), 3)


try:
    asyncio.run(asyncio.wait_for(chat(*sys.argv[1:4]), 20))
except asyncio.TimeoutError:
    raise SystemExit(f"{sys.argv[3]}: not done within 20 s")
