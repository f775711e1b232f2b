"""JSON over WebSocket, at `/ws` of an HTTP listener: python's websockets, and pages in headless Chromium."""

import base64
import json
import threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import brokers
from brokers import martlet
from chromium import CHROMIUM
from chromium import Page as BrowserPage
from mosquitto_clients import Subscriber, publish


@pytest.fixture(scope="module", params=[*brokers.LOOPS, "disk"], ids=lambda n: f"loops{n}" if n != "disk" else n)
def server(request, certificates, tmp_path_factory):
    listen = (
        "mqtt://127.0.0.1:0", "amqp://127.0.0.1:0", "http://127.0.0.1:0",
        f"https://127.0.0.1:0?cert={certificates.path('server')}&key={certificates.key('server')}")  # fmt: skip
    words = ["--data", str(tmp_path_factory.mktemp("disk") / "data")] if request.param == "disk" else []
    running = brokers.Martlet(*words, listen=listen, loops=2 if words else request.param)
    yield running
    survived = running.is_running()
    assert running.stop()[0] == 0 and survived, "\n".join(running.lines[-20:])


class Page:
    def __init__(self, server, **more):
        self.socket = connect(f"ws://127.0.0.1:{server.ports['http']}/ws", max_size=None, **more).__enter__()

    def send(self, op, **members):
        self.socket.send(json.dumps({"op": op, **members}))

    def take(self):
        """The next message that is no ping."""
        while True:
            taken = json.loads(self.socket.recv(timeout=10))
            if taken["op"] != "ping":
                return taken

    def ask(self, op, **members):
        """The answer; nothing else comes before it."""
        self.send(op, id=7, **members)
        answer = self.take()
        assert answer.pop("id") == 7, answer
        return answer

    def subscribe(self, *topics):
        for topic in topics:
            assert self.ask("subscribe", topic=topic) == {"op": "ok"}
        return self

    def closed(self):
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                self.socket.recv(timeout=10)
        return ended.value.rcvd.code if ended.value.rcvd else None

    def close(self):
        self.socket.close()


@pytest.fixture
def page(server):
    opened = []

    def make(**more):
        opened.append(Page(server, **more))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_messages_reach_whoever_subscribed(page, topic):
    one, two = page().subscribe(f"{topic}/+"), page().subscribe(f"{topic}/#", f"{topic}/a")
    assert one.ask("publish", topic=f"{topic}/b/c", text="deep") == {"op": "ok"}
    # Once each, however many filters match; its own too.
    one.send("publish", topic=f"{topic}/a", text="é \"😀\" \\ \n\0\x1f", id="x")
    expected = {"op": "message", "topic": f"{topic}/a", "text": "é \"😀\" \\ \n\0\x1f"}
    assert sorted([one.take(), one.take()], key=lambda m: m["op"]) == [expected, {"op": "ok", "id": "x"}]
    assert two.take() == {"op": "message", "topic": f"{topic}/b/c", "text": "deep"}
    assert two.take() == expected
    raw = bytes(range(256))
    one.send("publish", topic=f"{topic}/a", base64=base64.b64encode(raw).decode())
    for each in (one, two):
        assert each.take() == {"op": "message", "topic": f"{topic}/a", "base64": base64.b64encode(raw).decode()}
    assert two.ask("unsubscribe", topic=f"{topic}/a") == {"op": "ok"}
    assert two.ask("unsubscribe", topic=f"{topic}/a")["op"] == "error"
    assert two.ask("unsubscribe", topic=f"{topic}/#") == {"op": "ok"}
    one.send("publish", topic=f"{topic}/a", text="for one")
    assert one.take()["text"] == "for one"
    assert two.ask("subscribe", topic=f"{topic}/other") == {"op": "ok"}


def test_what_was_retained_comes_after_the_answer(page, topic):
    first = page()
    for name in "ab":
        assert first.ask("publish", topic=f"{topic}/{name}", text=name, retain=True, qos=1) == {"op": "ok"}
    second = page()
    second.send("subscribe", id=1, topic=f"{topic}/+")
    assert second.take() == {"op": "ok", "id": 1}
    got = sorted((second.take() for _ in "ab"), key=lambda m: m["topic"])
    assert got == [{"op": "message", "topic": f"{topic}/{name}", "text": name, "retained": True} for name in "ab"]
    assert first.ask("publish", topic=f"{topic}/a", text="", retain=True) == {"op": "ok"}
    assert second.take() == {"op": "message", "topic": f"{topic}/a", "text": ""}
    assert page().subscribe(f"{topic}/a").ask("unsubscribe", topic=f"{topic}/a") == {"op": "ok"}


