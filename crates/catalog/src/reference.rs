//! Reference pages and the JSON schema, made from what the components declare.
//!
//! A page is the component's own `docs.md` followed by generated tables; nothing is typed twice.

use std::fmt::Write;

use component::eval::{AttributeSchema, BodySchema, FieldSchema};
use component::{ComponentDef, Registry};
use serde_json::{Value, json};

/// A generated file.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// File name.
    pub name: String,
    /// Markdown.
    pub text: String,
}

/// Arguments, blocks and exports of components as JSON: `{"components": […]}`.
pub fn schema<'a>(components: impl IntoIterator<Item = &'a ComponentDef>) -> Value {
    let components: Vec<_> = components.into_iter().map(component_schema).collect();
    json!({ "components": components })
}

fn component_schema(definition: &ComponentDef) -> Value {
    let mut entry = (definition.arguments)().to_json();
    let exports: Vec<_> = (definition.exports)()
        .iter()
        .map(|e| json!({ "name": e.name, "type": e.type_name, "code_type": e.code_type, "doc": e.doc }))
        .collect();
    entry["name"] = json!(definition.name);
    entry["stability"] = json!(definition.stability.as_str());
    entry["takes_label"] = json!(true);
    entry["exports"] = json!(exports);
    entry
}

/// One page a component.
pub fn pages(registry: &Registry) -> Vec<Page> {
    registry.iter().map(page).collect()
}

/// The table of all components, linked to their pages.
pub fn index(registry: &Registry) -> Page {
    let mut text =
        String::from("# Components\n\nGenerated from the program; `cargo xtask gen` renews it.\n\n");
    text.push_str(&component_table(registry, ""));
    Page { name: "README.md".into(), text }
}

/// A Markdown table of all components; links are relative to `folder`.
pub fn component_table(registry: &Registry, folder: &str) -> String {
    let mut text = String::from("| component | stability | what it does |\n| --- | --- | --- |\n");
    for definition in registry.iter() {
        let first = definition.docs.trim_start().split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let _ = writeln!(
            text,
            "| [`{0}`]({folder}{0}.md) | {1} | {first} |",
            definition.name,
            definition.stability.as_str()
        );
    }
    text
}

fn page(definition: &ComponentDef) -> Page {
    let mut text = format!("# {}\n\nStability: {}\n\n", definition.name, definition.stability.as_str());
    text.push_str(definition.docs.trim());
    text.push('\n');
    let body = (definition.arguments)();
    attributes(body, "Arguments", &mut text);
    blocks(body, "", &mut Vec::new(), &mut text);
    exports(definition, &mut text);
    Page { name: format!("{}.md", definition.name), text }
}

fn attributes(body: &BodySchema, title: &str, out: &mut String) {
    if body.attributes().next().is_none() {
        return;
    }
    let _ = write!(out, "\n## {title}\n\n| name | type | default | what |\n| --- | --- | --- | --- |\n");
    for attribute in body.attributes() {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            attribute.name,
            attribute.type_name,
            default(attribute),
            description(attribute)
        );
    }
}

fn default(attribute: &AttributeSchema) -> String {
    match (&attribute.default, attribute.required) {
        (_, true) => "required".into(),
        (Some(text), false) => format!("`{}`", text.replace('|', "\\|")),
        (None, false) => String::new(),
    }
}

fn description(attribute: &AttributeSchema) -> String {
    let mut text = attribute.doc.trim().replace('\n', " ").replace('|', "\\|");
    if !attribute.allowed.is_empty() {
        let allowed: Vec<_> = attribute.allowed.iter().map(|a| format!("`{a}`")).collect();
        let _ = write!(text, " One of {}.", allowed.join(", "));
    }
    if attribute.stability != component::Stability::GenerallyAvailable {
        let _ = write!(text, " Needs `--stability.level={}`.", attribute.stability.as_str());
    }
    if let Some(why) = attribute.no_effect {
        let _ = write!(text, " {}", no_effect(why).replace('|', "\\|"));
    }
    text
}

fn no_effect(why: &str) -> String {
    format!("**Has no effect:** {why}.")
}

fn blocks(body: &'static BodySchema, prefix: &str, above: &mut Vec<*const BodySchema>, out: &mut String) {
    for field in &body.fields {
        let FieldSchema::Block(block) = field else { continue };
        let inner = (block.body)();
        let path =
            if prefix.is_empty() { block.name.to_string() } else { format!("{prefix} > {}", block.name) };
        let mut traits = Vec::new();
        if block.required {
            traits.push("required".to_string());
        }
        if block.repeatable {
            traits.push("may be repeated".to_string());
        }
        if inner.labelled {
            traits.push("takes a label".to_string());
        }
        let note = if traits.is_empty() { String::new() } else { format!(" ({})", traits.join(", ")) };
        let _ = write!(out, "\n### {path}{note}\n\n{}\n", block.doc.trim());
        if let Some(why) = block.no_effect {
            let _ = write!(out, "\n{}\n", no_effect(why));
        }
        attributes(inner, &format!("{path}: arguments"), out);
        let address = std::ptr::from_ref(inner);
        if !above.contains(&address) {
            above.push(address);
            blocks(inner, &path, above, out);
            above.pop();
        }
    }
}

fn exports(definition: &ComponentDef, out: &mut String) {
    let exports = (definition.exports)();
    if exports.is_empty() {
        return;
    }
    out.push_str("\n## Exports\n\n| name | type | what |\n| --- | --- | --- |\n");
    for export in exports {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} |",
            export.name,
            export.type_name,
            export.doc.trim().replace('\n', " ")
        );
    }
}
