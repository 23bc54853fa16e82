//! One attempt, in a task of its own: read back what is on disk only, then send.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use crate::{
    Outcome, Record,
    engine::{Ended, Job, Source},
    fs::Fs,
    log::{self, Position},
};

/// Makes the attempt. Never fails: what goes wrong is part of the answer.
pub(crate) async fn attempt(job: Job, fs: Option<Arc<dyn Fs>>, limit: Duration) -> Ended {
    let began = Instant::now();
    let mut ended = Ended::default();
    match load(job.sources, fs, &mut ended).await {
        Err(error) => {
            let message = format!("cannot read a queued record back: {error}");
            ended.outcome = Some(Outcome::Retry { reason: "disk", message, after: None, limited: false });
        }
        Ok(records) if records.is_empty() => {}
        Ok(records) => {
            ended.newest_ms = records.iter().map(|record| record.newest_ms).max();
            let sent = timeout(limit, job.transport.send(&records, job.attempt)).await;
            ended.outcome = Some(sent.unwrap_or_else(|_| Outcome::Retry {
                reason: "timeout",
                message: format!("no answer within {limit:?}"),
                after: None,
                limited: false,
            }));
        }
    }
    ended.seconds = began.elapsed().as_secs_f64();
    ended
}

/// Brings all records into memory, in order; those that are not intact are left out and named in `ended`.
async fn load(sources: Vec<Source>, fs: Option<Arc<dyn Fs>>, ended: &mut Ended) -> io::Result<Vec<Record>> {
    let on_disk: Vec<Position> = sources
        .iter()
        .filter_map(|source| match source {
            Source::Disk(position) => Some(*position),
            Source::Memory(_) => None,
        })
        .collect();
    if let (false, Some(fs)) = (on_disk.is_empty(), fs) {
        let read = read_all(fs, on_disk).await?;
        for (sequence, record) in read {
            match record {
                Some(record) => ended.loaded.push((sequence, record)),
                None => ended.damaged.push(sequence),
            }
        }
    }
    let mut loaded = ended.loaded.iter().peekable();
    let records = sources.into_iter().filter_map(|source| match source {
        Source::Memory(record) => Some(record),
        Source::Disk(at) => {
            loaded.next_if(|(sequence, _)| *sequence == at.sequence).map(|(_, record)| record.clone())
        }
    });
    Ok(records.collect())
}

type Read = Vec<(u64, Option<Record>)>;

async fn read_all(fs: Arc<dyn Fs>, positions: Vec<Position>) -> io::Result<Read> {
    let slow = fs.sync_is_slow();
    let read = move || positions.iter().map(|at| Ok((at.sequence, log::read(&*fs, at)?))).collect();
    if slow { tokio::task::spawn_blocking(read).await.map_err(io::Error::other)? } else { read() }
}
