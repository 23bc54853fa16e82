//! The rules of comparison, as pkg/ottl's LANGUAGE.md: numbers with numbers, else like with like; what cannot be
//! compared is only "not equal".

use std::cmp::Ordering;

use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};

use crate::ast::CompareOp;
use crate::value::{Value, find};

/// Whether `a op b`.
pub(crate) fn compare(op: CompareOp, a: &Value<'_>, b: &Value<'_>) -> bool {
    use CompareOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let order = match (a, b) {
        (Value::Nil, Value::Nil) => return matches!(op, Equal | LessOrEqual | GreaterOrEqual),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Double(b)) => return floats(op, *a as f64, *b),
        (Value::Double(a), Value::Int(b)) => return floats(op, *a, *b as f64),
        (Value::Double(a), Value::Double(b)) => return floats(op, *a, *b),
        (Value::Str(a), Value::Str(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.at.cmp(&b.at)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        _ => None,
    };
    match (op, order) {
        (Equal, Some(order)) => order == Ordering::Equal,
        (NotEqual, Some(order)) => order != Ordering::Equal,
        (Less, Some(order)) => order == Ordering::Less,
        (LessOrEqual, Some(order)) => order != Ordering::Greater,
        (Greater, Some(order)) => order == Ordering::Greater,
        (GreaterOrEqual, Some(order)) => order != Ordering::Less,
        (Equal, None) => same(a, b),
        (NotEqual, None) => !same(a, b),
        (Less | LessOrEqual | Greater | GreaterOrEqual, None) => false,
    }
}

fn floats(op: CompareOp, a: f64, b: f64) -> bool {
    match op {
        CompareOp::Equal => a == b,
        CompareOp::NotEqual => a != b,
        CompareOp::Less => a < b,
        CompareOp::LessOrEqual => a <= b,
        CompareOp::Greater => a > b,
        CompareOp::GreaterOrEqual => a >= b,
    }
}

/// Equality of what has no order.
fn same(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Map(a), Value::Map(b)) => same_map(a, b),
        (Value::List(a), Value::List(b)) => same_list(a, b),
        (Value::Id(a), Value::Id(b)) => a == b,
        (Value::Part(a), Value::Part(b)) => a == b,
        _ => false,
    }
}

fn same_list(a: &[AnyValue], b: &[AnyValue]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_any(a, b))
}

/// The order of keys makes no difference.
fn same_map(a: &[KeyValue], b: &[KeyValue]) -> bool {
    let empty = AnyValue::default();
    a.len() == b.len()
        && a.iter().all(|e| find(b, &e.key).is_some_and(|b| same_any(e.value.as_ref().unwrap_or(&empty), b)))
}

fn same_any(a: &AnyValue, b: &AnyValue) -> bool {
    match (&a.value, &b.value) {
        (Some(Any::KvlistValue(a)), Some(Any::KvlistValue(b))) => same_map(&a.values, &b.values),
        (Some(Any::ArrayValue(a)), Some(Any::ArrayValue(b))) => same_list(&a.values, &b.values),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::value::{Id, Time, any_str, entry};

    #[test]
    fn values_compare_by_the_table_of_the_language() {
        use CompareOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        const ALL: [CompareOp; 6] = [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual];
        let map = |keys: [&str; 2]| Value::Map(keys.iter().map(|k| entry(*k, any_str("v"))).collect());
        let list = |text: &str| Value::List(Cow::Owned(vec![any_str(text)]));
        let bytes = |b: u8| Value::Bytes(Cow::Owned(vec![b]));
        let (less, same, other) =
            ([NotEqual, Less, LessOrEqual], [Equal, LessOrEqual, GreaterOrEqual], [NotEqual]);
        let cases: Vec<(Value<'_>, Value<'_>, &[CompareOp])> = vec![
            (Value::Nil, Value::Nil, &same),
            (Value::Nil, Value::Int(0), &other),
            (Value::Bool(false), Value::Bool(true), &less),
            (Value::Bool(true), Value::Int(1), &other),
            (Value::Int(1), Value::Int(2), &less),
            (Value::Int(1), Value::Double(1.0), &same),
            (Value::Double(0.5), Value::Int(1), &less),
            (Value::Double(f64::NAN), Value::Double(f64::NAN), &other),
            (Value::str("a"), Value::str("b"), &less),
            (Value::str("1"), Value::Int(1), &other),
            (bytes(1), bytes(2), &less),
            (bytes(1), Value::str("1"), &other),
            (Value::Time(Time::from_nanos(1)), Value::Time(Time::from_nanos(2)), &less),
            (Value::Duration(1), Value::Duration(1), &same),
            (Value::Duration(1), Value::Int(1), &other),
            (map(["a", "b"]), map(["b", "a"]), &[Equal]),
            (map(["a", "b"]), map(["a", "c"]), &other),
            (list("x"), list("x"), &[Equal]),
            (list("x"), list("y"), &other),
            (Value::Id(Id::span(&[1; 8])), Value::Id(Id::span(&[1; 8])), &[Equal]),
            (Value::Id(Id::trace(&[0; 16])), Value::Id(Id::span(&[0; 8])), &other),
        ];
        for (a, b, holds) in cases {
            for op in ALL {
                assert_eq!(compare(op, &a, &b), holds.contains(&op), "{a:?} {op:?} {b:?}");
            }
        }
    }
}
