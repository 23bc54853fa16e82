//! The value of an expression for an entry. What is in the entry is borrowed as long as it can be.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::builtin::{Predicate, float};
use super::{Binary, MAX_RESULT, Name, Node};
use crate::operators::entry::{Entry, Failure};
use crate::operators::value::{Map, Value};

type Result<T> = std::result::Result<T, Failure>;

/// `item` is what a predicate is asked about.
pub fn eval<'a>(node: &'a Node, entry: &'a Entry, item: Option<&'a Value>) -> Result<Cow<'a, Value>> {
    let owned = |value: Value| Ok(Cow::Owned(value));
    match node {
        Node::Literal(value) => Ok(Cow::Borrowed(value)),
        Node::Name(name) => Ok(variable(*name, entry, item)),
        Node::List(nodes) => {
            let values = nodes.iter().map(|n| Ok(eval(n, entry, item)?.into_owned()));
            owned(Value::List(values.collect::<Result<_>>()?))
        }
        Node::Map(pairs) => {
            let mut map = Map::new();
            for (key, value) in pairs {
                map.insert(eval(key, entry, item)?.text(), eval(value, entry, item)?.into_owned());
            }
            owned(Value::Map(map))
        }
        Node::Member { of, key, optional } => {
            let of = eval(of, entry, item)?;
            if *optional && *of == Value::Null {
                return owned(Value::Null);
            }
            let key = eval(key, entry, item)?;
            member(of, &key)
        }
        Node::Slice { of, from, to } => {
            let bound = |node: &'a Option<Box<Node>>| match node {
                Some(node) => index(&*eval(node, entry, item)?).map(Some),
                None => Ok(None),
            };
            owned(slice(&*eval(of, entry, item)?, bound(from)?, bound(to)?)?)
        }
        Node::Not(inner) => owned(Value::Bool(!truth(&*eval(inner, entry, item)?)?)),
        Node::Negate(inner) => owned(match &*eval(inner, entry, item)? {
            Value::Int(v) => Value::Int(v.wrapping_neg()),
            Value::Float(v) => Value::Float(-v),
            other => return Err(wrong("-", other)),
        }),
        Node::Binary(operator, left, right) => binary(*operator, left, right, entry, item),
        Node::Matches(of, pattern) => match &*eval(of, entry, item)? {
            Value::Text(text) => owned(Value::Bool(pattern.is_match(text))),
            other => Err(wrong("matches", other)),
        },
        Node::Choice(parts) => {
            let [test, yes, no] = &**parts;
            let chosen = if truth(&*eval(test, entry, item)?)? { yes } else { no };
            eval(chosen, entry, item)
        }
        Node::Call(builtin, nodes) => {
            let arguments: Vec<Value> =
                nodes.iter().map(|n| Ok(eval(n, entry, item)?.into_owned())).collect::<Result<_>>()?;
            owned(builtin.call(&arguments)?)
        }
        Node::Each(predicate, list, test) => {
            let list = eval(list, entry, item)?;
            let Value::List(items) = &*list else { return Err(wrong("a predicate", &list)) };
            owned(each(*predicate, items, |one| Ok(eval(test, entry, Some(one))?.into_owned()))?)
        }
    }
}

fn variable<'a>(name: Name, entry: &'a Entry, item: Option<&'a Value>) -> Cow<'a, Value> {
    match name {
        Name::Body => Cow::Borrowed(&entry.body),
        Name::Attributes => Cow::Borrowed(&entry.attributes),
        Name::Resource => Cow::Borrowed(&entry.resource),
        Name::Timestamp => Cow::Owned(entry.timestamp_ns.map_or(Value::Null, Value::Time)),
        Name::SeverityText => Cow::Owned(Value::from(entry.severity_text.as_str())),
        Name::SeverityNumber => Cow::Owned(Value::Int(entry.severity.into())),
        Name::Item => item.map_or(Cow::Owned(Value::Null), Cow::Borrowed),
    }
}

fn wrong(what: &str, value: &Value) -> Failure {
    Failure::new(format!("{what} is not for {}", value.kind()))
}

fn truth(value: &Value) -> Result<bool> {
    match value {
        Value::Bool(v) => Ok(*v),
        other => Err(wrong("a condition", other)),
    }
}

fn index(value: &Value) -> Result<i64> {
    match value {
        Value::Int(v) => Ok(*v),
        other => Err(wrong("an index", other)),
    }
}

fn member<'a>(of: Cow<'a, Value>, key: &Value) -> Result<Cow<'a, Value>> {
    fn find<'v>(of: &'v Value, key: &Value) -> Result<Option<&'v Value>> {
        match (of, key) {
            (Value::Map(map), Value::Text(key)) => Ok(map.get(key)),
            (Value::List(list), Value::Int(at)) => {
                let at = if *at < 0 { at + list.len() as i64 } else { *at };
                let found = usize::try_from(at).ok().and_then(|i| list.get(i));
                found.map(Some).ok_or_else(|| Failure::new("the index is out of range"))
            }
            (of, key) => Err(Failure::new(format!("{} has no member {}", of.kind(), key.text()))),
        }
    }
    Ok(match of {
        Cow::Borrowed(of) => find(of, key)?.map_or(Cow::Owned(Value::Null), Cow::Borrowed),
        Cow::Owned(of) => Cow::Owned(find(&of, key)?.cloned().unwrap_or_default()),
    })
}

fn slice(of: &Value, from: Option<i64>, to: Option<i64>) -> Result<Value> {
    let range = |length: usize| {
        let at = |i: i64| if i < 0 { (i + length as i64).max(0) } else { i.min(length as i64) } as usize;
        let (from, to) = (from.map_or(0, at), to.map_or(length, at));
        from.min(to)..to
    };
    match of {
        Value::List(list) => Ok(Value::List(list[range(list.len())].to_vec())),
        Value::Text(text) => {
            let range = range(text.chars().count());
            Ok(Value::Text(text.chars().skip(range.start).take(range.len()).collect()))
        }
        other => Err(wrong("a slice", other)),
    }
}

