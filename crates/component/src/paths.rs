//! Files named by patterns: what `__path__` and `__path_exclude__` of a target mean.
//!
//! A pattern is taken apart into the parts between its slashes, so that only folders which can hold a match
//! are read. `*` stops at a slash, `**` is any number of folders, and a name that starts with a dot is a name
//! like any other. As github.com/bmatcuk/doublestar.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use globset::{GlobBuilder, GlobMatcher};

use crate::Target;

/// The label that holds a target's path or pattern.
pub const PATH_LABEL: &str = "__path__";

/// The label that holds a pattern of paths to leave out.
pub const EXCLUDE_LABEL: &str = "__path_exclude__";

/// As many patterns may braces stand for; more are a mistake.
const MAX_ALTERNATIVES: usize = 1024;

/// A pattern that does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} does not work: {message}")]
pub struct BadPattern {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub message: String,
}

/// Which files a pattern stands for.
#[derive(Debug, Clone)]
pub struct PathPattern {
    alternatives: Vec<Vec<Part>>,
    exclude: Option<GlobMatcher>,
}

/// A file that was found.
#[derive(Debug, Clone)]
pub struct FoundFile {
    /// Absolute and without `.` and `..`; symlinks are left as they are.
    pub path: PathBuf,
    /// What the path leads to.
    pub metadata: Metadata,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Match(GlobMatcher),
    AnyDepth,
}

impl PathPattern {
    /// A pattern, and one of what to leave out.
    ///
    /// # Errors
    /// If one of them is not a pattern.
    pub fn new(pattern: &str, exclude: Option<&str>) -> Result<Self, BadPattern> {
        Self::compiled(pattern, exclude, &mut Matchers::default())
    }

    fn compiled(pattern: &str, exclude: Option<&str>, matchers: &mut Matchers) -> Result<Self, BadPattern> {
        let mut texts = Vec::new();
        expand_braces(pattern, &mut texts).map_err(|message| bad(pattern, message))?;
        let alternatives = texts.iter().map(|text| parts(text, matchers)).collect::<Result<_, _>>();
        let alternatives = alternatives.map_err(|message| bad(pattern, message))?;
        let exclude = match exclude.filter(|e| !e.is_empty()) {
            Some(text) => Some(matchers.get(text).map_err(|message| bad(text, message))?),
            None => None,
        };
        Ok(Self { alternatives, exclude })
    }

    /// The files that are there now, sorted by path, each once. What cannot be read is left out.
    pub fn files(&self) -> Vec<FoundFile> {
        let mut paths = Vec::new();
        for parts in &self.alternatives {
            walk(PathBuf::new(), parts, &mut paths);
        }
        paths.retain(|path| !self.exclude.as_ref().is_some_and(|e| e.is_match(path)));
        paths.sort();
        paths.dedup();
        let found = paths.into_iter().filter_map(|path| {
            // A file may go between its folder being read and now.
            let metadata = std::fs::metadata(&path).ok().filter(|m| !m.is_dir())?;
            Some(FoundFile { path: absolute(&path), metadata })
        });
        found.collect()
    }
}

impl FoundFile {
    /// Whether the file was last written longer ago than `limit`; a limit of 0 is none.
    pub fn is_older_than(&self, limit: Duration) -> bool {
        !limit.is_zero() && self.metadata.modified().is_ok_and(|m| m + limit < SystemTime::now())
    }
}

/// Targets whose `__path__` is a pattern, compiled once for all times that files are looked for.
#[derive(Debug)]
pub struct TargetPatterns {
    patterns: Vec<(Target, PathPattern)>,
    broken: Vec<BadPattern>,
}

impl TargetPatterns {
    /// The patterns of targets. What many of them have in common (`*.log`) is there once.
    pub fn new(targets: &[Target]) -> Self {
        let (mut patterns, mut broken, mut matchers) = (Vec::new(), Vec::new(), Matchers::default());
        for target in targets {
            let pattern = target.get(PATH_LABEL).unwrap_or_default();
            match PathPattern::compiled(pattern, target.get(EXCLUDE_LABEL), &mut matchers) {
                Ok(pattern) => patterns.push((target.clone(), pattern)),
                Err(error) => broken.push(error),
            }
        }
        Self { patterns, broken }
    }

    /// Patterns that do not work.
    pub fn broken(&self) -> &[BadPattern] {
        &self.broken
    }

