//! Every function by tables: converters as `expression → value`, editors as `statement → item`.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use super::*;
use crate::context::RecordMut;
use crate::statement::Parser;
use crate::value::{any, any_str, entry, json, map_json};
use crate::{EvalError, View};

fn list(items: Vec<AnyValue>) -> AnyValue {
    any(Proto::ArrayValue(ArrayValue { values: items }))
}

fn map(entries: Vec<KeyValue>) -> AnyValue {
    any(Proto::KvlistValue(KeyValueList { values: entries }))
}

fn int(value: i64) -> AnyValue {
    any(Proto::IntValue(value))
}

/// The record that all tables are about.
fn record() -> LogRecord {
    LogRecord {
        time_unix_nano: 1_685_104_496_789_000_000,
        severity_number: 9,
        body: Some(any_str("GET /account/1234 took 12ms")),
        trace_id: vec![0xab; 16],
        span_id: vec![0xcd; 8],
        attributes: vec![
            entry("s", any_str("Hello World")),
            entry("path", any_str("/account/1234/user/77")),
            entry("n", int(7)),
            entry("d", any(Proto::DoubleValue(2.5))),
            entry("b", any(Proto::BoolValue(true))),
            entry("bytes", any(Proto::BytesValue(vec![1, 255]))),
            entry("empty", AnyValue::default()),
            entry("tags", list(vec![any_str("prod"), any_str("eu"), any_str("prod")])),
            entry("nums", list(vec![int(3), int(1), int(2)])),
            entry("m", map(vec![entry("a", int(1)), entry("b", map(vec![entry("c", any_str("x"))]))])),
        ],
        ..LogRecord::default()
    }
}

/// A value as a text that tells its type.
fn show(value: Value<'_>) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Str(text) => format!("{text:?}"),
        Value::Double(v) => format!("{v:?}"),
        Value::Bytes(bytes) => format!("0x{}", const_hex::encode(bytes.as_ref())),
        Value::Map(map) => map_json(&map).to_string(),
        Value::List(list) => list.iter().map(json).collect::<serde_json::Value>().to_string(),
        Value::Time(time) => format!("time {}", crate::time::rfc3339(&time)),
        Value::Duration(nanos) => crate::duration::show(nanos),
        Value::Id(id) => format!("id {}", id.hex()),
        other => other.to_text().ok().flatten().unwrap_or_default().into_owned(),
    }
}

fn parser() -> Parser {
    Parser::new(Context::Log).with(Group::Transform)
}

fn eval(text: &str) -> Result<String, String> {
    let expr = parser().value(text).map_err(|error| error.to_string())?;
    let (resource, scope, record) = (ResourceLogs::default(), ScopeLogs::default(), record());
    let value = expr.eval(&View::log(&resource, &scope, &record)).map_err(|error| error.to_string())?;
    Ok(show(value))
}

/// Checks `expression → value`; `!` begins what the error has to say.
pub(super) fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        match (eval(text), expected.strip_prefix('!')) {
            (Ok(value), None) => assert_eq!(value, *expected, "{text}"),
            (Err(error), Some(part)) => assert!(error.contains(part), "{text}: {error}"),
            (found, _) => panic!("{text}: expected {expected}, found {found:?}"),
        }
    }
}

/// The record's attributes after a statement, as JSON.
fn edited(text: &str, attributes: Vec<KeyValue>) -> Result<String, EvalError> {
    let statement = parser().statement(text).unwrap_or_else(|error| panic!("{error}"));
    let mut record = LogRecord { attributes, body: record().body, ..LogRecord::default() };
    let (mut resource, mut scope) = (None, None);
    statement.run(&mut Item {
        resource: &mut resource,
        resource_schema: &mut String::new(),
        scope: &mut scope,
        scope_schema: &mut String::new(),
        record: RecordMut::Log(&mut record),
        cache: &mut Vec::new(),
        client: None,
    })?;
    Ok(map_json(&record.attributes).to_string())
}

const TYPES: &[(&str, &str)] = &[
    ("Bool(\"T\")", "true"),
    ("Bool(0)", "false"),
    ("Bool(attributes[\"d\"])", "true"),
    ("Bool(\"yes\")", "nil"),
    ("Double(\"2.0\")", "2.0"),
    ("Double(true)", "1.0"),
    ("Double(attributes[\"n\"])", "7.0"),
    ("Double(\"x\")", "nil"),
    ("Hex(12)", "\"000000000000000c\""),
    ("Hex(1.1)", "\"3ff199999999999a\""),
    ("Hex(\"1\")", "\"31\""),
    ("Hex(true)", "\"01\""),
    ("Hex(attributes[\"bytes\"])", "\"01ff\""),
    ("Hex(nil)", "nil"),
    ("Int(\"12\")", "12"),
    ("Int(\"2.0\")", "nil"),
    ("Int(-2.9)", "-2"),
    ("Int(false)", "0"),
    ("IsBool(attributes[\"b\"])", "true"),
    ("IsBool(42)", "false"),
    ("IsDouble(attributes[\"d\"])", "true"),
    ("IsDouble(1)", "false"),
    ("IsEmpty(attributes[\"empty\"])", "true"),
    ("IsEmpty(attributes[\"none\"])", "true"),
    ("IsEmpty(\"\")", "true"),
    ("IsEmpty(attributes[\"s\"])", "false"),
    ("IsEmpty(trace_id)", "false"),
    ("IsInt(attributes[\"n\"])", "true"),
    ("IsInt(\"1\")", "false"),
    ("IsList(attributes[\"tags\"])", "true"),
    ("IsList(attributes)", "false"),
    ("IsMap(attributes)", "true"),
    ("IsMap(body)", "false"),
    ("IsString(body)", "true"),
    ("IsString(1)", "false"),
    ("IsRootSpan()", "!cannot be used in the context log"),
    ("Len(attributes)", "10"),
    ("Len(attributes[\"tags\"])", "3"),
    ("Len(\"äb\")", "3"),
    ("Len(1)", "!expected a string, a list or a map"),
    ("String(attributes[\"n\"])", "\"7\""),
    ("String(attributes[\"d\"])", "\"2.5\""),
    ("String(attributes[\"m\"])", "\"{\\\"a\\\":1,\\\"b\\\":{\\\"c\\\":\\\"x\\\"}}\""),
    ("String([1, 2])", "\"[1,2]\""),
    ("String(span_id)", "\"cdcdcdcdcdcdcdcd\""),
    ("String(attributes[\"none\"])", "nil"),
    ("TraceID(0x00112233445566778899aabbccddeeff)", "id 00112233445566778899aabbccddeeff"),
    ("TraceID(\"a389023abaa839283293ed323892389d\")", "id a389023abaa839283293ed323892389d"),
    ("TraceID(0x01)", "!1 bytes are not 16"),
    ("SpanID(\"0102030405060708\")", "id 0102030405060708"),
    ("SpanID(\"01\")", "!not 16 hexadecimal digits"),
    ("ProfileID(0x00112233445566778899aabbccddeeff)", "id 00112233445566778899aabbccddeeff"),
];

