"""RabbitMQ's tutorials: each side as our example and in Python with pika, against martlet and against rabbitmq-server.

The tutorials name their queues and exchanges, so that one test at a time may run.
"""

import contextlib
import fcntl
import itertools
import os
import sys
import tempfile

import pytest

import brokers
from amqp_pika import wait_ready
from programs import Program, example

EXAMPLES = brokers.ROOT / "Examples"
PEER = brokers.ROOT / "Tests/Interop/peers/amqp_tutorials.py"

# Of each tutorial: our example, and the lines of its two Python listings, without blank ones and comments.
LISTINGS = {"08-amqp-hello": 27, "09-amqp-work-queues": 30, "10-amqp-publish-subscribe": 27, "11-amqp-routing": 37, "12-amqp-topics": 37}
PROGRAMS = {
    "send": "amqp-hello", "receive": "amqp-hello", "new_task": "amqp-work-queues", "worker": "amqp-work-queues",
    "emit_log": "amqp-publish-subscribe", "receive_logs": "amqp-publish-subscribe", "emit_log_direct": "amqp-routing",
    "receive_logs_direct": "amqp-routing", "emit_log_topic": "amqp-topics", "receive_logs_topic": "amqp-topics",
}  # fmt: skip
LANGUAGES = ["example", "python"]
either = pytest.mark.parametrize("language", LANGUAGES)
pairs = pytest.mark.parametrize("sends,receives", list(itertools.product(LANGUAGES, repeat=2)))


@pytest.fixture
def tutorial(amqp_broker, amqp):
    """Starts a program of the tutorials, and waits until one that listens does."""
    with open(os.path.join(tempfile.gettempdir(), f"martlet-tutorials-{os.getuid()}"), "w") as lock, contextlib.ExitStack() as programs:
        fcntl.flock(lock, fcntl.LOCK_EX)
        channel = amqp.channel()

        def forget():
            for queue in ("hello", "task_queue"):
                channel.queue_delete(queue)
            for exchange in ("logs", "direct_logs", "topic_logs"):
                channel.exchange_delete(exchange)

        def start(language, program, *words):
            place = [amqp_broker.host, str(amqp_broker.port)]
            python = [sys.executable, PEER, *place, program, *words]
            ours = [example(PROGRAMS[program]), program, "--host", place[0], "--port", place[1], *words]
            started = programs.enter_context(Program(*(ours if language == "example" else python)))
            if program.startswith(("receive", "worker")):
                started.prints(r"Waiting for (messages|logs)\. To exit press CTRL\+C")
                return started
            assert started.wait() == 0, started.errors
            return started.output.decode()

        forget()
        yield start
        programs.close()
        forget()


def received(program):
    """What it has printed, but for the first line."""
    return program.output.decode().splitlines()[1:]


@pytest.mark.parametrize("name", LISTINGS)
def test_an_example_is_no_longer_than_its_listings(name):
    code = [line for line in (EXAMPLES / name / "main.swift").read_text().splitlines() if line.strip() and not line.strip().startswith("//")]
    assert 0 < len(code) <= LISTINGS[name]


@pairs
def test_hello_world(tutorial, sends, receives):
    assert tutorial(sends, "send") == " [x] Sent 'Hello World!'\n"
    receiver = tutorial(receives, "receive")
    receiver.prints("Received Hello World!\n")
    tutorial(sends, "send")
    receiver.prints("(Received Hello World!\n(.|\n)*){2}")
    assert received(receiver) == [" [x] Received Hello World!"] * 2


@pairs
def test_a_task_goes_to_the_worker_that_is_free(tutorial, sends, receives):
    busy, free = tutorial(receives, "worker"), tutorial(LANGUAGES[1 - LANGUAGES.index(receives)], "worker")
    assert tutorial(sends, "new_task", "first", "task...") == " [x] Sent first task...\n"
    brokers.wait_until(lambda: b"first" in busy.output + free.output)
    if b"first" in free.output:
        busy, free = free, busy
    for word in ("second", "third", "fourth"):
        tutorial(sends, "new_task", word)
    free.prints("(Done\n(.|\n)*){3}")
    assert received(free) == [line for word in ("second", "third", "fourth") for line in (f" [x] Received {word}", " [x] Done")]
    busy.prints("Done\n")
    assert received(busy) == [" [x] Received first task...", " [x] Done"]


