"""UDP and Unix datagrams: `martlet udp` and the course's programs beside Python's sockets. What needs more than loopback has a network namespace."""

import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading

import pytest

import brokers
from programs import Program, example, martlet

PEERS = brokers.ROOT / "Tests/Interop/peers"
MODELS = ["loop", "async", "blocking"]
# Lines of the course's Python listings, without blank ones and comments.
LISTINGS = {"03-udp-echo-server": 12, "04-udp-echo-client": 8, "06-async-udp-server": 20}


class Listening:
    """A `martlet udp …` that says where it listens."""

    def __init__(self, *words, prefix=()):
        self.program = Program(*prefix, brokers.binary(), "udp", *words)
        found = self.program.says(r"listening udp (\S+)\n")
        self.place = found.group(1)
        self.port = int(self.place.rsplit(":", 1)[1]) if ":" in self.place else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.program.__exit__()


def udp(family=socket.AF_INET, timeout=10):
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.settimeout(timeout)
    return one


def run(*words, input=None, prefix=(), timeout=30):
    return subprocess.run([*prefix, brokers.binary(), "udp", *map(str, words)], capture_output=True, text=True, timeout=timeout, input=input)


@pytest.fixture(scope="module")
def namespace():
    """The words that run a program in a network of its own: loopback does multicast, v0 is a cable. We are root there, without being it here."""
    network = """
        ip link set lo up multicast on
        ip route add 224.0.0.0/4 dev lo
        ip link add v0 type veth peer name v1
        echo 0 > /proc/sys/net/ipv6/conf/v0/accept_dad
        ip link set v0 up && ip link set v1 up
        ip addr add 10.9.0.1/24 brd + dev v0 && echo ready && exec sleep 600
    """
    keeper = subprocess.Popen(["unshare", "-rn", "sh", "-c", network], stdout=subprocess.PIPE)
    try:
        if keeper.stdout.readline() != b"ready\n":
            pytest.skip("no network namespace: unshare -rn is not permitted here, or iproute2 is missing")
        yield ["nsenter", "-t", str(keeper.pid), "-U", "-n", "--preserve-credentials"]
    finally:
        keeper.kill()
        keeper.wait()
        keeper.stdout.close()


@pytest.mark.parametrize("model", MODELS)
def test_echo_answers_datagrams_of_all_sizes(model):
    with Listening("echo", "--port", "0", "--model", model) as server, udp() as client:
        for size in (0, 1, 1024, 1472, 1473, 9000, 65_507):
            datagram = os.urandom(size)
            client.sendto(datagram, ("127.0.0.1", server.port))
            assert client.recvfrom(70_000) == (datagram, ("127.0.0.1", server.port))
        assert server.program.stop() == 0


@pytest.mark.parametrize("model", MODELS)
def test_echo_answers_each_of_many_to_himself(model):
    with Listening("echo", "--port", "0", "--model", model) as server:
        clients = [udp() for _ in range(50)]
        for round in range(20):
            for number, client in enumerate(clients):
                client.sendto(b"%d %d" % (round, number), ("127.0.0.1", server.port))
            for number, client in enumerate(clients):
                assert client.recv(100) == b"%d %d" % (round, number)
        for client in clients:
            client.close()


def test_connect_is_answered_by_python():
    with udp() as server:
        server.bind(("127.0.0.1", 0))

        def echo():
            for _ in range(4):
                datagram, sender = server.recvfrom(70_000)
                server.sendto(datagram.upper(), sender)

        thread = threading.Thread(target=echo)
        thread.start()
        done = run("connect", f"127.0.0.1:{server.getsockname()[1]}", "-n", 4, input="one\n\nthree\nno newline")
        thread.join()
    assert (done.returncode, done.stdout) == (0, "ONE\n\nTHREE\nNO NEWLINE\n"), done.stderr


def test_connect_says_what_came_of_it():
    with udp() as silent:
        silent.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        done = run("connect", place, "-m", "x", "-W", "0.2")
        assert done.returncode == 1 and re.search(rf"no answer from {place} within 0.2 s", done.stderr), done.stderr
        assert silent.recv(10) == b"x"
        assert run("connect", place, "-m", "y", "-W", "0").returncode == 0
        assert silent.recv(10) == b"y"
    done = run("connect", place, "-m", "x")
    assert done.returncode == 69 and "refused" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    done = run("connect", "no.such.host.invalid:9", "-m", "x")
    assert done.returncode == 69 and "no.such.host.invalid" in done.stderr, done.stderr
    assert run("connect", "nonsense").returncode == 64
    assert run("connect", "127.255.255.255:9", "-m", "x").returncode == 77


