"""A subscriber that never reads costs a bounded number of bytes."""

import brokers
from raw import PINGREQ, PINGRESP, Connection, packet

MIB = 1 << 20
FLOOD_BYTES = 192 * MIB
PAYLOAD = b"x" * 16_384


def flood(publisher, topic):
    for _ in range(FLOOD_BYTES // len(PAYLOAD)):
        publisher.publish(topic, PAYLOAD)


def test_flooding_subscribers_that_never_read(broker, topic):
    with Connection(broker, timeout=60) as publisher, Connection(broker) as healthy:
        assert publisher.connect(keep_alive=0) == 0
        assert healthy.connect(keep_alive=0) == 0
        assert healthy.subscribe(f"{topic}/healthy") == 0
        stuck = [Connection(broker, receive_buffer=4096) for _ in range(4)]
        for connection in stuck:
            assert connection.connect(keep_alive=0) == 0
            assert connection.subscribe(f"{topic}/flood") == 0
        before = broker.memory_kib()
        flood(publisher, f"{topic}/flood")
        # The publisher's own ping comes back: everything before it was taken.
        publisher.send(packet(PINGREQ, 0, b""))
        publisher.expect(PINGRESP)
        grown = (broker.memory_kib() - before) / 1024
        # 1 MiB a subscriber (mqtt.outputBytesMax), buffers and slack; mosquitto holds 1,000 messages each.
        assert grown < (128 if brokers.AGAINST_MOSQUITTO else 32), f"{grown:.0f} MiB"
        publisher.publish(f"{topic}/healthy", b"still here")
        assert healthy.message() == (f"{topic}/healthy", b"still here", 0)
        for connection in stuck:
            connection.close()


def test_a_publisher_that_takes_no_acknowledgements(broker, topic):
    """Its PUBACKs are output too."""
    with Connection(broker, timeout=3, receive_buffer=4096) as deaf, Connection(broker) as healthy:
        assert deaf.connect(keep_alive=0) == 0
        assert healthy.connect(keep_alive=0) == 0
        assert healthy.subscribe(topic) == 0
        before = broker.memory_kib()
        try:
            for number in range(400_000):
                deaf.publish(f"{topic}/none", b"x" * 64, qos=1, identifier=number % 65_535 + 1)
        except (TimeoutError, ConnectionError):
            pass
        grown = (broker.memory_kib() - before) / 1024
        assert grown < (128 if brokers.AGAINST_MOSQUITTO else 32), f"{grown:.0f} MiB"
        healthy.publish(topic, b"still here")
        assert healthy.message() == (topic, b"still here", 0)
