//! `otelcol.auth.bearer`: a token in a header.

use component::eval::{Invalid, Secret};
use component::otel::DebugMetrics;
use component::{Arguments, BuildCx, Error, Pure, Stability};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{AuthExports, Denied, Handler, Scheme, same, secret_header};

/// `otelcol.auth.bearer`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// What stands before the token; nothing does if it is empty.
    #[arg(default = "Bearer")]
    pub scheme: String,
    /// The token.
    pub token: Secret,
    /// The header that it is sent in.
    #[arg(default = "Authorization")]
    pub header: String,
    /// The component's own metrics.
    #[arg(block, no_effect = "the component has no metrics of its own")]
    pub debug_metrics: DebugMetrics,
}

/// The component.
pub struct Bearer;

impl Pure for Bearer {
    const NAME: &'static str = "otelcol.auth.bearer";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = AuthExports;

    fn evaluate(args: &Args, cx: &BuildCx) -> Result<AuthExports, Error> {
        Ok(AuthExports { handler: Handler::new(cx.id(), Scheme::Bearer(args.clone())) })
    }
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.token.is_empty() {
            return Err(Invalid::field("token", "must not be empty"));
        }
        if HeaderName::try_from(self.header.as_str()).is_err() {
            return Err(Invalid::field(
                "header",
                format!("{:?} cannot be the name of a header", self.header),
            ));
        }
        match HeaderValue::try_from(self.value()) {
            Ok(_) => Ok(()),
            Err(_) => Err(Invalid::field("token", "has characters that a header cannot have")),
        }
    }

    fn name(&self) -> HeaderName {
        HeaderName::try_from(self.header.as_str()).expect("validated")
    }

    fn value(&self) -> String {
        match self.scheme.as_str() {
            "" => self.token.reveal().to_owned(),
            scheme => format!("{scheme} {}", self.token.reveal()),
        }
    }

    pub(super) fn sign(&self, headers: &mut HeaderMap) -> Result<(), net::Error> {
        let name = self.name();
        let value = secret_header(&name, &self.value())?;
        headers.insert(name, value);
        Ok(())
    }

    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let Some(given) = headers.get(self.name()) else {
            return Err(Denied::Unauthenticated("no token was sent"));
        };
        match same(given.as_bytes(), self.value().as_bytes()) {
            true => Ok(()),
            false => Err(Denied::Unauthenticated("the token is not the right one")),
        }
    }
}
