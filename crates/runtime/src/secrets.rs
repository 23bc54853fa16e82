//! Which arguments of a module are secrets: by their names, or because they find their way into what is one.
//!
//! Told from the texts: a value may be a plain string, of the environment say, until it is somebody's password. What is
//! found is hidden where values and lines are shown; values go on as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eval::{BodySchema, FieldSchema, Secret, Value, closest, names_secret};
use syntax::ast::{Body, Expr, ExprKind, Statement, walk_expr};
use syntax::{Reference, Source, expr_references};

use crate::definitions::Definitions;
use crate::loader::Definition;
use crate::modules::instance::Module;
use crate::node::Kind;
use crate::scope::{Content, Scope};

/// Names of arguments.
pub(crate) type Names = BTreeSet<String>;

/// The secret arguments of custom components, by the names that these are used under.
pub(crate) type Named = BTreeMap<String, Names>;

/// The schema of a block by its name; of a custom component there is none.
pub(crate) fn schema(name: &str, definitions: &Definitions) -> Option<&'static BodySchema> {
    let component = definitions.registry.get(name).map(|c| (c.arguments)());
    let block = || definitions.config_block(name).map(|b| b.schema());
    component.or_else(block).or_else(|| definitions.import(name).map(|i| (i.schema)()))
}

/// The schema of a block inside of a body.
pub(crate) fn inner(name: &str, schema: Option<&BodySchema>) -> Option<&'static BodySchema> {
    match schema.and_then(|s| s.field(name)) {
        Some(FieldSchema::Block(known)) => Some((known.body)()),
        _ => None,
    }
}

/// Whether an argument is a secret. Without a schema, or under a name that it has not, names have to tell; `custom` are
/// those of a custom component that end in one.
pub(crate) fn is_secret(name: &str, schema: Option<&BodySchema>, custom: &Names) -> bool {
    match schema.map(|s| (s, s.field(name))) {
        Some((_, Some(FieldSchema::Attribute(known)))) => holds_secret(&known.code_type),
        Some((schema, _)) => names_secret(name) || is_near_a_secret(name, schema),
        None => names_secret(name) || custom.contains(name),
    }
}

fn holds_secret(code_type: &str) -> bool {
    code_type.replace("optional_secret", "").contains("secret")
}

fn is_near_a_secret(name: &str, schema: &BodySchema) -> bool {
    let secrets = schema.attributes().filter(|a| holds_secret(&a.code_type));
    closest(name, secrets.map(|a| a.name)).is_some()
}

/// The secret arguments of each declare of some texts, by label, nested ones too, and what is known of others.
pub(crate) fn of_declares(bodies: &[&Body], definitions: &Definitions, others: &Named) -> Named {
    let mut declares = Vec::new();
    bodies.iter().for_each(|body| collect(body, &mut declares));
    let mut known = others.clone();
    // A round carries what is known one declare further out; the longest way leads through all of them.
    for _ in 0..=declares.len() {
        let mut next = others.clone();
        for (label, body) in &declares {
            next.entry((*label).to_owned()).or_default().extend(of_body(body, definitions, &known));
        }
        if next == known {
            break;
        }
        known = next;
    }
    known
}

/// The secret arguments of every custom component that one of some scopes can name. The same name may mean another one
/// elsewhere: what is a secret of one of them is taken for one of all.
pub(crate) fn of_scopes(scopes: &[Arc<Scope>], definitions: &Definitions) -> Named {
    let mut all = Named::new();
    for scope in scopes {
        of_scope(scope, definitions, &mut all);
    }
    all
}

/// The secret arguments of a scope's declares, by label; what can be named in it and in what it imports goes to `all`.
fn of_scope(scope: &Scope, definitions: &Definitions, all: &mut Named) -> Named {
    let mut imported = Named::new();
    let around = std::iter::successors(Some(scope), |scope| scope.parent.as_deref());
    for (label, slot) in around.flat_map(|scope| &scope.imports) {
        let Content::Loaded(inner) = slot.get() else { continue };
        for (name, names) in of_scope(&inner, definitions, all) {
            imported.entry(format!("{label}.{name}")).or_default().extend(names);
        }
    }
    let mut texts: Vec<&Source> = Vec::new();
    for (source, _) in scope.declares.values().filter_map(|declare| declare.header.as_ref()) {
        if !texts.contains(&source) {
            texts.push(source);
        }
    }
    let files: Vec<_> = texts.into_iter().map(|text| syntax::parse(text).0).collect();
    let bodies: Vec<&Body> = files.iter().map(|file| &file.body).collect();
    let mut known = of_declares(&bodies, definitions, &imported);
    for (name, names) in &known {
        all.entry(name.clone()).or_default().extend(names.iter().cloned());
    }
    known.retain(|name, _| scope.declares.contains_key(name));
    known
}

/// The scopes of a module that runs and of all that are inside.
pub(crate) fn scopes_of(module: &Module, scopes: &mut Vec<Arc<Scope>>) {
    let graph = module.graph();
    scopes.push(graph.plan.scope.clone());
    for node in &graph.nodes {
        let inside = match &node.kind {
            Kind::Custom(custom) => custom.modules(),
            Kind::Foreach(foreach) => foreach.modules(),
            _ => continue,
        };
        inside.iter().for_each(|module| scopes_of(module, scopes));
    }
}

