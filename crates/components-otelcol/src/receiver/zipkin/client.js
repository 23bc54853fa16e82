// Sends two spans with the `zipkin` package of npm (version 1 and 2 in JSON, as JSON_V1/JSON_V2) and two with
// OpenTelemetry's Zipkin exporter to ZIPKIN_URL. Needs zipkin, zipkin-transport-http, node-fetch@2,
// @opentelemetry/sdk-trace-node and @opentelemetry/exporter-zipkin; fails if an export fails.
"use strict";

const { BatchRecorder, Tracer, ExplicitContext, Annotation, jsonEncoder } = require("zipkin");
const { HttpLogger } = require("zipkin-transport-http");
const { NodeTracerProvider, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-node");
const { ZipkinExporter } = require("@opentelemetry/exporter-zipkin");
const { resourceFromAttributes } = require("@opentelemetry/resources");

const base = process.env.ZIPKIN_URL;

async function zipkin(path, encoder) {
  const logger = new HttpLogger({ endpoint: base + path, jsonEncoder: encoder, httpInterval: 50 });
  logger.on("error", (error) => {
    console.error(error);
    process.exitCode = 1;
  });
  const ctxImpl = new ExplicitContext();
  const tracer = new Tracer({ ctxImpl, recorder: new BatchRecorder({ logger }), localServiceName: "shop" });
  tracer.local("outer", () => {
    tracer.recordBinary("number", "5");
    tracer.scoped(() => {
      tracer.setId(tracer.createChildId());
      tracer.recordServiceName("shop");
      tracer.recordRpc("inner");
      tracer.recordAnnotation(new Annotation.ClientSend());
      tracer.recordAnnotation(new Annotation.ClientRecv());
    });
  });
  await new Promise((done) => setTimeout(done, 500));
}

async function opentelemetry() {
  const exporter = new ZipkinExporter({ url: `${base}/api/v2/spans` });
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ "service.name": "shop" }),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  });
  const tracer = provider.getTracer("test", "1");
  tracer.startActiveSpan("outer", (outer) => {
    tracer.startActiveSpan("inner", (inner) => {
      inner.addEvent("retry", { n: 2 });
      inner.setStatus({ code: 2, message: "broken" });
      inner.end();
    });
    outer.end();
  });
  await provider.forceFlush();
  await provider.shutdown();
}

(async () => {
  await zipkin("/api/v1/spans", jsonEncoder.JSON_V1);
  await zipkin("/api/v2/spans", jsonEncoder.JSON_V2);
  await opentelemetry();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
