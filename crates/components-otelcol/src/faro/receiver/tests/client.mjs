// Posts an item of each kind with @grafana/faro-core of npm, which is the Faro Web SDK without a browser, to FARO_URL.
// The transport posts what the SDK's own would, and fails where it would give up.

import { initializeFaro, BaseTransport, getTransportBody, LogLevel } from "@grafana/faro-core";

class Post extends BaseTransport {
  name = "post";
  version = "1";
  sent = [];

  send(items) {
    const body = JSON.stringify(getTransportBody(Array.isArray(items) ? items : [items]));
    const headers = { "Content-Type": "application/json", "x-faro-session-id": "s" };
    this.sent.push(fetch(process.env.FARO_URL, { method: "POST", headers, body }));
  }

  isBatched() {
    return true;
  }
}

const transport = new Post();
const faro = initializeFaro({
  app: { name: "shop", version: "1", environment: "test" },
  instrumentations: [],
  transports: [transport],
  metas: [],
  parseStacktrace: (error) => ({
    frames: [{ filename: "http://shop/x.js", function: error.name, lineno: 1, colno: 5 }],
  }),
  batching: { enabled: false },
  dedupe: false,
  ignoreErrors: [],
  sessionTracking: { enabled: false },
  eventDomain: "browser",
  globalObjectKey: "faro",
  internalLoggerLevel: 0,
  isolate: true,
  paused: false,
  preventGlobalExposure: true,
  unpatchedConsole: console,
});
faro.api.pushLog(["hello"], { level: LogLevel.INFO, context: { a: "1" } });
faro.api.pushError(new TypeError("broken"));
faro.api.pushMeasurement({ type: "custom", values: { size: 2.5 } });
faro.api.pushEvent("click", { id: "7" });
faro.api.pushTraces({
  resourceSpans: [
    {
      resource: { attributes: [{ key: "service.name", value: { stringValue: "shop" } }] },
      scopeSpans: [
        {
          scope: { name: "test" },
          spans: [
            {
              traceId: "0102030405060708090a0b0c0d0e0f10",
              spanId: "0102030405060708",
              name: "fetch",
              kind: 3,
              startTimeUnixNano: "1",
              endTimeUnixNano: "2",
              attributes: [],
              events: [],
              links: [],
              status: { code: 0 },
            },
          ],
        },
      ],
    },
  ],
});
for (const response of await Promise.all(transport.sent)) {
  if (response.status !== 202) {
    console.error(response.status, await response.text());
    process.exitCode = 1;
  }
}
if (transport.sent.length < 5) {
  console.error(`only ${transport.sent.length} payloads were sent`);
  process.exitCode = 1;
}
