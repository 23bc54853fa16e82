"""Sends numbered spans, data points and log records with OpenTelemetry's own SDK, by every protocol that it has.

    send.py HOST:PORT-OF-GRPC HOST:PORT-OF-HTTP COUNT

What item n looks like is written in tests/src/otlp/sdk.rs, which checks it.
"""

import logging
import sys

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
import grpc

KINDS = [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER]


def exporters(protocol, address, gzip):
    if protocol == "grpc":
        compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
        arguments = {"endpoint": address, "insecure": True, "compression": compression}
        return (
            grpc_traces.OTLPSpanExporter(**arguments),
            grpc_metrics.OTLPMetricExporter(**arguments),
            grpc_logs.OTLPLogExporter(**arguments),
        )
    compression = Compression.Gzip if gzip else Compression.NoCompression
    made = (http_traces.OTLPSpanExporter, http_metrics.OTLPMetricExporter, http_logs.OTLPLogExporter)
    paths = ("traces", "metrics", "logs")
    return tuple(
        exporter(endpoint=f"http://{address}/v1/{path}", compression=compression)
        for exporter, path in zip(made, paths)
    )


def send(client, count, spans, metrics, logs):
    resource = Resource.create({"client": client, "service.name": "sdk"})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(spans, max_export_batch_size=64, max_queue_size=4096))
    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs, max_export_batch_size=64, max_queue_size=4096))
    meters = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metrics)])
    tracer = tracers.get_tracer("scope", "1.2.3")
    logger = loggers.get_logger("scope", "1.2.3")
    meter = meters.get_meter("scope", "1.2.3")
    counter = meter.create_counter("sdk.counter", unit="1", description="counts")
    updown = meter.create_up_down_counter("sdk.updown")
    histogram = meter.create_histogram("sdk.histogram", unit="ms")
    gauge = meter.create_gauge("sdk.gauge")
    before = None
    for n in range(1, count + 1):
        parent = trace.set_span_in_context(before) if n % 2 == 0 else None
        links = [Link(before.get_span_context(), {"seq": n})] if n % 10 == 0 else None
        attributes = {
            "seq": n,
            "text": f"täxt-{n}",
            "flag": n % 2 == 0,
            "ratio": n + 0.5,
            "texts": ["a", "b"],
            "numbers": [1, 2],
        }
        span = tracer.start_span(
            f"span-{n}", context=parent, kind=KINDS[n % 5], attributes=attributes, links=links
        )
        span.add_event(f"event-{n}", {"seq": n})
        if n % 3 == 0:
            span.set_status(Status(StatusCode.ERROR, f"failed {n}"))
        with trace.use_span(span):
            logger.emit(
                LogRecord(
                    timestamp=1_700_000_000_000_000_000 + n,
                    severity_number=SeverityNumber.WARN,
                    severity_text="WARN",
                    body=f"log-{n}",
                    attributes={"seq": n, "text": f"täxt-{n}"},
                )
            )
        span.end()
        before = span
        seq = {"seq": n}
        counter.add(n, seq)
        updown.add(-n, seq)
        histogram.record(n, seq)
        histogram.record(2 * n, seq)
        gauge.set(n + 0.25, seq)
    for provider in (tracers, loggers, meters):
        provider.force_flush(30_000)
        provider.shutdown()


def main():
    logging.basicConfig(level=logging.WARNING)
    grpc_address, http_address, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    for protocol, address in (("grpc", grpc_address), ("http", http_address)):
        for gzip in (False, True):
            client = f"python-{protocol}-{'gzip' if gzip else 'none'}"
            send(client, count, *exporters(protocol, address, gzip))


main()
