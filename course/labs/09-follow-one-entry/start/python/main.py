"""A small broker over three wires, which works. It loses the trace that a request belongs to."""

import http.client
import json
import os
import sys
import threading
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pika
import pika.exceptions

HOST, PORT = os.environ["BROKER_HTTP_LISTEN"].rsplit(":", 1)
LOGGER = urllib.parse.urlsplit(os.environ["LOGGER_HTTP_URL"])
TIMEOUT_S = 5
WIRES = ("http", "grpc", "rabbitmq")

channel = grpc.insecure_channel(urllib.parse.urlsplit(os.environ["LOGGER_GRPC_URL"]).netloc)
# Requests and responses as bytes: an entry is five texts, and needs no generated code.
write_log = channel.unary_unary("/logs.LogService/WriteLog")


def field(number, value):
    """A protobuf field of bytes."""
    length, prefix = len(value), bytes([number << 3 | 2])
    while length >= 128:
        prefix, length = prefix + bytes([length & 127 | 128]), length >> 7
    return prefix + bytes([length]) + value


def by_http(entry):
    connection = http.client.HTTPConnection(LOGGER.netloc, timeout=TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/log", json.dumps(entry).encode(), headers)
        response = connection.getresponse()
        response.read()
        return "stored" if response.status == 202 else "unknown"
    finally:
        connection.close()


def by_grpc(entry):
    fields = (entry["name"], entry["data"], entry["id"], entry["level"])
    log = b"".join(field(number, text.encode()) for number, text in enumerate(fields, 1))
    write_log(field(1, log), timeout=TIMEOUT_S)
    return "stored"


class RabbitMq:
    """One connection: pika's are for one thread at a time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.channel = None

    def publish(self, entry):
        properties = pika.BasicProperties(message_id=entry["id"], delivery_mode=2)
        key, body = "log." + entry["level"].upper(), json.dumps(entry).encode()
        with self.lock:
            if self.channel is None:
                self.channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
                self.channel.confirm_delivery()
            try:
                self.channel.basic_publish("logs_topic", key, body, properties, mandatory=True)
            except (pika.exceptions.AMQPError, OSError):
                self.channel = None
                raise
        return "queued"


SEND = {"http": by_http, "grpc": by_grpc, "rabbitmq": RabbitMq().publish}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_POST(self):
        try:
            request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            log = request["log"]
            entry = {"id": log.get("id") or str(uuid.uuid4()), "name": log["name"], "data": log["data"]}
            entry["level"] = log.get("level", "info")
            send = SEND[request["transport"]]
        except (ValueError, KeyError, TypeError):
            return self.answer(400, {"code": "bad_field"})
        # TODO: which trace does this request belong to, and how do the next hops learn of it?
        try:
            outcome = send(entry)
        except (OSError, grpc.RpcError, pika.exceptions.AMQPError, http.client.HTTPException) as error:
            print(f"not sent: {error!r}", file=sys.stderr)
            return self.answer(504, {"code": "outcome_unknown", "id": entry["id"]})
        # TODO: a line of JSON on standard error by which one finds this entry again.
        return self.answer(202, {"id": entry["id"], "transport": request["transport"], "outcome": outcome})

    def answer(self, status, data):
        body = json.dumps({"error": status >= 400, "message": str(status), "data": data}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server((HOST, int(PORT)), Handler).serve_forever()
