"""MQTT over WebSocket, at `/mqtt` of an HTTP listener: paho-mqtt 1 and 2, over TLS too, what a hand-made client sees, and our client with other servers."""

import getpass
import http.client
import json
import ssl
import subprocess
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import brokers
from brokers import martlet
from mosquitto_clients import Subscriber, publish
from raw import CONNACK, DISCONNECT, PUBLISH, connect_packet, packet, publish_packet, text
from tls_relay import connect_by_tls

PEER = Path(__file__).parent / "peers/paho_peer.py"
DISCONNECTING = packet(DISCONNECT, 0, b"")


def start(certificates, *words, **more):
    listen = ("mqtt://127.0.0.1:0", "http://127.0.0.1:0", f"https://127.0.0.1:0?cert={certificates.path('server')}&key={certificates.key('server')}")
    return brokers.Martlet(*words, listen=listen, **more)


@pytest.fixture(scope="module", params=brokers.LOOPS, ids=lambda n: f"loops{n}")
def server(request, certificates):
    running = start(certificates, loops=request.param)
    yield running
    survived = running.is_running()
    assert running.stop()[0] == 0 and survived, "\n".join(running.lines[-20:])


class Stream:
    """A WebSocket whose binary messages are a stream of bytes."""

    def __init__(self, server, context=None, subprotocols=("mqtt",), **more):
        port = server.ports["https" if context else "http"]
        if context:
            more["sock"] = connect_by_tls("127.0.0.1", port, context)
        # Left at its end, by the server or by the test.
        self.socket = connect(f"ws://127.0.0.1:{port}/mqtt", subprotocols=list(subprotocols), compression=None, max_size=None, **more).__enter__()
        self.kept = b""

    def send(self, *messages):
        for message in messages:
            self.socket.send(message)

    def take(self, count):
        while len(self.kept) < count:
            piece = self.socket.recv(timeout=10)
            assert isinstance(piece, bytes)
            self.kept += piece
        taken, self.kept = self.kept[:count], self.kept[count:]
        return taken

    def packet(self):
        """Its kind, and what follows the fixed header."""
        kind, length, shift = self.take(1)[0] >> 4, 0, 0
        while True:
            byte = self.take(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return kind, self.take(length)

    def closed(self):
        """The code of the server's Close."""
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                self.socket.recv(timeout=10)
        return ended.value.rcvd.code if ended.value.rcvd else None


def subscribe_packet(*filters):
    return packet(8, 2, b"\0\1" + b"".join(text(one) + b"\0" for one in filters))


@pytest.mark.parametrize("library", ["paho1", "paho2"])
@pytest.mark.parametrize("version,qos,scheme", [("311", 0, "http"), ("5", 1, "http"), ("311", 1, "https"), ("5", 0, "https")])
def test_paho(server, certificates, topic, library, version, qos, scheme):
    python = brokers.ROOT / f".venv/{library}/bin/python"
    words = ["websockets"] + ([certificates.authority] if scheme == "https" else [])
    done = subprocess.run(
        [python, PEER, server.host, str(server.ports[scheme]), version, str(qos), topic, *words],
        capture_output=True, text=True, timeout=90, env=brokers.environment())  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["connected"] == 1 and seen["disconnected_before_leaving"] == 0
    expected = [[f"{topic}/{number}", qos, len(f"message {number}"), f"message {number}"] for number in range(100)]
    expected += [[f"{topic}/large", qos, 65_536, "y" * 20], [f"{topic}/gone/deep", qos, 1, "1"], [f"{topic}/end", qos, 3, "end"]]
    assert seen["messages"] == expected


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("cut", ["bytes", "one", "fragments", "halves"])
def test_packets_and_messages_begin_and_end_where_they_like(server, certificates, topic, cut, scheme):
    """[MQTT-6.0.0-2]"""
    said = connect_packet(f"cut{topic}{cut}{scheme}") + subscribe_packet(f"{topic}/#") + publish_packet(f"{topic}/a", b"x" * 3000)
    # In fragments it would be seen, and the connection ended, before its message's last fragment, which is empty.
    leaving = b"" if cut == "fragments" else DISCONNECTING
    said += leaving
    context = ssl.create_default_context(cafile=certificates.authority) if scheme == "https" else None
    stream = Stream(server, context)
    assert stream.socket.subprotocol == "mqtt"
    pieces = {
        "bytes": [said[:60][at : at + 1] for at in range(60)] + [said[60:]],
        "one": [said],
        "fragments": [[said[at : at + 7] for at in range(0, len(said), 7)]],
        "halves": [said[:20], b"", said[20:21], said[21:1000], said[1000:]],
    }[cut]
    stream.send(*pieces)
    assert stream.packet() == (CONNACK, b"\0\0")
    assert stream.packet()[0] == 9
    assert stream.packet() == (PUBLISH, text(f"{topic}/a") + b"x" * 3000)
    if not leaving:
        stream.send(DISCONNECTING)
    assert stream.closed() == 1000


def test_what_another_protocol_publishes_arrives(server, topic):
    stream = Stream(server)
    stream.send(connect_packet(), subscribe_packet(f"{topic}/+"))
    assert stream.packet()[0] == CONNACK and stream.packet()[0] == 9
    publish(server, "-t", f"{topic}/x", "-m", "by TCP")
    assert stream.packet() == (PUBLISH, text(f"{topic}/x") + b"by TCP")
    with Subscriber(server, f"{topic}/y") as listener:
        stream.send(publish_packet(f"{topic}/y", b"by WebSocket"))
        assert listener.take(1) == [(f"{topic}/y", 0, "by WebSocket")]
    assert stream.packet()[0] == PUBLISH
    stream.socket.close()


def test_large_messages_go_through(server, topic):
    stream = Stream(server)
    body = bytes(range(256)) * 4000
    stream.send(connect_packet() + subscribe_packet(topic))
    assert stream.packet()[0] == CONNACK and stream.packet()[0] == 9
    for _ in range(3):
        stream.send(publish_packet(topic, body))
        assert stream.packet() == (PUBLISH, text(topic) + body)
    stream.socket.close()


def test_a_session_found_on_another_loop(server, topic):
    """The connection moves there, with its layer, and goes on."""
    for number in range(8):
        stream = Stream(server)
        stream.send(connect_packet(f"mover{topic}", clean=False) + subscribe_packet(topic) + publish_packet(topic, b"%d" % number))
        assert stream.packet() == (CONNACK, b"\1\0" if number else b"\0\0")
        assert stream.packet()[0] == 9 and stream.packet() == (PUBLISH, text(topic) + b"%d" % number)
        stream.send(DISCONNECTING)
        assert stream.closed() == 1000


def test_text_is_refused(server):
    """[MQTT-6.0.0-1]"""
    for message in ("text", ["te", "xt"]):
        stream = Stream(server)
        stream.send(connect_packet())
        assert stream.packet()[0] == CONNACK
        try:
            stream.send(message)
        except ConnectionClosed:
            pass  # of a message in fragments the first is enough
        assert stream.closed() == 1003


def test_a_close_is_answered_and_the_client_was_lost(server, topic):
    """Without DISCONNECT the will is published."""
    with Subscriber(server, f"{topic}/will") as listener:
        stream = Stream(server)
        flags_and_more = b"\6\0\x3c" + text("") + text(f"{topic}/will") + text("gone")
        stream.send(packet(1, 0, text("MQTT") + b"\4" + flags_and_more))
        assert stream.packet()[0] == CONNACK
        stream.socket.close(4001, "because")
        assert stream.socket.protocol.close_rcvd.code == 4001
        assert listener.take(1) == [(f"{topic}/will", 0, "gone")]


def test_pings_are_answered(server):
    stream = Stream(server)
    stream.send(connect_packet())
    assert stream.packet()[0] == CONNACK
    for number in range(20):
        assert stream.socket.ping(f"are you there {number}").wait(10)
    stream.socket.close()


def test_what_breaks_the_protocol_is_told_so(server):
    stream = Stream(server)
    stream.send(connect_packet())
    assert stream.packet()[0] == CONNACK
    stream.socket.socket.sendall(b"\x83\x80\0\0\0\0")
    assert stream.closed() == 1002


def handshake(server, **changes):
    """The status and the fields of the answer to a handshake."""
    fields = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": "mqtt", **{name.replace("_", "-"): value for name, value in changes.items()},
    }  # fmt: skip
    asking = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=10)
    asking.request("GET", "/mqtt", headers={name: value for name, value in fields.items() if value is not None})
    answer = asking.getresponse()
    return answer.status, dict(answer.getheaders()), answer


