//! Decoding a block body into a struct.
//!
//! Data path: the body is compared with its [`BodySchema`] (unknown, doubled and missing names), then the
//! struct pulls its fields out of a [`BodyDecoder`], which evaluates and converts them.
//! Invariants: every problem is reported, none hides another; a struct comes out only if there was no
//! error; validation runs only on bodies that decoded without one.

use syntax::ast::{Attribute, Block, Body, Expr, ExprKind, Ident, Statement};
use syntax::{Diagnostic, Source, Span};

use crate::arg::{ArgValue, ErrorKind, Step, ValueError};
use crate::body::{Arguments, Invalid, OneOf, REMOVE};
use crate::evaluate::evaluate;
use crate::schema::{AttributeSchema, BodySchema, FieldSchema};
use crate::scope::{Scope, Stability};
use crate::suggest;
use crate::value::Value;

/// Decodes a body. `label` is the label of the block around it. The struct is there only if no diagnostic
/// is an error; warnings may accompany it. No value may be [`Value::Unknown`].
pub fn decode<A: Arguments>(
    source: &Source,
    body: &Body,
    label: Option<&Ident>,
    scope: &Scope<'_>,
) -> (Option<A>, Vec<Diagnostic>) {
    let mut state = State::default();
    let value = top::<A>(source, body, label, scope, &mut state);
    let diagnostics = state.finish(scope);
    let failed = diagnostics.iter().any(Diagnostic::is_error);
    ((!failed).then_some(value), diagnostics)
}

/// The static pass: like [`decode`], but a [`Value::Unknown`] is fine where its type can fit. Validation
/// runs only for bodies in which nothing was unknown.
pub fn check<A: Arguments>(
    source: &Source,
    body: &Body,
    label: Option<&Ident>,
    scope: &Scope<'_>,
) -> Vec<Diagnostic> {
    let mut state = State { fixed: true, ..State::default() };
    top::<A>(source, body, label, scope, &mut state);
    state.finish(scope)
}

/// The static pass with nothing but a schema, without validation.
pub fn check_schema(
    schema: &'static BodySchema,
    source: &Source,
    body: &Body,
    label: Option<&Ident>,
    scope: &Scope<'_>,
) -> Vec<Diagnostic> {
    let mut state = State { fixed: true, ..State::default() };
    let header = header_span(source, body);
    check_label(schema, label, header, true, source, &mut state);
    check_body(schema, source, body, header, scope, &mut state);
    state.finish(scope)
}

fn check_body(
    schema: &'static BodySchema,
    source: &Source,
    body: &Body,
    header: Span,
    scope: &Scope<'_>,
    state: &mut State,
) {
    check_structure(schema, source, body, header, state);
    for statement in &body.statements {
        match statement {
            Statement::Attribute(a) => {
                if let Some(FieldSchema::Attribute(field)) = schema.field(&a.name.name) {
                    let checked = evaluate(&a.value, source, scope)
                        .and_then(|v| {
                            (field.check)(&v).map(|()| v).map_err(|e| value_diagnostic(a, &e, source))
                        })
                        .and_then(|v| {
                            let gated =
                                field.stability < scope.stability() && Some(v.to_source()) != field.default;
                            if gated {
                                Err(stability_diagnostic(a, field, source, scope.stability()))
                            } else {
                                Ok(())
                            }
                        });
                    state.diagnostics.extend(checked.err());
                }
            }
            Statement::Block(b) => {
                if let Some(FieldSchema::Block(field)) = schema.field(&b.full_name()) {
                    let inner = (field.body)();
                    check_label(inner, b.label.as_ref(), b.header_span(), false, source, state);
                    check_body(inner, source, &b.body, b.header_span(), scope, state);
                }
            }
        }
    }
}

fn top<A: Arguments>(
    source: &Source,
    body: &Body,
    label: Option<&Ident>,
    scope: &Scope<'_>,
    state: &mut State,
) -> A {
    let header = header_span(source, body);
    check_label(A::schema(), label, header, true, source, state);
    decode_body(source, body, label, header, scope, state)
}

#[derive(Default)]
struct State {
    diagnostics: Vec<Diagnostic>,
    /// The static pass.
    fixed: bool,
    /// Something in the current body is not known yet.
    unknown: bool,
}

impl State {
    fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.is_error()).count()
    }

    fn finish(mut self, scope: &Scope<'_>) -> Vec<Diagnostic> {
        self.diagnostics.extend(scope.take_warnings());
        self.diagnostics.sort_by_key(|d| d.location.as_ref().map(|l| l.span));
        self.diagnostics
    }
}

