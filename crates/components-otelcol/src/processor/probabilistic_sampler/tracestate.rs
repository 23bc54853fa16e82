//! The W3C `tracestate` of a span, with what OpenTelemetry keeps in its `ot` member.
//!
//! As the collector's `pkg/sampling`: members of others are kept as they are, `ot` comes first when written.

use super::threshold::{Randomness, Threshold};

/// A parsed `tracestate`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TraceState<'a> {
    randomness: Option<(Randomness, String)>,
    threshold: Option<(Threshold, String)>,
    /// Further fields of `ot`.
    more: Vec<(&'a str, &'a str)>,
    /// Members of others.
    others: Vec<(&'a str, &'a str)>,
}

const MAX_BYTES: usize = 1024;
const MAX_MEMBERS: usize = 32;
const MAX_OT_BYTES: usize = 256;

impl<'a> TraceState<'a> {
    /// `None` for text that breaks the rules.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut state = Self::default();
        if text.is_empty() {
            return Some(state);
        }
        if text.len() > MAX_BYTES {
            return None;
        }
        for (at, member) in text.split(',').enumerate() {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            if at >= MAX_MEMBERS || !is_key(key) || !is_value(value) {
                return None;
            }
            if key == "ot" { state.ot(value)? } else { state.others.push((key, value)) }
        }
        Some(state)
    }

    fn ot(&mut self, text: &'a str) -> Option<()> {
        if text.len() > MAX_OT_BYTES {
            return None;
        }
        for field in text.split(';') {
            let (key, value) = field.split_once(':')?;
            let lower = |b: u8| b.is_ascii_lowercase();
            let is_key = key.bytes().next().is_some_and(lower)
                && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let is_value =
                value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
            if !is_key || !is_value {
                return None;
            }
            match key {
                "rv" => self.randomness = Some((Randomness::parse(value)?, value.to_string())),
                "th" => self.threshold = Some((Threshold::parse(value)?, value.to_string())),
                _ => self.more.push((key, value)),
            }
        }
        Some(())
    }

    pub(super) fn randomness(&self) -> Option<Randomness> {
        self.randomness.as_ref().map(|(randomness, _)| *randomness)
    }

    pub(super) fn threshold(&self) -> Option<Threshold> {
        self.threshold.as_ref().map(|(threshold, _)| *threshold)
    }

    pub(super) fn set_randomness(&mut self, randomness: Randomness) {
        self.randomness = Some((randomness, randomness.text()));
    }

    pub(super) fn clear_threshold(&mut self) {
        self.threshold = None;
    }

    /// Notes that a sampler has let the span through. A probability is never raised: `false` where the span
    /// comes with a smaller one.
    pub(super) fn raise(&mut self, threshold: Threshold) -> bool {
        if self.threshold().is_some_and(|arrived| arrived > threshold) {
            return false;
        }
        self.threshold = Some((threshold, threshold.text()));
        true
    }

    /// As the value of the header.
    pub(super) fn text(&self) -> String {
        let randomness = self.randomness.iter().map(|(_, text)| ("rv", text.as_str()));
        let threshold = self.threshold.iter().map(|(_, text)| ("th", text.as_str()));
        let fields = randomness.chain(threshold).chain(self.more.iter().copied());
        let ot = fields.map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>().join(";");
        let ot = (!ot.is_empty()).then(|| format!("ot={ot}"));
        let others = self.others.iter().map(|(key, value)| format!("{key}={value}"));
        ot.into_iter().chain(others).collect::<Vec<_>>().join(",")
    }
}

/// `simple` or `tenant@system`.
fn is_key(key: &str) -> bool {
    let rest = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'*' | b'/'))
    };
    let letter = |text: &str| text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let letter_or_digit =
        |text: &str| text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    key.len() <= 256
        && match key.split_once('@') {
            None => letter(key) && rest(key),
            Some((tenant, system)) => {
                letter_or_digit(tenant)
                    && rest(tenant)
                    && tenant.len() <= 241
                    && letter(system)
                    && rest(system)
                    && system.len() <= 14
            }
        }
}

/// Printable ASCII without `,` and `=`, and without a blank at the end.
fn is_value(value: &str) -> bool {
    value.len() <= 256
        && value.bytes().last().is_some_and(|b| b != b' ')
        && value.bytes().all(|b| matches!(b, b' '..=b'~') && b != b',' && b != b'=')
}

/// Reads any text as a trace state, and what is written of it; for `tests/fuzz/fuzz_targets/tracestate.rs` only.
pub(super) fn read_arbitrary(text: &str) {
    let Some(mut state) = TraceState::parse(text) else { return };
    let written = state.text();
    assert_eq!(TraceState::parse(&written).as_ref(), Some(&state), "{written:?}");
    if let (Some(threshold), Some(randomness)) = (state.threshold(), state.randomness()) {
        let _ = (threshold.samples(randomness), threshold.probability());
        assert!(state.raise(threshold), "it is no larger than itself");
        assert_eq!(state.threshold(), Some(threshold));
        state.set_randomness(randomness);
        assert_eq!(state.randomness(), Some(randomness));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_and_written_with_ot_first() {
        for (text, written) in [
            ("", ""),
            ("ot=th:c", "ot=th:c"),
            ("ot=th:8;rv:0123456789abcd;x:y", "ot=rv:0123456789abcd;th:8;x:y"),
            (" a=b , ot=th:0,,t@s=v", "ot=th:0,a=b,t@s=v"),
            ("vendor=with space", "vendor=with space"),
        ] {
            assert_eq!(TraceState::parse(text).map(|s| s.text()).as_deref(), Some(written), "{text}");
        }
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        let long = format!("a={}", "b".repeat(300));
        let many = vec!["a=b"; 33].join(",");
        let large = vec!["abcdefghij=abcdefghijabcdefghijabcdefghij"; 30].join(",");
        for text in [
            "A=b",
            "1=b",
            "a",
            "a=",
            "a=b=c",
            "@s=v",
            "t@=v",
            "t@1=v",
            "a=é",
            "ot=th:",
            "ot=th:xyz",
            "ot=rv:12",
            "ot=T:1",
            "ot=",
            "ot=th:c;",
            &long,
            &many,
            &large,
        ] {
            assert_eq!(TraceState::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_probability_is_never_raised() {
        let mut state = TraceState::parse("ot=th:c").expect("parses");
        assert!(!state.raise(Threshold::parse("8").expect("parses")));
        assert!(state.raise(Threshold::parse("e").expect("parses")));
        assert_eq!(state.text(), "ot=th:e");
        state.clear_threshold();
        assert_eq!(state.text(), "");
    }
}
