//! Edits decoded requests: what the byte path is compared with, and the comparison.

use component::eval::{Number, Value};
use component::otel::MetricsLevel;
use component::{BuildCx, Services};
use proptest::prelude::*;
use prost::Message as _;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue, KeyValueList};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Summary, SummaryDataPoint,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{ClientMetadata, LogsSignal, MetricsSignal, OtlpRequest, OtlpSignal, TracesSignal};
use wire::otlp::{Schematic, edit};

use super::Rules;
use super::action::{Action, ActionArgs, Verb};
use super::edit::Editing;
use super::matching::decoded::AroundDecoded as Around;
use super::matching::{AttributeArgs, Filter, LibraryArgs, MatchArgs, MatchType, RegexpArgs, SeverityArgs};
use crate::processor::items::ItemMetrics;
use crate::signals::Kind;

impl Rules {
    fn apply_decoded(&self, attributes: &mut Vec<KeyValue>, client: Option<&ClientMetadata>) -> bool {
        let each = |changed, action: &Action| action.apply_decoded(attributes, client) | changed;
        self.actions.iter().fold(false, each)
    }
}

/// A signal whose items have attributes.
pub(super) trait Edited: OtlpSignal {
    /// Edits a request; whether anything has changed.
    fn edit(request: &mut Self::Request, rules: &Rules, client: Option<&ClientMetadata>) -> bool;
}

impl Edited for TracesSignal {
    fn edit(request: &mut Self::Request, rules: &Rules, client: Option<&ClientMetadata>) -> bool {
        let mut changed = false;
        for resource in &mut request.resource_spans {
            for scope in &mut resource.scope_spans {
                let around = Around { resource: resource.resource.as_ref(), scope: scope.scope.as_ref() };
                for span in &mut scope.spans {
                    if rules.filter.applies_decoded(|matcher| matcher.span(span, around)) {
                        changed |= rules.apply_decoded(&mut span.attributes, client);
                    }
                }
            }
        }
        changed
    }
}

impl Edited for LogsSignal {
    fn edit(request: &mut Self::Request, rules: &Rules, client: Option<&ClientMetadata>) -> bool {
        let mut changed = false;
        for resource in &mut request.resource_logs {
            for scope in &mut resource.scope_logs {
                let around = Around { resource: resource.resource.as_ref(), scope: scope.scope.as_ref() };
                for record in &mut scope.log_records {
                    if rules.filter.applies_decoded(|matcher| matcher.record(record, around)) {
                        changed |= rules.apply_decoded(&mut record.attributes, client);
                    }
                }
            }
        }
        changed
    }
}

impl Edited for MetricsSignal {
    fn edit(request: &mut Self::Request, rules: &Rules, client: Option<&ClientMetadata>) -> bool {
        let mut changed = false;
        for resource in &mut request.resource_metrics {
            for scope in &mut resource.scope_metrics {
                let around = Around { resource: resource.resource.as_ref(), scope: scope.scope.as_ref() };
                for metric in &mut scope.metrics {
                    changed |= edit_metric(metric, around, rules, client);
                }
            }
        }
        changed
    }
}

fn edit_metric(
    metric: &mut Metric,
    around: Around<'_>,
    rules: &Rules,
    client: Option<&ClientMetadata>,
) -> bool {
    let name = &metric.name;
    let mut changed = false;
    let mut point = |attributes: &mut Vec<KeyValue>| {
        if rules.filter.applies_decoded(|matcher| {
            matcher.metric_name_decoded(name) && matcher.common(attributes, around)
        }) {
            changed |= rules.apply_decoded(attributes, client);
        }
    };
    match &mut metric.data {
        None => {}
        Some(Data::Gauge(d)) => d.data_points.iter_mut().for_each(|p| point(&mut p.attributes)),
        Some(Data::Sum(d)) => d.data_points.iter_mut().for_each(|p| point(&mut p.attributes)),
        Some(Data::Histogram(d)) => d.data_points.iter_mut().for_each(|p| point(&mut p.attributes)),
        Some(Data::ExponentialHistogram(d)) => {
            d.data_points.iter_mut().for_each(|p| point(&mut p.attributes));
        }
        Some(Data::Summary(d)) => d.data_points.iter_mut().for_each(|p| point(&mut p.attributes)),
    }
    changed
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "service.name", "n"]).prop_map(str::to_string)
}

