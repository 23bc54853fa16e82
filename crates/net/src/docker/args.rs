//! `host`: where an engine is, and which of the client's arguments mean something there.

use std::path::PathBuf;

use component::eval::Invalid;
use url::Url;

use crate::args::{HttpClientArgs, TlsConfigArgs};

/// Where an engine is.
#[derive(Debug, PartialEq)]
pub(super) struct Place {
    /// What requests are put together from; for a socket the host in it is only a name.
    pub(super) base: Url,
    /// The Unix socket.
    pub(super) socket: Option<PathBuf>,
    /// For messages.
    pub(super) shown: String,
}

/// Reads a host as Docker's own client does (`unix`, `tcp`), and as Prometheus does (`http`, `https`).
pub(super) fn place(host: &str) -> Result<Place, String> {
    let example = "write unix:///var/run/docker.sock, tcp://host:2375, http://host:2375 or https://host:2376";
    let Some((scheme, rest)) = host.split_once("://") else {
        return Err(format!("host {host:?} has no scheme: {example}"));
    };
    match scheme {
        "unix" if rest.starts_with('/') => {
            let base = Url::parse("http://docker/").expect("a constant URL");
            Ok(Place { base, socket: Some(rest.into()), shown: host.to_owned() })
        }
        "unix" => Err(format!("host {host:?} needs the absolute path of a socket: {example}")),
        "tcp" | "http" | "https" => {
            let text = if scheme == "tcp" { format!("http://{rest}") } else { host.to_owned() };
            let base = Url::parse(&text).ok().filter(Url::has_host);
            let Some(base) = base else { return Err(format!("host {host:?} is not a URL: {example}")) };
            let shown = crate::error::shown_url(&base);
            Ok(Place { base, socket: None, shown })
        }
        "npipe" => Err(format!("host {host:?} is a pipe of Windows, which this program does not run on")),
        _ => Err(format!("host {host:?} cannot be reached: {example}")),
    }
}

/// Checks a host together with the client's arguments. Those that cannot have an effect are refused: Alloy
/// passes them over, and a connection that was meant to be protected is not.
///
/// # Errors
/// At `host` or the argument at fault.
pub fn validate(host: &str, args: &HttpClientArgs) -> Result<(), Invalid> {
    let place = place(host).map_err(|message| Invalid::field("host", message))?;
    // An http URL may redirect to one of https.
    if host.starts_with("http") {
        return Ok(());
    }
    if args.tls_config != TlsConfigArgs::default() {
        let message = format!("tls_config has no effect on {}", place.shown);
        return Err(Invalid::field("tls_config", message).with_help("write host as https://…, or remove it"));
    }
    if place.socket.is_some() && args.proxy_url.is_some() {
        let message = "proxy_url has no effect on a Unix socket";
        return Err(Invalid::field("proxy_url", message).with_help("remove it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_sockets_or_urls() {
        for (host, base, socket) in [
            ("unix:///var/run/docker.sock", "http://docker/", Some("/var/run/docker.sock")),
            ("tcp://127.0.0.1:2375", "http://127.0.0.1:2375/", None),
            ("http://docker.example:2375/below", "http://docker.example:2375/below", None),
            ("https://docker.example:2376", "https://docker.example:2376/", None),
        ] {
            let place = place(host).unwrap();
            assert_eq!((place.base.as_str(), place.socket), (base, socket.map(PathBuf::from)), "{host}");
        }
        for bad in
            ["", "/var/run/docker.sock", "unix://docker.sock", "npipe:////./pipe/x", "ssh://a", "tcp://"]
        {
            assert!(place(bad).is_err(), "{bad}");
        }
        assert_eq!(place("http://u:secret@a:1").unwrap().shown, "http://a:1/");
    }

    #[test]
    fn arguments_without_effect_are_refused() {
        let tls = TlsConfigArgs { insecure_skip_verify: true, ..TlsConfigArgs::default() };
        let tls = HttpClientArgs { tls_config: tls, ..HttpClientArgs::default() };
        let proxy = HttpClientArgs { proxy_url: Some("http://p:1".into()), ..HttpClientArgs::default() };
        for (host, args, at) in [
            ("unix:///a", &tls, Some("tls_config")),
            ("tcp://a:1", &tls, Some("tls_config")),
            ("http://a:1", &tls, None),
            ("https://a:1", &tls, None),
            ("unix:///a", &proxy, Some("proxy_url")),
            ("tcp://a:1", &proxy, None),
            ("a:1", &HttpClientArgs::default(), Some("host")),
            ("unix:///a", &HttpClientArgs::default(), None),
        ] {
            assert_eq!(validate(host, args).err().and_then(|e| e.field), at, "{host}");
        }
    }
}
