"""The flags of `martlet mqtt pub|sub|rr`, with what mosquitto's tools do with the same words beside them. Against Debian's mosquitto."""

import json
import subprocess
import threading
import time

import pytest

import brokers
from brokers import martlet
from mosquitto_clients import publish

MESSAGE = "hé\"l\\lo/\tx"
PROPERTIES = [
    *["-D", "publish", "content-type", "text/x"],
    *["-D", "publish", "user-property", "k1", "v1"],
    *["-D", "publish", "user-property", "k2", "v\"2"],
    *["-D", "publish", "response-topic", "r/t"],
    *["-D", "publish", "correlation-data", "cd\""],
    *["-D", "publish", "message-expiry-interval", "77"],
    *["-D", "publish", "payload-format-indicator", "1"],
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = brokers.Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield running
    assert running.stop()[0] == 0


def where(server):
    return ["-h", server.host, "-p", str(server.port)]


def received(server, count_of_subscribers, send, *commands):
    """Runs subscribers until each has ended, and `send` once the server has all their subscriptions. What each printed."""
    before = sum("Sending SUBACK" in line for line in server.lines)
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env=brokers.environment()) for words in commands]
    deadline = time.monotonic() + 15
    while sum("Sending SUBACK" in line for line in server.lines) - before < count_of_subscribers:
        assert time.monotonic() < deadline, "\n".join(server.lines[-20:])
        time.sleep(0.02)
    send()
    outputs = [process.communicate(timeout=15) for process in running]
    assert [process.returncode for process in running] == [0] * len(running), outputs
    return [out for out, _ in outputs]


def both(server, send, *words):
    """What mosquitto_sub and `martlet mqtt sub` print for the same words."""
    theirs, ours = received(
        server, 2, send,
        ["mosquitto_sub", *where(server), *words],
        [brokers.binary(), "mqtt", "sub", *where(server), *words],
    )
    return theirs, ours


@pytest.mark.parametrize("format", [
    "%t|%p|%q|%r|%l|%A|%C|%D|%E|%F|%P|%R|%S|%x|%X|%%|@@|\\t\\\\|\\0\\a\\e\\r\\v",
    "[%10t][%-10t][%.3t][%10.3t][%05l][%-5l][%5l][%-05l]",
    "[%12x][%012x][%-30x][%30X][%8p][%-20p][%020p][%4p]",
    "[%8E][%08E][%5F][%05F][%5A][%05A][%8C][%.2C][%8R][%-8R][%20D][%30P][%5S]",
    "@Y-@m-@d %.10I",
])
def test_formats_are_printed_as_mosquitto_sub_prints_them(server, topic, format):
    send = lambda: publish(server, "-t", f"{topic}/aä", "-q", "1", "-m", MESSAGE, *PROPERTIES, version=5)
    theirs, ours = both(server, send, "-V", "5", "-q", "1", "-t", f"{topic}/#", "-C", "1", "-F", format)
    assert ours == theirs and theirs


@pytest.mark.parametrize("words", [[], ["-v"], ["-N"], ["-v", "-N"], ["-T", "+/b"], ["-R"]])
@pytest.mark.parametrize("version", ["31", "311", "5"])
def test_lines_are_printed_as_mosquitto_sub_prints_them(server, topic, words, version):
    named = {"31": "mqttv31", "311": "mqttv311", "5": "mqttv5"}[version]
    publish(server, "-t", f"{topic}/kept", "-m", "kept", "-r")

    def send():
        for name, text in [("a", "one"), ("b", "two"), ("c", ""), ("d", "four")]:
            publish(server, "-t", f"{topic}/{name}", "-m", text) if text else publish(server, "-t", f"{topic}/{name}", "-n")

    theirs, ours = both(server, send, "-V", named, "-t", f"{topic}/#", "-C", "3", *words)
    assert ours == theirs and theirs
    publish(server, "-t", f"{topic}/kept", "-n", "-r")


@pytest.mark.parametrize("words", [["-F", "%j"], ["-F", "%J"], ["--pretty", "-F", "%J"], ["--pretty", "-F", "%j"]])
def test_json_is_printed_as_mosquitto_sub_prints_it(server, topic, words):
    send = lambda: publish(server, "-t", f"{topic}/a", "-q", "1", "-m", '{"a": 1 , "b":[1,2.50,-3e2,true,null],"c":"x\\u00e9"}')
    theirs, ours = both(server, send, "-q", "1", "-t", f"{topic}/#", "-C", "1", *words)
    # The time is each one's own.
    stamp = lambda text: json.loads(text)["tst"].encode()
    assert ours.replace(stamp(ours), b"") == theirs.replace(stamp(theirs), b"")
    assert len(stamp(ours)) == len(stamp(theirs))


def test_json_has_the_properties(server, topic):
    send = lambda: publish(server, "-t", f"{topic}/a", "-m", MESSAGE, *PROPERTIES, version=5)
    theirs, ours = both(server, send, "-V", "5", "-t", f"{topic}/#", "-C", "1", "-F", "%j")
    theirs, ours = json.loads(theirs), json.loads(ours)
    del theirs["tst"], ours["tst"]
    assert ours == theirs


def test_pub_sends_properties_as_mosquitto_pub_does(server, topic):
    outputs = []
    for program in (["mosquitto_pub"], [brokers.binary(), "mqtt", "pub"]):
        send = lambda: subprocess.run([*program, *where(server), "-V", "5", "-t", topic, "-q", "2", "-m", MESSAGE, *PROPERTIES], check=True, timeout=15)
        outputs += received(server, 1, send, ["mosquitto_sub", *where(server), "-V", "5", "-q", "2", "-t", topic, "-C", "1", "-F", "%q %p %C %D %E %F %P %R"])
    assert outputs[0] == outputs[1] and outputs[0].startswith(b"2 ")


