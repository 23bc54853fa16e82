//! Spans of version 2 as OTLP, as the collector's translator has them.
//!
//! A span's service, and those of its tags that describe a resource, are its resource; spans with the same ones share
//! it. Links and events that OpenTelemetry's exporter has folded into tags and annotations are unfolded.

use std::borrow::Cow;
use std::net::IpAddr;

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::trace::v1::Span as OtlpSpan;
use signal::otlp::proto::trace::v1::span::{Event, Link, SpanKind};

use super::json::V2Span;
use super::tags::{self, NO_START};
use super::{Endpoint, Error, Options, hex};
use crate::spans::{ATTRIBUTE, Converted, Dropped, Groups, Meter, SPAN, attribute, take_text, text, unique};

/// Which attribute the name of the service was, where it was not `service.name`.
const NAME_SOURCE: &str = "otlp.service.name.source";
/// Links that are looked for in tags.
const MOST_LINKS: usize = 128;

/// Names of tags that describe a resource, by OpenTelemetry's conventions; sorted.
const RESOURCE: [&str; 85] = [
    "aws.ecs.cluster.arn",
    "aws.ecs.container.arn",
    "aws.ecs.launchtype",
    "aws.ecs.task.arn",
    "aws.ecs.task.family",
    "aws.ecs.task.revision",
    "aws.eks.cluster.arn",
    "aws.log.group.arns",
    "aws.log.group.names",
    "aws.log.stream.arns",
    "aws.log.stream.names",
    "cloud.account.id",
    "cloud.availability_zone",
    "cloud.platform",
    "cloud.provider",
    "cloud.region",
    "container.id",
    "container.image.name",
    "container.image.tag",
    "container.name",
    "container.runtime",
    "deployment.environment",
    "deployment.environment.name",
    "device.id",
    "device.model.identifier",
    "device.model.name",
    "faas.id",
    "faas.instance",
    "faas.max_memory",
    "faas.name",
    "faas.version",
    "host.arch",
    "host.id",
    "host.image.id",
    "host.image.name",
    "host.image.version",
    "host.name",
    "host.type",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.cronjob.name",
    "k8s.cronjob.uid",
    "k8s.daemonset.name",
    "k8s.daemonset.uid",
    "k8s.deployment.name",
    "k8s.deployment.uid",
    "k8s.job.name",
    "k8s.job.uid",
    "k8s.namespace.name",
    "k8s.node.name",
    "k8s.node.uid",
    "k8s.pod.name",
    "k8s.pod.uid",
    "k8s.replicaset.name",
    "k8s.replicaset.uid",
    "k8s.statefulset.name",
    "k8s.statefulset.uid",
    "opencensus.exporterversion",
    "opencensus.resourcetype",
    "opencensus.starttime",
    "os.description",
    "os.name",
    "os.type",
    "os.version",
    "process.command",
    "process.command_args",
    "process.command_line",
    "process.executable.name",
    "process.executable.path",
    "process.owner",
    "process.pid",
    "process.runtime.description",
    "process.runtime.name",
    "process.runtime.version",
    "service.instance.id",
    "service.name",
    "service.namespace",
    "service.version",
    "telemetry.auto.version",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
    "webengine.description",
    "webengine.name",
    "webengine.version",
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    None,
    Client,
    Server,
    Producer,
    Consumer,
}

/// A span; times are microseconds, 0 where they are not told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Span<'a> {
    pub(super) trace: u128,
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) kind: Kind,
    pub(super) name: Cow<'a, str>,
    pub(super) timestamp: u64,
    pub(super) duration: u64,
    pub(super) local: Option<Endpoint<'a>>,
    pub(super) remote: Option<Endpoint<'a>>,
    pub(super) annotations: Vec<(u64, Cow<'a, str>)>,
    pub(super) tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) debug: bool,
    pub(super) shared: bool,
}

/// Attributes of a resource, in order.
type Resource = Vec<(String, String)>;

pub(super) struct Translation {
    options: Options,
    groups: Groups<Resource>,
    dropped: Dropped,
    spans: usize,
}

impl Translation {
    pub(super) fn new(options: Options) -> Self {
        Self { options, groups: Groups::new(), dropped: Dropped::default(), spans: 0 }
    }

    pub(super) fn finish(self, meter: &Meter) -> Converted {
        self.groups.finish(self.dropped, meter)
    }

