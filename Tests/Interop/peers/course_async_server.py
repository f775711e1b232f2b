"""As a course's asyncio server: many clients at once, each gets back what it sends. argv: host, port."""
import asyncio
import sys


async def serve(reader, writer):
    address = writer.get_extra_info("peername")
    print("connected", *address, flush=True)
    while chunk := await reader.read(1024):
        print("received", *address, chunk.decode(), flush=True)
        writer.write(chunk)
        await writer.drain()
    print("closing", *address, flush=True)
    writer.close()


async def main():
    async with await asyncio.start_server(serve, sys.argv[1], int(sys.argv[2])) as server:
        print("serving", flush=True)
        await server.serve_forever()


asyncio.run(main())
