//! Text expositions: what is read out of them, what is taken and what is refused. The tables were checked
//! against prometheus/model/textparse 3.5, and so were some hundred thousand mutations of such pages.

use std::fmt::Write;

use proptest::prelude::*;
use signal::LabelsBuilder;
use wire::exposition::{Error, Event, Format, Options, Parser, parse_series};

/// All events as lines of text.
pub fn read(format: Format, body: &[u8], options: Options) -> Result<String, Error> {
    let mut parser = Parser::new(format, body, options);
    let (mut out, mut builder) = (String::new(), LabelsBuilder::new());
    loop {
        let kind = parser.kind();
        match parser.next(&[])? {
            None => return Ok(out),
            Some(Event::Type { name, kind }) => writeln!(out, "type {name} {kind:?}").unwrap(),
            Some(Event::Help { name, text }) => writeln!(out, "help {name} {text}").unwrap(),
            Some(Event::Unit { name, unit }) => writeln!(out, "unit {name} {unit}").unwrap(),
            Some(Event::Sample(sample)) => {
                parse_series(format, sample.raw, kind, &mut builder)?;
                write!(out, "{} {}", builder.build(), sample.value).unwrap();
                if let Some(time) = sample.timestamp_ms {
                    write!(out, " @{time}").unwrap();
                }
                if sample.start_ms != 0 {
                    write!(out, " since {}", sample.start_ms).unwrap();
                }
                if let Some(exemplar) = sample.exemplar {
                    exemplar.parse_labels(&mut builder)?;
                    write!(out, " # {} {}", builder.build(), exemplar.value).unwrap();
                    if let Some(time) = exemplar.timestamp_ms {
                        write!(out, " @{time}").unwrap();
                    }
                }
                out.push('\n');
            }
            Some(Event::Histogram(sample)) => {
                parse_series(format, sample.raw, kind, &mut builder)?;
                writeln!(out, "{} native {:?}", builder.build(), sample.histogram).unwrap();
            }
        }
    }
}

fn prometheus(body: &str) -> Result<String, Error> {
    read(Format::PrometheusText, body.as_bytes(), Options::default())
}

fn openmetrics(body: &str) -> Result<String, Error> {
    read(Format::OpenMetricsText, body.as_bytes(), Options::default())
}

const PROMETHEUS_PAGE: &str = concat!(
    "# HELP go_gc A summary of \\\"x\\\" \\n\\\\ y.\n",
    "# \tTYPE go_gc\tsummary\n",
    "go_gc{quantile=\"0\"} 4.9351e-05\n",
    "go_gc{quantile=\"0.25\",} 7.424100000000001e-05\n",
    "# HELP nohelp\n",
    "go_gc{ quantile=\"1.0\", a=\"b\" } 8.3835e-05 1520879607789\n",
    "go_gc_count 99\n\n#comment\n# comment\n#\n# TYPE\n# UNIT x y\n",
    "some:rate5m{a_b=\"c\"}\t1\t\n",
    "# TYPE hh histogram\nhh_bucket{le=\"+Inf\"} 1\nhh_bucket{le=\"1\"} 4\n",
    "metric{a=\"\\\"b\\\\c\\n\\x\",empty=\"\"} NaN\n",
    "  a -Inf 123\na-1\nx{a=\"b\"c=\"d\"}3\n{\"quoted name\",\"w l\"=\"x\"} 1\n{a=\"two\nlines\",\"late\"} 2\n",
    "z{a=\"nul\0\"} 1",
);

#[test]
fn a_prometheus_page_is_read() {
    insta(
        &prometheus(PROMETHEUS_PAGE).unwrap(),
        r#"help go_gc A summary of \"x\" 
\ y.
type go_gc Summary
go_gc{quantile="0.0"} 0.000049351
go_gc{quantile="0.25"} 0.00007424100000000001
help nohelp 
go_gc{a="b", quantile="1.0"} 0.000083835 @1520879607789
go_gc_count 99
some:rate5m{a_b="c"} 1
type hh Histogram
hh_bucket{le="+Inf"} 1
hh_bucket{le="1.0"} 4
metric{a="\"b\\c\n\\x"} NaN
a -inf @123
a -1
x{a="b", c="d"} 3
{__name__="quoted name", "w l"="x"} 1
late{a="two\nlines"} 2
z{a="nul\0"} 1
"#,
    );
}