    /// One target a file that is there now: its pattern's target with the file's path. Files that were last written longer
    /// ago than the limit are left out; a limit of 0 is none.
    pub fn targets(&self, ignore_older_than: Duration) -> Vec<Target> {
        let found = self.patterns.iter().flat_map(|(target, pattern)| {
            let young = pattern.files().into_iter().filter(move |f| !f.is_older_than(ignore_older_than));
            // A path that is not UTF-8 cannot be a label.
            let paths = young.filter_map(|f| f.path.into_os_string().into_string().ok());
            paths.map(move |path| at_path(target, &path))
        });
        found.collect()
    }
}

fn at_path(target: &Target, path: &str) -> Target {
    let others = target.iter().filter(|(name, _)| *name != PATH_LABEL);
    Target::from_pairs(others.chain([(PATH_LABEL, path)]))
}

fn bad(pattern: &str, message: String) -> BadPattern {
    BadPattern { pattern: pattern.to_string(), message }
}

/// Compiled matchers by their text; copies share the machine.
#[derive(Default)]
struct Matchers(HashMap<String, GlobMatcher>);

impl Matchers {
    fn get(&mut self, pattern: &str) -> Result<GlobMatcher, String> {
        if let Some(known) = self.0.get(pattern) {
            return Ok(known.clone());
        }
        let mut builder = GlobBuilder::new(pattern);
        builder.literal_separator(true).backslash_escape(true).empty_alternates(true);
        let matcher = builder.build().map_err(|error| error.kind().to_string())?.compile_matcher();
        self.0.insert(pattern.to_string(), matcher.clone());
        Ok(matcher)
    }
}

fn parts(pattern: &str, matchers: &mut Matchers) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    if pattern.starts_with('/') {
        parts.push(Part::Literal("/".into()));
    }
    for part in pattern.split('/').filter(|p| !p.is_empty()) {
        parts.push(match part {
            "**" => Part::AnyDepth,
            _ if part.contains(['*', '?', '[', '\\']) => Part::Match(matchers.get(part)?),
            _ => Part::Literal(part.into()),
        });
    }
    Ok(parts)
}

/// `{a,b/c}` may hold slashes, so it is written out before a pattern is split at them.
fn expand_braces(pattern: &str, out: &mut Vec<String>) -> Result<(), String> {
    let Some((before, choices, after)) = first_braces(pattern)? else {
        if out.len() >= MAX_ALTERNATIVES {
            return Err(format!("its braces stand for more than {MAX_ALTERNATIVES} patterns"));
        }
        out.push(pattern.to_string());
        return Ok(());
    };
    choices.iter().try_for_each(|choice| expand_braces(&format!("{before}{choice}{after}"), out))
}

type Braces<'a> = (&'a str, Vec<&'a str>, &'a str);

fn first_braces(pattern: &str) -> Result<Option<Braces<'_>>, String> {
    let (mut open, mut depth, mut from) = (None, 0_u32, 0);
    let (mut choices, mut escaped, mut in_class) = (Vec::new(), false, false);
    for (i, c) in pattern.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' => in_class = false,
            _ if in_class => {}
            '[' => in_class = true,
            '{' => {
                depth += 1;
                if depth == 1 {
                    (open, from) = (Some(i), i + 1);
                }
            }
            ',' if depth == 1 => {
                choices.push(&pattern[from..i]);
                from = i + 1;
            }
            '}' if depth > 0 => {
                depth -= 1;
                if let (0, Some(open)) = (depth, open) {
                    choices.push(&pattern[from..i]);
                    return Ok(Some((&pattern[..open], choices, &pattern[i + 1..])));
                }
            }
            _ => {}
        }
    }
    if depth > 0 { Err("a brace is not closed".into()) } else { Ok(None) }
}

