"""aio-pika, py-amqp, kombu and Celery, unchanged, as their users use them: the same tests against martlet and rabbitmq-server."""

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
import time

import aio_pika
import amqp as py_amqp
import kombu
import pytest
from kombu.pools import producers

import brokers
from amqp_brokers import Forwarder
from amqp_pika import wait_ready

SECONDS = 20


@pytest.fixture
def url(amqp_broker):
    return f"amqp://guest:guest@127.0.0.1:{amqp_broker.port}/"


@pytest.fixture
def forwarder(amqp_broker):
    running = Forwarder(amqp_broker)
    yield running
    running.close()


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 3 * SECONDS))


def test_aio_pika_publishes_with_confirms_and_consumes(amqp, url):
    async def scenario():
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel(on_return_raises=True)
            await channel.set_qos(prefetch_count=10)
            exchange = await channel.declare_exchange(amqp.name(), aio_pika.ExchangeType.TOPIC, auto_delete=True)
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(exchange, "news.#")
            sent = [aio_pika.Message(b"%d" % number, headers={"n": number}, delivery_mode=aio_pika.DeliveryMode.PERSISTENT) for number in range(200)]
            await asyncio.gather(*(exchange.publish(message, f"news.{number}") for number, message in enumerate(sent)))
            with pytest.raises(aio_pika.exceptions.DeliveryError):
                await exchange.publish(aio_pika.Message(b"nobody's"), "other", mandatory=True)
            got = []
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        got.append((message.body, message.headers["n"], message.routing_key))
                    if len(got) == len(sent):
                        break
            return got

    assert run(scenario()) == [(b"%d" % number, number, f"news.{number}") for number in range(200)]


def test_aio_pika_asks_and_is_answered_over_a_queue_of_its_own(amqp, url):
    async def scenario():
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            service, answers = await channel.declare_queue(amqp.name(), exclusive=True), await channel.declare_queue(exclusive=True)

            async def answer(message):
                async with message.process():
                    reply = aio_pika.Message(str(int(message.body) * 7).encode(), correlation_id=message.correlation_id)
                    await channel.default_exchange.publish(reply, message.reply_to)

            await service.consume(answer)
            futures = {}
            await answers.consume(lambda message: futures[message.correlation_id].set_result(int(message.body)), no_ack=True)
            for number in range(10):
                futures[f"{number}"] = asyncio.get_running_loop().create_future()
                question = aio_pika.Message(b"%d" % number, correlation_id=f"{number}", reply_to=answers.name)
                await channel.default_exchange.publish(question, service.name)
            return await asyncio.gather(*futures.values())

    assert run(scenario()) == [7 * number for number in range(10)]


def test_aio_pika_rolls_a_transaction_back(amqp, url):
    async def scenario():
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.declare_queue(exclusive=True)
            with contextlib.suppress(ZeroDivisionError):
                async with channel.transaction():
                    await channel.default_exchange.publish(aio_pika.Message(b"dropped"), queue.name)
                    raise ZeroDivisionError
            async with channel.transaction():
                await channel.default_exchange.publish(aio_pika.Message(b"kept"), queue.name)
            return (await queue.get(no_ack=True)).body, await queue.get(no_ack=True, fail=False)

    assert run(scenario()) == (b"kept", None)


def test_aio_pika_comes_back_with_its_queues_and_consumers(amqp, forwarder):
    async def scenario():
        got, back = [], asyncio.Event()
        connection = await aio_pika.connect_robust(f"amqp://guest:guest@127.0.0.1:{forwarder.port}/?reconnect_interval=0.1")
        connection.reconnect_callbacks.add(lambda *_: back.set())
        channel = await connection.channel()
        exchange = await channel.declare_exchange(amqp.name(), auto_delete=True)
        queue = await channel.declare_queue(amqp.name(), exclusive=True)
        await queue.bind(exchange, "k")

        async def take(message):
            await message.ack()
            got.append(message.body)

        await queue.consume(take)
        for number in range(3):
            await exchange.publish(aio_pika.Message(b"%d" % number), "k")
            while len(got) <= number:
                await asyncio.sleep(0.01)
            forwarder.cut()
            await back.wait()
            back.clear()
            await channel.ready()
        await connection.close()
        return got

    assert run(scenario()) == [b"0", b"1", b"2"] and forwarder.accepted == 4