def test_all_protocols_meet(server, page, topic):
    one = page().subscribe(f"{topic}/#")
    publish(server, "-t", f"{topic}/mqtt", "-m", "from MQTT", "-q", "1")
    assert one.take() == {"op": "message", "topic": f"{topic}/mqtt", "text": "from MQTT"}
    url = f"amqp://127.0.0.1:{server.ports['amqp']}"
    done = martlet("amqp", "publish", "--url", url, "--exchange", "amq.topic", "--key", f"{topic}.amqp.a/b", "-m", "from AMQP")
    assert done.returncode == 0, done.stderr
    assert one.take() == {"op": "message", "topic": f"{topic}/amqp/a%2Fb", "text": "from AMQP"}
    with Subscriber(server, f"{topic}/page", qos=1) as listener:
        assert page().ask("publish", topic=f"{topic}/page", text="from a page", qos=1) == {"op": "ok"}
        assert listener.take(1) == [(f"{topic}/page", 1, "from a page")]


def test_bad_input_is_answered(page, topic):
    one = page()

    def reason(text):
        one.socket.send(text)
        answer = one.take()
        assert answer["op"] == "error" and "id" not in answer
        return answer["reason"]

    for text in ("", "x", "{", '{"op":"publish"', '{"op":"publish",}', "\u0000", '{"op":"\\ud800"}', '{}{}', '{"a":' + "[" * 600):
        assert reason(text).startswith("this is not JSON"), text
    for text in ("1", "[]", "null", '"publish"', "true"):
        assert reason(text) == "a message is a JSON object"
    for text in ("{}", '{"op":"nothing"}', '{"op":1}', '{"op":null}', '{"OP":"publish"}'):
        assert reason(text).startswith("op is one of"), text
    refused = [
        ({}, "topic is missing"), ({"topic": 1}, "topic is a string"), ({"topic": ""}, "topic is not the name"), ({"topic": "a/+"}, "topic is not the name"),
        ({"topic": "a\0"}, "topic is not the name"), ({"topic": "a" * 65536}, "topic is not the name"), ({"topic": "/" * 300}, "topic is not the name"),
        ({"topic": "$SYS/a", "text": ""}, "the server alone"), ({"topic": "a"}, "text or base64 is missing"), ({"topic": "a", "text": 1}, "text is a string"),
        ({"topic": "a", "base64": "=="}, "base64 is a string in"), ({"topic": "a", "base64": "YQ"}, "base64 is a string in"),
        ({"topic": "a", "text": "", "qos": 2}, "qos is 0 or 1"), ({"topic": "a", "text": "", "qos": "1"}, "qos is 0 or 1"),
        ({"topic": "a", "text": "", "retain": 1}, "retain is true or false"), ({"topic": "a", "text": "", "reply": "#"}, "reply is not the name"),
    ]  # fmt: skip
    for members, beginning in refused:
        answer = one.ask("publish", **members)
        assert answer["op"] == "error" and answer["reason"].startswith(beginning), (members, answer)
    for op, topics in (("subscribe", ("", "a/#/b", "a+", "\0", "$share/g/a", 7, None)), ("unsubscribe", ("", "never"))):
        for one_topic in topics:
            assert one.ask(op, topic=one_topic)["op"] == "error", (op, one_topic)
    for number in ({}, [1], True, "x" * 300):
        one.socket.send(json.dumps({"op": "publish", "topic": "a", "text": "", "id": number}))
        assert one.take()["reason"].startswith("id is a number or a string")
    # What it does not know means nothing, and ids come back as they were.
    one.socket.send('{"more":{"op":["subscribe"]},"id": 1.50e0 ,"op":"publish","topic":"a","text":"","also":[[{}]]}')
    assert one.socket.recv(timeout=10) == '{"op":"ok","id":1.50e0}'
    one.socket.send(b'{"op":"publish"}')
    assert one.closed() == 1003


def test_a_message_that_is_too_long_ends_the_connection(page, topic):
    one = page()
    assert one.ask("publish", topic=topic, text="x" * 1_000_000) == {"op": "ok"}
    one.send("publish", topic=topic, text="x" * (1 << 20))
    assert one.closed() == 1009


def test_one_message_is_the_same_for_many(page, topic):
    pages = [page().subscribe(topic) for _ in range(20)]
    for number in range(50):
        pages[number % 20].send("publish", topic=topic, text=str(number))
        for each in pages:
            assert each.take()["text"] == str(number)


# Requests.


def test_a_page_answers_a_page(page, topic):
    answering, asking = page().subscribe(f"{topic}/double"), page()
    asking.send("request", id="q", topic=f"{topic}/double", text="21")
    question = answering.take()
    assert question["text"] == "21" and question["reply"].startswith("$reply/")
    answering.send("publish", topic=question["reply"], text="42")
    assert asking.take() == {"op": "message", "id": "q", "topic": question["reply"], "text": "42"}
    # A second answer is to nothing.
    assert answering.ask("publish", topic=question["reply"], text="43") == {"op": "ok"}
    assert asking.ask("publish", topic=f"{topic}/elsewhere", text="") == {"op": "ok"}


