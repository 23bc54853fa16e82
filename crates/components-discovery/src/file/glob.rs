//! Paths with `*`, `?` and `[…]`, as Go's `filepath.Glob` reads them: each matches within one name, hidden
//! files included.

use std::path::{Path, PathBuf};

use globset::{Glob, GlobMatcher};

/// Whether a pattern can be read.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    Path::new(pattern).iter().try_for_each(|part| part.to_str().map_or(Ok(()), |p| matcher(p).map(drop)))
}

/// The folder to watch for a pattern: what stands before its first name that is not plain.
pub(super) fn folder(pattern: &str) -> PathBuf {
    let parent = Path::new(pattern).parent().unwrap_or(Path::new(""));
    let plain: PathBuf =
        parent.iter().take_while(|part| part.to_str().is_some_and(|p| !is_pattern(p))).collect();
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

/// The paths that match and exist, sorted.
pub(super) fn files(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in Path::new(pattern) {
        let text = part.to_string_lossy();
        if !is_pattern(&text) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let Ok(matcher) = matcher(&text) else { return Vec::new() };
        found = found.iter().flat_map(|folder| inside(folder, &matcher)).collect();
    }
    found.retain(|path| path.exists());
    found.sort_unstable();
    found
}

fn inside(folder: &Path, matcher: &GlobMatcher) -> Vec<PathBuf> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(here) else { return Vec::new() };
    let names = entries.filter_map(|e| Some(e.ok()?.file_name()));
    names.filter(|name| matcher.is_match(name)).map(|name| folder.join(name)).collect()
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', '\\'])
}

/// Braces mean themselves, as in Go.
fn matcher(name: &str) -> Result<GlobMatcher, String> {
    let plain_braces = name.replace('{', "[{]").replace('}', "[}]");
    let glob = Glob::new(&plain_braces).map_err(|e| e.kind().to_string())?;
    Ok(glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_matches_within_one_name() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a/x.json", "a/y.json", "b/x.json", "b/.h.json", "b/{x}.json", "x.json"] {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        for (pattern, expected) in [
            ("x.json", &["x.json"][..]),
            ("*.json", &["x.json"]),
            ("**/x.json", &["a/x.json", "b/x.json"]),
            ("*/x.json", &["a/x.json", "b/x.json"]),
            ("a/?.json", &["a/x.json", "a/y.json"]),
            ("[b-c]/*.json", &["b/.h.json", "b/x.json", "b/{x}.json"]),
            ("b/{x}.js*", &["b/{x}.json"]),
            ("missing.json", &[]),
            ("missing/*.json", &[]),
        ] {
            let found = files(root.path().join(pattern).to_str().unwrap());
            let found: Vec<_> =
                found.iter().map(|p| p.strip_prefix(root.path()).unwrap().to_str().unwrap()).collect();
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn the_folder_watched_is_the_one_before_the_first_pattern() {
        for (pattern, expected) in [
            ("/a/b/*.json", "/a/b"),
            ("/a/*/c.json", "/a"),
            ("*.json", "."),
            ("a.json", "."),
            ("/a.json", "/"),
        ] {
            assert_eq!(folder(pattern), Path::new(expected), "{pattern}");
        }
    }
}