def test_py_amqp_publishes_with_confirms_and_consumes(amqp_broker, amqp):
    got = []
    with py_amqp.Connection(f"127.0.0.1:{amqp_broker.port}", confirm_publish=True) as connection:
        channel = connection.channel()
        queue, *_ = channel.queue_declare(exclusive=True)
        for number in range(50):
            message = py_amqp.Message(f"{number}", application_headers={"n": number}, content_type="text/plain")
            channel.basic_publish_confirm(message, routing_key=queue)
        channel.basic_qos(0, 5, False)

        def take(message):
            got.append((message.body, message.headers["n"]))
            channel.basic_ack(message.delivery_tag)

        channel.basic_consume(queue, callback=take)
        while len(got) < 50:
            connection.drain_events(timeout=SECONDS)
        with pytest.raises(py_amqp.exceptions.NotFound) as caught:
            channel.queue_declare("absent", passive=True)
        assert (caught.value.reply_code, caught.value.reply_text) == (404, "NOT_FOUND - no queue 'absent' in vhost '/'")
        assert caught.value.method_name == "Queue.declare"
    assert got == [(f"{number}", number) for number in range(50)]


def test_py_amqp_sends_heartbeats_when_it_is_told_the_time(amqp_broker):
    with py_amqp.Connection(f"127.0.0.1:{amqp_broker.port}", heartbeat=1) as connection:
        start = time.monotonic()
        while time.monotonic() < start + 3.5:
            connection.heartbeat_tick()
            with contextlib.suppress(OSError):
                connection.drain_events(timeout=0.3)
        assert connection.channel().queue_declare(exclusive=True)


def test_kombu_sends_and_takes_through_its_pools(amqp, url):
    exchange = kombu.Exchange(amqp.name(), "direct", durable=False, auto_delete=True)
    queue = kombu.Queue(amqp.name(), exchange, routing_key="k", durable=False, auto_delete=True)
    got = []
    with kombu.Connection(url) as connection:
        with connection.Consumer(queue, callbacks=[lambda body, message: (got.append(body), message.ack())]):
            with producers[connection].acquire(block=True) as producer:
                for number in range(20):
                    producer.publish({"n": number}, exchange=exchange, routing_key="k", declare=[queue], serializer="json", retry=True)
            while len(got) < 20:
                connection.drain_events(timeout=SECONDS)
        producers[connection].force_close_all()
    assert got == [{"n": number} for number in range(20)]


def test_kombu_puts_and_gets_with_a_simple_queue(amqp, url):
    name = amqp.name()
    with kombu.Connection(url) as connection, contextlib.closing(connection.SimpleQueue(name)) as queue:
        queue.put({"hello": "world"}, serializer="json")
        message = queue.get(timeout=SECONDS)
        assert message.payload == {"hello": "world"}
        message.ack()
    amqp.channel().queue_delete(name)


TASKS = """
    import os
    import celery

    app = celery.Celery("tasks", broker=os.environ["BROKER"], backend="rpc://")
    app.conf.update(
        task_default_queue=os.environ["QUEUE"], broker_connection_retry_on_startup=False, task_acks_late=True,
        event_queue_prefix=os.environ["QUEUE"] + ".event",
        # Times to live are not martlet's.
        result_expires=None, control_queue_ttl=None, control_queue_expires=None, event_queue_ttl=None, event_queue_expires=None,
    )


    @app.task(bind=True, max_retries=2)
    def divide(self, x, y):
        if self.request.retries < 1:
            raise self.retry(countdown=0)
        return x / y
"""


def test_celery_runs_tasks_retries_and_answers(amqp, url, tmp_path):
    (tmp_path / "tasks.py").write_text(textwrap.dedent(TASKS))
    queue = amqp.name("celery")
    environment = brokers.environment(BROKER=url, QUEUE=queue, PYTHONPATH=str(tmp_path))
    words = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", "solo", "-n", f"{queue}@test", "-l", "info"]
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(words, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    asks = textwrap.dedent("""
        from tasks import divide
        results = [divide.delay(number, 2) for number in range(5)]
        print([result.get(timeout=30) for result in results])
        wrong = divide.delay(1, 0)
        try:
            wrong.get(timeout=30)
        except ZeroDivisionError as error:
            print(error)
        print([sorted(reply.values()) for reply in divide.app.control.ping(timeout=2)])
    """)
    try:
        done = subprocess.run([sys.executable, "-c", asks], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()
        said = done.stdout.splitlines()
        assert said[:2] == ["[0.0, 0.5, 1.0, 1.5, 2.0]", "division by zero"] and "pong" in said[2], done.stdout
    finally:
        worker.terminate()
        try:
            code = worker.wait(SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            raise
    assert code == os.EX_OK, (tmp_path / "log").read_text()
    channel = amqp.channel()
    wait_ready(channel, queue, 0)
    channel.queue_delete(queue)
