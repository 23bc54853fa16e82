//! The functions of expressions.

use super::MAX_RESULT;
use crate::operators::entry::Failure;
use crate::operators::value::Value;

/// A function of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    Len,
    Lower,
    Upper,
    Trim,
    TrimPrefix,
    TrimSuffix,
    Split,
    Join,
    Replace,
    Repeat,
    IndexOf,
    HasPrefix,
    HasSuffix,
    Int,
    Float,
    Text,
    Type,
    Keys,
    Values,
    Get,
    Abs,
    Max,
    Min,
    First,
    Last,
    ToJson,
    FromJson,
    Env,
}

/// A function of a list and a condition on its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predicate {
    Any,
    All,
    None,
    One,
    Filter,
    Map,
    Count,
    Find,
}

impl Predicate {
    /// That of a name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "any" => Self::Any,
            "all" => Self::All,
            "none" => Self::None,
            "one" => Self::One,
            "filter" => Self::Filter,
            "map" => Self::Map,
            "count" => Self::Count,
            "find" => Self::Find,
            _ => return None,
        })
    }
}

impl Builtin {
    /// That of a name, and how many arguments it takes.
    pub fn named(name: &str) -> Option<(Self, usize, usize)> {
        Some(match name {
            "len" => (Self::Len, 1, 1),
            "lower" => (Self::Lower, 1, 1),
            "upper" => (Self::Upper, 1, 1),
            "trim" => (Self::Trim, 1, 2),
            "trimPrefix" => (Self::TrimPrefix, 2, 2),
            "trimSuffix" => (Self::TrimSuffix, 2, 2),
            "split" => (Self::Split, 2, 3),
            "join" => (Self::Join, 1, 2),
            "replace" => (Self::Replace, 3, 3),
            "repeat" => (Self::Repeat, 2, 2),
            "indexOf" => (Self::IndexOf, 2, 2),
            "hasPrefix" => (Self::HasPrefix, 2, 2),
            "hasSuffix" => (Self::HasSuffix, 2, 2),
            "int" => (Self::Int, 1, 1),
            "float" => (Self::Float, 1, 1),
            "string" => (Self::Text, 1, 1),
            "type" => (Self::Type, 1, 1),
            "keys" => (Self::Keys, 1, 1),
            "values" => (Self::Values, 1, 1),
            "get" => (Self::Get, 2, 2),
            "abs" => (Self::Abs, 1, 1),
            "max" => (Self::Max, 1, 16),
            "min" => (Self::Min, 1, 16),
            "first" => (Self::First, 1, 1),
            "last" => (Self::Last, 1, 1),
            "toJSON" => (Self::ToJson, 1, 1),
            "fromJSON" => (Self::FromJson, 1, 1),
            "env" => (Self::Env, 1, 1),
            _ => return None,
        })
    }

