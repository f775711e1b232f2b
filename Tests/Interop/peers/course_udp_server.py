"""As a course's first UDP server: each datagram goes back to its sender, an empty one is the end. argv: host, port."""
import socket
import sys

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind((sys.argv[1], int(sys.argv[2])))
    print("listening", flush=True)
    while True:
        datagram, sender = server.recvfrom(1024)
        print("received", datagram.decode(), *sender, flush=True)
        if not datagram:
            break
        server.sendto(datagram, sender)
