"""Delivers each line of standard input to the broker: one attempt, as lab 1 left it."""

import concurrent.futures
import http.client
import json
import os
import sys
import threading
import urllib.parse
import uuid

BROKER = urllib.parse.urlsplit(os.environ["BROKER_URL"])
output = threading.Lock()


def post(body):
    # TODO: how long may this take?
    connection = http.client.HTTPConnection(BROKER.netloc)
    try:
        connection.request("POST", "/handle", body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def deliver(line):
    identity = line.get("id") or str(uuid.uuid4())
    log = {"id": identity, "name": line["name"], "data": line["data"]}
    body = json.dumps({"action": "log", "transport": "http", "log": log}).encode()
    try:
        # TODO: which failures are worth another attempt, after how long, and how often?
        status, answer = post(body)
    except (OSError, http.client.HTTPException, ValueError):
        return {"n": line["n"], "id": identity, "outcome": "unknown"}
    if status == 202:
        return {"n": line["n"], "id": identity, "outcome": answer["data"]["outcome"]}
    rejected = 400 <= status < 500
    return {"n": line["n"], "id": identity, "outcome": "rejected" if rejected else "unknown"}


def run(text):
    answer = deliver(json.loads(text))
    with output:
        print(json.dumps(answer), flush=True)


with concurrent.futures.ThreadPoolExecutor(64) as pool:
    for text in sys.stdin:
        pool.submit(run, text)