const USER_AGENTS: &[(&str, &str)] = &[
    (
        "UserAgent(\"Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0\")",
        r#"{"os.name":"Linux","user_agent.name":"Firefox","user_agent.original":"Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0","user_agent.version":"126.0"}"#,
    ),
    ("UserAgent(\"curl/7.81.0\")[\"user_agent.version\"]", "\"7.81.0\""),
    ("UserAgent(\"curl/7.81.0\")[\"os.name\"]", "\"Other\""),
    (
        "UserAgent(\"foobar/1.2.3 (foo; bar baz)\")",
        r#"{"os.name":"Other","user_agent.name":"Other","user_agent.original":"foobar/1.2.3 (foo; bar baz)","user_agent.version":""}"#,
    ),
    (
        "UserAgent(\"Mozilla/5.0 (iPhone; CPU iPhone OS 14_7_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/14.1.2 Mobile/15E148 Safari/604.1\")[\"os.version\"]",
        "\"14.7.1\"",
    ),
    (
        "UserAgent(\"Mozilla/5.0 (iPhone; CPU iPhone OS 14_7_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/14.1.2 Mobile/15E148 Safari/604.1\")[\"user_agent.name\"]",
        "\"Mobile Safari\"",
    ),
    (
        "UserAgent(\"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36\")[\"user_agent.name\"]",
        "\"Chrome\"",
    ),
    ("UserAgent(\"\")[\"user_agent.name\"]", "\"Other\""),
    ("UserAgent(attributes[\"none\"])", "!expected a string"),
    ("UserAgent(1)", "!has to be a string"),
];

