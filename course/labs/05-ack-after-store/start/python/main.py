"""Consumes log entries and hands them to the logger, as the course's listener does."""

import os
import urllib.request

import pika

LOGGER = os.environ["LOGGER_HTTP_URL"] + "/log"

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.exchange_declare("logs_topic", exchange_type="topic", durable=True)
# TODO: a queue of one's own is gone with the connection, and a second listener gets everything once more.
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(queue, "logs_topic", "log.*")


def store(channel, method, properties, body):
    try:
        request = urllib.request.Request(LOGGER, body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request).close()
    except OSError:
        # TODO: RabbitMQ has forgotten the message already.
        pass


channel.basic_consume(queue, store, auto_ack=True)
channel.start_consuming()
