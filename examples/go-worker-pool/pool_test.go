package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestEachJobHasItsSpanLineAndCount(t *testing.T) {
	origin, err := startOrigin()
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer(service)
	var lines bytes.Buffer
	metrics := newMetrics()
	pool := newPool(poolConfig{workers: 3, queue: 40, url: origin.URL}, metrics,
		slog.New(slog.NewJSONHandler(&lines, nil)), tracer)
	metrics.watchQueue(pool.depth)
	for range 40 {
		if !pool.offer() {
			t.Fatal("there is room for 40")
		}
	}
	if pool.offer() {
		t.Fatal("there is no room for one more")
	}
	pool.start()
	if left := pool.stop(time.Minute); left != 0 {
		t.Fatalf("%d jobs are left", left)
	}

	if n := len(spans.Ended()); n != 40 {
		t.Errorf("%d spans of 40 jobs", n)
	}
	levels := map[string]int{}
	for line := range strings.Lines(lines.String()) {
		var entry struct {
			Level   string `json:"level"`
			TraceID string `json:"trace_id"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || len(entry.TraceID) != 32 {
			t.Errorf("%v: %s", err, line)
		}
		levels[entry.Level]++
	}
	if levels["INFO"] != 36 || levels["ERROR"] != 4 {
		t.Errorf("lines: %v", levels)
	}
	page := get(t, routes(pool, metrics), "/metrics", http.StatusOK)
	for _, want := range []string{
		`jobs_total{status="ok"} 36`, `jobs_total{status="error"} 4`, `jobs_total{status="refused"} 1`,
		`job_duration_seconds_count 40`, `workers_active 0`, `jobs_queue_depth 0`,
		`go_goroutines `, `go_cgo_go_to_c_calls_calls_total `, `process_open_fds `,
	} {
		if !strings.Contains(page, "\n"+want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
}

func TestWhatIsNotFinishedInTimeIsTold(t *testing.T) {
	release := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer origin.Close()
	defer close(release)
	tracer := sdktrace.NewTracerProvider().Tracer(service)
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	pool := newPool(poolConfig{workers: 1, queue: 5, url: origin.URL}, newMetrics(), log, tracer)
	for range 5 {
		pool.offer()
	}
	pool.start()
	// The one that runs ends with an error, the four behind it are not begun.
	if left := pool.stop(0); left < 4 {
		t.Errorf("%d jobs are left", left)
	}
	if pool.offer() {
		t.Error("a stopped pool takes no job")
	}
	handler := routes(pool, pool.metrics)
	get(t, handler, "/health", http.StatusServiceUnavailable)
}

func TestAnOfferOfNonsenseIsRefused(t *testing.T) {
	pool := newPool(poolConfig{workers: 1, queue: 2}, newMetrics(), slog.New(slog.DiscardHandler), nil)
	handler := routes(pool, pool.metrics)
	for _, test := range []struct {
		n      string
		status int
	}{{"x", 400}, {"0", 400}, {"-1", 400}, {"10001", 400}, {"1", 202}, {"5", 202}, {"5", 503}} {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/jobs?n="+test.n, nil))
		if recorder.Code != test.status {
			t.Errorf("n=%s: %d %s", test.n, recorder.Code, recorder.Body)
		}
	}
	get(t, handler, "/health", http.StatusOK)
}

func TestTheCommandLineIsChecked(t *testing.T) {
	for _, line := range []string{"-workers=0", "-queue=0", "-rate=-1", "more"} {
		if _, err := parse([]string{line}); err == nil {
			t.Errorf("%s was taken", line)
		}
	}
	if _, err := parse(nil); err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, handler http.Handler, path string, status int) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	if recorder.Code != status {
		t.Errorf("%s: %d %s", path, recorder.Code, recorder.Body)
	}
	return recorder.Body.String()
}