const TEXT: &[(&str, &str)] = &[
    ("Base64Decode(\"aGVsbG8gd29ybGQ=\")", "\"hello world\""),
    ("Base64Encode(\"hello world\")", "\"aGVsbG8gd29ybGQ=\""),
    ("Base64Encode(\"a?>\", \"base64-url\")", "\"YT8-\""),
    ("Base64Encode(\"a\", \"base64-raw\")", "\"YQ\""),
    ("Base64Encode(\"a\", \"base32\")", "!not one of base64"),
    (
        "Concat([attributes[\"s\"], 1, attributes[\"none\"], attributes[\"m\"], span_id], \"-\")",
        "\"Hello World-1-<nil>--cdcdcdcdcdcdcdcd\"",
    ),
    ("ConvertCase(\"myHTTPMetric\", \"snake\")", "\"my_http_metric\""),
    ("ConvertCase(\"my_metric\", \"camel\")", "\"MyMetric\""),
    ("ConvertCase(\"x\", \"title\")", "!not one of lower, upper, snake, camel"),
    ("Decode(\"aGVsbG8\", \"base64-raw\")", "\"hello\""),
    ("Decode(attributes[\"bytes\"], \"latin1\")", "\"\\u{1}ÿ\""),
    ("Decode(\"x\", \"klingon\")", "!the encoding `klingon` is not known"),
    (
        "ExtractPatterns(body, \"/account/(?P<id>\\\\d+) took (?P<took>\\\\w+)\")",
        "{\"id\":\"1234\",\"took\":\"12ms\"}",
    ),
    ("ExtractPatterns(body, \"(?P<x>nothing)\")", "{}"),
    ("ExtractPatterns(body, \"a\")", "!no group with a name"),
    ("ExtractPatterns(body, \"(?P<x>a\")", "!missing closing )"),
    ("HasPrefix(body, \"GET\")", "true"),
    ("HasPrefix(attributes[\"n\"], \"7\")", "!expected a string, but got int"),
    ("HasSuffix(body, \"ms\")", "true"),
    ("Index(\"hello world\", \"world\")", "6"),
    ("Index(attributes[\"nums\"], 2)", "2"),
    ("Index(attributes[\"tags\"], \"us\")", "-1"),
    ("IsMatch(body, \"^GET /\\\\w+\")", "true"),
    ("IsMatch(attributes[\"n\"], \"^7$\")", "true"),
    ("IsMatch(attributes[\"none\"], \".*\")", "false"),
    ("IsMatch(body, attributes[\"s\"])", "false"),
    ("IsMatch(body, \"(\")", "!missing closing )"),
    ("IsValidLuhn(\"17893729974\")", "true"),
    ("IsValidLuhn(17893729975)", "false"),
    ("IsValidLuhn(\"1a\")", "!other characters than digits"),
    ("Log(1)", "0.0"),
    ("Log(\"1\")", "0.0"),
    ("Log(0)", "!no logarithm of 0"),
    ("ParseInt(\"12345\", 10)", "12345"),
    ("ParseInt(\"0xAA\", 0)", "170"),
    ("ParseInt(\"AA\", 16)", "170"),
    ("ParseInt(\"-20\", 8)", "-16"),
    ("ParseInt(\"0b1111_0000\", 0)", "240"),
    ("ParseInt(\"-0o123\", 0)", "-83"),
    ("ParseInt(\"zz\", 10)", "!no integer to the base 10"),
    ("ParseInt(\"1\", -1)", "!the base -1"),
    ("Split(\"a|b|c\", \"|\")", "[\"a\",\"b\",\"c\"]"),
    ("Split(\"a|b|c\", \"|\")[1]", "\"b\""),
    ("Split(\"a\", \"|\")[1]", "!index 1 is out of bounds"),
    ("Substring(\"123456789\", 0, 3)", "\"123\""),
    ("Substring(\"一二三\", 0, 4, true)", "\"一\""),
    ("Substring(\"123\", 2, 5)", "!are not in a text of 3 bytes"),
    ("ToCamelCase(\"my_metric_name\")", "\"MyMetricName\""),
    ("ToLowerCase(\"MyMetric\")", "\"mymetric\""),
    ("ToSnakeCase(\"MyMetricName\")", "\"my_metric_name\""),
    ("ToUpperCase(\"MyMetric\")", "\"MYMETRIC\""),
    ("Trim(\" this is a test \")", "\"this is a test\""),
    ("Trim(\"!!x!!\", \"!!\")", "\"x\""),
    ("TrimPrefix(\"ingest_service\", \"ingest_\")", "\"service\""),
    ("TrimSuffix(\"ingest_service\", \"_service\")", "\"ingest\""),
    (
        "Format(\"%02d|%s|%v|%.1f|%x|%q|%%|%5s|%-3d|\", [7, \"a\", true, 2.25, 255, \"q\", \"r\", 1])",
        "\"07|a|true|2.2|ff|\\\"q\\\"|%|    r|1  |\"",
    ),
    ("Format(\"%04d-%02d-%02d\", [Year(time), Month(time), Day(time)])", "\"2023-05-26\""),
    ("Format(\"%d %s\", [\"a\"])", "\"%!d(string=a) %!s(MISSING)\""),
    ("Format(\"x\", [1])", "\"x%!(EXTRA int64=1)\""),
    ("Format(\"%e %g\", [1234.5, 0.00001])", "\"1.234500e+03 1e-05\""),
];

const COLLECTIONS: &[(&str, &str)] = &[
    ("All(attributes[\"tags\"], (_, v) => v == \"prod\")", "false"),
    ("All([], (_, v) => v == \"prod\")", "true"),
    ("All(1, (_, v) => true)", "!expected a list or a map"),
    ("All(attributes[\"tags\"], (_, v) => v)", "!a predicate has to yield a bool"),
    ("All(attributes[\"tags\"], (v) => true)", "!a lambda with 2 parameters"),
    ("Any(attributes[\"tags\"], (_, v) => v == \"eu\")", "true"),
    ("Any(attributes, (k, _) => HasPrefix(k, \"http.\"))", "false"),
    ("Any(attributes[\"m\"], (k, v) => k == \"b\" and v[\"c\"] == \"x\")", "true"),
    ("Coalesce([attributes[\"none\"], attributes[\"n\"], 1])", "7"),
    ("Coalesce([])", "!at least one value"),
    ("ContainsValue(attributes[\"tags\"], \"eu\")", "true"),
    ("ContainsValue([1, 2.5], 2.5)", "true"),
    ("ContainsValue([\"GET\"], \"PUT\")", "false"),
    ("Filter(attributes[\"nums\"], (_, v) => v > 1)", "[3,2]"),
    ("Filter(attributes[\"m\"], (k, _) => k == \"a\")", "{\"a\":1}"),
    ("Find(attributes[\"nums\"], (_, v) => v < 3)", "1"),
    ("Find(attributes[\"m\"], (_, v) => v == 1, (k, _) => k)", "\"a\""),
    ("Find(attributes[\"nums\"], (_, v) => v > 9)", "nil"),
    ("Keys({\"k1\": 1, \"k2\": 2})", "[\"k1\",\"k2\"]"),
    ("Keys(1)", "!expected a map"),
    ("MapEach(attributes[\"nums\"], (i, v) => v * 10 + i)", "[30,11,22]"),
    ("MapEach(attributes[\"m\"], (_, v) => String(v))", "{\"a\":\"1\",\"b\":\"{\\\"c\\\":\\\"x\\\"}\"}"),
    (
        "MapKeys(attributes[\"m\"], (k, _) => Concat([\"http.\", k], \"\"))",
        "{\"http.a\":1,\"http.b\":{\"c\":\"x\"}}",
    ),
    ("Reduce(attributes[\"nums\"], 0, (acc, _, v) => acc + v)", "6"),
    ("Reduce(attributes[\"m\"], \"\", (acc, k, _) => Concat([acc, k], \"\"))", "\"ab\""),
    (
        "SliceToMap([{\"name\": \"foo\", \"v\": 2}, {\"name\": \"bar\", \"v\": 5}], [\"name\"], [\"v\"])",
        "{\"bar\":5,\"foo\":2}",
    ),
    ("SliceToMap([{\"name\": \"foo\"}])", "{\"0\":{\"name\":\"foo\"}}"),
    ("SliceToMap([{\"name\": 1}], [\"name\"])", "!the key of element 0 is no string"),
    ("Sort(attributes[\"nums\"])", "[1,2,3]"),
    ("Sort([3, 1.5, 2], \"desc\")", "[3,2,1.5]"),
    ("Sort([\"b\", \"a\"])", "[\"a\",\"b\"]"),
    ("Sort([true, \"a\", 1])", "[1,\"a\",true]"),
    ("Sort([{}])", "!expected numbers, strings and bools"),
    ("Sort([1], \"up\")", "!not one of asc, desc"),
    ("Values({\"k\": \"v\", \"l\": [1]})", "[\"v\",[1]]"),
    ("When(() => attributes[\"n\"] > 0, \"positive\", \"negative\")", "\"positive\""),
    ("When(() => IsMap(body), 1, 2)", "2"),
];