fn collect<'b>(body: &'b Body, declares: &mut Vec<(&'b str, &'b Body)>) {
    for statement in &body.statements {
        if let Statement::Block(block) = statement
            && block.full_name() == "declare"
        {
            declares.extend(block.label.as_ref().map(|label| (label.name.as_str(), &block.body)));
            collect(&block.body, declares);
        }
    }
}

fn of_body(body: &Body, definitions: &Definitions, known: &Named) -> Names {
    let mut found = Names::new();
    let none = Names::new();
    for statement in &body.statements {
        let Statement::Block(block) = statement else { continue };
        let name = block.full_name();
        match name.as_str() {
            "declare" | "argument" => {}
            "export" => {
                let is_secret = block.label.as_ref().is_some_and(|label| names_secret(&label.name));
                let values = block.body.attributes().filter(|_| is_secret);
                values.for_each(|value| arguments_in(&value.value, &mut found));
            }
            "foreach" | "template" => found.extend(of_body(&block.body, definitions, known)),
            _ => {
                flows(&block.body, schema(&name, definitions), known.get(&name).unwrap_or(&none), &mut found)
            }
        }
    }
    found
}

/// The secret arguments of a module that runs, whatever its declare comes from.
pub(crate) fn of_module(module: &Module) -> Names {
    let graph = module.graph();
    let mut found = Names::new();
    for (node, planned) in graph.nodes.iter().zip(&graph.plan.nodes) {
        let body = &planned.block.block.body;
        match (&planned.definition, &node.kind) {
            (Definition::Export, _) if planned.block.label().is_some_and(names_secret) => {
                body.attributes().for_each(|value| arguments_in(&value.value, &mut found));
            }
            (Definition::Custom, Kind::Custom(custom)) => {
                let inside = custom.modules().iter().flat_map(|m| of_module(m)).collect();
                flows(body, None, &inside, &mut found);
            }
            (Definition::Foreach, Kind::Foreach(foreach)) => {
                found.extend(foreach.modules().iter().flat_map(|m| of_module(m)));
            }
            (Definition::Component(_) | Definition::Import(_), _) => {
                let schema = schema(&planned.block.name, &node.shared.definitions);
                flows(body, schema, &Names::new(), &mut found);
            }
            _ => {}
        }
    }
    found
}

/// The secret exports of a module that runs: by their names, or made of its secret arguments or of a secret export inside.
pub(crate) fn exports_of(module: &Module) -> Names {
    let (graph, arguments) = (module.graph(), of_module(module));
    let from_inside = |(position, reference): &(usize, Reference)| {
        let Kind::Custom(custom) = &graph.nodes[*position].kind else { return false };
        let path: Vec<&str> = reference.path.iter().map(|i| i.name.as_str()).collect();
        let used = graph.plan.match_path(&path).map_or(path.len(), |(used, _)| used);
        path.get(used).is_some_and(|name| custom.modules().iter().any(|m| exports_of(m).contains(*name)))
    };
    let mut found = Names::new();
    for export in graph.plan.nodes.iter().filter(|p| matches!(p.definition, Definition::Export)) {
        let label = export.block.label().unwrap_or_default();
        let mut used = Names::new();
        export.block.block.body.attributes().for_each(|value| arguments_in(&value.value, &mut used));
        if names_secret(label) || !used.is_disjoint(&arguments) || export.references.iter().any(from_inside) {
            found.insert(label.to_owned());
        }
    }
    found
}

/// The arguments that what is a secret in a body refers to.
fn flows(body: &Body, schema: Option<&BodySchema>, custom: &Names, found: &mut Names) {
    for statement in &body.statements {
        match statement {
            Statement::Attribute(attribute) if is_secret(&attribute.name.name, schema, custom) => {
                arguments_in(&attribute.value, found);
            }
            Statement::Attribute(attribute) => fields(&attribute.value, found),
            Statement::Block(block) => {
                flows(&block.body, inner(&block.full_name(), schema), &Names::new(), found);
            }
        }
    }
}

/// Of fields that seem to be a secret (headers).
fn fields(expr: &Expr, found: &mut Names) {
    walk_expr(expr, &mut |e| match &e.kind {
        ExprKind::Object(all) => {
            for field in all {
                match names_secret(&field.key.name) {
                    true => arguments_in(&field.value, found),
                    false => fields(&field.value, found),
                }
            }
            false
        }
        _ => true,
    });
}

fn arguments_in(expr: &Expr, found: &mut Names) {
    for reference in expr_references(expr) {
        if let [argument, name, ..] = &reference.path[..]
            && argument.name == "argument"
        {
            found.insert(name.name.clone());
        }
    }
}

/// A value of which no text is shown.
pub(crate) fn concealed(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::Secret(Secret::new(&**text)),
        Value::OptionalSecret(text) => Value::Secret(Secret::new(text.reveal())),
        Value::Array(items) => items.iter().map(concealed).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            Value::object(fields.iter().map(|(name, value)| (name.clone(), concealed(value))).collect())
        }
        value => value.clone(),
    }
}