def test_requests_of_nobody_and_without_an_answer_fail(page, topic):
    one = page()
    assert one.ask("request", topic=f"{topic}/nobody", text="?") == {"op": "error", "reason": "nobody is there to answer"}
    assert one.ask("request", topic=f"{topic}/nobody")["reason"] == "text or base64 is missing"
    one.send("request", topic=f"{topic}/nobody", text="?")
    assert one.take() == {"op": "error", "reason": "a request has an id"}
    silent = page().subscribe(f"{topic}/silent")
    for number, timeout in enumerate((300, 100)):
        one.send("request", id=number, topic=f"{topic}/silent", text="?", timeout=timeout)
    assert one.take() == {"op": "error", "id": 1, "reason": "no answer came in time"}
    assert one.take() == {"op": "error", "id": 0, "reason": "no answer came in time"}
    silent.close()


def test_requests_between_pages_and_mqtt(server, page, topic):
    # A page answers `martlet mqtt rr`, which compares nothing but the topic.
    one = page().subscribe(f"{topic}/page")
    asked = []

    def answer():
        question = one.take()
        asked.append(question)
        one.send("publish", topic=question["reply"], text="an answer", **({"correlation": question["correlation"]} if "correlation" in question else {}))

    answering = threading.Thread(target=answer)
    answering.start()
    done = martlet("mqtt", "rr", "-h", "127.0.0.1", "-p", str(server.port), "-t", f"{topic}/page", "-e", f"{topic}/back", "-m", "a question", "-W", "10")
    answering.join(10)
    assert (done.returncode, done.stdout) == (0, "an answer\n"), done.stderr
    assert asked[0]["text"] == "a question" and asked[0]["reply"] == f"{topic}/back"
    # paho answers a page, with its correlation data.
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    ready = threading.Event()

    def respond(client, _, message):
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = message.properties.CorrelationData
        client.publish(message.properties.ResponseTopic, b"paho says " + message.payload, properties=properties)

    client.on_message, client.on_subscribe = respond, lambda *_: ready.set()
    client.connect("127.0.0.1", server.port)
    client.loop_start()
    client.subscribe(f"{topic}/paho")
    assert ready.wait(10)
    one.send("request", id=9, topic=f"{topic}/paho", text="hello", correlation="AQID")
    answered = one.take()
    assert answered.pop("topic").startswith("$reply/")
    assert answered == {"op": "message", "id": 9, "text": "paho says hello", "correlation": "AQID"}
    client.disconnect()
    client.loop_stop()


# Who may, and how it ends.


def test_users(serve):
    running = serve("--user", "me:secret", listen=("http://127.0.0.1:0",))
    known = Page(running, additional_headers={"Authorization": "Basic " + base64.b64encode(b"me:secret").decode()}).subscribe("a")
    with pytest.raises(InvalidStatus) as refused:
        Page(running, additional_headers={"Authorization": "Basic " + base64.b64encode(b"me:wrong").decode()})
    assert refused.value.response.status_code == 401
    said = Page(running)
    assert said.ask("connect", user="me", password="secret") == {"op": "ok"}
    assert said.ask("publish", topic="a", text="1") == {"op": "ok"}
    assert known.take()["text"] == "1"
    wrong = Page(running)
    assert wrong.ask("connect", user="me", password="secre") == {"op": "error", "reason": "wrong user or password"}
    assert wrong.closed() == 1008
    for first in ('{"op":"publish","topic":"a","text":""}', "nonsense", '{"op":"connect"}'):
        silent = Page(running)
        silent.socket.send(first)
        assert silent.closed() == 1008
    for one in (known, said):
        one.close()


def test_who_does_not_say_who_it_is_is_cut(serve):
    running = serve("--user", "me:secret", "--set", "mqtt.connectTimeout=300ms", listen=("http://127.0.0.1:0",))
    assert Page(running).closed() == 1008


def test_pages_are_told_that_the_server_is_there(serve):
    running = serve("--set", "websocket.pingInterval=100ms", listen=("http://127.0.0.1:0",))
    one = Page(running)
    for _ in range(3):
        assert json.loads(one.socket.recv(timeout=10)) == {"op": "ping"}
    one.close()


