//! The connections of a client, made anew when certificate files change.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use parking_lot::Mutex;
use url::Url;

use super::ClientOptions;
use super::dns::SystemDns;
use super::plain::Plain;
use crate::error::{Error, Kind, causes};
use crate::proxy::ProxyRules;
use crate::tls::{ClientTls, Fingerprint};

/// Hosts with connections of their own because of `server_name`; beyond that all are closed and opened anew.
const MAX_RENAMED: usize = 4096;

/// What connections are made from, and the ones there are.
pub(super) struct Pool {
    tls: ClientTls,
    proxy: ProxyRules,
    connect_headers: HeaderMap,
    options: ClientOptions,
    current: ArcSwapOption<Generation>,
}

/// Connections made with one state of the TLS files.
struct Generation {
    files: Fingerprint,
    /// For everything that `plain` is not for. Where there is nothing to read it is made when it is first needed: it
    /// brings a configuration of TLS with it, and most scrapers need none.
    client: OnceLock<reqwest::Client>,
    plain: Plain,
    /// By host of the URL: connections that go to that host but name another in TLS.
    renamed: Mutex<HashMap<String, reqwest::Client>>,
}

/// Who makes the connection.
pub(super) enum Connects {
    /// For plain HTTP, directly.
    Plain(Plain),
    /// For everything else.
    Any(reqwest::Client),
}

/// How to reach a URL.
pub(super) struct Route {
    pub(super) client: Connects,
    /// The URL to give to the client.
    pub(super) url: Url,
    /// `Host`, where it is not the one of `url`.
    pub(super) host: Option<String>,
}

impl Pool {
    pub(super) fn new(
        tls: ClientTls,
        proxy: ProxyRules,
        connect_headers: HeaderMap,
        options: ClientOptions,
    ) -> Self {
        Self { tls, proxy, connect_headers, options, current: ArcSwapOption::empty() }
    }