def test_a_taken_port_is_an_error_that_names_it():
    with udp() as taken:
        taken.bind(("127.0.0.1", 0))
        for command in ("echo", "listen"):
            done = run(command, "--port", taken.getsockname()[1])
            assert done.returncode == 1 and f"127.0.0.1:{taken.getsockname()[1]}" in done.stderr and "in use" in done.stderr, done.stderr


def test_listen_prints_lines_and_objects():
    with Listening("listen", "--port", "0", "-n", "3", "--json") as listener, udp() as client:
        for datagram in (b"text", b"", "Grüße".encode()):
            client.sendto(datagram, ("127.0.0.1", listener.port))
        assert listener.program.wait() == 0
        objects = [json.loads(line) for line in listener.program.output.decode().splitlines()]
    assert [(o["bytes"], o["text"]) for o in objects] == [(4, "text"), (0, ""), (7, "Grüße")]
    assert run("listen", "--port", 0, "-W", "0.1").returncode == 1


def test_listen_says_what_it_cut():
    with Listening("listen", "--port", "0", "--max", "10", "-n", "3") as listener, udp() as client:
        for size in (10, 11, 3):
            client.sendto(b"x" * size, ("127.0.0.1", listener.port))
        assert listener.program.wait() == 0
        assert listener.program.output == b"x" * 10 + b"\nxxx\n"
        assert "a datagram of 11 bytes" in listener.program.errors.decode()


def test_too_long_a_line_is_an_error():
    done = run("connect", "127.0.0.1:9", input="x" * 65_508)
    assert done.returncode == 1 and "too long" in done.stderr and "65507" in done.stderr


def test_two_address_families():
    with Listening("echo", "[::1]:0") as six, Listening("echo", f"127.0.0.1:{six.port}") as four, udp(socket.AF_INET6) as client:
        client.sendto(b"six", ("::1", six.port))
        assert client.recvfrom(10)[0] == b"six"
        for place in (f"[::1]:{six.port}", f"127.0.0.1:{four.port}", f"localhost:{six.port}"):
            assert run("connect", place, "-m", place, "-n", 1).stdout == place + "\n"


def test_unix_datagrams_by_abstract_name_and_by_path(tmp_path):
    for name, place in ((f"\0martlet-{os.getpid()}", f"unix:@martlet-{os.getpid()}"), (str(tmp_path / "echo.sock"), f"unix:{tmp_path}/echo.sock")):
        with Listening("echo", place) as server, udp(socket.AF_UNIX) as client:
            client.bind(f"\0martlet-client-{os.getpid()}")
            for datagram in (b"unix", b"", b"x" * 60_000):
                client.sendto(datagram, name)
                assert client.recvfrom(70_000)[0] == datagram
            assert run("connect", place, "-m", "hello", "-n", 1).stdout == "hello\n"
            assert server.program.stop() == 0
        assert not os.path.exists(tmp_path / "echo.sock")


def test_broadcast_has_to_be_allowed():
    with Listening("listen", "0.0.0.0:0", "-n", "1") as listener:
        place = f"127.255.255.255:{listener.port}"
        done = run("connect", place, "-m", "to all", "-W", "0")
        assert done.returncode == 77 and "permission denied" in done.stderr, done.stderr
        assert run("connect", place, "-m", "to all", "-W", "0", "--broadcast").returncode == 0
        assert listener.program.wait() == 0
        assert listener.program.output == b"to all\n"


def test_broadcast_to_a_network(namespace):
    with Listening("listen", "0.0.0.0:0", "-n", "1", "-v", prefix=namespace) as listener:
        done = run("connect", f"10.9.0.255:{listener.port}", "-m", "to all", "-W", "0", "--broadcast", prefix=namespace)
        assert done.returncode == 0, done.stderr
        assert listener.program.wait() == 0
        assert re.fullmatch(rb"10.9.0.1:\d+ to all\n", bytes(listener.program.output))


