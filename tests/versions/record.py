#!/usr/bin/env python3
"""Records what broker and logger of a version say to each other, and what its logger stores.

    git worktree add ../old 3ef3fee && (cd ../old && cargo build --locked --bin broker --bin logger)
    tests/versions/record.py ../old/target/debug tests/versions/0.1.0

For each direct transport one entry is sent through the broker, and what passed is written as `fourwire explain --save`
does it, in order of time. The store is written as SQL. Later versions are verified against these files by
tests/e2e/versions.rs: a run of the tests builds one version only.
"""

import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

TRANSPORTS = ("http", "rpc", "grpc")
READY_S = 30
STARTED = time.monotonic()


class Relay:
    """Passes on what goes to a port, and keeps it."""

    def __init__(self, port):
        self.port, self.kept, self.connections, self.lock = port, [], 0, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def address(self):
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(("127.0.0.1", self.port))
            self.connections += 1
            for source, sink, to in ((near, far, "server"), (far, near, "client")):
                threading.Thread(target=self.pass_on, args=(self.connections, source, sink, to), daemon=True).start()

    def pass_on(self, connection, source, sink, to):
        while piece := source.recv(65536):
            # Before it is passed on: what answers it must come after it.
            with self.lock:
                at_us = int((time.monotonic() - STARTED) * 1e6)
                self.kept.append({"at_us": at_us, "connection": connection, "to": to, "hex": piece.hex()})
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def ask(url, body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            sys.exit("not in time")
        time.sleep(0.05)


def entry(number, transport):
    return {
        "id": f"0197f5c1-5d3a-7c6e-8a54-2f1b6c0d9e{number:02x}",
        "name": "version",
        "data": f"sent via {transport} by 0.1.0: ж, \"quoted\"",
        "level": "warning",
        "created_at": "2026-11-22T10:00:00.000001Z",
    }


def main():
    programs, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    ports = {transport: free_port() for transport in TRANSPORTS}
    relays = {transport: Relay(ports[transport]) for transport in TRANSPORTS}
    with tempfile.TemporaryDirectory() as directory:
        store = f"{directory}/logs.db"
        processes = []
        try:
            processes.append(start_logger(programs, directory, store, ports))
            url = f"http://127.0.0.1:{free_port()}"
            processes.append(start_broker(programs, directory, url, relays))
            send(url)
            kept = {transport: list(relay.kept) for transport, relay in relays.items()}
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
                process.wait(READY_S)
        for transport, pieces in kept.items():
            with open(out / f"{transport}.ndjson", "w", encoding="utf-8") as file:
                head = {"fourwire_recording": 1, "wire": transport}
                file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in (head, *pieces))
        write_store(store, out / "store.sql")


def start_logger(programs, directory, store, ports):
    logger = subprocess.Popen([programs / "logger"], cwd=directory, env={
        "LOGGER_STORE": f"sqlite:{store}",
        "LOGGER_NETRPC_LISTEN": "127.0.0.1:0",
        **{f"LOGGER_{transport.upper()}_LISTEN": f"127.0.0.1:{port}" for transport, port in ports.items()},
    })
    within(READY_S, lambda: ask(f"http://127.0.0.1:{ports['http']}/readyz")[0] == 200)
    return logger


def start_broker(programs, directory, url, relays):
    broker = subprocess.Popen([programs / "broker"], cwd=directory, env={
        "BROKER_HTTP_LISTEN": url.removeprefix("http://"),
        "LOGGER_HTTP_URL": f"http://{relays['http'].address()}",
        "LOGGER_RPC_ADDR": relays["rpc"].address(),
        "LOGGER_GRPC_URL": f"http://{relays['grpc'].address()}",
        # Nobody is there, and nobody is needed.
        "AMQP_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}/%2f",
        "LISTENER_HTTP_URL": f"http://127.0.0.1:{free_port()}",
    })
    within(READY_S, lambda: ask(f"{url}/openapi.json")[0] == 200)
    time.sleep(1)
    return broker


def send(url):
    for number, transport in enumerate(TRANSPORTS):
        body = {"action": "log", "transport": transport, "log": entry(number, transport)}
        status, answer = ask(f"{url}/handle", json.dumps(body).encode())
        if (status, answer["data"]["outcome"]) != (202, "stored"):
            sys.exit(f"{transport}: {status} {answer}")
    # Once more: the store counts the attempt.
    ask(f"{url}/handle", json.dumps(body).encode())


def write_store(path, out):
    database = sqlite3.connect(path)
    marks = [(name, database.execute(f"PRAGMA {name}").fetchone()[0])
             for name in ("application_id", "user_version", "auto_vacuum")]
    with open(out, "w", encoding="utf-8") as file:
        for name, value in marks[::-1]:
            file.write(f"PRAGMA {name} = {value};\n")
        file.writelines(line + "\n" for line in database.iterdump())


if __name__ == "__main__":
    os.environ.pop("http_proxy", None)
    main()
