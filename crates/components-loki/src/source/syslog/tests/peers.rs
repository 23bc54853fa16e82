//! Real senders: Debian's rsyslog and util-linux' logger, over TCP, UDP and TLS. Tests that need their programs run when
//! they are asked for, as `.ci/run` does.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;

/// Where a program of the distribution is.
fn program(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let mut paths = folders.iter().map(|folder| Path::new(folder).join(name));
    paths.find(|path| path.exists()).unwrap_or_else(|| panic!("{name} has to be installed"))
}

/// An rsyslogd that forwards what a file gets.
struct Rsyslog {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Rsyslog {
    /// `action` are parameters of `omfwd`.
    fn start(program: &Path, global: &str, action: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "global(workDirectory=\"{work}\" {global})\n\
             module(load=\"imfile\" mode=\"polling\" pollingInterval=\"1\")\n\
             input(type=\"imfile\" file=\"{input}\" tag=\"app:\" facility=\"local4\" severity=\"notice\" \
             readTimeout=\"1\")\n\
             action(type=\"omfwd\" target=\"127.0.0.1\" {action})\n",
            work = folder.path().display(),
            input = path("input.log"),
        );
        std::fs::write(path("input.log"), "").expect("written");
        std::fs::write(path("rsyslog.conf"), config).expect("written");
        let child = Command::new(program)
            .args(["-n", "-iNONE", "-f", &path("rsyslog.conf")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path("stderr")).expect("a file"))
            .spawn()
            .expect("started");
        Self { child, folder }
    }

    fn log(&self, lines: impl Iterator<Item = String>) {
        use std::io::Write as _;
        let path = self.folder.path().join("input.log");
        let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("the input");
        let text: String = lines.map(|line| line + "\n").collect();
        file.write_all(text.as_bytes()).expect("written");
    }
}

const LINES: usize = 500;