def python(code, *words, prefix):
    return subprocess.run([*prefix, sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=20)


SEND_TO_GROUP = """
import socket, struct, sys
group, port, text, interface = sys.argv[1:]
index = socket.if_nametoindex(interface)
s = socket.socket(socket.AF_INET6 if ":" in group else socket.AF_INET, socket.SOCK_DGRAM)
if ":" in group:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("@4s4si", b"", b"", index))
s.sendto(text.encode(), (group, int(port)))
"""


@pytest.mark.parametrize("group,interface", [("239.1.2.3", "lo"), ("239.1.2.3", "v0"), ("ff12::1:2", "v0")])
def test_members_of_a_group_get_what_python_sends(namespace, group, interface):
    port = brokers.free_port()
    words = ("listen", "--join", group, "--interface", interface, "--port", str(port), "-n", "2")
    with Listening(*words, prefix=namespace) as first, Listening(*words, prefix=namespace) as second:
        for text in ("one", "two"):
            done = python(SEND_TO_GROUP, group, port, text, interface, prefix=namespace)
            assert done.returncode == 0, done.stderr
        for member in (first, second):
            assert member.program.wait() == 0
            assert member.program.output == b"one\ntwo\n"


@pytest.mark.parametrize("group", ["239.1.2.3", "ff12::1:2"])
def test_python_gets_what_martlet_sends_to_a_group(namespace, group):
    receive = """
import socket, struct, sys
group, port = sys.argv[1:]
index = socket.if_nametoindex("v0")
s = socket.socket(socket.AF_INET6 if ":" in group else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", int(port)))
if ":" in group:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index))
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("@4s4si", socket.inet_aton(group), b"", index))
    s.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
print("member", flush=True)
datagram, control, *_ = s.recvmsg(100, 100)
print(datagram.decode(), int.from_bytes(control[0][2], sys.byteorder))
"""
    port = brokers.free_port()
    place = f"[{group}]:{port}" if ":" in group else f"{group}:{port}"
    with Program(*namespace, sys.executable, "-c", receive, group, port) as member:
        member.prints("member")
        done = run("connect", place, "-m", "hello", "-W", 0, "--interface", "v0", "--multicast-ttl", 7, prefix=namespace)
        assert done.returncode == 0, done.stderr
        member.prints("hello 7\n")


def test_a_socket_that_did_not_join_hears_no_group(namespace):
    port = brokers.free_port()
    with Listening("listen", "--join", "239.1.2.3", "--interface", "lo", "--port", str(port), "-n", "1", prefix=namespace) as member:
        with Listening("listen", "--join", "239.1.2.4", "--interface", "lo", "--port", str(port), prefix=namespace) as other:
            assert python(SEND_TO_GROUP, "239.1.2.3", port, "members only", "lo", prefix=namespace).returncode == 0
            assert member.program.wait() == 0
            assert python(SEND_TO_GROUP, "239.1.2.4", port, "the others", "lo", prefix=namespace).returncode == 0
            other.program.prints("the others\n")
            assert other.program.output == b"the others\n"


def test_one_source_alone(namespace):
    port = brokers.free_port()
    words = ("listen", "--join", "239.1.2.3", "--interface", "lo", "--source", "127.0.0.9", "--port", str(port), "-n", "1", "-v")
    send = "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], 0)); s.sendto(sys.argv[1].encode(), ('239.1.2.3', int(sys.argv[2])))"
    with Listening(*words, prefix=namespace) as member:
        for source in ("127.0.0.1", "127.0.0.9"):
            done = python(send, source, port, prefix=namespace)
            assert done.returncode == 0, done.stderr
        assert member.program.wait() == 0
        assert re.fullmatch(rb"127.0.0.9:\d+ 127.0.0.9\n", bytes(member.program.output))


def test_a_question_to_a_group_is_answered_by_all(namespace):
    answer = """
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", int(sys.argv[1])))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + struct.pack("@ii", 0, socket.if_nametoindex("lo")))
print("member", flush=True)
datagram, sender = s.recvfrom(100)
s.sendto(datagram + sys.argv[2].encode(), sender)
"""
    port = brokers.free_port()
    members = [Program(*namespace, sys.executable, "-c", answer, port, name) for name in ("first", "second")]
    for member in members:
        member.prints("member")
    done = run("connect", f"239.1.2.3:{port}", "-m", "I am ", "-n", 2, "--interface", "lo", prefix=namespace)
    assert sorted(done.stdout.splitlines()) == ["I am first", "I am second"], done.stderr
    for member in members:
        with member:
            assert member.wait() == 0


def test_what_is_no_group_or_no_interface_is_said():
    done = run("listen", "--join", "10.0.0.1", "--port", "0")
    assert done.returncode == 1 and "not a multicast group" in done.stderr
    done = run("listen", "--join", "239.1.2.3", "--interface", "nowhere0", "--port", "0")
    assert done.returncode == 1 and "nowhere0" in done.stderr and "interface" in done.stderr


# What the bench says about an echo server that leaves some out.

def bench(place, *words, prefix=()):
    done = subprocess.run([*prefix, brokers.binary(), "bench", "udp", place, "--json", *map(str, words)], capture_output=True, text=True, timeout=60)
    return done, json.loads(done.stdout) if done.stdout else {}


def test_bench_measures_an_echo_server():
    with Listening("echo", "--port", "0") as server:
        done, report = bench(server.place, "-c", 5, "--depth", 4, "--count", 2000, "--size", 1400)
        assert done.returncode == 0, done.stderr
        assert (report["sent"], report["received"], report["lost"], report["errors"]) == (2000, 2000, 0, 0)
        assert 0 < report["p50_us"] <= report["p99_us"] and report["sent_per_s"] > 0 and report["recv_per_s"] > 0
        done, report = bench(server.place, "--rate", 500, "--duration", 1, "--warm-up", 0)
        assert 450 <= report["sent"] <= 550 and report["lost"] == 0
    done, report = bench(server.place, "--duration", 0.5)
    assert done.returncode == 69 and "refused" in done.stderr


def test_bench_counts_what_a_server_leaves_out():
    with udp(timeout=0.5) as server:
        server.bind(("127.0.0.1", 0))
        left_out = []

        def echo():
            for number in itertools.count(1):
                try:
                    datagram, sender = server.recvfrom(70_000)
                except TimeoutError:
                    return
                if number % 10 == 0:
                    left_out.append(number)
                else:
                    server.sendto(datagram, sender)
                    if number % 7 == 0:
                        server.sendto(datagram, sender)  # twice is not wrong

        thread = threading.Thread(target=echo)
        thread.start()
        done, report = bench(f"127.0.0.1:{server.getsockname()[1]}", "--depth", 8, "--count", 100, "--warm-up", 0)
        thread.join()
    assert done.returncode == 0, done.stderr
    assert report["sent"] == 100 and report["errors"] == 0
    assert report["lost"] == len(left_out) == report["sent"] - report["received"] > 0


def test_bench_over_a_network_that_loses(namespace):
    netem = subprocess.run([*namespace, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "loss", "20%"], capture_output=True, text=True)
    if netem.returncode != 0:
        pytest.skip(f"no netem in this kernel: {netem.stderr.strip()}")
    try:
        with Listening("echo", "--port", "0", prefix=namespace) as server:
            done, report = bench(server.place, "--depth", 16, "--duration", 2, prefix=namespace)
            assert done.returncode == 0, done.stderr
            assert report["lost"] > 0 and report["received"] > 0 and report["errors"] == 0
    finally:
        subprocess.run([*namespace, "tc", "qdisc", "del", "dev", "lo", "root"], check=False)


# The course's programs.

@pytest.mark.parametrize("name", LISTINGS)
def test_an_example_is_no_longer_than_its_listing(name):
    text = (brokers.ROOT / "Examples" / name / "main.swift").read_text()
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("//")]
    assert 0 < len(code) <= LISTINGS[name]


