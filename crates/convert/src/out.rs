//! The pipeline while it is made: blocks, attributes and expressions, and their text.

use std::fmt::Write;

/// A value of the configuration language.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A string.
    Text(String),
    /// A number, a boolean, a reference: written as it is.
    Raw(String),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{ a = 1 }`
    Object(Vec<(String, Expr)>),
    /// `name(a, b)`
    Call(&'static str, Vec<Expr>),
}

impl Expr {
    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Something that is written as it is.
    pub fn raw(text: impl Into<String>) -> Self {
        Self::Raw(text.into())
    }

    fn is_long(&self) -> bool {
        match self {
            Self::Text(_) | Self::Raw(_) => false,
            Self::Object(fields) => !fields.is_empty(),
            Self::List(items) | Self::Call(_, items) => items.iter().any(Self::is_long),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(&literal(text)),
            Self::Raw(text) => out.push_str(text),
            Self::List(items) if items.iter().all(|i| matches!(i, Self::Object(f) if !f.is_empty())) => {
                // As Alloy's converter writes targets: [{ … }, { … }]
                write_items(out, "[", items, "]", false);
            }
            Self::List(items) => write_items(out, "[", items, "]", self.is_long() || wide(items)),
            Self::Call(name, items) => {
                out.push_str(name);
                write_items(out, "(", items, ")", self.is_long());
            }
            Self::Object(fields) if fields.is_empty() => out.push_str("{}"),
            Self::Object(fields) => {
                out.push_str("{\n");
                for (name, value) in fields {
                    match syntax::is_identifier(name) {
                        true => out.push_str(name),
                        false => out.push_str(&syntax::quote(name)),
                    }
                    out.push_str(" = ");
                    value.write(out);
                    out.push_str(",\n");
                }
                out.push('}');
            }
        }
    }
}

/// A list of texts that would make a line nobody reads.
fn wide(items: &[Expr]) -> bool {
    let width = |e: &Expr| match e {
        Expr::Text(t) | Expr::Raw(t) => t.len() + 4,
        _ => 4,
    };
    items.len() > 1 && items.iter().map(width).sum::<usize>() > 100
}

fn write_items(out: &mut String, open: &str, items: &[Expr], close: &str, lines: bool) {
    out.push_str(open);
    for (n, item) in items.iter().enumerate() {
        match (lines, n) {
            (true, _) => out.push('\n'),
            (false, 0) => {}
            (false, _) => out.push(' '),
        }
        item.write(out);
        if lines || n + 1 < items.len() {
            out.push(',');
        }
    }
    if lines && !items.is_empty() {
        out.push('\n');
    }
    out.push_str(close);
}

/// A string, raw where that spares escapes.
fn literal(text: &str) -> String {
    let raw = text.contains(['\\', '"']) && !text.contains('`') && !text.chars().any(char::is_control);
    if raw { format!("`{text}`") } else { syntax::quote(text) }
}

/// A block.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Its name, dots included.
    pub name: String,
    /// Its label.
    pub label: Option<String>,
    /// What stands in it.
    pub items: Vec<Item>,
}

/// What stands in a block.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// `name = value`
    Attribute(String, Expr),
    /// `name { … }`
    Block(Block),
}

impl Block {
    /// A block without a label.
    pub fn new(name: impl Into<String>, items: Vec<Item>) -> Self {
        Self { name: name.into(), label: None, items }
    }

    /// A component.
    pub fn component(name: impl Into<String>, label: impl Into<String>, items: Vec<Item>) -> Self {
        Self { name: name.into(), label: Some(label.into()), items }
    }

    /// `name.label`, and an export of it.
    pub fn export(&self, export: &str) -> Expr {
        let label = self.label.as_deref().unwrap_or_default();
        Expr::raw(format!("{}.{label}.{export}", self.name))
    }

    /// Text that the formatter finishes.
    pub fn write(&self, out: &mut String) {
        out.push_str(&self.name);
        if let Some(label) = &self.label {
            let _ = write!(out, " {}", syntax::quote(label));
        }
        if self.items.is_empty() {
            out.push_str(" { }\n");
            return;
        }
        out.push_str(" {\n");
        for (n, item) in self.items.iter().enumerate() {
            match item {
                Item::Attribute(name, value) => {
                    let _ = write!(out, "{name} = ");
                    value.write(out);
                    out.push('\n');
                }
                Item::Block(block) => {
                    if n > 0 {
                        out.push('\n');
                    }
                    block.write(out);
                }
            }
        }
        out.push_str("}\n");
    }
}

/// An attribute.
pub fn attribute(name: &str, value: Expr) -> Item {
    Item::Attribute(name.to_string(), value)
}

/// The items of the block of that name, which is made where it is missing.
pub fn block_of<'i>(items: &'i mut Vec<Item>, name: &str) -> &'i mut Vec<Item> {
    let is = |i: &Item| matches!(i, Item::Block(b) if b.name == name);
    let at = items.iter().position(is).unwrap_or_else(|| {
        items.push(Item::Block(Block::new(name, Vec::new())));
        items.len() - 1
    });
    match &mut items[at] {
        Item::Block(block) => &mut block.items,
        Item::Attribute(..) => unreachable!("the position is that of a block"),
    }
}

/// Whether a block or an attribute of that name is there.
pub fn has(items: &[Item], name: &str) -> bool {
    items.iter().any(|i| match i {
        Item::Attribute(n, _) => n == name,
        Item::Block(b) => b.name == name,
    })
}

/// The text of a pipeline, formatted.
pub fn render(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks {
        if !text.is_empty() {
            text.push('\n');
        }
        block.write(&mut text);
    }
    let (file, _) = syntax::parse(&syntax::Source::new("converted", text));
    syntax::format(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_written_in_the_style_of_the_formatter() {
        let target =
            Expr::Object(vec![("__address__".into(), Expr::text("a:1")), ("a-b".into(), Expr::text("x\"y"))]);
        let calls = Expr::Call("array.concat", vec![Expr::raw("a.b.c"), Expr::List(vec![target])]);
        let items = vec![
            attribute("targets", calls),
            attribute("n", Expr::raw("1")),
            Item::Block(Block::new("rule", vec![])),
        ];
        let text = render(&[Block::component("x.y", "l", items)]);
        let want = "x.y \"l\" {\n\ttargets = array.concat(\n\t\ta.b.c,\n\t\t[{\n\t\t\t__address__ = \"a:1\",\n\t\t\t\"a-b\"       = `x\"y`,\n\t\t}],\n\t)\n\tn = 1\n\n\trule { }\n}\n";
        assert_eq!(text, want);
        let (_, problems) = syntax::parse(&syntax::Source::new("t", text));
        assert!(problems.is_empty(), "{problems:?}");
    }
}