fn decode_body<A: Arguments>(
    source: &Source,
    body: &Body,
    label: Option<&Ident>,
    header: Span,
    scope: &Scope<'_>,
    state: &mut State,
) -> A {
    let schema = A::schema();
    let errors_before = state.errors();
    let unknown_outside = std::mem::take(&mut state.unknown);
    let written = check_structure(schema, source, body, header, state);
    let mut value = A::defaults();
    if let Some(label) = label {
        value.set_label(&label.name);
    }
    value.apply(&mut BodyDecoder { schema, source, body, written, scope, state });
    if !state.unknown && state.errors() == errors_before {
        let error = |i| invalid_diagnostic(i, Diagnostic::error, "invalid_value", source, body, header);
        let warning = |i| invalid_diagnostic(i, Diagnostic::warning, "no_effect", source, body, header);
        match value.validate() {
            Ok(()) => state.diagnostics.extend(value.without_effect().into_iter().map(warning)),
            Err(invalid) => state.diagnostics.push(error(invalid)),
        }
    }
    state.unknown |= unknown_outside;
    value
}

/// Hands the written fields of one body to the struct being filled.
pub struct BodyDecoder<'a> {
    schema: &'static BodySchema,
    source: &'a Source,
    body: &'a Body,
    /// For each field of the schema the first statement that writes it.
    written: Vec<Option<&'a Statement>>,
    scope: &'a Scope<'a>,
    state: &'a mut State,
}

impl<'a> BodyDecoder<'a> {
    /// Whether the attribute or block is written in the body.
    pub fn has(&self, name: &str) -> bool {
        self.written(name).is_some()
    }

    fn written(&self, name: &str) -> Option<&'a Statement> {
        self.schema.position(name).and_then(|p| self.written[p])
    }

    fn written_block(&self, name: &str) -> Option<&'a Block> {
        match self.written(name) {
            Some(Statement::Block(block)) => Some(block),
            _ => None,
        }
    }

    /// The attribute, if it is written.
    pub fn attribute<T: ArgValue>(&mut self, name: &'static str, into: &mut T) {
        let Some(Statement::Attribute(written)) = self.written(name) else { return };
        let Some(value) = self.evaluated(written) else { return };
        let converted = if self.state.fixed && value.contains_unknown() {
            self.state.unknown = true;
            T::check(&value).map(|()| None)
        } else {
            T::from_value(&value).map(Some)
        };
        match converted {
            Err(error) => self.state.diagnostics.push(value_diagnostic(written, &error, self.source)),
            Ok(None) => {}
            Ok(Some(new)) => {
                self.gate(written, || new.to_value() == into.to_value());
                *into = new;
            }
        }
    }

    fn evaluated(&mut self, written: &Attribute) -> Option<Value> {
        match evaluate(&written.value, self.source, self.scope) {
            Ok(v) => Some(v),
            Err(diagnostic) => {
                self.state.diagnostics.push(diagnostic);
                None
            }
        }
    }

    /// An attribute less settled than the scope allows may be written only with its default.
    fn gate(&mut self, written: &Attribute, is_default: impl FnOnce() -> bool) {
        let Some(FieldSchema::Attribute(field)) = self.schema.field(&written.name.name) else { return };
        if field.stability < self.scope.stability() && !is_default() {
            self.state.diagnostics.push(stability_diagnostic(
                written,
                field,
                self.source,
                self.scope.stability(),
            ));
        }
    }

    /// A block that may stand once and has defaults of the parent.
    pub fn block<T: Arguments>(&mut self, name: &'static str, into: &mut T) {
        if let Some(block) = self.written_block(name) {
            *into = self.nested(block);
        }
    }

    /// A block that may stand once and is unset otherwise.
    pub fn optional_block<T: Arguments>(&mut self, name: &'static str, into: &mut Option<T>) {
        if let Some(block) = self.written_block(name) {
            *into = Some(self.nested(block));
        }
    }

    /// A block that may stand more than once.
    pub fn blocks<T: Arguments>(&mut self, name: &'static str, into: &mut Vec<T>) {
        if self.written_block(name).is_some() {
            let body = self.body;
            *into = body.blocks().filter(|b| named(b, name)).map(|b| self.nested(b)).collect();
        }
    }

    /// Blocks of several names in the order of the file.
    pub fn one_of<T: OneOf>(&mut self, into: &mut Vec<T>) {
        let mut found = Vec::new();
        let body = self.body;
        for block in body.blocks() {
            let name = block.full_name();
            if let Some(one) = T::decode(&name, &mut BlockDecoder { parent: self, block }) {
                found.push(one);
            }
        }
        if !found.is_empty() {
            *into = found;
        }
    }

    fn nested<T: Arguments>(&mut self, block: &Block) -> T {
        let header = block.header_span();
        check_label(T::schema(), block.label.as_ref(), header, false, self.source, self.state);
        let label = block.label.as_ref();
        decode_body(self.source, &block.body, label, header, self.scope, self.state)
    }
}

