"""All five calls of the logger's gRPC port, by a client that has nothing but logs.proto.

calls.py LOGS_PROTO ADDRESS: prints as JSON what the logger answered.
"""

import importlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import uuid

import grpc

TIMEOUT_S = 60


def main(proto, address):
    messages, services = generated(pathlib.Path(proto))
    with grpc.insecure_channel(address) as channel:
        calls = Calls(messages, services.LogServiceStub(channel))
        answers = {
            "write_log": calls.write_log(),
            "write_batch": calls.write_batch(),
            "write_logs": calls.write_logs(),
            "sync_logs": calls.sync_logs(),
            "tail_logs": calls.tail_logs(),
            "deadline": calls.deadline(),
        }
    json.dump(answers, sys.stdout)


def generated(proto):
    """The modules that protoc makes of the file."""
    plugin = shutil.which("grpc_python_plugin")
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [
                "protoc",
                f"-I{proto.parent}",
                f"--plugin=protoc-gen-grpc_python={plugin}",
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                proto.name,
            ],
            check=True,
        )
        sys.path.insert(0, out)
        return importlib.import_module(f"{proto.stem}_pb2"), importlib.import_module(f"{proto.stem}_pb2_grpc")


class Calls:
    def __init__(self, messages, stub):
        self.messages = messages
        self.stub = stub
        self.sent = []

    def request(self, name="python", id=None):
        id = str(uuid.uuid4()) if id is None else id
        self.sent.append(id)
        return self.messages.LogRequest(log_entry=self.messages.Log(name=name, data="text", id=id))

    def write_log(self):
        answer = self.stub.WriteLog(self.request(), timeout=TIMEOUT_S)
        return {"id": answer.id, "sent": self.sent[-1], "outcome": answer.outcome}

    def write_batch(self):
        entries = [self.request().log_entry for _ in range(10)]
        answer = self.stub.WriteBatch(self.messages.BatchRequest(log_entries=entries), timeout=TIMEOUT_S)
        return [result.outcome for result in answer.results]

    def write_logs(self):
        def requests():
            for _ in range(5_000):
                yield self.request()
            yield self.request(name="", id=str(uuid.uuid4()))
            yield self.request(id=self.sent[0])

        answer = self.stub.WriteLogs(requests(), timeout=TIMEOUT_S)
        return {
            "settled": answer.settled,
            "stored": answer.stored,
            "duplicate": answer.duplicate,
            "refused": answer.refused,
            "refusals": [[refusal.position, refusal.code] for refusal in answer.refusals],
            "code": answer.code,
        }

    def sync_logs(self):
        requests = [self.request() for _ in range(1_000)]
        ids = {request.log_entry.id for request in requests}
        answers = list(self.stub.SyncLogs(iter(requests), timeout=TIMEOUT_S))
        return {
            "acknowledged": len(answers),
            "each_once": {answer.id for answer in answers} == ids,
            "outcomes": sorted({answer.outcome for answer in answers}),
        }

    def tail_logs(self):
        """Everything from the beginning, and one entry more that is sent while the tail is read."""
        expected = [id for id in dict.fromkeys(self.sent)]
        tail = self.stub.TailLogs(self.messages.TailRequest(after="0", name="python"), timeout=TIMEOUT_S)
        told = []
        live = False
        for response in tail:
            if response.WhichOneof("event") == "entry":
                told.append(response.entry.id)
            if not live and len(told) >= 6_000:
                live = True
                expected.append(self.write_log()["sent"])
            if live and told[-1] == expected[-1]:
                break
        tail.cancel()
        return {"told": len(told), "different": len(set(told)), "unknown": len(set(told) - set(expected))}

    def deadline(self):
        try:
            for _ in self.stub.TailLogs(self.messages.TailRequest(), timeout=0.5):
                pass
        except grpc.RpcError as error:
            return error.code().name
        return "none"


if __name__ == "__main__":
    main(*sys.argv[1:])
