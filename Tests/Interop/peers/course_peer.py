"""One of two peers without a server between them: who comes first waits, the second finds it; each says hello and hears the other out. argv: host, port."""
import socket
import sys

place = (sys.argv[1], int(sys.argv[2]))
try:
    other = socket.create_connection(place, timeout=10)
except ConnectionRefusedError:
    with socket.create_server(place) as listener:
        print("waiting", flush=True)
        other, _ = listener.accept()
host, port = other.getpeername()
print("peer", host, port, flush=True)
with other, other.makefile() as lines:
    other.sendall(f"Hello, {host}:{port}\n".encode())
    other.shutdown(socket.SHUT_WR)
    for line in lines:
        print("said", line, end="", flush=True)
