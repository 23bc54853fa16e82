//! `cargo xtask tidy`: the rules of the house that a program can check.
//!
//! Crate edges against the table, components against their folders, pages and examples, file heads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;
use cargo_metadata::MetadataCommand;

/// Who may use whom, directly. `crates/README.md` shows the same table to people.
const EDGES: &[(&str, &[&str])] = &[
    ("syntax", &[]),
    ("macros", &[]),
    ("eval", &["syntax"]),
    ("signal", &[]),
    ("wire", &["signal"]),
    ("delivery", &[]),
    ("component", &["eval", "signal", "macros"]),
    ("ottl", &["signal"]),
    ("writer", &["component", "delivery"]),
    ("tail", &["component", "signal"]),
    ("net", &["component", "wire"]),
    ("components-base", &["component", "net", "signal", "wire", "delivery"]),
    ("components-discovery", &["component", "net", "signal", "wire", "delivery"]),
    ("components-prometheus", &["component", "net", "signal", "wire", "delivery", "writer"]),
    ("components-loki", &["component", "net", "signal", "wire", "delivery", "writer", "tail"]),
    ("components-otelcol", &["component", "net", "signal", "wire", "delivery", "writer", "ottl", "tail"]),
    ("components-pyroscope", &["component", "net", "signal", "wire", "delivery", "writer"]),
    ("components-exporters", &["component", "net", "signal"]),
    ("runtime", &["syntax", "eval", "component"]),
    ("import-http", &["runtime", "component", "net"]),
    ("import-git", &["runtime", "component"]),
    (
        "catalog",
        &[
            "component",
            "components-base",
            "components-discovery",
            "components-exporters",
            "components-loki",
            "components-otelcol",
            "components-prometheus",
            "components-pyroscope",
        ],
    ),
    ("convert", &["syntax", "component"]),
    ("web", &["component"]),
    ("pipeline-test", &["syntax", "eval", "signal", "wire", "component", "net", "runtime"]),
    (
        "cli",
        &[
            "syntax",
            "eval",
            "signal",
            "wire",
            "delivery",
            "component",
            "net",
            "runtime",
            "import-http",
            "import-git",
            "catalog",
            "convert",
            "web",
            "pipeline-test",
        ],
    ),
    ("xtask", &["catalog", "component", "convert"]),
    ("e2e", &["signal", "wire"]),
    (
        "fuzz",
        &[
            "syntax",
            "eval",
            "signal",
            "wire",
            "delivery",
            "component",
            "ottl",
            "tail",
            "net",
            "components-discovery",
            "components-exporters",
            "components-loki",
            "components-otelcol",
            "components-prometheus",
            "components-pyroscope",
            "catalog",
            "convert",
            "pipeline-test",
        ],
    ),
];

/// Checks everything; the error lists every finding.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let mut findings = edges(root)?;
    findings.extend(components(root)?);
    findings.extend(heads(root)?);
    if !findings.is_empty() {
        bail!("{} findings:\n{}", findings.len(), findings.join("\n"));
    }
    Ok(())
}

fn edges(root: &Path) -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let allowed: BTreeMap<_, _> = EDGES.iter().copied().collect();
    let ours: BTreeSet<_> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let name = package.name.to_string();
        let Some(may) = allowed.get(name.as_str()) else {
            findings.push(format!(
                "crate {name} is not in the table of crates (xtask/src/tidy.rs, crates/README.md)"
            ));
            continue;
        };
        let normal =
            package.dependencies.iter().filter(|d| d.kind != cargo_metadata::DependencyKind::Development);
        for used in normal.filter(|d| ours.contains(&d.name) && !may.contains(&d.name.as_str())) {
            findings.push(format!("crate {name} must not use {}", used.name));
        }
    }
    Ok(findings)
}

/// `prometheus.remote_write` of `components-prometheus` lives in `src/remote_write`, with `docs.md`.
fn components(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    let mut folders = BTreeSet::new();
    for definition in catalog::all().iter() {
        let Some(folder) = component_folder(root, definition.name) else {
            findings.push(format!("component {} has no folder with a docs.md", definition.name));
            continue;
        };
        if definition.docs.trim().is_empty() || !definition.docs.contains("```alloy") {
            findings.push(format!("{}: docs.md needs text and an example in ```alloy", definition.name));
        }
        folders.insert(folder);
    }
    for page in all_files(&root.join("crates"))?.into_iter().filter(|p| p.ends_with("docs.md")) {
        let folder = page.parent().expect("a file has a folder").to_path_buf();
        if !folders.contains(&folder) {
            findings.push(format!("{} belongs to no registered component", page.display()));
        }
    }
    Ok(findings)
}

fn component_folder(root: &Path, name: &str) -> Option<PathBuf> {
    let parts: Vec<_> = name.split('.').collect();
    let families = ["base", "discovery", "exporters", "prometheus", "loki", "otelcol", "pyroscope"];
    families.iter().find_map(|family| {
        let source = root.join(format!("crates/components-{family}/src"));
        // The family's own name is not repeated inside its crate; a keyword gets an underscore.
        (0..parts.len())
            .flat_map(|skip| [parts[skip..].join("/"), format!("{}_", parts[skip..].join("/"))])
            .map(|place| source.join(place))
            .find(|folder| folder.join("docs.md").is_file() && belongs(family, name))
    })
}

fn belongs(family: &str, name: &str) -> bool {
    match family {
        "exporters" => name.starts_with("prometheus.exporter."),
        "base" => name.starts_with("local.") || name.starts_with("remote."),
        "prometheus" => name.starts_with("prometheus.") && !name.starts_with("prometheus.exporter."),
        "otelcol" => name.starts_with("otelcol.") || name.starts_with("faro."),
        family => name.starts_with(&format!("{family}.")),
    }
}

/// Every Rust file opens with `//!`, and none grows past what one can read.
fn heads(root: &Path) -> anyhow::Result<Vec<String>> {
    const MOST_LINES: usize = 1000;
    let mut findings = Vec::new();
    for folder in ["crates", "tests"] {
        for path in
            all_files(&root.join(folder))?.into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs"))
        {
            let text = fs::read_to_string(&path)?;
            if !text.starts_with("//!") {
                findings.push(format!("{} does not open with `//!`", path.display()));
            }
            if text.lines().count() > MOST_LINES {
                findings.push(format!("{} has more than {MOST_LINES} lines: split it", path.display()));
            }
        }
    }
    Ok(findings)
}

fn all_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(all_files(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_use_only_whom_the_table_allows() {
        assert_eq!(edges(&crate::root()).expect("metadata"), Vec::<String>::new());
    }

    #[test]
    fn the_map_shows_every_crate_of_the_table() {
        let map = fs::read_to_string(crate::root().join("crates/README.md")).expect("crates/README.md");
        for (name, _) in EDGES {
            assert!(map.contains(&format!("`{name}`")), "crates/README.md does not name `{name}`");
        }
    }

    #[test]
    fn registry_folders_pages_and_examples_agree() {
        assert_eq!(components(&crate::root()).expect("read"), Vec::<String>::new());
    }

    #[test]
    fn files_open_with_what_they_are_and_stay_readable() {
        assert_eq!(heads(&crate::root()).expect("read"), Vec::<String>::new());
    }
}
