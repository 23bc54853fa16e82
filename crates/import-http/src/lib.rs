//! `import.http`: a module from an HTTP server.
//!
//! Data path: [`Args`] → one request with a client of `net` → the body, read up to a limit. What comes over
//! the network may not import files of this machine. Invariant: no secret is part of a message.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use component::eval::Invalid;
use component::{Arguments, BoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use net::args::HttpClientArgs;
use net::{Client, ClientOptions, Request, Url, shown_url};
use runtime::{FetchCx, ImportDef, ImportSource, ModuleText};

#[cfg(test)]
mod tests;

/// The block as the program hands it to the runtime.
pub const IMPORT: ImportDef = ImportDef::of::<Args>();

/// No configuration is larger; more is a mistake in the address.
const MAX_BYTES: usize = 16 << 20;

/// `import.http "x" { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Where the module is.
    pub url: String,
    /// How often to ask again.
    #[arg(default = "1m")]
    pub poll_frequency: Duration,
    /// How long an answer may take.
    #[arg(default = "10s")]
    pub poll_timeout: Duration,
    /// Method of the request.
    #[arg(default = "GET")]
    pub method: String,
    /// Headers of the request.
    #[arg(default)]
    pub headers: BTreeMap<String, String>,
    /// Body of the request.
    #[arg(default)]
    pub body: String,
    /// How to reach the server.
    #[arg(block, default)]
    pub client: HttpClientArgs,
}

impl Args {
    // Unlike `remote.http`, Alloy does not ask that the timeout is shorter than the frequency.
    fn validate(&self) -> Result<(), Invalid> {
        if self.poll_frequency.is_zero() {
            return Err(Invalid::field("poll_frequency", "poll_frequency must be longer than 0"));
        }
        if self.poll_timeout.is_zero() {
            return Err(Invalid::field("poll_timeout", "poll_timeout must be longer than 0"));
        }
        self.request().map(drop)
    }

    fn request(&self) -> Result<Request, Invalid> {
        let url = Url::parse(&self.url).ok();
        let url = url
            .filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
            .ok_or_else(|| Invalid::field("url", "url must be an http or https URL"))?;
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| Invalid::field("method", format!("{:?} is not an HTTP method", self.method)))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let unusable = || Invalid::field("headers", format!("header {name:?} cannot be sent"));
            let name = HeaderName::try_from(name).map_err(|_| unusable())?;
            headers.insert(name, HeaderValue::try_from(value).map_err(|_| unusable())?);
        }
        let body = Bytes::from(self.body.clone());
        Ok(Request { headers, body, ..Request::new(method, url).timeout(self.poll_timeout) })
    }

    async fn ask(&self, user_agent: String) -> Result<ModuleText, String> {
        let request = self.request().map_err(|invalid| invalid.message)?;
        let url = request.url.clone();
        let client = Client::new(&self.client, ClientOptions::new(user_agent)).map_err(|e| e.to_string())?;
        let response = client.send(request).await.map_err(|e| e.to_string())?;
        // As Alloy: another success, such as 204, is no module.
        if response.status() != StatusCode::OK {
            return Err(response.into_status_error(&url).await.to_string());
        }
        let text = response.text(MAX_BYTES).await.map_err(|e| e.to_string())?;
        Ok(ModuleText { name: shown_url(&url), text, is_secret: false })
    }
}

impl ImportSource for Args {
    const NAME: &'static str = "import.http";
    const TRUSTED: bool = false;

    fn fetch<'a>(&'a self, cx: &'a FetchCx) -> BoxFuture<'a, Result<Vec<ModuleText>, String>> {
        Box::pin(async move { Ok(vec![self.ask(cx.services.user_agent()).await?]) })
    }

    fn poll(&self) -> Option<Duration> {
        Some(self.poll_frequency.max(Duration::from_secs(1)))
    }

    /// The address up to its last slash, with the slash.
    fn module_path(&self, _inherited: &str, _cx: &FetchCx) -> String {
        let end = self.url.find(['?', '#']).unwrap_or(self.url.len());
        let path = &self.url[..end];
        path[..path.rfind('/').map_or(0, |slash| slash + 1)].to_string()
    }
}
