//! `loki.secretfilter` takes secrets out of log lines.
//!
//! Data path: each line of a batch → [`Detector`] → what it finds is replaced → `forward_to`, all in the
//! sender's task. A batch without secrets is passed on as it came.
//! Invariant: as long as its rules cannot be read, the component takes nothing in: no line passes unseen.

pub mod config;
pub mod detect;
mod metrics;
pub mod redact;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use component::eval::Invalid;
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RunCx, Stability,
};
use signal::logs::{Entry, LogBatch};
use signal::{Labels, LabelsBuilder, Logs};

use detect::{Detector, Scan};
use metrics::Counters;
use redact::{Redaction, redact};

/// What `label_timed_out` adds. As Alloy names it.
const TIMED_OUT: (&str, &str) = ("secretfilter", "timed-out");

/// `loki.secretfilter`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Where entries go.
    pub forward_to: Vec<Receiver<Logs>>,
    /// Label whose value is the `origin` of `loki_secretfilter_secrets_redacted_by_category_total`.
    #[arg(default)]
    pub origin_label: String,
    /// What stands in a secret's place; `$SECRET_NAME` is the rule's ID, `$SECRET_HASH` the secret's SHA-1.
    #[arg(default)]
    pub redact_with: String,
    /// Without `redact_with`: so many per cent of a secret are left out, the rest is shown. 0 is 80.
    #[arg(default = 80)]
    pub redact_percent: u64,
    /// File with rules in Gitleaks' format, in place of the built-in ones.
    #[arg(default)]
    pub gitleaks_config: String,
    /// Part of the entries that is looked at; the others are passed on as they are.
    #[arg(default = 1.0)]
    pub rate: f64,
    /// The longest that a line may take; 0: as long as it takes.
    #[arg(default)]
    pub processing_timeout: Duration,
    /// Drop lines that take longer, instead of passing them on with the secrets that were found in time
    /// taken out.
    #[arg(default)]
    pub drop_on_timeout: bool,
    /// Add the label `secretfilter="timed-out"` to lines that took longer and are passed on.
    #[arg(default)]
    pub label_timed_out: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if !(0.0..=1.0).contains(&self.rate) {
            return Err(Invalid::field("rate", "must be between 0 and 1"));
        }
        if self.redact_percent > 100 {
            return Err(Invalid::field("redact_percent", "must be between 1 and 100"));
        }
        Ok(())
    }

    fn redaction(&self) -> Redaction {
        let percent = match self.redact_percent {
            0 => 80,
            percent => u8::try_from(percent).unwrap_or(100),
        };
        Redaction::new(&self.redact_with, percent)
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct SecretfilterExports {
    /// Takes entries in.
    pub receiver: Receiver<Logs>,
}

/// The component.
pub struct Secretfilter {
    args: Args,
    port: Port<Logs>,
    counters: Arc<Counters>,
}

impl Component for Secretfilter {
    const NAME: &'static str = "loki.secretfilter";
    const STABILITY: Stability = Stability::PublicPreview;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = SecretfilterExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, SecretfilterExports), Error> {
        let port = cx.port("receiver");
        let exports = SecretfilterExports { receiver: port.receiver() };
        Ok((Self { args, port, counters: Arc::new(Counters::new(&cx.metrics())) }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let detector = rules(&self.args).await?;
        let _ = self.port.attach(self.relay(&self.args, detector, &cx));
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => match rules(update.args()).await {
                    Ok(detector) => {
                        let _ = self.port.attach(self.relay(update.args(), detector, &cx));
                        update.answer(Ok(()));
                    }
                    Err(error) => update.answer(Err(error)),
                },
            }
        }
    }
}

/// The rules that the arguments ask for; the built-in ones are shared by all.
async fn rules(args: &Args) -> Result<Arc<Detector>, Error> {
    static BUILTIN: LazyLock<Arc<Detector>> = LazyLock::new(|| Arc::new(config::builtin()));
    if args.gitleaks_config.is_empty() {
        return Ok(BUILTIN.clone());
    }
    let path = PathBuf::from(&args.gitleaks_config);
    let loaded = tokio::task::spawn_blocking(move || config::load(&path)).await;
    let loaded = loaded.map_err(|error| Error::other(error.to_string()))?;
    loaded.map(Arc::new).map_err(|message| Error::argument("gitleaks_config", message))
}

impl Secretfilter {
    fn relay(&self, args: &Args, detector: Arc<Detector>, cx: &BuildCx) -> Relay {
        Relay {
            detector,
            redaction: args.redaction(),
            forward_to: Fanout::new(args.forward_to.iter().cloned()),
            args: args.clone(),
            counters: self.counters.clone(),
            cx: cx.clone(),
        }
    }
}

