"""A logger that keeps entries in memory, as the course's first one does."""

import json
import os
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST, PORT = os.environ["LOGGER_HTTP_LISTEN"].rsplit(":", 1)
entries = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            entry = json.loads(body)
        except ValueError:
            # TODO: what is stored here, and what does the client believe?
            entry = {}
        identity = entry.setdefault("id", str(uuid.uuid4()))
        # TODO: 202 promises that the entry is stored. Is it, after a restart?
        entries[identity] = entry
        self.answer(202, {"error": False, "message": "stored", "data": {"id": identity, "outcome": "stored"}})

    def do_GET(self):
        entry = entries.get(self.path.rsplit("/", 1)[-1])
        if entry is None:
            self.answer(404, {"error": True, "message": "no such entry", "data": {"code": "not_found"}})
        else:
            self.answer(200, {"error": False, "message": "found", "data": entry})

    def answer(self, status, envelope):
        body = json.dumps(envelope).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer((HOST, int(PORT)), Handler).serve_forever()
