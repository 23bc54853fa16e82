//! The credentials of clients and the questions of servers.

use component::ComponentDef;
use component::testkit::{Harness, Names};
use http::Method;

use super::*;

async fn handler(definition: ComponentDef, body: &str) -> Handler {
    let harness = Harness::start(definition, body, Names::default()).await;
    let exports = harness.node.exports();
    Handler::from_value(&exports.as_object().expect("an object")["handler"]).expect("a handler")
}

async fn basic(body: &str) -> Handler {
    handler(ComponentDef::pure::<basic::Basic>(), body).await
}

async fn bearer(body: &str) -> Handler {
    handler(ComponentDef::pure::<bearer::Bearer>(), body).await
}

async fn headers(body: &str) -> Handler {
    handler(ComponentDef::pure::<headers::Headers>(), body).await
}

async fn signed(handler: &Handler, before: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut outgoing = Outgoing {
        method: Method::POST,
        url: net::Url::parse("http://h/").expect("a URL"),
        headers: map(before),
        body: bytes::Bytes::new(),
    };
    handler.signer().sign(&mut outgoing).await.expect("signed");
    outgoing.headers
}

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    pairs.iter().map(pair).collect()
}

#[tokio::test]
async fn what_a_client_sends_is_what_a_server_believes() {
    let password = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(password.path(), "from-file\n").expect("written");
    let file = format!("client_auth {{\nusername = \"a\"\npassword_file = {:?}\n}}\n", password.path());
    let cases = [
        (basic("username = \"a\"\npassword = \"b\"").await, "authorization", "Basic YTpi"),
        (
            basic(&(file + "htpasswd {\ninline = \"a:from-file\"\n}")).await,
            "authorization",
            "Basic YTpmcm9tLWZpbGU=",
        ),
        (bearer("token = \"t\"").await, "authorization", "Bearer t"),
        (bearer("token = \"t\"\nscheme = \"\"\nheader = \"X-Key\"").await, "x-key", "t"),
    ];
    for (handler, name, expected) in cases {
        assert!(handler.is_for_clients() && handler.is_for_servers());
        let headers = signed(&handler, &[]).await;
        assert_eq!(headers[name], expected);
        assert!(headers[name].is_sensitive());
        assert_eq!(handler.check(&headers).await, Ok(()));
        assert!(matches!(handler.check(&HeaderMap::new()).await, Err(Denied::Unauthenticated(_))));
        for wrong in ["", "Basic", "Basic YTpj", "Basic ???", "Bearer", "Bearer tt", "Bearer ", "x"] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_str(wrong).expect("a value"),
            )]);
            let answer = handler.check(&headers).await;
            assert!(matches!(answer, Err(Denied::Unauthenticated(_))), "{wrong} {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_handler_says_whom_it_is_for() {
    let server = basic("htpasswd {\ninline = \"a:b\"\n}").await;
    assert!(server.is_for_servers() && !server.is_for_clients());
    let client = basic("client_auth {\nusername = \"a\"\n}").await;
    assert!(client.is_for_clients() && !client.is_for_servers());
    assert!(client.check(&signed(&client, &[]).await).await.is_err(), "nobody is believed");
    let headers = headers("header {\nkey = \"a\"\nvalue = \"b\"\n}").await;
    assert!(headers.is_for_clients() && !headers.is_for_servers());
    assert!(matches!(headers.check(&HeaderMap::new()).await, Err(Denied::Broken(_))));
    assert_eq!(headers.owner(), "otelcol.auth.headers.test");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_no_reason_to_let_somebody_in() {
    let handler = basic("htpasswd {\nfile = \"/nonexistent\"\n}").await;
    let answer = handler.check(&map(&[("authorization", "Basic YTpi")])).await;
    assert!(matches!(answer, Err(Denied::Broken(_))), "{answer:?}");
}

#[tokio::test]
async fn headers_are_set_as_their_actions_say() {
    let handler = headers(
        "header {\nkey = \"a\"\nvalue = \"1\"\naction = \"insert\"\n}\n\
         header {\nkey = \"b\"\nvalue = \"1\"\naction = \"insert\"\n}\n\
         header {\nkey = \"c\"\nvalue = \"1\"\naction = \"update\"\n}\n\
         header {\nkey = \"d\"\nvalue = \"1\"\naction = \"update\"\n}\n\
         header {\nkey = \"e\"\nvalue = \"1\"\n}\n\
         header {\nkey = \"f\"\naction = \"delete\"\n}",
    )
    .await;
    let after = signed(&handler, &[("b", "0"), ("d", "0"), ("e", "0"), ("f", "0")]).await;
    assert_eq!(after, map(&[("a", "1"), ("b", "0"), ("d", "1"), ("e", "1")]));
}

#[tokio::test]
async fn a_header_of_the_client_is_sent_on_unless_it_is_not_clear_which() {
    let handler = headers("header {\nkey = \"X-Scope-OrgID\"\nfrom_context = \"X-Tenant\"\n}").await;
    let client = |headers: &[(&str, &str)]| ClientMetadata {
        headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
        peer: String::new(),
    };
    let name = HeaderName::from_static("x-scope-orgid");
    let found = handler.client_headers(Some(&client(&[("x-tenant", "t1"), ("x", "y")])));
    assert_eq!(found, Ok(vec![(name.clone(), "t1".to_owned())]));
    assert_eq!(handler.client_headers(Some(&client(&[]))), Ok(Vec::new()));
    assert_eq!(handler.client_headers(None), Ok(Vec::new()));
    let twice = handler.client_headers(Some(&client(&[("x-tenant", "t1"), ("x-tenant", "t2")])));
    assert!(twice.is_err_and(|e| e.contains("x-tenant")));
    let mut into = HeaderMap::new();
    handler.apply_from_client(&[(name.clone(), HeaderValue::from_static("t1"))], &mut into);
    assert_eq!(into[name], "t1");
    assert_eq!(signed(&handler, &[]).await, HeaderMap::new());
}

#[test]
fn what_is_wrong_is_told() {
    let cases: [(ComponentDef, &str, &str); 9] = [
        (ComponentDef::pure::<basic::Basic>(), "", "is needed"),
        (ComponentDef::pure::<basic::Basic>(), "password = \"x\"", "is needed"),
        (ComponentDef::pure::<basic::Basic>(), "username = \"a:b\"", "colon"),
        (ComponentDef::pure::<basic::Basic>(), "htpasswd {\ninline = \"a:$1$x\"\n}", "bcrypt"),
        (ComponentDef::pure::<bearer::Bearer>(), "token = \"\"", "empty"),
        (ComponentDef::pure::<bearer::Bearer>(), "token = \"a\\nb\"", "characters"),
        (ComponentDef::pure::<headers::Headers>(), "", "at least one"),
        (ComponentDef::pure::<headers::Headers>(), "header {\nkey = \"a\"\n}", "needs a value"),
        (
            ComponentDef::pure::<headers::Headers>(),
            "header {\nkey = \"a\"\nfrom_attribute = \"x\"\n}",
            "not supported",
        ),
    ];
    for (definition, body, expected) in cases {
        let harness = Harness::new(definition, Names::default(), component::Services::for_tests("unused"));
        let refused = futures_util::FutureExt::now_or_never(harness.update(body)).expect("at once");
        let said = format!("{:?}", refused.expect_err(body));
        assert!(said.contains(expected), "{body}: {said}");
    }
}
