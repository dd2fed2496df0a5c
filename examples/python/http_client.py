"""Sends an entry over HTTP, with nothing but Python's standard library.

http_client.py BROKER_URL TRANSPORT NAME DATA
"""

import http.client
import json
import sys
import time
import urllib.error
import urllib.request
import uuid

TRIES = 10


def log(url, transport, name, data):
    """Sends an entry until its outcome is known: stored, queued or duplicate."""
    # An id of one's own makes it safe to send the entry again after any failure.
    entry = {"id": str(uuid.uuid4()), "name": name, "data": data}
    body = json.dumps({"action": "log", "transport": transport, "log": entry}).encode()
    for attempt in range(TRIES):
        try:
            with urllib.request.urlopen(f"{url}/handle", body, timeout=10) as response:
                return json.load(response)["data"]["outcome"]
        except urllib.error.HTTPError as error:
            message = said(error)
            if error.code not in (408, 429, 503, 504):
                raise ValueError(f"{error.code}: {message}") from None  # fix the entry
            wait = float(error.headers.get("Retry-After", 0))  # 504: it may be stored; send it again
        except (OSError, http.client.HTTPException) as error:  # no broker, or no answer
            message, wait = str(error), 0.1 * 2**attempt
        if attempt + 1 < TRIES:
            print(f"trying again: {message}", file=sys.stderr)
            time.sleep(wait)
    raise TimeoutError(f"not accepted after {TRIES} tries: {message}")


def said(error):
    """What the broker says of it; a proxy in front of it says nothing of this form."""
    try:
        return json.load(error)["message"]
    except (ValueError, KeyError, TypeError):
        return error.reason


if __name__ == "__main__":
    try:
        print(log(*sys.argv[1:]))
    except (ValueError, TimeoutError) as error:
        sys.exit(str(error))
