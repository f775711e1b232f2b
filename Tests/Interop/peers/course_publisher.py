"""A course's publisher: `course_publisher.py HOST PORT` sends a number every now and then, with paho-mqtt's first API and no more than it must."""

import sys
import time

import paho.mqtt.client as mqtt


def on_connect(client, userdata, flags, rc):
    print("connected", rc, flush=True)


client = mqtt.Client()
client.on_connect = on_connect
client.connect(sys.argv[1], int(sys.argv[2]), 60)
client.loop_start()
number = 0
while True:
    number += 1
    client.publish("myhome/livingroom/temperature", payload=20 + number / 4, qos=0)
    time.sleep(0.1)
