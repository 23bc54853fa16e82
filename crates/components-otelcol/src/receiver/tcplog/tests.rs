//! Connections on loopback: lines, records, back-pressure, changes.

use component::ComponentDef;
use tokio::io::AsyncWriteExt as _;

use super::TcpLog;
use crate::receiver::text::testkit::{Rig, free_port};

const DEF: ComponentDef = ComponentDef::of::<TcpLog>();

#[tokio::test]
async fn lines_become_records_however_they_arrive() {
    let long = "x".repeat(100_000);
    for (options, sent, expected) in [
        ("", "one\n  two \r\n\nthree".to_string(), vec!["one", "two", "three"]),
        ("one_log_per_packet = true", "one\ntwo\n".into(), vec!["one\ntwo"]),
        ("multiline {\nline_start_pattern = \"^L\"\n}", "L1\n a\nL2\nL3".into(), vec!["L1\n a", "L2", "L3"]),
        ("max_log_size = \"4B\"", "0123456789\n".into(), vec!["0123", "4567", "89"]),
        ("max_log_size = \"4B\"\none_log_per_packet = true", "0123456789".into(), vec!["0123", "4567", "89"]),
        ("", format!("{long}\nx\n"), vec![&*long, "x"]),
        ("operators = [{type = \"filter\", expr = \"body == 'b'\"}]", "a\nb\nc\n".into(), vec!["a", "c"]),
    ] {
        let port = free_port();
        let mut rig = Rig::start(DEF, &format!("listen_address = \"127.0.0.1:{port}\"\n{options}")).await;
        rig.send(port, sent).await;
        rig.until(expected.len()).await;
        rig.stop().await;
        assert_eq!(rig.bodies(), expected, "{options}");
    }
}

#[tokio::test]
async fn half_lines_wait_and_what_is_no_text_is_counted() {
    let port = free_port();
    let options = "add_attributes = true\n";
    let mut rig = Rig::start(DEF, &format!("listen_address = \"127.0.0.1:{port}\"\n{options}")).await;
    let mut client = rig.connect(port).await;
    client.write_all(b"one\nhal").await.unwrap();
    rig.until(1).await;
    client.write_all(b"f\n\xFF\n").await.unwrap();
    rig.until(3).await;
    assert_eq!(rig.bodies(), ["one", "half", "\u{FFFD}"]);
    assert_eq!(rig.metric("otelcol_receiver_tcplog_altered_records_total"), 1.0);
    let local = client.local_addr().unwrap().port().to_string();
    for (name, expected) in [
        ("net.transport", "IP.TCP"),
        ("net.peer.ip", "127.0.0.1"),
        ("net.peer.port", &*local),
        ("net.host.port", &*port.to_string()),
    ] {
        assert_eq!(rig.attribute(0, name).as_deref(), Some(expected), "{name}");
    }
    assert!(rig.attribute(0, "net.peer.name").is_some_and(|n| !n.is_empty()));
    rig.stop().await;
}

#[tokio::test]
async fn senders_wait_while_nobody_takes_and_nothing_is_lost() {
    let port = free_port();
    let retry = "retry_on_failure {\ninitial_interval = \"10ms\"\nmax_interval = \"20ms\"\n}";
    let mut rig = Rig::start(DEF, &format!("listen_address = \"127.0.0.1:{port}\"\n{retry}")).await;
    rig.refuse();
    let mut client = rig.connect(port).await;
    let sending = tokio::spawn(async move {
        for i in 0..20_000 {
            client.write_all(format!("line {i} {}\n", "x".repeat(500)).as_bytes()).await.unwrap();
        }
        client.shutdown().await.unwrap();
    });
    tokio::time::timeout(std::time::Duration::from_millis(300), async {
        while !sending.is_finished() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect_err("ten megabytes do not fit into the kernel's buffers: it has to wait");
    rig.accept();
    rig.until(20_000).await;
    sending.await.unwrap();
    let in_order = rig.bodies().iter().enumerate().all(|(i, b)| b.starts_with(&format!("line {i} ")));
    assert!(in_order && rig.records.len() == 20_000);
    rig.stop().await;
}

#[tokio::test]
async fn a_change_keeps_connections_and_the_end_reads_what_is_there() {
    let (port, other) = (free_port(), free_port());
    let body = |port: u16, rest: &str| format!("listen_address = \"127.0.0.1:{port}\"\n{rest}");
    let mut rig = Rig::start(DEF, &body(port, "")).await;
    let mut client = rig.connect(port).await;
    client.write_all(b"one\n").await.unwrap();
    rig.until(1).await;
    let add = "operators = [{type = \"add\", field = \"attributes.x\", value = 1}]";
    rig.update(&body(port, add)).await;
    client.write_all(b"two\n").await.unwrap();
    rig.until(2).await;
    assert_eq!(rig.attribute(1, "x").as_deref(), Some("1"));
    rig.update(&body(other, add)).await;
    rig.send(other, "three\n").await;
    rig.until(3).await;
    // The old listener is gone; what was sent to it before is not.
    let mut last = rig.connect(other).await;
    last.write_all(b"four\nno end").await.unwrap();
    rig.until(4).await;
    rig.stop().await;
    assert_eq!(rig.bodies(), ["one", "two", "three", "four", "no end"]);
}

#[tokio::test]
async fn connections_may_be_encrypted() {
    net::install_provider();
    let port = free_port();
    let key = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, secret) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, key.cert.pem()).unwrap();
    std::fs::write(&secret, key.signing_key.serialize_pem()).unwrap();
    let tls = format!("tls {{\ncert_file = {cert:?}\nkey_file = {secret:?}\n}}");
    let mut rig = Rig::start(DEF, &format!("listen_address = \"127.0.0.1:{port}\"\n{tls}")).await;
    // Plain text is no handshake: it is closed, and others go on.
    rig.send(port, "plain\n").await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = rig.connect(port).await;
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut client = connector.connect(name, stream).await.unwrap();
    client.write_all(b"secret\n").await.unwrap();
    rig.until(1).await;
    client.shutdown().await.unwrap();
    assert_eq!(rig.bodies(), ["secret"]);
    rig.stop().await;
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_refused() {
    for (body, says) in [
        ("listen_address = \"nowhere\"", "not an address"),
        ("listen_address = \"127.0.0.1:0\"\nencoding = \"klingon\"", "encoding"),
        ("listen_address = \"127.0.0.1:0\"\nmax_log_size = \"1GiB\"", "max_log_size"),
        ("listen_address = \"127.0.0.1:0\"\noperators = [{type = \"x\"}]", "operators[0]"),
        ("listen_address = \"127.0.0.1:0\"\nmultiline {\nline_end_pattern = \"(\"\n}", "regular expression"),
        ("listen_address = \"127.0.0.1:0\"\ntls {\ntpm {\nenabled = true\n}\n}", "trusted platform module"),
    ] {
        let refused = Rig::refused(DEF, body).await;
        assert!(refused.contains(says), "{body}: {refused}");
    }
}