    /// The way to a URL with the TLS files as they are now.
    pub(super) fn route(&self, url: &Url) -> Result<Route, Error> {
        let generation = self.generation()?;
        let renamed = self.tls.sni().filter(|name| url.scheme() == "https" && url.host_str() != Some(name));
        // Behind a proxy the URL names the tunnel's end, so the TLS name cannot stand in it. The
        // certificate is checked against server_name in any case.
        let Some(name) = renamed.filter(|_| self.proxy.select(url).is_none()) else {
            let plain = url.scheme() == "http"
                && self.options.unix_socket.is_none()
                && self.proxy.select(url).is_none();
            let client = if plain {
                Connects::Plain(generation.plain.clone())
            } else {
                Connects::Any(self.client(&generation)?)
            };
            return Ok(Route { client, url: url.clone(), host: None });
        };
        let host = url.host_str().unwrap_or_default();
        let client = self.renamed_client(&generation, host)?;
        let mut inner = url.clone();
        inner.set_host(Some(name)).map_err(|e| Error::config(format!("server_name {name:?}: {e}")))?;
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Route { client: Connects::Any(client), url: inner, host: Some(host) })
    }

    fn generation(&self) -> Result<Arc<Generation>, Error> {
        let files = self.tls.fingerprint();
        let current = self.current.load_full();
        if let Some(generation) = current.as_ref().filter(|g| g.files == files) {
            return Ok(generation.clone());
        }
        let made = if self.tls.reads() {
            self.build(SystemDns::default(), false).map(OnceLock::from)
        } else {
            Ok(OnceLock::new())
        };
        let (client, before) = match (made, current) {
            (Ok(client), _) => (client, None),
            (Err(error), Some(before)) => {
                tracing::warn!(%error, "changed TLS files do not work; those from before stay in force");
                (before.client.clone(), Some(before))
            }
            (Err(error), None) => return Err(error),
        };
        // Files are about TLS: plain connections stay.
        let plain = self.current.load().as_ref().map(|g| g.plain.clone());
        let plain = plain.unwrap_or_else(|| {
            let round_robin = self.options.round_robin_dns;
            Plain::new(&self.options, SystemDns { round_robin, ..SystemDns::default() })
        });
        let renamed = before.map(|b| b.renamed.lock().clone()).unwrap_or_default();
        let generation = Arc::new(Generation { files, client, plain, renamed: Mutex::new(renamed) });
        self.current.store(Some(generation.clone()));
        Ok(generation)
    }

    /// The client for any URL.
    fn client(&self, generation: &Generation) -> Result<reqwest::Client, Error> {
        if let Some(client) = generation.client.get() {
            return Ok(client.clone());
        }
        let made = self.build(SystemDns::default(), false)?;
        // Of two that are made at once the first stays, so that connections are shared.
        Ok(generation.client.get_or_init(|| made).clone())
    }

    /// A client whose connections go to `host` under the name of `server_name`. HTTP/1.1 only, because with
    /// HTTP/2 the name in the URL would take the place of `Host`.
    fn renamed_client(&self, generation: &Generation, host: &str) -> Result<reqwest::Client, Error> {
        if let Some(client) = generation.renamed.lock().get(host) {
            return Ok(client.clone());
        }
        let dns = SystemDns { instead: Some(host.into()), ..SystemDns::default() };
        let client = self.build(dns, true)?;
        let mut renamed = generation.renamed.lock();
        if renamed.len() >= MAX_RENAMED {
            renamed.clear();
        }
        renamed.insert(host.to_owned(), client.clone());
        Ok(client)
    }

    fn build(&self, dns: SystemDns, http1_only: bool) -> Result<reqwest::Client, Error> {
        let dns = SystemDns { round_robin: self.options.round_robin_dns, ..dns };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.config(http1_only)?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .no_proxy()
            .dns_resolver(dns)
            .connect_timeout(self.options.connect_timeout)
            .pool_idle_timeout(self.options.idle_timeout)
            .pool_max_idle_per_host(self.options.max_idle_per_host)
            .tcp_nodelay(true);
        if http1_only {
            builder = builder.http1_only();
        }
        if let Some((silence, patience)) = self.options.http2_ping {
            builder = builder
                .http2_keep_alive_interval(silence)
                .http2_keep_alive_timeout(patience)
                .http2_keep_alive_while_idle(true);
        }
        if let Some(path) = &self.options.unix_socket {
            builder = builder.unix_socket(path.clone());
        }
        if !self.proxy.is_empty() {
            // Headers for the proxy go with CONNECT only, which plain HTTP does not use.
            let (tunnelled, plain) = (self.proxy.clone(), self.proxy.clone());
            let https = move |url: &Url| (url.scheme() == "https").then(|| tunnelled.select(url)).flatten();
            let http = move |url: &Url| (url.scheme() == "http").then(|| plain.select(url)).flatten();
            builder = builder
                .proxy(reqwest::Proxy::custom(https).headers(self.connect_headers.clone()))
                .proxy(reqwest::Proxy::custom(http));
        }
        builder
            .build()
            .map_err(|e| Error::new(Kind::Config, format!("the client cannot be made: {}", causes(&e))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::TlsConfigArgs;

    fn pool(args: &TlsConfigArgs) -> Pool {
        let tls = ClientTls::new(args, true).expect("arguments");
        Pool::new(tls, ProxyRules::default(), HeaderMap::new(), ClientOptions::new("test"))
    }

    fn has_client(pool: &Pool) -> bool {
        pool.current.load().as_ref().expect("a route was asked for").client.get().is_some()
    }

    #[test]
    fn nothing_of_tls_is_made_before_a_url_needs_it_and_once_then() {
        let pool = pool(&TlsConfigArgs::default());
        let route = |url: &str| pool.route(&url.parse().expect("a URL")).expect("a route").client;
        assert!(matches!(route("http://a/"), Connects::Plain(_)));
        assert!(!has_client(&pool));
        let before = pool.current.load_full();
        assert!(matches!(route("https://a/"), Connects::Any(_)));
        assert!(has_client(&pool));
        assert!(matches!(route("https://b/"), Connects::Any(_)));
        let same = |a: &Option<Arc<Generation>>, b| Arc::ptr_eq(a.as_ref().expect("one"), b);
        assert!(same(&before, pool.current.load().as_ref().expect("one")), "a generation has one client");
    }

    #[test]
    fn what_is_wrong_with_an_authority_comes_up_with_the_first_request_even_if_it_is_a_plain_one() {
        for args in [
            TlsConfigArgs { ca_pem: "none".into(), ..TlsConfigArgs::default() },
            TlsConfigArgs { ca_file: "/nonexistent/ca".into(), ..TlsConfigArgs::default() },
        ] {
            let refused = pool(&args).route(&"http://a/".parse().expect("a URL")).err();
            assert!(refused.is_some(), "{args:?}");
        }
    }
}
