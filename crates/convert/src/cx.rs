//! What a conversion has at hand: the source, the components, the pipeline and the problems so far.

use std::collections::{HashMap, HashSet};

use component::eval::{BodySchema, FieldSchema};
use component::{ComponentDef, Registry};
use syntax::{Diagnostic, Source, Span};

use crate::fill::sort;
use crate::out::{Block, Expr, Item};
use crate::yaml::{Key, Kind, Node};

/// How a format refers to environment variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Env {
    /// Not at all.
    No,
    /// `${NAME}` is text, because the flag that expands it was not given; a warning says so.
    NotAsked,
    /// `${NAME}` and `${NAME:-default}`; `$$` is a dollar sign.
    Braces,
    /// As the Collector: also `${env:NAME}`.
    Collector,
}

/// A conversion.
pub struct Cx<'a> {
    /// The text that is converted.
    pub source: &'a Source,
    /// How it refers to environment variables.
    pub env: Env,
    /// The Collector's reading: one value may stand for a list, a key without a value switches its block on.
    pub collector: bool,
    /// Extensions by their identifier: what refers to them is given this.
    pub handlers: HashMap<String, Expr>,
    registry: &'a Registry,
    problems: Vec<Diagnostic>,
    blocks: Vec<Block>,
    names: HashSet<String>,
}

impl<'a> Cx<'a> {
    /// Nothing converted yet.
    pub fn new(source: &'a Source, registry: &'a Registry, env: Env) -> Self {
        Self {
            source,
            env,
            collector: false,
            handlers: HashMap::new(),
            registry,
            problems: Vec::new(),
            blocks: Vec::new(),
            names: HashSet::new(),
        }
    }

    /// The pipeline and all problems, in the order of the source.
    pub fn finish(mut self) -> (Vec<Block>, Vec<Diagnostic>) {
        self.problems.sort_by_key(|d| d.location.as_ref().map(|l| l.span.start));
        self.problems.dedup();
        (self.blocks, self.problems)
    }

    /// What cannot be carried over.
    pub fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Diagnostic::error(code, message, self.source, span).with_help(help));
    }

    /// What is carried over differently, or has no effect.
    pub fn warn(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Diagnostic::warning("differs", message, self.source, span).with_help(help));
    }

    /// How many errors there are so far.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|d| d.is_error()).count()
    }

    /// Whether something has been said about this place.
    pub fn reported(&self, span: Span) -> bool {
        self.problems.iter().any(|d| d.location.as_ref().is_some_and(|l| l.span == span))
    }

    /// A key that no reader knows.
    pub fn unknown(&mut self, key: &Key, of: &str) {
        let message = format!("{} is not a key of {of} that can be converted", key.text);
        let help = "check its spelling; if it is right, remove it or set it by hand in the pipeline";
        self.error("unknown_key", key.span, message, help);
    }

    /// Something known for which there is nothing here.
    pub fn unsupported(&mut self, span: Span, what: &str) {
        let help = "remove it from the file, or convert with --bypass-errors and do without it";
        self.error("unsupported", span, format!("{what} cannot be converted"), help);
    }

    /// A value of the wrong shape.
    pub fn wrong(&mut self, node: &Node, what: &str, wanted: &str) {
        let message = format!("{what} is {}, not {wanted}", node.describe());
        self.error("wrong_type", node.span, message, format!("write {wanted} here"));
    }

    /// A component this program has.
    pub fn component(&self, name: &str) -> Option<ComponentDef> {
        self.registry.get(name).copied()
    }

    /// Schema of a component that is part of every build.
    pub fn schema(&self, name: &str) -> &'static BodySchema {
        (self.registry.get(name).unwrap_or_else(|| panic!("{name} is a component of this program")).arguments)(
        )
    }

    /// A label that nothing of the kind has yet: `wanted`, made an identifier, with a number where it is taken.
    pub fn label(&mut self, kind: &str, wanted: &str) -> String {
        let wanted = identifier(wanted);
        let mut label = wanted.clone();
        let mut n = 1;
        while !self.names.insert(format!("{kind}.{label}")) {
            n += 1;
            label = format!("{wanted}_{n}");
        }
        label
    }

    /// Adds a component or a block of the root; `span` is where it comes from.
    pub fn push(&mut self, mut block: Block, span: Span) {
        if let Some(definition) = self.registry.get(&block.name) {
            sort(&mut block.items, (definition.arguments)());
            self.complete(&block.name, &block.items, (definition.arguments)(), span);
        }
        self.blocks.push(block);
    }

    /// Reports what a component requires and the source does not say.
    fn complete(&mut self, of: &str, items: &[Item], schema: &BodySchema, span: Span) {
        for field in schema.fields.iter().filter(|f| f.required()) {
            if !crate::out::has(items, field.name()) {
                let message = format!("{of} needs {}, which is not written here", field.name());
                self.error("missing", span, message, "write it, or remove the whole");
            }
        }
        for item in items {
            if let (Item::Block(block), Some(FieldSchema::Block(inner))) = (item, schema_of(item, schema)) {
                self.complete(&format!("{of} > {}", block.name), &block.items, (inner.body)(), span);
            }
        }
    }

    /// A component that holds the content of a file.
    pub fn file(&mut self, label: &str, path: Expr, secret: bool, span: Span) -> Expr {
        let label = self.label("local.file", label);
        let mut items = vec![Item::Attribute("filename".into(), path)];
        if secret {
            items.push(Item::Attribute("is_secret".into(), Expr::raw("true")));
        }
        let block = Block::component("local.file", label, items);
        let content = block.export("content");
        self.push(block, span);
        content
    }
}

