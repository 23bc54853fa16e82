//! Everything about the queue of a signal that follows from the configuration, without I/O.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use component::BuildCx;
use delivery::{Config, DiskConfig, Fsync, OnFull};

use super::carrier::Carrier;
use crate::exporter::args::{RetryOnFailure, SendingQueue, Sizer};
use crate::signals::Kind;
use crate::storage::file::Folder;

/// No limit: longer than any program runs. What waits is bounded by the queue's size, and gives up by
/// `max_elapsed_time` from its first attempt on.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// What a queue on disk keeps in memory as well, so that it need not be read back.
const HOT_BYTES: u64 = 32 << 20;
/// The bound in bytes of a queue on disk whose size counts requests or items.
const DISK_BYTES: u64 = 32 << 30;

/// The queue of a signal of one back end.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Tells queues apart across reloads. Without a queue it is another one: what is queued stays where it is
    /// until it has been sent.
    key: String,
    /// What people call it.
    title: String,
    /// The back end, where there are several; empty where there is one.
    pub backend: Arc<str>,
    pub kind: Kind,
    pub config: Config,
    /// Whether there is a queue; otherwise senders wait for the answer.
    pub queued: bool,
    /// Where the queue is kept, if it is on disk.
    pub folder: Option<Folder>,
    /// Whether a failed request is tried again.
    pub retries: bool,
    pub give_up_after: Option<Duration>,
    pub sizer: Sizer,
    pub capacity: u64,
    pub joining: Option<Joining>,
    pub carrier: Arc<dyn Carrier>,
}

/// Joining of what waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Joining {
    pub sizer: Sizer,
    pub enough: u64,
    /// Items of the largest request.
    pub most_items: Option<usize>,
}

impl delivery::Plan for Plan {
    fn key(&self) -> &str {
        &self.key
    }

    fn name(&self) -> &str {
        &self.title
    }

    fn on_disk(&self) -> bool {
        self.config.disk.is_some()
    }
}

/// What the arguments say of the queues of all signals.
#[derive(Clone)]
pub(crate) struct Queueing {
    pub queue: SendingQueue,
    pub retry: RetryOnFailure,
    /// How long one request may take.
    pub timeout: Duration,
    /// Most requests at once, if there is such a limit.
    pub most_at_once: Option<usize>,
}

impl Queueing {
    /// The plan of a signal.
    pub(crate) fn plan(&self, kind: Kind, backend: &str, carrier: Arc<dyn Carrier>, cx: &BuildCx) -> Plan {
        let queue = &self.queue;
        let not_queued = if queue.enabled { "" } else { ", not queued" };
        let folder = queue.storage.as_ref().and_then(|handler| handler.folder()).cloned();
        let joining = queue.batch.as_ref().map(|batch| Joining {
            sizer: batch.sizer(),
            enough: batch.min_size.max(1) as u64,
            most_items: usize::try_from(batch.max_size).ok().filter(|most| *most > 0),
        });
        let path = folder.as_ref().map(|folder| folder.of(&client_name(cx.id(), backend, kind)));
        Plan {
            key: format!("{backend} {}{not_queued}", kind.name()),
            title: format!("{backend} {}", kind.name()).trim_start().to_owned(),
            backend: backend.into(),
            kind,
            config: self.config(path, folder.as_ref()),
            queued: queue.enabled,
            folder,
            retries: self.retry.enabled,
            give_up_after: self.retry.give_up_after(),
            sizer: queue.sizer(),
            capacity: queue.queue_size as u64,
            joining,
            carrier,
        }
    }

    fn config(&self, path: Option<PathBuf>, folder: Option<&Folder>) -> Config {
        let queue = &self.queue;
        let (bytes, max_items, max_records) = bounds(queue);
        let (backoff, growth) = self.retry.backoff();
        let (batch_items, batch_bytes, batch_wait) = match &queue.batch {
            // One request of the queue is one of the back end.
            None => (1, u64::MAX, Duration::ZERO),
            Some(batch) => {
                let enough = batch.min_size.max(1) as u64;
                match batch.sizer() {
                    Sizer::Bytes => (u64::MAX, enough, batch.flush_timeout),
                    _ => (enough, u64::MAX, batch.flush_timeout),
                }
            }
        };
        let disk = path.map(|path| DiskConfig {
            max_bytes: bytes.unwrap_or(DISK_BYTES),
            fsync: match folder.is_some_and(Folder::fsync) {
                true => Fsync::Always,
                false => Fsync::Interval(Duration::from_secs(1)),
            },
            ..DiskConfig::new(path)
        });
        let senders = (queue.num_consumers as usize).min(self.most_at_once.unwrap_or(usize::MAX));
        Config {
            memory_bytes: if disk.is_some() { HOT_BYTES } else { bytes.unwrap_or(u64::MAX >> 1) },
            memory_items: u64::MAX,
            disk,
            max_items,
            max_records,
            max_age: FOR_EVER,
            on_full: if queue.block_on_overflow { OnFull::Block } else { OnFull::Reject },
            min_senders: senders,
            max_senders: senders,
            lanes: senders,
            batch_items,
            batch_bytes,
            batch_wait,
            backoff,
            growth,
            max_attempts: (!self.retry.enabled).then_some(1),
            // Above what an attempt may take by itself: a request, and one more where it is redirected. Requests
            // that were joined are tried one by one within it as well.
            attempt_timeout: self.timeout.saturating_mul(2).saturating_add(Duration::from_secs(60)),
            ..Config::default()
        }
    }
}

/// Bytes, items and records that may wait.
fn bounds(queue: &SendingQueue) -> (Option<u64>, u64, usize) {
    let size = queue.queue_size as u64;
    match queue.sizer() {
        Sizer::Requests => (None, u64::MAX, size as usize),
        Sizer::Items => (None, size, usize::MAX),
        Sizer::Bytes => (Some(size), u64::MAX, usize::MAX),
    }
}

/// What a queue is called in a storage folder. It must stay the same: what waits there is found by it. No ID has the
/// sign between the parts, so that no component takes another's queue for its own.
fn client_name(id: &str, backend: &str, kind: Kind) -> String {
    match backend {
        "" => format!("{id}|{}", kind.name()),
        backend => format!("{id}|{backend}|{}", kind.name()),
    }
}

/// The back ends whose queues are in a folder.
pub(crate) fn kept_backends(folder: &Folder, id: &str) -> Vec<String> {
    let mut found: Vec<_> =
        folder.names().iter().filter_map(|name| backend_of(name, id)).map(str::to_owned).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The back end of a queue, if it is one of a component and of several back ends.
fn backend_of<'a>(name: &'a str, id: &str) -> Option<&'a str> {
    let (backend, kind) = name.strip_prefix(id)?.strip_prefix('|')?.rsplit_once('|')?;
    Kind::ALL.iter().any(|k| k.name() == kind).then_some(backend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_by_the_component_that_has_made_it_only() {
        let id = "otelcol.exporter.loadbalancing.a";
        let other = "otelcol.exporter.loadbalancing.a_b";
        let name = client_name(id, "[::1]:4317", Kind::Logs);
        assert_eq!(backend_of(&name, id), Some("[::1]:4317"));
        assert_eq!(backend_of(&name, other), None);
        assert_eq!(backend_of(&client_name(other, "b:1", Kind::Logs), id), None);
        assert_eq!(backend_of(&client_name(id, "", Kind::Logs), id), None);
    }
}