const HASHES: &[(&str, &str)] = &[
    (
        "CommunityID(\"128.232.110.120\", 34855, \"66.35.250.204\", 80, \"TCP\")",
        "\"1:LQU9qZlK+B5F3KDmev6m5PMibrg=\"",
    ),
    ("CommunityID(\"66.35.250.204\", 80, \"128.232.110.120\", 34855)", "\"1:LQU9qZlK+B5F3KDmev6m5PMibrg=\""),
    ("CommunityID(\"x\", 1, \"1.1.1.1\", 1)", "!`x` is no IP address"),
    ("CommunityID(\"1.1.1.1\", 70000, \"1.1.1.1\", 1)", "!70000 is not between"),
    ("FNV(\"hello world\")", "8618312879776256743"),
    ("MD5(\"hello world\")", "\"5eb63bbbe01eeed093cb22bb8f5acdc3\""),
    ("Murmur3Hash(\"Hello World\")", "\"ce837619\""),
    ("Murmur3Hash128(\"Hello World\")", "\"dbc2a0c1ab26631a27b4c09fcf1fe683\""),
    ("SHA1(\"hello world\")", "\"2aae6c35c94fcfb415dbe95f408b9ce91ee846ed\""),
    ("SHA256(\"hello world\")", "\"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\""),
    (
        "SHA512(\"\")",
        "\"cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e\"",
    ),
    ("XXH3(\"hello world\")", "\"d447b1ea40e6988b\""),
    ("XXH128(\"hello world\")", "\"df8d09e93f874900a99b8775cc15b6c7\""),
    ("SHA256(1)", "!has to be a string"),
    ("SHA256(attributes[\"n\"])", "!expected a string, but got int"),
    ("Len(UUID())", "36"),
    ("Substring(UUIDv7(), 14, 1)", "\"7\""),
];

const TIMES: &[(&str, &str)] = &[
    ("Year(time)", "2023"),
    ("Month(time)", "5"),
    ("Day(time)", "26"),
    ("Weekday(time)", "5"),
    ("Hour(time)", "12"),
    ("Minute(time)", "34"),
    ("Second(time)", "56"),
    ("Nanosecond(time)", "789000000"),
    ("Hour(Time(\"2023-05-26 08:00:00\", \"%F %T\", \"America/New_York\"))", "8"),
    ("Time(\"2023-05-26 08:00:00\", \"%F %T\", \"America/New_York\")", "time 2023-05-26T08:00:00-04:00"),
    ("Time(\"02/04/2023\", \"%m/%d/%Y\")", "time 2023-02-04T00:00:00Z"),
    ("Time(\"x\", \"%Y\")", "!does not match the format"),
    ("Time(\"x\", \"%!\")", "!`%!` in the format"),
    ("Time(\"x\", \"%Y\", \"Mars/Base\")", "!the time zone `Mars/Base` is not known"),
    ("Time(\"x\", \"%Y\", \"\", \"it\")", "!the language `it` are not supported"),
    ("FormatTime(time, \"%Y-%m-%d %H:%M:%S.%L\")", "\"2023-05-26 12:34:56.789\""),
    ("FormatTime(1, \"%Y\")", "!expected a time"),
    ("TruncateTime(time, Duration(\"1h\"))", "time 2023-05-26T12:00:00Z"),
    ("Unix(1672527600)", "time 2022-12-31T23:00:00Z"),
    ("Unix(0, 5)", "time 1970-01-01T00:00:00.000000005Z"),
    ("UnixSeconds(time)", "1685104496"),
    ("UnixMilli(time)", "1685104496789"),
    ("UnixMicro(time)", "1685104496789000"),
    ("UnixNano(time)", "1685104496789000000"),
    ("UnixSeconds(Now()) > 0", "!unexpected `>`"),
    ("Year(Now()) / Year(Now())", "1"),
    ("Duration(\"1h30m\")", "1h30m0s"),
    ("Duration(\"1d\")", "!`1d` is no duration"),
    ("Hours(Duration(\"90m\"))", "1.5"),
    ("Minutes(Duration(\"90s\"))", "1.5"),
    ("Seconds(Duration(\"1500ms\"))", "1.5"),
    ("Milliseconds(Duration(\"1.5s\"))", "1500"),
    ("Microseconds(Duration(\"1ms\"))", "1000"),
    ("Nanoseconds(Duration(\"1us\"))", "1000"),
    ("time - observed_time", "468084h34m56.789s"),
    ("time + Duration(\"1m\")", "time 2023-05-26T12:35:56.789Z"),
    ("Hours(1)", "!expected a duration"),
];