/// One block of an ordered group, before its variant is chosen.
pub struct BlockDecoder<'a, 'b> {
    parent: &'a mut BodyDecoder<'b>,
    block: &'a Block,
}

impl BlockDecoder<'_, '_> {
    /// Decodes the block as a `T`.
    pub fn body<T: Arguments>(&mut self) -> T {
        self.parent.nested(self.block)
    }
}

fn named(block: &Block, name: &str) -> bool {
    match &*block.name {
        [only] => only.name == name,
        parts => {
            let mut rest = name.split('.');
            parts.iter().all(|p| rest.next() == Some(p.name.as_str())) && rest.next().is_none()
        }
    }
}

/// Names: unknown, doubled, of the wrong kind, missing. Returns for each field the first statement that
/// writes it.
fn check_structure<'a>(
    schema: &BodySchema,
    source: &Source,
    body: &'a Body,
    header: Span,
    state: &mut State,
) -> Vec<Option<&'a Statement>> {
    let mut seen: Vec<Option<&Statement>> = vec![None; schema.fields.len()];
    for statement in &body.statements {
        let dotted;
        let (name, span, is_block) = match statement {
            Statement::Attribute(a) => (a.name.name.as_str(), a.name.span, false),
            Statement::Block(b) => {
                dotted = b.full_name();
                (dotted.as_str(), b.name_span(), true)
            }
        };
        let Some(position) = schema.position(name) else {
            state.diagnostics.push(unknown_name(schema, name, span, is_block, source));
            continue;
        };
        let problem = match &schema.fields[position] {
            FieldSchema::Attribute(_) if is_block => Some(
                Diagnostic::error(
                    "attribute_expected",
                    format!("{name:?} is an argument, not a block"),
                    source,
                    span,
                )
                .with_help(format!("write {name} = …")),
            ),
            FieldSchema::Block(_) if !is_block => Some(
                Diagnostic::error(
                    "block_expected",
                    format!("{name:?} is a block, not an argument"),
                    source,
                    span,
                )
                .with_help(format!("write {name} {{ … }}")),
            ),
            FieldSchema::Attribute(_) if seen[position].is_some() => Some(
                Diagnostic::error(
                    "duplicate_argument",
                    format!("argument {name:?} is set twice"),
                    source,
                    span,
                )
                .with_help("keep one of them"),
            ),
            FieldSchema::Block(b) if seen[position].is_some() && !b.repeatable => Some(
                Diagnostic::error(
                    "duplicate_block",
                    format!("block {name:?} may be written only once"),
                    source,
                    span,
                )
                .with_help("put everything into one of them"),
            ),
            field => field.no_effect().map(|why| no_effect(name, why, is_block, source, span)),
        };
        state.diagnostics.extend(problem);
        // One of the right kind counts before one of the wrong kind.
        match &mut seen[position] {
            Some(Statement::Attribute(_)) if is_block => seen[position] = Some(statement),
            slot => _ = slot.get_or_insert(statement),
        }
    }
    let missing = schema.fields.iter().zip(&seen).filter(|(f, seen)| f.required() && seen.is_none());
    state.diagnostics.extend(missing.map(|(field, _)| missing_name(field, source, header)));
    seen
}

fn no_effect(name: &str, why: &str, is_block: bool, source: &Source, span: Span) -> Diagnostic {
    let kind = if is_block { "block" } else { "argument" };
    Diagnostic::warning("no_effect", format!("{kind} {name:?} has no effect: {why}"), source, span)
        .with_help(REMOVE)
}

fn unknown_name(schema: &BodySchema, name: &str, span: Span, is_block: bool, source: &Source) -> Diagnostic {
    let candidates: Vec<&str> = schema
        .fields
        .iter()
        .filter(|f| matches!(f, FieldSchema::Block(_)) == is_block)
        .map(FieldSchema::name)
        .collect();
    let (code, kind) = if is_block { ("unknown_block", "block") } else { ("unknown_argument", "argument") };
    let mut diagnostic = Diagnostic::error(code, format!("there is no {kind} {name:?} here"), source, span);
    diagnostic.help = suggest::help(name, &candidates);
    diagnostic
}

fn missing_name(field: &FieldSchema, source: &Source, header: Span) -> Diagnostic {
    match field {
        FieldSchema::Attribute(a) => Diagnostic::error(
            "missing_argument",
            format!("argument {:?} is required", a.name),
            source,
            header,
        )
        .with_help(format!("add {} = …, of type {}", a.name, a.type_name)),
        FieldSchema::Block(b) => {
            Diagnostic::error("missing_block", format!("block {:?} is required", b.name), source, header)
                .with_help(format!("add {} {{ … }}", b.name))
        }
    }
}

