//! `otelcol.auth.headers`: headers of requests, set or taken from the client whose data is sent on.

use component::eval::{Invalid, OptionalSecret};
use component::otel::DebugMetrics;
use component::{ArgEnum, Arguments, BuildCx, Error, Pure, Stability};
use http::{HeaderMap, HeaderName, HeaderValue};
use signal::otlp::ClientMetadata;

use super::{AuthExports, Handler, Scheme, secret_header};

/// `otelcol.auth.headers`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// The headers, in the order in which they are applied.
    #[arg(block)]
    pub header: Vec<Header>,
    /// The component's own metrics.
    #[arg(block, no_effect = "the component has no metrics of its own")]
    pub debug_metrics: DebugMetrics,
}

/// One header.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Header {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Option<OptionalSecret>,
    /// Take the value from this header of the client, where the receiver has `include_metadata`.
    #[arg(default)]
    pub from_context: String,
    /// Not supported: take the value from what a receiver's authentication knows of the client.
    #[arg(default)]
    pub from_attribute: String,
    /// What becomes of a header of that name.
    #[arg(default = Action::Upsert, code_type = "string(Action)")]
    pub action: Action,
}

/// What becomes of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Action {
    /// It is set if it is not there.
    Insert,
    /// It is set if it is there.
    Update,
    /// It is set.
    #[arg(default)]
    Upsert,
    /// It is removed.
    Delete,
}

/// The component.
pub struct Headers;

impl Pure for Headers {
    const NAME: &'static str = "otelcol.auth.headers";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = AuthExports;

    fn evaluate(args: &Args, cx: &BuildCx) -> Result<AuthExports, Error> {
        Ok(AuthExports { handler: Handler::new(cx.id(), Scheme::Headers(args.clone())) })
    }
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        match self.header.is_empty() {
            true => Err(Invalid::field("header", "at least one header is needed")),
            false => Ok(()),
        }
    }

    /// The headers that the configuration itself gives.
    pub(super) fn sign(&self, headers: &mut HeaderMap) -> Result<(), net::Error> {
        for header in self.header.iter().filter(|header| header.from_context.is_empty()) {
            let name = header.name();
            let value = match &header.value {
                Some(value) => secret_header(&name, value.reveal())?,
                None => HeaderValue::from_static(""),
            };
            header.action.apply(name, value, headers);
        }
        Ok(())
    }

    pub(super) fn client_headers(
        &self,
        client: &ClientMetadata,
    ) -> Result<Vec<(HeaderName, String)>, String> {
        let mut found = Vec::new();
        for header in self.header.iter().filter(|header| !header.from_context.is_empty()) {
            let wanted = header.from_context.to_ascii_lowercase();
            let mut values = client.values(&wanted);
            match (values.next(), values.next()) {
                (None, _) => {}
                (Some(value), None) => found.push((header.name(), value.to_owned())),
                (Some(_), Some(_)) => {
                    return Err(format!(
                        "the client has sent the header {wanted} more than once: which one is to be sent on is not clear"
                    ));
                }
            }
        }
        Ok(found)
    }

    pub(super) fn apply(&self, values: &[(HeaderName, HeaderValue)], into: &mut HeaderMap) {
        for header in self.header.iter().filter(|header| !header.from_context.is_empty()) {
            let name = header.name();
            if let Some((_, value)) = values.iter().find(|(n, _)| *n == name) {
                header.action.apply(name, value.clone(), into);
            }
        }
        // `delete` needs no value.
        let gone = self.header.iter().filter(|h| h.action == Action::Delete && !h.from_context.is_empty());
        gone.for_each(|header| drop(into.remove(header.name())));
    }
}

impl Header {
    fn validate(&self) -> Result<(), Invalid> {
        if HeaderName::try_from(self.key.as_str()).is_err() {
            return Err(Invalid::field("key", format!("{:?} cannot be the name of a header", self.key)));
        }
        if !self.from_attribute.is_empty() {
            let message = "is not supported: receivers know nothing of their clients but what they send; use from_context";
            return Err(Invalid::field("from_attribute", message));
        }
        let value = self.value.as_ref().map(|value| value.reveal());
        match (value, self.from_context.as_str(), self.action) {
            (Some(_), context, _) if !context.is_empty() => {
                Err(Invalid::field("from_context", "value and from_context exclude each other"))
            }
            (None, "", action) if action != Action::Delete => {
                Err(Invalid::field("key", "a header needs a value or from_context"))
            }
            (Some(value), ..) if HeaderValue::try_from(value).is_err() => {
                Err(Invalid::field("value", "has characters that a header cannot have"))
            }
            _ => Ok(()),
        }
    }

    fn name(&self) -> HeaderName {
        HeaderName::try_from(self.key.as_str()).expect("validated")
    }
}

impl Action {
    fn apply(self, name: HeaderName, value: HeaderValue, headers: &mut HeaderMap) {
        let is_there = headers.contains_key(&name);
        match self {
            Self::Insert if is_there => {}
            Self::Update if !is_there => {}
            Self::Insert | Self::Update | Self::Upsert => drop(headers.insert(name, value)),
            Self::Delete => drop(headers.remove(name)),
        }
    }
}
