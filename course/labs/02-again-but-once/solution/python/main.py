"""Delivers each line of standard input to the broker: again if need be, and stored once all the same."""

import concurrent.futures
import http.client
import json
import os
import random
import sys
import threading
import time
import urllib.parse
import uuid

BROKER = urllib.parse.urlsplit(os.environ["BROKER_URL"])
ATTEMPT_S = 1.0
ALL_S = 5.0
ATTEMPTS = 4
# The first retry is spread over this, the next over twice as much, and so on.
BASE_S = 0.4

output = threading.Lock()
local = threading.local()


class NotSent(Exception):
    """The broker could not be reached: not a byte was sent."""


def post(body, timeout):
    """Status, seconds to wait before a retry, and the body."""
    connection = getattr(local, "connection", None)
    if connection is None:
        connection = local.connection = http.client.HTTPConnection(BROKER.netloc)
    connection.timeout = timeout
    try:
        if connection.sock is None:
            try:
                connection.connect()
            except OSError as error:
                raise NotSent from error
        connection.sock.settimeout(timeout)
        connection.request("POST", "/handle", body)
        response = connection.getresponse()
        retry_after = float(response.headers.get("Retry-After", 0))
        return response.status, retry_after, json.loads(response.read())
    except BaseException:
        # What comes late must not be taken for the answer to the next request.
        connection.close()
        raise


def deliver(line):
    # The id is made once, by whoever knows that two requests are the same entry.
    identity = line.get("id") or str(uuid.uuid4())
    log = {"id": identity, "name": line["name"], "data": line["data"]}
    body = json.dumps({"action": "log", "transport": "http", "log": log}).encode()
    end = time.monotonic() + ALL_S
    certain = True
    for attempt in range(ATTEMPTS):
        wait = random.uniform(0, BASE_S * 2**attempt)
        try:
            status, retry_after, answer = post(body, min(ATTEMPT_S, end - time.monotonic()))
            if status == 202:
                return {"n": line["n"], "id": identity, "outcome": answer["data"]["outcome"]}
            if 400 <= status < 500 and status not in (408, 429):
                # The same request will be refused again.
                return {"n": line["n"], "id": identity, "outcome": "rejected", "code": answer["data"]["code"]}
            if status not in (408, 429, 503):
                certain = False
            wait += retry_after
        except NotSent:
            pass
        except (OSError, http.client.HTTPException, ValueError) as error:
            print(f"line {line['n']}: {error!r}", file=sys.stderr)
            certain = False
        if time.monotonic() + wait >= end:
            break
        if attempt + 1 < ATTEMPTS:
            time.sleep(wait)
    return {"n": line["n"], "id": identity, "outcome": "not_stored" if certain else "unknown"}


def run(text):
    answer = deliver(json.loads(text))
    with output:
        print(json.dumps(answer), flush=True)


def main():
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        for text in sys.stdin:
            pool.submit(run, text)


main()
