//! OTTL, the OpenTelemetry Transformation Language, over decoded OTLP messages.
//!
//! Data path: text → tokens (`lexer`, nom) → tree (`parser`) → expressions (`compile`: paths are looked up in
//! the tables of the contexts, functions in theirs, literals and patterns compiled) → evaluated for each item.
//! Everything that can be wrong with a text is found when it is parsed. Pure: no I/O, no state between items but
//! the cache that the caller holds.
//!
//! # Conditions
//!
//! ```
//! use ottl::{Conditions, Context, ErrorMode, Parser, View};
//! use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
//!
//! let parser = Parser::new(Context::Span);
//! let slow = parser.conditions(&[r#"name == "GET /" and end_time_unix_nano - start_time_unix_nano > 1000"#])?;
//!
//! let span = Span { name: "GET /".into(), end_time_unix_nano: 2_000, ..Span::default() };
//! let (resource, scope) = (ResourceSpans::default(), ScopeSpans::default());
//! let view = View::span(&resource, &scope, &span);
//! let holds = slow.any(&view, ErrorMode::Ignore, &mut |failure| eprintln!("{failure}"))?;
//! assert!(holds);
//!
//! // A mistake is told when the text is parsed: where, and what was meant.
//! let error = parser.conditions(&[r#"nam == "GET /""#]).unwrap_err();
//! assert_eq!(error.to_string(), "`nam` is no field of the context span at column 1 of `nam == \"GET /\"`; did you mean `name`?");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Values
//!
//! ```
//! # use ottl::{Context, Parser, View, Value};
//! # use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
//! let severity = Parser::new(Context::Log).value("severity_number * 2")?;
//! let record = LogRecord { severity_number: 9, ..LogRecord::default() };
//! let (resource, scope) = (ResourceLogs::default(), ScopeLogs::default());
//! assert_eq!(severity.eval(&View::log(&resource, &scope, &record))?, Value::Int(18));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Statements
//!
//! ```
//! # use ottl::{Context, ErrorMode, Group, Parser, walk};
//! # use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
//! # use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
//! # let scope_logs = vec![ScopeLogs { log_records: vec![LogRecord::default()], ..ScopeLogs::default() }];
//! # let mut request = ExportLogsServiceRequest {
//! #     resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
//! # };
//! let parser = Parser::new(Context::Log).with(Group::Transform);
//! let statements = parser.statements(&[r#"set(severity_text, "INFO") where severity_text == """#])?;
//! walk::logs(&mut request, Context::Log, None, None, &mut |item| {
//!     statements.run(item, ErrorMode::Propagate, &mut |_| {}).map(drop)
//! })?;
//! assert_eq!(request.resource_logs[0].scope_logs[0].log_records[0].severity_text, "INFO");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where nobody has said which context is meant, [`infer`] finds it from the paths, which then have to begin
//! with the names of their contexts (`span.attributes["key"]`).

mod ast;
mod compare;
mod compile;
mod context;
mod duration;
mod enums;
mod error;
mod expr;
mod functions;
mod infer;
mod lexer;
mod parser;
mod path;
#[cfg(test)]
mod properties;
mod statement;
mod time;
mod value;
pub mod walk;

pub use context::{Context, Item, Point, RecordMut, View, points};
pub use error::{EvalError, ParseError};
pub use functions::Group;
pub use infer::{Source, infer};
pub use statement::{Condition, Conditions, ErrorMode, Failure, Parser, Statement, Statements, ValueExpr};
pub use value::{Id, Part, Time, Value};
