//! Names of metrics and labels between OpenTelemetry and Prometheus, and the words for units.
//! As the OpenTelemetry specification (compatibility/prometheus_and_openmetrics) and the collector's translator.

/// How names are carried over, in Prometheus' words (`translation_strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Translation {
    /// Foreign characters become `_`; unit and type are added to metric names.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Foreign characters become `_`.
    UnderscoreEscapingWithoutSuffixes,
    /// Characters stay; unit and type are added to metric names.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

/// What a metric is, as far as its name tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instrument {
    /// A monotonic cumulative sum.
    Counter,
    /// A gauge, and nothing else: a sum that may fall is none.
    Gauge,
    /// Everything else.
    Other,
}

/// Units as UCUM writes them and the words that Prometheus' names have for them.
const UNITS: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
];

/// What stands after the slash of a unit.
const PER_UNITS: &[(&str, &str)] = &[
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

fn word_of<'a>(table: &'static [(&str, &'static str)], unit: &'a str) -> &'a str {
    table.iter().find(|(ucum, _)| *ucum == unit).map_or(unit, |(_, word)| word)
}

/// The unit of a metric whose Prometheus metadata names it with a word: `seconds` → `s`,
/// `bytes_per_second` → `By/s`. Words that are not known stay as they are.
pub fn ucum(word: &str) -> String {
    let of = |table: &'static [(&str, &str)], word: &str| {
        table.iter().find(|(_, w)| *w == word).map(|(ucum, _)| (*ucum).to_owned())
    };
    if word == "ratio" {
        return "1".to_owned();
    }
    if let Some((main, per)) = word.split_once("_per_")
        && let Some(per) = of(PER_UNITS, per)
    {
        return format!("{}/{per}", of(UNITS, main).unwrap_or_else(|| main.to_owned()));
    }
    of(UNITS, word).unwrap_or_else(|| word.to_owned())
}

/// The words for a unit and for what it is counted per; empty where there are none. Annotations (`{…}`) are
/// no units.
fn unit_words(unit: &str) -> (&str, &str) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let usable = |unit: &str| !unit.is_empty() && !unit.contains(['{', '}']);
    let (main, per) = (main.trim(), per.trim());
    let main = if usable(main) && main != "1" { word_of(UNITS, main) } else { "" };
    (main, if usable(per) { word_of(PER_UNITS, per) } else { "" })
}

impl Translation {
    /// Whether unit and type become part of a metric's name.
    pub fn adds_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }

    /// Whether characters outside of `[a-zA-Z0-9_:]` are replaced.
    pub fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    /// The Prometheus name of a metric; `None` where nothing but underscores would be left of it.
    pub fn metric_name(self, name: &str, unit: &str, instrument: Instrument) -> Option<String> {
        let new = match self {
            Self::UnderscoreEscapingWithSuffixes => escaped_with_suffixes(name, unit, instrument),
            Self::UnderscoreEscapingWithoutSuffixes => {
                digit_first(join(name.split(|c| !is_word(c) && c != '_')))
            }
            Self::NoUtf8EscapingWithSuffixes if !name.is_empty() => with_suffixes(name, unit, instrument),
            Self::NoUtf8EscapingWithSuffixes | Self::NoTranslation => name.to_owned(),
        };
        let usable = !new.is_empty() && (new == name || new.contains(|c| c != '_'));
        usable.then_some(new)
    }

    /// The name of the label for an attribute.
    pub fn label_name(self, key: &str) -> String {
        if !self.escapes() {
            return key.to_owned();
        }
        let mut name = String::with_capacity(key.len() + 4);
        let is_foreign = |c: char| !c.is_ascii_alphanumeric();
        let mut chars = key.chars();
        match (chars.next(), chars.next()) {
            (Some('0'..='9'), _) => name.push_str("key_"),
            // Two underscores are Prometheus' own names and stay.
            (Some(first), second) if is_foreign(first) && !second.is_some_and(is_foreign) => {
                name.push_str("key");
            }
            _ => {}
        }
        name.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
        name
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn join<'a>(tokens: impl Iterator<Item = &'a str>) -> String {
    let tokens: Vec<&str> = tokens.filter(|token| !token.is_empty()).collect();
    tokens.join("_")
}

