//! What is known of containers: as the engine tells it, and as UI and API show it.

use std::collections::BTreeMap;

use component::eval::{Item, Value};
use serde::Deserialize;

/// `/containers/<id>/json`, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    #[serde(default)]
    state: State,
    #[serde(default)]
    config: Config,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    started_at: String,
    #[serde(default)]
    finished_at: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    tty: bool,
}

impl Inspected {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.state.running
    }

    /// Whether its output is a terminal's.
    pub fn has_tty(&self) -> bool {
        self.config.tty
    }

    /// Which of its runs this is.
    pub fn run(&self) -> (String, String) {
        (self.state.started_at.clone(), self.state.finished_at.clone())
    }
}

/// What a follower is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The labels of its target.
    pub labels: String,
    /// A stream is open.
    pub running: bool,
    /// Why there is none.
    pub error: Option<String>,
    /// The engine is at fault, not the container.
    pub engine: bool,
    /// How far its log was sent, in seconds, as Alloy shows it.
    pub position: i64,
}

/// One block a container, as Alloy shows them.
pub fn items(all: &BTreeMap<String, Status>) -> Vec<Item> {
    let attribute = |name: &'static str, value: Value| Item::Attribute { name: name.into(), value };
    let block = |(id, status): (&String, &Status)| Item::Block {
        name: "targets_info".into(),
        label: None,
        body: vec![
            attribute("id", Value::from(id.as_str())),
            attribute("last_error", Value::from(status.error.as_deref().unwrap_or_default())),
            attribute("labels", Value::from(status.labels.as_str())),
            attribute("is_running", Value::from(if status.running { "true" } else { "false" })),
            attribute("read_offset", Value::from(status.position.to_string().as_str())),
        ],
    };
    all.iter().map(block).collect()
}