const PARSERS: &[(&str, &str)] = &[
    ("IsInCIDR(\"192.168.7.1\", [\"10.0.0.0/8\", \"192.168.0.0/16\"])", "true"),
    ("IsInCIDR(\"192.169.7.1\", [\"192.168.0.0/16\"])", "false"),
    ("IsInCIDR(\"fe80::1\", [\"fe80::/10\"])", "true"),
    ("IsInCIDR(\"x\", [\"10.0.0.0/8\"])", "!no IP address"),
    ("IsInCIDR(\"1.1.1.1\", [\"10.0.0.0\"])", "!no CIDR address"),
    (
        "ParseCSV(\"999-999,Joe Smith,j@e.com\", \"phone,name,email\")",
        "{\"email\":\"j@e.com\",\"name\":\"Joe Smith\",\"phone\":\"999-999\"}",
    ),
    (
        "ParseCSV(\"\\\"a,b\\\"\\\"c\\\",2\", \"x|y\", headerDelimiter=\"|\")",
        "{\"x\":\"a,b\\\"c\",\"y\":\"2\"}",
    ),
    (
        "ParseCSV(\"\\\"555,Joe\\\",j\", \"a,b,c\", mode=\"ignoreQuotes\")",
        "{\"a\":\"\\\"555\",\"b\":\"Joe\\\"\",\"c\":\"j\"}",
    ),
    ("ParseCSV(\"a \\\"b\\\",c\", \"x,y\", mode=\"lazyQuotes\")", "{\"x\":\"a \\\"b\\\"\",\"y\":\"c\"}"),
    ("ParseCSV(\"a \\\"b\\\",c\", \"x,y\")", "!a quote inside of a field"),
    ("ParseCSV(\"a\", \"x,y\")", "!1 fields, but 2 headers"),
    (
        "ParseJSON(\"{\\\"a\\\":true,\\\"n\\\":1,\\\"l\\\":[null,\\\"x\\\"]}\")",
        "{\"a\":true,\"l\":[null,\"x\"],\"n\":1}",
    ),
    ("ParseJSON(\"[1]\")[0]", "1.0"),
    ("ParseJSON(body)", "!no JSON"),
    ("ParseJSON(\"1\")", "!expected an object or an array"),
    ("ParseKeyValue(\"k1=v1 k2=\\\"v 2\\\" k3='x'\")", "{\"k1\":\"v1\",\"k2\":\"v 2\",\"k3\":\"x\"}"),
    ("ParseKeyValue(\"k1!v1_k2!v2\", \"!\", \"_\")", "{\"k1\":\"v1\",\"k2\":\"v2\"}"),
    ("ParseKeyValue(\"k1\")", "!has no `=`"),
    ("ParseKeyValue(\"\")", "!an empty text"),
    (
        "ParseSeverity(204, {\"info\": [{\"equals\": [\"inf\"]}, {\"range\": {\"min\": 200, \"max\": 299}}]})",
        "\"info\"",
    ),
    ("ParseSeverity(\"inf\", {\"info\": [{\"equals\": [\"inf\"]}]})", "\"info\""),
    (
        "ParseSeverity(404, {\"info\": [{\"range\": \"2xx\"}], \"error\": [{\"range\": \"4xx\"}]})",
        "\"error\"",
    ),
    ("ParseSeverity(1, {\"info\": [{\"range\": \"2xx\"}]})", "!no level of the mapping fits"),
    (
        "ToKeyValueString({\"k2\": \"v=2\", \"k1\": {\"a\": [1]}}, sort_output=true)",
        "\"k1={\\\"a\\\":[1]} k2=\\\"v=2\\\"\"",
    ),
    ("ToKeyValueString({\"a\": 1, \"b\": true}, \":\", \",\")", "\"a:1,b:true\""),
    (
        "URL(\"http://www.example.com\")",
        "{\"url.domain\":\"www.example.com\",\"url.original\":\"http://www.example.com\",\"url.path\":\"\",\"url.scheme\":\"http\"}",
    ),
    ("URL(\"http://me:pw@h.com:80/foo.gif?k=v#f\")[\"url.port\"]", "80"),
    ("URL(\"http://me:pw@h.com:80/foo.gif?k=v#f\")[\"url.user_info\"]", "\"me:pw\""),
    ("URL(\"http://me:pw@h.com:80/foo.gif?k=v#f\")[\"url.extension\"]", "\"gif\""),
    ("URL(\"http://h/a b\")", "!spaces"),
];

const GROK: &[(&str, &str)] = &[
    (
        "ExtractGrokPatterns(body, \"%{WORD:verb} %{URIPATH:path} took %{INT:ms:int}ms\", true)",
        "{\"ms\":12,\"path\":\"/account/1234\",\"verb\":\"GET\"}",
    ),
    (
        "ExtractGrokPatterns(body, \"%{WORD} %{NOTSPACE}\")",
        "{\"NOTSPACE\":\"/account/1234\",\"WORD\":\"GET\"}",
    ),
    (
        "ExtractGrokPatterns(body, \"%{LINE}\", true, [\"LINE=%{VERB:v} (?P<p.q>\\\\S+)\", \"VERB=[A-Z]+\"])",
        "{\"p.q\":\"/account/1234\",\"v\":\"GET\"}",
    ),
    (
        "ExtractGrokPatterns(\"smith:pass:1\", \"%{USERNAME:user.name}:%{DATA:pw}:%{NUMBER:n:double}\", true)",
        "{\"n\":1,\"pw\":\"pass\",\"user.name\":\"smith\"}",
    ),
    ("ExtractGrokPatterns(body, \"%{POSINT:x}$\", true)", "{}"),
    ("ExtractGrokPatterns(body, \"%{WORDD}\")", "!did you mean `WORD`?"),
    ("ExtractGrokPatterns(body, \"%{WORD}\", true)", "!no capture with a name"),
    ("ExtractGrokPatterns(body, \"%{WORD:a:date}\")", "!the type `date`"),
    ("ExtractGrokPatterns(body, \"%{A:x}\", true, [\"A=%{A}\"])", "!without end"),
    ("ExtractGrokPatterns(body, \"%{WORD:verb:int}\", true)", "!`GET` of `verb` cannot be converted"),
];