SERVERS = {
    "example": (lambda: Program(example("udp-echo-server")), "listening", r"Received Hello, UDP! from 127.0.0.1:\d+\n"),
    "async": (lambda: Program(example("async-udp-server")), "started", r"Received Hello, UDP! from 127.0.0.1:\d+\n"),
    "python": (lambda: Program(sys.executable, PEERS / "course_udp_server.py", "127.0.0.1", 65432), "listening", r"received Hello, UDP! 127.0.0.1 \d+\n"),
    "asyncio": (lambda: Program(sys.executable, PEERS / "course_async_udp_server.py", "127.0.0.1", 65432), "serving", r"received Hello, UDP! 127.0.0.1 \d+\n"),
    "martlet": (lambda: martlet("udp", "echo", "-v"), None, None),
}
CLIENTS = {
    "example": (lambda: Program(example("udp-echo-client")), "Received echo: Hello, UDP! from 127.0.0.1:65432\n"),
    "python": (lambda: Program(sys.executable, PEERS / "course_udp_client.py", "127.0.0.1", 65432), "echo Hello, UDP! 127.0.0.1 65432\n"),
    "martlet": (lambda: martlet("udp", "connect", "-m", "Hello, UDP!", "-n", "1"), "Hello, UDP!\n"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_the_course_s_server_and_clients(course_port, server):
    start, ready, received = SERVERS[server]
    with start() as running:
        if ready:
            running.prints(ready)
        else:
            running.says("listening udp 127.0.0.1:65432\n")
        for client, (start_client, printed) in CLIENTS.items():
            with start_client() as asking:
                assert asking.wait() == 0, (client, asking.errors)
                assert asking.output.decode() == printed
        if received:
            running.prints(f"({received}){{3}}")
        else:
            running.says(r"(11 bytes from 127.0.0.1:\d+\n){3}")
        if server in ("example", "python"):
            # An empty datagram is the end.
            with udp() as client:
                client.sendto(b"", ("127.0.0.1", course_port))
            assert running.wait() == 0, running.errors
        elif server == "martlet":
            assert running.stop() == 0
