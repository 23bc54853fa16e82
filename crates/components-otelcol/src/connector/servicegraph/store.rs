//! Spans that wait for their other half.
//!
//! The caller's span and the called service's span share an ID: the one's own is the other's parent.

use std::collections::BTreeMap;
use std::time::Duration;

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::trace::v1::span::SpanKind;
use signal::otlp::proto::trace::v1::status::StatusCode;
use tokio::time::Instant;
use wire::proto;

use super::Args;
use crate::connector::spans::{self, Attribute, Memo, Span, find, utf8};
use crate::streams::Identity;
use crate::streams::map::ByIdentity;
use crate::value;

/// What is between two services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Connection {
    #[default]
    Unknown,
    MessagingSystem,
    Database,
    VirtualNode,
}

impl Connection {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::MessagingSystem => "messaging_system",
            Self::Database => "database",
            Self::VirtualNode => "virtual_node",
        }
    }
}

/// One call from a service to another, or what is known of it yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Edge {
    pub(super) client: String,
    pub(super) server: String,
    pub(super) connection: Connection,
    pub(super) client_seconds: f64,
    pub(super) server_seconds: f64,
    pub(super) failed: bool,
    /// `client_…` and `server_…`.
    pub(super) dimensions: BTreeMap<String, String>,
    /// Which side sends no spans: `client`, `server`, or nothing.
    pub(super) virtual_node: &'static str,
    /// What the caller says of whom it calls.
    pub(super) peer: Option<String>,
    /// The called span has no parent.
    pub(super) is_root: bool,
    /// Its place in the order of arrival.
    pub(super) number: u64,
}

impl Edge {
    fn is_complete(&self) -> bool {
        !self.client.is_empty() && !self.server.is_empty()
    }
}

/// What has happened since somebody looked.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) dropped: u64,
    pub(super) new: u64,
    pub(super) expired: u64,
}

/// Waiting spans.
pub(super) struct Store {
    max_items: usize,
    ttl: Duration,
    dimensions: Vec<String>,
    databases: Vec<String>,
    peers: Vec<String>,
    edges: ByIdentity<Edge>,
    /// In the order of their arrival, which is that of their end.
    order: BTreeMap<u64, (Instant, Identity)>,
    arrivals: u64,
    known: Memo<Known>,
    pub(super) counts: Counts,
}

/// A resource.
struct Known {
    service: Option<String>,
    attributes: Vec<KeyValue>,
}

impl Store {
    pub(super) fn new(args: &Args) -> Self {
        Self {
            max_items: usize::try_from(args.store.max_items).unwrap_or(usize::MAX),
            ttl: args.store.ttl,
            dimensions: args.dimensions.clone(),
            databases: args.database_name_attributes.clone(),
            peers: args.virtual_node_peer_attributes.clone(),
            edges: ByIdentity::default(),
            order: BTreeMap::new(),
            arrivals: 0,
            known: Memo::default(),
            counts: Counts::default(),
        }
    }

    /// Spans that wait.
    pub(super) fn len(&self) -> usize {
        self.edges.len()
    }

    /// Takes the spans of a serialised request; `complete` is given each edge that both halves are known of.
    pub(super) fn take(
        &mut self,
        request: &[u8],
        now: Instant,
        mut complete: impl FnMut(Edge),
    ) -> Result<(), proto::Error> {
        for resource in spans::resources(request) {
            let resource = resource?;
            let known = self.known.get(resource.resource, |resource| {
                let service = resource.attributes.iter().find(|a| a.key == "service.name");
                let service = service.map(|a| value::text(a.value.as_ref()));
                Known { service, attributes: resource.attributes }
            })?;
            let Some(service) = known.service.as_ref().filter(|service| !service.is_empty()) else {
                continue;
            };
            for (_, scope_spans) in resource.scopes() {
                for span in spans::spans(scope_spans) {
                    let span = Span::read(span?)?;
                    self.span(service, &known.attributes, &span, now, &mut complete)?;
                }
            }
        }
        Ok(())
    }

