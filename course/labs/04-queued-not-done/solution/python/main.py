"""Publishes each line of standard input, and says `queued` when RabbitMQ has confirmed it, and not before."""

import json
import os
import sys
import time

import pika
import pika.exceptions

EXCHANGE = "logs_topic"
# How long a line is published again after the connection was lost.
PATIENCE_S = 20
PAUSE_S = 0.3


class Publisher:
    """One connection and one channel, opened again when they were lost."""

    def __init__(self):
        self.connection = None
        self.channel = None

    def open(self):
        self.close()
        self.connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
        self.channel = self.connection.channel()
        self.channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
        # From here on basic_publish returns when RabbitMQ has the message, and raises when it has not.
        self.channel.confirm_delivery()

    def close(self):
        connection, self.connection, self.channel = self.connection, None, None
        try:
            if connection is not None:
                connection.close()
        except (pika.exceptions.AMQPError, OSError):
            pass

    def publish(self, line):
        if self.channel is None:
            self.open()
        entry = {field: line[field] for field in ("id", "name", "data", "level")}
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=line["id"],
        )
        key = "log." + line["level"].upper()
        self.channel.basic_publish(EXCHANGE, key, json.dumps(entry).encode(), properties, mandatory=True)


def outcome(publisher, line):
    end = time.monotonic() + PATIENCE_S
    certain = True
    while True:
        try:
            publisher.publish(line)
            return "queued"
        except pika.exceptions.UnroutableError:
            # It was returned: no queue has it.
            return "not_stored" if certain else "unknown"
        except pika.exceptions.NackError:
            return "not_stored" if certain else "unknown"
        except (pika.exceptions.AMQPError, OSError) as error:
            print(f"line {line['n']}: {error!r}", file=sys.stderr)
            # It may have arrived. With the same id it may be published again: the logger stores it once.
            certain = certain and publisher.channel is None
            publisher.close()
            if time.monotonic() >= end:
                return "not_stored" if certain else "unknown"
            time.sleep(PAUSE_S)


def main():
    publisher = Publisher()
    for text in sys.stdin:
        line = json.loads(text)
        print(json.dumps({"n": line["n"], "outcome": outcome(publisher, line)}), flush=True)
    publisher.close()


main()
