"""paho-mqtt of either major version with mosquitto_pub's and mosquitto_sub's flags: `paho_tool.py pub|sub -h HOST -p PORT -V 311|5 …`.

`pub -l` publishes every line of stdin, each acknowledged before the next; `sub` prints topic, QoS, retain flag and payload, separated by tabs.
"""

import argparse
import sys
import threading

import paho.mqtt.client as mqtt

parser = argparse.ArgumentParser(add_help=False)
parser.add_argument("verb", choices=["pub", "sub"])
parser.add_argument("-h", dest="host")
parser.add_argument("-p", dest="port", type=int)
parser.add_argument("-V", dest="version", choices=["311", "5"])
parser.add_argument("-t", dest="topics", action="append")
parser.add_argument("-q", dest="qos", type=int, default=0)
parser.add_argument("-r", dest="retain", action="store_true")
parser.add_argument("-l", dest="lines", action="store_true")
parser.add_argument("-F", dest="form")
parser.add_argument("--will-topic")
parser.add_argument("--will-payload")
parser.add_argument("--will-qos", type=int, default=0)
options = parser.parse_args()

protocol = {"311": mqtt.MQTTv311, "5": mqtt.MQTTv5}[options.version]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=protocol) if hasattr(mqtt, "CallbackAPIVersion") else mqtt.Client(protocol=protocol)
if options.will_topic:
    client.will_set(options.will_topic, options.will_payload, options.will_qos)
connected = threading.Event()


def on_connect(client, *_):
    if options.verb == "sub":
        client.subscribe([(topic, mqtt.SubscribeOptions(options.qos)) if options.version == "5" else (topic, options.qos) for topic in options.topics])
    connected.set()


def on_message(client, _, message):
    print(message.topic, message.qos, int(message.retain), message.payload.decode(), sep="\t", flush=True)


client.on_connect = on_connect
client.on_message = on_message
client.connect(options.host, options.port)
if options.verb == "sub":
    client.loop_forever()
client.loop_start()
if not connected.wait(15):
    sys.exit("no CONNACK")
for line in sys.stdin:
    sent = client.publish(options.topics[0], line.rstrip("\n"), options.qos, options.retain)
    sent.wait_for_publish(15)
    if not sent.is_published():
        sys.exit("not acknowledged")
client.disconnect()
client.loop_stop()
