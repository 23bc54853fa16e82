//! `prometheus.echo` prints what it receives to standard output.

use std::fmt::Write as _;
use std::io::Write as _;

use component::{
    ArgEnum, Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Port, Receiver,
    Rejected, RunCx, Stability,
};
use signal::exposition::write_value;
use signal::samples::NO_FAMILY;
use signal::{FamilyMetadata, MetricKind, Samples, Series};

/// `prometheus.echo`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// How samples are printed.
    #[arg(default)]
    pub format: Format,
}

/// Text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum Format {
    /// Prometheus text; times in milliseconds.
    #[default]
    Text,
    /// OpenMetrics; times in seconds.
    Openmetrics,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct EchoExports {
    /// Prints what is sent to it.
    pub receiver: Receiver<Samples>,
}

/// The component.
pub struct Echo {
    format: Format,
    port: Port<Samples>,
}

impl Component for Echo {
    const NAME: &'static str = "prometheus.echo";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = EchoExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, EchoExports), Error> {
        let port = cx.port("receiver");
        let exports = EchoExports { receiver: port.receiver() };
        Ok((Self { format: args.format, port }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let _ = self.port.attach(Printer(self.format));
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    let _ = self.port.attach(Printer(update.args().format));
                    update.answer(Ok(()));
                }
            }
        }
    }
}

struct Printer(Format);

impl Consumer<Samples> for Printer {
    fn consume(&self, batch: Samples) -> BoxFuture<'_, Result<(), Rejected>> {
        let text = render(&batch, self.0);
        Box::pin(async move {
            // A terminal may block; that must not hold up a worker thread.
            let printed = tokio::task::spawn_blocking(move || {
                let mut out = std::io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            });
            match printed.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Rejected::Permanent(format!("standard output: {error}"))),
                Err(error) => Err(Rejected::Permanent(format!("standard output: {error}"))),
            }
        })
    }
}

fn render(batch: &Samples, format: Format) -> String {
    let mut out = String::with_capacity(batch.len() * 96);
    let mut told = NO_FAMILY;
    for point in batch.points.iter() {
        if point.family != told && point.family != NO_FAMILY {
            told = point.family;
            write_family(&batch.families[told as usize], format, &mut out);
        }
        write_series(point.series, &mut out);
        write_value(point.value, &mut out);
        write_time(point.timestamp_ms, format, &mut out);
        out.push('\n');
    }
    for point in &batch.histograms {
        write_series(&point.series, &mut out);
        let _ = write!(out, "{}", point.histogram);
        write_time(point.timestamp_ms, format, &mut out);
        out.push('\n');
    }
    for exemplar in &batch.exemplars {
        out.push_str("# EXEMPLAR ");
        write_series(&exemplar.series, &mut out);
        let _ = write!(out, "{} ", exemplar.labels);
        write_value(exemplar.value, &mut out);
        out.push('\n');
    }
    out
}

fn write_family(family: &FamilyMetadata, format: Format, out: &mut String) {
    let kind = match family.kind {
        // Prometheus text knows only four types and none.
        MetricKind::Unknown | MetricKind::GaugeHistogram | MetricKind::Info | MetricKind::StateSet
            if format == Format::Text =>
        {
            "untyped"
        }
        MetricKind::Unknown => "unknown",
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::GaugeHistogram => "gaugehistogram",
        MetricKind::Summary => "summary",
        MetricKind::Info => "info",
        MetricKind::StateSet => "stateset",
    };
    if !family.help.is_empty() {
        let _ = writeln!(
            out,
            "# HELP {} {}",
            family.name,
            family.help.replace('\\', "\\\\").replace('\n', "\\n")
        );
    }
    let _ = writeln!(out, "# TYPE {} {kind}", family.name);
}

fn write_series(series: &Series, out: &mut String) {
    let _ = write!(out, "{series} ");
}

fn write_time(milliseconds: i64, format: Format, out: &mut String) {
    let _ = match format {
        Format::Text => write!(out, " {milliseconds}"),
        Format::Openmetrics => {
            let seconds = milliseconds.div_euclid(1000);
            write!(out, " {seconds}.{:03}", milliseconds.rem_euclid(1000))
        }
    };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signal::samples::{HistogramPoint, Point};
    use signal::{Labels, NativeHistogram, SampleBatch};

    use super::*;

    fn batch() -> Samples {
        let family = FamilyMetadata {
            name: "hits".into(),
            kind: MetricKind::Counter,
            help: "Hits.".into(),
            unit: String::new(),
        };
        let series = Series::intern(Labels::from_pairs([("__name__", "hits_total"), ("code", "200")]));
        let point = Point { series, timestamp_ms: 1500, value: 2.5, start_ms: 0, family: 0 };
        let (points, families) = (vec![point].into(), vec![Arc::new(family)].into());
        SampleBatch { points, families, ..SampleBatch::default() }.into()
    }

    #[test]
    fn samples_are_printed_with_type_help_labels_and_time() {
        let text = "# HELP hits Hits.\n# TYPE hits counter\nhits_total{code=\"200\"} 2.5 1500\n";
        assert_eq!(render(&batch(), Format::Text), text);
        assert!(render(&batch(), Format::Openmetrics).ends_with("2.5 1.500\n"));
    }

    #[test]
    fn native_histograms_are_printed_in_the_notation_of_prometheus() {
        let series = Series::intern(Labels::from_pairs([("__name__", "took")]));
        let histogram = Arc::new(NativeHistogram { sum: 0.0, ..NativeHistogram::stale() });
        let point = HistogramPoint { series, timestamp_ms: 1500, histogram, start_ms: 0, family: NO_FAMILY };
        let batch = SampleBatch { histograms: vec![point], ..SampleBatch::default() }.into();
        assert_eq!(render(&batch, Format::Text), "took {count:0, sum:0} 1500\n");
    }

    #[test]
    fn types_are_those_of_the_format() {
        for (kind, text, openmetrics) in [
            (MetricKind::Unknown, "untyped", "unknown"),
            (MetricKind::Info, "untyped", "info"),
            (MetricKind::Summary, "summary", "summary"),
        ] {
            let family = FamilyMetadata { name: "a".into(), kind, help: String::new(), unit: String::new() };
            for (format, word) in [(Format::Text, text), (Format::Openmetrics, openmetrics)] {
                let mut out = String::new();
                write_family(&family, format, &mut out);
                assert_eq!(out, format!("# TYPE a {word}\n"));
            }
        }
    }
}
