// Sends numbered spans, data points and log records with OpenTelemetry's own SDK, by every protocol that it has.
//
//	send HOST:PORT-OF-GRPC HOST:PORT-OF-HTTP COUNT
//
// What item n looks like is written in tests/src/otlp/sdk.rs, which checks it.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

var kinds = []trace.SpanKind{
	trace.SpanKindInternal, trace.SpanKindServer, trace.SpanKindClient, trace.SpanKindProducer, trace.SpanKindConsumer,
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type exporters struct {
	spans   *otlptrace.Exporter
	metrics sdkmetric.Exporter
	logs    sdklog.Exporter
}

func overGRPC(ctx context.Context, address string, gzip bool) exporters {
	spans := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(address), otlptracegrpc.WithInsecure()}
	metrics := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpoint(address), otlpmetricgrpc.WithInsecure()}
	logs := []otlploggrpc.Option{otlploggrpc.WithEndpoint(address), otlploggrpc.WithInsecure()}
	if gzip {
		spans = append(spans, otlptracegrpc.WithCompressor("gzip"))
		metrics = append(metrics, otlpmetricgrpc.WithCompressor("gzip"))
		logs = append(logs, otlploggrpc.WithCompressor("gzip"))
	}
	return exporters{
		must(otlptracegrpc.New(ctx, spans...)),
		must(otlpmetricgrpc.New(ctx, metrics...)),
		must(otlploggrpc.New(ctx, logs...)),
	}
}

func overHTTP(ctx context.Context, address string, gzip bool) exporters {
	spans := []otlptracehttp.Option{otlptracehttp.WithEndpoint(address), otlptracehttp.WithInsecure()}
	metrics := []otlpmetrichttp.Option{otlpmetrichttp.WithEndpoint(address), otlpmetrichttp.WithInsecure()}
	logs := []otlploghttp.Option{otlploghttp.WithEndpoint(address), otlploghttp.WithInsecure()}
	if gzip {
		spans = append(spans, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
		metrics = append(metrics, otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
		logs = append(logs, otlploghttp.WithCompression(otlploghttp.GzipCompression))
	}
	return exporters{
		must(otlptracehttp.New(ctx, spans...)),
		must(otlpmetrichttp.New(ctx, metrics...)),
		must(otlploghttp.New(ctx, logs...)),
	}
}

func send(ctx context.Context, client string, count int, out exporters) {
	described := resource.NewSchemaless(attribute.String("client", client), attribute.String("service.name", "sdk"))
	tracers := sdktrace.NewTracerProvider(
		sdktrace.WithResource(described),
		sdktrace.WithBatcher(out.spans, sdktrace.WithMaxExportBatchSize(64), sdktrace.WithMaxQueueSize(4096)),
	)
	loggers := sdklog.NewLoggerProvider(
		sdklog.WithResource(described),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(out.logs, sdklog.WithExportMaxBatchSize(64), sdklog.WithMaxQueueSize(4096))),
	)
	meters := sdkmetric.NewMeterProvider(
		sdkmetric.WithResource(described),
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(out.metrics)),
	)
	tracer := tracers.Tracer("scope", trace.WithInstrumentationVersion("1.2.3"))
	logger := loggers.Logger("scope", log.WithInstrumentationVersion("1.2.3"))
	meter := meters.Meter("scope", metric.WithInstrumentationVersion("1.2.3"))
	counter := must(meter.Int64Counter("sdk.counter", metric.WithUnit("1"), metric.WithDescription("counts")))
	updown := must(meter.Int64UpDownCounter("sdk.updown"))
	histogram := must(meter.Float64Histogram("sdk.histogram", metric.WithUnit("ms")))
	gauge := must(meter.Float64Gauge("sdk.gauge"))
	before := ctx
	for n := 1; n <= count; n++ {
		parent := ctx
		if n%2 == 0 {
			parent = before
		}
		options := []trace.SpanStartOption{
			trace.WithSpanKind(kinds[n%5]),
			trace.WithAttributes(
				attribute.Int("seq", n),
				attribute.String("text", fmt.Sprintf("täxt-%d", n)),
				attribute.Bool("flag", n%2 == 0),
				attribute.Float64("ratio", float64(n)+0.5),
				attribute.StringSlice("texts", []string{"a", "b"}),
				attribute.IntSlice("numbers", []int{1, 2}),
			),
		}
		if n%10 == 0 {
			link := trace.Link{
				SpanContext: trace.SpanContextFromContext(before),
				Attributes:  []attribute.KeyValue{attribute.Int("seq", n)},
			}
			options = append(options, trace.WithLinks(link))
		}
		within, span := tracer.Start(parent, fmt.Sprintf("span-%d", n), options...)
		span.AddEvent(fmt.Sprintf("event-%d", n), trace.WithAttributes(attribute.Int("seq", n)))
		if n%3 == 0 {
			span.SetStatus(codes.Error, fmt.Sprintf("failed %d", n))
		}
		var record log.Record
		record.SetTimestamp(time.Unix(0, 1_700_000_000_000_000_000+int64(n)))
		record.SetSeverity(log.SeverityWarn)
		record.SetSeverityText("WARN")
		record.SetBody(attribute.StringValue(fmt.Sprintf("log-%d", n)))
		record.AddAttributes(attribute.Int("seq", n), attribute.String("text", fmt.Sprintf("täxt-%d", n)))
		logger.Emit(within, record)
		span.End()
		before = within
		seq := metric.WithAttributes(attribute.Int("seq", n))
		counter.Add(ctx, int64(n), seq)
		updown.Add(ctx, int64(-n), seq)
		histogram.Record(ctx, float64(n), seq)
		histogram.Record(ctx, float64(2*n), seq)
		gauge.Record(ctx, float64(n)+0.25, seq)
	}
	check(tracers.Shutdown(ctx))
	check(loggers.Shutdown(ctx))
	check(meters.Shutdown(ctx))
}

func main() {
	if len(os.Args) != 4 {
		check(fmt.Errorf("usage: send HOST:PORT-OF-GRPC HOST:PORT-OF-HTTP COUNT"))
	}
	failed := false
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		fmt.Fprintln(os.Stderr, err)
		failed = true
	}))
	ctx := context.Background()
	count := must(strconv.Atoi(os.Args[3]))
	for _, gzip := range []bool{false, true} {
		word := "none"
		if gzip {
			word = "gzip"
		}
		send(ctx, "go-grpc-"+word, count, overGRPC(ctx, os.Args[1], gzip))
		send(ctx, "go-http-"+word, count, overHTTP(ctx, os.Args[2], gzip))
	}
	if failed {
		os.Exit(1)
	}
}
