"""Sends an entry over gRPC, straight to the logger. The two modules are made of logs.proto:

    python3 -m grpc_tools.protoc -I proto/proto --python_out=. --grpc_python_out=. logs.proto

grpc_client.py LOGGER_ADDRESS NAME DATA
"""

import sys
import time
import uuid

import grpc
import logs_pb2
import logs_pb2_grpc

TRIES = 10
RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE,  # not stored, or the connection broke
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNKNOWN,  # it may be stored; the id makes it safe to send it again
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}


def log(stub, name, data):
    """Sends an entry until its outcome is known: stored or duplicate."""
    entry = logs_pb2.Log(id=str(uuid.uuid4()), name=name, data=data)
    for attempt in range(TRIES):
        try:
            # wait_for_ready: while the logger is down, the call waits for it instead of failing at once.
            request = logs_pb2.LogRequest(log_entry=entry)
            return stub.WriteLog(request, timeout=10, wait_for_ready=True).outcome
        except grpc.RpcError as error:
            message = f"{error.code().name}: {error.details()}"
            if error.code() not in RETRYABLE:
                raise ValueError(message) from None  # fix the entry
        if attempt + 1 < TRIES:
            print(f"trying again: {message}", file=sys.stderr)
            time.sleep(0.1 * 2**attempt)
    raise TimeoutError(f"not accepted after {TRIES} tries: {message}")


if __name__ == "__main__":
    address, *entry = sys.argv[1:]
    try:
        with grpc.insecure_channel(address) as channel:
            print(log(logs_pb2_grpc.LogServiceStub(channel), *entry))
    except (ValueError, TimeoutError) as error:
        sys.exit(str(error))
