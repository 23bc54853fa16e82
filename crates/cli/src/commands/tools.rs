//! `ferroalloy tools`: a look into queues, and a strict look at exposition pages.

mod selector;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use signal::Labels;
use wire::compress::{Encoding, decompress};
use wire::remote_write::{Message, decode};

use crate::args::{RemoteWriteTool, Tool};
use selector::Selector;

/// What a record may be when it is decompressed.
const MOST_BYTES: usize = 256 << 20;

pub fn run(tool: &Tool) -> anyhow::Result<ExitCode> {
    match tool {
        Tool::OpenMetricsLint { file } => lint(file),
        Tool::RemoteWrite { command } => {
            let text = match command {
                RemoteWriteTool::Queue { folder } => wal_stats(folder)?,
                RemoteWriteTool::Samples { folder, selector } => {
                    sample_stats(folder, &Selector::parse(selector)?)?
                }
                RemoteWriteTool::Target { folder, job, instance } => target_stats(folder, job, instance)?,
            };
            super::print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn lint(file: &Path) -> anyhow::Result<ExitCode> {
    let page = super::read(file)?;
    let findings = wire::exposition::lint::lint(&page);
    let mut text = String::new();
    for finding in &findings {
        let _ = writeln!(text, "{}:{}: {}", file.display(), finding.line, finding.message);
    }
    super::print(&text)?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The queue folders below a component's folder, one an endpoint; or the folder itself.
fn queues(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let below = folder.join("queue");
    if !below.is_dir() {
        if folder.is_dir() {
            return Ok(vec![folder.to_path_buf()]);
        }
        bail!("{} is no folder: name <storage path>/<component id>", folder.display());
    }
    let entries = std::fs::read_dir(&below).with_context(|| below.display().to_string())?;
    let mut folders: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

fn wal_stats(folder: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    for queue in queues(folder)? {
        let found = delivery::inspect(&queue).with_context(|| queue.display().to_string())?;
        let _ = writeln!(text, "queue {}", queue.display());
        let _ = writeln!(
            text,
            "  waiting: {} records, {} samples, {} bytes",
            found.queued.records, found.queued.items, found.queued.bytes
        );
        let _ =
            writeln!(text, "  done below record {}, next record {}", found.done_below, found.next_sequence);
        let _ = writeln!(text, "  damaged: {} places, {} bytes", found.damaged_records, found.damaged_bytes);
        for segment in &found.segments {
            let _ = writeln!(
                text,
                "  {}: {} bytes, {} records, {} waiting",
                segment.name, segment.file_bytes, segment.stored.records, segment.queued.records
            );
        }
        for name in &found.set_aside {
            let _ = writeln!(text, "  set aside: {name}");
        }
    }
    Ok(text)
}

#[derive(Default)]
struct Stats {
    samples: u64,
    oldest_ms: i64,
    newest_ms: i64,
}

/// Samples that wait, by the series that `by` makes of their labels.
fn waiting(
    folder: &Path,
    mut by: impl FnMut(&Labels) -> Option<String>,
) -> anyhow::Result<BTreeMap<String, Stats>> {
    let mut all: BTreeMap<String, Stats> = BTreeMap::new();
    for queue in queues(folder)? {
        let found = delivery::inspect(&queue).with_context(|| queue.display().to_string())?;
        for stored in found.records() {
            let stored = stored.with_context(|| queue.display().to_string())?;
            // Kinds and layout are those of prometheus.remote_write: 12 bytes of counts, then snappy.
            let message = match stored.record.kind {
                1 => Message::V1,
                2 => Message::V2,
                _ => continue,
            };
            if stored.done {
                continue;
            }
            let mut body = Vec::new();
            decompress(
                Encoding::Snappy,
                stored.record.body.get(12..).unwrap_or_default(),
                MOST_BYTES,
                &mut body,
            )?;
            let received = decode(message, &body, MOST_BYTES)?;
            let batch = &received.batch;
            let points = batch.points.iter().map(|p| (p.series, p.timestamp_ms));
            for (series, timestamp_ms) in
                points.chain(batch.histograms.iter().map(|p| (&p.series, p.timestamp_ms)))
            {
                let Some(key) = by(&series.to_labels()) else { continue };
                let stats =
                    all.entry(key).or_insert(Stats { samples: 0, oldest_ms: i64::MAX, newest_ms: i64::MIN });
                stats.samples += 1;
                stats.oldest_ms = stats.oldest_ms.min(timestamp_ms);
                stats.newest_ms = stats.newest_ms.max(timestamp_ms);
            }
        }
    }
    Ok(all)
}

fn sample_stats(folder: &Path, selector: &Selector) -> anyhow::Result<String> {
    let all = waiting(folder, |labels| selector.matches(labels).then(|| labels.to_string()))?;
    let mut text = String::new();
    for (series, stats) in &all {
        let _ = writeln!(
            text,
            "{series}\n  samples {}, oldest {}, newest {}",
            stats.samples,
            time(stats.oldest_ms),
            time(stats.newest_ms)
        );
    }
    let _ = writeln!(text, "{} series, {} samples", all.len(), all.values().map(|s| s.samples).sum::<u64>());
    Ok(text)
}

fn target_stats(folder: &Path, job: &str, instance: &str) -> anyhow::Result<String> {
    let all = waiting(folder, |labels| {
        let is_target = labels.get("job") == Some(job) && labels.get("instance") == Some(instance);
        is_target.then(|| labels.metric_name().unwrap_or_default().to_string())
    })?;
    let mut rows: Vec<_> = all.iter().map(|(name, stats)| (stats.samples, name)).collect();
    rows.sort_by(|a, b| b.cmp(a));
    let mut text = String::new();
    for (samples, name) in &rows {
        let _ = writeln!(text, "{samples:>10}  {name}");
    }
    let _ = writeln!(text, "{} metrics, {} samples", rows.len(), rows.iter().map(|(s, _)| s).sum::<u64>());
    Ok(text)
}

fn time(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| milliseconds.to_string(), |t| t.to_string())
}
