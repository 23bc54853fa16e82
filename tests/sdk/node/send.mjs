// Sends numbered spans, data points and log records with OpenTelemetry's own SDK, by every protocol that it has.
//
//     send.mjs HOST:PORT-OF-GRPC HOST:PORT-OF-HTTP COUNT
//
// What item n looks like is written in tests/src/otlp/sdk.rs, which checks it.

import { ROOT_CONTEXT, SpanKind, SpanStatusCode, diag, DiagConsoleLogger, DiagLogLevel, trace } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { CompressionAlgorithm } from '@opentelemetry/otlp-exporter-base';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { credentials } from '@grpc/grpc-js';
import * as tracesGrpc from '@opentelemetry/exporter-trace-otlp-grpc';
import * as tracesJson from '@opentelemetry/exporter-trace-otlp-http';
import * as tracesProto from '@opentelemetry/exporter-trace-otlp-proto';
import * as metricsGrpc from '@opentelemetry/exporter-metrics-otlp-grpc';
import * as metricsJson from '@opentelemetry/exporter-metrics-otlp-http';
import * as metricsProto from '@opentelemetry/exporter-metrics-otlp-proto';
import * as logsGrpc from '@opentelemetry/exporter-logs-otlp-grpc';
import * as logsJson from '@opentelemetry/exporter-logs-otlp-http';
import * as logsProto from '@opentelemetry/exporter-logs-otlp-proto';

const KINDS = [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER];
const MODULES = {
  grpc: [tracesGrpc, metricsGrpc, logsGrpc],
  http: [tracesProto, metricsProto, logsProto],
  json: [tracesJson, metricsJson, logsJson],
};

let failures = 0;
const logger = new DiagConsoleLogger();
diag.setLogger(
  { ...Object.fromEntries(['verbose', 'debug', 'info', 'warn'].map((level) => [level, (...all) => logger[level](...all)])),
    error: (...all) => { failures += 1; logger.error(...all); } },
  DiagLogLevel.WARN,
);

function exporters(protocol, address, gzip) {
  const [traces, metrics, logs] = MODULES[protocol];
  const compression = gzip ? CompressionAlgorithm.GZIP : CompressionAlgorithm.NONE;
  const options = (signal) => (protocol === 'grpc'
    ? { url: `http://${address}`, credentials: credentials.createInsecure(), compression }
    : { url: `http://${address}/v1/${signal}`, compression });
  return [
    new traces.OTLPTraceExporter(options('traces')),
    new metrics.OTLPMetricExporter(options('metrics')),
    new logs.OTLPLogExporter(options('logs')),
  ];
}

async function send(client, count, [spans, metrics, logs]) {
  const resource = resourceFromAttributes({ client, 'service.name': 'sdk' });
  const batch = { maxExportBatchSize: 64, maxQueueSize: 4096 };
  const tracers = new NodeTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(spans, batch)] });
  const loggers = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter: logs, ...batch })] });
  const reader = new PeriodicExportingMetricReader({ exporter: metrics });
  const meters = new MeterProvider({ resource, readers: [reader] });
  const tracer = tracers.getTracer('scope', '1.2.3');
  const records = loggers.getLogger('scope', '1.2.3');
  const meter = meters.getMeter('scope', '1.2.3');
  const counter = meter.createCounter('sdk.counter', { unit: '1', description: 'counts' });
  const updown = meter.createUpDownCounter('sdk.updown');
  const histogram = meter.createHistogram('sdk.histogram', { unit: 'ms' });
  const gauge = meter.createGauge('sdk.gauge');
  let before;
  for (let n = 1; n <= count; n += 1) {
    const parent = n % 2 === 0 ? trace.setSpan(ROOT_CONTEXT, before) : ROOT_CONTEXT;
    const links = n % 10 === 0 ? [{ context: before.spanContext(), attributes: { seq: n } }] : [];
    const attributes = {
      seq: n, text: `täxt-${n}`, flag: n % 2 === 0, ratio: n + 0.5, texts: ['a', 'b'], numbers: [1, 2],
    };
    const span = tracer.startSpan(`span-${n}`, { kind: KINDS[n % 5], attributes, links }, parent);
    span.addEvent(`event-${n}`, { seq: n });
    if (n % 3 === 0) span.setStatus({ code: SpanStatusCode.ERROR, message: `failed ${n}` });
    records.emit({
      timestamp: [1_700_000_000, n],
      severityNumber: SeverityNumber.WARN,
      severityText: 'WARN',
      body: `log-${n}`,
      attributes: { seq: n, text: `täxt-${n}` },
      context: trace.setSpan(ROOT_CONTEXT, span),
    });
    span.end();
    before = span;
    const seq = { seq: n };
    counter.add(n, seq);
    updown.add(-n, seq);
    histogram.record(n, seq);
    histogram.record(2 * n, seq);
    gauge.record(n + 0.25, seq);
  }
  for (const provider of [tracers, loggers, meters]) {
    await provider.forceFlush();
    await provider.shutdown();
  }
}

const [grpcAddress, httpAddress, count] = process.argv.slice(2);
for (const protocol of ['grpc', 'http', 'json']) {
  for (const gzip of [false, true]) {
    const client = `node-${protocol}-${gzip ? 'gzip' : 'none'}`;
    const address = protocol === 'grpc' ? grpcAddress : httpAddress;
    await send(client, Number(count), exporters(protocol, address, gzip));
  }
}
process.exit(failures === 0 ? 0 : 1);
