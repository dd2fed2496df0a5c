"""Loads entries into a logger, or mirrors one into another: call by call, and all of it in memory."""

import json
import os
import sys
import urllib.parse

import grpc
import logs_pb2
import logs_pb2_grpc


def stub(setting):
    target = urllib.parse.urlsplit(os.environ[setting]).netloc
    return logs_pb2_grpc.LogServiceStub(grpc.insecure_channel(target))


def load():
    target, stored, refusals = stub("TO_GRPC_URL"), 0, []
    # TODO: a call for each entry, one after the other.
    for position, text in enumerate(sys.stdin):
        line = json.loads(text)
        try:
            target.WriteLog(logs_pb2.LogRequest(log_entry=logs_pb2.Log(name=line["name"], data=line["data"])))
            stored += 1
        except grpc.RpcError:
            refusals.append(position)
    print(json.dumps({"stored": stored, "refused": refusals}), flush=True)


def mirror():
    source, target = stub("FROM_GRPC_URL"), stub("TO_GRPC_URL")
    # TODO: the tail never ends, and this list waits for its end. And after a restart?
    for response in list(source.TailLogs(logs_pb2.TailRequest(after="0"))):
        if response.HasField("entry"):
            log = logs_pb2.Log(name=response.entry.name, data=response.entry.data)
            target.WriteLog(logs_pb2.LogRequest(log_entry=log))


{"load": load, "mirror": mirror}[os.environ["MODE"]]()