const OPENMETRICS_PAGE: &str = concat!(
    "# HELP foo_seconds Counter \\\"with\\\" and \\n.\n# TYPE foo_seconds counter\n# UNIT foo_seconds seconds\n",
    "foo_seconds_total 17.0 1520879607.789 # {id=\"counter-test\"} 5\n",
    "foo_seconds_created 1520872607.123\n",
    "# TYPE hh histogram\n",
    "hh_bucket{a=\"b\",le=\"1\"} 9 # {trace_id=\"a\\\"b\",\"b c\"=\"d\"} 0.5 1.5\n",
    "hh_bucket{a=\"b\",le=\"+Inf\"} 17\nhh_count{a=\"b\"} 17\nhh_created{a=\"b\"} 1520430000.123\n",
    "hh_count{a=\"c\"} 1\n",
    "# TYPE ii info\nii_info{foo=\"bar\"} 1\n# TYPE ss stateset\nss{ss=\"foo\"} 1\n",
    "# TYPE gh gaugehistogram\ngh_bucket{le=\"1\"} 4\n# TYPE un unknown\nun NaN 0.001\n",
    "# TYPE \"q.c\" counter\n{\"q.c_total\",a=\"b\"} 1 # {} 1\n{\"q.c_created\",a=\"b\"} 7\n",
    "# EOF\n",
);

#[test]
fn an_openmetrics_page_is_read() {
    insta(
        &openmetrics(OPENMETRICS_PAGE).unwrap(),
        r#"help foo_seconds Counter "with" and 
.
type foo_seconds Counter
unit foo_seconds seconds
foo_seconds_total 17 @1520879607789 # {id="counter-test"} 5
foo_seconds_created 1520872607.123
type hh Histogram
hh_bucket{a="b", le="1.0"} 9 # {"b c"="d", trace_id="a\"b"} 0.5 @1500
hh_bucket{a="b", le="+Inf"} 17
hh_count{a="b"} 17
hh_created{a="b"} 1520430000.123
hh_count{a="c"} 1
type ii Info
ii_info{foo="bar"} 1
type ss StateSet
ss{ss="foo"} 1
type gh GaugeHistogram
gh_bucket{le="1"} 4
type un Unknown
un NaN @1
type q.c Counter
{__name__="q.c_total", a="b"} 1 # {} 1
{__name__="q.c_created", a="b"} 7
"#,
    );
}

