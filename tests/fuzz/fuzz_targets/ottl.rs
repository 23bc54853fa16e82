//! Any text as a statement, condition and value: no panic, a mistake lies inside of the text, and what is parsed
//! can be applied to an item without a panic.
#![cfg_attr(feature = "libfuzzer", no_main)]

use ottl::{Context, ErrorMode, Group, ParseError, Parser, View, walk};
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

fn record(text: &str) -> LogRecord {
    let value = Some(AnyValue { value: Some(Value::StringValue(text.into())) });
    let attributes = vec![KeyValue { key: "a".into(), value: value.clone(), ..KeyValue::default() }];
    LogRecord { body: value, attributes, ..LogRecord::default() }
}

fn inside(error: &ParseError, text: &str) {
    assert!(error.span.start <= error.span.end && error.span.end <= text.len(), "{error}");
    assert!((1..=text.chars().count() + 1).contains(&error.column()), "{error}");
}

fuzz::target!(|input: (&str, &str)| {
    let (text, data) = input;
    for context in Context::ALL {
        let parser = Parser::new(context).with(Group::Transform).with(Group::Filter);
        let errors = [parser.statement(text).err(), parser.condition(text).err(), parser.value(text).err()];
        errors.into_iter().flatten().for_each(|error| inside(&error, text));
    }
    let parser = Parser::new(Context::Log).with(Group::Transform);
    let record = record(data);
    let (resource, scope) = (ResourceLogs::default(), ScopeLogs::default());
    let view = View::log(&resource, &scope, &record);
    if let Ok(condition) = parser.condition(text) {
        let _ = condition.matches(&view);
    }
    if let Ok(value) = parser.value(text) {
        let _ = value.eval(&view);
    }
    if let Ok(statements) = parser.statements(&[text]) {
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        let mut request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
        };
        let _ = walk::logs(&mut request, Context::Log, None, None, &mut |item| {
            statements.run(item, ErrorMode::Propagate, &mut |_| {}).map(drop)
        });
    }
});
