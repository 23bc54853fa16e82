//! The argument set of HTTP clients, shared by everything that fetches or posts.

use std::collections::BTreeMap;

use component::Arguments;
use component::eval::{Invalid, Secret};
use url::Url;

use super::tls::{TlsConfigArgs, exclusive};
use crate::proxy::ProxyRules;

/// How to reach an HTTP server and who to be there.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct HttpClientArgs {
    /// Token sent as `Authorization: Bearer …`.
    #[arg(default)]
    pub bearer_token: Secret,
    /// File with that token; read again for every request.
    #[arg(default)]
    pub bearer_token_file: String,
    /// Proxy for all requests: `http`, `https`, `socks5` or `socks5h`.
    #[arg(code_type = "string(URL)")]
    pub proxy_url: Option<String>,
    /// Hosts, domains, addresses and CIDR ranges to reach without the proxy, separated by commas.
    #[arg(default)]
    pub no_proxy: String,
    /// Takes the proxy from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    #[arg(default)]
    pub proxy_from_environment: bool,
    /// Headers for the proxy itself, sent with `CONNECT`.
    #[arg(default)]
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
    /// Follows redirects, at most ten. Credentials are not sent to another host.
    #[arg(default = true)]
    pub follow_redirects: bool,
    /// Offers HTTP/2 to TLS servers.
    #[arg(default = true)]
    pub enable_http2: bool,
    /// Headers sent with every request.
    #[arg(default)]
    pub http_headers: BTreeMap<String, Vec<Secret>>,
    /// User name and password.
    #[arg(block)]
    pub basic_auth: Option<BasicAuth>,
    /// Another scheme of the `Authorization` header.
    #[arg(block)]
    pub authorization: Option<Authorization>,
    /// OAuth 2.0 client credentials.
    #[arg(block)]
    pub oauth2: Option<OAuth2Args>,
    /// TLS.
    #[arg(block, default)]
    pub tls_config: TlsConfigArgs,
}

impl Default for HttpClientArgs {
    fn default() -> Self {
        Self {
            bearer_token: Secret::default(),
            bearer_token_file: String::new(),
            proxy_url: None,
            no_proxy: String::new(),
            proxy_from_environment: false,
            proxy_connect_header: BTreeMap::new(),
            follow_redirects: true,
            enable_http2: true,
            http_headers: BTreeMap::new(),
            basic_auth: None,
            authorization: None,
            oauth2: None,
            tls_config: TlsConfigArgs::default(),
        }
    }
}

/// `Authorization: Basic …`.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct BasicAuth {
    /// User name.
    #[arg(default)]
    pub username: String,
    /// Password.
    #[arg(default)]
    pub password: Secret,
    /// File with the password; read again for every request.
    #[arg(default)]
    pub password_file: String,
}

/// `Authorization: <type> <credentials>`.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Authorization {
    /// The scheme; `Bearer` where it is empty.
    #[arg(default)]
    pub r#type: String,
    /// What follows the scheme.
    #[arg(default)]
    pub credentials: Secret,
    /// File with what follows the scheme; read again for every request.
    #[arg(default)]
    pub credentials_file: String,
}

/// OAuth 2.0 client credentials (RFC 6749, section 4.4).
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct OAuth2Args {
    /// Client ID.
    #[arg(default)]
    pub client_id: String,
    /// Client secret.
    #[arg(default)]
    pub client_secret: Secret,
    /// File with the client secret; read again for every token.
    #[arg(default)]
    pub client_secret_file: String,
    /// Scopes to ask for.
    #[arg(default)]
    pub scopes: Vec<String>,
    /// Where tokens come from.
    #[arg(default)]
    pub token_url: String,
    /// Further parameters of the token request.
    #[arg(default)]
    pub endpoint_params: BTreeMap<String, String>,
    /// Proxy for token requests.
    #[arg(code_type = "string(URL)")]
    pub proxy_url: Option<String>,
    /// As the client's `no_proxy`, for token requests.
    #[arg(default)]
    pub no_proxy: String,
    /// As the client's `proxy_from_environment`, for token requests.
    #[arg(default)]
    pub proxy_from_environment: bool,
    /// As the client's `proxy_connect_header`, for token requests.
    #[arg(default)]
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
    /// TLS of token requests.
    #[arg(block)]
    pub tls_config: Option<TlsConfigArgs>,
}