/// A label stands exactly where the struct has a place for it. The outermost block's label is the
/// component's name and nothing is said against it.
fn check_label(
    schema: &BodySchema,
    label: Option<&Ident>,
    header: Span,
    outermost: bool,
    source: &Source,
    state: &mut State,
) {
    let diagnostic = match label {
        None if schema.labelled => {
            Diagnostic::error("missing_label", "this block needs a label", source, header)
                .with_help("write a name in quotes between the block's name and the brace")
        }
        Some(label) if !schema.labelled && !outermost => {
            Diagnostic::error("unexpected_label", "this block takes no label", source, label.span)
                .with_help("remove it")
        }
        _ => return,
    };
    state.diagnostics.push(diagnostic);
}

fn stability_diagnostic(
    written: &Attribute,
    field: &AttributeSchema,
    source: &Source,
    level: Stability,
) -> Diagnostic {
    let message = format!(
        "argument {:?} is {}, the configuration may use what is {}",
        field.name,
        field.stability.as_str(),
        level.as_str()
    );
    Diagnostic::error("stability", message, source, written.span())
        .with_help(format!("remove it, or start with --stability.level={}", field.stability.as_str()))
}

/// What a struct says about itself, at the place of the field that it names.
fn invalid_diagnostic(
    invalid: Invalid,
    make: fn(&'static str, String, &Source, Span) -> Diagnostic,
    code: &'static str,
    source: &Source,
    body: &Body,
    header: Span,
) -> Diagnostic {
    let place = invalid.field.and_then(|field| written_at(body, field)).unwrap_or(header);
    // Where only the message is shown, as in a line of a log, it must be clear of what it speaks.
    let message = match invalid.field {
        Some(field) if PREDICATES.iter().any(|begin| invalid.message.starts_with(begin)) => {
            let name = field.rsplit_once('.').map_or(field, |(_, name)| name);
            format!("{name:?} {}", invalid.message)
        }
        _ => invalid.message,
    };
    let mut diagnostic = make(code, message, source, place);
    diagnostic.help = invalid.help;
    diagnostic
}

/// How a message begins that says something of the field without naming it.
const PREDICATES: [&str; 3] = ["must ", "is ", "needs "];

/// Where a field is written: the name of an attribute or block, after those of the blocks it is in. A block's own name
/// may have dots.
fn written_at(body: &Body, field: &str) -> Option<Span> {
    body.statements.iter().find_map(|s| match s {
        Statement::Attribute(a) => (a.name.name == field).then(|| a.span()),
        Statement::Block(b) if named(b, field) => Some(b.header_span()),
        Statement::Block(b) => {
            let inner = field.strip_prefix(&b.full_name())?.strip_prefix('.')?;
            written_at(&b.body, inner)
        }
    })
}

fn value_diagnostic(written: &Attribute, error: &ValueError, source: &Source) -> Diagnostic {
    let (span, rest) = locate(&written.value, &error.path);
    let code = match error.kind {
        ErrorKind::WrongType => "wrong_type",
        ErrorKind::Invalid => "invalid_value",
    };
    let inner = ValueError { path: rest.to_vec(), ..error.clone() };
    let mut diagnostic =
        Diagnostic::error(code, format!("argument {:?}: {inner}", written.name.name), source, span);
    diagnostic.help = error.help.clone();
    diagnostic
}

/// The sub-expression that a path leads to, as far as lists and objects are written out, and the steps
/// that are left.
pub(crate) fn locate<'p>(mut expr: &Expr, path: &'p [Step]) -> (Span, &'p [Step]) {
    let mut rest = path;
    loop {
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        let next = match (rest.first(), &expr.kind) {
            (Some(Step::Index(i)), ExprKind::Array(items)) => items.get(*i),
            (Some(Step::Key(k)), ExprKind::Object(fields)) => {
                fields.iter().rev().find(|f| f.key.name == *k).map(|f| &f.value)
            }
            _ => None,
        };
        match next {
            Some(inner) => {
                expr = inner;
                rest = &rest[1..];
            }
            None => return (expr.span, rest),
        }
    }
}

/// Name and label in front of the opening brace of a body; the start of the file at top level.
fn header_span(source: &Source, body: &Body) -> Span {
    let text = source.text();
    let Some(brace) =
        (body.span.start as usize).checked_sub(1).filter(|b| text.as_bytes().get(*b) == Some(&b'{'))
    else {
        return Span::new(body.span.start, body.span.start);
    };
    // The brace stands on the line of the block's name; an enclosing one-line block may come before it.
    let start = text[..brace].rfind(['\n', '{', '}']).map_or(0, |i| i + 1);
    let head = &text[start..brace];
    let trimmed = head.trim();
    let start = start + (head.len() - head.trim_start().len());
    Span::new(start as u32, (start + trimmed.len()) as u32)
}
