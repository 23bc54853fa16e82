//! Which proxy a request takes, if any.
//!
//! The rules of `no_proxy` are those of Go's `golang.org/x/net/http/httpproxy`: domains with their
//! subdomains, `.domain` for subdomains only, addresses, CIDR ranges, each with an optional port, `*`;
//! and, as there, the local host is never proxied where such rules are in force.

use std::net::IpAddr;

use url::{Host, Url};

use crate::args::ProxyFields;
use crate::error::Error;

/// The proxy for each scheme and who is exempt.
#[derive(Clone, Debug, Default)]
pub struct ProxyRules {
    http: Option<Url>,
    https: Option<Url>,
    /// `None`: no exemption at all, not even for the local host.
    no_proxy: Option<NoProxy>,
}

impl ProxyRules {
    pub(crate) fn from_args(fields: ProxyFields<'_>) -> Result<Self, Error> {
        if fields.from_environment {
            return Self::from_environment(|name| std::env::var(name).ok());
        }
        let Some(proxy) = fields.url.filter(|u| !u.is_empty()) else { return Ok(Self::default()) };
        let proxy = Self::parse_proxy(proxy)?;
        // As prometheus/common: with a plain proxy_url everything is proxied, the local host too.
        let no_proxy = (!fields.no_proxy.is_empty()).then(|| NoProxy::parse(fields.no_proxy));
        Ok(Self { http: Some(proxy.clone()), https: Some(proxy), no_proxy })
    }

    /// From variables as Go's clients read them, upper case first.
    pub fn from_environment(var: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let get = |name: &str| {
            let value = var(name).filter(|v| !v.is_empty()).or_else(|| var(&name.to_lowercase()));
            value.filter(|v| !v.is_empty())
        };
        let proxy = |name: &str| {
            get(name)
                .map(|v| {
                    Self::parse_proxy(&v)
                        .map_err(|e| Error::config(format!("environment variable {name}: {e}")))
                })
                .transpose()
        };
        Ok(Self {
            http: proxy("HTTP_PROXY")?,
            https: proxy("HTTPS_PROXY")?,
            no_proxy: Some(NoProxy::parse(&get("NO_PROXY").unwrap_or_default())),
        })
    }

    /// Reads a proxy's address; without a scheme it is an HTTP proxy.
    pub fn parse_proxy(text: &str) -> Result<Url, Error> {
        let bad = |why: &str| Error::config(format!("the proxy's URL {why}"));
        let parsed = match Url::parse(text) {
            Ok(url) if url.has_host() => url,
            _ => Url::parse(&format!("http://{text}")).map_err(|e| bad(&format!("cannot be read: {e}")))?,
        };
        match parsed.scheme() {
            "http" | "https" | "socks5" | "socks5h" if parsed.has_host() => Ok(parsed),
            "http" | "https" | "socks5" | "socks5h" => Err(bad("names no host")),
            other => Err(bad(&format!("has scheme {other:?}: use http, https, socks5 or socks5h"))),
        }
    }

    /// Whether no request takes a proxy.
    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// The proxy for a request to a URL.
    pub fn select(&self, url: &Url) -> Option<Url> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        }?;
        if self.no_proxy.as_ref().is_some_and(|rules| rules.matches(url)) {
            return None;
        }
        let mut proxy = proxy.clone();
        if proxy.scheme() == "socks5" {
            // Go leaves the resolving of names to the proxy for both spellings.
            proxy = Url::parse(&proxy.as_str().replacen("socks5://", "socks5h://", 1)).unwrap_or(proxy);
        }
        Some(proxy)
    }
}

/// The list of exemptions.
#[derive(Clone, Debug, Default)]
struct NoProxy {
    all: bool,
    rules: Vec<(Rule, Option<u16>)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Address(IpAddr),
    Range(IpAddr, u8),
    /// With its leading dot; whether the domain itself matches too.
    Domain(String, bool),
}

impl NoProxy {
    fn parse(list: &str) -> Self {
        let mut parsed = Self::default();
        for entry in list.split(',').map(|e| e.trim().to_lowercase()).filter(|e| !e.is_empty()) {
            if entry == "*" {
                return Self { all: true, rules: Vec::new() };
            }
            parsed.rules.extend(Self::entry(&entry));
        }
        parsed
    }

