"""A client of the course's chat, for `websockets` before 14: says its lines of stdin, prints what it hears."""

import asyncio
import sys
import websockets


async def main():
    async with websockets.connect(sys.argv[1]) as websocket:
        print("connected", websocket.local_address[1], flush=True)

        async def hear():
            async for message in websocket:
                print(f"Server: {message}", flush=True)

        hearing = asyncio.create_task(hear())
        while line := await asyncio.to_thread(sys.stdin.readline):
            await websocket.send(line.rstrip("\n"))
        hearing.cancel()


asyncio.run(main())