/// One generation of the component: rules and receivers as of one configuration.
struct Relay {
    detector: Arc<Detector>,
    redaction: Redaction,
    forward_to: Fanout<Logs>,
    args: Args,
    counters: Arc<Counters>,
    cx: BuildCx,
}

impl Consumer<Logs> for Relay {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        let batch = self.filter(batch);
        if batch.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(self.forward_to.send(batch))
    }
}

/// What has to change about one entry of a batch.
struct Change {
    entry: usize,
    line: Option<ByteString>,
    timed_out: bool,
}

impl Relay {
    fn filter(&self, batch: Logs) -> Logs {
        let changes = self.changes(&batch);
        if changes.is_empty() {
            return batch;
        }
        let mut changed = LogBatch {
            streams: batch.streams.clone(),
            entries: Vec::with_capacity(batch.len()),
            received_ms: batch.received_ms,
            hold: batch.hold.clone(),
        };
        let mut labelled: Vec<Option<u32>> = vec![None; batch.streams.len()];
        let mut changes = changes.into_iter().peekable();
        for (i, entry) in batch.entries.iter().enumerate() {
            let Some(change) = changes.next_if(|change| change.entry == i) else {
                changed.entries.push(entry.clone());
                continue;
            };
            if change.timed_out && self.args.drop_on_timeout {
                continue;
            }
            let mut entry = entry.clone();
            if let Some(line) = change.line {
                self.cx.live_debug(|| format!("redacted: {line}"));
                entry.line = line;
            }
            if change.timed_out && self.args.label_timed_out {
                let streams = &mut changed.streams;
                entry.stream = *labelled[entry.stream as usize].get_or_insert_with(|| {
                    streams.push(with_label(&streams[entry.stream as usize], TIMED_OUT));
                    u32::try_from(streams.len() - 1).expect("at most twice as many streams")
                });
            }
            changed.entries.push(entry);
        }
        changed.into()
    }

    /// Looks at every entry, in order.
    fn changes(&self, batch: &Logs) -> Vec<Change> {
        let mut changes = Vec::new();
        let start = Instant::now();
        // Lines with keywords are timed one by one; the others share what is left of the batch's time.
        let (mut seen, mut slow) = (0u64, Duration::ZERO);
        for (i, entry) in batch.entries.iter().enumerate() {
            if self.args.rate < 1.0 && fastrand::f64() >= self.args.rate {
                self.counters.bypassed.inc();
                continue;
            }
            seen += 1;
            let (scan, took) = self.scan(entry);
            if let Some(took) = took {
                seen -= 1;
                slow += took;
                self.counters.took(took, 1);
            }
            if scan.findings.is_empty() && !scan.timed_out {
                continue;
            }
            changes.push(self.change(batch, i, &scan));
        }
        let each = start.elapsed().saturating_sub(slow).as_nanos() / u128::from(seen.max(1));
        self.counters.took(Duration::from_nanos(u64::try_from(each).unwrap_or(u64::MAX)), seen);
        changes
    }

    /// What is in a line; and how long that took, if it was worth a look at the clock.
    fn scan(&self, entry: &Entry) -> (Scan, Option<Duration>) {
        let Some(candidates) = self.detector.candidates(&entry.line) else {
            return (Scan::default(), None);
        };
        let start = Instant::now();
        let timeout = self.args.processing_timeout;
        let deadline = (!timeout.is_zero()).then(|| start + timeout);
        let scan = self.detector.scan_for(&entry.line, candidates, deadline);
        (scan, Some(start.elapsed()))
    }

    fn change(&self, batch: &Logs, i: usize, scan: &Scan) -> Change {
        let entry = &batch.entries[i];
        let change = |line| Change { entry: i, line, timed_out: scan.timed_out };
        if scan.timed_out {
            self.counters.timed_out.inc();
            if self.args.drop_on_timeout {
                self.counters.dropped.inc();
                return change(None);
            }
        }
        if scan.findings.is_empty() {
            return change(None);
        }
        let origin = match self.args.origin_label.as_str() {
            "" => "",
            label => batch.labels(entry).get(label).unwrap_or_default(),
        };
        for finding in &scan.findings {
            self.counters.secret(&self.detector.rule(finding.rule).id, origin);
        }
        change(Some(redact(&entry.line, &scan.findings, &self.detector, &self.redaction).into()))
    }
}

fn with_label(stream: &Labels, (name, value): (&str, &str)) -> Labels {
    let mut labels = LabelsBuilder::new();
    labels.reset(stream);
    labels.set(name, value);
    labels.build()
}
