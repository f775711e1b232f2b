"""A paho-mqtt client of either major version: `paho_peer.py HOST PORT 311|5 QOS TOPIC [websockets] [CAFILE]`. Prints what it saw as one JSON object.

Subscribes to TOPIC/+ and TOPIC/gone, publishes, unsubscribes from TOPIC/gone, publishes again, stays silent for longer than its keep-alive.
"""

import json
import sys
import threading
import time

import paho.mqtt.client as mqtt

host, port, version, qos, topic = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]
protocol = {"311": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version]
transport = "websockets" if "websockets" in sys.argv[6:] else "tcp"
if hasattr(mqtt, "CallbackAPIVersion"):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho" + topic, protocol=protocol, transport=transport)
else:
    client = mqtt.Client(client_id="paho" + topic, protocol=protocol, transport=transport)

if transport == "websockets":
    client.ws_set_options(path="/mqtt")
if sys.argv[-1].endswith(".pem"):
    client.tls_set(ca_certs=sys.argv[-1])

seen = {"connected": 0, "disconnected": 0, "messages": []}
changed = threading.Condition()
acknowledged = set()


def note(change):
    with changed:
        change()
        changed.notify_all()


def count(name):
    return lambda *_: note(lambda: seen.__setitem__(name, seen[name] + 1))


client.on_connect = count("connected")
client.on_disconnect = count("disconnected")
client.on_message = lambda c, u, m: note(lambda: seen["messages"].append([m.topic, m.qos, len(m.payload), m.payload[:20].decode()]))
client.on_subscribe = lambda c, u, identifier, *_: note(lambda: acknowledged.add(identifier))
client.on_unsubscribe = lambda c, u, identifier, *_: note(lambda: acknowledged.add(identifier))


def wait(what, condition, seconds=15):
    with changed:
        if not changed.wait_for(condition, seconds):
            sys.exit(f"timed out waiting for {what}: {json.dumps(seen)}")


client.connect(host, port, keepalive=2)
client.loop_start()
wait("CONNACK", lambda: seen["connected"])
for filter in (f"{topic}/+", f"{topic}/gone/deep"):
    identifier = client.subscribe(filter, qos=qos)[1]
    wait("SUBACK", lambda: identifier in acknowledged)
sent = [client.publish(f"{topic}/{number}", f"message {number}", qos=qos) for number in range(100)]
sent.append(client.publish(f"{topic}/large", b"y" * 65_536, qos=qos))
sent.append(client.publish(f"{topic}/gone/deep", "1", qos=qos))
for message in sent:
    message.wait_for_publish(15)
wait("messages", lambda: len(seen["messages"]) >= 102)
identifier = client.unsubscribe(f"{topic}/gone/deep")[1]
wait("UNSUBACK", lambda: identifier in acknowledged)
client.publish(f"{topic}/gone/deep", "2", qos=qos)
# Longer than 1.5 x keep-alive: pings hold the connection. That has nothing to do with the quality of service, so one is enough.
time.sleep(4 if qos else 0)
client.publish(f"{topic}/end", "end", qos=qos)
wait("the end", lambda: len(seen["messages"]) >= 103)
seen["disconnected_before_leaving"] = seen["disconnected"]
client.disconnect()
client.loop_stop()
seen["library"] = getattr(sys.modules["paho.mqtt"], "__version__", "unknown")
print(json.dumps(seen))
