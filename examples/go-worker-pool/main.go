// Command go-worker-pool fetches URLs with a fixed number of workers and gives all four signals about it:
// Prometheus metrics, a structured log, OpenTelemetry spans and pprof profiles.
//
// Jobs come from a generator (-rate) and from POST /jobs?n=10. Without -url the program fetches from a small
// server of its own, which is slow now and then and fails every tenth job, so that there is something to see.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	listen    string
	workers   int
	queue     int
	rate      float64
	url       string
	logFile   string
	otlp      string
	pyroscope string
	grace     time.Duration
}

func parse(arguments []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("go-worker-pool", flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address of /health, /metrics, /jobs and /debug/pprof")
	flags.IntVar(&o.workers, "workers", 4, "how many jobs run at a time")
	flags.IntVar(&o.queue, "queue", 256, "how many jobs may wait")
	flags.Float64Var(&o.rate, "rate", 20, "jobs a second that the program gives itself; 0: none")
	flags.StringVar(&o.url, "url", "", "what jobs fetch; empty: a server of this program's own")
	flags.StringVar(&o.logFile, "log-file", "worker-pool.log", "file of the log, besides standard error; empty: none")
	flags.StringVar(&o.otlp, "otlp", "127.0.0.1:4317", "address of an OTLP receiver (gRPC) for spans; empty: none")
	flags.StringVar(&o.pyroscope, "pyroscope", "", "URL that profiles are pushed to; empty: they are only served")
	flags.DurationVar(&o.grace, "grace", 10*time.Second, "how long waiting jobs may take after a signal to stop")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.workers < 1:
		return o, fmt.Errorf("-workers is %d: at least one is needed", o.workers)
	case o.queue < 1:
		return o, fmt.Errorf("-queue is %d: at least one job has to fit", o.queue)
	case o.rate < 0 || o.rate > 1e6:
		return o, fmt.Errorf("-rate is %g: it has to be from 0 to 1000000", o.rate)
	}
	return o, nil
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-worker-pool:", err)
		os.Exit(1)
	}
}

// run works until ctx ends, then lets waiting jobs finish and sends what is left of spans and profiles.
func run(ctx context.Context, o options) (err error) {
	log, closeLog, err := newLog(o.logFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()

	tracer, flushSpans, err := newTracer(ctx, o.otlp, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, flushSpans()) }()

	// Without these rates the mutex and block profiles stay empty. One in so many events keeps the cost low.
	runtime.SetMutexProfileFraction(100)
	runtime.SetBlockProfileRate(100_000)
	stopProfiles, err := pushProfiles(o.pyroscope, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopProfiles()) }()

	url := o.url
	if url == "" {
		origin, err := startOrigin()
		if err != nil {
			return err
		}
		defer origin.Close()
		url = origin.URL + "/work"
	}

	metrics := newMetrics()
	pool := newPool(poolConfig{workers: o.workers, queue: o.queue, url: url}, metrics, log, tracer)
	metrics.watchQueue(pool.depth)

	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: routes(pool, metrics), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	pool.start()
	log.Info("ready", "address", listener.Addr().String(), "workers", o.workers, "url", url)
	generating := make(chan struct{})
	go func() { defer close(generating); generate(ctx, pool, o.rate) }()

	select {
	case <-ctx.Done():
	case err = <-served:
		return fmt.Errorf("serving HTTP: %w", err)
	}
	<-generating
	log.Info("stopping", "waiting", pool.depth())
	if left := pool.stop(o.grace); left > 0 {
		log.Warn("jobs were not finished in time", "jobs", left, "grace", o.grace.String())
	}
	// Last, so that a scrape may still see the counters of the last jobs.
	closing, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if server.Shutdown(closing) != nil {
		server.Close()
	}
	log.Info("stopped", "jobs", pool.done())
	return nil
}

// generate offers jobs at a steady rate. One for which there is no room is left out and counted.
func generate(ctx context.Context, pool *pool, rate float64) {
	if rate == 0 {
		return
	}
	ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			pool.offer()
		}
	}
}

// newLog writes JSON lines to standard error and to the end of a file.
func newLog(path string) (*slog.Logger, func() error, error) {
	stderr := slog.NewJSONHandler(os.Stderr, nil)
	if path == "" {
		return slog.New(stderr), func() error { return nil }, nil
	}
	// Appending is what a rotation that copies and truncates needs.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, err
	}
	return slog.New(slog.NewMultiHandler(stderr, slog.NewJSONHandler(file, nil))), file.Close, nil
}
