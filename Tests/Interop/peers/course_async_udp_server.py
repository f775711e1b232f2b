"""As a course's asyncio UDP server: a protocol object is called for each datagram. argv: host, port."""
import asyncio
import sys


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
        print("serving", flush=True)

    def datagram_received(self, datagram, sender):
        print("received", datagram.decode(), *sender, flush=True)
        self.transport.sendto(datagram, sender)


async def main():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=(sys.argv[1], int(sys.argv[2])))
    try:
        await asyncio.sleep(600)
    finally:
        transport.close()


asyncio.run(main())
