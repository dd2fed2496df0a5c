"""Loads entries into a logger by one stream, or mirrors one logger into another by two."""

import collections
import json
import os
import sys
import time
import urllib.parse

import grpc
import logs_pb2
import logs_pb2_grpc

PAUSE_S = 0.3
# How often the position is written down.
WRITE_S = 0.05


def open_channel(setting):
    target = urllib.parse.urlsplit(os.environ[setting]).netloc
    # After a failure it dials again soon; the default waits longer each time, up to two minutes.
    options = [("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 500)]
    return grpc.insecure_channel(target, options)


def load():
    def requests():
        for text in sys.stdin:
            line = json.loads(text)
            yield logs_pb2.LogRequest(log_entry=logs_pb2.Log(id=line["id"], name=line["name"], data=line["data"]))

    with open_channel("TO_GRPC_URL") as channel:
        # The generator is pulled by gRPC, and only as fast as the logger reads.
        summary = logs_pb2_grpc.LogServiceStub(channel).WriteLogs(requests())
    refused = [refusal.position for refusal in summary.refusals]
    print(json.dumps({"stored": summary.stored, "refused": refused, "code": summary.code}), flush=True)


class Position:
    """How far the target has certainly come, kept over a restart."""

    def __init__(self):
        self.path = os.path.join(os.environ["STATE_DIR"], "cursor")
        self.written_at = 0
        try:
            with open(self.path) as file:
                self.cursor = file.read()
        except FileNotFoundError:
            self.cursor = "0"

    def acknowledged(self, cursor):
        self.cursor = cursor
        if time.monotonic() - self.written_at >= WRITE_S:
            self.write()

    def write(self):
        # A new file in the place of the old one: a kill leaves one of the two, whole.
        with open(self.path + ".new", "w") as file:
            file.write(self.cursor)
        os.replace(self.path + ".new", self.path)
        self.written_at = time.monotonic()


def mirror_until_lost(position):
    with open_channel("FROM_GRPC_URL") as source, open_channel("TO_GRPC_URL") as target:
        # The cursors of what was sent and not acknowledged yet, in the order of the stream.
        sent = collections.deque()
        tail = logs_pb2_grpc.LogServiceStub(source).TailLogs(logs_pb2.TailRequest(after=position.cursor))

        def requests():
            for response in tail:
                if not response.HasField("entry"):
                    continue
                entry = response.entry
                sent.append(response.cursor)
                # With its own id an entry that comes twice is stored once.
                yield logs_pb2.LogRequest(log_entry=logs_pb2.Log(
                    id=entry.id, name=entry.name, data=entry.data, level=entry.level,
                    created_at=entry.created_at, transport=entry.transport,
                ))

        for answer in logs_pb2_grpc.LogServiceStub(target).SyncLogs(requests()):
            if not answer.outcome:
                print(f"refused: {answer.code} {answer.message}", file=sys.stderr)
                if answer.code not in ("conflict", "invalid_entry", "too_large"):
                    raise ConnectionError(answer.code)
            # Only now is it certain that the target has it.
            position.acknowledged(sent.popleft())


def mirror():
    position = Position()
    while True:
        try:
            mirror_until_lost(position)
        except (grpc.RpcError, ConnectionError) as error:
            print(f"lost: {error!r}", file=sys.stderr)
        position.write()
        time.sleep(PAUSE_S)


{"load": load, "mirror": mirror}[os.environ["MODE"]]()
