package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// job is one fetch.
type job struct {
	id  int64
	url string
}

type poolConfig struct {
	workers int
	queue   int
	// url is fetched with the query job=<id>.
	url string
}

// pool is a fixed number of workers behind a channel that holds a fixed number of jobs.
type pool struct {
	config  poolConfig
	metrics *metrics
	log     *slog.Logger
	tracer  trace.Tracer
	client  *http.Client
	jobs    chan job
	workers sync.WaitGroup
	// cancel ends fetches that are under way.
	cancel   context.CancelFunc
	ctx      context.Context
	finished atomic.Int64

	// mutex holds next and stopped together with what is in jobs, so that accepted jobs are numbered without gaps.
	mutex   sync.Mutex
	next    int64
	stopped bool
}

func newPool(config poolConfig, metrics *metrics, log *slog.Logger, tracer trace.Tracer) *pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &pool{
		config:  config,
		metrics: metrics,
		log:     log,
		tracer:  tracer,
		client:  &http.Client{Timeout: 5 * time.Second},
		jobs:    make(chan job, config.queue),
		ctx:     ctx,
		cancel:  cancel,
	}
}

func (p *pool) start() {
	for id := 1; id <= p.config.workers; id++ {
		p.workers.Go(func() { p.work(id) })
	}
}

// offer puts a job into the queue if there is room.
func (p *pool) offer() (accepted bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.stopped {
		return false
	}
	id := p.next + 1
	select {
	case p.jobs <- job{id: id, url: p.config.url + "?job=" + strconv.FormatInt(id, 10)}:
		p.next = id
		return true
	default:
		p.metrics.jobs.WithLabelValues(statusRefused).Inc()
		return false
	}
}

// stop takes no more jobs and waits for those that are there; how many were not finished within grace.
func (p *pool) stop(grace time.Duration) (left int64) {
	p.mutex.Lock()
	p.stopped = true
	close(p.jobs)
	accepted := p.next
	p.mutex.Unlock()
	timer := time.AfterFunc(grace, p.cancel)
	defer timer.Stop()
	p.workers.Wait()
	p.cancel()
	return accepted - p.finished.Load()
}

func (p *pool) depth() int { return len(p.jobs) }

func (p *pool) done() int64 { return p.finished.Load() }

func (p *pool) isStopped() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.stopped
}

func (p *pool) work(worker int) {
	// CPU profiles can be split by worker.
	labels := pprof.Labels("worker", strconv.Itoa(worker))
	pprof.Do(p.ctx, labels, func(ctx context.Context) {
		for job := range p.jobs {
			if ctx.Err() != nil {
				continue // the grace is over: the rest counts as not finished
			}
			p.process(ctx, worker, job)
		}
	})
}

// process is one job with all that is told about it: a span, a log line, a counter, a duration.
func (p *pool) process(ctx context.Context, worker int, job job) {
	ctx, span := p.tracer.Start(ctx, "process_job", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.Int("worker.id", worker),
		attribute.Int64("job.id", job.id),
		attribute.String("job.url", job.url),
	))
	defer span.End()
	p.metrics.active.Inc()
	defer p.metrics.active.Dec()

	start := time.Now()
	digest, err := p.fetch(ctx, job.url)
	duration := time.Since(start)

	about := []any{
		"job_id", job.id, "worker_id", worker, "url", job.url, "duration_ms", duration.Milliseconds(),
		"trace_id", span.SpanContext().TraceID().String(), "span_id", span.SpanContext().SpanID().String(),
	}
	status := statusOK
	if err != nil {
		status = statusError
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
		p.log.Error("job failed", append(about, "error", err.Error())...)
	} else {
		p.log.Info("job done", append(about, "digest", digest)...)
	}
	p.metrics.finished(status, duration, span.SpanContext())
	p.finished.Add(1)
}

// most is how much of an answer is read.
const most = 1 << 20

// fetch gets a URL and answers with a digest of what came.
func (p *pool) fetch(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(request.Header))
	answer, err := p.client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, most))
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("answered %s", answer.Status)
	}
	return digest(body), nil
}

// digest hashes what it hashed before, many times over: the work that shows in CPU profiles.
func digest(body []byte) string {
	sum := sha256.Sum256(body)
	for range 2000 {
		sum = sha256.Sum256(sum[:])
	}
	return fmt.Sprintf("%x", sum[:8])
}
