//! The environment that expressions read (`sys.env`, and the like in templates): the process's, unless a test of a pipeline has put another one in its
//! place on this thread.

use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static STAND_IN: RefCell<Option<BTreeMap<String, String>>> = const { RefCell::new(None) };
}

/// Puts back the environment that was there before.
#[must_use = "the environment is in force until this is dropped"]
pub struct Guard(Option<BTreeMap<String, String>>);

impl Drop for Guard {
    fn drop(&mut self) {
        STAND_IN.with_borrow_mut(|present| *present = self.0.take());
    }
}

/// Has expressions that are evaluated on this thread see these variables and no others.
pub fn stand_in(variables: BTreeMap<String, String>) -> Guard {
    Guard(STAND_IN.with_borrow_mut(|present| present.replace(variables)))
}

/// The value of a variable; what is not UTF-8 becomes replacement characters.
pub fn variable(name: &str) -> Option<String> {
    STAND_IN.with_borrow(|variables| match variables {
        Some(variables) => variables.get(name).cloned(),
        None => std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_hides_the_environment_of_the_process() {
        assert!(variable("PATH").is_some());
        let guard = stand_in(BTreeMap::from([("A".to_owned(), "1".to_owned())]));
        assert_eq!((variable("A"), variable("PATH")), (Some("1".to_owned()), None));
        drop(guard);
        assert!(variable("PATH").is_some());
    }
}