    fn span(
        &mut self,
        service: &str,
        resource: &[KeyValue],
        span: &Span<'_>,
        now: Instant,
        complete: &mut impl FnMut(Edge),
    ) -> Result<(), proto::Error> {
        let kind = SpanKind::try_from(span.kind).unwrap_or_default();
        let (is_client, id) = match kind {
            SpanKind::Client | SpanKind::Producer => (true, span.span_id),
            SpanKind::Server | SpanKind::Consumer => (false, span.parent_id),
            SpanKind::Internal | SpanKind::Unspecified => return Ok(()),
        };
        let key = Identity::of_bytes(&[span.trace_id, &[0], id].concat());
        let waiting = self.edges.remove(&key);
        let is_new = waiting.is_none();
        let mut edge = waiting.unwrap_or_default();
        edge.failed |= span.status == StatusCode::Error as i32;
        if matches!(kind, SpanKind::Producer | SpanKind::Consumer) {
            edge.connection = Connection::MessagingSystem;
        } else if edge.connection != Connection::MessagingSystem {
            edge.connection = Connection::Unknown;
        }
        let seconds = span.nanos() as f64 / 1e9;
        let side = if is_client {
            self.client(&mut edge, service, seconds, resource, span)?;
            "client"
        } else {
            (edge.server, edge.server_seconds) = (service.to_string(), seconds);
            edge.is_root = id.iter().all(|byte| *byte == 0);
            "server"
        };
        for name in &self.dimensions {
            if let Some(value) = either(name, resource, &span.attributes)? {
                edge.dimensions.insert(format!("{side}_{name}"), value);
            }
        }
        if edge.is_complete() {
            self.order.remove(&edge.number);
            self.counts.new += u64::from(is_new);
            complete(edge);
            return Ok(());
        }
        if !is_new {
            self.edges.insert(key, edge);
            return Ok(());
        }
        if self.edges.len() >= self.max_items {
            // Those whose time is over make room.
            self.counts.expired += self.expire(now, &mut *complete);
        }
        if self.edges.len() >= self.max_items {
            self.counts.dropped += 1;
            return Ok(());
        }
        self.counts.new += 1;
        self.arrivals += 1;
        edge.number = self.arrivals;
        self.order.insert(edge.number, (now + self.ttl, key));
        self.edges.insert(key, edge);
        Ok(())
    }

    fn client(
        &self,
        edge: &mut Edge,
        service: &str,
        seconds: f64,
        resource: &[KeyValue],
        span: &Span<'_>,
    ) -> Result<(), proto::Error> {
        (edge.client, edge.client_seconds) = (service.to_string(), seconds);
        for name in &self.peers {
            if let Some(found) = find(&span.attributes, name) {
                edge.peer = Some(text(found)?);
                break;
            }
        }
        for name in &self.databases {
            if let Some(database) = either(name, resource, &span.attributes)? {
                // A database sends no spans.
                edge.connection = Connection::Database;
                (edge.server, edge.server_seconds) = (database, seconds);
                break;
            }
        }
        Ok(())
    }

    /// Ends the waiting of spans whose time is over; `complete` is given the edges to and from services that send no spans.
    /// Answers how many have waited in vain.
    pub(super) fn expire(&mut self, now: Instant, mut complete: impl FnMut(Edge)) -> u64 {
        let mut expired = 0;
        while let Some(first) = self.order.first_entry()
            && first.get().0 <= now
        {
            let (_, key) = first.remove();
            let Some(mut edge) = self.edges.remove(&key) else { continue };
            expired += 1;
            if self.peers.is_empty() {
                continue;
            }
            edge.connection = Connection::VirtualNode;
            if edge.client.is_empty() && edge.is_root {
                (edge.client, edge.virtual_node) = ("user".to_string(), "client");
                complete(edge);
            } else if edge.server.is_empty() {
                edge.server = edge.peer.take().unwrap_or_else(|| "unknown".to_string());
                edge.virtual_node = "server";
                complete(edge);
            }
        }
        expired
    }
}

fn text(attribute: Attribute<'_>) -> Result<String, proto::Error> {
    let mut out = Vec::new();
    attribute.text(&mut out)?;
    Ok(utf8(&out))
}

/// From the resource, else from the span.
fn either(name: &str, resource: &[KeyValue], span: &[Attribute<'_>]) -> Result<Option<String>, proto::Error> {
    if let Some(found) = resource.iter().find(|a| a.key == name) {
        return Ok(Some(value::text(found.value.as_ref())));
    }
    find(span, name).map(text).transpose()
}
