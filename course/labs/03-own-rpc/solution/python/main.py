"""A caller that has many calls in flight on one connection, and knows three outcomes of a call, not two."""

import itertools
import json
import os
import socket
import struct
import sys
import threading
import time

HOST, PORT = os.environ["RPC_ADDR"].rsplit(":", 1)
IN_FLIGHT = 64
FRAME_BYTES = 16 * 1024 * 1024
CONNECT_S = 0.5

room = threading.Semaphore(IN_FLIGHT)
lock = threading.Lock()
output = threading.Lock()
numbers = itertools.count(1)
waiting = {}  # seq: (n, deadline, connection)
connection = None


def tell(n, **answer):
    with output:
        print(json.dumps({"n": n, **answer}), flush=True)


def settle(seq, **answer):
    """Answers a call, unless that was done already: a late answer finds nobody."""
    with lock:
        call = waiting.pop(seq, None)
    if call is not None:
        room.release()
        tell(call[0], **answer)


def read_exactly(stream, length):
    parts = []
    while length > 0:
        part = stream.recv(min(length, 65536))
        if not part:
            raise ConnectionError("the connection was closed")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def read_answers(stream):
    """The one reader of a connection."""
    try:
        while True:
            length = struct.unpack(">I", read_exactly(stream, 4))[0]
            if length > FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            answer = json.loads(read_exactly(stream, length))
            if "error" in answer:
                settle(answer["seq"], error=answer["error"])
            else:
                settle(answer["seq"], result=answer["result"])
    except (OSError, ValueError, KeyError) as error:
        print(f"connection lost: {error!r}", file=sys.stderr)
    lose(stream)


def lose(stream):
    """The connection is gone: what was sent over it may have been done or not."""
    global connection
    stream.close()
    with lock:
        if connection is stream:
            connection = None
        lost = [seq for seq, (_, _, via) in waiting.items() if via is stream]
    for seq in lost:
        settle(seq, unknown="the connection was lost")


def connected():
    """The connection; a new one if there is none."""
    global connection
    with lock:
        stream = connection
    if stream is None:
        stream = socket.create_connection((HOST, int(PORT)), timeout=CONNECT_S)
        stream.settimeout(None)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with lock:
            connection = stream
        threading.Thread(target=read_answers, args=[stream], daemon=True).start()
    return stream


def call(line):
    try:
        stream = connected()
    except OSError as error:
        room.release()
        tell(line["n"], not_sent=str(error))
        return
    seq = next(numbers)
    body = json.dumps({"seq": seq, "method": "Log.Write", "params": line["params"]}).encode()
    with lock:
        waiting[seq] = (line["n"], time.monotonic() + line["timeout_ms"] / 1000, stream)
    try:
        stream.sendall(struct.pack(">I", len(body)) + body)
    except OSError:
        # Some of the bytes may have been sent: the reader sees the end, and so does this.
        settle(seq, unknown="the connection was lost")


def watch_deadlines():
    while True:
        time.sleep(0.01)
        now = time.monotonic()
        with lock:
            late = [seq for seq, (_, deadline, _) in waiting.items() if deadline < now]
        for seq in late:
            settle(seq, unknown="no answer in time")


def main():
    threading.Thread(target=watch_deadlines, daemon=True).start()
    for text in sys.stdin:
        room.acquire()
        call(json.loads(text))
    for _ in range(IN_FLIGHT):
        room.acquire()


main()
