package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"
)

// routes are what the program serves.
func routes(pool *pool, metrics *metrics) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if pool.isStopped() {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", metrics.handler())
	mux.HandleFunc("POST /jobs", func(w http.ResponseWriter, r *http.Request) { accept(w, r, pool) })
	// By name: importing the package for its side effect would add them to a mux that anyone may serve.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// mostJobs is how many one request may ask for.
const mostJobs = 10_000

// accept puts n jobs into the queue and says how many there was room for: 202, or 503 if there was none.
func accept(w http.ResponseWriter, r *http.Request, pool *pool) {
	n := 1
	if text := r.URL.Query().Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > mostJobs {
			http.Error(w, fmt.Sprintf("n has to be a number from 1 to %d", mostJobs), http.StatusBadRequest)
			return
		}
	}
	accepted := 0
	for accepted < n && pool.offer() {
		accepted++
	}
	w.Header().Set("Content-Type", "application/json")
	if accepted == 0 {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	} else {
		w.WriteHeader(http.StatusAccepted)
	}
	// The client may be gone; the jobs are accepted all the same.
	_ = json.NewEncoder(w).Encode(map[string]int{"accepted": accepted, "asked": n})
}

// startOrigin serves what jobs fetch, on a free port of loopback: 64 KiB after a short while, a longer while for
// every seventh job, an error for every tenth.
func startOrigin() (origin *httptest.Server, err error) {
	// NewServer has no other way to say that there is no port.
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("starting the server that jobs fetch from: %v", reason)
		}
	}()
	page := strings.Repeat("worker pool ", 64<<10/12)
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.URL.Query().Get("job"), 10, 64)
		if err != nil {
			http.Error(w, "job has to be a number", http.StatusBadRequest)
			return
		}
		wait := time.Duration(5+id%20) * time.Millisecond
		if id%7 == 0 {
			wait += 100 * time.Millisecond
		}
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
		if id%10 == 0 {
			http.Error(w, "every tenth job fails", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, page)
	})), nil
}
