"""As a course's first UDP client: sends one datagram, takes one back. argv: host, port."""
import socket
import sys

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(10)
    client.sendto(b"Hello, UDP!", (sys.argv[1], int(sys.argv[2])))
    datagram, sender = client.recvfrom(1024)
    print("echo", datagram.decode(), *sender)
