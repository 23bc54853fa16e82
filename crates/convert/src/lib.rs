//! `prometheus.yml`, Promtail's, the OpenTelemetry Collector's and Grafana Agent's YAML → a pipeline.
//!
//! Data path: text → [`yaml`] (a tree that knows its places) → a reader of the format → blocks ([`out`]) → text.
//! What maps one to one is led by the schemas of the components ([`fill`]); code is written only where the shape
//! changes.
//! Invariants: every key of the source is read or reported, with its place and what to do; what is written has
//! passed the check of the argument it is written to; nothing here does I/O.

pub mod cx;
mod docs;
pub mod fill;
mod http;
mod otelcol;
pub mod out;
mod prometheus;
mod promtail;
mod static_mode;
mod targets;
mod value;
pub mod yaml;

use component::Registry;
use syntax::{Diagnostic, Source};

use cx::{Cx, Env};
pub use docs::page;

/// A language that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `prometheus.yml`
    Prometheus,
    /// `promtail-config.yml`
    Promtail,
    /// The OpenTelemetry Collector's configuration.
    Otelcol,
    /// Grafana Agent in static mode.
    Static,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Prometheus, Self::Promtail, Self::Otelcol, Self::Static];

    /// As the command line names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Promtail => "promtail",
            Self::Otelcol => "otelcol",
            Self::Static => "static",
        }
    }
}

/// What a conversion gives.
#[derive(Debug)]
pub struct Converted {
    /// The pipeline, formatted; `None` where the source could not be read at all.
    pub text: Option<String>,
    /// What is not in the pipeline (errors) and what is different there (warnings), in the order of the source.
    pub problems: Vec<Diagnostic>,
}

/// Converts a text. `arguments` are those of the program that the file was written for.
pub fn convert(source: &Source, format: Format, arguments: &str, registry: &Registry) -> Converted {
    let root = match yaml::parse(source) {
        Ok(root) => root,
        Err(problem) => return Converted { text: None, problems: vec![problem] },
    };
    let (env, mut problems) = environment(format, arguments);
    let mut cx = Cx::new(source, registry, env);
    match format {
        Format::Prometheus => prometheus::convert(&mut cx, &root),
        Format::Promtail => promtail::convert(&mut cx, &root),
        Format::Otelcol => otelcol::convert(&mut cx, &root),
        Format::Static => static_mode::convert(&mut cx, &root),
    }
    let (blocks, found) = cx.finish();
    problems.extend(found);
    Converted { text: Some(out::render(&blocks)), problems }
}

/// How the source refers to the environment, by its format and the arguments of its program.
fn environment(format: Format, arguments: &str) -> (Env, Vec<Diagnostic>) {
    let mut env = match format {
        Format::Prometheus => Env::No,
        Format::Promtail | Format::Static => Env::NotAsked,
        Format::Otelcol => Env::Collector,
    };
    let mut problems = Vec::new();
    for argument in arguments.split_whitespace() {
        let (name, value) = argument.split_once('=').unwrap_or((argument, "true"));
        match (format, name.trim_start_matches('-')) {
            (Format::Promtail | Format::Static, "config.expand-env") if name.starts_with('-') => {
                env = if value == "true" { Env::Braces } else { Env::NotAsked };
            }
            _ => {
                let message =
                    format!("--extra-args: {argument} is not an argument that changes a conversion");
                let help =
                    "only -config.expand-env=true of Promtail and Grafana Agent does; leave the others out";
                let mut problem = Diagnostic::plain("extra_args", message).with_help(help);
                problem.severity = syntax::Severity::Warning;
                problems.push(problem);
            }
        }
    }
    (env, problems)
}

/// A report for people and scripts: one line a problem and one for what to do.
pub fn report(problems: &[Diagnostic]) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for problem in problems {
        let level = if problem.is_error() { "Error" } else { "Warning" };
        let place = problem.location.as_ref().map_or(String::new(), |l| {
            let at = l.line_column();
            format!("{}:{}:{}: ", l.source.name(), at.line, at.column)
        });
        let _ = writeln!(out, "({level}) {place}{}", problem.message);
        if let Some(help) = &problem.help {
            let _ = writeln!(out, "    {help}");
        }
    }
    out
}
