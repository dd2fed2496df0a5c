"""Serves logs.proto: the code is generated, and nothing is done yet."""

import os
from concurrent import futures

import grpc
import logs_pb2_grpc


class LogService(logs_pb2_grpc.LogServiceServicer):
    def WriteLog(self, request, context):
        # TODO: store the entry by POST STORE_HTTP_URL/log, and say what became of it.
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not written yet")


server = grpc.server(futures.ThreadPoolExecutor(4))
logs_pb2_grpc.add_LogServiceServicer_to_server(LogService(), server)
server.add_insecure_port(os.environ["LOGGER_GRPC_LISTEN"])
server.start()
server.wait_for_termination()
