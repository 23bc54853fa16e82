#!/usr/bin/env bash
# Builds and runs the collector and the worker pool, gives the pool jobs, and shows what came of them.
# usage: run.sh [CONFIG]     CONFIG is print.alloy, which needs no server, or config.alloy
# Both go on running until Ctrl-C; with ONCE=1 the script ends them when it has shown everything.
set -euo pipefail
cd "$(dirname "$0")"
config="${1:-print.alloy}"
jobs="${JOBS:-200}"
mkdir -p run

ferroalloy="${FERROALLOY:-}"
if [ -z "$ferroalloy" ]; then
  (cd ../.. && cargo build --release --bin ferroalloy)
  ferroalloy="${CARGO_TARGET_DIR:-../../target}/release/ferroalloy"
fi
go build -o run/worker-pool .

rm -f run/worker-pool.log run/collector.out
export WORKER_POOL_LOG="$PWD/run/worker-pool.log"
# Printing spans is an experimental component.
"$ferroalloy" run --stability.level=experimental --storage.path=run/data "$config" >run/collector.out 2>run/collector.log &
collector=$!
pool=
# The pool first: what it sends last still arrives.
trap 'kill $pool 2>/dev/null && wait $pool || true; kill $collector 2>/dev/null && wait $collector || true' EXIT

# until TRIES COMMAND...
until_true() {
  local tries=$1; shift
  for _ in $(seq "$tries"); do
    if "$@"; then return 0; fi
    kill -0 "$collector" 2>/dev/null || { echo "the collector has ended:" >&2; tail -n 20 run/collector.log >&2; exit 1; }
    sleep 1
  done
  return 1
}
own() { curl -fsS http://127.0.0.1:12345/metrics | awk -v name="$1" '$0 ~ "^" name "[{ ]" { sum += $NF } END { print sum + 0 }'; }
ready() { curl -fsS http://127.0.0.1:12345/-/ready >/dev/null 2>&1; }
healthy() { curl -fsS http://127.0.0.1:8080/health >/dev/null 2>&1; }
until_true 30 ready || { echo "the collector is not ready: run/collector.log" >&2; exit 1; }
run/worker-pool -log-file "$WORKER_POOL_LOG" -rate 5 2>run/worker-pool.err &
pool=$!
until_true 30 healthy || { echo "the worker pool is not healthy: run/worker-pool.err" >&2; exit 1; }

echo "jobs: $(curl -fsS -X POST "http://127.0.0.1:8080/jobs?n=$jobs")"
echo "waiting for a scrape, a look for new log files, and a profile …"
# Of each signal something that the collector has taken.
all_four() {
  [ "$(own prometheus_forwarded_samples_total)" -gt 0 ] && [ "$(own loki_source_file_read_lines_total)" -gt 0 ] &&
    [ "$(own otelcol_receiver_accepted_spans_total)" -gt 0 ] && [ "$(own pyroscope_forwarded_profiles_total)" -gt 0 ]
}
until_true 60 all_four || echo "not all of them have come: run/collector.log may say why"

if [ "$config" = print.alloy ]; then
  sleep 1
  echo; echo "== metrics"; grep '^jobs_total{' run/collector.out | tail -n 3 || true
  echo; echo "== log"; grep '"job done"' run/collector.out | tail -n 2 || true
  echo; echo "== spans"; grep -m 1 -B 3 -A 14 process_job run/collector.out || true
  echo; echo "== profiles: $(own pyroscope_forwarded_profiles_total)"
  echo; echo "Everything that was printed: run/collector.out"
else
  echo; echo "handed to the back ends:"
  echo "  metrics   $(own prometheus_remote_storage_samples_total) samples"
  echo "  log       $(own loki_write_sent_entries_total) lines"
  echo "  spans     $(own otelcol_exporter_sent_spans_total)"
  echo "  profiles  $(own pyroscope_write_sent_profiles_total)"
  echo "nothing there? run/collector.log says which back end does not answer"
fi
cat <<TEXT

Where to look:
  http://127.0.0.1:8080/metrics        what the program says about itself
  http://127.0.0.1:8080/debug/pprof/   its profiles
  http://127.0.0.1:12345/metrics       what the collector says about itself
TEXT
if [ -z "${ONCE:-}" ]; then
  echo "Ctrl-C ends both."
  wait "$pool"
fi
