# The course's server, of which nothing but the port is not: `websockets` before 14, whose handlers are given a path.
import asyncio
import sys
import websockets

connected_clients = set()


async def chat_handler(websocket, path):
    # Register new client
    connected_clients.add(websocket)
    print(f"Client connected: {websocket.remote_address}")

    try:
        # Iterate over messages
        async for message in websocket:
            print(f"Received from {websocket.remote_address}: {message}")

            # Broadcast message to all other clients
            for client in connected_clients:
                if client != websocket:
                    await client.send(f"[{websocket.remote_address[1]}]: {message}")

    except websockets.ConnectionClosed:
        print(f"Client disconnected: {websocket.remote_address}")
    finally:
        # Unregister client
        connected_clients.remove(websocket)


async def main():
    print(f"Starting WebSocket server on ws://localhost:{sys.argv[1]}")
    async with websockets.serve(chat_handler, "localhost", int(sys.argv[1])):
        await asyncio.Future()  # Run forever


if __name__ == "__main__":
    asyncio.run(main())
