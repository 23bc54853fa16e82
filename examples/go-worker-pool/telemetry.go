package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/grafana/pyroscope-go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// service is the name of this program in all signals.
const service = "worker-pool"

// newTracer sends spans to an OTLP receiver. What is returned besides sends what is still held and ends.
func newTracer(ctx context.Context, address string, log *slog.Logger) (trace.Tracer, func() error, error) {
	if address == "" {
		return noop.NewTracerProvider().Tracer(service), func() error { return nil }, nil
	}
	// The SDK would print to standard error in a format of its own.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("spans could not be sent", "error", err.Error())
	}))
	// Within one host; beyond it TLS is configured by OTEL_EXPORTER_OTLP_CERTIFICATE and so on.
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(address), otlptracegrpc.WithInsecure())
	if err != nil {
		return nil, nil, fmt.Errorf("OTLP: %w", err)
	}
	// Names and attributes of the environment (OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME) win.
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", service)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, nil, fmt.Errorf("resource of spans: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(time.Second)),
		sdktrace.WithResource(about),
	)
	flush := func() error {
		// Not the context of the program: that has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("spans are lost", "error", err.Error())
		}
		return nil
	}
	return provider.Tracer(service), flush, nil
}

// pushProfiles pushes profiles to a Pyroscope, or to a collector that takes its protocol. Without a URL nothing is
// pushed: a collector may fetch from /debug/pprof instead.
func pushProfiles(url string, log *slog.Logger) (func() error, error) {
	if url == "" {
		return func() error { return nil }, nil
	}
	profiler, err := pyroscope.Start(pyroscope.Config{
		ApplicationName: service,
		ServerAddress:   url,
		Logger:          pyroscopeLog{log},
		// Below Pyroscope's usual 15 seconds, so that an example shows something soon.
		UploadRate: 5 * time.Second,
		ProfileTypes: []pyroscope.ProfileType{
			pyroscope.ProfileCPU,
			pyroscope.ProfileAllocObjects, pyroscope.ProfileAllocSpace,
			pyroscope.ProfileInuseObjects, pyroscope.ProfileInuseSpace,
			pyroscope.ProfileGoroutines,
			pyroscope.ProfileMutexCount, pyroscope.ProfileMutexDuration,
			pyroscope.ProfileBlockCount, pyroscope.ProfileBlockDuration,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	return profiler.Stop, nil
}

// pyroscopeLog says in our log what the profiler has to say; its small talk is left out.
type pyroscopeLog struct{ log *slog.Logger }

func (l pyroscopeLog) Infof(string, ...any)  {}
func (l pyroscopeLog) Debugf(string, ...any) {}
func (l pyroscopeLog) Errorf(format string, a ...any) {
	l.log.Warn("profiles could not be sent", "error", fmt.Sprintf(format, a...))
}