fn binary<'a>(
    operator: Binary,
    left: &'a Node,
    right: &'a Node,
    entry: &'a Entry,
    item: Option<&'a Value>,
) -> Result<Cow<'a, Value>> {
    let first = eval(left, entry, item)?;
    // Three of them do not ask for the second where the first decides.
    match operator {
        Binary::Or if truth(&first)? => return Ok(Cow::Owned(Value::Bool(true))),
        Binary::And if !truth(&first)? => return Ok(Cow::Owned(Value::Bool(false))),
        Binary::Default if *first != Value::Null => return Ok(first),
        _ => {}
    }
    let second = eval(right, entry, item)?;
    let value = match operator {
        Binary::Or | Binary::And => Value::Bool(truth(&second)?),
        Binary::Default => return Ok(second),
        Binary::Equal => Value::Bool(equal(&first, &second)),
        Binary::Unequal => Value::Bool(!equal(&first, &second)),
        Binary::Less => Value::Bool(order(&first, &second)? == Ordering::Less),
        Binary::LessEqual => Value::Bool(order(&first, &second)? != Ordering::Greater),
        Binary::Greater => Value::Bool(order(&first, &second)? == Ordering::Greater),
        Binary::GreaterEqual => Value::Bool(order(&first, &second)? != Ordering::Less),
        Binary::In => Value::Bool(is_in(&first, &second)?),
        Binary::NotIn => Value::Bool(!is_in(&first, &second)?),
        Binary::Contains => texts(&first, &second, |a, b| a.contains(b))?,
        Binary::StartsWith => texts(&first, &second, |a, b| a.starts_with(b))?,
        Binary::EndsWith => texts(&first, &second, |a, b| a.ends_with(b))?,
        Binary::Range => range(index(&first)?, index(&second)?)?,
        _ => arithmetic(operator, &first, &second)?,
    };
    Ok(Cow::Owned(value))
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
        _ => a == b,
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering> {
    let unordered = || Failure::new(format!("{} and {} cannot be compared", a.kind(), b.kind()));
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Ok(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            float(a)?.partial_cmp(&float(b)?).ok_or_else(unordered)
        }
        _ => Err(unordered()),
    }
}

fn is_in(one: &Value, many: &Value) -> Result<bool> {
    match (one, many) {
        (one, Value::List(list)) => Ok(list.iter().any(|v| equal(one, v))),
        (Value::Text(key), Value::Map(map)) => Ok(map.contains_key(key)),
        (_, Value::Null) => Ok(false),
        (_, other) => Err(wrong("in", other)),
    }
}

fn texts(a: &Value, b: &Value, test: impl Fn(&str, &str) -> bool) -> Result<Value> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Ok(Value::Bool(test(a, b))),
        _ => Err(Failure::new(format!("{} and {} are not both text", a.kind(), b.kind()))),
    }
}

fn range(from: i64, to: i64) -> Result<Value> {
    let length = to.saturating_sub(from);
    if length > MAX_RESULT as i64 / 16 {
        return Err(Failure::new("the range is too long"));
    }
    Ok(Value::List((from..=to).map(Value::Int).collect()))
}

fn arithmetic(operator: Binary, a: &Value, b: &Value) -> Result<Value> {
    if let (Binary::Add, Value::Text(a), Value::Text(b)) = (operator, a, b) {
        if a.len() + b.len() > MAX_RESULT {
            return Err(Failure::new("the text is too long"));
        }
        return Ok(Value::Text(format!("{a}{b}")));
    }
    let numbers = matches!((a, b), (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)));
    if !numbers {
        return Err(Failure::new(format!("{} and {} are not both numbers", a.kind(), b.kind())));
    }
    let (x, y) = (float(a)?, float(b)?);
    Ok(match (operator, a, b) {
        (Binary::Add, Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_add(*b)),
        (Binary::Subtract, Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_sub(*b)),
        (Binary::Multiply, Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_mul(*b)),
        (Binary::Remainder, Value::Int(a), Value::Int(b)) => {
            Value::Int(a.checked_rem(*b).ok_or_else(|| Failure::new("nothing is divided by zero"))?)
        }
        (Binary::Add, ..) => Value::Float(x + y),
        (Binary::Subtract, ..) => Value::Float(x - y),
        (Binary::Multiply, ..) => Value::Float(x * y),
        (Binary::Divide, ..) => Value::Float(x / y),
        (Binary::Power, ..) => Value::Float(x.powf(y)),
        _ => return Err(Failure::new("% is for whole numbers")),
    })
}

fn each(predicate: Predicate, items: &[Value], test: impl Fn(&Value) -> Result<Value>) -> Result<Value> {
    if predicate == Predicate::Map {
        return Ok(Value::List(items.iter().map(test).collect::<Result<_>>()?));
    }
    let mut found = Vec::new();
    for item in items {
        if truth(&test(item)?)? {
            found.push(item);
        }
    }
    Ok(match predicate {
        Predicate::Any => Value::Bool(!found.is_empty()),
        Predicate::All => Value::Bool(found.len() == items.len()),
        Predicate::None => Value::Bool(found.is_empty()),
        Predicate::One => Value::Bool(found.len() == 1),
        Predicate::Count => Value::Int(found.len() as i64),
        Predicate::Find => found.first().copied().cloned().unwrap_or_default(),
        Predicate::Filter | Predicate::Map => Value::List(found.into_iter().cloned().collect()),
    })
}
