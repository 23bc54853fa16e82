#!/usr/bin/env bash
# Runs the quickstart for a while, gives this host something to do, and shows what came of it.
# usage: run.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds="${1:-20}"
out="$(mktemp -d)"
ferroalloy="${FERROALLOY:-}"
if [ -z "$ferroalloy" ]; then
  cargo build --release --bin ferroalloy
  ferroalloy="${CARGO_TARGET_DIR:-target}/release/ferroalloy"
fi

"$ferroalloy" run --storage.path="$out/data" examples/quickstart/config.alloy >"$out/metrics" 2>"$out/log" &
collector=$!
load=
trap 'kill $collector $load 2>/dev/null || true; rm -rf "$out"' EXIT

echo "One processor is busy for $seconds seconds; the collector looks every 15."
timeout "$seconds" sh -c 'while :; do :; done' &
load=$!
sleep "$seconds"
kill -0 "$collector" 2>/dev/null || { echo "the collector has ended:" >&2; cat "$out/log" >&2; exit 1; }

echo
echo "Load of this host, as the collector saw it:"
grep '^node_load1[{ ]' "$out/metrics" | tail -n 2
echo "Series of the last page: $(grep -c '^node_' "$out/metrics") values of node_*, $(grep -c '^alloy_' "$out/metrics") of alloy_*"
echo
echo "Where to look while it runs:"
echo "  http://127.0.0.1:12345/metrics                    its own metrics"
echo "  http://127.0.0.1:12345/api/v0/web/components      its components and their health"