def test_a_page_that_does_not_read_loses_messages_and_nobody_else_does(serve):
    running = serve("--set", "websocket.outputBytesMax=64KiB", listen=("http://127.0.0.1:0",), loops=1)
    slow, quick, source = Page(running, max_queue=1).subscribe("a"), Page(running).subscribe("a"), Page(running)
    body = "x" * 100_000
    for number in range(300):
        assert source.ask("publish", topic="a", text=f"{number} {body}") == {"op": "ok"}
        assert quick.take()["text"].startswith(f"{number} ")
    assert running.memory_kib() < 200_000
    seen = []
    while "last" not in seen:
        try:
            seen.append(json.loads(slow.socket.recv(timeout=0.5))["text"].split()[0])
        except TimeoutError:
            source.send("publish", topic="a", text="last")
    numbers = [int(text) for text in seen[:-1]]
    assert numbers == sorted(set(numbers)) and numbers[0] == 0 and len(numbers) < 300
    for one in (slow, quick, source):
        one.close()


def test_a_server_that_stops_says_so(serve):
    running = serve(listen=("http://127.0.0.1:0",), loops=2)
    pages = [Page(running).subscribe("a") for _ in range(4)]
    running.process.terminate()
    for one in pages:
        assert one.closed() == 1001
    assert running.process.wait(10) == 0


# Chromium.

CONVERSATION = """
new Promise((resolve, reject) => {
  const seen = [], socket = new WebSocket(URL);
  setTimeout(() => reject(new Error("too slow: " + JSON.stringify(seen))), 20000);
  socket.onerror = () => resolve(["error"]);
  socket.onopen = () => socket.send(JSON.stringify({op: "subscribe", id: 1, topic: TOPIC + "/#"}));
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.op === "ping") return;
    seen.push(message);
    if (message.id === 1) socket.send(JSON.stringify({op: "publish", id: 2, topic: TOPIC + "/page", text: "<b>é 😀</b>"}));
    if (message.text === "leave") { socket.onclose = (event) => resolve([...seen, event.code, event.wasClean]); socket.close(4000, "bye"); }
  };
})
"""


def script(text, url, topic):
    return text.replace("URL", json.dumps(url)).replace("TOPIC", json.dumps(topic))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    with BrowserPage(tmp_path_factory.mktemp("chromium"), "about:blank", "--ignore-certificate-errors", "--host-resolver-rules=MAP rebound.example 127.0.0.1") as page:
        yield page


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_page_in_chromium(server, page, chromium, topic, scheme):
    port = server.ports[scheme]
    chromium.open(f"{scheme}://127.0.0.1:{port}/")
    other = page().subscribe(f"{topic}/page")
    found = []
    asking = threading.Thread(
        target=lambda: found.append(chromium.run(script(CONVERSATION, f"{'wss' if scheme == 'https' else 'ws'}://127.0.0.1:{port}/ws", topic))))
    asking.start()
    assert other.take()["text"] == "<b>é 😀</b>"
    other.send("publish", topic=f"{topic}/back", text="leave")
    asking.join(30)
    own = {"op": "message", "topic": f"{topic}/page", "text": "<b>é 😀</b>"}
    first, *rest, leave, code, clean = found[0]
    assert first == {"op": "ok", "id": 1} and sorted(rest, key=lambda m: m["op"]) == [own, {"op": "ok", "id": 2}]
    assert leave == {"op": "message", "topic": f"{topic}/back", "text": "leave"} and (code, clean) == (4000, True)


def test_mqtt_in_chromium(server, chromium, topic):
    chromium.open(f"http://localhost:{server.ports['http']}/")
    answer = chromium.run(
        """
        new Promise((resolve) => {
          const socket = new WebSocket(URL, ["mqtt"]), seen = [];
          socket.binaryType = "arraybuffer";
          socket.onopen = () => socket.send(new Uint8Array([0x10, 12, 0, 4, 77, 81, 84, 84, 4, 2, 0, 60, 0, 0]));
          socket.onmessage = (event) => {
            seen.push(...new Uint8Array(event.data));
            if (seen.length === 4) { socket.send(new Uint8Array([0xE0, 0])); socket.onclose = (event) => resolve([socket.protocol, seen, event.code]); }
          };
        })
        """.replace("URL", json.dumps(f"ws://localhost:{server.ports['http']}/mqtt")))
    assert answer == ["mqtt", [0x20, 2, 0, 0], 1000]


def test_a_page_of_strangers_in_chromium(server, chromium, topic):
    """Its name leads to 127.0.0.1; nothing else about it is of this machine."""
    port = server.ports["http"]
    chromium.open(f"http://rebound.example:{port}/")
    for path in ("ws", "mqtt"):
        assert chromium.run(script(CONVERSATION, f"ws://rebound.example:{port}/{path}", topic)) == ["error"]
    assert chromium.run(script(CONVERSATION, f"ws://127.0.0.1:{port}/ws", topic)) == ["error"]
