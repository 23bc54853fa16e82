//! `noop`: does nothing; it is somewhere for others to lead to.

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run_text, shown};

    #[test]
    fn entries_pass_as_they_are() {
        assert_eq!(shown(&run_text(r#"{type = "noop"}"#, "x")), r#"{} "x""#);
        assert!(refused(r#"{type = "noop", x = 1}"#).contains('x'));
    }
}
