"""An open-loop load generator: it sends when a request is due, and measures from then."""

import http.client
import json
import os
import queue
import sys
import threading
import time
import urllib.parse

TARGET = urllib.parse.urlsplit(os.environ["TARGET_URL"])
RATE = float(os.environ["RATE"])
SECONDS = float(os.environ["SECONDS"])
WARMUP_SECONDS = float(os.environ["WARMUP_SECONDS"])
TIMEOUT_S = float(os.environ["TIMEOUT_MS"]) / 1000
# One for each request that may be open at a time: what is due is never held back.
WORKERS = 512


def request(connection):
    """Whether it was answered with success."""
    connection.request("GET", TARGET.path or "/")
    response = connection.getresponse()
    response.read()
    return response.status < 400


def worker(due_times, results):
    connection = http.client.HTTPConnection(TARGET.netloc, timeout=TIMEOUT_S)
    while (due := due_times.get()) is not None:
        try:
            outcome = "answered" if request(connection) else "error"
        except TimeoutError:
            outcome = "timeout"
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            print(f"not answered: {error!r}", file=sys.stderr)
            outcome = "error"
            connection.close()
        results.put((due, outcome, (time.monotonic() - due) * 1000))


def run():
    due_times, results = queue.SimpleQueue(), queue.SimpleQueue()
    workers = 0
    start = time.monotonic() + 0.05
    count = round((WARMUP_SECONDS + SECONDS) * RATE)
    for number in range(count):
        due = start + number / RATE
        time.sleep(max(0, due - time.monotonic()))
        # A worker more whenever those that are there may all be waiting.
        if number - results.qsize() >= workers and workers < WORKERS:
            threading.Thread(target=worker, args=[due_times, results], daemon=True).start()
            workers += 1
        due_times.put(due)
    measured = [results.get() for _ in range(count)]
    return start + WARMUP_SECONDS, measured


def summary(begin, measured):
    counted = [result for result in measured if result[0] >= begin - 1e-9]
    of = lambda outcome: sum(1 for _, found, _ in counted if found == outcome)
    times_ms = sorted(took for _, outcome, took in counted if outcome == "answered")

    def percentile(share):
        return times_ms[min(len(times_ms) - 1, int(len(times_ms) * share))] if times_ms else None

    return {
        "due": len(counted),
        "answered": of("answered"),
        "errors": of("error"),
        "timeouts": of("timeout"),
        "p50_ms": percentile(0.5),
        "p90_ms": percentile(0.9),
        "p99_ms": percentile(0.99),
        "max_ms": times_ms[-1] if times_ms else None,
    }


print(json.dumps(summary(*run())), flush=True)
