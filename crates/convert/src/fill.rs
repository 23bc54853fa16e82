//! A mapping of the source → the body of a block, led by the block's schema.
//!
//! A key that is a name of the schema needs no more than that; where the shape differs, a [`Rule`] says how. A key
//! that neither knows is reported, so that nothing is lost in silence.

use component::eval::{BlockSchema, BodySchema, FieldSchema};

use crate::cx::Cx;
use crate::out::{Block, Expr, Item, attribute, block_of, has};
use crate::yaml::{Key, Kind, Node};

/// What becomes of a key.
pub struct Rule {
    /// The last keys of its way from the root of what is read, joined by dots.
    pub from: &'static str,
    /// Where it goes.
    pub to: To,
}

/// Where a key goes.
pub enum To {
    /// To another place: names of blocks and the field, joined by `/`.
    At(&'static str),
    /// To a size, with this unit behind the number.
    Size(&'static str, &'static str),
    /// To a boolean that means the contrary.
    Not(&'static str),
    /// Each key of its mapping to a block, with the key as this attribute.
    Named(&'static str, &'static str),
    /// Its keys belong where it stands itself.
    Here,
    /// Nowhere, with a warning.
    Warn(&'static str, &'static str),
    /// Nowhere: an error that says what to do.
    Refuse(&'static str),
    /// To where code puts it.
    Own(Own),
}

/// Code for what no other rule can say.
pub type Own = fn(&mut Cx<'_>, &Key, &Node, &mut Vec<Item>);

/// A short form of [`Rule`].
pub const fn rule(from: &'static str, to: To) -> Rule {
    Rule { from, to }
}

/// How one kind of thing is read.
pub struct Table<'t> {
    /// What is read, as a diagnostic names it.
    pub what: &'t str,
    /// Lists of rules; the first that fits holds.
    pub rules: &'t [&'t [Rule]],
    /// Blocks that hold what the source has one level higher: path of the outer block (`""` is the root), name.
    pub inner: &'t [(&'t str, &'t str)],
    /// `block_name` of the source may be `name` in `block`.
    pub flat: bool,
    /// Label of a `local.file` that holds the content of a file.
    pub label: &'t str,
}

impl Table<'_> {
    fn rule(&self, path: &str) -> Option<&To> {
        let fits = |r: &&Rule| {
            path.strip_suffix(r.from).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        self.rules.iter().flat_map(|rules| rules.iter()).find(fits).map(|r| &r.to)
    }
}

/// Reads all keys of a mapping into a body.
pub fn fill(cx: &mut Cx<'_>, schema: &'static BodySchema, node: &Node, table: &Table<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    match &node.kind {
        Kind::Map(entries) => {
            let entries: Vec<_> = entries.iter().map(|(k, v)| (k, &**v)).collect();
            fill_entries(cx, schema, &entries, table, &mut items);
        }
        Kind::Null => {}
        _ => cx.wrong(node, table.what, "a mapping"),
    }
    items
}

/// Reads keys into a body that may hold something already.
pub fn fill_entries(
    cx: &mut Cx<'_>,
    schema: &'static BodySchema,
    entries: &[(&Key, &Node)],
    table: &Table<'_>,
    items: &mut Vec<Item>,
) {
    let body = Body { schema, table, source_path: "", target_path: "" };
    for (key, value) in entries {
        body.key(cx, key, value, items);
    }
}

/// What no key of a source may set.
const JOINTS: &[&str] =
    &["targets", "forward_to", "output", "relabel_rules", "path_targets", "legacy_positions_file"];

/// Where a key is read: the schema, and the way there in both worlds.
struct Body<'b> {
    schema: &'static BodySchema,
    table: &'b Table<'b>,
    source_path: &'b str,
    target_path: &'b str,
}

fn joined(path: &str, name: &str, by: char) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}{by}{name}") }
}

