"""A logger whose 202 is true: the entry is on the disk before it is answered, and a restart finds it."""

import json
import os
import signal
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST, PORT = os.environ["LOGGER_HTTP_LISTEN"].rsplit(":", 1)
DATA_DIR = os.environ["DATA_DIR"]
LEVELS = ("info", "warning", "error")
BODY_BYTES = 1024 * 1024


class Refused(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


class Store:
    """A file to which a line is appended for each entry, and an index of it in memory."""

    def __init__(self):
        self.lock = threading.Lock()
        self.entries = {}
        self.path = os.path.join(DATA_DIR, "entries.jsonl")
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.load()
        # The file's name must be on the disk as well.
        directory = os.open(DATA_DIR, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def load(self):
        sound = 0
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    entry = None
                if entry is None:
                    # Half a record: it was never answered, since it was never synced whole.
                    break
                self.entries[entry["id"]] = entry
                sound += len(line)
        os.ftruncate(self.file, sound)

    def put(self, entry):
        with self.lock:
            there = self.entries.get(entry["id"])
            if there is not None:
                if there == entry:
                    return "duplicate"
                raise Refused(409, "conflict", "the id is stored with other content")
            line = json.dumps(entry).encode() + b"\n"
            os.write(self.file, line)
            os.fsync(self.file)
            self.entries[entry["id"]] = entry
            return "stored"


def checked(body):
    """The entry in a body, or why it is none."""
    try:
        entry = json.loads(body)
    except ValueError:
        raise Refused(400, "bad_json", "the body is not JSON")
    if not isinstance(entry, dict):
        raise Refused(400, "bad_field", "expected an object")
    name, data, level = entry.get("name"), entry.get("data", ""), entry.get("level", "info")
    if not isinstance(name, str) or not 1 <= len(name.encode()) <= 256:
        raise Refused(400, "invalid_entry", "name must have 1 to 256 bytes")
    if not isinstance(data, str) or level not in LEVELS:
        raise Refused(400, "bad_field", "data must be text, and level info, warning or error")
    try:
        identity = str(uuid.UUID(entry["id"])) if "id" in entry else str(uuid.uuid4())
    except (ValueError, AttributeError, TypeError):
        raise Refused(400, "bad_field", "id must be a UUID")
    return {"id": identity, "name": name, "data": data, "level": level}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer leave together; otherwise Nagle holds the second back.
    wbufsize = 65536

    def do_POST(self):
        try:
            length = int(self.headers.get("Content-Length", 0))
            if length > BODY_BYTES:
                self.close_connection = True
                raise Refused(413, "too_large", "the body is too large")
            body = self.rfile.read(length)
            if self.path != "/log":
                raise Refused(404, "not_found", "no such endpoint")
            entry = checked(body)
            outcome = self.server.store.put(entry)
            self.answer(202, False, outcome, {"id": entry["id"], "outcome": outcome})
        except Refused as refused:
            self.answer(refused.status, True, str(refused), {"code": refused.code})
        except OSError as error:
            print(f"not stored: {error}", file=sys.stderr)
            self.answer(503, True, "the store cannot be written", {"code": "storage_full"})

    def do_GET(self):
        entry = self.server.store.entries.get(self.path.rsplit("/", 1)[-1])
        if entry is None:
            self.answer(404, True, "no such entry", {"code": "not_found"})
        else:
            self.answer(200, False, "found", entry)

    def answer(self, status, error, message, data):
        body = json.dumps({"error": error, "message": message, "data": data}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    server = Server((HOST, int(PORT)), Handler)
    server.store = Store()

    def stop(*_):
        # Every 202 is on the disk already; what was not answered promised nothing.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever(poll_interval=0.05)


main()
