//! What diagnostics show of a configuration's lines: not the secrets in them. They go into the log and over
//! HTTP, and a mistake may stand in the line of a password.
//!
//! Invariant: texts keep their length and their lines, so that places stay true.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use eval::{BodySchema, names_secret, passwords};
use syntax::ast::{Body, Expr, ExprKind, Literal, Statement, walk_expr};
use syntax::{Diagnostic, Source, assigned_strings};

use crate::definitions::Definitions;
use crate::scope::Scope;
use crate::secrets::{self, Named, Names};

/// Hides the secrets in the lines that diagnostics show. `scopes` tell of the custom components that texts use and do
/// not declare.
pub(crate) fn hide_secrets(diagnostics: &mut [Diagnostic], definitions: &Definitions, scopes: &[Arc<Scope>]) {
    if diagnostics.iter().all(|d| d.location.is_none()) {
        return;
    }
    let others = secrets::of_scopes(scopes, definitions);
    let mut known: Vec<(Source, Source)> = Vec::new();
    for location in diagnostics.iter_mut().filter_map(|d| d.location.as_mut()) {
        let shown = match known.iter().find(|(source, _)| *source == location.source) {
            Some((_, shown)) => shown.clone(),
            None => {
                let shown = without_secrets(&location.source, definitions, &others);
                known.push((location.source.clone(), shown.clone()));
                shown
            }
        };
        location.source = shown;
    }
}

fn without_secrets(source: &Source, definitions: &Definitions, others: &Named) -> Source {
    let mut found: Vec<Range<usize>> = Vec::new();
    if source.is_concealed() {
        found.push(0..source.text().len());
    } else {
        let (file, problems) = syntax::parse(source);
        found.extend(passwords(source.text()));
        let custom = secrets::of_declares(&[&file.body], definitions, others);
        if !problems.is_empty() {
            broken(source, &file.body, &custom, &mut found);
        }
        Finder { definitions, custom, found: &mut found }.module(&file.body, &Names::new());
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

/// The secrets of what is not part of the tree, for its line is broken. There names have to tell.
fn broken(source: &Source, body: &Body, custom: &Named, found: &mut Vec<Range<usize>>) {
    let mut strings = BTreeSet::new();
    known_strings(body, &mut strings);
    for (name, span) in
        assigned_strings(source).into_iter().filter(|(_, span)| !strings.contains(&span.start))
    {
        // Whose default it is cannot be told.
        if names_secret(name) || name == "default" || custom.values().any(|names| names.contains(name)) {
            found.push(span.start as usize + 1..span.end as usize - 1);
        }
    }
}

/// Where the strings of a tree begin.
fn known_strings(body: &Body, strings: &mut BTreeSet<u32>) {
    for statement in &body.statements {
        match statement {
            Statement::Block(block) => known_strings(&block.body, strings),
            Statement::Attribute(attribute) => walk_expr(&attribute.value, &mut |e| {
                if matches!(e.kind, ExprKind::Literal(Literal::String(_))) {
                    strings.insert(e.span.start);
                }
                true
            }),
        }
    }
}

/// Finds the secrets of a text.
struct Finder<'a> {
    definitions: &'a Definitions,
    /// Of each declare, the arguments that are secrets.
    custom: Named,
    found: &'a mut Vec<Range<usize>>,
}

impl Finder<'_> {
    /// A body of blocks: a file, a `declare` with these secret arguments, a template.
    fn module(&mut self, body: &Body, own: &Names) {
        for statement in &body.statements {
            let Statement::Block(block) = statement else { continue };
            let name = block.full_name();
            let label = block.label.as_ref().map_or("", |label| label.name.as_str());
            match name.as_str() {
                "declare" => {
                    let own = self.custom.get(label).cloned().unwrap_or_default();
                    self.module(&block.body, &own);
                }
                "template" => self.module(&block.body, own),
                "foreach" => {
                    self.arguments(&block.body, None, &Names::new());
                    self.module(&block.body, own);
                }
                // A default that nobody is to see.
                "argument" if own.contains(label) || names_secret(label) => {
                    block.body.attributes().for_each(|a| literals(&a.value, true, self.found));
                }
                _ => {
                    let custom = self.custom.get(&name).cloned().unwrap_or_default();
                    self.arguments(&block.body, secrets::schema(&name, self.definitions), &custom);
                }
            }
        }
    }

    /// A block's body; `custom` are the secret arguments of a custom component.
    fn arguments(&mut self, body: &Body, schema: Option<&BodySchema>, custom: &Names) {
        for statement in &body.statements {
            match statement {
                Statement::Attribute(attribute) => {
                    let is_secret = secrets::is_secret(&attribute.name.name, schema, custom);
                    literals(&attribute.value, is_secret, self.found);
                }
                Statement::Block(block) => {
                    let inner = secrets::inner(&block.full_name(), schema);
                    self.arguments(&block.body, inner, &Names::new());
                }
            }
        }
    }
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
        hide_secrets(&mut found, &definitions, &[]);
        let shown = syntax::render(&found, false);
        assert!(shown.contains("import.string:2:2") && shown.contains("*******"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("declare"), "{shown}");
    }
}