impl Body<'_> {
    fn key(&self, cx: &mut Cx<'_>, key: &Key, value: &Node, items: &mut Vec<Item>) {
        let path = joined(self.source_path, &key.text, '.');
        match self.table.rule(&path) {
            None => self.place(cx, &key.text, key, value, &path, items),
            Some(To::At(to)) => self.place(cx, to, key, value, &path, items),
            Some(To::Own(own)) => own(cx, key, value, items),
            Some(To::Size(to, unit)) => match value.text() {
                Some(text) if text.starts_with("${") || text.bytes().all(|b| b.is_ascii_digit()) => {
                    items.push(attribute(to, cx.text(&format!("{text}{unit}"), value.span)));
                }
                _ => cx.wrong(value, &key.text, "a whole number"),
            },
            Some(To::Not(to)) => match value.text() {
                Some("true") => items.push(attribute(to, Expr::raw("false"))),
                Some("false") => items.push(attribute(to, Expr::raw("true"))),
                _ => cx.wrong(value, &key.text, "true or false"),
            },
            Some(To::Named(block, name)) => self.named(cx, (block, name), key, value, &path, items),
            Some(To::Here) => match &value.kind {
                Kind::Map(entries) => {
                    let body = Body { source_path: &path, ..*self };
                    entries.iter().for_each(|(k, v)| body.key(cx, k, v, items));
                }
                Kind::Null => {}
                _ => cx.wrong(value, &key.text, "a mapping"),
            },
            Some(To::Warn(..) | To::Refuse(_)) if value.is_empty() => {}
            Some(To::Warn(message, help)) => cx.warn(key.span, format!("{}: {message}", key.text), *help),
            Some(To::Refuse(help)) => {
                cx.error("unsupported", key.span, format!("{} cannot be converted", key.text), *help);
            }
        }
    }

    /// Puts a value to a place below this body.
    fn place(&self, cx: &mut Cx<'_>, to: &str, key: &Key, value: &Node, path: &str, items: &mut Vec<Item>) {
        if let Some((block, rest)) = to.split_once('/') {
            let Some(FieldSchema::Block(inner)) = self.schema.field(block) else {
                return cx.unknown(key, self.table.what);
            };
            let target = joined(self.target_path, block, '/');
            let body = Body { schema: (inner.body)(), target_path: &target, ..*self };
            return body.place(cx, rest, key, value, path, block_of(items, block));
        }
        match self.schema.field(to) {
            // These join components: the reader writes them, never the source.
            Some(_) if self.target_path.is_empty() && JOINTS.contains(&to) => {
                cx.unknown(key, self.table.what)
            }
            Some(FieldSchema::Attribute(_)) if matches!(value.kind, Kind::Null) => {}
            Some(field) if let Some(why) = field.no_effect() => {
                cx.warn(key.span, format!("{}: has no effect here: {why}", key.text), "remove it");
            }
            Some(FieldSchema::Attribute(argument)) if has(items, argument.name) => {
                let message = format!("{} has been written already, under this or another name", key.text);
                cx.error("twice", key.span, message, "keep one of them");
            }
            Some(FieldSchema::Attribute(argument)) => {
                if let Some(expression) = cx.expression(argument, value) {
                    items.push(attribute(argument.name, expression));
                }
            }
            Some(FieldSchema::Block(block)) => self.block(cx, block, key, value, path, items),
            None if self.read_from_file(cx, key, value, items) => {}
            None if let Some(to) = self.unfolded(to) => self.place(cx, &to, key, value, path, items),
            None => {
                let is_here = |(outer, _): &&(&str, &str)| *outer == self.target_path;
                let inner = self.table.inner.iter().filter(is_here).find_map(|(_, name)| {
                    match self.schema.field(name) {
                        Some(FieldSchema::Block(b)) => knows(self, b, path, &key.text).then_some((b, *name)),
                        _ => None,
                    }
                });
                let Some((block, name)) = inner else { return cx.unknown(key, self.table.what) };
                let target = joined(self.target_path, name, '/');
                let body = Body { schema: (block.body)(), target_path: &target, ..*self };
                body.place(cx, to, key, value, path, block_of(items, name));
            }
        }
    }

    /// `block_name` → `block/name`, where the schema has both.
    fn unfolded(&self, key: &str) -> Option<String> {
        let known = |at: usize| match self.schema.field(&key[..at]) {
            Some(FieldSchema::Block(block)) => (block.body)().field(&key[at + 1..]).is_some(),
            _ => false,
        };
        let at = key.match_indices('_').map(|(at, _)| at).find(|at| self.table.flat && known(*at))?;
        Some(format!("{}/{}", &key[..at], &key[at + 1..]))
    }

    /// `x_file` of the source where the component has `x` alone: the content of a `local.file`.
    fn read_from_file(&self, cx: &mut Cx<'_>, key: &Key, value: &Node, items: &mut Vec<Item>) -> bool {
        let Some(name) = key.text.strip_suffix("_file") else { return false };
        let Some(FieldSchema::Attribute(argument)) = self.schema.field(name) else { return false };
        let Some(path) = value.text().filter(|_| !argument.code_type.contains('(')) else { return false };
        let path = cx.text(path, value.span);
        let label = format!("{}_{name}", self.table.label);
        let content = cx.file(&label, path, argument.code_type == "secret", key.span);
        items.push(attribute(argument.name, content));
        true
    }

    fn block(
        &self,
        cx: &mut Cx<'_>,
        block: &BlockSchema,
        key: &Key,
        value: &Node,
        path: &str,
        items: &mut Vec<Item>,
    ) {
        match &value.kind {
            Kind::Null if cx.collector && !block.repeatable => {
                block_of(items, block.name);
            }
            Kind::Null => {}
            Kind::List(list) if block.repeatable => {
                for item in list {
                    let mut inner = Vec::new();
                    self.inside(cx, block, &key.text, item, path, &mut inner);
                    items.push(Item::Block(Block::new(block.name, inner)));
                }
            }
            Kind::Map(_) if block.repeatable && block.group.is_none() => cx.wrong(value, &key.text, "a list"),
            Kind::Map(_) if block.repeatable => {
                let mut inner = Vec::new();
                self.inside(cx, block, &key.text, value, path, &mut inner);
                items.push(Item::Block(Block::new(block.name, inner)));
            }
            Kind::Map(_) => self.inside(cx, block, &key.text, value, path, block_of(items, block.name)),
            _ => cx.wrong(value, &key.text, if block.repeatable { "a list" } else { "a mapping" }),
        }
    }

    fn inside(
        &self,
        cx: &mut Cx<'_>,
        block: &BlockSchema,
        name: &str,
        value: &Node,
        path: &str,
        items: &mut Vec<Item>,
    ) {
        let target = joined(self.target_path, block.name, '/');
        let body = Body { schema: (block.body)(), source_path: path, target_path: &target, ..*self };
        match &value.kind {
            Kind::Map(entries) => entries.iter().for_each(|(k, v)| body.key(cx, k, v, items)),
            Kind::Null => {}
            _ => cx.wrong(value, name, "a mapping"),
        }
    }

    fn named(
        &self,
        cx: &mut Cx<'_>,
        (block, name): (&str, &'static str),
        key: &Key,
        value: &Node,
        path: &str,
        items: &mut Vec<Item>,
    ) {
        let (Kind::Map(entries), Some(FieldSchema::Block(schema))) = (&value.kind, self.schema.field(block))
        else {
            return cx.wrong(value, &key.text, "a mapping");
        };
        for (key, value) in entries {
            let mut inner = vec![attribute(name, cx.text(&key.text, key.span))];
            self.inside(cx, schema, &key.text, value, path, &mut inner);
            items.push(Item::Block(Block::new(schema.name, inner)));
        }
    }
}

