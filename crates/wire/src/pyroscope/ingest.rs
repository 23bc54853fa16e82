//! The query of a request to `/ingest`: `name=app{a=b,c=d}&from=…&until=…&sampleRate=…&spyName=…&format=…`.
//!
//! The name is read as `labelset.Parse` of Pyroscope's API does, and everything else is kept as it was given. A
//! name's labels have no quotes and no escapes: `,` and `}` cannot be part of a value.

use std::sync::Arc;

use bytestring::ByteString;
use signal::profiles::SERVICE_NAME;
use signal::{Labels, METRIC_NAME};
use url::form_urlencoded;

use super::{MAX_LABELS, is_label_name, is_service_name};

/// The parameter that holds application and labels.
const NAME: &str = "name";
/// Parameters that readers take; Pyroscope knows nine.
const MAX_PARAMETERS: usize = 256;

/// Why a query is none of `/ingest`. To be answered with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No `name`, or nothing before its braces.
    #[error("the query has no name: give name=application or name=application{{label=value,…}}")]
    NoName,
    /// The name of the application has characters that Pyroscope does not take.
    #[error(
        "{0:?} is no name of an application: letters, digits, `_`, `.`, `-` and `/` are what it may be made of"
    )]
    ServiceName(String),
    /// A label's name has characters that Pyroscope does not take.
    #[error("{0:?} is no name of a label: letters, digits, `_` and `.` are what it may be made of")]
    LabelName(String),
    /// More labels than anything could want.
    #[error("the name has more than {MAX_LABELS} labels")]
    TooManyLabels,
    /// More parameters than anything could want.
    #[error("the query has more than {MAX_PARAMETERS} parameters")]
    TooManyParameters,
}

/// A query, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestQuery {
    /// Application (as `__name__`) and labels.
    pub labels: Labels,
    /// The other parameters.
    pub parameters: Arc<[(ByteString, ByteString)]>,
}

/// Reads a query, without its `?`.
///
/// # Errors
/// If it has no name that Pyroscope would take.
pub fn parse_query(query: &str) -> Result<IngestQuery, QueryError> {
    let (mut labels, mut parameters) = (None, Vec::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        // Of several names the first counts, as everywhere in Go.
        if name == NAME {
            if labels.is_none() {
                labels = Some(parse_name(&value)?);
            }
        } else if parameters.len() == MAX_PARAMETERS {
            return Err(QueryError::TooManyParameters);
        } else {
            parameters.push((name.into_owned().into(), value.into_owned().into()));
        }
    }
    Ok(IngestQuery { labels: labels.ok_or(QueryError::NoName)?, parameters: parameters.into() })
}

/// Writes a query. The application is `service_name` where there is such a label, else `__name__`; labels that only
/// relabelling of targets knows (`__meta_…`) are left out. `,` and `}`, which a name cannot express, become `_`.
pub fn write_query(labels: &Labels, parameters: &[(ByteString, ByteString)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair(NAME, &name(labels));
    for (name, value) in parameters {
        query.append_pair(name, value);
    }
    query.finish()
}

fn name(labels: &Labels) -> String {
    let mut out = String::new();
    let app = labels.get(SERVICE_NAME).or_else(|| labels.metric_name()).unwrap_or_default();
    out.extend(app.chars().map(|c| if c == '{' { '_' } else { c }));
    out.push('{');
    let shown =
        labels.iter().filter(|(n, _)| *n != METRIC_NAME && !n.starts_with(signal::labels::META_PREFIX));
    for (i, (name, value)) in shown.enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push('=');
        out.extend(value.chars().map(|c| if matches!(c, ',' | '}') { '_' } else { c }));
    }
    out.push('}');
    out
}

