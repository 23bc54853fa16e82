//! The program as its HTTP API sees it: readiness, health, reload, components in Alloy's JSON.

use std::collections::BTreeMap;

use component::BoxFuture;
use component::eval::items_to_json;
use runtime::{ComponentSnapshot, LoadError, Reloader};
use serde_json::{Value, json};
use web::Host;

/// Answers for the API.
pub struct Program(pub Reloader);

impl Host for Program {
    fn is_ready(&self) -> bool {
        self.0.runtime().is_ready()
    }

    fn unhealthy(&self) -> Vec<(String, String)> {
        self.0.runtime().unhealthy().into_iter().map(|u| (u.id, u.message)).collect()
    }

    fn reload(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async {
            let result = self.0.reload().await;
            log(&result);
            match result {
                Ok(loaded) if loaded.warnings.is_empty() => Ok(String::new()),
                Ok(loaded) => Ok(syntax::render(&loaded.warnings, false)),
                Err(error) => Err(text(&error)),
            }
        })
    }

    fn components(&self, module: &str) -> Option<Value> {
        let snapshot = self.0.runtime().snapshot();
        let module = snapshot.module(module)?;
        Some(module.components.iter().map(summary).map(Value::Object).collect())
    }

    fn component(&self, id: &str) -> Option<Value> {
        let snapshot = self.0.runtime().snapshot();
        let component = snapshot.component(id)?;
        let mut json = summary(component);
        json.insert("arguments".into(), items_to_json(&component.arguments));
        json.insert("exports".into(), items_to_json(&component.exports));
        json.insert("debugInfo".into(), items_to_json(&component.debug_info));
        Some(Value::Object(json))
    }

    fn heap_profile(&self) -> Option<Result<Vec<u8>, String>> {
        crate::heap::profile()
    }
}

/// All diagnostics of a load as text, without colour: it goes over HTTP.
pub fn text(error: &LoadError) -> String {
    let state = if error.applied {
        "the configuration is in force, but not all of its components are:\n"
    } else {
        "the configuration is refused; the one before stays in force:\n"
    };
    format!("{state}{}", syntax::render(&error.diagnostics, false))
}

/// Tells the log how a load went.
pub fn log(result: &Result<runtime::Loaded, LoadError>) {
    match result {
        Ok(loaded) => {
            tracing::info!("the configuration is loaded");
            if !loaded.warnings.is_empty() {
                tracing::warn!(warnings = %syntax::render(&loaded.warnings, false), "the configuration has warnings");
            }
        }
        Err(error) => {
            tracing::error!(applied = error.applied, error = %text(error), "the configuration could not be loaded")
        }
    }
}

/// The fields that lists and details share, under the names of Alloy's API.
fn summary(component: &ComponentSnapshot) -> serde_json::Map<String, Value> {
    let updated =
        jiff::Timestamp::try_from(component.health.updated).map(|t| t.to_string()).unwrap_or_default();
    let fields: BTreeMap<&str, Value> = BTreeMap::from([
        ("name", json!(component.name)),
        ("type", json!("block")),
        ("localID", json!(component.local_id)),
        ("moduleID", json!(component.module_id)),
        ("label", json!(component.label)),
        ("referencesTo", json!(component.references_to)),
        ("referencedBy", json!(component.referenced_by)),
        ("dataFlowEdgesTo", json!(component.data_flow_edges_to)),
        (
            "health",
            json!({
                "state": component.health.state.as_str(),
                "message": component.health.message,
                "updatedTime": updated,
            }),
        ),
        ("createdModuleIDs", json!(component.created_module_ids)),
        ("liveDebuggingEnabled", json!(component.live_debugging_enabled)),
    ]);
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
