"""`martlet ws serve chat`: the course's clients, Python's `websockets`, and its page and the course's in Chromium."""

import base64
import json
import socket
import threading
import time
import urllib.request

import brokers
import pytest
from chromium import CHROMIUM, Page
from programs import Program, example, martlet
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

OLD = brokers.ROOT / ".venv/paho1/bin/python"
PEERS = brokers.ROOT / "Tests/Interop/peers"
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

SAID = "[...document.querySelectorAll('#messages .said .text, #messages .own .text')].map((item) => item.textContent)"
COURSE_PAGE = """<!DOCTYPE html>
<html>
<head><title>WebSocket Chat</title></head>
<body>
    <ul id="messages"></ul>
    <input id="messageBox" type="text" />
    <button id="sendButton">Send</button>
    <script>
        const ws = new WebSocket("ws://localhost:8765"); // Connect
        const messages = document.getElementById("messages");
        const messageBox = document.getElementById("messageBox");
        const sendButton = document.getElementById("sendButton");
        ws.onmessage = (event) => {
            const li = document.createElement("li");
            li.textContent = `Server: ${event.data}`;
            messages.appendChild(li);
        };
        sendButton.onclick = () => {
          const message = messageBox.value;
          ws.send(message);
          const li = document.createElement("li");
          li.textContent = `Client: ${message}`;
          messages.appendChild(li);
          messageBox.value = "";
        };
        ws.onopen = () => console.log("Connected to server");
        ws.onclose = () => console.log("Disconnected");
    </script>
</body>
</html>
"""


class Chat:
    def __init__(self, *words, port=0):
        self.program = martlet("ws", "serve", "chat", "--port", port, *words)
        self.port = int(self.program.says(r"listening ws \S+:(\d+)\n").group(1))
        self.url = f"ws://localhost:{self.port}/"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        running = self.program.process.poll() is None
        code = self.program.stop()
        self.program.__exit__()
        assert running and code == 0, f"{code}: {self.program.errors.decode()}"


def local_port(peer):
    return peer.socket.getsockname()[1]


def until_heard(peer, text):
    while (message := peer.recv(timeout=20)) != text:
        pass
    return message


def settled(*peers):
    """All are members: each has been heard by the others."""
    for peer in peers:
        peer.ping().wait(20)


def test_plain_text_goes_to_the_others_with_the_port():
    with Chat() as chat, connect(chat.url) as one, connect(chat.url) as two, connect(chat.url + "any/path?x=1") as three:
        settled(one, two, three)
        one.send("olá 💬 <b>")
        assert two.recv(timeout=20) == three.recv(timeout=20) == f"[{local_port(one)}]: olá 💬 <b>"
        two.send("zwei")
        # The sender hears nothing of its own.
        assert one.recv(timeout=20) == f"[{local_port(two)}]: zwei"
        three.close()
        one.send("again")
        assert two.recv(timeout=20) == f"[{local_port(one)}]: again"


def test_localhost_is_both_families():
    with Chat() as chat:
        for host in ("127.0.0.1", "[::1]"):
            with connect(f"ws://{host}:{chat.port}/") as peer:
                peer.ping().wait(20)


