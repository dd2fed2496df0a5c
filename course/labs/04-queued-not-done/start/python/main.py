"""Publishes each line of standard input, as the course's emitter does."""

import json
import os
import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.exchange_declare("logs_topic", exchange_type="topic", durable=True)

for text in sys.stdin:
    line = json.loads(text)
    body = json.dumps({"name": line["name"], "data": line["data"]})
    # TODO: what does RabbitMQ do with a message that no queue is bound for? And what is left of it after a restart?
    channel.basic_publish("logs_topic", "log." + line["level"].upper(), body)
    # TODO: what is known at this moment?
    print(json.dumps({"n": line["n"], "outcome": "queued"}), flush=True)
