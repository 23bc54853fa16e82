//! Messages over TCP and UDP on loopback: framing, fields, errors, changes.

use component::ComponentDef;
use tokio::net::UdpSocket;

use super::Syslog;
use crate::receiver::text::testkit::{Rig, free_port};

const DEF: ComponentDef = ComponentDef::of::<Syslog>();

const MESSAGE: &str = "<165>1 2026-01-02T03:04:05.5Z host app 7 ID [a b=\"c\"] text";

fn tcp(port: u16, rest: &str, block: &str) -> String {
    format!("{rest}\ntcp {{\nlisten_address = \"127.0.0.1:{port}\"\n{block}\n}}")
}

#[tokio::test]
async fn messages_become_records_however_they_are_framed() {
    let length = MESSAGE.len();
    for (rest, block, sent) in [
        ("", "", format!("{MESSAGE}\n{MESSAGE}\n")),
        ("", "", format!("{MESSAGE}\n{MESSAGE}")),
        ("enable_octet_counting = true", "", format!("{length} {MESSAGE}{length} {MESSAGE}")),
        ("non_transparent_framing_trailer = \"NUL\"", "", format!("{MESSAGE}\0{MESSAGE}\0")),
        ("non_transparent_framing_trailer = \"LF\"", "", format!("{MESSAGE}\n{MESSAGE}\n")),
        ("", "multiline {\nline_start_pattern = \"^<\"\n}", format!("{MESSAGE}\n{MESSAGE}\n")),
    ] {
        let port = free_port();
        let mut rig = Rig::start(DEF, &tcp(port, rest, block)).await;
        rig.send(port, sent).await;
        rig.until(2).await;
        assert_eq!(rig.bodies(), [MESSAGE, MESSAGE], "{rest} {block}");
        for (name, expected) in [
            ("hostname", "host"),
            ("appname", "app"),
            ("proc_id", "7"),
            ("msg_id", "ID"),
            ("message", "text"),
            ("priority", "165"),
            ("facility", "20"),
            ("version", "1"),
            ("structured_data", r#"{"a":{"b":"c"}}"#),
        ] {
            assert_eq!(rig.attribute(1, name).as_deref(), Some(expected), "{name}");
        }
        let record = &rig.records[0];
        assert_eq!((record.severity_number, &*record.severity_text), (10, "notice"));
        assert_eq!(record.time_unix_nano, 1_767_323_045_500_000_000);
        rig.stop().await;
    }
}

#[tokio::test]
async fn messages_of_rfc_3164_have_the_time_of_their_zone_and_may_lack_a_priority() {
    let port = free_port();
    let rest = "protocol = \"rfc3164\"\nlocation = \"Europe/Berlin\"\nallow_skip_pri_header = true";
    let mut rig = Rig::start(DEF, &tcp(port, rest, "add_attributes = true")).await;
    rig.send(port, "<34>Jan  2 03:04:05 host su: failed\nJan  2 03:04:05 host su: again\n").await;
    rig.until(2).await;
    assert_eq!(rig.attribute(0, "message").as_deref(), Some("failed"));
    assert_eq!((rig.records[0].severity_number, rig.records[1].severity_number), (18, 0));
    assert_eq!(rig.attribute(1, "facility"), None);
    assert_eq!(rig.records[0].time_unix_nano / 1_000_000_000 % 86_400, 2 * 3600 + 4 * 60 + 5);
    assert_eq!(rig.attribute(0, "net.transport").as_deref(), Some("IP.TCP"));
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_parsed_goes_where_on_error_says_and_operators_come_after() {
    for (on_error, expected) in [("send", vec!["noise", MESSAGE]), ("drop_quiet", vec![MESSAGE])] {
        let port = free_port();
        let rest = format!(
            "on_error = \"{on_error}\"\noperators = [{{type = \"add\", if = \"attributes.appname == 'app'\",
            field = \"attributes.seen\", value = true}}]"
        );
        let mut rig = Rig::start(DEF, &tcp(port, &rest, "")).await;
        rig.send(port, format!("noise\n{MESSAGE}\n")).await;
        rig.until(expected.len()).await;
        assert_eq!(rig.bodies(), expected);
        assert_eq!(rig.attribute(expected.len() - 1, "seen").as_deref(), Some("true"));
        let dropped = rig.metric("otelcol_receiver_syslog_dropped_records_total");
        assert_eq!(dropped, 2.0 - expected.len() as f64);
        rig.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_be_framed_is_counted_and_too_long_messages_are_cut() {
    let port = free_port();
    let mut rig = Rig::start(DEF, &tcp(port, "enable_octet_counting = true\nmax_octets = 60", "")).await;
    rig.send(port, "12345678901234567890 x").await;
    let long = format!("{MESSAGE} {}", "x".repeat(500));
    rig.send(port, format!("{} {long}{} {MESSAGE}", long.len(), MESSAGE.len())).await;
    rig.until(2).await;
    assert_eq!(rig.bodies(), [&long[..60], &MESSAGE[..60.min(MESSAGE.len())]]);
    while rig.metric("otelcol_receiver_syslog_dropped_records_total") < 1.0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(rig.metric("otelcol_receiver_syslog_altered_records_total"), 1.0);
    rig.stop().await;
}

#[tokio::test]
async fn datagrams_become_records() {
    for (block, expected) in [
        ("", vec!["one", "two", MESSAGE]),
        ("one_log_per_packet = true", vec!["one\ntwo", MESSAGE]),
        ("async {\nprocessors = 1\nmax_queue_length = 5\n}", vec!["one", "two", MESSAGE]),
    ] {
        let port = free_port();
        let body =
            format!("udp {{\nlisten_address = \"127.0.0.1:{port}\"\nadd_attributes = true\n{block}\n}}");
        let mut rig = Rig::start(DEF, &body).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // Until it listens datagrams go nowhere.
        while rig.records.is_empty() {
            client.send_to(MESSAGE.as_bytes(), ("127.0.0.1", port)).await.unwrap_or_default();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            rig.until(0).await;
        }
        let before = rig.records.len();
        client.send_to(b"one\ntwo\n", ("127.0.0.1", port)).await.unwrap();
        client.send_to(MESSAGE.as_bytes(), ("127.0.0.1", port)).await.unwrap();
        while rig.bodies().iter().filter(|b| b.starts_with("one")).count() < 1
            || rig.bodies().last().map(String::as_str) != Some(MESSAGE)
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            rig.until(before).await;
        }
        let bodies = rig.bodies();
        let first = bodies.iter().position(|b| b.starts_with("one")).unwrap();
        assert_eq!(bodies[first..], expected, "{block}");
        assert_eq!(rig.attribute(first, "net.transport").as_deref(), Some("IP.UDP"));
        rig.stop().await;
    }
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_refused() {
    let at = "listen_address = \"127.0.0.1:0\"";
    for (body, says) in [
        (String::new(), "nothing listens"),
        ("tcp {\n}".to_string(), "listen_address"),
        (format!("protocol = \"rfc1\"\ntcp {{\n{at}\n}}"), "protocol"),
        (format!("location = \"Mars\"\ntcp {{\n{at}\n}}"), "location"),
        (format!("on_error = \"panic\"\ntcp {{\n{at}\n}}"), "on_error"),
        (format!("enable_octet_counting = true\nudp {{\n{at}\n}}"), "enable_octet_counting"),
        (format!("non_transparent_framing_trailer = \"CR\"\ntcp {{\n{at}\n}}"), "LF or NUL"),
        (format!("max_octets = 0\ntcp {{\n{at}\n}}"), "max_octets"),
        (format!("udp {{\n{at}\nasync {{\nprocessors = 0\n}}\n}}"), "processors"),
        (format!("tcp {{\n{at}\nencoding = \"nop\"\n}}"), "encoding"),
    ] {
        let refused = Rig::refused(DEF, &body).await;
        assert!(refused.contains(says), "{body}: {refused}");
    }
}