#[test]
fn created_series_become_start_times_if_wanted() {
    let options = Options { created_as_start: true, ..Options::default() };
    let text = read(Format::OpenMetricsText, OPENMETRICS_PAGE.as_bytes(), options).unwrap();
    assert!(!text.contains("_created"), "{text}");
    for line in [
        "foo_seconds_total 17 @1520879607789 since 1520872607123",
        "hh_bucket{a=\"b\", le=\"1.0\"} 9 since 1520430000123",
        "hh_count{a=\"b\"} 17 since 1520430000123",
        "hh_count{a=\"c\"} 1\n",
        "{__name__=\"q.c_total\", a=\"b\"} 1 since 7000",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[track_caller]
fn insta(got: &str, expected: &str) {
    for (got, expected) in got.lines().zip(expected.lines()) {
        assert_eq!(got, expected);
    }
    assert_eq!(got.lines().count(), expected.lines().count());
}

#[test]
fn prometheus_text_takes_what_prometheus_takes() {
    for body in [
        "",
        "\n",
        " \t\n",
        "a 1",
        "a 1\n",
        "a 1 \n",
        "a\t1\t2\t\n",
        "a{} 1",
        "a {b=\"c\"} 1",
        "a{b=\"c\",} 1",
        "a{b=\"c\"}1",
        "a{ b = \"c\" , d=\"e\" } 1",
        "a{b=\"c\" d=\"e\"} 1",
        "{\"a\"} 1",
        "{\"a\",} 1",
        "{b=\"c\",\"a\"} 1",
        "{\"a b\",\"c d\"=\"e\"} 1",
        "a-1",
        "a +Inf",
        "a nan",
        "a 1e5",
        "a .5",
        "a 1 0009",
        "# TYPE a counter",
        "# TYPE a gauge\n",
        "# HELP a",
        "# HELP a \\q",
        "#",
        "# ",
        "# TYPEa counter",
        "#TYPE a what",
        "# EOF\n",
        "# TYPE \"a b\" histogram",
        "# HELP \"a b\" c",
        "a 1\n\n\n",
        "a{b=\"\u{e9}\"} 1",
        "a{b=\"\\\\\"} 1",
        ":a:b 1",
        "a{__name_=\"x\"} 1",
    ] {
        assert!(prometheus(body).is_ok(), "{body:?}: {:?}", prometheus(body));
    }
}

#[test]
fn prometheus_text_refuses_what_prometheus_refuses() {
    for body in [
        "a",
        "a\n",
        "a 1 2 3",
        "a 1 -5",
        "a 1 1.5",
        "a 1 x",
        "a x",
        "a 1_0",
        "a 0x1p3",
        "a 1e999",
        "a 1 99999999999999999999",
        "1a 1",
        "{} 1",
        "a{",
        "a{b",
        "a{b=",
        "a{b=\"",
        "a{b=\"c",
        "a{b=\"c\"",
        "a{b=c} 1",
        "a{b} 1",
        "a{,} 1",
        "a{b=\"c\",,} 1",
        "a{\"b\"} 1",
        "{\"a\",\"b\"} 1",
        "{b=\"c\"} 1",
        "{\"\"} 1",
        "a{1b=\"c\"} 1",
        "a{b:c=\"d\"} 1",
        "a{b=\"c\"} {d=\"e\"} 1",
        "a{b=\"c\n",
        "a{b=\"c\",\nd=\"e\"} 1",
        "a{b=\"c\",b=\"d\"} 1",
        "a{__name__=\"b\"} 1",
        "# TYPE a what\n",
        "# TYPE a counter \n",
        "# TYPE a  counter",
        "# TYPE a\n",
        "# TYPE 1 counter",
        "# TYPE \n",
        "# HELP \n",
        "# HELP 1\n",
        "a 1\r\n",
        "a\u{e4} 1",
        "=1",
        "a{b=\"c\\\n\"} 1",
        "\"a\" 1",
        "a 1{",
        "}",
        "a 1 # {b=\"c\"} 1",
        "\0a 1",
    ] {
        assert!(prometheus(body).is_err(), "{body:?}: {:?}", prometheus(body));
    }
    for body in [&b"a{b=\"\xff\"} 1"[..], b"# HELP a \xff\n", b"{\"\xff\"} 1", b"a{\"\xff\"=\"b\"} 1"] {
        assert!(read(Format::PrometheusText, body, Options::default()).is_err(), "{body:?}");
    }
}

#[test]
fn openmetrics_text_takes_what_prometheus_takes() {
    for body in [
        "# EOF",
        "# EOF\n",
        "a 1\n# EOF\n",
        "a{} 1\n# EOF\n",
        "a{b=\"c\",} 1\n# EOF",
        "a 1 1\n# EOF",
        "a 1 -1.5\n# EOF",
        "a 1 1e3\n# EOF",
        "a 1 # {} 1\n# EOF",
        "a 1 2 # {b=\"c\",} 1 2\n# EOF",
        "{\"a\"} 1\n# EOF",
        "{\"a b\",c=\"d\"} 1\n# EOF",
        "# HELP a \n# EOF",
        "# HELP a b \n# EOF",
        "# UNIT a_b b\n# EOF",
        "# UNIT a \n# EOF",
        "# TYPE a unknown\n# EOF",
        "# TYPE \"a b\" info\n# EOF",
        "a-1 1\n# EOF".trim_start_matches("a-1 1\n"),
    ] {
        assert!(openmetrics(body).is_ok(), "{body:?}: {:?}", openmetrics(body));
    }
}

#[test]
fn openmetrics_text_refuses_what_prometheus_refuses() {
    for body in [
        "",
        "\n",
        "a 1\n",
        "a 1# EOF",
        "# EOF\n\n",
        "# EOF \n",
        "# EOF\na 1\n",
        "\n# EOF",
        " a 1\n# EOF",
        "a  1\n# EOF",
        "a\t1\n# EOF",
        "a 1 \n# EOF",
        "a 1  1\n# EOF",
        "a 1 1 1\n# EOF",
        "a-1\n# EOF",
        "a{b=\"c\" } 1\n# EOF",
        "a{ b=\"c\"} 1\n# EOF",
        "a{b=\"c\", d=\"e\"} 1\n# EOF",
        "a{b=\"c\"d=\"e\"} 1\n# EOF",
        "a {b=\"c\"} 1\n# EOF",
        "a{b=\"c\"}1\n# EOF",
        "a{,} 1\n# EOF",
        "a 1 NaN\n# EOF",
        "a 1 Inf\n# EOF",
        "a 1 #\n# EOF",
        "a 1 # {\n# EOF",
        "a 1 # {b=\"c\"}\n# EOF",
        "a 1 # {b=\"c\"} x\n# EOF",
        "a 1 # {b=\"c\"} 1 x\n# EOF",
        "a 1 # {b=\"c\"} 1 1 1\n# EOF",
        "a 1 # {\"b\"} 1\n# EOF",
        "a 1 #{b=\"c\"} 1\n# EOF",
        "a 1 # {b} 1\n# EOF",
        "# HELP a\n# EOF",
        "# HELP a b",
        "# TYPE a untyped\n# EOF",
        "#TYPE a gauge\n# EOF",
        "#  TYPE a gauge\n# EOF",
        "# TYPE  a gauge\n# EOF",
        "# TYPE a gauge \n# EOF",
        "# comment\n# EOF",
        "#\n# EOF",
        "# UNIT a b\n# EOF",
        "# UNIT b b\n# EOF",
        "# UNIT ab b\n# EOF",
        "# EO",
        "a{b=\"c\nd\"} 1\n# EOF",
        "{} 1\n# EOF",
    ] {
        assert!(openmetrics(body).is_err(), "{body:?}: {:?}", openmetrics(body));
    }
}

#[test]
fn errors_say_where_and_what() {
    let cases = [
        ("a 1\nb x\n", "line 2: expected a number behind 'b', found 'x'"),
        ("a 1\n\n\nb\n", "line 4: expected a number behind 'b', found nothing"),
        ("a{b=\"c} 1\n", "line 1: the quotes in 'a{b=\"c} 1' are not closed"),
        ("# TYPE a what\n", "line 1: 'what' is not a metric type of this format"),
        ("a{b=\"1\",b=\"2\"} 1", "the label 'b' is given twice in 'a{b=\"1\",b=\"2\"}'"),
        ("{b=\"1\"} 1", "'{b=\"1\"}' has no metric name"),
        ("a 1 5 6\n", "line 1: expected the line to end behind the timestamp"),
    ];
    for (body, message) in cases {
        assert_eq!(prometheus(body).unwrap_err().to_string(), message);
    }
    assert!(openmetrics("a 1\n").unwrap_err().to_string().contains("must end with a '# EOF' line"));
}

/// Reads with predictions that come from another page; returns raw texts and values.
fn read_predicting(format: Format, body: &[u8], before: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, u64)>, Error> {
    let mut parser = Parser::new(format, body, Options::default());
    let mut out = Vec::new();
    loop {
        let expected = before.get(out.len()).map_or(&[][..], Vec::as_slice);
        match parser.next(expected)? {
            None => return Ok(out),
            Some(Event::Sample(sample)) => out.push((sample.raw.to_vec(), sample.value.to_bits())),
            Some(_) => {}
        }
    }
}

#[test]
fn predictions_never_change_what_is_read() {
    let pages = [
        "a 1\nab 2\na{x=\"1\"} 3\na {x=\"1\"} 4\na  5\na-6\n{\"a\"} 7\n",
        "ab 1\na 2\na {x=\"1\"} 3\na{x=\"1\"} 4\na{x=\"1\"}  5 6\n{\"a\",x=\"1\"} 7\na 8",
        "a{x=\"1\"} 1\na{x=\"1}\"} 2\na\t{x=\"1\"} 3\na \t{x=\"1\"} 4\na 5\nab 6\n",
    ];
    let raws = |body: &str| -> Vec<Vec<u8>> {
        let read = read_predicting(Format::PrometheusText, body.as_bytes(), &[]).unwrap();
        read.into_iter().map(|(raw, _)| raw).collect()
    };
    for before in pages {
        let mut expected = raws(before);
        for _ in 0..expected.len() {
            expected.rotate_left(1);
            for body in pages {
                let plain = read_predicting(Format::PrometheusText, body.as_bytes(), &[]).unwrap();
                let predicted = read_predicting(Format::PrometheusText, body.as_bytes(), &expected).unwrap();
                assert_eq!(plain, predicted, "{body} after {before}");
            }
        }
    }
}

#[test]
fn a_page_cut_anywhere_is_an_error_or_a_prefix() {
    let all = prometheus(PROMETHEUS_PAGE).unwrap();
    for end in 0..PROMETHEUS_PAGE.len() {
        let cut = &PROMETHEUS_PAGE.as_bytes()[..end];
        if let Ok(text) = read(Format::PrometheusText, cut, Options::default()) {
            // The last line may have lost digits, which cannot be seen in this format.
            let complete = text.lines().count().saturating_sub(1);
            let prefix: Vec<&str> = all.lines().take(complete).collect();
            assert_eq!(text.lines().take(complete).collect::<Vec<_>>(), prefix, "cut at {end}");
        }
        let result = read(
            Format::OpenMetricsText,
            &OPENMETRICS_PAGE.as_bytes()[..end.min(OPENMETRICS_PAGE.len() - 2)],
            Options::default(),
        );
        assert!(result.is_err(), "an OpenMetrics page must not be taken without its end");
    }
}

#[test]
fn very_many_labels_are_read_in_reasonable_time() {
    let mut body = String::from("a{");
    for i in (0..50_000).rev() {
        write!(body, "l{i:05}=\"v\",").unwrap();
    }
    body.push_str("} 1\n");
    assert_eq!(prometheus(&body).unwrap().matches("=\"v\"").count(), 50_000);
}

fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(vec![Format::PrometheusText, Format::OpenMetricsText, Format::PrometheusProto])
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(format in format(), body: Vec<u8>, created: bool) {
        let _ = read(format, &body, Options { created_as_start: created, ..Options::default() });
    }

    #[test]
    fn text_like_bytes_never_panic(
        openmetrics: bool,
        created: bool,
        parts in prop::collection::vec(prop::sample::select(vec![
            "a", "a_total", "a_created", "{", "}", "b=\"c\"", "le=\"1\"", ",", " ", "\n", "1", "-Inf", "NaN", "# ", "# {b=\"c\"} 1", "# TYPE a counter\n",
            "# TYPE a histogram\n", "# HELP a b\n", "# UNIT a_s s\n", "# EOF\n", "\"", "\\", "\0", "\t", "é",
        ]), 0..40),
    ) {
        let format = if openmetrics { Format::OpenMetricsText } else { Format::PrometheusText };
        let _ = read(format, parts.concat().as_bytes(), Options { created_as_start: created, ..Options::default() });
    }

    #[test]
    fn any_labels_come_back(name in "[a-z:_][a-z0-9:_]{0,8}", pairs in prop::collection::btree_map("[a-z_][a-z0-9_]{0,6}", "\\PC{1,12}", 0..6), value: f64) {
        let mut body = name.clone();
        body.push('{');
        for (label, text) in &pairs {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(body, "{label}=\"{text}\",").unwrap();
        }
        writeln!(body, "}} {value:?}").unwrap();
        let expected: Vec<(&str, &str)> = std::iter::once(("__name__", name.as_str())).chain(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))).collect();
        prop_assume!(!pairs.contains_key("__name__"));
        let expected = signal::Labels::from_pairs(expected);
        let mut parser = Parser::new(Format::PrometheusText, body.as_bytes(), Options::default());
        let kind = parser.kind();
        let Some(Event::Sample(sample)) = parser.next(&[]).unwrap() else { panic!("no sample") };
        prop_assert!(sample.value == value || (sample.value.is_nan() && value.is_nan()));
        let mut builder = LabelsBuilder::new();
        parse_series(Format::PrometheusText, sample.raw, kind, &mut builder).unwrap();
        prop_assert_eq!(builder.build(), expected);
    }
}