    pub(super) fn json(&mut self, json: V2Span<'_>, meter: &mut Meter) -> Result<(), Error> {
        let place = self.spans + 1;
        let id =
            |what, text: &str, most| hex(text, most).map_err(|found| Error::Id { span: place, what, found });
        let unsigned = |number: Option<i64>| u64::try_from(number.unwrap_or(0)).unwrap_or(0);
        let parent = &*json.parent_id.0;
        let span = Span {
            trace: id("the trace ID", &json.trace_id.0, 32)?,
            id: id("the span ID", &json.id.0, 16)? as u64,
            // Some clients give a root the parent 0.
            parent: match parent.bytes().all(|b| b == b'0') {
                true => 0,
                false => id("the parent's ID", parent, 16)? as u64,
            },
            kind: match json.kind.0.to_ascii_uppercase().as_str() {
                "CLIENT" => Kind::Client,
                "SERVER" => Kind::Server,
                "PRODUCER" => Kind::Producer,
                "CONSUMER" => Kind::Consumer,
                _ => Kind::None,
            },
            name: json.name.0,
            timestamp: unsigned(json.timestamp.0),
            duration: unsigned(json.duration.0),
            local: json.local_endpoint.map(Endpoint::from),
            remote: json.remote_endpoint.map(Endpoint::from),
            annotations: json
                .annotations
                .unwrap_or_default()
                .into_iter()
                .map(|a| (unsigned(a.timestamp.0), a.value.0))
                .collect(),
            tags: json.tags.0,
            debug: json.debug == Some(true),
            shared: json.shared == Some(true),
        };
        self.span(span, meter)
    }

    pub(super) fn span(&mut self, span: Span<'_>, meter: &mut Meter) -> Result<(), Error> {
        self.spans += 1;
        let missing = |what| Error::Id { span: self.spans, what, found: "missing" };
        if span.trace == 0 {
            return Err(missing("the trace ID"));
        }
        if span.id == 0 {
            return Err(missing("the span ID"));
        }
        self.charge(&span, meter)?;
        let mut attributes: Vec<KeyValue> =
            span.tags.iter().map(|(key, value)| text(key.clone(), value.clone())).collect();
        self.dropped.add("tag", "repeated", unique(&mut attributes));
        let resource = resource(span.local.as_ref(), &mut attributes);
        let scope = scope(&mut attributes);
        let place = self.groups.resource(resource, |resource| {
            resource.iter().map(|(key, value)| text(key.clone(), value.clone())).collect()
        });
        let span = self.otlp(span, attributes);
        self.groups.push(place, scope, span);
        Ok(())
    }

    fn charge(&self, span: &Span<'_>, meter: &mut Meter) -> Result<(), Error> {
        let tags: usize = span.tags.iter().map(|(k, v)| ATTRIBUTE + k.len() + v.len()).sum();
        let annotations: usize = span.annotations.iter().map(|(_, v)| size_of::<Event>() + v.len()).sum();
        let endpoints = 8 * ATTRIBUTE;
        Ok(meter.spend(SPAN + span.name.len() + tags + annotations + endpoints)?)
    }

    fn otlp(&mut self, span: Span<'_>, mut attributes: Vec<KeyValue>) -> OtlpSpan {
        let kind = kind(span.kind, &mut attributes);
        let trace_state = take_text(&mut attributes, "w3c.tracestate").unwrap_or_default();
        let status = tags::status(&mut attributes);
        let links = links(&mut attributes);
        if self.options.parse_string_tags {
            attributes.iter_mut().for_each(parse);
        }
        endpoints(span.local.as_ref(), span.remote.as_ref(), &mut attributes);
        if span.timestamp == 0 {
            attributes.push(attribute(NO_START, Value::BoolValue(true)));
        }
        self.dropped.add("tag", "repeated", unique(&mut attributes));
        self.dropped.add("debug flag", "no place in OTLP", span.debug.into());
        self.dropped.add("shared flag", "no place in OTLP", span.shared.into());
        let parent = Some(span.parent).filter(|parent| ![0, span.id].contains(parent));
        let start = span.timestamp.saturating_mul(1000);
        OtlpSpan {
            trace_id: span.trace.to_be_bytes().to_vec(),
            span_id: span.id.to_be_bytes().to_vec(),
            trace_state,
            parent_span_id: parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            name: span.name.into_owned(),
            kind: kind.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: start.saturating_add(span.duration.saturating_mul(1000)),
            attributes,
            events: span.annotations.iter().map(|(micros, value)| event(*micros, value)).collect(),
            links,
            status,
            ..OtlpSpan::default()
        }
    }
}

fn parse(tag: &mut KeyValue) {
    if let Some(any) = &mut tag.value
        && let Some(Value::StringValue(text)) = &mut any.value
    {
        any.value = Some(tags::value(std::mem::take(text), true));
    }
}

fn is_resource(key: &str) -> bool {
    RESOURCE.binary_search(&key).is_ok()
}

fn resource(local: Option<&Endpoint<'_>>, attributes: &mut Vec<KeyValue>) -> Resource {
    let source = take_text(attributes, NAME_SOURCE);
    let mut resource: Resource = Vec::new();
    for tag in attributes.extract_if(.., |tag| is_resource(&tag.key)) {
        let value = crate::spans::as_text(&tag).unwrap_or_default().to_owned();
        resource.push((tag.key, value));
    }
    let service = local.map(|l| &*l.service).filter(|s| !s.is_empty() && *s != "OTLPResourceNoServiceName");
    if let Some(service) = service {
        let key = source.filter(|s| !s.is_empty()).unwrap_or_else(|| "service.name".to_owned());
        resource.retain(|(k, _)| *k != key);
        resource.push((key, service.to_owned()));
    }
    resource.sort();
    resource
}

