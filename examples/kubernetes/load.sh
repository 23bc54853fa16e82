#!/usr/bin/env bash
# Gives the worker pool of sidecar.yaml work, and says what its collector has handed on and where to look.
# usage: load.sh [JOBS]
set -euo pipefail
jobs="${1:-200}"
kubectl -n ferroalloy port-forward deployment/worker-pool 8080:8080 12345:12345 >/dev/null &
forward=$!
trap 'kill $forward 2>/dev/null || true' EXIT
for _ in $(seq 30); do curl -fsS http://127.0.0.1:12345/-/ready >/dev/null 2>&1 && break; sleep 1; done

own() { curl -fsS http://127.0.0.1:12345/metrics | awk -v name="$1" '$0 ~ "^" name "[{ ]" { sum += $NF } END { print sum + 0 }'; }
echo "jobs: $(curl -fsS -X POST "http://127.0.0.1:8080/jobs?n=$jobs")"
echo "waiting for two scrapes …"
sleep 35
echo "handed to the back ends:"
echo "  metrics   $(own prometheus_remote_storage_samples_total) samples"
echo "  log       $(own loki_write_sent_entries_total) lines"
echo "  spans     $(own otelcol_exporter_sent_spans_total)"
echo "  profiles  $(own pyroscope_write_sent_profiles_total)"
cat <<'TEXT'

Where to look:
  kubectl -n ferroalloy logs deployment/worker-pool -c ferroalloy     what the sidecar says
  kubectl -n ferroalloy logs daemonset/ferroalloy                     what the one on a node says
  kubectl -n ferroalloy port-forward daemonset/ferroalloy 12345       then http://127.0.0.1:12345/metrics
TEXT