fn drawn_value() -> impl Strategy<Value = AnyValue> {
    prop_oneof![
        "[ab1-3.]{0,3}".prop_map(Any::StringValue),
        any::<bool>().prop_map(Any::BoolValue),
        (-2..3i64).prop_map(Any::IntValue),
        prop::sample::select(vec![0.0, 1.5, -7.0]).prop_map(Any::DoubleValue),
        prop::collection::vec(any::<u8>(), 0..3).prop_map(Any::BytesValue),
        (key(), -2..3i64).prop_map(|(key, v)| {
            let value = Some(AnyValue { value: Some(Any::IntValue(v)) });
            Any::KvlistValue(KeyValueList { values: vec![KeyValue { key, value, ..KeyValue::default() }] })
        }),
    ]
    .prop_map(|value| AnyValue { value: Some(value) })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let value =
        prop_oneof![8 => drawn_value().prop_map(Some), 1 => Just(None), 1 => Just(Some(AnyValue::default()))];
    let one = (key(), value).prop_map(|(key, value)| KeyValue { key, value, ..KeyValue::default() });
    prop::collection::vec(one, 0..5)
}

fn action() -> impl Strategy<Value = ActionArgs> {
    let verb = prop::sample::select(vec![
        Verb::Insert,
        Verb::Update,
        Verb::Upsert,
        Verb::Delete,
        Verb::Hash,
        Verb::Extract,
        Verb::Convert,
    ]);
    let value = prop_oneof![
        "[ab]{0,150}".prop_map(Value::string),
        (-2..3i64).prop_map(|v| Value::Number(Number::Int(v))),
        Just(Value::Bool(true)),
    ];
    (verb, key(), key(), value, 0..4u8).prop_map(|(action, key, from, value, how)| {
        let mut args = ActionArgs {
            key,
            value: Value::Null,
            pattern: String::new(),
            from_attribute: String::new(),
            from_context: String::new(),
            converted_type: String::new(),
            action,
        };
        match action {
            Verb::Insert | Verb::Update | Verb::Upsert => match how {
                0 => args.from_attribute = from,
                1 => args.from_context = "metadata.x".into(),
                2 => args.from_context = "client.address".into(),
                _ => args.value = value,
            },
            Verb::Delete | Verb::Hash if how == 0 => args.pattern = "^a".into(),
            Verb::Extract => args.pattern = "(?P<n>[ab])(?P<b>.)".into(),
            Verb::Convert => args.converted_type = ["string", "int", "double"][usize::from(how % 3)].into(),
            _ => {}
        }
        args
    })
}

fn filter() -> impl Strategy<Value = Option<MatchArgs>> {
    let kind = prop::sample::select(vec![MatchType::Strict, MatchType::Regexp]);
    let args = (kind, 0..9u8, key(), any::<bool>()).prop_map(|(match_type, what, key, cached)| {
        let mut args = MatchArgs {
            match_type,
            services: vec![],
            span_names: vec![],
            log_bodies: vec![],
            log_severity_texts: vec![],
            metric_names: vec![],
            span_kinds: vec![],
            regexp: cached.then_some(RegexpArgs { cache_enabled: true, cache_max_num_entries: 2 }),
            log_severity: None,
            attribute: vec![],
            resource: vec![],
            library: vec![],
        };
        let value = if match_type == MatchType::Strict {
            Value::Number(Number::Int(1))
        } else {
            Value::string("^[1a]")
        };
        match what {
            0 => args.services = vec!["a".into(), "1".into()],
            1 => args.span_names = vec!["a".into()],
            2 => args.span_kinds = vec!["SPAN_KIND_SERVER".into()],
            3 => args.log_bodies = vec!["a".into()],
            4 => args.log_severity_texts = vec!["a".into(), "b".into()],
            5 => args.log_severity = Some(SeverityArgs { min: "WARN".into(), match_undefined: cached }),
            6 => args.attribute = vec![AttributeArgs { key, value }],
            7 => args.resource = vec![AttributeArgs { key, value }],
            _ => args.library = vec![LibraryArgs { name: "a".into(), version: cached.then(|| "1".into()) }],
        }
        if what == 1 {
            args.metric_names = vec!["a".into()];
        }
        args
    });
    prop::option::of(args)
}

/// Surroundings, attributes, a short text and a number for each item.
type Drawn = (Vec<KeyValue>, String, Vec<(Vec<KeyValue>, String, u8)>);

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let item = (attributes(), "[ab]{0,2}", 0..20u8);
    prop::collection::vec((attributes(), "[ab]{0,2}", prop::collection::vec(item, 0..4)), 1..4)
}

