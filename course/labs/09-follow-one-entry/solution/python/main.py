"""A small broker over three wires, which goes on with the trace that a request belongs to."""

import http.client
import json
import os
import re
import secrets
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


class Trace:
    """The trace that a request belongs to: W3C's traceparent and tracestate."""

    FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

    def __init__(self, parent, state):
        found = self.FORM.fullmatch(parent or "")
        if found and int(found[1], 16) and int(found[2], 16):
            self.id, self.flags, self.state = found[1], found[3], state
        else:
            # None, or one that is malformed: the request is served all the same, in a trace of its own.
            self.id, self.flags, self.state = secrets.token_hex(16), "01", None
        self.span = secrets.token_hex(8)

    def headers(self):
        """What the next hop is told: the same trace, and this span as the parent."""
        headers = {"traceparent": f"00-{self.id}-{self.span}-{self.flags}"}
        if self.state:
            headers["tracestate"] = self.state
        return headers

    def log(self, message, entry, **more):
        # Never the data of an entry.
        line = {"message": message, "trace_id": self.id, "span_id": self.span, "entry_id": entry["id"], **more}
        print(json.dumps(line), file=sys.stderr, flush=True)



def field(number, value):
    """A protobuf field of bytes."""
    length, prefix = len(value), bytes([number << 3 | 2])
    while length >= 128:
        prefix, length = prefix + bytes([length & 127 | 128]), length >> 7
    return prefix + bytes([length]) + value


def by_http(entry, trace):
    connection = http.client.HTTPConnection(LOGGER.netloc, timeout=TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/json", **trace.headers()}
        connection.request("POST", "/log", json.dumps(entry).encode(), headers)
        response = connection.getresponse()
        response.read()
        return "stored" if response.status == 202 else "unknown"
    finally:
        connection.close()


def by_grpc(entry, trace):
    fields = (entry["name"], entry["data"], entry["id"], entry["level"])
    log = b"".join(field(number, text.encode()) for number, text in enumerate(fields, 1))
    write_log(field(1, log), timeout=TIMEOUT_S, metadata=tuple(trace.headers().items()))
    return "stored"


class RabbitMq:
    """One connection: pika's are for one thread at a time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.channel = None

    def publish(self, entry, trace):
        properties = pika.BasicProperties(message_id=entry["id"], delivery_mode=2, headers=trace.headers())
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
        trace = Trace(self.headers.get("traceparent"), self.headers.get("tracestate"))
        try:
            outcome = send(entry, trace)
        except (OSError, grpc.RpcError, pika.exceptions.AMQPError, http.client.HTTPException) as error:
            trace.log("failed", entry, error=type(error).__name__)
            return self.answer(504, {"code": "outcome_unknown", "id": entry["id"]})
        trace.log(outcome, entry, transport=request["transport"])
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
