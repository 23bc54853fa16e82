//! `textfile`: metrics that other programs leave in `*.prom` files of a directory.
//!
//! A file that cannot be read or parsed is left out as a whole and reported in
//! `node_textfile_scrape_error`; the others are still given.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use globset::GlobBuilder;

use super::config::Config;
use super::error::ConfigError;
use super::{Collect, CollectorError, Family, Outcome, Paths, read};
use crate::text::{self, Parsed};

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let directory = config.textfile.directory.clone();
    Ok(Box::new(move |_: &Paths, out: &mut Vec<Family>| collect(&directory, out)))
}

fn collect(directory: &str, out: &mut Vec<Family>) -> Outcome {
    let mut failed = false;
    let mut fail = |path: &Path, problem: String| {
        failed = true;
        tracing::warn!(path = %path.display(), problem, "text file is left out");
    };
    let mut found: Vec<(PathBuf, Parsed)> = Vec::new();
    let mut times =
        Family::gauge("node_textfile_mtime_seconds", "Unixtime mtime of textfiles successfully read.");
    for directory in directories(directory) {
        let names = read::names(&directory).unwrap_or_else(|error| {
            fail(&directory, error.to_string());
            Vec::new()
        });
        for name in names.iter().filter(|name| name.ends_with(".prom")) {
            let path = directory.join(name);
            match file(&path) {
                Ok((modified, families)) => {
                    times.add(&[("file", &path.to_string_lossy())], modified);
                    found.extend(families.into_iter().map(|family| (path.clone(), family)));
                }
                Err(error) => fail(&path, error.to_string()),
            }
        }
    }
    if helps(found, out) {
        failed = true;
    }
    out.push(times);
    out.push(
        Family::gauge(
            "node_textfile_scrape_error",
            "1 if there was an error opening or reading a file, 0 otherwise",
        )
        .with(&[], if failed { 1.0 } else { 0.0 }),
    );
    Ok(())
}

/// Time of the last change in whole seconds, and the families.
fn file(path: &Path) -> Result<(f64, Vec<Parsed>), CollectorError> {
    let families =
        text::parse(&read::text(path)?).map_err(|error| CollectorError::parse(path, error.to_string()))?;
    if families.iter().any(|parsed| parsed.family.metrics.iter().any(|metric| metric.timestamp_ms.is_some()))
    {
        return Err(CollectorError::parse(path, "timestamps are not supported"));
    }
    // Asked only now, so that a file with mistakes does not look fresh.
    let modified = std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map_err(|source| CollectorError::Read { path: path.to_path_buf(), source })?;
    let seconds = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok((seconds as f64, families))
}

/// Gives all families one help text per name, the first one found; true where two disagree, in
/// which case the later family is left out.
fn helps(found: Vec<(PathBuf, Parsed)>, out: &mut Vec<Family>) -> bool {
    let mut disagree = false;
    let mut helps: HashMap<String, String> = HashMap::new();
    for (path, parsed) in found.iter().filter(|(_, parsed)| parsed.has_help) {
        let (name, help) = (parsed.family.name.to_string(), parsed.family.help.to_string());
        if helps.entry(name).or_insert_with(|| help.clone()) != &help {
            disagree = true;
            tracing::warn!(path = %path.display(), metric = %parsed.family.name, "help texts of a metric disagree");
        }
    }
    let mut files: HashMap<String, Vec<String>> = HashMap::new();
    for (path, parsed) in &found {
        files.entry(parsed.family.name.to_string()).or_default().push(path.to_string_lossy().into_owned());
    }
    for (_, Parsed { mut family, has_help }) in found {
        match helps.get(family.name.as_ref()) {
            Some(help) if has_help && *help != family.help => continue,
            Some(help) => family.help = help.clone().into(),
            None => {
                family.help = format!("Metric read from {}", files[family.name.as_ref()].join(", ")).into()
            }
        }
        out.push(family);
    }
    disagree
}

/// The directories that a pattern names; itself where it is not a pattern or matches nothing.
fn directories(pattern: &str) -> Vec<PathBuf> {
    if pattern.is_empty() {
        return Vec::new();
    }
    let is_glob = |part: &str| part.contains(['*', '?', '[']);
    let mut found = vec![PathBuf::from(if pattern.starts_with('/') { "/" } else { "." })];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !is_glob(part) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let Ok(glob) = GlobBuilder::new(part).literal_separator(true).build() else {
            return vec![pattern.into()];
        };
        let glob = glob.compile_matcher();
        let children = |dir: &PathBuf| -> Vec<PathBuf> {
            let names = read::names(dir).unwrap_or_default();
            names.iter().filter(|name| glob.is_match(name)).map(|name| dir.join(name)).collect()
        };
        found = found.iter().flat_map(children).collect();
    }
    if is_glob(pattern) {
        found.retain(|path| path.exists());
    }
    if found.is_empty() { vec![pattern.into()] } else { found }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    fn samples(tree: &Tree, directory: &str) -> String {
        let directory = tree.root().join(directory).to_str().unwrap().to_string();
        let text = tree.samples(|_, out| super::collect(&directory, out));
        text.lines()
            .filter(|line| !line.starts_with("node_textfile_mtime"))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    #[test]
    fn files_with_the_suffix_are_read() {
        let tree = Tree::new(&[("d/a.prom", "up{job=\"x\"} 1\n"), ("d/b.txt", "down 1\n")]);
        assert_eq!(samples(&tree, "d"), "node_textfile_scrape_error 0\nup{job=\"x\"} 1\n");
        let mut families = Vec::new();
        let dir = tree.root().join("d");
        super::collect(dir.to_str().unwrap(), &mut families).unwrap();
        assert_eq!(families[0].help, format!("Metric read from {}/a.prom", dir.display()));
        let file = families[1].metrics[0].labels[0].1.clone();
        assert_eq!(file, format!("{}/a.prom", dir.display()));
        assert!(families[1].metrics[0].value > 1.6e9);
    }

    #[test]
    fn a_broken_file_is_left_out_and_reported() {
        for broken in ["a 1 x\n", "a 1 1700000000000\n", "a{ 1\n"] {
            let tree = Tree::new(&[("d/a.prom", broken), ("d/b.prom", "b 1\n")]);
            assert_eq!(samples(&tree, "d"), "b 1\nnode_textfile_scrape_error 1\n", "{broken}");
        }
        assert_eq!(samples(&Tree::new(&[]), "missing"), "node_textfile_scrape_error 1\n");
    }

    #[test]
    fn no_directory_is_no_error() {
        let text = Tree::new(&[]).samples(|_, out| super::collect("", out));
        assert_eq!(text, "node_textfile_scrape_error 0\n");
    }

    #[test]
    fn a_metric_with_two_help_texts_is_taken_once_and_reported() {
        let tree = Tree::new(&[
            ("d/a.prom", "# HELP m x\nm{f=\"a\"} 1\n"),
            ("d/b.prom", "# HELP m y\nm{f=\"b\"} 1\n"),
        ]);
        assert_eq!(samples(&tree, "d"), "m{f=\"a\"} 1\nnode_textfile_scrape_error 1\n");
    }

    #[test]
    fn a_pattern_names_several_directories() {
        let tree = Tree::new(&[("d1/x/a.prom", "a 1\n"), ("d2/x/b.prom", "b 1\n"), ("e/x/c.prom", "c 1\n")]);
        assert_eq!(samples(&tree, "d*/x"), "a 1\nb 1\nnode_textfile_scrape_error 0\n");
    }
}