impl HttpClientArgs {
    /// Rules across attributes, of blocks inside too: a parent that flattens this calls it once.
    pub fn validate(&self) -> Result<(), Invalid> {
        exclusive(&[
            ("bearer_token", !self.bearer_token.is_empty()),
            ("bearer_token_file", !self.bearer_token_file.is_empty()),
            ("basic_auth", self.basic_auth.is_some()),
            ("authorization", self.authorization.is_some()),
            ("oauth2", self.oauth2.is_some()),
        ])?;
        header_map("http_headers", &self.http_headers)?;
        let proxy = ProxyFields {
            url: self.proxy_url.as_deref(),
            no_proxy: &self.no_proxy,
            from_environment: self.proxy_from_environment,
            connect_header: &self.proxy_connect_header,
        };
        proxy.validate()
    }
}

impl BasicAuth {
    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        exclusive(&[
            ("password", !self.password.is_empty()),
            ("password_file", !self.password_file.is_empty()),
        ])
    }
}

impl Authorization {
    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.r#type.trim().eq_ignore_ascii_case("basic") {
            let message = "authorization cannot be of type basic";
            return Err(Invalid::field("type", message).with_help("use a basic_auth block"));
        }
        let fields = [
            ("credentials", !self.credentials.is_empty()),
            ("credentials_file", !self.credentials_file.is_empty()),
        ];
        exclusive(&fields)
    }

    /// The scheme in force.
    pub fn scheme(&self) -> &str {
        match self.r#type.trim() {
            "" => "Bearer",
            scheme => scheme,
        }
    }
}

impl OAuth2Args {
    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.client_id.is_empty() {
            return Err(Invalid::field("client_id", "oauth2 needs a client_id"));
        }
        let token_url = Url::parse(&self.token_url).ok().filter(|u| u.has_host());
        if token_url.is_none() {
            let message = "oauth2 needs a token_url with scheme and host";
            return Err(Invalid::field("token_url", message).with_help("write it as https://host/path"));
        }
        let secrets = [
            ("client_secret", !self.client_secret.is_empty()),
            ("client_secret_file", !self.client_secret_file.is_empty()),
        ];
        exclusive(&secrets)?;
        if secrets.iter().all(|(_, set)| !set) {
            let message = "oauth2 needs a client_secret or a client_secret_file";
            return Err(Invalid::field("client_secret", message));
        }
        let proxy = ProxyFields {
            url: self.proxy_url.as_deref(),
            no_proxy: &self.no_proxy,
            from_environment: self.proxy_from_environment,
            connect_header: &self.proxy_connect_header,
        };
        proxy.validate()
    }
}

/// The four attributes about proxies, wherever they stand.
#[derive(Clone, Copy)]
pub(crate) struct ProxyFields<'a> {
    pub(crate) url: Option<&'a str>,
    pub(crate) no_proxy: &'a str,
    pub(crate) from_environment: bool,
    pub(crate) connect_header: &'a BTreeMap<String, Vec<Secret>>,
}

impl ProxyFields<'_> {
    fn validate(self) -> Result<(), Invalid> {
        let url = self.url.filter(|u| !u.is_empty());
        if let Some(url) = url {
            ProxyRules::parse_proxy(url).map_err(|e| Invalid::field("proxy_url", e.to_string()))?;
        }
        exclusive(&[("proxy_url", url.is_some()), ("proxy_from_environment", self.from_environment)])?;
        exclusive(&[
            ("no_proxy", !self.no_proxy.is_empty()),
            ("proxy_from_environment", self.from_environment),
        ])?;
        if !self.no_proxy.is_empty() && url.is_none() {
            let message = "no_proxy says nothing without a proxy_url";
            return Err(Invalid::field("no_proxy", message).with_help("add proxy_url, or remove no_proxy"));
        }
        if !self.connect_header.is_empty() && url.is_none() && !self.from_environment {
            let message = "proxy_connect_header says nothing without a proxy";
            return Err(Invalid::field("proxy_connect_header", message)
                .with_help("add proxy_url or proxy_from_environment, or remove it"));
        }
        header_map("proxy_connect_header", self.connect_header)
    }
}

