"""A course's subscriber: `course_subscriber.py HOST PORT` subscribes in `on_connect` and prints what comes, for ever."""

import sys

import paho.mqtt.client as mqtt


def on_connect(client, userdata, flags, rc):
    print("connected", rc, flush=True)
    client.subscribe("myhome/livingroom/temperature")


def on_message(client, userdata, message):
    print(message.topic, message.payload.decode(), flush=True)


client = mqtt.Client()
client.on_connect = on_connect
client.on_message = on_message
client.connect(sys.argv[1], int(sys.argv[2]), 60)
client.loop_forever()