const XML: &[(&str, &str)] = &[
    (
        "ParseXML(\"<Log><Name type='first'>Joe &amp; <![CDATA[Co]]></Name><!-- c --><E/></Log>\")",
        "{\"children\":[{\"attributes\":{\"type\":\"first\"},\"content\":\"Joe &Co\",\"tag\":\"Name\"},{\"tag\":\"E\"}],\"tag\":\"Log\"}",
    ),
    ("ParseXML(\"<a><b></a>\")", "!no XML"),
    ("ParseXML(\"<a>\")", "!an element is not closed"),
    ("ParseXML(\"<a/><b/>\")", "!several elements at the top"),
    ("ParseXML(\"text\")", "!there is no element"),
    ("ParseXML(\"<a>&nope;</a>\")", "!the entity `&nope;` is not known"),
    (
        "ParseSimplifiedXML(\"<e><id>1</id><d><t>x</t></d><v>1</v><v><![CDATA[2]]></v><w>3</w><w/><z/></e>\")",
        "{\"e\":{\"d\":{\"t\":\"x\"},\"id\":\"1\",\"v\":[\"1\",\"2\"],\"w\":[\"3\"]}}",
    ),
    ("GetXML(\"<a><b c='1'>x</b><b>y</b></a>\", \"/a/b\")", "\"<b c=\\\"1\\\">x</b><b>y</b>\""),
    ("GetXML(\"<a><b c='1'>x</b><b>y</b></a>\", \"//b[@c='1']\")", "\"<b c=\\\"1\\\">x</b>\""),
    ("GetXML(\"<a><b>x</b><b>y</b></a>\", \"/a/b[2]/text()\")", "\"y\""),
    ("GetXML(\"<a foo='bar'/>\", \"/a/@foo\")", "\"bar\""),
    ("GetXML(\"<a><![CDATA[hello]]></a>\", \"/a/text()\")", "\"hello\""),
    ("GetXML(\"<a><b><n>1</n></b><b><n>2</n></b></a>\", \"/a/b[n > 1 and not(n = 3)]/n\")", "\"<n>2</n>\""),
    ("GetXML(\"<a><b/><c/></a>\", \"/a/b | /a/c[last()]\")", "\"<b></b><c></c>\""),
    ("GetXML(\"<a/>\", \"/a[\")", "!is no XPath"),
    ("GetXML(\"<a/>\", \"/child::a\")", "!the axis of `child::a` is not supported"),
    (
        "RemoveXML(\"<Log><Record><Name type='archive'/></Record><Record><Name type='user'/></Record></Log>\", \"/Log/Record[./Name/@type='archive']\")",
        "\"<Log><Record><Name type=\\\"user\\\"></Name></Record></Log>\"",
    ),
    (
        "RemoveXML(\"<a foo='1' bar='2'><!-- c --></a>\", \"/a/@foo | //comment()\")",
        "\"<a bar=\\\"2\\\"></a>\"",
    ),
    (
        "RemoveXML(\"<a><b>sensitive x</b><c>y</c></a>\", \"//*[contains(text(), 'sensitive')]\")",
        "\"<a><c>y</c></a>\"",
    ),
    ("RemoveXML(\"<a/>\", \"/\")", "!the whole document"),
    ("InsertXML(\"<a><foo/></a>\", \"//foo\", \"<bar/>\")", "\"<a><foo><bar></bar></foo></a>\""),
    ("InsertXML(\"<a/>\", \"/\", \"<foo>1</foo>\")", "\"<a></a><foo>1</foo>\""),
    ("InsertXML(\"<a>x</a>\", \"/a/text()\", \"<b/>\")", "!no element"),
    (
        "ConvertAttributesToElementsXML(\"<a foo='bar'><b x='1'>baz</b></a>\")",
        "\"<a><b>baz<x>1</x></b><foo>bar</foo></a>\"",
    ),
    (
        "ConvertAttributesToElementsXML(\"<a foo='bar'><b x='1'>baz</b></a>\", \"/a\")",
        "\"<a><b x=\\\"1\\\">baz</b><foo>bar</foo></a>\"",
    ),
    ("ConvertTextToElementsXML(\"<a><b>foo</b>bar</a>\")", "\"<a><b>foo</b><value>bar</value></a>\""),
    (
        "ConvertTextToElementsXML(\"<a><b>foo</b>bar</a>\", elementName=\"custom\")",
        "\"<a><b>foo</b><custom>bar</custom></a>\"",
    ),
];

#[test]
fn grok_patterns_follow_the_table() {
    check(GROK);
}

#[test]
fn converters_of_xml_follow_the_table() {
    check(XML);
    let deep = format!("ParseXML(\"{}{}\")", "<a>".repeat(300), "</a>".repeat(300));
    assert!(eval(&deep).is_err_and(|error| error.contains("nested more than 256 deep")));
}