fn header_map(field: &'static str, headers: &BTreeMap<String, Vec<Secret>>) -> Result<(), Invalid> {
    for (name, values) in headers {
        if http::HeaderName::try_from(name.as_str()).is_err() {
            return Err(Invalid::field(field, format!("{name:?} cannot be the name of a header")));
        }
        if values.iter().any(|v| http::HeaderValue::try_from(v.reveal()).is_err()) {
            let message = format!("a value of header {name:?} has characters that a header cannot have");
            return Err(Invalid::field(field, message).with_help("remove line breaks and control characters"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Edit = fn(&mut HttpClientArgs);

    #[test]
    fn contradictions_are_refused_at_the_attribute_at_fault() {
        let cases: &[(Edit, Option<&str>)] = &[
            (|_| {}, None),
            (
                |a| (a.bearer_token, a.basic_auth) = ("x".into(), Some(BasicAuth::default())),
                Some("basic_auth"),
            ),
            (|a| (a.bearer_token, a.bearer_token_file) = ("x".into(), "f".into()), Some("bearer_token_file")),
            (
                |a| (a.authorization, a.oauth2) = (Some(Default::default()), Some(Default::default())),
                Some("oauth2"),
            ),
            (|a| a.no_proxy = "a".into(), Some("no_proxy")),
            (|a| (a.proxy_url, a.no_proxy) = (Some("http://p:1".into()), "a".into()), None),
            (
                |a| (a.proxy_url, a.proxy_from_environment) = (Some("http://p:1".into()), true),
                Some("proxy_from_environment"),
            ),
            (|a| (a.no_proxy, a.proxy_from_environment) = ("a".into(), true), Some("proxy_from_environment")),
            (|a| a.proxy_url = Some("gopher://p".into()), Some("proxy_url")),
            (
                |a| a.proxy_connect_header = [("X".into(), vec!["y".into()])].into(),
                Some("proxy_connect_header"),
            ),
            (|a| a.http_headers = [("a b".into(), vec!["y".into()])].into(), Some("http_headers")),
            (|a| a.http_headers = [("a".into(), vec!["y\nz".into()])].into(), Some("http_headers")),
        ];
        for (i, (edit, at)) in cases.iter().enumerate() {
            let mut args = HttpClientArgs::default();
            edit(&mut args);
            assert_eq!(args.validate().err().and_then(|e| e.field), *at, "case {i}");
        }
    }

    #[test]
    fn a_message_about_a_header_does_not_show_its_value() {
        let headers = [("A".to_string(), vec![Secret::from("hunter2\n")])].into();
        let error = header_map("http_headers", &headers).unwrap_err();
        assert!(!error.message.contains("hunter2"));
    }

    #[test]
    fn authorization_is_bearer_unless_told_otherwise_and_never_basic() {
        assert_eq!(Authorization::default().scheme(), "Bearer");
        let basic = Authorization { r#type: "Basic".into(), ..Default::default() };
        assert_eq!(basic.validate().unwrap_err().field, Some("type"));
    }

    #[test]
    fn oauth2_needs_id_url_and_exactly_one_secret() {
        let good = OAuth2Args {
            client_id: "id".into(),
            client_secret: "s".into(),
            token_url: "https://idp/token".into(),
            ..Default::default()
        };
        assert_eq!(good.validate(), Ok(()));
        let bad = [
            (OAuth2Args { client_id: String::new(), ..good.clone() }, "client_id"),
            (OAuth2Args { token_url: "idp".into(), ..good.clone() }, "token_url"),
            (OAuth2Args { client_secret: Secret::default(), ..good.clone() }, "client_secret"),
            (OAuth2Args { client_secret_file: "f".into(), ..good.clone() }, "client_secret_file"),
        ];
        for (args, at) in bad {
            assert_eq!(args.validate().unwrap_err().field, Some(at));
        }
    }
}