fn walk(at: PathBuf, parts: &[Part], out: &mut Vec<PathBuf>) {
    let Some((part, rest)) = parts.split_first() else {
        out.push(at);
        return;
    };
    match part {
        Part::Literal(name) => walk(at.join(name), rest, out),
        Part::Match(matcher) => {
            let Ok(entries) = std::fs::read_dir(folder(&at)) else { return };
            let matches = |name: &OsStr| matcher.is_match(Path::new(name));
            for entry in entries.flatten().filter(|e| matches(&e.file_name())) {
                // What more parts follow must be a folder, perhaps through a link.
                let is_file = || entry.file_type().is_ok_and(|t| t.is_file());
                if rest.is_empty() || !is_file() {
                    walk(at.join(entry.file_name()), rest, out);
                }
            }
        }
        Part::AnyDepth => {
            let tree = walkdir::WalkDir::new(folder(&at)).follow_links(true);
            for entry in tree.into_iter().flatten() {
                let below = entry.path().strip_prefix(folder(&at)).unwrap_or(entry.path());
                let here = if below.as_os_str().is_empty() { at.clone() } else { at.join(below) };
                if rest.is_empty() && !entry.file_type().is_dir() {
                    out.push(here);
                } else if entry.file_type().is_dir() {
                    walk(here, rest, out);
                }
            }
        }
    }
}

fn folder(at: &Path) -> &Path {
    if at.as_os_str().is_empty() { Path::new(".") } else { at }
}

/// The path from the root, without `.` and `..`, as Go's `filepath.Abs`.
pub fn absolute(path: &Path) -> PathBuf {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut out = PathBuf::new();
    for component in full.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "a.log",
            "b.log",
            "b.log.gz",
            ".hidden.log",
            "x{1}.log",
            "p/c.log",
            "p/q/d.log",
            "p/q/e.txt",
            "r/f.log",
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("p/q", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("gone", root.path().join("broken.log")).unwrap();
        root
    }

    fn found(root: &Path, pattern: &str, exclude: Option<&str>) -> String {
        let pattern = root.join(pattern);
        let exclude = exclude.map(|e| root.join(e).to_str().unwrap().to_string());
        let pattern = PathPattern::new(pattern.to_str().unwrap(), exclude.as_deref()).unwrap();
        let names = pattern
            .files()
            .into_iter()
            .map(|f| f.path.strip_prefix(root).unwrap().to_str().unwrap().to_string());
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn patterns_stand_for_the_files_that_doublestar_finds() {
        let root = tree();
        for (pattern, exclude, expected) in [
            ("a.log", None, "a.log"),
            ("none.log", None, ""),
            ("*.log", None, ".hidden.log a.log b.log x{1}.log"),
            ("[ab].log", None, "a.log b.log"),
            ("[^a].log", None, "b.log"),
            ("[!a].log", None, "b.log"),
            ("?.log", None, "a.log b.log"),
            ("x\\{1\\}.log", None, "x{1}.log"),
            ("{a,p/c,p/q/{d,z}}.log", None, "a.log p/c.log p/q/d.log"),
            ("b.log{,.gz}", None, "b.log b.log.gz"),
            ("*/*.log", None, "link/d.log p/c.log r/f.log"),
            ("p/**", None, "p/c.log p/q/d.log p/q/e.txt"),
            ("p/**/*.log", None, "p/c.log p/q/d.log"),
            ("**/d.log", None, "link/d.log p/q/d.log"),
            ("**/*.log", Some("**/{c,d}.log"), ".hidden.log a.log b.log r/f.log x{1}.log"),
            ("*.log", Some("*b*"), ".hidden.log a.log x{1}.log"),
            ("p/../a.log", None, "a.log"),
            ("p", None, ""),
        ] {
            assert_eq!(found(root.path(), pattern, exclude), expected, "{pattern} without {exclude:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_an_error_that_names_it() {
        for pattern in ["/a/[", "/a/{b", &"{a,b}".repeat(11)] {
            let error = PathPattern::new(pattern, None).unwrap_err();
            assert!(error.to_string().contains(pattern), "{error}");
        }
        assert!(PathPattern::new("/a", Some("[")).is_err());
    }

    #[test]
    fn targets_keep_their_labels_and_old_files_are_left_out() {
        let root = tree();
        let old = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(7200));
        File::options().write(true).open(root.path().join("a.log")).unwrap().set_times(old).unwrap();
        let at = |name: &str| root.path().join(name).to_str().unwrap().to_string();
        let patterns = [
            Target::from_pairs([("__path__", at("[ab].log")), ("job", "x".into())]),
            Target::from_pairs([("__path__", at("["))]),
        ];
        let patterns = TargetPatterns::new(&patterns);
        let targets = patterns.targets(Duration::from_secs(3600));
        assert_eq!(targets, [Target::from_pairs([("__path__", at("b.log")), ("job", "x".into())])]);
        assert_eq!(patterns.broken().len(), 1);
        assert_eq!(patterns.targets(Duration::ZERO).len(), 2);
    }
}
