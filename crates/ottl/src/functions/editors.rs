//! Editors: what changes telemetry.

use super::Takes::{Bool, Function as Name, Int, Regex, Str, Target, Value as Any, Values};
use super::{Args, Function, call_with_text, optional, param};
use crate::context::Item;
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Value, find, put};

pub(super) const TABLE: &[Function] = &[
    Function::edit("set", &[param("target", Target), param("value", Any)], set),
    Function::edit("delete_key", &[param("target", Target), param("key", Str)], delete_key),
];

/// What an editor reads before it writes.
fn env<'i>(item: &'i Item<'_>) -> Env<'i> {
    Env::of(item.view())
}

/// Nothing sets nothing.
fn set(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let value = args.value(1, &env(item))?.into_owned();
    if value.is_nil() { Ok(()) } else { args.target(0).set(item, value) }
}

fn delete_key(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let key = args.str(1, &env(item))?.into_owned();
    args.target(0).map(item)?.retain(|e| e.key != key);
    Ok(())
}
