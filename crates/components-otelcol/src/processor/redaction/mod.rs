//! `otelcol.processor.redaction` takes away attributes that are not allowed and masks values that are not to be
//! seen.
//!
//! Data path: batch → for each resource, scope, item and event of a span, splices of its attributes (`redact`);
//! for log records also of the body (`body`), for spans also of the name → `output`, all in the sender's task.

mod body;
mod db;
mod mask;
mod redact;
#[cfg(test)]
mod tests;
mod url;

use std::sync::Arc;

use component::eval::{Invalid, Secret};
use component::otel::{DebugMetrics, OtelFanout, OtelInput, Output};
use component::{Arguments, BuildCx, Component, Error, Exports, Rejected, RunCx, Stability};
use signal::otlp::Otlp;
use wire::otlp::Schematic;

use super::items::{ItemCounts, ItemMetrics};
use super::relay::{self, Change};
use crate::ports::Ports;
use crate::signals::Kind;
use redact::{Redacting, Rules};

/// `otelcol.processor.redaction`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Keep attributes whatever their keys.
    #[arg(default)]
    pub allow_all_keys: bool,
    /// Keys that are kept; without `allow_all_keys`, all others are taken away.
    #[arg(default)]
    pub allowed_keys: Vec<String>,
    /// Keys of attributes that are left as they are.
    #[arg(default)]
    pub ignored_keys: Vec<String>,
    /// RE2 expressions: keys whose values are masked.
    #[arg(default)]
    pub blocked_key_patterns: Vec<String>,
    /// RE2 expressions: keys of attributes that are left as they are.
    #[arg(default)]
    pub ignored_key_patterns: Vec<String>,
    /// RE2 expressions: values that are not masked.
    #[arg(default)]
    pub allowed_values: Vec<String>,
    /// RE2 expressions: what they match in values is masked.
    #[arg(default)]
    pub blocked_values: Vec<String>,
    /// Put a hash in the place of what is masked instead of `****`: `md5`, `sha1`, `sha3`,
    /// `hmac-sha256` or `hmac-sha512`.
    #[arg(default)]
    pub hash_function: String,
    /// The key of the HMAC functions.
    #[arg(default = Secret::from(""))]
    pub hmac_key: Secret,
    /// Look at numbers, booleans, lists and maps, too, as text.
    #[arg(default)]
    pub redact_all_types: bool,
    /// What is noted of it in attributes: `silent`, `info` for numbers, `debug` for keys, too.
    #[arg(default)]
    pub summary: String,
    /// Cleaning of URLs: what is particular to one call goes.
    #[arg(block)]
    pub url_sanitizer: Option<UrlArgs>,
    /// Cleaning of database queries: values go.
    #[arg(block)]
    pub db_sanitizer: Option<DbArgs>,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// Cleaning of URLs.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct UrlArgs {
    /// Clean them.
    #[arg(default)]
    pub enabled: bool,
    /// Attributes with URLs.
    #[arg(default)]
    pub attributes: Vec<String>,
    /// Clean names of spans, too.
    #[arg(default = true)]
    pub sanitize_span_name: bool,
}

/// Cleaning of database queries.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct DbArgs {
    /// Clean names of spans, too.
    #[arg(default = true)]
    pub sanitize_span_name: bool,
    /// SQL.
    #[arg(block)]
    pub sql: SanitizerArgs,
    /// Redis.
    #[arg(block)]
    pub redis: SanitizerArgs,
    /// Valkey.
    #[arg(block)]
    pub valkey: SanitizerArgs,
    /// Memcached.
    #[arg(block)]
    pub memcached: SanitizerArgs,
    /// MongoDB.
    #[arg(block)]
    pub mongo: SanitizerArgs,
    /// OpenSearch.
    #[arg(block)]
    pub opensearch: SanitizerArgs,
    /// Elasticsearch.
    #[arg(block)]
    pub es: SanitizerArgs,
}

/// Cleaning of the queries of a kind of database.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SanitizerArgs {
    /// Clean them.
    #[arg(default)]
    pub enabled: bool,
    /// Attributes with queries.
    #[arg(default)]
    pub attributes: Vec<String>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if !["", "silent", "info", "debug"].contains(&self.summary.as_str()) {
            return Err(Invalid::field("summary", "must be silent, info or debug"));
        }
        match self.hash_function.as_str() {
            "" | "md5" | "sha1" | "sha3" => Ok(()),
            "hmac-sha256" | "hmac-sha512" if self.hmac_key.is_empty() => {
                Err(Invalid::field("hmac_key", "is needed for this hash_function"))
            }
            "hmac-sha256" | "hmac-sha512" => Ok(()),
            _ => Err(Invalid::field("hash_function", "must be md5, sha1, sha3, hmac-sha256 or hmac-sha512")),
        }
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct RedactionExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct Redaction {
    args: Args,
    ports: Ports,
    metrics: Arc<ItemMetrics>,
}

/// One generation of the arguments.
struct Generation {
    rules: Rules,
    counts: ItemCounts,
}

impl Generation {
    fn new(args: &Args, metrics: &Arc<ItemMetrics>) -> Result<(Arc<Self>, OtelFanout), Error> {
        let generation = Self { rules: Rules::new(args)?, counts: metrics.at(args.debug_metrics.level) };
        Ok((Arc::new(generation), args.output.fanout()?))
    }
}

impl<S: Schematic> Change<S> for Generation {
    fn change(&self, batch: Otlp<S>) -> Result<Option<Otlp<S>>, Rejected> {
        relay::edit_batch(batch, &mut Redacting::new(&self.rules, Kind::of::<S>()))
    }

    fn counts(&self) -> Option<&ItemCounts> {
        Some(&self.counts)
    }
}

impl Component for Redaction {
    const NAME: &'static str = "otelcol.processor.redaction";
    const STABILITY: Stability = Stability::Experimental;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = RedactionExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, RedactionExports), Error> {
        let metrics = ItemMetrics::new("redaction", cx);
        Generation::new(&args, &metrics)?;
        let ports = Ports::new(cx);
        let exports = RedactionExports { input: ports.input() };
        Ok((Self { args, ports, metrics }, exports))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let make = |args: &Args| Generation::new(args, &self.metrics);
        relay::run(cx, &self.ports, self.args.clone(), make).await
    }
}

/// Masks any text as a query and as a URL; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(text: &str) {
    db::read_arbitrary(text);
    url::read_arbitrary(text);
}
