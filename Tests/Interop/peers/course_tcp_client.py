"""As a course's first TCP client: says one thing, takes one answer. argv: host, port."""
import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as server:
    server.sendall(b"Hello, world")
    print("echo", server.recv(1024).decode())