@pytest.mark.parametrize("version", ["31", "311", "5"])
def test_pub_keeps_and_clears_retained_messages(server, topic, version):
    assert martlet("mqtt", "pub", *where(server), "-V", version, "-t", topic, "-m", "kept", "-r", "-q", "2").returncode == 0
    assert martlet("mqtt", "sub", *where(server), "-V", version, "-t", topic, "-q", "2", "-C", "1", "-F", "%r %q %p").stdout == "1 2 kept\n"
    assert martlet("mqtt", "pub", *where(server), "-V", version, "-t", topic, "-n", "-r", "-q", "1").returncode == 0
    assert martlet("mqtt", "sub", *where(server), "-V", version, "-t", topic, "-C", "1", "-W", "1").returncode == 1


def test_retained_only_and_remove_retained(server, topic):
    for name in "abc":
        publish(server, "-t", f"{topic}/{name}", "-m", name, "-r")
    (out,) = received(
        server, 1, lambda: publish(server, "-t", f"{topic}/end", "-m", "end"),
        [brokers.binary(), "mqtt", "sub", *where(server), "-t", f"{topic}/#", "-T", f"{topic}/b", "--retained-only", "--remove-retained"])
    assert out == b"a\nc\n"
    assert martlet("mqtt", "sub", *where(server), "-t", f"{topic}/#", "-W", "1", "-v").stdout == f"{topic}/b b\n"
    publish(server, "-t", f"{topic}/b", "-n", "-r")


def test_a_will_comes_when_the_client_is_killed(server, topic):
    watcher = subprocess.Popen(["mosquitto_sub", *where(server), "-V", "5", "-q", "1", "-t", f"{topic}/will", "-C", "1", "-F", "%p %q %r %P"], stdout=subprocess.PIPE)
    victim = subprocess.Popen([
        brokers.binary(), "mqtt", "sub", *where(server), "-V", "5", "-t", f"{topic}/x", "-x", "0", "--will-topic", f"{topic}/will", "--will-payload", "gone",
        "--will-qos", "1", "-D", "will", "user-property", "a", "b"])
    time.sleep(0.7)
    victim.kill()
    victim.wait(10)
    assert watcher.communicate(timeout=15)[0] == b"gone 1 0 a:b\n"


def test_a_kept_session_is_left_and_unsubscribed_from(server, topic):
    kept = [*where(server), "-i", f"{topic}-panel", "-c"]
    assert martlet("mqtt", "sub", *kept, "-t", topic, "-q", "1", "-E").returncode == 0
    publish(server, "-t", topic, "-m", "while away", "-q", "1")
    assert martlet("mqtt", "sub", *kept, "-t", topic, "-q", "1", "-C", "1", "-W", "5").stdout == "while away\n"
    assert martlet("mqtt", "sub", *kept, "-U", topic).returncode == 0
    publish(server, "-t", topic, "-m", "to nobody", "-q", "1")
    assert martlet("mqtt", "sub", *kept, "-t", f"{topic}/other", "-q", "1", "-W", "1").stdout == ""


@pytest.mark.parametrize("version", ["311", "5"])
def test_rr_asks_and_prints_the_answer(server, topic, version):
    def answer():
        words = ["mosquitto_sub", *where(server), "-V", "5", "-t", f"{topic}/ask", "-C", "1", "-F", "%R %p"]
        out = subprocess.run(words, capture_output=True, timeout=15).stdout.decode().strip()
        publish(server, "-t", f"{topic}/answer", "-m", f"[{out}]")

    thread = threading.Thread(target=answer)
    before = sum("Sending SUBACK" in line for line in server.lines)
    thread.start()
    while sum("Sending SUBACK" in line for line in server.lines) == before:
        time.sleep(0.02)
    done = martlet("mqtt", "rr", *where(server), "-V", version, "-t", f"{topic}/ask", "-e", f"{topic}/answer", "-m", "6x7", "-q", "2", "-v", "-W", "10")
    thread.join(15)
    expected = f"{topic}/answer 6x7" if version == "5" else "6x7"
    assert (done.returncode, done.stdout) == (0, f"{topic}/answer [{expected}]\n")


def test_rr_that_nobody_answers_ends_with_1(server, topic):
    done = martlet("mqtt", "rr", *where(server), "-t", f"{topic}/ask", "-e", f"{topic}/answer", "-m", "x", "-W", "1")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_sub_connects_again_when_the_server_comes_back(tmp_path):
    first = brokers.Mosquitto(tmp_path)
    words = [brokers.binary(), "mqtt", "sub", *where(first), "-t", "a", "-C", "2"]
    subscriber = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env=brokers.environment())
    first.wait_for_line("Sending SUBACK")
    publish(first, "-t", "a", "-m", "before")
    assert subscriber.stdout.readline() == b"before\n"
    first.stop()
    again = subprocess.Popen(first.process.args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for line in again.stderr:
            if "Sending SUBACK" in line:
                break
        publish(first, "-t", "a", "-m", "after")
        out, err = subscriber.communicate(timeout=15)
        assert out == b"after\n" and subscriber.returncode == 0
        assert b"attempt 1 to connect again" in err
    finally:
        again.kill()
        again.wait(10)
