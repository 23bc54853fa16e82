#!/usr/bin/env bash
# Writes lines to the journal, and shows what the service has read and sent.
# usage: look.sh [LINES]
set -euo pipefail
lines="${1:-100}"
collector="${COLLECTOR:-http://127.0.0.1:12345}"
own() { curl -fsS "$collector/metrics" | awk -v name="$1" '$0 ~ "^" name "[{ ]" { sum += $NF } END { print sum + 0 }'; }
curl -fsS "$collector/-/ready" >/dev/null || {
  echo "the service does not answer at $collector: systemctl status ferroalloy; journalctl -u ferroalloy" >&2
  exit 1
}

before="$(own loki_source_journal_target_lines_total)"
for n in $(seq "$lines"); do echo "a line for the collector, number $n"; done | logger -t look
for _ in $(seq 30); do
  read_lines=$(($(own loki_source_journal_target_lines_total) - before))
  [ "$read_lines" -ge "$lines" ] && break
  sleep 1
done
echo "lines of the journal read meanwhile: $read_lines (of $lines that were written here)"
echo "handed to the back ends: $(own loki_write_sent_entries_total) lines, $(own prometheus_remote_storage_samples_total) samples"
echo "waiting: $(own loki_write_queue_entries) lines, $(own prometheus_remote_storage_samples_pending) samples"
echo
echo "Where to look:"
echo "  journalctl -u ferroalloy -f                what it says"
echo "  $collector/metrics                         its own metrics"
echo "  $collector/api/v0/web/components           its components and their health"
