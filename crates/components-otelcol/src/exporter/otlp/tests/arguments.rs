//! What a block may say: names, types and defaults are Alloy's; what cannot be honoured is refused.

use component::eval::{ArgValue as _, Arguments};
use component::testkit::Names;

use super::super::Args;
use super::{DEFINITION, body};
use crate::auth::Handler;
use crate::exporter::sending::testkit::{differences, refused};

/// `surface.txt` holds the facts of Alloy 1.18.
#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    let differences = differences(Args::schema(), include_str!("surface.txt"));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn what_is_wrong_or_cannot_be_honoured_is_told() {
    let client = |inside: &str| body("h:4317", inside, "");
    let rest = |inside: &str| body("h:4317", "", inside);
    let names = Names::default().with("nobody", Handler::default().to_value());
    for (body, expected) in [
        (String::new(), "client"),
        (body("", "", ""), "is empty"),
        (body("h", "", ""), "has no port"),
        (body("xds:///h:1", "", ""), "not supported"),
        (client("compression = \"zlib\""), "gRPC knows"),
        (client("compression = \"br\""), "br"),
        (client("balancer_name = \"least_request\""), "round_robin or pick_first"),
        (client("headers = { \"a b\" = \"x\" }"), "cannot be the name"),
        (client("auth = nobody"), "nothing that a client could send"),
        (client("authority = \"a b\""), "authority"),
        (client("tls {\ntpm {\nenabled = true\n}\n}"), "not supported"),
        (client("tls {\nmin_version = \"1.3\"\nmax_version = \"TLS 1.2\"\n}"), "no TLS version"),
        (rest("timeout = \"0s\""), "above 0"),
        (rest("sending_queue {\nstorage = nobody\n}"), "stores nothing"),
        (rest("sending_queue {\nwait_for_result = true\n}"), "not supported"),
        (rest("sending_queue {\nqueue_size = 0\n}"), "at least 1"),
    ] {
        let said = refused(DEFINITION, &body, names.clone());
        assert!(said.contains(expected), "{body}\n{said}");
    }
}
