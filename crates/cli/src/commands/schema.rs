//! `ferroalloy components` and `ferroalloy schema`.

use std::process::ExitCode;

use anyhow::bail;
use component::eval::closest;

/// Lists components with their stability.
pub fn components() -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    for definition in catalog::all().iter() {
        text.push_str(&format!("{:<32} {}\n", definition.name, definition.stability.as_str()));
    }
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints schemas as JSON.
pub fn schema(name: Option<&str>) -> anyhow::Result<ExitCode> {
    let registry = catalog::all();
    let json = match name {
        None => catalog::schema(registry.iter()),
        Some(name) => match registry.get(name) {
            Some(definition) => catalog::schema([definition]),
            None => {
                let names: Vec<_> = registry.iter().map(|d| d.name).collect();
                let hint = closest(name, names).map(|n| format!(": did you mean {n}?")).unwrap_or_default();
                bail!("there is no component {name:?}{hint}");
            }
        },
    };
    super::print(&format!("{}\n", serde_json::to_string_pretty(&json)?))?;
    Ok(ExitCode::SUCCESS)
}
