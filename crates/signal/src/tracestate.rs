//! What W3C trace states say of sampling.
//!
//! As OpenTelemetry's specification of probability sampling: in the member `ot` the field `th` is the threshold below
//! which spans were left out, in units of 2^-56, hexadecimal, without the zeros at its end.

/// The threshold that a trace state tells; below 2^56.
pub fn threshold(trace_state: &str) -> Option<u64> {
    let mut members = trace_state.split(',');
    let ot = members.find_map(|member| member.trim().strip_prefix("ot="))?;
    let digits = ot.split(';').find_map(|field| field.strip_prefix("th:"))?;
    if digits.is_empty() || digits.len() > 14 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let value = u64::from_str_radix(digits, 16).ok()?;
    Some(value << (4 * (14 - digits.len())))
}

/// How many spans a sampled one stands for, if its trace state tells.
pub fn adjusted_count(trace_state: &str) -> Option<f64> {
    const ALL: u64 = 1 << 56;
    threshold(trace_state).map(|threshold| ALL as f64 / (ALL - threshold) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampled_span_stands_for_as_many_as_its_trace_state_says() {
        for (state, count) in [
            ("", None),
            ("ot=th:8", Some(2.0)),
            ("vendor=x, ot=rv:1234;th:c", Some(4.0)),
            ("ot=th:0", Some(1.0)),
            ("ot=th:", None),
            ("ot=th:fffffffffffffff", None),
            ("ot=th:+8", None),
            ("th:8", None),
        ] {
            assert_eq!(adjusted_count(state), count, "{state}");
        }
        assert_eq!(threshold("ot=th:ffffffffffffff"), Some((1 << 56) - 1));
    }
}