/// Sends numbered lines through an rsyslog and checks that all arrive, in order, with their labels.
async fn through(bench: &Bench, global: &str, action: &str, ordered: bool) {
    let rsyslog = Rsyslog::start(&program("rsyslogd"), global, &format!("port=\"{}\" {action}", bench.port));
    let line = |i: usize| format!("line {i}: wäre [not] \"parsed\"");
    rsyslog.log((0..LINES).map(line));
    let entries = tokio::time::timeout(Duration::from_secs(30), bench.entries(LINES)).await;
    let mut entries = entries.unwrap_or_else(|_| {
        let told = std::fs::read_to_string(rsyslog.folder.path().join("stderr")).unwrap_or_default();
        panic!("not all lines arrived through {action}: {told}")
    });
    if !ordered {
        let number = |l: &str| l.split([' ', ':']).nth(1).and_then(|n| n.parse::<usize>().ok());
        entries.sort_by_key(|(_, _, l)| number(l));
    }
    for (i, (labels, _, got)) in entries.iter().enumerate() {
        assert_eq!(got.trim_start(), line(i), "{action}");
        for part in ["app_name=\"app\"", "facility=\"local4\"", "severity=\"notice\""] {
            assert!(labels.contains(part), "{part} in {labels}: {action}");
        }
    }
    assert_eq!(bench.metric("loki_source_syslog_parsing_errors_total"), 0.0, "{action}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rsyslogd"]
async fn rsyslog_sends_in_every_format_and_framing() {
    const NEW: &str = "template=\"RSYSLOG_SyslogProtocol23Format\"";
    for (extra, action) in [
        ("", format!("protocol=\"tcp\" {NEW}")),
        ("", format!("protocol=\"tcp\" {NEW} tcp_framing=\"octet-counted\"")),
        ("protocol = \"udp\"", format!("protocol=\"udp\" {NEW}")),
        ("syslog_format = \"rfc3164\"", "protocol=\"tcp\"".to_owned()),
        ("syslog_format = \"rfc3164\"", "protocol=\"tcp\" template=\"RSYSLOG_ForwardFormat\"".to_owned()),
        ("syslog_format = \"rfc3164\"\nprotocol = \"udp\"", "protocol=\"udp\"".to_owned()),
    ] {
        let bench = Bench::start(extra).await;
        through(&bench, "", &action, true).await;
    }
}

/// A certificate for 127.0.0.1 and its authority, as files.
fn certificates(folder: &Path) -> [String; 3] {
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    let authority = params.self_signed(&authority_key).expect("signed");
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let params = rcgen::CertificateParams::new(names).expect("names");
    let certificate = params.signed_by(&key, &issuer).expect("signed");
    [("ca.pem", authority.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())].map(
        |(name, pem)| {
            let path = folder.join(name);
            std::fs::write(&path, pem).expect("written");
            path.display().to_string()
        },
    )
}

fn tls_config([ca, cert, key]: &[String; 3], mutual: bool) -> String {
    let ca = if mutual { format!("ca_file = \"{ca}\"\n") } else { String::new() };
    format!("tls_config {{\n{ca}cert_file = \"{cert}\"\nkey_file = \"{key}\"\n}}")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rsyslogd with rsyslog-gnutls or rsyslog-openssl"]
async fn rsyslog_sends_over_tls_also_with_a_certificate_of_its_own() {
    net::install_provider();
    let driver = ["gtls", "ossl"].into_iter().find(|name| {
        ["/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib/rsyslog"]
            .iter()
            .any(|folder| Path::new(folder).join(format!("lmnsd_{name}.so")).exists())
    });
    let driver = driver.expect("rsyslog-gnutls or rsyslog-openssl has to be installed");
    let folder = tempfile::tempdir().expect("a folder");
    let files = certificates(folder.path());
    let [ca, cert, key] = &files;
    for mutual in [false, true] {
        let bench = Bench::start(&tls_config(&files, mutual)).await;
        let own =
            format!("DefaultNetstreamDriverCertFile=\"{cert}\" DefaultNetstreamDriverKeyFile=\"{key}\"");
        let own = if mutual { own.as_str() } else { "" };
        let global =
            format!("DefaultNetstreamDriver=\"{driver}\" DefaultNetstreamDriverCAFile=\"{ca}\" {own}");
        let action = "protocol=\"tcp\" StreamDriverMode=\"1\" StreamDriver=\"".to_owned()
            + driver
            + "\" StreamDriverAuthMode=\"x509/certvalid\" template=\"RSYSLOG_SyslogProtocol23Format\"";
        through(&bench, &global, &action, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs logger"]
async fn logger_sends_in_both_formats_over_both_protocols() {
    let logger = program("logger");
    for (format, flag) in [("rfc5424", "--rfc5424"), ("rfc3164", "--rfc3164")] {
        for (protocol, flags) in
            [("tcp", &["--tcp"][..]), ("tcp", &["--tcp", "--octet-count"]), ("udp", &["--udp"])]
        {
            let bench =
                Bench::start(&format!("protocol = \"{protocol}\"\nsyslog_format = \"{format}\"")).await;
            let port = bench.port.to_string();
            let status = Command::new(&logger)
                .args(["-n", "127.0.0.1", "-P", &port, "-t", "app", "-p", "local4.notice", "--id=42", flag])
                .args(flags)
                .arg("hello wörld")
                .status()
                .expect("run");
            assert!(status.success());
            let entries = tokio::time::timeout(Duration::from_secs(10), bench.entries(1)).await;
            let (labels, _, line) = entries.expect("it arrives").remove(0);
            assert_eq!(line, "hello wörld", "{format} {flags:?}");
            for part in ["app_name=\"app\"", "proc_id=\"42\"", "facility=\"local4\"", "severity=\"notice\""] {
                assert!(labels.contains(part), "{part} in {labels}: {format} {flags:?}");
            }
        }
    }
}

/// A client that trusts the authority, with or without a certificate of its own.
fn client([ca, cert, key]: &[String; 3], own: bool) -> tokio_rustls::TlsConnector {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("PEM")).expect("an authority");
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = match own {
        false => builder.with_no_client_auth(),
        true => {
            let chain = vec![CertificateDer::from_pem_file(cert).expect("PEM")];
            let key = PrivateKeyDer::from_pem_file(key).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

/// Sends a line over TLS; whether that was possible.
async fn send_tls(bench: &Bench, connector: &tokio_rustls::TlsConnector, line: &str) -> bool {
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let Ok(mut stream) = connector.connect(name, bench.connect().await).await else { return false };
    let sent = stream.write_all(format!("{HEAD}{line}\n").as_bytes()).await.is_ok();
    let closed = stream.shutdown().await.is_ok();
    // With TLS 1.3 the server's refusal comes after the handshake: it ends the connection otherwise than well.
    let mut rest = Vec::new();
    sent && closed && tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.is_ok()
}

#[tokio::test]
async fn tls_takes_whom_it_is_told_to_and_nobody_else() {
    net::install_provider();
    let folder = tempfile::tempdir().expect("a folder");
    let files = certificates(folder.path());
    let (bare, known) = (client(&files, false), client(&files, true));
    let bench = Bench::start(&tls_config(&files, false)).await;
    assert!(send_tls(&bench, &bare, "one").await);
    assert_eq!(bench.lines(1).await, ["one"]);
    let mut plain = bench.connect().await;
    let _ = plain.write_all(format!("{HEAD}plain\n").as_bytes()).await;
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut plain, &mut Vec::new()).await;
    // Other arguments of TLS at the same address: the next handshake knows them.
    let mutual = listener(bench.port, &tls_config(&files, true));
    bench.harness.update(&config(&mutual)).await.expect("updated");
    assert!(!send_tls(&bench, &bare, "nobody").await);
    assert!(send_tls(&bench, &known, "two").await);
    assert_eq!(bench.lines(1).await, ["two"]);
    // A certificate that cannot be read is refused, and the one before stays.
    let broken = listener(bench.port, "tls_config {\ncert_pem = \"x\"\nkey_pem = \"x\"\n}");
    assert!(bench.harness.update(&config(&broken)).await.is_err());
    assert!(send_tls(&bench, &known, "three").await);
    assert_eq!(bench.lines(1).await, ["three"]);
    bench.harness.update(&config(&listener(bench.port, ""))).await.expect("updated");
    bench.connect().await.write_all(format!("{HEAD}plain\n").as_bytes()).await.expect("sent");
    assert_eq!(bench.lines(1).await, ["plain"]);
}