/// The instrumentation that made a span; OpenTelemetry's SDKs write both names of it.
fn scope(attributes: &mut Vec<KeyValue>) -> (String, String) {
    let mut either = |new: &str, old: &str| {
        let old = take_text(attributes, old);
        take_text(attributes, new).or(old).unwrap_or_default()
    };
    let name = either("otel.scope.name", "otel.library.name");
    (name, either("otel.scope.version", "otel.library.version"))
}

fn kind(kind: Kind, attributes: &mut Vec<KeyValue>) -> SpanKind {
    match kind {
        Kind::Client => SpanKind::Client,
        Kind::Server => SpanKind::Server,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
        Kind::None => match take_text(attributes, "span.kind").as_deref() {
            Some("client") => SpanKind::Client,
            Some("server") => SpanKind::Server,
            Some("producer") => SpanKind::Producer,
            Some("consumer") => SpanKind::Consumer,
            Some("internal") => SpanKind::Internal,
            _ => SpanKind::Unspecified,
        },
    }
}

/// An address in its usual form, where it is one.
fn address(text: &str) -> String {
    text.parse::<IpAddr>().map_or_else(|_| text.to_owned(), |ip| ip.to_string())
}

fn endpoints(local: Option<&Endpoint<'_>>, remote: Option<&Endpoint<'_>>, attributes: &mut Vec<KeyValue>) {
    if let Some(service) = remote.map(|r| &*r.service).filter(|s| !s.is_empty()) {
        attributes.push(text("peer.service", service));
    }
    let names = [(local, "net.host.ip", "net.host.port"), (remote, "net.peer.ip", "net.peer.port")];
    for (endpoint, ip, port) in names {
        let Some(endpoint) = endpoint else { continue };
        for given in [&endpoint.ipv4, &endpoint.ipv6].into_iter().filter(|ip| !ip.is_empty()) {
            attributes.push(text(ip, address(given)));
        }
        if endpoint.port > 0 {
            attributes.push(attribute(port, Value::IntValue(endpoint.port.into())));
        }
    }
}

/// `0123…|4567…|state|{attributes}|dropped` in `otlp.link.0` and on. What does not look so stays a tag.
fn links(attributes: &mut Vec<KeyValue>) -> Vec<Link> {
    let mut links = Vec::new();
    for number in 0..MOST_LINKS {
        let key = format!("otlp.link.{number}");
        let Some(place) = attributes.iter().position(|a| a.key == key) else { break };
        if let Some(link) = crate::spans::as_text(&attributes[place]).and_then(link) {
            links.push(link);
            attributes.remove(place);
        }
    }
    links
}

fn link(folded: &str) -> Option<Link> {
    let mut parts = folded.splitn(4, '|');
    let [trace, span, state, rest] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let (json, dropped) = rest.rsplit_once('|')?;
    let id = |text: &str, digits: usize| (text.len() == digits).then(|| hex(text, digits).ok()).flatten();
    Some(Link {
        trace_id: id(trace, 32)?.to_be_bytes().to_vec(),
        span_id: (id(span, 16)? as u64).to_be_bytes().to_vec(),
        trace_state: state.to_owned(),
        attributes: unfolded(json)?,
        dropped_attributes_count: dropped.parse().ok()?,
        ..Link::default()
    })
}

/// `name|{attributes}|dropped`, or a name that may hold anything.
fn event(micros: u64, value: &str) -> Event {
    let folded = || {
        let (name, rest) = value.split_once('|')?;
        let (json, dropped) = rest.rsplit_once('|')?;
        Some((name.to_owned(), unfolded(json)?, dropped.parse().ok()?))
    };
    let (name, attributes, dropped_attributes_count) =
        folded().unwrap_or_else(|| (value.to_owned(), Vec::new(), 0));
    let time_unix_nano = micros.saturating_mul(1000);
    Event { time_unix_nano, name, attributes, dropped_attributes_count }
}

/// Attributes in JSON; only the types that the exporter writes.
fn unfolded(json: &str) -> Option<Vec<KeyValue>> {
    let map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
    let value = |value: serde_json::Value| {
        Some(match value {
            serde_json::Value::String(text) => Value::StringValue(text),
            serde_json::Value::Bool(flag) => Value::BoolValue(flag),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(int) => Value::IntValue(int),
                None => Value::DoubleValue(number.as_f64()?),
            },
            other => Value::StringValue(other.to_string()),
        })
    };
    map.into_iter().map(|(key, v)| Some(attribute(key, value(v)?))).collect()
}
