//! What time it is for data: the time of samples, log entries and spans that carry none of their own.
//!
//! The system's clock, unless a test of a pipeline has put another one in its place on this thread, so that a
//! clock that is stepped by hand moves timers and time stamps alike. Not for credentials, certificates and
//! other dealings with the outside: those live in real time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells nanoseconds since the Unix epoch.
pub type Clock = Rc<dyn Fn() -> i64>;

thread_local! {
    static STAND_IN: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

/// Puts back the clock that was there before.
#[must_use = "the clock is in force until this is dropped"]
pub struct Guard(Option<Clock>);

impl Drop for Guard {
    fn drop(&mut self) {
        STAND_IN.with_borrow_mut(|present| *present = self.0.take());
    }
}

/// Has this thread ask another clock.
pub fn stand_in(clock: Clock) -> Guard {
    Guard(STAND_IN.with_borrow_mut(|present| present.replace(clock)))
}

/// Nanoseconds since the Unix epoch.
pub fn now_ns() -> i64 {
    STAND_IN.with_borrow(|clock| clock.as_ref().map(|c| c())).unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// [`now_ns`] as OTLP writes it.
pub fn now_unix_nano() -> u64 {
    u64::try_from(now_ns()).unwrap_or_default()
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    now_ns().div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_holds_for_its_thread_until_it_is_dropped() {
        let before = now_ns();
        let guard = stand_in(Rc::new(|| 5_000_000));
        assert_eq!((now_ns(), now_unix_nano(), now_ms()), (5_000_000, 5_000_000, 5));
        let other = std::thread::spawn(now_ns).join().expect("no panic");
        assert!(other >= before);
        drop(guard);
        assert!(now_ns() >= before);
    }
}
