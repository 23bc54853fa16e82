#!/usr/bin/env bash
# Gives the worker pool bursts of jobs, and says where to look.
# usage: load.sh [BURSTS [JOBS]]
set -euo pipefail
bursts="${1:-10}"
jobs="${2:-200}"
pool="${POOL:-http://127.0.0.1:8080}"
collector="${COLLECTOR:-http://127.0.0.1:12345}"

curl -fsS "$pool/health" >/dev/null || { echo "the worker pool does not answer at $pool: is it up? (docker compose ps)" >&2; exit 1; }
for burst in $(seq "$bursts"); do
  # A full queue answers 503; that is load too.
  answer="$(curl -sS -X POST "$pool/jobs?n=$jobs")"
  echo "burst $burst: $answer"
  sleep 3
done

echo
echo "What the collector has handed to each back end:"
curl -fsS "$collector/metrics" | awk '
  /^prometheus_remote_storage_samples_total[{ ]/ { samples += $NF }
  /^loki_write_sent_entries_total[{ ]/           { lines += $NF }
  /^otelcol_exporter_sent_spans_total[{ ]/       { spans += $NF }
  /^pyroscope_write_sent_profiles_total[{ ]/     { profiles += $NF }
  END { printf "  %d samples, %d lines, %d spans, %d profiles\n", samples, lines, spans, profiles }'
cat <<TEXT

Where to look:
  http://127.0.0.1:3000/d/worker-pool   the pool: metrics, log, traces and profiles on one page
  http://127.0.0.1:3000/d/go-runtime    its Go runtime
  http://127.0.0.1:3000/d/ferroalloy    the collector: what waits, what is sent, what is wrong
  $collector/metrics                    the collector's own page
TEXT
