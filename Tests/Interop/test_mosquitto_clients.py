"""Debian's mosquitto_pub and mosquitto_sub, unchanged, in MQTT 3.1.1 and 5."""

import pytest

from mosquitto_clients import Subscriber, publish

versions = pytest.mark.parametrize("version", [4, 5], ids=["v311", "v5"])
qualities = pytest.mark.parametrize("qos", [0, 1], ids=["qos0", "qos1"])


@versions
@qualities
def test_wildcards_take_what_they_should_and_nothing_else(broker, topic, version, qos):
    filters = {f"{topic}/+/temperature": [], f"{topic}/kitchen/#": [], f"{topic}/kitchen/temperature": []}
    sent = [f"{topic}/kitchen/temperature", f"{topic}/hall/temperature", f"{topic}/kitchen", f"{topic}/kitchen/a/b", f"{topic}/x/y/temperature", f"{topic}/end"]
    expected = {
        f"{topic}/+/temperature": sent[0:2],
        f"{topic}/kitchen/#": [sent[0], sent[2], sent[3]],
        f"{topic}/kitchen/temperature": sent[0:1],
    }
    subscribers = {filter: Subscriber(broker, filter, f"{topic}/end", qos=qos, version=version) for filter in filters}
    try:
        for name in sent:
            publish(broker, "-t", name, "-m", name, "-q", str(qos), version=version)
        for filter, subscriber in subscribers.items():
            messages = subscriber.take(len(expected[filter]) + 1)
            wanted = [(name, qos, name) for name in expected[filter] + [f"{topic}/end"]]
            # At QoS 0 a publisher has gone before another loop has read what it wrote.
            isOrdered = qos > 0 or broker.name == "mosquitto" or broker.loops == 1
            assert (messages if isOrdered else sorted(messages)) == (wanted if isOrdered else sorted(wanted)), filter
    finally:
        for subscriber in subscribers.values():
            subscriber.__exit__()


@versions
def test_dollar_topics_are_not_matched_by_leading_wildcards(broker, topic, version):
    """[MQTT-4.7.2-1]"""
    with Subscriber(broker, "#", version=version) as all, Subscriber(broker, f"+/{topic}", version=version) as any_first, Subscriber(
        broker, f"$martlet/{topic}", version=version
    ) as exact:
        publish(broker, "-t", f"$martlet/{topic}", "-m", "hidden", version=version)
        assert exact.take(1) == [(f"$martlet/{topic}", 0, "hidden")]
        publish(broker, "-t", f"open/{topic}", "-m", "end", version=version)
        assert [m for m in all.take(1) if topic in m[0]] == [(f"open/{topic}", 0, "end")]
        assert any_first.take(1) == [(f"open/{topic}", 0, "end")]


@versions
@pytest.mark.parametrize("published, subscribed", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_message_comes_with_the_lower_quality_of_service(broker, topic, version, published, subscribed):
    """[MQTT-3.8.4-6]"""
    with Subscriber(broker, topic, qos=subscribed, version=version) as subscriber:
        publish(broker, "-t", topic, "-m", "x", "-q", str(published), version=version)
        assert subscriber.take(1) == [(topic, min(published, subscribed), "x")]


@versions
@pytest.mark.parametrize("qos, count", [(0, 20_000), (1, 5_000)])
def test_a_message_a_line_all_come_in_order(broker, topic, version, qos, count):
    lines = [f"message {number}" for number in range(count)]
    with Subscriber(broker, topic, qos=qos, version=version) as subscriber:
        publish(broker, "-t", topic, "-l", "-q", str(qos), version=version, input="".join(line + "\n" for line in lines).encode(), timeout=60)
        messages = subscriber.take(count, seconds=60)
        assert [text for _, _, text in messages] == lines
        assert {quality for _, quality, _ in messages} == {qos}


@versions
@qualities
@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 65_536, 300_000])
def test_payloads_of_every_length_arrive_whole(broker, topic, version, qos, size, tmp_path):
    payload = ("0123456789abcdef" * (size // 16 + 1))[:size]
    file = tmp_path / "payload"
    file.write_text(payload)
    with Subscriber(broker, topic, qos=qos, version=version) as subscriber:
        publish(broker, "-t", topic, *(["-f", str(file)] if size else ["-n"]), "-q", str(qos), version=version)
        assert subscriber.take(1) == [(topic, qos, payload)]


@versions
def test_one_message_reaches_many_subscribers_once(broker, topic, version):
    subscribers = [Subscriber(broker, topic, f"{topic}/#", version=version) for _ in range(8)]
    try:
        publish(broker, "-t", topic, "-m", "first", version=version)
        publish(broker, "-t", f"{topic}/end", "-m", "end", version=version)
        for subscriber in subscribers:
            texts = [text for _, _, text in subscriber.take(2)]
            # Overlapping filters may give one copy or one a filter [MQTT-3.3.4-2], never none, and the end comes last.
            assert texts[-1] == "end" and set(texts) == {"first", "end"} and len(texts) <= 3
    finally:
        for subscriber in subscribers:
            subscriber.__exit__()


def test_versions_meet(broker, topic):
    with Subscriber(broker, topic, qos=1, version=4) as old, Subscriber(broker, topic, qos=1, version=5) as new:
        publish(broker, "-t", topic, "-m", "from 5", "-q", "1", version=5)
        publish(broker, "-t", topic, "-m", "from 3.1.1", "-q", "1", version=4)
        expected = [(topic, 1, "from 5"), (topic, 1, "from 3.1.1")]
        assert old.take(2) == expected
        assert new.take(2) == expected
