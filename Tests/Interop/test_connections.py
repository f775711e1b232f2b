"""Keep-alive, taking over, leaving, and connections that say nothing."""

import struct
import time

import pytest

import brokers
from raw import DISCONNECT, PINGREQ, PINGRESP, UNSUBACK, UNSUBSCRIBE, Connection, connect_packet, packet, text

versions = pytest.mark.parametrize("version", [4, 5], ids=["v311", "v5"])


@versions
def test_pings_keep_a_connection(broker, version):
    with Connection(broker) as client:
        assert client.connect(version=version, keep_alive=1) == 0
        for _ in range(2):  # longer than one and a half times the keep-alive
            time.sleep(0.8)
            client.send(packet(PINGREQ, 0, b""))
            client.expect(PINGRESP)


@versions
def test_silence_beyond_keep_alive_ends_it(broker, version):
    """[MQTT-3.1.2-24]: one and a half times the keep-alive. Mosquitto looks every few seconds only."""
    with Connection(broker, timeout=15) as client:
        assert client.connect(version=version, keep_alive=1) == 0
        seconds = client.seconds_until_closed(within=12)
        assert seconds > 1.2
        if not brokers.AGAINST_MOSQUITTO:
            assert seconds < 4
            if version == 5:
                assert client.farewell[0] >> 4 == DISCONNECT and client.farewell[2] == 0x8D


def test_keep_alive_0_means_for_ever(broker):
    with Connection(broker) as client:
        assert client.connect(keep_alive=0) == 0
        assert client.is_quiet(4)


@versions
def test_the_same_client_identifier_takes_over(broker, topic, version):
    """[MQTT-3.1.4-3]; mosquitto 2.0.11 closes without the DISCONNECT."""
    with Connection(broker) as first, Connection(broker) as second:
        assert first.connect(topic, version=version) == 0
        assert second.connect(topic, version=version) == 0
        first.seconds_until_closed(within=5)
        if version == 5 and not brokers.AGAINST_MOSQUITTO:
            assert first.farewell[0] >> 4 == DISCONNECT and first.farewell[2] == 0x8E
        assert second.subscribe(topic) == 0
        second.publish(topic, b"mine")
        assert second.message() == (topic, b"mine", 0)


def test_taking_over_again_and_again(broker, topic):
    """From whichever loop the next one comes."""
    earlier = []
    for _ in range(20):
        client = Connection(broker)
        assert client.connect(topic) == 0
        earlier.append(client)
    for client in earlier[:-1]:
        client.seconds_until_closed(within=5)
        client.close()
    last = earlier[-1]
    assert last.subscribe(topic) == 0
    last.publish(topic, b"last")
    assert last.message() == (topic, b"last", 0)
    last.close()


@versions
def test_unsubscribing_ends_the_messages(broker, topic, version):
    with Connection(broker) as client:
        assert client.connect(version=version) == 0
        assert client.subscribe(topic) == 0
        assert client.subscribe(f"{topic}/end") == 0
        client.publish(topic, b"1")
        assert client.message()[1] == b"1"
        client.send(packet(UNSUBSCRIBE, 2, struct.pack(">H", 9) + (b"\0" if version == 5 else b"") + text(topic)))
        assert client.expect(UNSUBACK)[2][:2] == struct.pack(">H", 9)
        client.publish(topic, b"2")
        client.publish(f"{topic}/end", b"3")
        assert client.message()[1] == b"3"


def test_subscriptions_end_with_a_clean_connection(broker, topic):
    with Connection(broker) as client:
        assert client.connect(topic) == 0
        assert client.subscribe(topic) == 0
        client.send(packet(DISCONNECT, 0, b""))
        client.seconds_until_closed(within=5)
    with Connection(broker) as client:
        assert client.connect(topic) == 0
        client.publish(topic, b"x")
        client.send(packet(PINGREQ, 0, b""))
        client.expect(PINGRESP)


def test_a_half_sent_message_is_never_delivered(broker, topic):
    with Connection(broker) as receiver:
        assert receiver.connect() == 0
        assert receiver.subscribe(topic) == 0
        with Connection(broker) as sender:
            assert sender.connect() == 0
            sender.send(packet(3, 0, text(topic) + b"x" * 1000)[:-1])
        receiver.publish(topic, b"whole")
        assert receiver.message()[1] == b"whole"


@pytest.mark.parametrize("said", [b"", connect_packet("c")[:-1]], ids=["nothing", "half a CONNECT"])
def test_a_connection_that_does_not_connect_is_cut(serve, said):
    server = serve("--set", "mqtt.connectTimeout=1s")
    with Connection(server) as silent, Connection(server) as good:
        assert good.connect(keep_alive=0) == 0
        silent.send(said)
        assert 0.5 < silent.seconds_until_closed(within=6) < 4
        assert good.is_quiet(1)


def test_many_connections_come_and_go(broker, topic):
    for _ in range(5):
        clients = [Connection(broker) for _ in range(50)]
        for number, client in enumerate(clients):
            client.send(connect_packet(f"{topic}-{number}"))
        for client in clients:
            assert client.receive()[2][1] == 0
            client.close()
    assert broker.is_running()
