//! Converters of XML: to maps, and to other XML by paths.

mod dom;
mod path;

use std::borrow::Cow;
use std::collections::HashSet;

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

use super::Takes::{Fixed, Str};
use super::{Args, Function, optional, param};
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Value, any, any_str, entry};
use dom::{Document, Kind};
use path::{Found, XPath};

pub(super) const TABLE: &[Function] = &[
    Function::convert(
        "ConvertAttributesToElementsXML",
        &[param("target", Str), optional("xpath", Fixed)],
        attributes_to_elements,
    )
    .prepared(|args| prepare(args, "//@*")),
    Function::convert(
        "ConvertTextToElementsXML",
        &[param("target", Str), optional("xpath", Fixed), optional("element_name", Fixed)],
        text_to_elements,
    )
    .prepared(|args| prepare(args, "/")),
    Function::convert("GetXML", &[param("target", Str), param("xpath", Fixed)], |args, env| {
        let document = parse(args, env)?;
        let mut out = String::new();
        for found in selected(args, &document)? {
            match found {
                Found::Node(at) => match &document.nodes[at].kind {
                    Kind::Text(text) | Kind::CData(text) => out.push_str(text),
                    _ => document.write(at, &mut out),
                },
                Found::Attribute(at, number) => {
                    out.push_str(path::attribute(&document, at, number).map_or("", |(_, value)| value));
                }
            }
        }
        Ok(Value::string(out))
    })
    .prepared(|args| prepare(args, "/")),
    Function::convert(
        "InsertXML",
        &[param("target", Str), param("xpath", Fixed), param("value", Str)],
        |args, env| {
            let mut document = parse(args, env)?;
            let inserted = Document::parse(&args.str(2, env)?).map_err(EvalError::new)?;
            for found in selected(args, &document)? {
                match found {
                    Found::Node(at) if at == 0 || document.is_element(at) => document.graft(at, &inserted, 0),
                    _ => return Err(EvalError::new("the path selects something that is no element")),
                }
            }
            written(&document)
        },
    )
    .prepared(|args| prepare(args, "/")),
    Function::convert("ParseSimplifiedXML", &[param("target", Str)], |args, env| {
        let document = parse(args, env)?;
        Ok(Value::Map(Cow::Owned(simplified(&document, 0))))
    }),
    Function::convert("ParseXML", &[param("target", Str)], |args, env| {
        let document = parse(args, env)?;
        let mut elements = document.nodes[0].children.iter().filter(|child| document.is_element(**child));
        match (elements.next(), elements.next()) {
            (Some(root), None) => Ok(Value::Map(Cow::Owned(full(&document, *root)))),
            (None, _) => Err(EvalError::new("no XML: there is no element")),
            (Some(_), Some(_)) => Err(EvalError::new("no XML: there are several elements at the top")),
        }
    }),
    Function::convert("RemoveXML", &[param("target", Str), param("xpath", Fixed)], |args, env| {
        let mut document = parse(args, env)?;
        let mut gone = HashSet::new();
        // From the last to the first, so that the numbers of attributes stay true.
        for found in selected(args, &document)?.into_iter().rev() {
            match found {
                Found::Node(0) => return Err(EvalError::new("the whole document cannot be removed")),
                Found::Node(at) => {
                    gone.insert(at);
                }
                Found::Attribute(at, number) => {
                    if let Kind::Element { attributes, .. } = &mut document.nodes[at].kind {
                        attributes.remove(number);
                    }
                }
            }
        }
        document.remove(&gone);
        written(&document)
    })
    .prepared(|args| prepare(args, "/")),
];

fn prepare(args: &mut Args, default: &str) -> Result<(), String> {
    let path = XPath::parse(args.fixed(1).unwrap_or(default))?;
    args.keep(path);
    Ok(())
}

fn parse(args: &Args, env: &Env<'_>) -> Result<Document, EvalError> {
    Document::parse(&args.str(0, env)?).map_err(EvalError::new)
}

fn selected(args: &Args, document: &Document) -> Result<Vec<Found>, EvalError> {
    let path = args.ready::<XPath>().ok_or_else(|| EvalError::new("there is no path"))?;
    Ok(path.select(document))
}

fn written(document: &Document) -> Result<Value<'static>, EvalError> {
    let mut out = String::new();
    document.write(0, &mut out);
    Ok(Value::string(out))
}

