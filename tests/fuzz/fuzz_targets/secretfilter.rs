//! Any text as gitleaks' rules, any other as a line: no panic, and what is found lies in the line and is taken out.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::sync::LazyLock;

use components_loki::secretfilter::config::{builtin, parse};
use components_loki::secretfilter::detect::Detector;
use components_loki::secretfilter::redact::{Redaction, redact};

fn filter(detector: &Detector, line: &str) {
    let scan = detector.scan(line);
    assert!(scan.findings.iter().all(|finding| line.get(finding.secret.clone()).is_some()), "{line:?}");
    for (with, percent) in [("<$SECRET_NAME:$SECRET_HASH>", 0), ("", 100), ("", 33)] {
        let redacted = redact(line, &scan.findings, detector, &Redaction::new(with, percent));
        assert!(redacted == line || !scan.findings.is_empty(), "{line:?}");
    }
}

fuzz::target!(|input: (&str, &str)| {
    static BUILTIN: LazyLock<Detector> = LazyLock::new(builtin);
    let (rules, line) = input;
    filter(&BUILTIN, line);
    if let Ok(detector) = parse(rules) {
        filter(&detector, line);
    }
});
