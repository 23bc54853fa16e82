//! What one execution of a template may use.
//!
//! Invariant: work and memory of an execution are bounded whatever the template and the line: every function
//! pays for the bytes and values that it looks at or makes, every turn of a loop and every use of a named
//! template for its size. Who runs out of fuel ends with an error.

use std::cell::Cell;

use gotmpl::{TemplateError, Value};

/// Bytes of the longest text that a function or a template may make.
pub(super) const MAX_TEXT: usize = 8 << 20;
/// Units of work of one execution; a unit is a byte, or a sixteenth of a value or of a step.
const FUEL: u64 = 32 << 20;
/// What a value or a step costs.
pub(super) const STEP: usize = 16;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(FUEL) };
}

pub(super) type Result<T> = std::result::Result<T, TemplateError>;

/// Fills the tank; an execution never leaves its thread.
pub(super) fn refill() {
    LEFT.set(FUEL);
}

/// Pays for `units` of work.
pub(super) fn spend(units: usize) -> Result<()> {
    let left = LEFT.get();
    if left < units as u64 {
        LEFT.set(0);
        return Err(TemplateError::Exec("the template does more work than it may for one entry".into()));
    }
    LEFT.set(left - units as u64);
    Ok(())
}

/// Pays for a text of `bytes` that is about to be made.
pub(super) fn spend_text(bytes: usize) -> Result<()> {
    if bytes > MAX_TEXT {
        return Err(TemplateError::Exec(format!("a text longer than {MAX_TEXT} bytes")));
    }
    spend(bytes)
}

/// How many lists and dictionaries may be inside of each other. JSON has 128 at most.
pub(super) const MAX_DEPTH: usize = 192;

/// Refuses a value that has more than so many lists and dictionaries inside of each other: printing it, and
/// even dropping it, takes as many calls.
pub(super) fn shallow(value: &Value, depth: usize) -> Result<()> {
    let deeper = || match depth.checked_sub(1) {
        Some(left) => spend(STEP).map(|()| left),
        None => Err(TemplateError::Exec(format!("a value more than {MAX_DEPTH} deep"))),
    };
    match value {
        Value::List(items) => {
            let left = deeper()?;
            items.iter().try_for_each(|item| shallow(item, left))
        }
        Value::Map(map) => {
            let left = deeper()?;
            map.values().try_for_each(|item| shallow(item, left))
        }
        _ => Ok(()),
    }
}

/// Pays for walking through a value; the answer is about the length of its text.
pub(super) fn weigh(value: &Value) -> Result<usize> {
    spend(STEP)?;
    Ok(match value {
        Value::String(text) => text.len(),
        Value::List(items) => {
            let mut sum = 2;
            for item in items.iter() {
                sum += weigh(item)? + 1;
            }
            sum
        }
        Value::Map(map) => {
            let mut sum = 5;
            for (key, item) in map.iter() {
                sum += key.len() + weigh(item)? + 2;
            }
            sum
        }
        _ => 24,
    })
}
