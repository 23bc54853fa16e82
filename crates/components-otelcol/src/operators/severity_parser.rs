//! `severity_parser`: the severity of an entry from a field. How severities are written is in `severity`.

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run};

    #[test]
    fn the_severity_is_taken_from_a_field() {
        for (options, body, expected) in [
            ("", r#"{"s": "INFO"}"#, (9, "INFO")),
            ("", r#"{"s": "warning2"}"#, (14, "warning2")),
            ("", r#"{"s": "err"}"#, (17, "err")),
            ("", r#"{"s": "unheard"}"#, (0, "unheard")),
            (r#", preset = "otel""#, r#"{"s": "err"}"#, (0, "err")),
            (r#", preset = "none""#, r#"{"s": "info"}"#, (0, "info")),
            (r#", mapping = {error = "oops", warn = ["5xx", 404]}"#, r#"{"s": "Oops"}"#, (17, "Oops")),
            (r#", mapping = {error = "oops", warn = ["5xx", 404]}"#, r#"{"s": 503}"#, (13, "503")),
            (r#", mapping = {fatal3 = [{min = 1000, max = 1100}]}"#, r#"{"s": 1050}"#, (23, "1050")),
            (r#", overwrite_text = true"#, r#"{"s": "warning2"}"#, (14, "WARN2")),
            ("", r#"{"s": true}"#, (0, "")),
            ("", r#"{"t": "info"}"#, (0, "")),
        ] {
            let out = run(&format!(r#"{{type = "severity_parser", parse_from = "body.s"{options}}}"#), body);
            assert_eq!((out[0].severity, &*out[0].severity_text), expected, "{options} {body}");
        }
        for (options, says) in [
            (r#"mapping = {loud = "x"}"#, "loud"),
            (r#"mapping = {warn = [true]}"#, "text, a number"),
            (r#"mapping = {warn = {min = 0, max = 100000000}}"#, "range"),
            (r#"preset = "x""#, "preset"),
        ] {
            let config = format!(r#"{{type = "severity_parser", parse_from = "body", {options}}}"#);
            assert!(refused(&config).contains(says), "{options}");
        }
    }
}