/// Whether a block's body has a place for a key: by its name, by a rule, or from a file.
fn knows(body: &Body<'_>, block: &BlockSchema, path: &str, key: &str) -> bool {
    let schema = (block.body)();
    let moved = match body.table.rule(path) {
        Some(To::At(to)) => to.split('/').next().unwrap_or(to),
        _ => key,
    };
    schema.field(moved).is_some() || key.strip_suffix("_file").is_some_and(|k| schema.field(k).is_some())
}

/// The order of the schema, blocks inside included: attributes, then blocks; those of one group stay in the order of
/// the source.
pub fn sort(items: &mut [Item], schema: &BodySchema) {
    let place = |name: &str| schema.fields.iter().position(|f| f.name() == name).unwrap_or(usize::MAX);
    items.sort_by_key(|item| match item {
        Item::Attribute(name, _) => (0, place(name)),
        Item::Block(block) => {
            let grouped = |f: &FieldSchema| matches!(f, FieldSchema::Block(b) if b.group.is_some());
            let in_group = schema.field(&block.name).is_some_and(grouped);
            (
                1,
                if in_group {
                    schema.fields.iter().position(grouped).unwrap_or(0)
                } else {
                    place(&block.name)
                },
            )
        }
    });
    for item in items {
        if let Item::Block(block) = item
            && let Some(FieldSchema::Block(inner)) = schema.field(&block.name)
        {
            sort(&mut block.items, (inner.body)());
        }
    }
}
