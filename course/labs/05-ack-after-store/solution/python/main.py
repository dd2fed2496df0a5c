"""Consumes log entries, hands each to the logger, and acknowledges what is settled."""

import http.client
import json
import os
import sys
import time
import urllib.parse

import pika
import pika.exceptions

LOGGER = urllib.parse.urlsplit(os.environ["LOGGER_HTTP_URL"])
QUEUE = "logs.entries"
DEAD = "logs.dead"
PREFETCH = 64
TIMEOUT_S = 2
PAUSE_S = 0.3


class Never(Exception):
    """The message can never be stored."""


class NotNow(Exception):
    """The logger could not store it, or nobody knows whether it did."""


class Logger:
    """One kept connection."""

    def __init__(self):
        self.connection = None

    def store(self, entry):
        body = json.dumps(entry).encode()
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(LOGGER.netloc, timeout=TIMEOUT_S)
            self.connection.request("POST", "/log", body, {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            raise NotNow(repr(error)) from error
        if status == 202:
            # `stored`, or `duplicate`: an attempt before this one had arrived.
            return
        if 400 <= status < 500 and status not in (408, 429):
            raise Never(answer.decode(errors="replace"))
        raise NotNow(f"status {status}")


def entry_of(properties, body):
    try:
        entry = json.loads(body)
    except ValueError as error:
        raise Never(f"the body is not JSON: {error}") from error
    if not isinstance(entry, dict) or not entry.get("name") or "data" not in entry:
        raise Never("the body is no entry: it needs name and data")
    if "id" not in entry and properties.message_id:
        # Without an id a redelivery would be stored a second time.
        entry["id"] = properties.message_id
    return entry


def handle(connection, channel, logger, method, properties, body):
    while True:
        try:
            logger.store(entry_of(properties, body))
            break
        except Never as why:
            print(f"dead letter: {why}", file=sys.stderr)
            headers = {"x-reason": str(why)[:300]}
            kept = pika.BasicProperties(message_id=properties.message_id, headers=headers, delivery_mode=2)
            channel.basic_publish(DEAD, method.routing_key, body, kept)
            break
        except NotNow as why:
            print(f"not stored: {why}", file=sys.stderr)
            # Not time.sleep: the connection must go on answering RabbitMQ's heartbeats.
            connection.sleep(PAUSE_S)
    # Only now may RabbitMQ forget it.
    channel.basic_ack(method.delivery_tag)


def consume(logger):
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
    channel = connection.channel()
    # A dead letter is acknowledged when RabbitMQ has confirmed its copy.
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=PREFETCH)
    for method, properties, body in channel.consume(QUEUE):
        handle(connection, channel, logger, method, properties, body)


def main():
    logger = Logger()
    while True:
        try:
            consume(logger)
        except (pika.exceptions.AMQPError, OSError) as error:
            # What was not acknowledged is delivered again.
            print(f"RabbitMQ is lost: {error!r}", file=sys.stderr)
            time.sleep(PAUSE_S)


main()