    fn entry(entry: &str) -> Option<(Rule, Option<u16>)> {
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u8>())
            && bits <= if address.is_ipv4() { 32 } else { 128 }
        {
            return Some((Rule::Range(address, bits), None));
        }
        if let Ok(address) = entry.parse::<IpAddr>() {
            return Some((Rule::Address(address), None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some((Rule::Address(address), port));
        }
        let host = host.strip_prefix('*').filter(|h| h.starts_with('.')).unwrap_or(host);
        match host {
            "" => None,
            h if h.starts_with('.') => Some((Rule::Domain(h.to_owned(), false), port)),
            h => Some((Rule::Domain(format!(".{h}"), true), port)),
        }
    }

    fn matches(&self, url: &Url) -> bool {
        let (name, address) = match url.host() {
            Some(Host::Domain(name)) => {
                (name.trim_end_matches('.').to_lowercase(), name.parse::<IpAddr>().ok())
            }
            Some(Host::Ipv4(ip)) => (ip.to_string(), Some(ip.into())),
            Some(Host::Ipv6(ip)) => (ip.to_string(), Some(ip.into())),
            None => return false,
        };
        if self.all || name == "localhost" || address.is_some_and(|ip| ip.is_loopback()) {
            return true;
        }
        let port = url.port_or_known_default();
        self.rules.iter().any(|(rule, rule_port)| {
            (rule_port.is_none() || *rule_port == port)
                && match rule {
                    Rule::Address(ip) => address.map(|a| a.to_canonical()) == Some(ip.to_canonical()),
                    Rule::Range(net, bits) => {
                        address.is_some_and(|a| in_range(a.to_canonical(), *net, *bits))
                    }
                    Rule::Domain(domain, itself) => {
                        name.ends_with(domain.as_str()) || (*itself && name == domain[1..])
                    }
                }
        })
    }
}

fn in_range(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let shift = 32 - u32::from(bits);
            u32::from(a).checked_shr(shift) == u32::from(n).checked_shr(shift)
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let shift = 128 - u32::from(bits);
            u128::from(a).checked_shr(shift) == u128::from(n).checked_shr(shift)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exempt(list: &str, url: &str) -> bool {
        NoProxy::parse(list).matches(&Url::parse(url).unwrap())
    }

    #[test]
    fn exemptions_are_read_as_go_reads_them() {
        for (list, url, expected) in [
            ("", "http://localhost:80/", true),
            ("", "http://127.0.0.1/", true),
            ("", "http://[::1]:9090/", true),
            ("", "http://example.com/", false),
            ("example.com", "http://example.com/", true),
            ("example.com", "https://a.example.com/", true),
            ("example.com", "http://badexample.com/", false),
            (".example.com", "http://example.com/", false),
            (".example.com", "http://a.example.com/", true),
            ("*.example.com", "http://a.example.com/", true),
            ("*.example.com", "http://example.com/", false),
            ("Example.COM", "http://EXAMPLE.com/", true),
            ("example.com:8080", "http://example.com:8080/", true),
            ("example.com:8080", "http://example.com/", false),
            ("example.com:443", "https://example.com/", true),
            ("10.0.0.0/8", "http://10.200.1.1/", true),
            ("10.0.0.0/8", "http://11.0.0.1/", false),
            ("0.0.0.0/0", "http://11.0.0.1/", true),
            ("2001:db8::/32", "http://[2001:db8::1]/", true),
            ("10.1.1.1", "http://10.1.1.1:99/", true),
            ("10.1.1.1:80", "http://10.1.1.1:99/", false),
            ("[2001:db8::1]:80", "http://[2001:db8::1]/", true),
            ("a, b ,c", "http://b/", true),
            ("*", "http://anything/", true),
            ("a,,  ,", "http://b/", false),
            ("10.0.0.0/33", "http://10.0.0.1/", false),
        ] {
            assert_eq!(exempt(list, url), expected, "no_proxy {list:?} for {url}");
        }
    }

    #[test]
    fn the_environment_is_read_in_both_cases_with_upper_case_first() {
        let var = |name: &str| match name {
            "HTTP_PROXY" => Some("upper:1".to_string()),
            "http_proxy" => Some("lower:1".to_string()),
            "https_proxy" => Some("https://secure:2".to_string()),
            "NO_PROXY" => Some("skip.me".to_string()),
            _ => None,
        };
        let rules = ProxyRules::from_environment(var).unwrap();
        let select = |url: &str| rules.select(&Url::parse(url).unwrap()).map(|u| u.to_string());
        assert_eq!(select("http://a/").as_deref(), Some("http://upper:1/"));
        assert_eq!(select("https://a/").as_deref(), Some("https://secure:2/"));
        assert_eq!(select("https://skip.me/"), None);
    }

    #[test]
    fn a_plain_proxy_url_is_used_for_the_local_host_too() {
        let rules = ProxyRules {
            http: Some(ProxyRules::parse_proxy("http://p:1").unwrap()),
            ..ProxyRules::default()
        };
        assert!(rules.select(&Url::parse("http://localhost/").unwrap()).is_some());
    }

    #[test]
    fn names_are_resolved_by_a_socks_proxy() {
        let rules = ProxyRules {
            https: Some(ProxyRules::parse_proxy("socks5://u:p@p:1080").unwrap()),
            ..ProxyRules::default()
        };
        let proxy = rules.select(&Url::parse("https://a/").unwrap()).unwrap();
        assert_eq!(proxy.as_str(), "socks5h://u:p@p:1080");
    }
}
