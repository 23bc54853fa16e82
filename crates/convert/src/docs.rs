//! The migration pages: text of a person, tables made from the rules that convert.

use component::Registry;

use crate::Format;
use crate::fill::{Rule, To};
use crate::otelcol::kinds::KINDS;
use crate::promtail::sources;
use crate::{otelcol, prometheus, promtail, static_mode};

/// The page of a format, in Markdown.
pub fn page(format: Format, registry: &Registry) -> String {
    let (text, tables) = match format {
        Format::Prometheus => (include_str!("../docs/prometheus.md"), prometheus_tables(registry)),
        Format::Promtail => (include_str!("../docs/promtail.md"), promtail_tables(registry)),
        Format::Otelcol => (include_str!("../docs/otelcol.md"), otelcol_tables(registry)),
        Format::Static => (include_str!("../docs/static.md"), static_tables(registry)),
    };
    format!("{}\n{tables}", text.trim_end())
}

fn prometheus_tables(registry: &Registry) -> String {
    let found = registry.iter().filter_map(|d| d.name.strip_prefix("discovery."));
    let found = found.filter(|n| !matches!(*n, "relabel" | "process"));
    let discoveries: Vec<_> = found.map(|n| (format!("{n}_sd_configs"), format!("discovery.{n}"))).collect();
    [
        table("Discoveries", "prometheus.yml", discoveries),
        rules("Keys of a scrape under another name", prometheus::SCRAPE),
        rules("Keys of remote_write under another name", prometheus::WRITE),
    ]
    .concat()
}

fn promtail_tables(registry: &Registry) -> String {
    let there = |name: &str| registry.get(name).is_some();
    let (yes, no): (Vec<_>, Vec<_>) = sources::KINDS.iter().partition(|k| there(k.component));
    let pairs = |kinds: Vec<&sources::Kind>| {
        kinds.iter().map(|k| (k.key.to_string(), k.component.to_string())).collect::<Vec<_>>()
    };
    [
        table("Sources", "scrape_configs", pairs(yes)),
        table("Sources whose component is not there yet: an error", "scrape_configs", pairs(no)),
        rules("Keys of a client under another name", promtail::CLIENT),
    ]
    .concat()
}

fn otelcol_tables(registry: &Registry) -> String {
    let mut out = String::new();
    for class in ["receiver", "processor", "connector", "exporter", "extension"] {
        let listed = KINDS.iter().filter(|k| k.class == class && registry.get(k.component).is_some());
        let mut pairs: Vec<_> = listed.map(|k| (k.types.join(", "), k.component.to_string())).collect();
        let prefix = format!("otelcol.{class}.");
        let same = registry.iter().filter_map(|d| d.name.strip_prefix(&prefix)).filter(|name| {
            let known = KINDS.iter().any(|k| k.component == format!("{prefix}{name}"));
            !known && !matches!((class, *name), (_, "loki" | "prometheus" | "discovery" | "spanlogs"))
        });
        pairs.extend(same.map(|n| (n.to_string(), format!("{prefix}{n}"))));
        pairs.extend(match class {
            "receiver" => {
                Some(("prometheus".into(), "prometheus.scrape, otelcol.receiver.prometheus".into()))
            }
            "processor" => Some(("resource".into(), "otelcol.processor.transform".into())),
            "exporter" => Some((
                "prometheusremotewrite".into(),
                "otelcol.exporter.prometheus, prometheus.remote_write".into(),
            )),
            "connector" => Some(("forward".into(), "nothing: the pipelines behind it".into())),
            _ => None,
        });
        pairs.sort();
        out += &table(&format!("{class}s"), "Collector", pairs);
    }
    out + &rules("Keys of prometheusremotewrite under another name", otelcol::special::REMOTE_WRITE)
}

fn static_tables(registry: &Registry) -> String {
    let exporters =
        registry.iter().filter_map(|d| Some((d.name.strip_prefix("prometheus.exporter.")?, d.name)));
    let exporters = exporters.filter(|(n, _)| *n != "static").map(|(short, name)| {
        let named = static_mode::NAMES.iter().find(|(_, to)| *to == short);
        (named.map_or_else(|| format!("{short}_exporter"), |(from, _)| from.to_string()), name.to_string())
    });
    [
        table("Integrations", "integrations", exporters.collect()),
        rules("Keys of node_exporter under another name", static_mode::EXPORTER),
        rules("Keys of traces.remote_write under another name", otelcol::traces::REMOTE_WRITE),
    ]
    .concat()
}

fn table(title: &str, left: &str, rows: Vec<(String, String)>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let rows: String = rows.iter().map(|(from, to)| format!("| `{from}` | `{to}` |\n")).collect();
    format!("\n## {title}\n\n| {left} | here |\n| --- | --- |\n{rows}")
}

fn rules(title: &str, rules: &[Rule]) -> String {
    let row = |rule: &Rule| {
        let to = match rule.to {
            To::At(to) => to.replace('/', " > "),
            To::Size(to, unit) => format!("{to}, in {unit}"),
            To::Not(to) => format!("{to}, the contrary"),
            To::Named(block, _) => format!("{block}, a block for each"),
            To::Warn(message, help) => format!("warning: {message}; {help}"),
            To::Refuse(help) => format!("error: {help}"),
            To::Here | To::Own(_) => return None,
        };
        Some(format!("| `{}` | {to} |\n", rule.from))
    };
    let rows: String = rules.iter().filter_map(row).collect();
    format!("\n## {title}\n\n| there | here |\n| --- | --- |\n{rows}")
}
