//! Every kind of credential, as the server sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use net::args::{Authorization, BasicAuth, HttpClientArgs, OAuth2Args};
use net::{Kind, Request};

use crate::support::{client, header, recorder, reply, serve, url};

async fn sent(args: HttpClientArgs) -> Option<String> {
    let (server, seen) = recorder().await;
    client(&args).send(Request::get(url(&server, "/"))).await.unwrap();
    header(&seen, 0, "authorization")
}

#[tokio::test]
async fn each_kind_of_credential_becomes_its_header() {
    let basic = BasicAuth { username: "u".into(), password: "p".into(), ..Default::default() };
    let args = HttpClientArgs { basic_auth: Some(basic), ..Default::default() };
    assert_eq!(sent(args).await.as_deref(), Some("Basic dTpw"));

    let args = HttpClientArgs { bearer_token: "t".into(), ..Default::default() };
    assert_eq!(sent(args).await.as_deref(), Some("Bearer t"));

    let other = Authorization { r#type: "Token".into(), credentials: "c".into(), ..Default::default() };
    let args = HttpClientArgs { authorization: Some(other), ..Default::default() };
    assert_eq!(sent(args).await.as_deref(), Some("Token c"));

    assert_eq!(sent(HttpClientArgs::default()).await, None);
}

#[tokio::test]
async fn a_rotated_credential_file_is_in_force_with_the_next_request() {
    let (server, seen) = recorder().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let args =
        HttpClientArgs { bearer_token_file: file.path().to_str().unwrap().into(), ..Default::default() };
    let client = client(&args);
    for token in ["one", "two"] {
        std::fs::write(file.path(), format!("{token}\n")).unwrap();
        client.send(Request::get(url(&server, "/"))).await.unwrap();
    }
    assert_eq!(header(&seen, 0, "authorization").as_deref(), Some("Bearer one"));
    assert_eq!(header(&seen, 1, "authorization").as_deref(), Some("Bearer two"));
}

#[tokio::test]
async fn a_missing_credential_file_fails_the_request_not_the_client() {
    let (server, seen) = recorder().await;
    let basic =
        BasicAuth { username: "u".into(), password_file: "/nonexistent/p".into(), ..Default::default() };
    let client = client(&HttpClientArgs { basic_auth: Some(basic), ..Default::default() });
    let error = client.send(Request::get(url(&server, "/"))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials);
    assert!(error.is_retryable());
    assert!(seen.lock().is_empty());
}

#[tokio::test]
async fn user_and_password_of_the_url_are_basic_authentication() {
    let (server, seen) = recorder().await;
    let mut url = url(&server, "/");
    url.set_username("u").unwrap();
    url.set_password(Some("p")).unwrap();
    client(&HttpClientArgs::default()).send(Request::get(url)).await.unwrap();
    assert_eq!(header(&seen, 0, "authorization").as_deref(), Some("Basic dTpw"));
}

#[tokio::test]
async fn http_headers_and_the_user_agent_are_sent_and_the_request_wins_over_them() {
    let (server, seen) = recorder().await;
    let headers = [("X-Many".into(), vec!["a".into(), "b".into()]), ("X-Own".into(), vec!["client".into()])];
    let client = client(&HttpClientArgs { http_headers: headers.into(), ..Default::default() });
    let own = http::HeaderName::from_static("x-own");
    let request = Request::get(url(&server, "/")).header(own, http::HeaderValue::from_static("request"));
    client.send(request).await.unwrap();
    let seen = seen.lock();
    let all: Vec<_> = seen[0].headers().get_all("x-many").iter().collect();
    assert_eq!(all, ["a", "b"]);
    assert_eq!(seen[0].headers()["x-own"], "request");
    assert_eq!(seen[0].headers()["user-agent"], "test/1");
}

fn oauth2(token_url: String) -> HttpClientArgs {
    let oauth2 = OAuth2Args {
        client_id: "id".into(),
        client_secret: "s/e".into(),
        token_url,
        scopes: vec!["a".into(), "b".into()],
        endpoint_params: [("audience".to_string(), "x".to_string())].into(),
        ..Default::default()
    };
    HttpClientArgs { oauth2: Some(oauth2), ..Default::default() }
}

#[tokio::test]
async fn an_oauth2_token_is_fetched_once_and_kept_for_all_requests() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let count = fetched.clone();
    let idp = serve(move |request| {
        assert_eq!(request.headers()["authorization"], "Basic aWQ6cyUyRmU=");
        assert_eq!(&request.body()[..], b"grant_type=client_credentials&scope=a+b&audience=x");
        count.fetch_add(1, Ordering::SeqCst);
        reply(200, r#"{"access_token":"tok","token_type":"bearer","expires_in":3600}"#)
    })
    .await;
    let (server, seen) = recorder().await;
    let client = client(&oauth2(url(&idp, "/token").to_string()));
    let one = || client.send(Request::get(url(&server, "/")));
    let (a, b, c) = tokio::join!(one(), one(), one());
    a.and(b).and(c).unwrap();
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
    assert_eq!(header(&seen, 2, "authorization").as_deref(), Some("Bearer tok"));
}

#[tokio::test]
async fn an_oauth2_token_that_ends_soon_is_fetched_anew() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let count = fetched.clone();
    let idp = serve(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        reply(200, format!(r#"{{"access_token":"tok{n}","expires_in":"5"}}"#))
    })
    .await;
    let (server, seen) = recorder().await;
    let client = client(&oauth2(url(&idp, "/").to_string()));
    for _ in 0..2 {
        client.send(Request::get(url(&server, "/"))).await.unwrap();
    }
    assert_eq!(header(&seen, 0, "authorization").as_deref(), Some("Bearer tok0"));
    assert_eq!(header(&seen, 1, "authorization").as_deref(), Some("Bearer tok1"));
}

#[tokio::test]
async fn a_token_endpoint_that_wants_the_secret_in_the_body_gets_it_there() {
    let idp = serve(|request| {
        if request.headers().contains_key("authorization") {
            return reply(401, "no");
        }
        let body = String::from_utf8_lossy(request.body()).into_owned();
        assert!(body.ends_with("client_id=id&client_secret=s%2Fe"), "{body}");
        reply(200, r#"{"access_token":"tok"}"#)
    })
    .await;
    let args = oauth2(url(&idp, "/").to_string());
    assert_eq!(sent(args).await.as_deref(), Some("Bearer tok"));
}

#[tokio::test]
async fn a_refused_token_is_a_token_error_without_the_secret() {
    let idp = serve(|_| reply(400, "invalid_client")).await;
    let (server, seen) = recorder().await;
    let client = client(&oauth2(url(&idp, "/").to_string()));
    let error = client.send(Request::get(url(&server, "/"))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Token);
    assert!(error.to_string().contains("invalid_client") && !error.to_string().contains("s/e"), "{error}");
    assert!(seen.lock().is_empty());
}
