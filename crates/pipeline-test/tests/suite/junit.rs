//! JUnit's XML, exit codes and selection.

use std::collections::BTreeMap;
use std::time::Duration;

use pipeline_test::{FileReport, Outcome, Problem, Report, Selection, TestReport};
use quick_xml::events::Event;

use crate::golden::{PROGRAM, folder};

fn test(name: &str, problems: Vec<Problem>) -> TestReport {
    TestReport {
        name: name.into(),
        outcome: Outcome { problems, ..Outcome::default() },
        took: Duration::from_millis(12),
    }
}

fn report() -> Report {
    let tests = vec![
        test("passes", vec![]),
        test(
            "fails <on> \"purpose\" & says 'so'",
            vec![
                Problem::Failed("want <a>\n\tgot \u{1}\u{fffe} & ]]>\n".into()),
                Problem::Failed("second".into()),
            ],
        ),
        test("is broken", vec![Problem::Failed("no".into()), Problem::Broken("at all".into())]),
    ];
    let unusable = vec![syntax::Diagnostic::plain("yaml", "no YAML")];
    Report {
        files: vec![
            FileReport { path: "a/b_test.yaml".into(), unusable: vec![], tests },
            FileReport { path: "c.yaml".into(), unusable, tests: vec![] },
        ],
    }
}

#[test]
fn the_xml_has_the_elements_and_attributes_of_junit_and_carries_any_text() {
    let xml = report().junit();
    // What may stand in what, and with which attributes: the schema that build servers agree on.
    let schema: BTreeMap<&str, (&str, &[&str])> = BTreeMap::from([
        ("testsuites", ("", &["name", "tests", "failures", "errors", "time"][..])),
        ("testsuite", ("testsuites", &["name", "tests", "failures", "errors", "skipped", "time"][..])),
        ("testcase", ("testsuite", &["classname", "name", "time"][..])),
        ("failure", ("testcase", &["type", "message"][..])),
        ("error", ("testcase", &["type", "message"][..])),
    ]);
    let mut reader = quick_xml::Reader::from_str(&xml);
    reader.config_mut().check_end_names = true;
    let (mut open, mut counts, mut texts) = (vec![String::new()], BTreeMap::new(), String::new());
    loop {
        let event = reader.read_event().unwrap_or_else(|e| panic!("{e}:\n{xml}"));
        match &event {
            Event::Start(element) | Event::Empty(element) => {
                let name = element.name().as_ref().to_string();
                let (parent, attributes) = schema.get(name.as_str()).unwrap_or_else(|| panic!("<{name}>"));
                assert_eq!(open.last().map(String::as_str), Some(*parent), "{name} stands in it");
                let found: Vec<String> =
                    element.attributes().map(|a| a.expect("well formed").key.as_ref().to_string()).collect();
                assert_eq!(found, *attributes, "{name}");
                *counts.entry(name.clone()).or_insert(0) += 1;
                if matches!(event, Event::Start(_)) {
                    open.push(name);
                }
            }
            Event::End(_) => drop(open.pop()),
            Event::Text(text) => texts += text.as_ref(),
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(open.len(), 1, "all is closed");
    let counts: Vec<(&str, i32)> = counts.iter().map(|(n, c)| (n.as_str(), *c)).collect();
    assert_eq!(counts, [("error", 2), ("failure", 1), ("testcase", 4), ("testsuite", 2), ("testsuites", 1)]);
    assert!(xml.contains("fails &lt;on&gt; &quot;purpose&quot; &amp; says &apos;so&apos;"), "{xml}");
    assert!(!xml.contains(['\u{1}', '\u{fffe}']) && !xml.contains("]]>"), "{xml}");
    assert!(xml.contains("tests=\"4\" failures=\"1\" errors=\"2\""), "{xml}");
    assert!(texts.contains("second"), "all problems of a test are in its one element: {xml}");
}

#[test]
fn the_exit_code_tells_failed_from_broken() {
    let of = |problems: Vec<Problem>| {
        let tests = vec![test("a", vec![]), test("b", problems)];
        Report { files: vec![FileReport { path: "a".into(), unusable: vec![], tests }] }.exit_code()
    };
    assert_eq!(of(vec![]), 0);
    assert_eq!(of(vec![Problem::Failed("x".into())]), 1);
    assert_eq!(of(vec![Problem::Failed("x".into()), Problem::Broken("y".into())]), 2);
    assert_eq!(Report::default().exit_code(), 2, "nothing was tested");
    assert_eq!(report().exit_code(), 2);
}

#[test]
fn tests_are_chosen_by_file_and_name() {
    let files = pipeline_test::discover(&folder("passing")).expect("the folder exists");
    let chosen = |pattern: &str| {
        let filter = Some(regex::Regex::new(pattern).expect("a pattern"));
        let report =
            pipeline_test::run(PROGRAM, &files, &Selection { filter, limit: Duration::from_secs(120) });
        report.files.iter().flat_map(|f| &f.tests).map(|t| t.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(chosen("clock_test.yaml > a batch"), ["a batch goes when its time has come"]);
    assert_eq!(chosen("> an outage is seen$"), ["an outage is seen"]);
    assert_eq!(chosen("nothing like it"), Vec::<String>::new());
}

#[test]
fn a_test_that_does_not_end_is_given_up() {
    let files = [folder("passing/multiline_test.yaml")];
    let report = pipeline_test::run(PROGRAM, &files, &Selection { filter: None, limit: Duration::ZERO });
    assert_eq!(report.exit_code(), 2);
    assert!(report.text().contains("given up"), "{}", report.text());
}

#[test]
fn a_path_that_is_not_there_is_an_error_and_a_folder_without_tests_has_none() {
    assert!(pipeline_test::discover(&folder("nowhere")).is_err());
    assert!(pipeline_test::discover(&folder("passing/files")).expect("a folder").is_empty());
}
