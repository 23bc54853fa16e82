//! Reading of small kernel files: whole texts, single attributes, numbers and directory listings.

use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use super::error::CollectorError;

/// The whole file; bytes that are not UTF-8 become replacement characters.
pub(super) fn text(path: impl AsRef<Path>) -> Result<String, CollectorError> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|source| CollectorError::Read { path: path.to_path_buf(), source })?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// The file without surrounding white space.
pub(super) fn trimmed(path: impl AsRef<Path>) -> Result<String, CollectorError> {
    let mut text = text(path)?;
    text.truncate(text.trim_end().len());
    if text.starts_with(char::is_whitespace) {
        text = text.trim_start().to_string();
    }
    Ok(text)
}

/// The whole file, or nothing where it does not exist.
pub(super) fn optional(path: impl AsRef<Path>) -> Result<Option<String>, CollectorError> {
    match text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A sysfs attribute, trimmed; nothing where the driver does not offer it: drivers answer with
/// "no such file", "not permitted", "invalid argument", "not supported" or "no such device".
pub(super) fn attribute(path: impl AsRef<Path>) -> Result<Option<String>, CollectorError> {
    match trimmed(path) {
        Ok(text) => Ok(Some(text)),
        Err(CollectorError::Read { source, .. }) if is_not_offered(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_not_offered(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        || error.raw_os_error().is_some_and(|code| {
            [Errno::INVAL, Errno::OPNOTSUPP, Errno::NODEV, Errno::NODATA]
                .iter()
                .any(|e| e.raw_os_error() == code)
        })
}

/// A number that is alone in a file.
pub(super) fn number<T: FromStr>(path: impl AsRef<Path>) -> Result<T, CollectorError> {
    let path = path.as_ref();
    parse(path, text(path)?.trim())
}

/// A number of a sysfs attribute, decimal or `0x…`; nothing where the driver does not offer it or
/// gives something that is not a number.
pub(super) fn attribute_number(path: impl AsRef<Path>) -> Result<Option<f64>, CollectorError> {
    Ok(attribute(path)?.as_deref().and_then(integer).map(|value| value as f64))
}

/// A signed integer as Go's `ParseInt(…, 0, 64)` reads it, for decimal and hexadecimal notation.
pub(super) fn integer(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Parses a piece of a file, naming the file and the piece when it is not of the expected kind.
pub(super) fn parse<T: FromStr>(path: impl AsRef<Path>, text: &str) -> Result<T, CollectorError> {
    text.parse()
        .map_err(|_| CollectorError::parse(path, format!("{text:?} is not a number of the expected kind")))
}

/// Parses a hexadecimal piece of a file.
pub(super) fn hex(path: impl AsRef<Path>, text: &str) -> Result<u64, CollectorError> {
    u64::from_str_radix(text, 16)
        .map_err(|_| CollectorError::parse(path, format!("{text:?} is not a hexadecimal number")))
}

/// The names in a directory, sorted.
pub(super) fn names(dir: impl AsRef<Path>) -> Result<Vec<String>, CollectorError> {
    let dir = dir.as_ref();
    let failed = |source| CollectorError::Read { path: dir.to_path_buf(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// The names in a directory that are `prefix` and a digit and anything, sorted by their number;
/// none where the directory cannot be listed.
pub(super) fn numbered(dir: impl AsRef<Path>, prefix: &str) -> Vec<String> {
    let mut found = names(dir).unwrap_or_default();
    found.retain(|name| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    found.sort_by_key(|name| name[prefix.len()..].parse::<u64>().unwrap_or(u64::MAX));
    found
}

/// A name made fit for a metric: runs of characters that may not stand in one become `_`.
pub(super) fn metric_name(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        // As node_exporter's `_*[^0-9A-Za-z_]+_*`: the underscores around a run go with it.
        let run = rest.find(|c: char| c != '_').map_or(rest.len(), |end| end);
        let after = &rest[run..];
        let bad = after.find(|c: char| c == '_' || c.is_ascii_alphanumeric()).unwrap_or(after.len());
        if bad > 0 {
            out.push('_');
            rest = after[bad..].trim_start_matches('_');
        } else {
            let good = after.find(|c: char| c == '_' || !c.is_ascii_alphanumeric()).unwrap_or(after.len());
            out.push_str(&rest[..run + good]);
            rest = &after[good..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn attributes_that_are_missing_or_not_numbers_are_absent() {
        let tree = Tree::new(&[("a", " 12\n"), ("b", "0x1f\n"), ("c", "N/A\n")]);
        let read = |name: &str| attribute_number(tree.root().join(name)).unwrap();
        assert_eq!((read("a"), read("b"), read("c"), read("d")), (Some(12.0), Some(31.0), None, None));
    }

    #[test]
    fn numbered_names_are_sorted_by_number_and_others_are_left_out() {
        let tree = Tree::new(&[("d/cpu10", ""), ("d/cpu2", ""), ("d/cpuidle", ""), ("d/x", "")]);
        assert_eq!(numbered(tree.root().join("d"), "cpu"), ["cpu2", "cpu10"]);
        assert_eq!(numbered(tree.root().join("missing"), "cpu"), [] as [&str; 0]);
    }

    #[test]
    fn a_metric_name_keeps_its_letters_and_joins_everything_else() {
        let cases = [
            ("package-0", "package_0"),
            ("net.ipv4.tcp_rmem", "net_ipv4_tcp_rmem"),
            ("a_-_b", "a_b"),
            ("_a__b_", "_a__b_"),
            ("core", "core"),
            ("dram ", "dram_"),
        ];
        for (text, expected) in cases {
            assert_eq!(metric_name(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_file_and_the_piece() {
        let error = parse::<u64>("/proc/x", "many").unwrap_err().to_string();
        assert_eq!(error, "cannot parse /proc/x: \"many\" is not a number of the expected kind");
        let error = text("/nonexistent/file").unwrap_err();
        assert!(error.is_missing(), "{error}");
    }
}