@pytest.mark.parametrize("is_ours", [True, False], ids=["our-server", "the-course's-server"])
def test_the_courses_programs(is_ours):
    """Its client with our server, and with its own, which has to be the same to our client."""
    if is_ours:
        server = Chat()
        url = server.url
    else:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Program(OLD, PEERS / "course_ws_server.py", port)
        server.prints("Starting WebSocket server")
        url = f"ws://localhost:{port}"
        deadline = time.monotonic() + 20
        while not brokers.listens(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with server, Program(OLD, PEERS / "course_ws_client.py", url) as theirs, martlet("ws", "connect", "-v", url) as ours:
        port = theirs.prints(r"connected (\d+)\n").group(1).decode()
        ours.says("connected")
        deadline = time.monotonic() + 20
        while b"Server: " not in theirs.output:
            assert time.monotonic() < deadline, theirs.output
            ours.write(b"from martlet\n")
            time.sleep(0.2)
        assert theirs.prints(r"Server: \[(\d+)\]: from martlet\n")
        theirs.write(b"from Python\n")
        ours.prints(rf"\[{port}\]: from Python\n")
        ours.end_input()
        assert ours.wait() == 0


def test_foreign_pages_are_refused_and_names_can_be_given():
    with Chat() as chat:
        for origin in (None, "null", f"http://localhost:{chat.port}", "http://127.0.0.1:9", "http://localhost"):
            with connect(chat.url, origin=origin) as peer:
                peer.ping().wait(20)
        for origin in ("https://elsewhere.example", "http://localhost.elsewhere.example"):
            with pytest.raises(InvalidStatus, match="403"):
                connect(chat.url, origin=origin)
    with Chat("--origin", "https://chat.example", "--origin", "null") as chat:
        with connect(chat.url, origin="https://chat.example") as peer:
            peer.ping().wait(20)
        with pytest.raises(InvalidStatus, match="403"):
            connect(chat.url, origin=f"http://localhost:{chat.port}")


class PagePeer:
    """What the page says, from Python."""

    def __init__(self, chat, name, session, after=None):
        self.peer = connect(chat.url, subprotocols=["martlet.chat"], max_queue=None).__enter__()
        assert self.peer.subprotocol == "martlet.chat"
        self.say(type="join", name=name, session=session, **({} if after is None else {"after": after}))
        self.welcome = self.hear("welcome")

    def say(self, **message):
        self.peer.send(json.dumps(message))

    def hear(self, kind):
        while (message := json.loads(self.peer.recv(timeout=20)))["type"] != kind:
            pass
        return message


def test_names_presence_and_what_was_missed():
    with Chat() as chat, connect(chat.url) as plain:
        ann = PagePeer(chat, "Ann", "a" * 32)
        assert ann.welcome["people"] == ["Ann"] and ann.welcome["guests"] == 1
        bob = PagePeer(chat, " ann\n\u202e ", "b" * 32)
        assert bob.welcome["name"] == "ann 2" and ann.hear("joined")["name"] in ("Ann", "ann 2")
        plain.ping().wait(20)
        plain.send("plain & <simple>")
        said = ann.hear("said")
        assert (said["name"], said["text"]) == (str(local_port(plain)), "plain & <simple>")
        bob.say(type="say", text='"quoted" \n line')
        assert plain.recv(timeout=20) == f'[{local_port(bob.peer)}]: "quoted" \n line'
        last = ann.hear("said")
        assert last["text"] == '"quoted" \n line' and last["name"] == "ann 2" and last["id"] == said["id"] + 1
        # Away and back in time: nobody is told, and nothing is missed.
        bob.peer.close()
        plain.send("while you were away")
        ann.hear("said")
        bob = PagePeer(chat, "whoever", "b" * 32, after=last["id"])
        assert bob.welcome["name"] == "ann 2" and [message["text"] for message in bob.welcome["messages"]] == ["while you were away"]
        bob.peer.close()
        assert ann.hear("left")["name"] == "ann 2"
        # What is none of the protocol is refused in its words, and the connection stays.
        for bad in ("{", "[]", '{"type":"join","name":"x","session":"short"}', '{"type":"what"}', json.dumps({"type": "say", "text": ""})):
            ann.peer.send(bad)
            assert ann.hear("error")["text"]
        ann.peer.close()


def test_on_several_loops_nobody_misses_anything():
    """Whenever a page joins, a message is in its welcome, or comes, or both."""

    def talk(number):
        for turn in range(50):
            talkers[number].send(f"{number} {turn}")

    def read(page):
        ids = {message["id"]: message["text"] for message in page.welcome["messages"]}
        while "the end" not in ids.values():
            said = page.hear("said")
            assert ids.setdefault(said["id"], said["text"]) == said["text"]
        return ids

    with Chat("--loops", 4) as chat:
        talkers = [connect(chat.url, max_queue=None).__enter__() for _ in range(3)]
        settled(*talkers)
        threads = [threading.Thread(target=talk, args=[number]) for number in range(3)]
        for thread in threads:
            thread.start()
        pages = [PagePeer(chat, f"page {number}", f"{number:032}") for number in range(12)]
        for thread in threads:
            thread.join()
        settled(*talkers)
        talkers[0].send("the end")
        expected = sorted([f"{number} {turn}" for number in range(3) for turn in range(50)] + ["the end"])
        for page in pages:
            assert sorted(read(page).values()) == expected
            page.peer.close()
        for talker in talkers:
            talker.close()


@needs_chromium
def test_our_page_and_a_python_client(tmp_path):
    with Chat() as chat, connect(chat.url) as python:
        with Page(tmp_path / "one", f"http://localhost:{chat.port}/?name=Ann", "--window-size=390,844") as page:
            page.until("document.querySelector('#state').textContent === 'connected as Ann'")
            python.send("<img src=x onerror=alert(1)> hello")
            page.until("[...document.querySelectorAll('#messages .text')].some((item) => item.textContent === '<img src=x onerror=alert(1)> hello')")
            assert page.run("document.images.length") == 0
            page.run("document.querySelector('#text').value = 'from the page'; document.querySelector('#send').click()")
            assert python.recv(timeout=20).endswith("]: from the page")
            page.until("document.querySelector('#messages li.own .text')?.textContent === 'from the page'")
            # A phone's width has no scrolling sideways.
            assert page.run("document.documentElement.scrollWidth <= innerWidth")
            shot = page.call("Page.captureScreenshot", format="png")["data"]
            (tmp_path / "light.png").write_bytes(base64.b64decode(shot))
            page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
            light = page.run("getComputedStyle(document.body).backgroundColor")
            assert light == "rgb(17, 20, 24)", light
            (tmp_path / "dark.png").write_bytes(base64.b64decode(page.call("Page.captureScreenshot", format="png")["data"]))


@needs_chromium
def test_our_page_comes_back_to_a_server_that_was_away(tmp_path):
    with Chat() as chat:
        port = chat.port
        with Page(tmp_path, f"http://localhost:{port}/?name=Ann") as page:
            page.until("document.querySelector('#state').textContent === 'connected as Ann'")
            with connect(chat.url) as python:
                python.send("before")
                page.until(f"{SAID}.includes('before')")
            assert chat.program.stop() == 0
            page.until("document.querySelector('#state').className === 'bad' && document.querySelector('#send').disabled")
            with Chat(port=port) as again:
                page.until("document.querySelector('#state').textContent === 'connected as Ann'", 40)
                with connect(again.url) as python:
                    page.run("document.querySelector('#text').value = 'back'; document.querySelector('#send').click()")
                    assert python.recv(timeout=20).endswith("]: back")
                    python.send("heard")
                    page.until(f"{SAID}.join() === 'before,back,heard'")
        chat.program = martlet("ws", "serve", "chat", "--port", 0)
        chat.program.says("listening")


@needs_chromium
def test_the_courses_page_from_a_file_on_its_port(tmp_path, course_port):
    (tmp_path / "chat.html").write_text(COURSE_PAGE)
    with Chat(port=8765) as chat, connect(chat.url) as python, Page(tmp_path / "profile", f"file://{tmp_path}/chat.html") as page:
        page.until("ws.readyState === WebSocket.OPEN")
        python.send("to the page")
        page.until(f"messages.innerText === 'Server: [{local_port(python)}]: to the page'")
        page.run("messageBox.value = 'to Python'; sendButton.click()")
        assert python.recv(timeout=20).endswith("]: to Python")


def test_the_example_is_the_same_chat():
    with Program(example("chat"), "--host", "localhost", "--port", 0) as chat:
        place = chat.prints(r"Serving on ws://(\S+)\n").group(1).decode()
        with connect(f"ws://{place}/") as one, connect(f"ws://{place}/") as two:
            settled(one, two)
            one.send("hello")
            assert two.recv(timeout=20) == f"[{local_port(one)}]: hello"
        with urllib.request.urlopen(f"http://{place}/", timeout=20) as page:
            assert b"WebSocket Chat" in page.read()


def test_polling_is_slower_and_a_websocket_says_less():
    with Program(example("polling"), "--seconds", 5) as polling:
        assert polling.wait(40) == 0, polling.errors
    rows = [line.rsplit(None, 7) for line in polling.output.decode().splitlines()[1:]]
    assert [row[0].split(",")[0] for row in rows] == ["polling", "long polling", "WebSocket"]
    sizes, delays = [int(row[3]) for row in rows], [int(row[4]) for row in rows]
    assert delays[0] > 10 * delays[2] and sizes[2] < sizes[1]
