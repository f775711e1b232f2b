"""The other ends of the ZeroMQ examples, with pyzmq, as a course and the guide have them. argv: role, port, then what the role takes."""

import sys
import time

import zmq

role, port, words = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
context = zmq.Context()


def place(offset=0):
    return f"tcp://127.0.0.1:{port + offset}"


def socket(kind, **options):
    made = context.socket(kind)
    made.linger = 2_000
    for name, value in options.items():
        setattr(made, name, value)
    return made


def say(*what):
    print(*what, flush=True)


def replier():
    rep = socket(zmq.REP)
    rep.bind(place())
    say("Echo:", rep.recv_string())
    rep.send_string("Echo: General Kenobi")


def requester():
    req = socket(zmq.REQ)
    req.connect(place())
    req.send_string("Hello There")
    say(req.recv_string())


def publisher():
    pub = socket(zmq.PUB)
    pub.bind(place())
    number = 0
    while True:
        time.sleep(0.1)
        number += 1
        for topic in (1, 2, 3):
            pub.send_string(f"{topic}-Update! >> #{number}")


def subscriber():
    sub = socket(zmq.SUB)
    sub.subscribe(words[0])
    sub.connect(place())
    while True:
        say(sub.recv_string())


def ventilator():
    push = socket(zmq.PUSH)
    push.bind(place())
    for number in range(int(words[0])):
        push.send_string(f"{number + 1} - {number % 7}")


def worker():
    tasks, results = socket(zmq.PULL), socket(zmq.PUSH)
    tasks.connect(place())
    results.connect(place(1))
    while True:
        task = tasks.recv_string()
        say("Received:", task)
        results.send_string(task.split()[0] + " took no time")


def sink():
    pull = socket(zmq.PULL)
    pull.bind(place(1))
    for _ in range(int(words[0])):
        say("Collected:", pull.recv_string())


def server():
    rep = socket(zmq.REP)
    rep.bind(place())
    for _ in range(int(words[0])):
        rep.send(rep.recv())
    rep.recv()


def client():
    """The lazy pirate: asks with patience, and after three silences no more."""
    for number in range(1, int(words[0]) + 1):
        for _ in range(3):
            req = socket(zmq.REQ, linger=0, rcvtimeo=int(words[1]))
            req.connect(place())
            req.send_string(str(number))
            try:
                say("replied", req.recv_string())
                break
            except zmq.Again:
                req.close()
        else:
            return say("abandoned")


def pirate():
    """A paranoid pirate's worker, which answers `words[0]` requests and dies with the next."""
    dealer = socket(zmq.DEALER, rcvtimeo=int(words[1]))
    dealer.connect(place(1))
    dealer.send(b"\1")
    left = int(words[0])
    while True:
        try:
            frames = dealer.recv_multipart()
        except zmq.Again:
            frames = []
        if len(frames) == 3:
            if left == 0:
                return
            left -= 1
            say("worked on", frames[2].decode())
            dealer.send_multipart(frames)
        dealer.send(b"\2")


globals()[role]()
