"""A logger from logs.proto alone: takes entries over gRPC, and stores them by HTTP in the logger behind it."""

import http.client
import json
import os
import queue
import urllib.parse
import uuid
from concurrent import futures

import grpc
import logs_pb2
import logs_pb2_grpc

STORE = urllib.parse.urlsplit(os.environ["STORE_HTTP_URL"])
WORKERS = 64
# The longest that a call without a deadline may take.
LONGEST_S = 5

# Connections that are kept: never more than there are workers.
idle = queue.SimpleQueue()


def post(entry, timeout):
    """Status and body of the store's answer."""
    try:
        connection = idle.get_nowait()
        connection.sock.settimeout(timeout)
    except queue.Empty:
        connection = http.client.HTTPConnection(STORE.netloc, timeout=timeout)
    try:
        connection.request("POST", "/log", json.dumps(entry).encode(), {"Content-Type": "application/json"})
        response = connection.getresponse()
        result = response.status, json.loads(response.read())
    except BaseException:
        connection.close()
        raise
    if response.will_close:
        connection.close()
    else:
        idle.put(connection)
    return result


def refuse(context, status, code, message):
    # The code says what is certain. A status without it says nothing certain.
    context.set_trailing_metadata((("x-code", code),))
    context.abort(status, message)


STATUSES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    409: grpc.StatusCode.ALREADY_EXISTS,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
}


class LogService(logs_pb2_grpc.LogServiceServicer):
    def WriteLog(self, request, context):
        log = request.log_entry
        # In proto3 a text that nobody set is empty.
        if not log.name:
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "invalid_entry", "name must have 1 to 256 bytes")
        entry = {"id": log.id or str(uuid.uuid4()), "name": log.name, "data": log.data, "level": log.level or "info"}
        remaining = context.time_remaining()
        timeout = LONGEST_S if remaining is None else min(LONGEST_S, max(0.001, remaining))
        try:
            status, answer = post(entry, timeout)
        except TimeoutError:
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the store did not answer in time")
        except (OSError, http.client.HTTPException, ValueError) as error:
            # It was sent, perhaps: no code.
            context.abort(grpc.StatusCode.UNKNOWN, f"the store: {error!r}")
        data = answer.get("data") or {}
        if status == 202:
            return logs_pb2.LogResponse(result=answer.get("message", ""), id=entry["id"], outcome=data["outcome"])
        if status in STATUSES and data.get("code"):
            refuse(context, STATUSES[status], data["code"], answer.get("message", ""))
        context.abort(grpc.StatusCode.UNKNOWN, f"the store answered {status}")


def main():
    server = grpc.server(futures.ThreadPoolExecutor(WORKERS))
    logs_pb2_grpc.add_LogServiceServicer_to_server(LogService(), server)
    server.add_insecure_port(os.environ["LOGGER_GRPC_LISTEN"])
    server.start()
    server.wait_for_termination()


main()