def test_what_ends_a_connection_before_its_connect_is_no_failure_of_tls(certificates):
    running = start(certificates, "--log-level", "debug")
    stream = Stream(running)
    stream.send("text")
    assert stream.closed() == 1003
    assert "1003" in running.wait_for_line("protocol violation.*").group(0)
    # Without a Close.
    Stream(running).socket.socket.close()
    assert running.stop()[0] == 0
    line = running.wait_for_line("loop 0: .*").group(0)
    assert "violations=1" in line and not any("TLS failed" in line for line in running.lines)


def test_handshakes(server):
    status, fields, _ = handshake(server)
    assert status == 101 and fields["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" and fields["Sec-WebSocket-Protocol"] == "mqtt"
    status, fields, _ = handshake(server, Sec_WebSocket_Protocol="chat, mqttv3.1", Sec_WebSocket_Extensions="permessage-deflate")
    assert status == 101 and fields["Sec-WebSocket-Protocol"] == "mqttv3.1" and "Sec-WebSocket-Extensions" not in fields
    status, fields, _ = handshake(server, Sec_WebSocket_Version="8")
    assert status == 426 and fields["Sec-WebSocket-Version"] == "13"
    status, fields, _ = handshake(server, Upgrade=None, Connection=None)
    assert status == 426 and fields["Upgrade"] == "websocket"
    for change in ({"Sec_WebSocket_Key": "short"}, {"Sec_WebSocket_Key": None}, {"Sec_WebSocket_Protocol": "chat"}, {"Sec_WebSocket_Protocol": None}):
        status, _, answer = handshake(server, **change)
        assert status == 400 and answer.read().startswith(b'{"status":400,"detail":"'), change


def test_pages_of_strangers_are_refused(server, serve, certificates):
    port = server.ports["http"]
    for origin in (f"http://127.0.0.1:{port}", "http://localhost:3000", "https://LOCALHOST", "http://[::1]:1", "http://127.1.2.3", "http://a.localhost"):
        assert handshake(server, Origin=origin)[0] == 101, origin
    # The last one has the server's own name, as a name that leads to 127.0.0.1 has.
    for origin, host in [("https://example.org", None), ("null", None), ("file://", None), ("http://rebound.example", "rebound.example")]:
        changes = {"Host": host} if host else {}
        assert handshake(server, Origin=origin, **changes)[0] == 403, origin
    running = serve("--set", "websocket.origins=https://example.org,https://x.example:8443", listen=("http://127.0.0.1:0",))
    assert handshake(running, Origin="https://Example.org")[0] == 101
    assert handshake(running, Origin="https://x.example:8443")[0] == 101
    assert handshake(running, Origin="https://x.example")[0] == 403
    assert handshake(serve("--set", "websocket.origins=*", listen=("http://127.0.0.1:0",)), Origin="https://example.org")[0] == 101


def test_users_are_asked_for(serve):
    running = serve("--user", "me:secret", listen=("http://127.0.0.1:0",))
    for password, answer in (("secret", b"\0\0"), ("wrong", b"\0\4")):
        stream = Stream(running)
        stream.send(connect_packet(username="me", password=password))
        assert stream.packet() == (CONNACK, answer)
        stream.socket.close()


def test_a_server_that_stops_says_so(certificates):
    running = start(certificates, loops=2)
    streams = [Stream(running) for _ in range(4)]
    for stream in streams:
        stream.send(connect_packet(version=5))
        assert stream.packet()[0] == CONNACK
    running.process.terminate()
    for stream in streams:
        assert stream.packet()[0] == DISCONNECT
        assert stream.closed() == 1000
    assert running.process.wait(10) == 0


# `martlet mqtt --ws` and ws:// URLs.


@pytest.fixture(scope="module", params=["martlet", "mosquitto"])
def place(request, certificates, tmp_path_factory):
    """Servers' ws:// and wss:// URLs."""
    if request.param == "martlet":
        running = start(certificates, loops=2)
        plain, secure = running.ports["http"], running.ports["https"]
    else:
        plain, secure = brokers.free_port(), brokers.free_port()
        lines = [f"listener {plain} 127.0.0.1", "protocol websockets", f"listener {secure} 127.0.0.1", "protocol websockets"]
        # It reads the key late, when it no longer is root.
        lines += [f"certfile {certificates.path('server')}", f"keyfile {certificates.key('server')}", f"user {getpass.getuser()}"]
        running = brokers.Mosquitto(tmp_path_factory.mktemp("mosquitto"), *lines)
    yield {"ws": f"ws://127.0.0.1:{plain}/mqtt", "wss": f"wss://localhost:{secure}/mqtt", request.param: True}
    assert running.stop()[0] == 0


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("version,qos", [("311", 0), ("5", 1), ("5", 2)])
def test_our_client(place, certificates, topic, scheme, version, qos):
    words = ["-L", place[scheme], "-V", version, "-q", str(qos)] + (["--cafile", certificates.authority] if scheme == "wss" else [])
    listening = subprocess.Popen(
        [brokers.binary(), "mqtt", "sub", *words, "-t", f"{topic}/#", "-C", "3", "-W", "30", "-F", "%t %l", "-d"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=brokers.environment())  # fmt: skip
    trace = ""
    while "SUBACK" not in trace:
        line = listening.stderr.readline()
        assert line, trace
        trace += line
    # mosquitto sends over WebSocket 4 KiB each 0.1 s.
    body = "x" * (200_000 if "mosquitto" not in place else 20_000)
    assert martlet("mqtt", "pub", *words, "-t", f"{topic}/a", "-m", "one").returncode == 0
    assert martlet("mqtt", "pub", *words, "-t", f"{topic}/large", "-s", input=body).returncode == 0
    assert martlet("mqtt", "pub", *words, "-t", f"{topic}/empty", "-n").returncode == 0
    out, err = listening.communicate(timeout=30)
    assert out.splitlines() == [f"{topic}/a 3", f"{topic}/large {len(body)}", f"{topic}/empty 0"], trace + err
    assert listening.returncode == 0


def test_our_flag(server):
    done = martlet("mqtt", "pub", "--ws", "-h", "127.0.0.1", "-p", str(server.ports["http"]), "-t", "a", "-m", "x", "-q", "1", "-d")
    assert done.returncode == 0 and "PUBACK" in done.stderr


def test_who_does_not_speak_it_is_named(server):
    def sentence(port, path="/mqtt", scheme="ws"):
        done = martlet("mqtt", "pub", "-L", f"{scheme}://127.0.0.1:{port}{path}", "-t", "a", "-m", "x")
        assert done.returncode == 69
        return done.stderr

    assert "the server answers 404 Not Found to the WebSocket handshake" in sentence(server.ports["http"], "/elsewhere")
    assert "the server answers 200 OK to the WebSocket handshake" in sentence(server.ports["http"], "/")
    assert "in the WebSocket handshake" in sentence(server.port)
    assert "no TLS" in sentence(server.ports["http"], scheme="wss")
    assert "refused" in sentence(brokers.free_port())
