//! An XML document as a tree that can be searched and changed, read with quick-xml.

use std::collections::HashSet;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Elements inside of each other.
const MAX_DEPTH: usize = 256;

/// A document: its nodes by number, the root first.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) parent: usize,
    pub(super) children: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Root,
    Element {
        name: String,
        attributes: Vec<(String, String)>,
    },
    Text(String),
    CData(String),
    Comment(String),
    /// `<?…?>`, the declaration too.
    Instruction(String),
    /// `<!…>`
    Doctype(String),
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut document = Self { nodes: vec![Node { kind: Kind::Root, parent: 0, children: Vec::new() }] };
        let mut reader = Reader::from_str(text);
        let mut open = vec![0];
        loop {
            let event = reader.read_event().map_err(|error| format!("no XML: {error}"))?;
            let parent = *open.last().expect("the root stays open");
            match event {
                Event::Start(start) => {
                    if open.len() > MAX_DEPTH {
                        return Err(format!("elements are nested more than {MAX_DEPTH} deep"));
                    }
                    let at = document.add(parent, element(&start)?);
                    open.push(at);
                }
                Event::Empty(start) => {
                    document.add(parent, element(&start)?);
                }
                Event::End(_) => {
                    open.pop();
                }
                Event::Text(text) => document.add_text(parent, &text.xml10_content()),
                Event::GeneralRef(reference) => {
                    let name = reference.xml10_content();
                    let meant = match reference.resolve_char_ref() {
                        Ok(Some(c)) => c.to_string(),
                        _ => quick_xml::escape::resolve_predefined_entity(&name)
                            .ok_or_else(|| format!("no XML: the entity `&{name};` is not known"))?
                            .to_owned(),
                    };
                    document.add_text(parent, &meant);
                }
                Event::CData(data) => {
                    document.add(parent, Kind::CData(data.xml10_content().into_owned()));
                }
                Event::Comment(text) => {
                    document.add(parent, Kind::Comment(text.xml10_content().into_owned()));
                }
                Event::Decl(declaration) => {
                    document.add(parent, Kind::Instruction((*declaration).to_owned()));
                }
                Event::PI(instruction) => {
                    document.add(parent, Kind::Instruction((*instruction).to_owned()));
                }
                Event::DocType(text) => {
                    document.add(parent, Kind::Doctype(text.xml10_content().into_owned()));
                }
                Event::Eof => break,
            }
        }
        if open.len() > 1 {
            return Err("no XML: an element is not closed".into());
        }
        Ok(document)
    }

    pub(super) fn add(&mut self, parent: usize, kind: Kind) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Node { kind, parent, children: Vec::new() });
        self.nodes[parent].children.push(at);
        at
    }

    fn add_text(&mut self, parent: usize, text: &str) {
        if let Some(last) = self.nodes[parent].children.last().copied()
            && let Kind::Text(before) = &mut self.nodes[last].kind
        {
            before.push_str(text);
        } else if !(parent == 0 && text.trim().is_empty()) {
            self.add(parent, Kind::Text(text.to_owned()));
        }
    }

    /// Takes nodes out of their parents.
    pub(super) fn remove(&mut self, gone: &HashSet<usize>) {
        let parents: HashSet<usize> = gone.iter().map(|at| self.nodes[*at].parent).collect();
        for parent in parents {
            self.nodes[parent].children.retain(|child| !gone.contains(child));
        }
    }

    /// The text of a node and of all below it.
    pub(super) fn text(&self, at: usize) -> String {
        match &self.nodes[at].kind {
            Kind::Text(text) | Kind::CData(text) | Kind::Comment(text) => text.clone(),
            Kind::Root | Kind::Element { .. } => {
                let below = self.nodes[at].children.iter();
                below
                    .filter(|c| !matches!(self.nodes[**c].kind, Kind::Comment(_)))
                    .map(|c| self.text(*c))
                    .collect()
            }
            Kind::Instruction(_) | Kind::Doctype(_) => String::new(),
        }
    }

    pub(super) fn is_element(&self, at: usize) -> bool {
        matches!(self.nodes[at].kind, Kind::Element { .. })
    }

    /// Copies the children of another document's node below a node of this one.
    pub(super) fn graft(&mut self, to: usize, other: &Self, from: usize) {
        for child in &other.nodes[from].children {
            let at = self.add(to, other.nodes[*child].kind.clone());
            self.graft(at, other, *child);
        }
    }

    pub(super) fn write(&self, at: usize, out: &mut String) {
        match &self.nodes[at].kind {
            Kind::Root => self.write_children(at, out),
            Kind::Element { name, attributes } => {
                out.extend(["<", name]);
                for (key, value) in attributes {
                    out.extend([" ", key, "=\"", &escaped(value), "\""]);
                }
                out.push('>');
                self.write_children(at, out);
                out.extend(["</", name, ">"]);
            }
            Kind::Text(text) => out.push_str(&escaped(text)),
            Kind::CData(text) => out.extend(["<![CDATA[", text, "]]>"]),
            Kind::Comment(text) => out.extend(["<!--", text, "-->"]),
            Kind::Instruction(text) => out.extend(["<?", text, "?>"]),
            Kind::Doctype(text) => out.extend(["<!DOCTYPE ", text, ">"]),
        }
    }

    fn write_children(&self, at: usize, out: &mut String) {
        self.nodes[at].children.iter().for_each(|child| self.write(*child, out));
    }
}

fn element(start: &BytesStart<'_>) -> Result<Kind, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("no XML: {error}"))?;
        let raw: &str = &attribute.value;
        let value = quick_xml::escape::unescape(raw).map_err(|error| format!("no XML: {error}"))?;
        let key: &str = attribute.key.as_ref();
        attributes.push((key.to_owned(), value.into_owned()));
    }
    let name: &str = start.name().into_inner();
    Ok(Kind::Element { name: name.to_owned(), attributes })
}

/// As Go's `html.EscapeString`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
