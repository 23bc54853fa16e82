//! `string.*` and `file.path_join`.

use super::{CallError, take};
use crate::value::Value;

type Answer = Result<Value, CallError>;

pub(super) fn join(arguments: &[Value]) -> Answer {
    let items: Vec<String> = take(arguments, 0)?;
    let separator: String = take(arguments, 1)?;
    Ok(items.join(&separator).into())
}

pub(super) fn replace(arguments: &[Value]) -> Answer {
    let (text, old, new): (String, String, String) =
        (take(arguments, 0)?, take(arguments, 1)?, take(arguments, 2)?);
    Ok(text.replace(&old, &new).into())
}

/// As Go's strings.Split: an empty separator splits into characters, of which an empty text has none.
pub(super) fn split(arguments: &[Value]) -> Answer {
    let (text, separator): (String, String) = (take(arguments, 0)?, take(arguments, 1)?);
    let parts: Vec<Value> = if separator.is_empty() {
        text.chars().map(|c| c.to_string().into()).collect()
    } else {
        text.split(&separator).map(Value::from).collect()
    };
    Ok(Value::array(parts))
}

/// Go maps each character to one other; where Unicode wants several, the first is that one.
pub(super) fn to_lower(arguments: &[Value]) -> Answer {
    let text: String = take(arguments, 0)?;
    Ok(text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect::<String>().into())
}

/// Go maps each character to one other; where Unicode wants several, it stays as it is.
pub(super) fn to_upper(arguments: &[Value]) -> Answer {
    let text: String = take(arguments, 0)?;
    let upper = |c: char| {
        let mut mapped = c.to_uppercase();
        match (mapped.next(), mapped.next()) {
            (Some(one), None) => one,
            _ => c,
        }
    };
    Ok(text.chars().map(upper).collect::<String>().into())
}

/// The second argument is a set of characters.
pub(super) fn trim(arguments: &[Value]) -> Answer {
    let (text, set): (String, String) = (take(arguments, 0)?, take(arguments, 1)?);
    Ok(text.trim_matches(|c| set.contains(c)).into())
}

pub(super) fn trim_prefix(arguments: &[Value]) -> Answer {
    let (text, prefix): (String, String) = (take(arguments, 0)?, take(arguments, 1)?);
    Ok(text.strip_prefix(&prefix).unwrap_or(&text).into())
}

pub(super) fn trim_suffix(arguments: &[Value]) -> Answer {
    let (text, suffix): (String, String) = (take(arguments, 0)?, take(arguments, 1)?);
    Ok(text.strip_suffix(&suffix).unwrap_or(&text).into())
}

pub(super) fn trim_space(arguments: &[Value]) -> Answer {
    let text: String = take(arguments, 0)?;
    Ok(text.trim().into())
}

/// As Go's filepath.Join: empty elements are left out, the rest is joined and cleaned.
pub(super) fn path_join(arguments: &[Value]) -> Answer {
    let elements =
        (0..arguments.len()).map(|i| take::<String>(arguments, i)).collect::<Result<Vec<_>, _>>()?;
    let joined =
        elements.iter().skip_while(|e| e.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/");
    Ok(if joined.is_empty() { "".into() } else { clean(&joined).into() })
}

/// As Go's filepath.Clean: no empty, `.` or inner `..` elements, no slash at the end.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => match kept.last() {
                Some(&"..") => kept.push(".."),
                Some(_) => {
                    kept.pop();
                }
                None if rooted => {}
                None => kept.push(".."),
            },
            name => kept.push(name),
        }
    }
    match (rooted, kept.is_empty()) {
        (true, _) => format!("/{}", kept.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => kept.join("/"),
    }
}
