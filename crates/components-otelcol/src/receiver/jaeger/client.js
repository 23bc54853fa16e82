// Sends two spans with the `jaeger-client` package of npm, over UDP (binary Thrift, to JAEGER_AGENT_PORT) or HTTP (to
// JAEGER_URL) as HOW says; fails if the reporter does.
"use strict";

const { initTracer } = require("jaeger-client");

const reporter =
  process.env.HOW === "udp"
    ? { agentHost: "127.0.0.1", agentPort: Number(process.env.JAEGER_AGENT_PORT) }
    : { collectorEndpoint: process.env.JAEGER_URL };
const fail = (message) => {
  console.error(message);
  process.exitCode = 1;
};
const tracer = initTracer(
  { serviceName: "shop", sampler: { type: "const", param: 1 }, reporter: { flushIntervalMs: 100, ...reporter } },
  { logger: { info() {}, error: fail }, tags: { version: "1" } },
);
const outer = tracer.startSpan("outer");
const inner = tracer.startSpan("inner", { childOf: outer });
inner.setTag("error", true);
inner.setTag("number", 2.5);
inner.log({ event: "retry", n: 2 });
inner.finish();
outer.finish();
tracer.close(() => process.exit());
