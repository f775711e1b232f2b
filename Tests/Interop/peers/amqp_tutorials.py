"""RabbitMQ's first five tutorials with pika, as their authors have them: amqp_tutorials.py HOST PORT PROGRAM [WORD]…"""

import sys
import time

import pika

host, port, program, *words = sys.argv[1:]
connection = pika.BlockingConnection(pika.ConnectionParameters(host=host, port=int(port)))
channel = connection.channel()


def send():
    channel.queue_declare(queue="hello")
    channel.basic_publish(exchange="", routing_key="hello", body="Hello World!")
    print(" [x] Sent 'Hello World!'")


def receive():
    channel.queue_declare(queue="hello")

    def callback(ch, method, properties, body):
        print(f" [x] Received {body.decode()}")

    channel.basic_consume(queue="hello", on_message_callback=callback, auto_ack=True)
    print(" [*] Waiting for messages. To exit press CTRL+C")
    channel.start_consuming()


def new_task():
    channel.queue_declare(queue="task_queue", durable=True)
    message = " ".join(words) or "Hello World!"
    persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    channel.basic_publish(exchange="", routing_key="task_queue", body=message, properties=persistent)
    print(f" [x] Sent {message}")


def worker():
    channel.queue_declare(queue="task_queue", durable=True)

    def callback(ch, method, properties, body):
        print(f" [x] Received {body.decode()}")
        time.sleep(body.count(b"."))
        print(" [x] Done")
        ch.basic_ack(delivery_tag=method.delivery_tag)

    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue="task_queue", on_message_callback=callback)
    print(" [*] Waiting for messages. To exit press CTRL+C")
    channel.start_consuming()


def emit_log():
    channel.exchange_declare(exchange="logs", exchange_type="fanout")
    message = " ".join(words) or "info: Hello World!"
    channel.basic_publish(exchange="logs", routing_key="", body=message)
    print(f" [x] Sent {message}")


def receive_logs():
    channel.exchange_declare(exchange="logs", exchange_type="fanout")
    queue_name = channel.queue_declare(queue="", exclusive=True).method.queue
    channel.queue_bind(exchange="logs", queue=queue_name)
    print_logs(queue_name, lambda method, body: body)


def emit_log_direct():
    channel.exchange_declare(exchange="direct_logs", exchange_type="direct")
    emit("direct_logs", words[0] if words else "info")


def receive_logs_direct():
    channel.exchange_declare(exchange="direct_logs", exchange_type="direct")
    receive_bound("direct_logs")


def emit_log_topic():
    channel.exchange_declare(exchange="topic_logs", exchange_type="topic")
    emit("topic_logs", words[0] if words else "anonymous.info")


def receive_logs_topic():
    channel.exchange_declare(exchange="topic_logs", exchange_type="topic")
    receive_bound("topic_logs")


def emit(exchange, routing_key):
    message = " ".join(words[1:]) or "Hello World!"
    channel.basic_publish(exchange=exchange, routing_key=routing_key, body=message)
    print(f" [x] Sent {routing_key}:{message}")


def receive_bound(exchange):
    queue_name = channel.queue_declare(queue="", exclusive=True).method.queue
    for key in words:
        channel.queue_bind(exchange=exchange, queue=queue_name, routing_key=key)
    print_logs(queue_name, lambda method, body: f"{method.routing_key}:{body}")


def print_logs(queue_name, text):
    channel.basic_consume(queue=queue_name, on_message_callback=lambda ch, method, properties, body: print(f" [x] {text(method, body.decode())}"), auto_ack=True)
    print(" [*] Waiting for logs. To exit press CTRL+C")
    channel.start_consuming()


globals()[program]()
connection.close()