fn around(resource: &[KeyValue], name: &str) -> (Option<Resource>, Option<InstrumentationScope>) {
    let scope = InstrumentationScope { name: name.into(), version: "1".into(), ..Default::default() };
    let resource = Resource { attributes: resource.to_vec(), ..Resource::default() };
    ((name != "b").then_some(resource), (name != "a").then_some(scope))
}

fn traces(drawn: &[Drawn]) -> ExportTraceServiceRequest {
    let resource_spans = drawn.iter().map(|(attributes, name, items)| {
        let (resource, scope) = around(attributes, name);
        let span = |(attributes, name, n): &(Vec<KeyValue>, String, u8)| Span {
            name: name.clone(),
            kind: i32::from(n % 4),
            flags: u32::from(*n),
            attributes: attributes.clone(),
            ..Span::default()
        };
        let spans = items.iter().map(span).collect();
        ResourceSpans {
            resource,
            scope_spans: vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

fn logs(drawn: &[Drawn]) -> ExportLogsServiceRequest {
    let resource_logs = drawn.iter().map(|(attributes, name, items)| {
        let (resource, scope) = around(attributes, name);
        let record = |(attributes, text, n): &(Vec<KeyValue>, String, u8)| LogRecord {
            severity_number: i32::from(*n),
            severity_text: text.clone(),
            body: Some(AnyValue { value: Some(Any::StringValue(text.clone())) }),
            attributes: attributes.clone(),
            ..LogRecord::default()
        };
        let log_records = items.iter().map(record).collect();
        ResourceLogs {
            resource,
            scope_logs: vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}

fn metrics(drawn: &[Drawn]) -> ExportMetricsServiceRequest {
    let resource_metrics = drawn.iter().map(|(attributes, name, items)| {
        let (resource, scope) = around(attributes, name);
        let metric = |(attributes, name, n): &(Vec<KeyValue>, String, u8)| {
            let attributes = attributes.clone();
            let data = match n % 4 {
                0 => Data::Gauge(Gauge {
                    data_points: vec![NumberDataPoint { attributes, ..Default::default() }; 2],
                }),
                1 => Data::Histogram(Histogram {
                    data_points: vec![HistogramDataPoint { attributes, ..Default::default() }],
                    aggregation_temporality: 2,
                }),
                2 => Data::ExponentialHistogram(ExponentialHistogram {
                    data_points: vec![ExponentialHistogramDataPoint { attributes, ..Default::default() }],
                    aggregation_temporality: 1,
                }),
                _ => Data::Summary(Summary {
                    data_points: vec![SummaryDataPoint { attributes, ..Default::default() }],
                }),
            };
            Metric { name: name.clone(), data: Some(data), ..Metric::default() }
        };
        let metrics = items.iter().map(metric).collect();
        ResourceMetrics {
            resource,
            scope_metrics: vec![ScopeMetrics { scope, metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }
    });
    ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() }
}

fn alike<S: Schematic + Edited>(message: S::Request, rules: &Rules, client: &ClientMetadata) {
    let request =
        OtlpRequest::<S>::from_wire(message.encode_to_vec().into(), S::count(&message) as u32, None);
    let mut editing = Editing::new(rules, Kind::of::<S>(), Some(client));
    let edited = edit(&request, &mut editing).expect("a request");
    let edited = edited.map(|request| request.into_message().expect("decodes"));
    let mut expected = message.clone();
    S::edit(&mut expected, rules, Some(client));
    assert_eq!(edited.unwrap_or(message), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn bytes_and_messages_are_edited_alike(
        drawn in drawn(),
        actions in prop::collection::vec(action(), 1..4),
        include in filter(), exclude in filter(),
    ) {
        let cx = BuildCx::detached("x", Services::for_tests("/nonexistent"));
        let rules = Rules {
            filter: Filter::new(include.as_ref(), exclude.as_ref(), false, false).expect("sound"),
            actions: actions.iter().map(|args| Action::new(args).expect("sound")).collect(),
            counts: ItemMetrics::new("attributes", &cx).at(MetricsLevel::None),
        };
        let client = ClientMetadata { headers: vec![("x".into(), "a".into())], peer: "[::1]:4000".into() };
        alike::<TracesSignal>(traces(&drawn), &rules, &client);
        alike::<LogsSignal>(logs(&drawn), &rules, &client);
        alike::<MetricsSignal>(metrics(&drawn), &rules, &client);
    }
}
