//! What becomes of a component in a test.
//!
//! Decided by what the component's schema says (who exports receivers takes data in, who has `forward_to` or `output`
//! gives data on), with a short list of those where that does not tell enough. A component that is not known here
//! and touches the outside falls on the safe side: it is not run.

use component::ComponentDef;
use eval::FieldSchema;

/// What stands in place of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Itself; what it receives is noted on the way in.
    Itself,
    /// A recorder: the data ends here.
    Sink,
    /// Nothing is received or fetched; the test gives what it would give on.
    Source,
    /// Itself where it reads files of the test (relative paths); otherwise as a source.
    Files,
    /// Itself; its page comes from the test.
    Exporter,
    /// Exports the content that the test, or a file, gives.
    File,
    /// Exports what the test says a server answers.
    Remote,
    /// Its exports have to be given by the test.
    Stub,
    /// It is built and checked and does nothing: it has no part in the flow of data.
    Idle,
}

/// The role of a component.
pub(crate) fn role(definition: &ComponentDef) -> Role {
    let name = definition.name;
    match name {
        // Their requests are answered by the test.
        "prometheus.scrape" | "pyroscope.scrape" | "discovery.http" => return Role::Itself,
        "discovery.relabel" | "discovery.file" => return Role::Itself,
        "prometheus.exporter.self" | "prometheus.exporter.static" => return Role::Itself,
        "loki.source.file" | "local.file_match" => return Role::Files,
        "local.file" => return Role::File,
        "remote.http" => return Role::Remote,
        _ if name.starts_with("prometheus.exporter.") => return Role::Exporter,
        _ if name.starts_with("otelcol.auth.") => return Role::Itself,
        _ if name.starts_with("discovery.") || name.starts_with("remote.") => return Role::Stub,
        _ => {}
    }
    match (takes(definition), gives(definition)) {
        (true, true) => Role::Itself,
        (true, false) => Role::Sink,
        (false, true) => Role::Source,
        (false, false) => Role::Idle,
    }
}

/// Whether data can be sent to it.
fn takes(definition: &ComponentDef) -> bool {
    (definition.exports)().iter().any(|e| is_receiver(&e.code_type))
}

/// Whether it sends data on.
fn gives(definition: &ComponentDef) -> bool {
    (definition.arguments)().fields.iter().any(|field| match field {
        FieldSchema::Attribute(a) => is_receiver(&a.code_type),
        FieldSchema::Block(b) => (b.body)().attributes().any(|a| is_receiver(&a.code_type)),
    })
}

fn is_receiver(code_type: &str) -> bool {
    code_type.contains("Receiver") || code_type.contains("Consumer")
}

/// What the test could do about a component that cannot run.
pub(crate) fn advice(definition: &ComponentDef, id: &str) -> String {
    let exports: Vec<&str> = (definition.exports)().iter().map(|e| e.name).collect();
    match exports[..] {
        [] => format!("add stubs: {{ {id}: off }}"),
        _ => format!(
            "add stubs: {{ {id}: {{ {}: … }} }}, or off to leave it as it is built",
            exports.join(": …, ")
        ),
    }
}
