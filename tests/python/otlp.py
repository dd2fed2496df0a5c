"""Exports logs by OpenTelemetry's own SDK, and says what its exporter reported.

otlp.py PROTOCOL ENDPOINT COMPRESSION: PROTOCOL is grpc or http. Exports rounds of PAIRS pairs of equal records until
standard input is closed, and prints what happens as lines of JSON: {"exported": ROUND}, {"failed": ROUND} or
{"retrying": TEXT}. The body of a record is "ROUND PAIR".
"""

import json
import logging
import os
import select
import sys
import time

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource

PAIRS = 100
TIMEOUT_S = 60


def main(protocol, endpoint, compression):
    exporter = Telling(made(protocol, endpoint, compression))
    # Nothing is exported but by force_flush, so that each round is one request.
    processor = BatchLogRecordProcessor(
        exporter, schedule_delay_millis=3_600_000, max_export_batch_size=4_096, max_queue_size=8_192
    )
    resource = Resource.create({"service.name": "python", "service.instance.id": str(os.getpid())})
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(processor)
    logger = provider.get_logger("rounds", "1.0")
    retries = logging.getLogger("opentelemetry.exporter")
    retries.addHandler(Retries())
    number = 0
    while not closed(sys.stdin):
        number += 1
        exporter.round = number
        for pair in range(PAIRS):
            now = time.time_ns()
            for _ in range(2):
                logger.emit(
                    timestamp=now, observed_timestamp=now, severity_text="WARN", body=f"{number} {pair}"
                )
        provider.force_flush(1_000 * TIMEOUT_S)
    provider.shutdown()


def made(protocol, endpoint, compression):
    if protocol == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc import exporter as module
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

        # It leaves out messages that it has logged a moment ago.
        module.logger.filters.clear()
        algorithm = Compression.Gzip if compression == "gzip" else Compression.NoCompression
        return OTLPLogExporter(endpoint, insecure=True, compression=algorithm, timeout=TIMEOUT_S)
    from opentelemetry.exporter.otlp.proto.http import Compression, _log_exporter

    _log_exporter._logger.filters.clear()
    return _log_exporter.OTLPLogExporter(
        f"{endpoint}/v1/logs", compression=Compression(compression), timeout=TIMEOUT_S
    )


def closed(stream):
    readable, _, _ = select.select([stream], [], [], 0)
    return bool(readable) and not stream.read()


def tell(**event):
    print(json.dumps(event), flush=True)


class Telling(LogRecordExporter):
    """Exports by another exporter, and tells what that reports."""

    def __init__(self, exporter):
        self.exporter = exporter
        self.round = 0

    def export(self, batch):
        result = self.exporter.export(batch)
        if len(batch) != 2 * PAIRS:
            tell(odd=len(batch))
        elif result is LogRecordExportResult.SUCCESS:
            tell(exported=self.round)
        else:
            tell(failed=self.round)
        return result

    def force_flush(self, timeout_millis=10_000):
        return self.exporter.force_flush(timeout_millis)

    def shutdown(self):
        self.exporter.shutdown()


class Retries(logging.Handler):
    """Tells what an exporter logs: that it sends a request again."""

    def emit(self, record):
        tell(retrying=record.getMessage())


if __name__ == "__main__":
    main(*sys.argv[1:])