fn attributes_to_elements<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let mut document = parse(args, env)?;
    let mut moved: Vec<(usize, String, String)> = Vec::new();
    for found in selected(args, &document)? {
        match found {
            Found::Attribute(at, number) => {
                if let Some((key, value)) = path::attribute(&document, at, number) {
                    moved.push((at, key.clone(), value.clone()));
                }
            }
            Found::Node(at) => {
                if let Kind::Element { attributes, .. } = &document.nodes[at].kind {
                    moved.extend(attributes.iter().map(|(key, value)| (at, key.clone(), value.clone())));
                }
            }
        }
    }
    for (at, key, value) in moved {
        if let Kind::Element { attributes, .. } = &mut document.nodes[at].kind {
            attributes.retain(|(name, _)| *name != key);
        }
        let element = document.add(at, Kind::Element { name: key, attributes: Vec::new() });
        if !value.is_empty() {
            document.add(element, Kind::Text(value));
        }
    }
    written(&document)
}

fn text_to_elements<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let mut document = parse(args, env)?;
    let name = args.fixed(2).unwrap_or("value");
    for found in selected(args, &document)? {
        if let Found::Node(at) = found {
            wrap_text(&mut document, at, name);
        }
    }
    written(&document)
}

/// Text beside elements gets an element of its own.
fn wrap_text(document: &mut Document, at: usize, name: &str) {
    let children = document.nodes[at].children.clone();
    let mixed = children.iter().any(|child| document.is_element(*child));
    for child in children {
        match &document.nodes[child].kind {
            Kind::Element { .. } => wrap_text(document, child, name),
            Kind::Text(text) | Kind::CData(text) if mixed && !text.trim().is_empty() => {
                let kind = document.nodes[child].kind.clone();
                document.nodes[child].kind = Kind::Element { name: name.to_owned(), attributes: Vec::new() };
                document.add(child, kind);
            }
            _ => {}
        }
    }
}

/// The text of an element itself, each piece trimmed.
fn own_text(document: &Document, at: usize) -> String {
    let pieces = document.nodes[at].children.iter().filter_map(|child| match &document.nodes[*child].kind {
        Kind::Text(text) | Kind::CData(text) => Some(text.trim()),
        _ => None,
    });
    pieces.collect()
}

fn list(values: Vec<AnyValue>) -> AnyValue {
    any(Proto::ArrayValue(ArrayValue { values }))
}

fn map(values: Vec<KeyValue>) -> AnyValue {
    any(Proto::KvlistValue(KeyValueList { values }))
}

fn full(document: &Document, at: usize) -> Vec<KeyValue> {
    let Kind::Element { name, attributes } = &document.nodes[at].kind else { return Vec::new() };
    let mut out = vec![entry("tag", any_str(name.trim()))];
    let content = own_text(document, at);
    if !content.is_empty() {
        out.push(entry("content", any_str(content)));
    }
    if !attributes.is_empty() {
        let attributes = attributes.iter().map(|(key, value)| entry(key.as_str(), any_str(value.as_str())));
        out.push(entry("attributes", map(attributes.collect())));
    }
    let children: Vec<AnyValue> = document.nodes[at]
        .children
        .iter()
        .filter(|child| document.is_element(**child))
        .map(|child| map(full(document, *child)))
        .collect();
    if !children.is_empty() {
        out.push(entry("children", list(children)));
    }
    out
}

/// Elements as keys: several of one name become a list, an empty one only says that there are several.
fn simplified(document: &Document, at: usize) -> Vec<KeyValue> {
    let mut all: Vec<(&str, Vec<AnyValue>, usize)> = Vec::new();
    for child in &document.nodes[at].children {
        let Kind::Element { name, .. } = &document.nodes[*child].kind else { continue };
        let place = all.iter().position(|(known, ..)| known == name).unwrap_or_else(|| {
            all.push((name, Vec::new(), 0));
            all.len() - 1
        });
        let (_, values, seen) = &mut all[place];
        *seen += 1;
        let has_elements = document.nodes[*child].children.iter().any(|c| document.is_element(*c));
        if has_elements {
            values.push(map(simplified(document, *child)));
            continue;
        }
        let text = own_text(document, *child);
        if !text.is_empty() {
            values.push(any_str(text));
        }
    }
    all.into_iter()
        .filter(|(_, values, _)| !values.is_empty())
        .map(|(name, mut values, seen)| match seen {
            1 => entry(name, values.remove(0)),
            _ => entry(name, list(values)),
        })
        .collect()
}
