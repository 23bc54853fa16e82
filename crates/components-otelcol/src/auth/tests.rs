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

fn oauth2_body(token_url: &str, rest: &str) -> String {
    format!("client_id = \"me\"\ntoken_url = {token_url:?}\n{rest}")
}

/// A token endpoint that gives numbered tokens which last so many seconds.
async fn token_endpoint(seconds: u32) -> net::testkit::Backend {
    let mut given = 0;
    net::testkit::Backend::start(move |_| {
        given += 1;
        net::testkit::Reply::Answer {
            status: 200,
            headers: vec![("content-type", "application/json".into())],
            body: format!(
                "{{\"access_token\":\"t{given}\",\"token_type\":\"bearer\",\"expires_in\":{seconds}}}"
            ),
        }
    })
    .await
}

async fn authorization(signer: &Arc<dyn Sign>) -> String {
    let mut outgoing = Outgoing {
        method: Method::POST,
        url: net::Url::parse("http://h/").expect("a URL"),
        headers: HeaderMap::new(),
        body: bytes::Bytes::new(),
    };
    signer.sign(&mut outgoing).await.expect("signed");
    outgoing.headers["authorization"].to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_before_its_end() {
    let definition = ComponentDef::pure::<oauth2::OAuth2>();
    let endpoint = token_endpoint(60).await;
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "s e\n").expect("written");
    let rest = format!(
        "client_secret = \"other\"\nclient_secret_file = {:?}\nscopes = [\"a\", \"b\"]\nendpoint_params = {{ audience = [\"x\", \"y\"] }}",
        secret.path()
    );
    let kept = handler(definition, &oauth2_body(&endpoint.base(), &rest)).await;
    assert!(kept.is_for_clients() && kept.is_for_calls() && !kept.is_for_servers());
    let signer = kept.signer();
    for _ in 0..3 {
        assert_eq!(authorization(&signer).await, "Bearer t1");
    }
    let asked = endpoint.all().remove(0);
    assert_eq!(asked.headers["authorization"], "Basic bWU6cytl");
    let form = String::from_utf8(asked.body).expect("text");
    assert_eq!(form, "grant_type=client_credentials&scope=a+b&audience=x&audience=y");
    // A buffer longer than the token lasts: it is never used twice.
    let rest = "client_secret = \"s\"\nexpiry_buffer = \"2m\"";
    let signer = handler(definition, &oauth2_body(&endpoint.base(), rest)).await.signer();
    assert_ne!(authorization(&signer).await, authorization(&signer).await);
}

#[tokio::test]
async fn an_assertion_is_signed_by_the_key() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let endpoint = token_endpoint(60).await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key").serialize_pem();
    let rest = format!(
        "grant_type = \"urn:ietf:params:oauth:grant-type:jwt-bearer\"\nclient_certificate_key = {pair:?}\nclient_certificate_key_id = \"k1\"\nsignature_algorithm = \"RS512\"\nclaims = {{ aud = \"them\", n = 7 }}"
    );
    let definition = ComponentDef::pure::<oauth2::OAuth2>();
    let signer = handler(definition, &oauth2_body(&endpoint.base(), &rest)).await.signer();
    assert_eq!(authorization(&signer).await, "Bearer t1");
    let form = String::from_utf8(endpoint.all().remove(0).body).expect("text");
    let (grant, assertion) = form.split_once("&assertion=").expect("an assertion");
    assert_eq!(grant, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer");
    let parts: Vec<_> = assertion.split('.').collect();
    let json = |part: &str| -> serde_json::Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
    };
    assert_eq!(json(parts[0]), serde_json::json!({ "alg": "RS512", "typ": "JWT", "kid": "k1" }));
    let claims = json(parts[1]);
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&"me".into(), &"me".into(), &"them".into())
    );
    assert_eq!((&claims["n"], parts.len()), (&7.into(), 3));
}

#[tokio::test]
async fn requests_are_signed_for_the_service_of_their_host() {
    let definition = ComponentDef::pure::<sigv4::SigV4Auth>();
    let found = handler(definition, "").await;
    assert!(found.is_for_clients() && !found.is_for_calls() && !found.is_for_servers());
    let Some(Scheme::SigV4(args)) = found.scheme.as_deref() else { panic!("{found:?}") };
    let variables: net::sign::Variables = Arc::new(|name| match name {
        "AWS_ACCESS_KEY_ID" => Some("AKID".into()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".into()),
        _ => None,
    });
    let environment = net::sign::AwsEnvironment { variables, ..Default::default() };
    let signer = args.signer_in(environment).expect("a signer");
    let sign = async |url: &str| {
        let mut outgoing = Outgoing {
            method: Method::POST,
            url: net::Url::parse(url).expect("a URL"),
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
        };
        signer.sign(&mut outgoing).await.map(|()| outgoing.headers["authorization"].clone())
    };
    let value = sign("https://xray.eu-west-1.amazonaws.com/v1/traces").await.expect("signed");
    assert!(value.to_str().expect("text").contains("/eu-west-1/xray/aws4_request"), "{value:?}");
    let error = sign("https://otlp.example.com/").await.expect_err("which service?").to_string();
    assert!(error.contains("set service"), "{error}");
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    let oauth2 = ComponentDef::pure::<oauth2::OAuth2>();
    let sigv4 = ComponentDef::pure::<sigv4::SigV4Auth>();
    for (definition, body, expected) in [
        (oauth2, "", "token_url"),
        (oauth2, "token_url = \"https://h\"\nclient_secret = \"s\"", "client_id"),
        (oauth2, "token_url = \"https://h\"\nclient_id = \"i\"", "client_secret"),
        (oauth2, "token_url = \"nonsense\"\nclient_id = \"i\"\nclient_secret = \"s\"", "not a URL"),
        (
            oauth2,
            "token_url = \"https://h\"\nclient_id = \"i\"\ngrant_type = \"password\"",
            "must be client_credentials",
        ),
        (
            oauth2,
            "token_url = \"https://h\"\nclient_id = \"i\"\nclient_secret = \"s\"\nsignature_algorithm = \"HS256\"",
            "RS256",
        ),
        (sigv4, "assume_role {\nsession_name = \"x\"\n}", "without an arn"),
    ] {
        let said = crate::exporter::sending::testkit::refused(definition, body, Names::default());
        assert!(said.contains(expected), "{body}\n{said}");
    }
}

/// The facts of Alloy 1.18.
#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    use crate::exporter::sending::testkit::differences;
    use component::eval::Arguments as _;
    for (schema, facts) in [
        (oauth2::Args::schema(), include_str!("oauth2/surface.txt")),
        (sigv4::Args::schema(), include_str!("sigv4/surface.txt")),
    ] {
        let differences = differences(schema, facts);
        assert!(differences.is_empty(), "{differences:#?}");
    }
}