@either
def test_the_task_of_a_worker_that_dies_goes_to_another(tutorial, language):
    dies = tutorial(language, "worker")
    tutorial(language, "new_task", "long" + "." * 60)
    dies.prints("Received long")
    lives = tutorial("example", "worker")
    dies.kill()
    lives.prints("Received long")


@either
def test_tasks_wait_for_a_worker_and_are_persistent(tutorial, amqp, language):
    tutorial(language, "new_task")
    channel = amqp.channel()
    channel.queue_declare("task_queue", durable=True)
    wait_ready(channel, "task_queue", 1)
    _, properties, body = channel.basic_get("task_queue")
    assert (body, properties.delivery_mode) == (b"Hello World!", 2)
    channel.basic_nack(0, multiple=True)
    worker = tutorial(language, "worker")
    worker.prints("Received Hello World!\n(.|\n)*Done\n")


@pytest.mark.parametrize("sends", LANGUAGES)
def test_a_log_reaches_all_that_listen(tutorial, sends):
    listeners = [tutorial(language, "receive_logs") for language in (*LANGUAGES, *LANGUAGES)]
    assert tutorial(sends, "emit_log") == " [x] Sent info: Hello World!\n"
    tutorial(sends, "emit_log", "disk", "is", "full")
    for listener in listeners:
        listener.prints("disk is full\n")
        assert received(listener) == [" [x] info: Hello World!", " [x] disk is full"]


@pairs
def test_a_log_reaches_those_that_want_its_severity(tutorial, sends, receives):
    errors, all_of_it = tutorial(receives, "receive_logs_direct", "error"), tutorial(receives, "receive_logs_direct", "info", "warning", "error")
    assert tutorial(sends, "emit_log_direct") == " [x] Sent info:Hello World!\n"
    tutorial(sends, "emit_log_direct", "warning", "low", "on", "ink")
    tutorial(sends, "emit_log_direct", "error", "out of ink")
    for listener in (errors, all_of_it):
        listener.prints("out of ink\n")
    assert received(errors) == [" [x] error:out of ink"]
    assert received(all_of_it) == [" [x] info:Hello World!", " [x] warning:low on ink", " [x] error:out of ink"]


@pairs
def test_a_log_reaches_those_with_a_pattern_of_its_topic(tutorial, sends, receives):
    critical, kernel = tutorial(receives, "receive_logs_topic", "*.critical"), tutorial(receives, "receive_logs_topic", "kern.*", "#.last")
    everything = tutorial(receives, "receive_logs_topic", "#")
    assert tutorial(sends, "emit_log_topic") == " [x] Sent anonymous.info:Hello World!\n"
    for key in ("kern.critical", "cron.critical", "kern.info", "a.b.critical", "the.very.last"):
        tutorial(sends, "emit_log_topic", key, "text")
    for listener, keys in (
        (critical, ["kern.critical", "cron.critical"]), (kernel, ["kern.critical", "kern.info", "the.very.last"]),
        (everything, ["kern.critical", "cron.critical", "kern.info", "a.b.critical", "the.very.last"]),
    ):  # fmt: skip
        listener.prints(f"{keys[-1].replace('.', '[.]')}:text\n")
        assert received(listener) == ([" [x] anonymous.info:Hello World!"] if listener is everything else []) + [f" [x] {key}:text" for key in keys]


@pytest.mark.parametrize("program", ["receive_logs_direct", "receive_logs_topic"])
def test_an_example_without_its_words_says_its_usage(amqp_broker, program):
    with Program(example(PROGRAMS[program]), program, "--host", amqp_broker.host, "--port", amqp_broker.port) as running:
        assert running.wait() == 64
        assert running.errors.decode().startswith(f"usage: {program} ")


def test_an_example_without_a_role_says_which_there_are():
    with Program(example("amqp-hello"), "--host", "localhost") as running:
        assert running.wait() == 64
        assert running.errors == b"say one of: send, receive\n"


def test_an_example_that_nobody_answers_says_why():
    with Program(example("amqp-hello"), "send", "--port", str(brokers.free_port())) as running:
        assert running.wait() != 0
        assert "refused" in running.errors.decode()
