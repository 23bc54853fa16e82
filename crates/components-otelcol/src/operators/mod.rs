//! Operators on log records, shared by the receivers of files, TCP and syslog: one file each, named as in
//! configurations (`move` is in `relocate`).
//!
//! Data path: entries → [`Pipeline`] (operators by name, each leads to others) → entries → [`deliver`] → OTLP.
//! Invariants: an entry comes out, is held by a `recombine`, or was dropped on purpose and counted with its
//! reason; what an operator cannot do its work on goes where `on_error` says.

mod add;
mod assign_keys;
mod container;
mod copy;
mod csv_parser;
pub mod deliver;
pub mod entry;
pub mod expr;
mod filter;
mod flatten;
mod json_array_parser;
mod json_parser;
mod key_value_parser;
mod noop;
pub mod options;
mod parser;
mod recombine;
mod regex_parser;
mod regex_replace;
mod relocate;
mod remove;
mod retain;
mod router;
mod sanitize_utf8;
mod scope_name;
mod severity;
mod severity_parser;
pub mod syslog_parser;
#[cfg(test)]
pub mod tests;
mod time_parser;
pub mod times;
mod trace_parser;
mod unquote;
mod uri_parser;
pub mod value;

use std::collections::BTreeMap;

use component::OnceAMinute;
use component::eval::Value as ConfigValue;
use component::metrics::{Collector, IntCounterVec, NodeMetrics, Opts};
use component::otel::MetricsLevel;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use entry::{Entry, Failure};
use expr::Expr;
use options::Options;
pub use parser::Parser;
use recombine::Recombine;

use crate::own_metrics::Switch;

/// The options of one operator, as a configuration has them.
pub type Config = BTreeMap<String, ConfigValue>;

/// A pipeline has so many operators at most.
const MAX_OPERATORS: usize = 512;

/// Changes one entry.
pub trait Transform: Send + Sync {
    /// Changes it.
    ///
    /// # Errors
    /// If it cannot do its work; the entry may be changed in part.
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure>;
}

macro_rules! transform_by_apply {
    ($($kind:ty),*) => {$(
        impl Transform for $kind {
            fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
                self.apply(entry)
            }
        }
    )*};
}
transform_by_apply!(
    time_parser::TimeParser,
    severity::Severity,
    trace_parser::TraceParser,
    scope_name::ScopeName
);

enum Kind {
    Transform(Box<dyn Transform>),
    /// Takes lines apart, then joins their parts.
    Container(Box<container::Container>, Mutex<Recombine>),
    Filter(filter::Filter),
    /// With the operators that each route leads to.
    Router(router::Router, Vec<Vec<usize>>),
    Recombine(Mutex<Recombine>),
    Noop,
}

/// What happens to an entry that an operator cannot do its work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnError {
    Drop,
    DropQuiet,
    Send,
    SendQuiet,
}

struct Node {
    name: String,
    kind: Kind,
    condition: Option<Expr>,
    on_error: OnError,
    /// Names of operators; `None`: the one after it.
    output: Option<Vec<String>>,
    next: Vec<usize>,
}

/// Own metrics of operators.
#[derive(Clone)]
pub struct Counters {
    dropped: IntCounterVec,
    failed: IntCounterVec,
    altered: IntCounterVec,
    datagrams: IntCounterVec,
}

impl Counters {
    /// `prefix` is the name of the component, with `_` for `.`.
    pub fn new(metrics: &NodeMetrics, prefix: &str) -> Self {
        Self::switched(metrics, prefix, MetricsLevel::Detailed).0
    }

    /// As [`Counters::new`], with the switch of `debug_metrics`.
    pub fn switched(metrics: &NodeMetrics, prefix: &str, level: MetricsLevel) -> (Self, Switch) {
        let vec = |name: &str, help: &str, labels: &[&str]| {
            let options = Opts::new(format!("{prefix}_{name}"), help);
            IntCounterVec::new(options, labels).expect("metric names are constants of this program")
        };
        let counters = Self {
            dropped: vec(
                "dropped_records_total",
                "Log records that were dropped, by operator and reason.",
                &["operator", "reason"],
            ),
            failed: vec(
                "operator_failures_total",
                "Log records that an operator could not do its work on.",
                &["operator"],
            ),
            altered: vec(
                "altered_records_total",
                "Log records that did not come in as they were sent: cut, or not in the encoding.",
                &["reason"],
            ),
            datagrams: vec("dropped_datagrams_total", "Datagrams that were dropped, by reason.", &["reason"]),
        };
        let Self { dropped, failed, altered, datagrams } = counters.clone();
        let all: [IntCounterVec; 4] = [dropped, failed, altered, datagrams];
        let boxed = all.into_iter().map(|vec| Box::new(vec) as Box<dyn Collector>);
        let switch = Switch::new(metrics, prefix, level, boxed.collect());
        (counters, switch)
    }

