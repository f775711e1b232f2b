"""As a course's first TCP server: one client, what it sends comes back, and the end of the client is the end. argv: host, port."""
import socket
import sys

listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
client, address = listener.accept()
print("connected", *address, flush=True)
with client:
    while chunk := client.recv(1024):
        print("received", chunk.decode(), flush=True)
        client.sendall(chunk)
listener.close()