#[test]
fn converters_between_types_follow_the_table() {
    check(TYPES);
}

#[test]
fn converters_of_text_follow_the_table() {
    check(TEXT);
}

#[test]
fn user_agents_follow_the_table() {
    check(USER_AGENTS);
}

#[test]
fn converters_of_lists_and_maps_follow_the_table() {
    check(COLLECTIONS);
}

#[test]
fn hashes_follow_the_table() {
    check(HASHES);
}

#[test]
fn converters_of_times_follow_the_table() {
    check(TIMES);
}

#[test]
fn parsers_follow_the_table() {
    check(PARSERS);
}

fn attributes() -> Vec<KeyValue> {
    vec![
        entry("a", any_str("/user/1/list/2")),
        entry("kube_b", any_str("password=x y")),
        entry("n", int(7)),
        entry("l", list(vec![any_str("x"), any_str("y")])),
        entry("m", map(vec![entry("k", map(vec![entry("z", int(1))]))])),
    ]
}

const EDITORS: &[(&str, &str)] = &[
    (r#"append(attributes["l"], "z")"#, r#"{"l":["x","y","z"]}"#),
    (r#"append(attributes["n"], values=["p", 2])"#, r#"{"n":[7,"p",2]}"#),
    (r#"append(attributes["new"], attributes["l"])"#, r#"{"new":["x","y"]}"#),
    (r#"delete_index(attributes["l"], 0)"#, r#"{"l":["y"]}"#),
    (r#"delete_index(attributes["l"], 0, 2)"#, r#"{"l":[]}"#),
    (r#"delete_index(attributes["l"], 1, 1)"#, r#"{}"#),
    (r#"delete_index(attributes["l"], 2)"#, "!2 to 3 is out of bounds of a list of 2"),
    (r#"delete_key(attributes, "n")"#, r#"{"n":null}"#),
    (r#"delete_key(attributes["m"]["k"], "z")"#, r#"{"m":{"k":{}}}"#),
    (r#"delete_key(attributes["none"], "z")"#, "!expected a map, but it is nil"),
    (r#"delete_matching_keys(attributes, "^(kube|m)")"#, r#"{"kube_b":null,"m":null}"#),
    (r#"keep_matching_keys(attributes, "^n$")"#, r#"{"a":null,"kube_b":null,"l":null,"m":null}"#),
    (r#"keep_keys(attributes, ["n", "q"])"#, r#"{"a":null,"kube_b":null,"l":null,"m":null}"#),
    (r#"flatten(attributes)"#, r#"{"l":null,"l.0":"x","l.1":"y","m":null,"m.k.z":1}"#),
    (r#"flatten(attributes["m"], "p", 1)"#, r#"{"m":{"p.k.z":1}}"#),
    (r#"flatten(attributes, depth=0)"#, r#"{}"#),
    (r#"flatten(attributes, resolveConflicts=true)"#, r#"{"l":"x","l.0":"y","m":null,"m.k.z":1}"#),
    (r#"limit(attributes, 2, ["n"])"#, r#"{"kube_b":null,"l":null,"m":null}"#),
    (r#"merge_maps(attributes, {"n": 8, "q": 9}, "insert")"#, r#"{"q":9}"#),
    (r#"merge_maps(attributes, {"n": 8, "q": 9}, "update")"#, r#"{"n":8}"#),
    (r#"merge_maps(attributes, {"n": 8, "q": 9}, "upsert")"#, r#"{"n":8,"q":9}"#),
    (r#"replace_all_matches(attributes, "/user/*/list/*", "/u")"#, r#"{"a":"/u"}"#),
    (
        r#"replace_all_matches(attributes, "/user/{1,2}/*", "x", SHA1, "<%s>")"#,
        r#"{"a":"<11f6ad8ec52a2984abaafd7c3b516503785c2072>"}"#,
    ),
    (r#"clear(attributes["n"])"#, r#"{"n":0}"#),
    (r#"clear(attributes["kube_b"])"#, r#"{"kube_b":""}"#),
    (r#"clear(attributes["l"])"#, r#"{"l":[]}"#),
    (r#"clear(attributes["m"])"#, r#"{"m":{}}"#),
    (r#"clear(attributes["none"])"#, r#"{}"#),
    (r#"replace_all_patterns(attributes, "value", "\\d", "N")"#, r#"{"a":"/user/N/list/N"}"#),
    (
        r#"replace_all_patterns(attributes, "key", "^kube_(\\w+)", "k8s.$1")"#,
        r#"{"k8s.b":"password=x y","kube_b":null}"#,
    ),
    (r#"replace_match(attributes["a"], "/user/?/list/[0-9]", "/u")"#, r#"{"a":"/u"}"#),
    (r#"replace_match(attributes["a"], "/user", "/u")"#, r#"{}"#),
    (r#"replace_match(attributes["n"], "*", "/u")"#, r#"{}"#),
    (
        r#"replace_pattern(attributes["kube_b"], "password\\=[^\\s]*(\\s?)", "password=***$1")"#,
        r#"{"kube_b":"password=*** y"}"#,
    ),
    (
        r#"replace_pattern(attributes["a"], "(\\d)", "${1}x", ToUpperCase, "<%s>")"#,
        r#"{"a":"/user/<1X>/list/<2X>"}"#,
    ),
    (r#"replace_pattern(attributes["none"], "a", "b")"#, r#"{}"#),
    (r#"set(attributes["q"]["r"][1], attributes["n"])"#, r#"{"q":{"r":[null,7]}}"#),
    (r#"set(attributes["n"], nil)"#, r#"{}"#),
    (r#"set(attributes["n"], attributes["none"])"#, r#"{}"#),
    (r#"set(attributes["n"], time)"#, "!time is no value of an attribute"),
    (r#"set(attributes["n"]["x"], 1)"#, "!int cannot be indexed"),
    (r#"set(attributes["l"][5], 1)"#, "!index 5 is out of bounds"),
    (r#"set(attributes["n"], 8) where attributes["n"] == 1"#, r#"{}"#),
    (r#"set(severity_number, "x")"#, "!expected an int, but got string"),
    (r#"stringify_all(attributes)"#, r#"{"l":"[\"x\",\"y\"]","m":"{\"k\":{\"z\":1}}","n":"7"}"#),
    (r#"truncate_all(attributes, 5)"#, r#"{"a":"/user","kube_b":"passw"}"#),
    (r#"truncate_all(attributes, 5, true, "..")"#, r#"{"a":"/us..","kube_b":"pas.."}"#),
];

/// Checks editors by what they change: new and changed keys with their values, deleted ones with `null`.
#[test]
fn editors_follow_the_table() {
    for (text, expected) in EDITORS {
        let found = edited(text, attributes());
        if let Some(part) = expected.strip_prefix('!') {
            let error = found.expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
            continue;
        }
        let found: serde_json::Value = serde_json::from_str(&found.expect(text)).expect("JSON");
        let mut all = map_json(&attributes());
        let serde_json::Value::Object(changes) = serde_json::from_str(expected).expect(expected) else {
            panic!("{expected}")
        };
        for (key, value) in changes {
            match value.is_null() {
                true => drop(all.as_object_mut().and_then(|all| all.remove(&key))),
                false => all[&key] = value,
            }
        }
        assert_eq!(found, all, "{text}");
    }
}

#[test]
fn wrong_arguments_are_told_when_a_statement_is_parsed() {
    let cases = [
        ("set(attributes)", "`set` needs the argument `value` at column 15"),
        ("set(attributes, 1, 2)", "takes at most 2 arguments"),
        ("set(1, 2)", "the argument `target` has to be a path that can be set"),
        ("set(attributes[\"a\"], value=1, value=2)", "the argument `value` is there twice"),
        ("set(target=attributes, 1)", "cannot follow one with a name"),
        ("limit(attributes, 1, keyz=[])", "has no argument `keyz`"),
        ("limit(attributes, \"1\", [])", "has to be an int"),
        ("limit(attributes, -1, [])", "-1 is negative"),
        ("limit(attributes, 0, [\"n\"])", "1 priority keys are more than the limit 0"),
        ("merge_maps(attributes, {}, \"replace\")", "not one of insert, update, upsert"),
        ("replace_patern(attributes[\"a\"], \"b\", \"c\")", "did you mean `replace_pattern`?"),
        ("replace_pattern(attributes[\"a\"], \"b\", \"c\", SHA256, \"x\")", "exactly one `%s`"),
        ("replace_match(attributes[\"a\"], \"[a\", \"c\")", "is not closed"),
        ("truncate_all(attributes, 1, true, \"..\")", "the marker is longer"),
        ("append(attributes[\"a\"])", "at least one of the arguments"),
        ("set(attributes[\"a\"], ToUperCase(body))", "did you mean `ToUpperCase`?"),
        ("set(attributes[\"a\"], SEVERITY_NUMBER_WARM)", "did you mean `SEVERITY_NUMBER_WARN`?"),
        ("set(span.name, body)", "`span` cannot be reached from the context log"),
        ("set(attributes[\"a\"], body) where body", "this is a value and no condition"),
        ("set(body.strin, body)", "did you mean `body.string`?"),
    ];
    for (text, part) in cases {
        let error = parser().statement(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// Without a case here a function would be known by its name only.
#[test]
fn each_function_has_a_case_in_a_table() {
    let mut cases: Vec<&str> = EDITORS.iter().map(|(text, _)| *text).collect();
    for table in [TYPES, TEXT, COLLECTIONS, HASHES, TIMES, PARSERS, GROK, XML, USER_AGENTS] {
        cases.extend(table.iter().map(|(text, _)| *text));
    }
    for function in all(&[Group::Standard]) {
        let call = format!("{}(", function.name);
        assert!(cases.iter().any(|text| text.contains(&call)), "{} has no case", function.name);
    }
}

#[test]
fn a_pattern_from_the_data_is_compiled_when_it_changes() {
    let condition = parser().condition("IsMatch(body, attributes[\"pattern\"])").expect("a condition");
    let (resource, scope) = (ResourceLogs::default(), ScopeLogs::default());
    for (pattern, holds) in [("^GET", true), ("^PUT", false), ("^GET", true)] {
        let record = LogRecord { attributes: vec![entry("pattern", any_str(pattern))], ..record() };
        assert_eq!(condition.matches(&View::log(&resource, &scope, &record)), Ok(holds));
    }
    let broken = LogRecord { attributes: vec![entry("pattern", any_str("("))], ..record() };
    assert!(condition.matches(&View::log(&resource, &scope, &broken)).is_err());
}

#[test]
fn a_value_borrows_from_the_record() {
    let (resource, scope, record) = (ResourceLogs::default(), ScopeLogs::default(), record());
    let expr = parser().value("attributes[\"s\"]").expect("a value");
    let value = expr.eval(&View::log(&resource, &scope, &record)).expect("a value");
    assert!(matches!(value, Value::Str(Cow::Borrowed("Hello World"))));
}
