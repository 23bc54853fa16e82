"""Sends two spans, two metrics and a log record with OpenTelemetry's own SDK; fails if an export fails."""

import logging
import sys

from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

protocol, compression, endpoint = sys.argv[1:]
if protocol == "grpc":
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    kind = {
        "none": grpc.Compression.NoCompression,
        "gzip": grpc.Compression.Gzip,
        "deflate": grpc.Compression.Deflate,
    }[compression]

    def make(exporter, _path):
        return exporter(endpoint=endpoint, insecure=True, compression=kind)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    def make(exporter, path):
        return exporter(endpoint=endpoint + path, compression=Compression(compression))


class Errors(logging.Handler):
    """The exporters tell of failures in the log only."""

    seen = []

    def emit(self, record):
        if record.levelno >= logging.WARNING and record.name.startswith("opentelemetry.exporter"):
            self.seen.append(record.getMessage())


logging.getLogger().addHandler(Errors())

traces = TracerProvider()
traces.add_span_processor(BatchSpanProcessor(make(OTLPSpanExporter, "/v1/traces")))
tracer = traces.get_tracer("test")
with tracer.start_as_current_span("outer", attributes={"text": "täxt", "number": 2**40, "list": [1.5, 2.5]}):
    with tracer.start_as_current_span("inner") as span:
        span.add_event("event", {"flag": True})

reader = PeriodicExportingMetricReader(make(OTLPMetricExporter, "/v1/metrics"), export_interval_millis=3_600_000)
metrics = MeterProvider(metric_readers=[reader])
meter = metrics.get_meter("test")
meter.create_counter("hits").add(3, {"code": 200})
meter.create_histogram("took").record(0.25)

logs = LoggerProvider()
logs.add_log_record_processor(BatchLogRecordProcessor(make(OTLPLogExporter, "/v1/logs")))
logger = logging.getLogger("test")
logger.addHandler(LoggingHandler(logger_provider=logs))
logger.error("a line")

flushed = [provider.force_flush(10_000) for provider in (traces, metrics, logs)]
for provider in (traces, metrics, logs):
    provider.shutdown()
if Errors.seen or not all(flushed):
    sys.exit(f"an export failed: {flushed} {Errors.seen}")
