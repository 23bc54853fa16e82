//! `discovery.dns` looks names up and makes a target of each record.
//!
//! Only DNS is asked, with the servers and the search list of `/etc/resolv.conf` as they are at that moment.
//! Invariant: a name that cannot be looked up keeps its targets; one that has no records has none.

use std::collections::BTreeMap;
use std::time::Duration;

use component::eval::Invalid;
use component::metrics::IntCounter;
use component::{Arguments, BuildCx, Component, Error, RunCx, Stability, Target};
use futures_util::StreamExt;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use signal::target::ADDRESS;

use crate::discovery::{self, Found, Look};

/// Names looked up at one time.
const CONCURRENT: usize = 16;

/// Arguments.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Names to look up.
    pub names: Vec<String>,
    /// How often.
    #[arg(default = "30s")]
    pub refresh_interval: Duration,
    /// Type of the records: `SRV`, `A`, `AAAA`, `MX` or `NS`.
    #[arg(default = "SRV")]
    pub r#type: String,
    /// Port of the targets; not for `SRV`, whose records name it.
    #[arg(default, type_name = "number")]
    pub port: i64,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let Some(kind) = record_type(&self.r#type) else {
            let message = format!("{:?} is not a type of records that can be discovered", self.r#type);
            return Err(Invalid::field("type", message).with_help("use SRV, A, AAAA, MX or NS"));
        };
        if kind != RecordType::SRV && u16::try_from(self.port).ok().is_none_or(|p| p == 0) {
            return Err(Invalid::field("port", format!("{kind} records need a port from 1 to 65535")));
        }
        if self.refresh_interval.is_zero() {
            return Err(Invalid::field("refresh_interval", "refresh_interval must be longer than 0"));
        }
        match self.names.iter().find(|name| Name::from_utf8(name).is_err()) {
            Some(bad) => Err(Invalid::field("names", format!("{bad:?} is not a domain name"))),
            None => Ok(()),
        }
    }
}

fn record_type(text: &str) -> Option<RecordType> {
    Some(match text.to_ascii_uppercase().as_str() {
        "SRV" => RecordType::SRV,
        "A" => RecordType::A,
        "AAAA" => RecordType::AAAA,
        "MX" => RecordType::MX,
        "NS" => RecordType::NS,
        _ => return None,
    })
}

/// The component.
pub struct Dns {
    args: Args,
    counters: Counters,
}

#[derive(Clone)]
struct Counters {
    lookups: IntCounter,
    failures: IntCounter,
}

impl Component for Dns {
    const NAME: &'static str = "discovery.dns";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = Found;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, Found), Error> {
        let metrics = cx.metrics();
        let counters = Counters {
            lookups: metrics.counter("prometheus_sd_dns_lookups_total", "The number of DNS-SD lookups."),
            failures: metrics
                .counter("prometheus_sd_dns_lookup_failures_total", "The number of DNS-SD lookup failures."),
        };
        Ok((Self { args, counters }, Found::default()))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let Self { args, counters } = self;
        let make = |args| Names { args, counters: counters.clone(), known: BTreeMap::new(), system };
        discovery::run(cx, make(args), |args, _| Ok(make(args))).await
    }
}

/// Makes a resolver.
type MakeResolver = fn() -> Result<TokioResolver, NetError>;

/// A resolver as the machine is set up now.
fn system() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    // As Prometheus: DNS and nothing else, asked anew each time.
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    builder.build()
}

/// The names with the targets that were last found for each.
struct Names {
    args: Args,
    counters: Counters,
    known: BTreeMap<String, Vec<Target>>,
    system: MakeResolver,
}

