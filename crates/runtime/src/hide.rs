//! What diagnostics show of a configuration's lines: not the secrets in them. They go into the log and over
//! HTTP, and a mistake may stand in the line of a password.
//!
//! Invariant: texts keep their length and their lines, so that places stay true.

use std::ops::Range;

use eval::{BodySchema, FieldSchema, closest, names_secret, passwords};
use syntax::ast::{Body, Expr, ExprKind, Literal, Statement, walk_expr};
use syntax::{Diagnostic, Source};

use crate::definitions::Definitions;

/// Hides the secrets in the lines that diagnostics show.
pub(crate) fn hide_secrets(diagnostics: &mut [Diagnostic], definitions: &Definitions) {
    let mut known: Vec<(Source, Source)> = Vec::new();
    for location in diagnostics.iter_mut().filter_map(|d| d.location.as_mut()) {
        let shown = match known.iter().find(|(source, _)| *source == location.source) {
            Some((_, shown)) => shown.clone(),
            None => {
                let shown = without_secrets(&location.source, definitions);
                known.push((location.source.clone(), shown.clone()));
                shown
            }
        };
        location.source = shown;
    }
}

fn without_secrets(source: &Source, definitions: &Definitions) -> Source {
    let mut found: Vec<Range<usize>> = Vec::new();
    if source.is_concealed() {
        found.push(0..source.text().len());
    } else {
        let (file, _) = syntax::parse(source);
        found.extend(passwords(source.text()));
        module(&file.body, definitions, &mut found);
    }
    if found.is_empty() {
        return source.clone();
    }
    let mut bytes = source.text().as_bytes().to_vec();
    for range in found {
        let hidden = bytes.get_mut(range).into_iter().flatten();
        hidden.filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
    }
    // Whole characters were replaced.
    String::from_utf8(bytes)
        .map_or_else(|_| Source::new(source.name(), ""), |text| Source::new(source.name(), text))
}

/// The secrets of a body of blocks: a file, a `declare`, a template.
fn module(body: &Body, definitions: &Definitions, found: &mut Vec<Range<usize>>) {
    for statement in &body.statements {
        let Statement::Block(block) = statement else { continue };
        let name = block.full_name();
        match name.as_str() {
            "declare" | "template" => module(&block.body, definitions, found),
            "foreach" => {
                arguments(&block.body, None, found);
                module(&block.body, definitions, found);
            }
            _ => arguments(&block.body, schema(&name, definitions), found),
        }
    }
}

fn schema(name: &str, definitions: &Definitions) -> Option<&'static BodySchema> {
    let component = definitions.registry.get(name).map(|c| (c.arguments)());
    let block = || definitions.config_block(name).map(|b| b.schema());
    component.or_else(block).or_else(|| definitions.import(name).map(|i| (i.schema)()))
}

/// The secrets of a block's body; without a schema, or under a name that it has not, names have to tell.
fn arguments(body: &Body, schema: Option<&'static BodySchema>, found: &mut Vec<Range<usize>>) {
    for statement in &body.statements {
        match statement {
            Statement::Attribute(attribute) => {
                let name = attribute.name.name.as_str();
                let is_secret = match schema.map(|s| (s, s.field(name))) {
                    Some((_, Some(FieldSchema::Attribute(known)))) => holds_secret(&known.code_type),
                    Some((schema, _)) => names_secret(name) || is_near_a_secret(name, schema),
                    None => names_secret(name),
                };
                literals(&attribute.value, is_secret, found);
            }
            Statement::Block(block) => {
                let inner = match schema.and_then(|s| s.field(&block.full_name())) {
                    Some(FieldSchema::Block(known)) => Some((known.body)()),
                    _ => None,
                };
                arguments(&block.body, inner, found);
            }
        }
    }
}

fn holds_secret(code_type: &str) -> bool {
    code_type.replace("optional_secret", "").contains("secret")
}

fn is_near_a_secret(name: &str, schema: &BodySchema) -> bool {
    let secrets = schema.attributes().filter(|a| holds_secret(&a.code_type));
    closest(name, secrets.map(|a| a.name)).is_some()
}

/// What stands between the quotes of an expression's strings; unless it is a secret as a whole, of the fields
/// that seem to be one (headers).
fn literals(expr: &Expr, is_secret: bool, found: &mut Vec<Range<usize>>) {
    walk_expr(expr, &mut |e| match &e.kind {
        ExprKind::Literal(Literal::String(_)) => {
            if is_secret && e.span.end >= e.span.start + 2 {
                found.push(e.span.start as usize + 1..e.span.end as usize - 1);
            }
            false
        }
        ExprKind::Object(fields) if !is_secret => {
            fields.iter().for_each(|f| literals(&f.value, names_secret(&f.key.name), found));
            false
        }
        _ => true,
    });
}

#[cfg(test)]
mod tests {
    use component::{Registry, Stability};
    use syntax::Span;

    use super::*;

    #[test]
    fn of_a_text_that_is_a_secret_nothing_is_shown_but_the_place() {
        let definitions =
            Definitions::new(Registry::new(&[]), Vec::new(), Vec::new(), Stability::Experimental);
        let source = Source::new("import.string", "declare \"é\" {\n\thunter2 }").concealed();
        let mut found = [Diagnostic::error("syntax", "wrong", &source, Span::new(16, 23))];
        hide_secrets(&mut found, &definitions);
        let shown = syntax::render(&found, false);
        assert!(shown.contains("import.string:2:2") && shown.contains("*******"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("declare"), "{shown}");
    }
}
