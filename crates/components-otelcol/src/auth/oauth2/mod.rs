//! `otelcol.auth.oauth2`: bearer tokens from a token endpoint.
//!
//! A pure function of its arguments; what asks for tokens and keeps them is made with the exporter that uses the
//! handler. Clients only, as upstream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use component::eval::{Invalid, Number, Secret, Value};
use component::otel::DebugMetrics;
use component::{Arguments, BuildCx, Error, Pure, Stability};
use net::Credential;
use net::oauth2::{BearerTokens, Proof, TokenRequest};
use net::sign::Sign;
use net::sign::jwt::Algorithm;

use super::{AuthExports, Handler, Scheme};
use crate::exporter::args::ClientTls;

const CLIENT_CREDENTIALS: &str = "client_credentials";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// `otelcol.auth.oauth2`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Client ID.
    #[arg(default)]
    pub client_id: String,
    /// File with the client ID, which wins; read again for every token.
    #[arg(default)]
    pub client_id_file: String,
    /// Client secret.
    #[arg(default)]
    pub client_secret: Secret,
    /// File with the client secret, which wins; read again for every token.
    #[arg(default)]
    pub client_secret_file: String,
    /// `kid` of signed assertions.
    #[arg(default)]
    pub client_certificate_key_id: String,
    /// RSA key (PEM) that assertions are signed with.
    #[arg(default)]
    pub client_certificate_key: Secret,
    /// File with that key, which wins; read again for every token.
    #[arg(default)]
    pub client_certificate_key_file: String,
    /// `client_credentials` proves by the secret, `urn:ietf:params:oauth:grant-type:jwt-bearer` by signed assertions.
    #[arg(default = "client_credentials")]
    pub grant_type: String,
    /// How assertions are signed: `RS256`, `RS384` or `RS512`.
    #[arg(default = "RS256")]
    pub signature_algorithm: String,
    /// `iss` of assertions; the client ID otherwise.
    #[arg(default)]
    pub iss: String,
    /// `aud` of assertions; `token_url` otherwise.
    #[arg(default)]
    pub audience: String,
    /// Further claims of assertions; they win.
    #[arg(default)]
    pub claims: BTreeMap<String, Value>,
    /// Where tokens come from.
    pub token_url: String,
    /// Further parameters of the token request.
    #[arg(default)]
    pub endpoint_params: BTreeMap<String, Vec<String>>,
    /// Scopes to ask for.
    #[arg(default)]
    pub scopes: Vec<String>,
    /// How long an answer may take; 0 for 30 seconds.
    #[arg(default)]
    pub timeout: Duration,
    /// How long before its end a token is not used any more; 0 for ten seconds.
    #[arg(default)]
    pub expiry_buffer: Duration,
    /// TLS of token requests.
    #[arg(block)]
    pub tls: ClientTls,
    /// The component's own metrics.
    #[arg(block, no_effect = "the component has no metrics of its own")]
    pub debug_metrics: DebugMetrics,
}

/// The component.
pub struct OAuth2;

impl Pure for OAuth2 {
    const NAME: &'static str = "otelcol.auth.oauth2";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = AuthExports;

    fn evaluate(args: &Args, cx: &BuildCx) -> Result<AuthExports, Error> {
        let tokens = args.tokens(cx.services().user_agent());
        tokens.map_err(|e| Error::argument("token_url", e.to_string()))?;
        Ok(AuthExports { handler: Handler::new(cx.id(), Scheme::OAuth2(Box::new(args.clone()))) })
    }
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let refuse = |field, message: &str| Err(Invalid::field(field, message.to_owned()));
        let by_assertion = match self.grant_type.as_str() {
            CLIENT_CREDENTIALS | "" => false,
            JWT_BEARER => true,
            _ => {
                let message = format!("must be {CLIENT_CREDENTIALS} or {JWT_BEARER}");
                return Err(Invalid::field("grant_type", message));
            }
        };
        if self.token_url.is_empty() {
            return refuse("token_url", "must not be empty");
        }
        if self.client_id.is_empty() && self.client_id_file.is_empty() {
            return refuse("client_id", "is needed, or client_id_file");
        }
        let has_secret = !self.client_secret.is_empty() || !self.client_secret_file.is_empty();
        if !by_assertion && !has_secret {
            return refuse("client_secret", "is needed, or client_secret_file");
        }
        let has_key = !self.client_certificate_key.is_empty() || !self.client_certificate_key_file.is_empty();
        if by_assertion && !has_key {
            return refuse("client_certificate_key", "is needed, or client_certificate_key_file");
        }
        if Algorithm::named(&self.signature_algorithm).is_none() {
            return refuse("signature_algorithm", "must be RS256, RS384 or RS512");
        }
        for (name, value) in &self.claims {
            json(value).map_err(|what| Invalid::field("claims", format!("{name:?} holds {what}")))?;
        }
        Ok(())
    }

    /// What asks for tokens.
    fn tokens(&self, user_agent: String) -> Result<BearerTokens, net::Error> {
        let tls = if self.tls.is_off() { component::eval::Arguments::defaults() } else { self.tls.clone() };
        let proof = match self.grant_type.as_str() {
            JWT_BEARER => Proof::Assertion {
                key: Credential::from_args(&self.client_certificate_key, &self.client_certificate_key_file),
                key_id: self.client_certificate_key_id.clone(),
                algorithm: Algorithm::named(&self.signature_algorithm).expect("validated"),
                issuer: self.iss.clone(),
                audience: self.audience.clone(),
                claims: self
                    .claims
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), json(value).ok()?)))
                    .collect(),
            },
            _ => Proof::Secret(Credential::from_args(&self.client_secret, &self.client_secret_file)),
        };
        BearerTokens::new(TokenRequest {
            token_url: self.token_url.clone(),
            client_id: Credential::from_args(&self.client_id.clone().into(), &self.client_id_file),
            proof,
            scopes: self.scopes.clone(),
            params: self.endpoint_params.clone(),
            timeout: self.timeout,
            early: self.expiry_buffer,
            tls: ClientTls::config(&tls),
            tls_extras: tls.extras(),
            user_agent,
        })
    }

    /// Signs requests with tokens, which it keeps.
    pub(super) fn signer(&self) -> Option<Arc<dyn Sign>> {
        let agent = format!("Ferroalloy/{}", env!("CARGO_PKG_VERSION"));
        // Made once already, when the component was.
        self.tokens(agent).ok().map(|tokens| Arc::new(tokens) as Arc<dyn Sign>)
    }
}

fn json(value: &Value) -> Result<serde_json::Value, &'static str> {
    Ok(match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(Number::Int(number)) => (*number).into(),
        Value::Number(Number::Uint(number)) => (*number).into(),
        Value::Number(Number::Float(number)) => (*number).into(),
        Value::String(text) => (&**text).into(),
        Value::Array(items) => items.iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Object(map) => {
            let entry = |(name, value): (&String, &Value)| Ok::<_, &str>((name.clone(), json(value)?));
            map.iter().map(entry).collect::<Result<serde_json::Map<_, _>, _>>()?.into()
        }
        Value::Secret(_) | Value::OptionalSecret(_) => {
            return Err("a secret, which would be readable in the assertion");
        }
        Value::Function(_) | Value::Capsule(_) => return Err("what is no JSON"),
        Value::Unknown(_) => serde_json::Value::Null,
    })
}
