#!/usr/bin/env python3
"""Sends entries to a broker until standard input ends, and verifies every one that was accepted against the store.

Each client keeps its connection until it is told `Connection: close`, or finds it closed; then it opens another one,
and sends the entry again with the same id if nothing of a response had arrived. Prints one line of JSON.
"""

import argparse
import collections
import functools
import http.client
import json
import socket
import ssl
import sys
import threading
import time
import urllib.parse
import uuid

DEADLINE_S = 10
SETTLE_S = 60


class Client(threading.Thread):
    """One client, with one connection, and one entry at a time."""

    def __init__(self, settings, transport, stop):
        super().__init__(daemon=True)
        self.settings, self.transport, self.stop = settings, transport, stop
        self.connection = None
        self.accepted = {}  # when each was, by its id
        self.outcomes = collections.Counter()

    def run(self):
        while not self.stop.is_set():
            self.send(str(uuid.uuid4()))
            time.sleep(self.settings.pause_ms / 1000)

    def send(self, entry):
        body = {"action": "log", "transport": self.transport, "log": {"id": entry, "name": "load", "data": "x"}}
        while True:
            reused = self.connection is not None
            try:
                status, text = self.ask("POST", "/handle", json.dumps(body))
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLError) as error:
                self.connection = None
                # An idle connection that the server has closed meanwhile: nothing unusual.
                if reused:
                    self.outcomes["sent again"] += 1
                    continue
                self.outcomes[type(error).__name__] += 1
                return
            except OSError as error:
                self.connection = None
                self.outcomes[type(error).__name__] += 1
                return
            code = "" if status == 202 else " " + json.loads(text)["data"]["code"]
            self.outcomes[f"{status}{code}"] += 1
            if status == 202:
                self.accepted[entry] = time.monotonic()
            return

    def ask(self, method, path, body=None):
        if self.connection is None:
            self.connection = self.settings.connect()
        headers = {"Content-Type": "application/json"}
        if self.settings.key:
            headers["Authorization"] = f"Bearer {self.settings.key}"
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        text = response.read()
        # What the server says by `Connection: close` http.client does by itself, but keeps the object.
        if response.will_close:
            self.connection.close()
            self.connection = None
        return response.status, text


def is_stored(client, entry):
    """Whether an entry is stored; a connection may have been closed while the client was idle."""
    try:
        return client.ask("GET", f"/logs/{entry}")[0] == 200
    except (http.client.HTTPException, OSError):
        client.connection = None
        return False


def longest_gap_ms(moments):
    """The longest time in which nothing was accepted."""
    moments = sorted(moments)
    return round(1000 * max((later - sooner for sooner, later in zip(moments, moments[1:])), default=0))


def settings():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--transports", default="http,rpc,rabbitmq,grpc")
    parser.add_argument("--clients", type=int, default=2, help="per transport")
    parser.add_argument("--pause-ms", type=float, default=5)
    parser.add_argument("--ca")
    parser.add_argument("--connect-to", help="connect to this host, of whatever name the URL is")
    parser.add_argument("--key", default="")
    given = parser.parse_args()
    context = ssl.create_default_context(cafile=given.ca)
    given.connect = functools.partial(connect, urllib.parse.urlsplit(given.url), given.connect_to, context)
    return given


def connect(url, host, context):
    """A connection that is not open yet. Of a name with several addresses it takes the first that accepts."""
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(url.netloc, timeout=DEADLINE_S, context=context)
    else:
        connection = http.client.HTTPConnection(url.netloc, timeout=DEADLINE_S)
    if host:
        connection._create_connection = lambda _, *rest: socket.create_connection((host, url.port), *rest)
    return connection


def main():
    given, stop = settings(), threading.Event()
    transports = given.transports.split(",")
    clients = [Client(given, transport, stop) for transport in transports for _ in range(given.clients)]
    for client in clients:
        client.start()
    sys.stdin.read()
    stop.set()
    for client in clients:
        client.join()
    reader = Client(given, transports[0], stop)
    report, deadline = {}, time.monotonic() + SETTLE_S
    for transport in transports:
        ours = [client for client in clients if client.transport == transport]
        accepted = {entry: when for client in ours for entry, when in client.accepted.items()}
        missing = set(accepted)
        # What is queued is stored a little later.
        while missing and time.monotonic() < deadline:
            missing = {entry for entry in missing if not is_stored(reader, entry)}
        outcomes = sum((client.outcomes for client in ours), collections.Counter())
        report[transport] = {
            "outcomes": dict(sorted(outcomes.items())),
            "lost": len(missing),
            "longest_gap_ms": longest_gap_ms(accepted.values()),
        }
    print(json.dumps(report))


main()
