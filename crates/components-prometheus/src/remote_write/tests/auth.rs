//! Every way to say who we are, end to end.

use super::receiver::{Posted, Receiver, RemoteWrite as _, Reply, written};
use super::{endpoint, start};

async fn authorization(inside: impl Fn(&Receiver) -> String) -> (Posted, Receiver) {
    let receiver = Receiver::start(|posted| match posted.path.as_str() {
        "/token" => Reply::Answer {
            status: 200,
            headers: vec![("content-type", "application/json".into())],
            body: r#"{"access_token": "from-the-token-server", "token_type": "Bearer", "expires_in": 3600}"#
                .into(),
        },
        _ => written(posted),
    })
    .await;
    let running = start(&endpoint(&receiver.url(), &inside(&receiver))).await;
    running.push("up", 1.0).await;
    let all = receiver.until(|all| all.iter().any(|p| p.path == "/write")).await;
    let posted = all.into_iter().find(|p| p.path == "/write").expect("waited for");
    assert_eq!(posted.values(), [1.0]);
    (posted, receiver)
}

#[tokio::test]
async fn credentials_of_every_kind_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (token, password) = (file("token", "from-file\n"), file("password", "secret\n"));
    let cases = [
        ("basic_auth {\nusername = \"bob\"\npassword = \"secret\"\n}".to_string(), "Basic Ym9iOnNlY3JldA=="),
        (
            format!("basic_auth {{\nusername = \"bob\"\npassword_file = {password:?}\n}}"),
            "Basic Ym9iOnNlY3JldA==",
        ),
        ("bearer_token = \"abc\"".into(), "Bearer abc"),
        (format!("bearer_token_file = {token:?}"), "Bearer from-file"),
        ("authorization {\ntype = \"Token\"\ncredentials = \"abc\"\n}".into(), "Token abc"),
        ("headers = { Authorization = \"Custom x\" }".into(), "Custom x"),
    ];
    for (inside, expected) in cases {
        let (posted, _) = authorization(|_| inside.clone()).await;
        assert_eq!(posted.headers.get("authorization").map(String::as_str), Some(expected), "{inside}");
    }
}

#[tokio::test]
async fn an_oauth2_token_is_fetched_and_sent() {
    let (posted, receiver) = authorization(|receiver| {
        let token_url = format!("{}/token", receiver.base());
        format!("oauth2 {{\nclient_id = \"id\"\nclient_secret = \"s\"\ntoken_url = {token_url:?}\n}}")
    })
    .await;
    assert_eq!(posted.headers["authorization"], "Bearer from-the-token-server");
    assert_eq!(receiver.all().iter().filter(|p| p.path == "/token").count(), 1);
}

#[tokio::test]
async fn a_google_token_is_fetched_and_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key").serialize_pem();
    let (posted, _) = authorization(|receiver| {
        let text = format!(
            r#"{{"type": "service_account", "client_email": "a@b", "private_key_id": "1", "private_key": {key:?}, "token_uri": "{}/token"}}"#,
            receiver.base()
        );
        let path = folder.path().join("credentials.json");
        std::fs::write(&path, text).expect("written");
        format!("google_iam {{\ncredentials_file = {path:?}\n}}")
    })
    .await;
    assert_eq!(posted.headers["authorization"], "Bearer from-the-token-server");
}

#[tokio::test]
async fn sigv4_signs_what_is_sent() {
    let keys = "access_key = \"AKID\"\nsecret_key = \"s\"\nregion = \"eu-west-1\"";
    let (posted, _) = authorization(|_| format!("sigv4 {{\n{keys}\n}}")).await;
    let authorization = &posted.headers["authorization"];
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{authorization}");
    assert!(authorization.contains("/eu-west-1/aps/aws4_request"), "{authorization}");
    assert!(posted.headers.contains_key("x-amz-date"));
}
