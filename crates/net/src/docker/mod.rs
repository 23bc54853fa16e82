//! The Docker Engine API: one client for everything that asks an engine (Docker, or Podman's compatible API).
//!
//! Data path: `host` and the HTTP client's arguments → [`Engine`] → a path below `/v<version>` → JSON within a
//! limit, or a body that streams. The version is the one that the engine itself offers, asked for once and
//! again after a refusal, so that an engine that is upgraded meanwhile is followed.
//! It goes through [`crate::Client`], so that every credential, header, proxy and TLS argument works as for any
//! other server, over a Unix socket too.

mod args;
pub mod testkit;

use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use url::Url;

use crate::args::HttpClientArgs;
use crate::client::{Client, ClientOptions, Request, Response};
use crate::error::{Error, Kind};
pub use args::validate;
use args::{Place, place};

/// Largest answer in JSON: ten thousand containers fit well.
const MAX_ANSWER: usize = 64 << 20;
/// How long a question may take; engines under load are slow to list their containers.
const ASK: Duration = Duration::from_secs(30);
/// The connection of a log stream is renewed once a day: what a stream cannot do is never end.
const STREAM: Duration = Duration::from_secs(24 * 60 * 60);
const VERSION_HEADER: HeaderName = HeaderName::from_static("api-version");

/// One engine.
pub struct Engine {
    client: Client,
    place: Place,
    version: Mutex<Option<Version>>,
}

/// What the engine offers. Engines that do not say are asked without a version.
#[derive(Clone, Debug, PartialEq)]
struct Version(Option<String>);

impl Engine {
    /// A client for the engine at `host`. Opens no connection.
    ///
    /// # Errors
    /// If the host or an argument does not work, as [`validate`].
    pub fn new(host: &str, args: &HttpClientArgs, user_agent: &str) -> Result<Self, Error> {
        let place = place(host).map_err(Error::config)?;
        let mut options = ClientOptions::new(user_agent);
        // One connection for each container that is followed; those that nobody uses any more are few.
        options.max_idle_per_host = 8;
        if let Some(path) = &place.socket {
            options = options.unix_socket(path);
        }
        Ok(Self { client: Client::new(args, options)?, place, version: Mutex::default() })
    }

    /// Where the engine is, as the user wrote it, without credentials.
    pub fn host(&self) -> &str {
        &self.place.shown
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// [`Kind::Status`] where the engine refuses, with its reason.
    pub async fn json<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Error> {
        let response = self.get(path, query, ASK).await?;
        let body = response.bytes(MAX_ANSWER).await.map_err(|e| self.at(e))?;
        serde_json::from_slice(&body).map_err(|e| {
            let message = format!("{}: the answer for {path} is not what an engine says: {e}", self.host());
            Error::new(Kind::Protocol, message)
        })
    }

    /// Asks for a body that may go on for a day.
    ///
    /// # Errors
    /// As [`Engine::json`].
    pub async fn stream(&self, path: &str, query: &[(&str, &str)]) -> Result<Response, Error> {
        self.get(path, query, STREAM).await
    }

    async fn get(&self, path: &str, query: &[(&str, &str)], timeout: Duration) -> Result<Response, Error> {
        let version = self.version().await?;
        let mut answer = self.send(&version, path, query, timeout).await;
        // The connection may have been kept from an engine that has been restarted since.
        if answer.as_ref().is_err_and(|e| e.kind() == Kind::Protocol) {
            answer = self.send(&version, path, query, timeout).await;
        }
        // "client version … is too new/old": the engine is another one than before.
        if answer.as_ref().is_err_and(|e| e.status() == Some(400)) {
            *self.version.lock() = None;
            let now = self.version().await?;
            if now != version {
                return self.send(&now, path, query, timeout).await;
            }
        }
        answer
    }

    async fn send(
        &self,
        version: &Version,
        path: &str,
        query: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Response, Error> {
        let mut url = self.url(version, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = Request::get(url).header(ACCEPT, HeaderValue::from_static("*/*")).timeout(timeout);
        self.client.send_ok(request).await.map_err(|e| self.at(e))
    }

    /// `/_ping`, as Docker's own client does it. A proxy in front of the engine may not let that through.
    async fn version(&self) -> Result<Version, Error> {
        if let Some(known) = self.version.lock().clone() {
            return Ok(known);
        }
        let request = Request::get(self.url(&Version(None), "/_ping")).timeout(ASK);
        let response = self.client.send(request).await.map_err(|e| self.at(e))?;
        if response.status().is_server_error() {
            return Err(self.at(response.into_status_error(&self.place.base).await));
        }
        let offered = response
            .header(VERSION_HEADER)
            .filter(|v| !v.is_empty() && v.len() < 16 && v.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        let version = Version(offered.map(str::to_owned));
        // The body is two letters; read to its end, the connection can be used again.
        let _ = response.bytes(1024).await;
        *self.version.lock() = Some(version.clone());
        Ok(version)
    }

    fn url(&self, version: &Version, path: &str) -> Url {
        let mut url = self.place.base.clone();
        let below = url.path().trim_end_matches('/').to_owned();
        let version = version.0.as_ref().map(|v| format!("/v{v}")).unwrap_or_default();
        url.set_path(&format!("{below}{version}{path}"));
        url
    }

    /// Says which engine an error is about, and what is often wrong with a socket.
    fn at(&self, error: Error) -> Error {
        let advice = match (&self.place.socket, error.kind()) {
            (Some(_), Kind::Connect) => {
                "; is the engine running, and may this program use its socket (group docker)?"
            }
            _ => "",
        };
        let message = match &self.place.socket {
            Some(_) => format!("{}: {error}{advice}", self.host()),
            None => error.to_string(),
        };
        Error::new(error.kind(), message).with_source(error)
    }
}

/// A name of a container or network as part of a path. Labels of targets end up here, and those come from
/// anywhere.
pub fn is_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    !id.is_empty() && id.len() <= 255 && id.bytes().all(plain) && id.bytes().any(|b| b != b'.')
}

#[cfg(test)]
mod tests;
