#!/usr/bin/env bash
# Runs Prometheus and the collector, takes Prometheus away for a while, and shows that nothing is missing.
# Needs prometheus on PATH (Debian's package will do).
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v prometheus >/dev/null || { echo "prometheus is not on PATH" >&2; exit 1; }
out="$(mktemp -d)"
ferroalloy="${FERROALLOY:-}"
if [ -z "$ferroalloy" ]; then
  cargo build --release --bin ferroalloy
  ferroalloy="${CARGO_TARGET_DIR:-target}/release/ferroalloy"
fi
echo "global: {}" >"$out/prometheus.yml"
collector= server=
trap 'kill $collector $server 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$out"' EXIT
serve() {
  prometheus --web.enable-remote-write-receiver --config.file="$out/prometheus.yml" --storage.tsdb.path="$out/tsdb" \
    --web.listen-address=127.0.0.1:9090 >>"$out/prometheus.log" 2>&1 &
  server=$!
}
# scrapes SECONDS TIME: how many there are in the seconds before that time.
scrapes() {
  curl -fsS -G http://127.0.0.1:9090/api/v1/query --data-urlencode "time=$2" \
    --data-urlencode "query=count_over_time(node_load1{collector=\"ferroalloy\"}[$1s])" 2>/dev/null |
    sed -n 's/.*"value":\[[^,]*,"\([0-9]*\)".*/\1/p'
}
# The same, once there is one.
some_scrapes() {
  for _ in $(seq 60); do
    n="$(scrapes "$1" "${2:-$(date +%s)}" || true)"
    [ "${n:-0}" -gt 0 ] && { echo "$n"; return; }
    sleep 1
  done
  echo "nothing came within a minute:" >&2; tail -n 5 "$out/collector.log" >&2; exit 1
}

serve
"$ferroalloy" run --storage.path="$out/data" examples/remote-write/config.alloy >"$out/collector.log" 2>&1 &
collector=$!
echo "scrapes in Prometheus: $(some_scrapes 60)"
echo "Prometheus is stopped for 40 seconds; the collector is killed with -9 meanwhile and started again"
kill "$server"; wait "$server" || true
sleep 20
kill -9 "$collector"; wait "$collector" 2>/dev/null || true
"$ferroalloy" run --storage.path="$out/data" examples/remote-write/config.alloy >>"$out/collector.log" 2>&1 &
collector=$!
sleep 20
back="$(date +%s)"
serve
echo "scrapes of these 40 seconds in Prometheus: $(some_scrapes 40 "$back")"
echo
echo "Where to look while both run: http://127.0.0.1:9090 (node_load1), http://127.0.0.1:12345/metrics (what waits)"
