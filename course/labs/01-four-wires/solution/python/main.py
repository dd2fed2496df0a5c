"""Sends each line of standard input to the broker, and says what became of it in a word that is certainly true."""

import http.client
import json
import os
import sys
import urllib.parse
import uuid

BROKER = urllib.parse.urlsplit(os.environ["BROKER_URL"])
TIMEOUT_S = int(os.environ.get("TIMEOUT_MS", "1500")) / 1000


class Broker:
    """One kept connection."""

    def __init__(self):
        self.connection = None

    def post(self, body):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(BROKER.netloc, timeout=TIMEOUT_S)
        try:
            self.connection.connect() if self.connection.sock is None else None
        except OSError as error:
            self.close()
            raise NotSent from error
        try:
            self.connection.request("POST", "/handle", body, {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            # What comes late must not be taken for the answer to the next request.
            self.close()
            raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class NotSent(Exception):
    """The broker could not be reached: not a byte of the entry was sent."""


def word(status, answer):
    """What a response says of the entry."""
    data = answer.get("data") or {}
    if status == 202:
        return {"outcome": data.get("outcome", "unknown")}
    if status in (408, 429, 503):
        return {"outcome": "not_stored", "code": data.get("code")}
    if 400 <= status < 500:
        return {"outcome": "rejected", "code": data.get("code")}
    return {"outcome": "unknown", "code": data.get("code")}


def send(broker, line):
    # With an id of our own the entry can be sent again without being stored twice.
    identity = line.get("id") or str(uuid.uuid4())
    log = {"id": identity, "name": line["name"], "data": line["data"]}
    if "level" in line:
        log["level"] = line["level"]
    body = json.dumps({"action": "log", "transport": line["transport"], "log": log}).encode()
    try:
        status, answer = broker.post(body)
        outcome = word(status, answer)
    except NotSent:
        outcome = {"outcome": "not_stored"}
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"line {line['n']}: {error!r}", file=sys.stderr)
        outcome = {"outcome": "unknown"}
    return {"n": line["n"], "id": identity, **outcome}


def main():
    broker = Broker()
    for text in sys.stdin:
        print(json.dumps(send(broker, json.loads(text))), flush=True)


main()