    /// Counts datagrams that there was no room for, by reason.
    pub fn datagrams(&self) -> IntCounterVec {
        self.datagrams.clone()
    }

    /// Counts records that did not come in as they were sent.
    pub fn alter(&self, reason: &str, count: u64) {
        if count > 0 {
            self.altered.with_label_values(&[reason]).inc_by(count);
        }
    }

    /// Counts records that were dropped.
    pub fn drop(&self, operator: &str, reason: &str, count: u64) {
        if count > 0 {
            self.dropped.with_label_values(&[operator, reason]).inc_by(count);
        }
    }
}

/// Operators, joined.
pub struct Pipeline {
    nodes: Vec<Node>,
    counters: Counters,
    told: OnceAMinute,
}

impl Pipeline {
    /// Reads a list of operators. `at` is the name of the argument.
    ///
    /// # Errors
    /// With the place of what is wrong.
    pub fn new(at: &str, configs: &[Config], counters: &Counters) -> Result<Self, String> {
        if configs.len() > MAX_OPERATORS {
            return Err(format!("{at}: there are more than {MAX_OPERATORS} operators"));
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(configs.len());
        for (i, config) in configs.iter().enumerate() {
            let node = node(&format!("{at}[{i}]"), config, &nodes)?;
            nodes.push(node);
        }
        let mut pipeline = Self { nodes, counters: counters.clone(), told: OnceAMinute::default() };
        pipeline.join(at)?;
        Ok(pipeline)
    }

    /// Puts an operator before all others.
    pub fn prepend(
        &mut self,
        name: &str,
        first: impl Transform + 'static,
        drops_on_error: bool,
        quiet: bool,
    ) {
        let on_error = match (drops_on_error, quiet) {
            (true, false) => OnError::Drop,
            (true, true) => OnError::DropQuiet,
            (false, false) => OnError::Send,
            (false, true) => OnError::SendQuiet,
        };
        let later = |indices: &mut Vec<usize>| indices.iter_mut().for_each(|i| *i += 1);
        for node in &mut self.nodes {
            later(&mut node.next);
            if let Kind::Router(_, routes) = &mut node.kind {
                routes.iter_mut().for_each(later);
            }
        }
        let next = if self.nodes.is_empty() { vec![usize::MAX] } else { vec![1] };
        let kind = Kind::Transform(Box::new(first));
        self.nodes.insert(0, Node { name: name.into(), kind, condition: None, on_error, output: None, next });
        self.end();
    }

    /// Whatever leads beyond the last operator is the end.
    fn end(&mut self) {
        let end = self.nodes.len();
        let clamp = |indices: &mut Vec<usize>| indices.iter_mut().for_each(|i| *i = (*i).min(end));
        for node in &mut self.nodes {
            clamp(&mut node.next);
            if let Kind::Router(_, routes) = &mut node.kind {
                routes.iter_mut().for_each(clamp);
            }
        }
    }

    /// Finds the operators that names stand for.
    fn join(&mut self, at: &str) -> Result<(), String> {
        let names: HashMap<String, usize> =
            self.nodes.iter().enumerate().map(|(i, node)| (node.name.clone(), i)).collect();
        let find = |i: usize, outputs: &[String]| -> Result<Vec<usize>, String> {
            let found = outputs.iter().map(|name| {
                names
                    .get(name)
                    .copied()
                    .ok_or_else(|| format!("{at}[{i}]: output: there is no operator {name:?}"))
            });
            found.collect()
        };
        for (i, node) in self.nodes.iter_mut().enumerate() {
            node.next = match &node.output {
                Some(outputs) => find(i, outputs)?,
                None => vec![i + 1],
            };
            if let Kind::Router(router, routes) = &mut node.kind {
                *routes = router.outputs().into_iter().map(|o| find(i, o)).collect::<Result<_, _>>()?;
                node.next.clear();
            }
        }
        match self.circle() {
            None => Ok(()),
            Some(i) => Err(format!("{at}[{i}]: the operator {} leads back to itself", self.nodes[i].name)),
        }
    }

    fn targets(&self, i: usize) -> Vec<usize> {
        let node = &self.nodes[i];
        let routed = match &node.kind {
            Kind::Router(_, routes) => routes.iter().flatten().copied().collect(),
            _ => Vec::new(),
        };
        node.next.iter().copied().chain(routed).filter(|t| *t < self.nodes.len()).collect()
    }

    /// An operator that an entry could come to twice.
    fn circle(&self) -> Option<usize> {
        let mut sources = vec![0_usize; self.nodes.len()];
        for i in 0..self.nodes.len() {
            self.targets(i).into_iter().for_each(|t| sources[t] += 1);
        }
        let mut free: Vec<usize> = (0..sources.len()).filter(|i| sources[*i] == 0).collect();
        let mut left: Vec<bool> = vec![true; sources.len()];
        while let Some(i) = free.pop() {
            left[i] = false;
            for target in self.targets(i) {
                sources[target] -= 1;
                if sources[target] == 0 {
                    free.push(target);
                }
            }
        }
        left.iter().position(|left| *left)
    }

    /// Whether entries may be held.
    pub fn holds(&self) -> bool {
        self.nodes.iter().any(|n| matches!(n.kind, Kind::Recombine(_) | Kind::Container(..)))
    }

    /// Whether it has no operators.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Leads an entry through; what comes out is added to `out`.
    pub fn process(&self, entry: Entry, out: &mut Vec<Entry>) {
        self.feed(vec![(0, entry)], out);
    }

    fn feed(&self, mut work: Vec<(usize, Entry)>, out: &mut Vec<Entry>) {
        while let Some((i, entry)) = work.pop() {
            let Some(node) = self.nodes.get(i) else {
                out.push(entry);
                continue;
            };
            self.step(node, entry, &mut work);
        }
    }

    fn step(&self, node: &Node, mut entry: Entry, work: &mut Vec<(usize, Entry)>) {
        match node.condition.as_ref().map_or(Ok(true), |c| c.is_true(&entry)) {
            Ok(true) => {}
            Ok(false) => return forward(&node.next, entry, work),
            Err(failure) => return self.failed(node, entry, &failure, work),
        }
        match &node.kind {
            Kind::Noop => forward(&node.next, entry, work),
            Kind::Transform(transform) => match transform.transform(&mut entry) {
                Ok(()) => forward(&node.next, entry, work),
                Err(failure) => self.failed(node, entry, &failure, work),
            },
            Kind::Filter(filter) => match filter.drops(&entry) {
                Ok(false) => forward(&node.next, entry, work),
                Ok(true) => self.counters.drop(&node.name, "filter", 1),
                Err(failure) => self.failed(node, entry, &failure, work),
            },
            Kind::Router(router, routes) => match router.route(&mut entry) {
                Ok(route) if routes[route].is_empty() => self.counters.drop(&node.name, "no_route", 1),
                Ok(route) => forward(&routes[route], entry, work),
                Err(failure) => self.failed(node, entry, &failure, work),
            },
            Kind::Container(container, parts) => match container.transform(&mut entry) {
                Ok(()) => self.recombine(node, parts, entry, work),
                Err(failure) => self.failed(node, entry, &failure, work),
            },
            Kind::Recombine(parts) => self.recombine(node, parts, entry, work),
        }
    }

    fn recombine(&self, node: &Node, parts: &Mutex<Recombine>, entry: Entry, work: &mut Vec<(usize, Entry)>) {
        let mut done = Vec::new();
        let result = parts.lock().process(entry, &mut done);
        if let Err(failed) = result {
            let (entry, failure) = *failed;
            self.failed(node, entry, &failure, work);
        }
        // The last one pushed is the first one taken.
        done.into_iter().rev().for_each(|entry| forward(&node.next, entry, work));
    }

    fn failed(&self, node: &Node, entry: Entry, failure: &Failure, work: &mut Vec<(usize, Entry)>) {
        self.counters.failed.with_label_values(&[node.name.as_str()]).inc();
        let quiet = matches!(node.on_error, OnError::DropQuiet | OnError::SendQuiet);
        if !quiet && self.told.now() {
            tracing::warn!(operator = node.name, %failure, "an operator could not do its work on a record");
        }
        match node.on_error {
            OnError::Drop | OnError::DropQuiet => self.counters.drop(&node.name, "on_error", 1),
            // A router has no operator after it but the default.
            OnError::Send | OnError::SendQuiet => match &node.kind {
                Kind::Router(_, routes) => match routes.last().filter(|default| !default.is_empty()) {
                    Some(default) => forward(default, entry, work),
                    None => self.counters.drop(&node.name, "no_route", 1),
                },
                _ => forward(&node.next, entry, work),
            },
        }
    }

    /// Lets go of what is held: what is old enough, or everything.
    pub fn flush(&self, now: Option<Instant>, out: &mut Vec<Entry>) {
        // What one lets go of another may hold: each round one more of them is empty for good.
        for _ in 0..self.nodes.len() {
            let mut found = false;
            for node in &self.nodes {
                let (Kind::Recombine(parts) | Kind::Container(_, parts)) = &node.kind else { continue };
                let mut done = Vec::new();
                match now {
                    Some(now) => parts.lock().flush_old(now, &mut done),
                    None => parts.lock().flush(&mut done),
                }
                found |= !done.is_empty();
                for entry in done {
                    let mut work = Vec::new();
                    forward(&node.next, entry, &mut work);
                    self.feed(work, out);
                }
            }
            if !found || now.is_some() {
                return;
            }
        }
    }

    /// When the first of what is held is to be let go.
    pub fn deadline(&self) -> Option<Instant> {
        let held = self.nodes.iter().filter_map(|node| match &node.kind {
            Kind::Recombine(parts) | Kind::Container(_, parts) => parts.lock().deadline(),
            _ => None,
        });
        held.min()
    }
}

fn forward(next: &[usize], entry: Entry, work: &mut Vec<(usize, Entry)>) {
    if let Some((first, others)) = next.split_first() {
        for target in others.iter().rev() {
            work.push((*target, entry.clone()));
        }
        work.push((*first, entry));
    }
}

/// Reads one operator.
fn node(at: &str, config: &Config, before: &[Node]) -> Result<Node, String> {
    let mut options = Options::new(at, config.clone());
    let kind_name = options.required("type")?;
    let mut options = Options::new(format!("{at} ({kind_name})"), options.rest());
    let id = options.text("id")?.filter(|id| !id.is_empty());
    let taken = |name: &str| before.iter().any(|n| n.name == name);
    if let Some(id) = id.as_deref().filter(|id| taken(id)) {
        return Err(options.error(format!("the id {id:?} is taken")));
    }
    let name = id.unwrap_or_else(|| {
        let numbered = (1..).map(|n| format!("{kind_name}{n}"));
        let mut names = std::iter::once(kind_name.clone()).chain(numbered);
        names.find(|name| !taken(name)).expect("numbers do not end")
    });
    let on_error = match options.choice("on_error", &["send", "send_quiet", "drop", "drop_quiet"], "send")? {
        "drop" => OnError::Drop,
        "drop_quiet" => OnError::DropQuiet,
        "send_quiet" => OnError::SendQuiet,
        _ => OnError::Send,
    };
    let condition = options.expr("if")?;
    // A router says for itself where it leads.
    let output = if kind_name == "router" { Vec::new() } else { options.texts("output")? };
    let kind = kind(&kind_name, &mut options)?;
    options.finish()?;
    let output = (!output.is_empty()).then_some(output);
    Ok(Node { name, kind, condition, on_error, output, next: Vec::new() })
}

fn kind(name: &str, options: &mut Options) -> Result<Kind, String> {
    let of = |transform: Box<dyn Transform>| Ok(Kind::Transform(transform));
    match name {
        "add" => of(Box::new(add::Add::new(options)?)),
        "assign_keys" => of(Box::new(assign_keys::AssignKeys::new(options)?)),
        "container" => {
            let (container, parts) = container::Container::new(options)?;
            Ok(Kind::Container(Box::new(container), Mutex::new(parts)))
        }
        "copy" => of(Box::new(copy::Copy::new(options)?)),
        "csv_parser" => of(Box::new(csv_parser::CsvParser::new(options)?)),
        "filter" => Ok(Kind::Filter(filter::Filter::new(options)?)),
        "flatten" => of(Box::new(flatten::Flatten::new(options)?)),
        "json_array_parser" => of(Box::new(json_array_parser::JsonArrayParser::new(options)?)),
        "json_parser" => of(Box::new(json_parser::JsonParser::new(options)?)),
        "key_value_parser" => of(Box::new(key_value_parser::KeyValueParser::new(options)?)),
        "move" => of(Box::new(relocate::Relocate::new(options)?)),
        "noop" => Ok(Kind::Noop),
        "recombine" => Ok(Kind::Recombine(Mutex::new(Recombine::from_options(options)?))),
        "regex_parser" => of(Box::new(regex_parser::RegexParser::new(options)?)),
        "regex_replace" => of(Box::new(regex_replace::RegexReplace::new(options)?)),
        "remove" => of(Box::new(remove::Remove::new(options)?)),
        "retain" => of(Box::new(retain::Retain::new(options)?)),
        "router" => Ok(Kind::Router(router::Router::new(options)?, Vec::new())),
        "sanitize_utf8" => of(Box::new(sanitize_utf8::SanitizeUtf8::new(options)?)),
        "scope_name_parser" => of(Box::new(scope_name::ScopeName::new(options)?)),
        "severity_parser" => of(Box::new(severity::Severity::new(options)?)),
        "syslog_parser" => of(Box::new(syslog_parser::SyslogParser::new(options)?)),
        "time_parser" => of(Box::new(time_parser::TimeParser::new(options)?)),
        "trace_parser" => of(Box::new(trace_parser::TraceParser::new(options)?)),
        "unquote" => of(Box::new(unquote::Unquote::new(options)?)),
        "uri_parser" => of(Box::new(uri_parser::UriParser::new(options)?)),
        _ => Err(options.error(format!("there is no operator {name:?}, or it is not supported"))),
    }
}