    /// Its value.
    ///
    /// # Errors
    /// If an argument is of a kind that it is not for.
    pub fn call(self, args: &[Value]) -> Result<Value, Failure> {
        let text = |i: usize| text(args, i);
        Ok(match self {
            Self::Len => Value::Int(match &args[0] {
                Value::Text(t) => t.chars().count(),
                Value::Bytes(b) => b.len(),
                Value::List(l) => l.len(),
                Value::Map(m) => m.len(),
                other => return Err(wrong("len", other)),
            } as i64),
            Self::Lower => Value::Text(text(0)?.to_lowercase()),
            Self::Upper => Value::Text(text(0)?.to_uppercase()),
            Self::Trim if args.len() == 1 => Value::from(text(0)?.trim()),
            Self::Trim => {
                let set = text(1)?;
                Value::from(text(0)?.trim_matches(|c| set.contains(c)))
            }
            Self::TrimPrefix => Value::from(text(0)?.strip_prefix(text(1)?).unwrap_or(text(0)?)),
            Self::TrimSuffix => Value::from(text(0)?.strip_suffix(text(1)?).unwrap_or(text(0)?)),
            Self::Split => split(args)?,
            Self::Join => join(args)?,
            Self::Replace => bounded(text(0)?.replace(text(1)?, text(2)?))?,
            Self::Repeat => {
                let count = usize::try_from(int(&args[1])?).unwrap_or(0);
                if text(0)?.len().saturating_mul(count) > MAX_RESULT {
                    return Err(Failure::new("the text is too long"));
                }
                Value::Text(text(0)?.repeat(count))
            }
            Self::IndexOf => {
                let found = text(0)?.find(text(1)?);
                Value::Int(found.map_or(-1, |i| i as i64))
            }
            Self::HasPrefix => Value::Bool(text(0)?.starts_with(text(1)?)),
            Self::HasSuffix => Value::Bool(text(0)?.ends_with(text(1)?)),
            Self::Int => Value::Int(int(&args[0])?),
            Self::Float => Value::Float(float(&args[0])?),
            Self::Text => Value::Text(args[0].text()),
            Self::Type => Value::from(args[0].kind()),
            Self::Keys => Value::List(map(args)?.keys().map(|k| Value::from(k.as_str())).collect()),
            Self::Values => Value::List(map(args)?.values().cloned().collect()),
            Self::Get => match (&args[0], &args[1]) {
                (Value::Map(map), Value::Text(key)) => map.get(key).cloned().unwrap_or_default(),
                (Value::List(list), Value::Int(i)) => {
                    usize::try_from(*i).ok().and_then(|i| list.get(i)).cloned().unwrap_or_default()
                }
                _ => Value::Null,
            },
            Self::Abs => match &args[0] {
                Value::Int(v) => Value::Int(v.saturating_abs()),
                other => Value::Float(float(other)?.abs()),
            },
            Self::Max => extreme(args, |a, b| a > b)?,
            Self::Min => extreme(args, |a, b| a < b)?,
            Self::First | Self::Last => match &args[0] {
                Value::List(list) => {
                    let found = if self == Self::First { list.first() } else { list.last() };
                    found.cloned().unwrap_or_default()
                }
                other => return Err(wrong("first and last", other)),
            },
            Self::ToJson => bounded(args[0].to_json().to_string())?,
            Self::FromJson => {
                let json = serde_json::from_str(text(0)?).map_err(|e| Failure::new(e.to_string()))?;
                Value::of_json(json, false)
            }
            Self::Env => {
                Value::Text(component::eval::stdlib::environment::variable(text(0)?).unwrap_or_default())
            }
        })
    }
}

fn wrong(what: &str, value: &Value) -> Failure {
    Failure::new(format!("{what} is not for {}", value.kind()))
}

fn bounded(text: String) -> Result<Value, Failure> {
    if text.len() > MAX_RESULT { Err(Failure::new("the text is too long")) } else { Ok(Value::Text(text)) }
}

fn text(args: &[Value], i: usize) -> Result<&str, Failure> {
    args[i].as_text().ok_or_else(|| wrong("a function of text", &args[i]))
}

fn map(args: &[Value]) -> Result<&crate::operators::value::Map, Failure> {
    args[0].as_map().ok_or_else(|| wrong("a function of maps", &args[0]))
}

fn int(value: &Value) -> Result<i64, Failure> {
    match value {
        Value::Int(v) => Ok(*v),
        Value::Float(v) => Ok(*v as i64),
        Value::Text(t) => t.trim().parse().map_err(|_| Failure::new(format!("{t:?} is no whole number"))),
        other => Err(wrong("int", other)),
    }
}

/// A number of any kind.
pub fn float(value: &Value) -> Result<f64, Failure> {
    match value {
        Value::Int(v) => Ok(*v as f64),
        Value::Float(v) => Ok(*v),
        Value::Text(t) => t.trim().parse().map_err(|_| Failure::new(format!("{t:?} is no number"))),
        other => Err(wrong("float", other)),
    }
}

fn split(args: &[Value]) -> Result<Value, Failure> {
    let (whole, by) = (text(args, 0)?, text(args, 1)?);
    let limit = args.get(2).map(int).transpose()?.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let parts: Vec<Value> = whole.splitn(limit, by).take(MAX_RESULT / 16).map(Value::from).collect();
    Ok(Value::List(parts))
}

fn join(args: &[Value]) -> Result<Value, Failure> {
    let Value::List(list) = &args[0] else { return Err(wrong("join", &args[0])) };
    let by = if args.len() > 1 { text(args, 1)? } else { "" };
    bounded(list.iter().map(Value::text).collect::<Vec<_>>().join(by))
}

fn extreme(args: &[Value], beats: impl Fn(f64, f64) -> bool) -> Result<Value, Failure> {
    let list = match args {
        [Value::List(list)] => list.as_slice(),
        _ => args,
    };
    let mut best = list.first().ok_or_else(|| Failure::new("there is no largest of nothing"))?;
    for value in list {
        if beats(float(value)?, float(best)?) {
            best = value;
        }
    }
    Ok(best.clone())
}