fn digit_first(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn escaped_with_suffixes(name: &str, unit: &str, instrument: Instrument) -> String {
    let mut tokens: Vec<&str> = name.split(|c| !is_word(c)).filter(|token| !token.is_empty()).collect();
    if tokens.is_empty() {
        return String::new();
    }
    let (main, per) = unit_words(unit);
    let (main, per) = (join(main.split(|c| !is_word(c))), join(per.split(|c| !is_word(c))));
    if !main.is_empty() && !tokens.contains(&main.as_str()) {
        tokens.push(&main);
    }
    if !per.is_empty() && !tokens.contains(&per.as_str()) {
        tokens.extend(["per", per.as_str()]);
    }
    if let Some(suffix) = type_suffix(unit, instrument) {
        tokens.retain(|token| *token != suffix);
        tokens.push(suffix);
    }
    digit_first(tokens.join("_"))
}

/// Some receivers give counts of things the unit `1`, so that only gauges are taken for ratios.
fn type_suffix(unit: &str, instrument: Instrument) -> Option<&'static str> {
    match instrument {
        Instrument::Counter => Some("total"),
        Instrument::Gauge if unit == "1" => Some("ratio"),
        Instrument::Gauge | Instrument::Other => None,
    }
}

fn with_suffixes(name: &str, unit: &str, instrument: Instrument) -> String {
    let (main, per) = unit_words(unit);
    let per = if per.is_empty() { String::new() } else { format!("per_{per}") };
    let last = type_suffix(unit, instrument).unwrap_or_default();
    let mut new = name.to_owned();
    for suffix in [last, per.as_str()] {
        // The suffix and the character before it, which is taken for a delimiter.
        if !suffix.is_empty()
            && let Some(stem) = new.strip_suffix(suffix)
            && let Some((at, _)) = stem.char_indices().next_back().filter(|(at, _)| *at > 0)
        {
            new.truncate(at);
        }
    }
    if new.ends_with(main) && !main.is_empty() {
        new.truncate(new.len() - main.len());
        while new.ends_with(|c: char| !c.is_alphanumeric()) {
            new.pop();
        }
    }
    for suffix in [main, per.as_str(), last].into_iter().filter(|suffix| !suffix.is_empty()) {
        if !new.is_empty() {
            new.push('_');
        }
        new.push_str(suffix);
    }
    new
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::{is_legacy_label, is_legacy_name};
    use Instrument::{Counter, Gauge, Other};

    /// Name, unit, instrument; then the name by each strategy, in their order.
    #[rustfmt::skip]
    const NAMES: &[(&str, &str, Instrument, [&str; 4])] = &[
        ("http.requests", "", Counter,
            ["http_requests_total", "http_requests", "http.requests_total", "http.requests"]),
        ("http.requests_total", "1", Counter,
            ["http_requests_total", "http_requests_total", "http.requests_total", "http.requests_total"]),
        ("total.requests", "{request}", Counter,
            ["requests_total", "total_requests", "total.requests_total", "total.requests"]),
        ("http.server.request.duration", "s", Other,
            ["http_server_request_duration_seconds", "http_server_request_duration",
             "http.server.request.duration_seconds", "http.server.request.duration"]),
        ("system.io", "By", Counter,
            ["system_io_bytes_total", "system_io", "system.io_bytes_total", "system.io"]),
        ("network_transmitted_bytes_total", "By", Counter,
            ["network_transmitted_bytes_total", "network_transmitted_bytes_total",
             "network_transmitted_bytes_total", "network_transmitted_bytes_total"]),
        ("throughput", "By/s", Gauge,
            ["throughput_bytes_per_second", "throughput", "throughput_bytes_per_second", "throughput"]),
        ("requests_per_second", "{request}/s", Gauge,
            ["requests_per_second", "requests_per_second", "requests_per_second", "requests_per_second"]),
        ("cpu.utilization", "1", Gauge,
            ["cpu_utilization_ratio", "cpu_utilization", "cpu.utilization_ratio", "cpu.utilization"]),
        ("ratio.hit", "1", Gauge, ["hit_ratio", "ratio_hit", "ratio.hit_ratio", "ratio.hit"]),
        ("queue.size", "1", Other, ["queue_size", "queue_size", "queue.size", "queue.size"]),
        ("battery", "%", Gauge, ["battery_percent", "battery", "battery_percent", "battery"]),
        ("unknown.unit", "fortnights/mo", Gauge,
            ["unknown_unit_fortnights_per_month", "unknown_unit",
             "unknown.unit_fortnights_per_month", "unknown.unit"]),
        ("5xx.errors", "", Counter, ["_5xx_errors_total", "_5xx_errors", "5xx.errors_total", "5xx.errors"]),
        ("api..//request--time", " ms / s ", Gauge,
            ["api_request_time_milliseconds_per_second", "api_request_time",
             "api..//request--time_milliseconds_per_second", "api..//request--time"]),
        ("app:request:latency", "s", Gauge,
            ["app:request:latency_seconds", "app:request:latency",
             "app:request:latency_seconds", "app:request:latency"]),
        ("メモリ.rate", "By", Gauge, ["rate_bytes", "rate", "メモリ.rate_bytes", "メモリ.rate"]),
        ("a__b", "", Gauge, ["a_b", "a__b", "a__b", "a__b"]),
    ];

    const STRATEGIES: [Translation; 4] = [
        Translation::UnderscoreEscapingWithSuffixes,
        Translation::UnderscoreEscapingWithoutSuffixes,
        Translation::NoUtf8EscapingWithSuffixes,
        Translation::NoTranslation,
    ];

    #[test]
    fn metrics_are_named_as_each_strategy_says() {
        for (name, unit, instrument, expected) in NAMES {
            for (strategy, expected) in STRATEGIES.into_iter().zip(expected) {
                let new = strategy.metric_name(name, unit, *instrument);
                assert_eq!(new.as_deref(), Some(*expected), "{name} [{unit}] {strategy:?}");
            }
        }
    }

    #[test]
    fn a_name_of_which_nothing_is_left_is_none() {
        for strategy in STRATEGIES {
            assert_eq!(strategy.metric_name("", "", Gauge), None);
        }
        assert_eq!(Translation::UnderscoreEscapingWithSuffixes.metric_name("花火", "By", Gauge), None);
        assert_eq!(Translation::UnderscoreEscapingWithoutSuffixes.metric_name("...", "s", Gauge), None);
        assert_eq!(Translation::NoTranslation.metric_name("花火", "", Gauge).as_deref(), Some("花火"));
    }

    #[test]
    fn attributes_become_labels() {
        let cases = [
            ("http.method", "http_method"),
            ("k8s.pod-name", "k8s_pod_name"),
            ("a__b", "a__b"),
            ("0a", "key_0a"),
            ("_private", "key_private"),
            (".dotted", "key_dotted"),
            ("élan", "key_lan"),
            ("__name__", "__name__"),
            ("", ""),
        ];
        for (key, expected) in cases {
            assert_eq!(Translation::UnderscoreEscapingWithSuffixes.label_name(key), expected, "{key}");
            assert_eq!(Translation::NoTranslation.label_name(key), key);
        }
    }

    #[test]
    fn words_of_metadata_become_units() {
        for (ucum_unit, word) in UNITS {
            assert_eq!(ucum(word), *ucum_unit);
        }
        let cases =
            [("bytes_per_second", "By/s"), ("ratio", "1"), ("things", "things"), ("", ""), ("s", "s")];
        for (word, unit) in cases {
            assert_eq!(ucum(word), unit);
        }
    }

    proptest! {
        #[test]
        fn escaped_names_are_legal_and_are_not_changed_again(name in "\\PC{0,24}", unit in "([a-zA-Z]{0,3}|%|1)(/[a-z]{1,2})?") {
            for instrument in [Counter, Gauge, Other] {
                for strategy in &STRATEGIES[..2] {
                    if let Some(new) = strategy.metric_name(&name, &unit, instrument) {
                        prop_assert!(is_legacy_name(&new), "{}", new);
                        let again = strategy.metric_name(&new, &unit, instrument);
                        prop_assert_eq!(again.as_deref().map(|n| n.trim_start_matches('_')),
                            Some(new.trim_start_matches('_')));
                    }
                }
            }
            let label = Translation::default().label_name(&name);
            prop_assert!(name.is_empty() || is_legacy_label(&label), "{}", label);
        }
    }
}