/// Reads `app{a=b,c=d}`. Blanks around names and values do not count; a label without `=` at the end is left out; of
/// a label given twice the last counts.
///
/// # Errors
/// If a name has characters that Pyroscope would refuse.
pub fn parse_name(text: &str) -> Result<Labels, QueryError> {
    let short = |text: &str| text.chars().take(80).collect::<String>();
    let (app, mut rest) = text.split_once('{').unwrap_or((text, ""));
    let app = app.trim();
    if app.is_empty() {
        return Err(QueryError::NoName);
    }
    if !is_service_name(app) {
        return Err(QueryError::ServiceName(short(app)));
    }
    let mut pairs = vec![(METRIC_NAME, app)];
    // A name ends at `=`, and all labels at a `}` before it; a value ends at `,` or `}`, after which another name may
    // come.
    while let Some(at) = rest.find(['=', '}']).filter(|at| rest.as_bytes()[*at] == b'=') {
        let (name, value) = (rest[..at].trim(), &rest[at + 1..]);
        let end = value.find([',', '}']).unwrap_or(value.len());
        if name != METRIC_NAME && !is_label_name(name) {
            return Err(QueryError::LabelName(short(name)));
        }
        if pairs.len() > MAX_LABELS {
            return Err(QueryError::TooManyLabels);
        }
        pairs.push((name, value[..end].trim()));
        rest = value.get(end + 1..).unwrap_or_default();
    }
    Ok(Labels::from_pairs(pairs))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn names_are_read_as_pyroscope_reads_them() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("app", &[("__name__", "app")]),
            (" my-app.cpu/1 {}", &[("__name__", "my-app.cpu/1")]),
            ("app{a=b,c.d=e f}", &[("__name__", "app"), ("a", "b"), ("c.d", "e f")]),
            ("app{ a = b , c = }", &[("__name__", "app"), ("a", "b")]),
            ("app{a==,b={x}", &[("__name__", "app"), ("a", "="), ("b", "{x")]),
            // After a brace more labels may come, and a label without a value is none.
            ("app{a=b}c=d} rest", &[("__name__", "app"), ("a", "b"), ("c", "d")]),
            ("app{}c=d", &[("__name__", "app")]),
            ("app{a=b,nothing}", &[("__name__", "app"), ("a", "b")]),
            ("app{a=1,a=2}", &[("__name__", "app"), ("a", "2")]),
            ("app{__name__=other}", &[("__name__", "other")]),
            // Pyroscope would silently leave out the last label here.
            ("app{a=b", &[("__name__", "app"), ("a", "b")]),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_name(text), Ok(labels(expected)), "{text}");
        }
        assert_eq!(parse_name("  {a=b}"), Err(QueryError::NoName));
        assert_eq!(parse_name("a b"), Err(QueryError::ServiceName("a b".into())));
        assert_eq!(parse_name("a{b-c=d}"), Err(QueryError::LabelName("b-c".into())));
        assert_eq!(parse_name("a{=d}"), Err(QueryError::LabelName(String::new())));
        assert_eq!(parse_name("a{b,c=d}"), Err(QueryError::LabelName("b,c".into())));
    }

    #[test]
    fn a_query_is_taken_apart_and_its_other_parameters_are_kept_as_they_are() {
        let query =
            parse_query("from=1&name=app%7Ba%3Db%2Bc+d%7D&until=2&units=&name=x&from=3").expect("a query");
        assert_eq!(query.labels, labels(&[("__name__", "app"), ("a", "b+c d")]));
        let shown: Vec<_> = query.parameters.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(shown, ["from=1", "until=2", "units=", "from=3"]);
        assert_eq!(parse_query("from=1"), Err(QueryError::NoName));
        assert_eq!(parse_query("name="), Err(QueryError::NoName));
        let many = format!("name=a{}", "&x=1".repeat(MAX_PARAMETERS + 1));
        assert_eq!(parse_query(&many), Err(QueryError::TooManyParameters));
    }

    #[test]
    fn the_application_is_the_service_and_what_a_name_cannot_say_is_replaced() {
        let set = labels(&[
            ("__name__", "cpu"),
            ("service_name", "shop"),
            ("path", "/a,b}"),
            ("__meta_x", "1"),
            ("__session_id__", "7"),
        ]);
        let query = write_query(&set, &[("from".into(), "1 2".into())]);
        assert_eq!(
            query,
            "name=shop%7B__session_id__%3D7%2Cpath%3D%2Fa_b_%2Cservice_name%3Dshop%7D&from=1+2"
        );
        assert_eq!(write_query(&labels(&[("__name__", "cpu")]), &[]), "name=cpu%7B%7D");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            app in "[a-z._/-]{1,8}",
            pairs in proptest::collection::btree_map("[a-z_.]{1,6}", "[^,}\\s]([^,}]{0,6}[^,}\\s])?", 0..5),
            parameters in proptest::collection::vec(("[a-z]{1,5}", ".{0,9}"), 0..4),
        ) {
            let pairs = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([("__name__", app.as_str())]);
            let set = Labels::from_pairs(pairs.filter(|(n, _)| *n != SERVICE_NAME));
            let parameters: Vec<_> =
                parameters.into_iter().filter(|(n, _)| n != NAME).map(|(n, v)| (n.into(), v.into())).collect();
            let read = parse_query(&write_query(&set, &parameters)).expect("we have written it");
            prop_assert_eq!(read.labels, set);
            prop_assert_eq!(&*read.parameters, &parameters[..]);
        }

        #[test]
        fn no_query_panics(query in ".{0,60}|name=[a-z{}=,%0-9 ]{0,30}") {
            let _ = parse_query(&query);
        }
    }
}
