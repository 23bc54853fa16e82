package main

import (
	"net/http"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
)

// The values of status. A refused job found no room in the queue.
const (
	statusOK      = "ok"
	statusError   = "error"
	statusRefused = "refused"
)

// metrics are those of the pool and of the Go runtime, on a registry of their own: nothing that some library has
// registered globally comes along.
type metrics struct {
	registry *prometheus.Registry
	jobs     *prometheus.CounterVec
	duration prometheus.Histogram
	active   prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobs_total",
			Help: "Jobs by what became of them.",
		}, []string{"status"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "job_duration_seconds",
			Help:    "How long jobs took, without the time in the queue.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 13),
		}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "workers_active",
			Help: "Workers that have a job at the moment.",
		}),
	}
	// All series are there from the start, so that a first error is an increase.
	for _, status := range []string{statusOK, statusError, statusRefused} {
		m.jobs.WithLabelValues(status)
	}
	m.registry.MustRegister(
		m.jobs, m.duration, m.active,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
			collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/(cgo|cpu|gc|memory|sched|sync)/.*`)},
		)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	return m
}

// watchQueue shows how many jobs wait.
func (m *metrics) watchQueue(depth func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "jobs_queue_depth",
		Help: "Jobs that wait for a worker.",
	}, func() float64 { return float64(depth()) }))
}

// finished counts a job; its duration carries the trace as an exemplar.
func (m *metrics) finished(status string, duration time.Duration, span trace.SpanContext) {
	m.jobs.WithLabelValues(status).Inc()
	observer := m.duration.(prometheus.ExemplarObserver)
	if span.IsSampled() {
		observer.ObserveWithExemplar(duration.Seconds(), prometheus.Labels{"trace_id": span.TraceID().String()})
	} else {
		m.duration.Observe(duration.Seconds())
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, EnableOpenMetrics: true})
}
