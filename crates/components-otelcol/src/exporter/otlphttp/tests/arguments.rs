//! What a block may say: names, types and defaults are Alloy's; what cannot be honoured is refused.

use component::Rejected;
use component::eval::Arguments;
use signal::otlp::{Otlp, OtlpRequest, TracesSignal};

use super::super::Args;
use super::{body, refused, start};
use crate::exporter::args::ClientTls;
use crate::exporter::sending::testkit::differences;

#[test]
fn what_is_wrong_or_cannot_be_honoured_is_told() {
    let client = |inside: &str| body("http://h:4318", inside, "");
    let rest = |inside: &str| body("http://h:4318", "", inside);
    let cases = [
        (String::new(), "client"),
        (body("nonsense", "", ""), "is not a URL"),
        (body("h:4318", "", ""), "cannot be posted to"),
        (rest("traces_endpoint = \"ftp://h\""), "cannot be posted to"),
        (rest("encoding = \"xml\""), "proto or json"),
        (client("compression = \"br\""), "br"),
        (client("compression_params {\nlevel = 10\n}"), "from -1 to 9"),
        (client("compression = \"zstd\"\ncompression_params {\nlevel = 0\n}"), "from 1 to 22"),
        (client("compression = \"none\"\ncompression_params {\nlevel = 3\n}"), "from 0 to 0"),
        (client("timeout = \"0s\""), "above 0"),
        (client("read_buffer_size = \"1KiB\""), "not supported"),
        (client("write_buffer_size = \"1KiB\""), "not supported"),
        (client("headers = { \"a b\" = \"x\" }"), "cannot be the name"),
        (client("max_conns_per_host = -1"), "0 or more"),
        (client("cookies {\nenabled = true\n}"), "not supported"),
        (client("proxy_url = \"ftp://p\""), "scheme"),
        (client("tls {\ntpm {\nenabled = true\n}\n}"), "not supported"),
        (client("tls {\ninclude_insecure_cipher_suites = true\n}"), "not supported"),
        (client("tls {\nmin_version = \"SSL\"\n}"), "not a TLS version"),
        (client("tls {\nmin_version = \"1.3\"\nmax_version = \"TLS 1.2\"\n}"), "no TLS version"),
        (client("tls {\ncurve_preferences = [\"X\"]\n}"), "not a curve"),
        (client("tls {\ncert_file = \"x\"\n}"), "without its key"),
        (rest("sending_queue {\nwait_for_result = true\n}"), "not supported"),
        (rest("sending_queue {\nsizer = \"spans\"\n}"), "requests, items or bytes"),
        (rest("sending_queue {\nnum_consumers = 0\n}"), "between 1 and"),
        (rest("sending_queue {\nqueue_size = 0\n}"), "at least 1"),
        (rest("sending_queue {\nbatch {\nsizer = \"bytes\"\n}\n}"), "max_size = 0"),
        (rest("sending_queue {\nbatch {\nmax_size = 5\n}\n}"), "at least min_size"),
        (rest("sending_queue {\nenabled = false\nbatch { }\n}"), "nothing waits"),
        (rest("retry_on_failure {\nmultiplier = 0.5\n}"), "1 or more"),
        (rest("retry_on_failure {\nrandomization_factor = 2\n}"), "between 0 and 1"),
        (rest("retry_on_failure {\nmax_interval = \"1s\"\n}"), "at least initial_interval"),
        (rest("retry_on_failure {\nmax_elapsed_time = \"1s\"\n}"), "at least initial_interval"),
    ];
    for (body, expected) in cases {
        let said = refused(&body);
        assert!(said.contains(expected), "{body}\n{said}");
    }
}

/// `surface.txt` holds the facts of Alloy 1.18.
#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    let differences = differences(Args::schema(), include_str!("surface.txt"));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_no_matter_where_signals_have_their_own() {
    let backend = net::testkit::Backend::good().await;
    let logs = format!("logs_endpoint = \"{}/own\"", backend.base());
    let running =
        start(&body("ignore", "tls {\ninsecure = true\ninsecure_skip_verify = true\n}", &logs)).await;
    running.push([1]).await;
    assert_eq!(backend.wait(1).await[0].path, "/own");
    // The others are refused by name, and counted.
    let traces = Otlp::of(OtlpRequest::<TracesSignal>::from_wire(Default::default(), 1, None));
    let answer = running.input.traces.as_ref().expect("taken").send(traces).await;
    assert!(
        matches!(&answer, Err(Rejected::Permanent(m)) if m.contains("traces have no endpoint")),
        "{answer:?}"
    );
    assert_eq!(running.dropped("no_endpoint"), 1.0);
}

#[test]
fn insecure_turns_the_tls_block_off_unless_it_names_authorities() {
    let tls = |insecure, ca: &str| ClientTls {
        insecure,
        ca_file: ca.into(),
        insecure_skip_verify: true,
        ..ClientTls::defaults()
    };
    assert!(tls(true, "").is_off() && !tls(true, "ca").is_off() && !tls(false, "").is_off());
    let fields = |tls: ClientTls| tls.without_effect().iter().map(|i| i.field).collect::<Vec<_>>();
    assert_eq!(fields(tls(true, "")), [Some("insecure_skip_verify")]);
    assert!(fields(tls(false, "")).is_empty());
}