fn schema_of<'s>(item: &Item, schema: &'s BodySchema) -> Option<&'s FieldSchema> {
    match item {
        Item::Block(block) => schema.field(&block.name),
        Item::Attribute(name, _) => schema.field(name),
    }
}

/// As Alloy's converter: what is no letter, digit or underscore becomes an underscore.
pub fn identifier(text: &str) -> String {
    let mut out: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if out.is_empty() {
        return "default".into();
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

/// The keys of a mapping, of which every one is either taken or reported.
pub struct Fields<'n> {
    entries: Vec<(&'n Key, &'n Node)>,
    what: String,
    /// Where the mapping stands.
    pub span: Span,
}

impl<'n> Fields<'n> {
    /// Reads a mapping; nothing is an empty one, something else is reported.
    pub fn of(cx: &mut Cx<'_>, node: &'n Node, what: impl Into<String>) -> Self {
        let what = what.into();
        let entries = match &node.kind {
            Kind::Map(entries) => entries.iter().map(|(k, v)| (k, &**v)).collect(),
            Kind::Null => Vec::new(),
            _ => {
                cx.wrong(node, &what, "a mapping");
                Vec::new()
            }
        };
        Self { entries, what, span: node.span }
    }

    /// The value of a key; `None` where it is missing or nothing.
    pub fn take(&mut self, key: &str) -> Option<&'n Node> {
        self.take_with_key(key).map(|(_, node)| node)
    }

    /// The same with the key.
    pub fn take_with_key(&mut self, key: &str) -> Option<(&'n Key, &'n Node)> {
        let at = self.entries.iter().position(|(k, _)| k.text == key)?;
        let (key, node) = self.entries.remove(at);
        (!matches!(node.kind, Kind::Null)).then_some((key, node))
    }

    /// The text of a key.
    pub fn text(&mut self, cx: &mut Cx<'_>, key: &str) -> Option<&'n str> {
        let node = self.take(key)?;
        if node.text().is_none() {
            cx.wrong(node, key, "a single value");
        }
        node.text()
    }

    /// The items of a key's list.
    pub fn list(&mut self, cx: &mut Cx<'_>, key: &str) -> Vec<&'n Node> {
        match self.take(key) {
            Some(node) => list(cx, node, key),
            None => Vec::new(),
        }
    }

    /// A key that is known and has no counterpart: an error where something is written.
    pub fn refuse(&mut self, cx: &mut Cx<'_>, key: &str, help: &str) {
        if let Some((key, node)) = self.take_with_key(key)
            && !node.is_empty()
        {
            cx.error("unsupported", key.span, format!("{} cannot be converted", key.text), help);
        }
    }

    /// A key that is known and without effect here: a warning where something is written.
    pub fn note(&mut self, cx: &mut Cx<'_>, key: &str, message: &str, help: &str) {
        if let Some((key, node)) = self.take_with_key(key)
            && !node.is_empty()
        {
            cx.warn(key.span, format!("{}: {message}", key.text), help);
        }
    }

    /// The keys that end so, in the order of the file.
    pub fn ending(&self, end: &str) -> Vec<&'n Key> {
        self.entries.iter().map(|(key, _)| *key).filter(|k| k.text.ends_with(end)).collect()
    }

    /// What is left, to be read by somebody else.
    pub fn rest(&mut self) -> Vec<(&'n Key, &'n Node)> {
        std::mem::take(&mut self.entries)
    }

    /// Reports what nobody took.
    pub fn finish(mut self, cx: &mut Cx<'_>) {
        for (key, _) in self.rest() {
            cx.unknown(key, &self.what);
        }
    }
}

/// The items of a list; anything else is reported.
pub fn list<'n>(cx: &mut Cx<'_>, node: &'n Node, what: &str) -> Vec<&'n Node> {
    match &node.kind {
        Kind::List(items) => items.iter().map(|i| &**i).collect(),
        Kind::Null => Vec::new(),
        _ => {
            cx.wrong(node, what, "a list");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_identifiers_and_each_its_own() {
        let (source, registry) = (Source::new("f", ""), Registry::default());
        let mut cx = Cx::new(&source, &registry, Env::No);
        assert_eq!(cx.label("prometheus.scrape", "go-worker pool"), "go_worker_pool");
        assert_eq!(cx.label("prometheus.scrape", "go worker.pool"), "go_worker_pool_2");
        assert_eq!(cx.label("discovery.file", "go-worker-pool"), "go_worker_pool");
        assert_eq!(cx.label("prometheus.scrape", "2x"), "_2x");
        assert_eq!(cx.label("prometheus.scrape", ""), "default");
    }
}
