//! From a discovered target to what is scraped: labels filled in, URL, times.
//!
//! As prometheus/scrape: `PopulateLabels`.

use std::time::Duration;

use net::Url;
use net::scrape::{PARAM_PREFIX, SCHEME, check_address, target_url};
use signal::labels::META_PREFIX;
use signal::target::ADDRESS;
use signal::{Labels, LabelsBuilder};

use super::args::Args;

const METRICS_PATH: &str = "__metrics_path__";
const SCRAPE_INTERVAL: &str = "__scrape_interval__";
const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";

/// One target of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    /// Tells targets apart.
    pub(super) key: u64,
    /// The `job` label.
    pub(super) job: String,
    /// The labels that samples get.
    pub(super) labels: Labels,
    pub(super) url: Url,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

impl Spec {
    /// `job` is what targets get that bring none.
    pub(super) fn new(
        target: &Labels,
        args: &Args,
        job: &str,
        builder: &mut LabelsBuilder,
    ) -> Result<Self, String> {
        builder.reset(target);
        let scheme = if args.scheme.is_empty() { "http" } else { &args.scheme };
        let interval = write_duration(args.scrape_interval);
        let timeout = write_duration(args.timeout());
        let defaults = [
            ("job", job),
            (SCHEME, scheme),
            (METRICS_PATH, &args.metrics_path),
            (SCRAPE_INTERVAL, &interval),
            (SCRAPE_TIMEOUT, &timeout),
        ];
        for (name, value) in defaults {
            if builder.get(name).is_none() {
                builder.set(name, value);
            }
        }
        for (name, values) in &args.params {
            let name = format!("{PARAM_PREFIX}{name}");
            if let Some(first) = values.first()
                && builder.get(&name).is_none()
            {
                builder.set(&name, first);
            }
        }
        let address = builder.get(ADDRESS).ok_or("the target has no __address__")?.to_owned();
        check_address(&address)?;
        let interval = read_duration(builder, SCRAPE_INTERVAL)?;
        let timeout = read_duration(builder, SCRAPE_TIMEOUT)?;
        if timeout > interval {
            return Err(format!(
                "__scrape_timeout__ ({timeout:?}) is longer than __scrape_interval__ ({interval:?})"
            ));
        }
        builder.retain(|name, _| !name.starts_with(META_PREFIX));
        if builder.get("instance").is_none() {
            builder.set("instance", &address);
        }
        let scheme = builder.get(SCHEME).unwrap_or("http");
        let path = builder.get(METRICS_PATH).unwrap_or_default();
        let url = target_url(scheme, &address, path, &args.params, builder.iter())?;
        let key = builder.build().target_hash();
        builder.retain(|name, _| !name.starts_with("__"));
        let labels = builder.build();
        let names = args.metric_name_validation_scheme.scheme();
        if let Some((name, _)) = labels.iter().find(|(name, _)| !names.allows_label(name)) {
            return Err(format!("{name:?} is not a valid label name"));
        }
        let job = labels.get("job").unwrap_or_default().to_owned();
        Ok(Self { key, job, labels, url, interval, timeout })
    }
}

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// As prometheus/common/model: `Duration.String`.
fn write_duration(duration: Duration) -> String {
    let mut left = duration.as_millis() as u64;
    let mut out = String::new();
    for (unit, size) in UNITS {
        // Years and weeks only where nothing is left over.
        if matches!(unit, "y" | "w") && !left.is_multiple_of(size) {
            continue;
        }
        if left >= size {
            out.push_str(&format!("{}{unit}", left / size));
            left %= size;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// As prometheus/common/model: `ParseDuration`.
fn read_duration(labels: &LabelsBuilder, name: &str) -> Result<Duration, String> {
    let text = labels.get(name).unwrap_or_default();
    let invalid = || format!("{name} {text:?} is not a duration above 0: write it as 30s or 1m30s");
    let (mut rest, mut total, mut from) = (text, 0u64, 0);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        let word = &rest[digits..];
        let end = word.find(|c: char| c.is_ascii_digit()).unwrap_or(word.len());
        // Units come from long to short, each at most once.
        let found = UNITS[from..].iter().position(|(unit, _)| *unit == &word[..end]).ok_or_else(invalid)?;
        total = UNITS[from + found]
            .1
            .checked_mul(number)
            .and_then(|ms| ms.checked_add(total))
            .ok_or_else(invalid)?;
        from += found + 1;
        rest = &word[end..];
    }
    if total == 0 { Err(invalid()) } else { Ok(Duration::from_millis(total)) }
}

#[cfg(test)]
mod tests {
    use component::eval::Arguments;
    use component::{Receiver, Target};

    use super::*;

    fn args(change: impl FnOnce(&mut Args)) -> Args {
        let mut args =
            Args { targets: Vec::<Target>::new(), forward_to: Vec::<Receiver<_>>::new(), ..Args::defaults() };
        change(&mut args);
        args
    }

    fn spec(target: &[(&str, &str)], args: &Args) -> Result<Spec, String> {
        Spec::new(&Labels::from_pairs(target.iter().copied()), args, "the.job", &mut LabelsBuilder::new())
    }

    #[test]
    fn labels_are_filled_in_and_only_public_ones_reach_samples() {
        let spec =
            spec(&[("__address__", "a:9100"), ("__meta_x", "y"), ("env", "prod")], &args(|_| {})).unwrap();
        assert_eq!(spec.labels.to_string(), r#"{env="prod", instance="a:9100", job="the.job"}"#);
        assert_eq!(spec.url.as_str(), "http://a:9100/metrics");
        assert_eq!((spec.interval, spec.timeout), (Duration::from_secs(60), Duration::from_secs(10)));
    }

    #[test]
    fn a_targets_own_labels_win_over_the_arguments() {
        let args =
            args(|a| a.params = [("module".to_owned(), vec!["one".to_owned(), "two".to_owned()])].into());
        let target = [
            ("__address__", "[::1]:1"),
            ("__scheme__", "https"),
            ("__metrics_path__", "/probe"),
            ("__scrape_interval__", "1m30s"),
            ("__scrape_timeout__", "500ms"),
            ("__param_module", "three"),
            ("__param_target", "x y"),
            ("instance", "mine"),
            ("job", "own"),
        ];
        let spec = spec(&target, &args).unwrap();
        assert_eq!(spec.url.as_str(), "https://[::1]:1/probe?module=three&module=two&target=x+y");
        assert_eq!((spec.interval, spec.timeout), (Duration::from_secs(90), Duration::from_millis(500)));
        assert_eq!(spec.labels.to_string(), r#"{instance="mine", job="own"}"#);
        assert_eq!(spec.job, "own");
    }

    #[test]
    fn targets_that_cannot_be_scraped_say_why() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[("x", "y")], "no __address__"),
            (&[("__address__", "http://a/b")], "not a valid host:port"),
            (&[("__address__", "a"), ("__scheme__", "ftp")], "neither http nor https"),
            (&[("__address__", "a"), ("__scrape_interval__", "1x")], "not a duration"),
            (&[("__address__", "a"), ("__scrape_interval__", "0s")], "above 0"),
            (&[("__address__", "a"), ("__scrape_timeout__", "2m")], "longer than"),
        ];
        for (target, part) in cases {
            let error = spec(target, &args(|_| {})).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn meta_labels_do_not_tell_targets_apart_and_others_do() {
        let args = args(|_| {});
        let key = |pairs: &[(&str, &str)]| spec(pairs, &args).unwrap().key;
        let plain = key(&[("__address__", "a")]);
        assert_eq!(plain, key(&[("__address__", "a"), ("__meta_x", "1")]));
        assert_ne!(plain, key(&[("__address__", "a"), ("__param_x", "1")]));
    }

    #[test]
    fn durations_are_written_as_prometheus_writes_them() {
        for (ms, text) in [
            (60_000, "1m"),
            (90_000, "1m30s"),
            (1500, "1s500ms"),
            (7 * 86_400_000, "1w"),
            (8 * 86_400_000, "8d"),
        ] {
            assert_eq!(write_duration(Duration::from_millis(ms)), text);
            let mut labels = LabelsBuilder::new();
            labels.set("d", text);
            assert_eq!(read_duration(&labels, "d"), Ok(Duration::from_millis(ms)));
        }
    }
}