impl Look for Names {
    async fn look(&mut self) -> Result<Vec<Target>, Error> {
        let resolver = (self.system)()
            .map_err(|e| Error::other(format!("the machine's DNS setup cannot be used: {e}")))?;
        let kind = record_type(&self.args.r#type).unwrap_or(RecordType::SRV);
        let port = self.args.port;
        let lookups = self.args.names.clone().into_iter().map(|name| {
            let resolver = resolver.clone();
            async move {
                let targets = lookup(&resolver, &name, kind, port).await;
                (name, targets)
            }
        });
        let found: Vec<_> = futures_util::stream::iter(lookups).buffered(CONCURRENT).collect().await;
        let mut problem = None;
        let (all, mut failed) = (found.len(), 0);
        for (name, targets) in found {
            self.counters.lookups.inc();
            match targets {
                Ok(targets) => {
                    self.known.insert(name, targets);
                }
                Err(error) => {
                    self.counters.failures.inc();
                    tracing::warn!(%error, %name, "the name's last targets stay in place");
                    failed += 1;
                    problem = Some(format!("{name} cannot be looked up: {error}"));
                }
            }
        }
        match problem {
            Some(problem) if failed == all => Err(Error::other(problem)),
            _ => Ok(self.known.values().flatten().cloned().collect()),
        }
    }

    fn interval(&self) -> Duration {
        self.args.refresh_interval
    }
}

async fn lookup(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
    port: i64,
) -> Result<Vec<Target>, NetError> {
    let found = match resolver.lookup(name, kind).await {
        Ok(found) => found,
        Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // Aliases stand among the answers, too.
    Ok(found.answers().iter().filter_map(|record| target(name, &record.data, port)).collect())
}

fn target(name: &str, data: &RData, port: i64) -> Option<Target> {
    let bare = |name: &Name| name.to_utf8().trim_end_matches('.').to_owned();
    let mut labels = vec![("__meta_dns_name", name.to_owned())];
    let address = match data {
        RData::SRV(srv) => {
            // As Prometheus: the label keeps the final dot, the address does not.
            labels.push(("__meta_dns_srv_record_target", srv.target.to_utf8()));
            labels.push(("__meta_dns_srv_record_port", srv.port.to_string()));
            format!("{}:{}", bare(&srv.target), srv.port)
        }
        RData::MX(mx) => {
            labels.push(("__meta_dns_mx_record_target", mx.exchange.to_utf8()));
            format!("{}:{port}", bare(&mx.exchange))
        }
        RData::NS(ns) => {
            labels.push(("__meta_dns_ns_record_target", ns.to_utf8()));
            format!("{}:{port}", bare(ns))
        }
        RData::A(ip) => format!("{ip}:{port}"),
        RData::AAAA(ip) => format!("[{ip}]:{port}"),
        _ => return None,
    };
    labels.push((ADDRESS, address));
    Some(Target::from_pairs(labels.iter().map(|(n, v)| (*n, v.as_str()))))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use component::ComponentDef;
    use component::testkit::{Harness, Names as ScopeNames, Refused};
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;

    use super::*;
    use crate::discovery::target as expected;

    const NO_ERROR: u8 = 0;
    const SERVER_FAILURE: u8 = 2;
    const NO_SUCH_NAME: u8 = 3;

    fn wire_name(name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for label in name.split('.').filter(|l| !l.is_empty()) {
            out.push(label.len() as u8);
            out.extend(label.as_bytes());
        }
        out.push(0);
        out
    }

    /// What a name answers: a code, and records of type and data (RFC 1035, section 4).
    fn records(name: &str) -> (u8, Vec<(u16, Vec<u8>)>) {
        let srv = |port: u16, host: &str| {
            let mut data = vec![0, 1, 0, 2];
            data.extend(port.to_be_bytes());
            data.extend(wire_name(host));
            (33, data)
        };
        match name {
            "srv.test" => (NO_ERROR, vec![srv(80, "a.test"), srv(81, "b.test")]),
            "a.test" => (NO_ERROR, vec![(5, wire_name("b.test")), (1, vec![10, 0, 0, 1])]),
            "aaaa.test" => (NO_ERROR, vec![(28, vec![0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8])]),
            "mx.test" => (NO_ERROR, vec![(15, [vec![0, 10], wire_name("mail.test")].concat())]),
            "ns.test" => (NO_ERROR, vec![(2, wire_name("dns.test"))]),
            "flaky.test" if !BROKEN.load(Ordering::SeqCst) => (NO_ERROR, vec![srv(1, "f.test")]),
            "flaky.test" => (SERVER_FAILURE, Vec::new()),
            _ => (NO_SUCH_NAME, Vec::new()),
        }
    }

    static BROKEN: AtomicBool = AtomicBool::new(false);
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();

    fn answer(query: &[u8]) -> Vec<u8> {
        let mut end = 12;
        let mut labels = Vec::new();
        while query[end] != 0 {
            let length = query[end] as usize;
            labels.push(String::from_utf8_lossy(&query[end + 1..end + 1 + length]).to_lowercase());
            end += length + 1;
        }
        let (code, answers) = records(&labels.join("."));
        let mut out = query[..2].to_vec();
        out.extend([0x81, 0x80 | code, 0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
        out.extend(&query[12..end + 5]);
        for (kind, data) in answers {
            out.extend([0xC0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        out
    }

    /// A name server on a thread of its own, one for all tests.
    fn server() -> SocketAddr {
        *SERVER.get_or_init(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            std::thread::spawn(move || {
                let mut query = [0; 1500];
                while let Ok((n, peer)) = socket.recv_from(&mut query) {
                    let _ = socket.send_to(&answer(&query[..n]), peer);
                }
            });
            address
        })
    }

    fn resolver() -> Result<TokioResolver, NetError> {
        let address = server();
        let mut connection = ConnectionConfig::udp();
        connection.port = address.port();
        let server = NameServerConfig::new(IpAddr::from([127, 0, 0, 1]), true, vec![connection]);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().cache_size = 0;
        builder.options_mut().attempts = 0;
        builder.build()
    }

    fn names(kind: &str, names: &[&str]) -> Names {
        let counter = |name: &str| IntCounter::new(name, "x").unwrap();
        Names {
            args: Args {
                names: names.iter().map(|n| (*n).to_string()).collect(),
                refresh_interval: Duration::from_secs(30),
                r#type: kind.into(),
                port: 9100,
            },
            counters: Counters { lookups: counter("lookups"), failures: counter("failures") },
            known: BTreeMap::new(),
            system: resolver,
        }
    }

    #[tokio::test]
    async fn each_type_of_record_becomes_its_target() {
        let srv = |host: &str, port: &str| {
            expected(&[
                ("__meta_dns_name", "srv.test"),
                ("__meta_dns_srv_record_target", &format!("{host}.")),
                ("__meta_dns_srv_record_port", port),
                ("__address__", &format!("{host}:{port}")),
            ])
        };
        let one = |name: &str, address: &str, more: &[(&str, &str)]| {
            vec![expected(&[&[("__meta_dns_name", name), ("__address__", address)], more].concat())]
        };
        for (kind, name, targets) in [
            ("SRV", "srv.test", vec![srv("a.test", "80"), srv("b.test", "81")]),
            ("a", "a.test", one("a.test", "10.0.0.1:9100", &[])),
            ("AAAA", "aaaa.test", one("aaaa.test", "[1:2:3:4:5:6:7:8]:9100", &[])),
            (
                "MX",
                "mx.test",
                one("mx.test", "mail.test:9100", &[("__meta_dns_mx_record_target", "mail.test.")]),
            ),
            (
                "NS",
                "ns.test",
                one("ns.test", "dns.test:9100", &[("__meta_dns_ns_record_target", "dns.test.")]),
            ),
            ("SRV", "missing.test", vec![]),
        ] {
            assert_eq!(names(kind, &[name]).look().await.unwrap(), targets, "{kind} {name}");
        }
    }

    #[tokio::test]
    async fn a_name_that_fails_keeps_its_targets_and_the_others_go_on() {
        let mut names = names("SRV", &["flaky.test", "srv.test"]);
        assert_eq!(names.look().await.unwrap().len(), 3);
        BROKEN.store(true, Ordering::SeqCst);
        assert_eq!(names.look().await.unwrap().len(), 3);
        assert_eq!((names.counters.lookups.get(), names.counters.failures.get()), (4, 1));
        names.args.names = vec!["flaky.test".into()];
        let error = names.look().await.unwrap_err();
        assert!(error.to_string().contains("flaky.test"), "{error}");
    }

    #[tokio::test]
    async fn arguments_that_cannot_work_are_refused() {
        let services = component::Services::for_tests(std::env::temp_dir());
        let harness = Harness::new(ComponentDef::of::<Dns>(), ScopeNames::default(), services);
        for body in [
            "names = [\"a\"]\ntype = \"TXT\"",
            "names = [\"a\"]\ntype = \"A\"",
            "names = [\"a\"]\ntype = \"A\"\nport = 70000",
            "names = [\"a..b\"]",
            "names = []\nrefresh_interval = \"0\"",
        ] {
            let refused = harness.update(body).await.unwrap_err();
            assert!(matches!(refused, Refused::Diagnostics(_)), "{body}: {refused:?}");
        }
    }
}
