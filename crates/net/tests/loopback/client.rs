//! Redirects, deadlines, limits, errors.

use std::time::Duration;

use http::header::{CONTENT_ENCODING, LOCATION};
use http::{HeaderValue, Method, Response};
use net::args::HttpClientArgs;
use net::{Kind, Request, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{client, header, recorder, reply, serve, url};

fn redirect(status: u16, to: &str) -> Response<bytes::Bytes> {
    let mut response = reply(status, "");
    response.headers_mut().insert(LOCATION, to.parse().unwrap());
    response
}

fn bearer() -> HttpClientArgs {
    let headers = [("X-Key".to_string(), vec!["k".into()])].into();
    HttpClientArgs { bearer_token: "t".into(), http_headers: headers, ..Default::default() }
}

#[tokio::test]
async fn credentials_follow_a_redirect_to_the_same_host_only() {
    let (target, seen) = recorder().await;
    let port = target.address().port();
    for (host, expected) in [("127.0.0.1", Some("Bearer t".to_string())), ("localhost", None)] {
        let to = format!("http://{host}:{port}/x");
        let first = serve(move |_| redirect(302, &to)).await;
        let response = client(&bearer()).send(Request::get(url(&first, "/"))).await.unwrap();
        assert_eq!(response.url().host_str(), Some(host));
        let last = seen.lock().len() - 1;
        assert_eq!(header(&seen, last, "authorization"), expected, "{host}");
        assert_eq!(header(&seen, last, "x-key").is_some(), expected.is_some(), "{host}");
        assert_eq!(header(&seen, last, "user-agent").as_deref(), Some("test/1"));
    }
}

#[tokio::test]
async fn a_post_becomes_a_get_on_302_and_stays_a_post_on_307() {
    let (target, seen) = recorder().await;
    for (status, method, body) in
        [(302, Method::GET, ""), (303, Method::GET, ""), (307, Method::POST, "data")]
    {
        let to = url(&target, "/").to_string();
        let first = serve(move |_| redirect(status, &to)).await;
        client(&HttpClientArgs::default()).send(Request::post(url(&first, "/"), "data")).await.unwrap();
        let seen = seen.lock();
        let last = seen.last().unwrap();
        assert_eq!((last.method(), &last.body()[..]), (&method, body.as_bytes()), "{status}");
    }
}

#[tokio::test]
async fn redirects_end_after_ten_and_are_not_followed_where_that_is_off() {
    let server = serve(|request| redirect(301, request.uri().path())).await;
    let error =
        client(&HttpClientArgs::default()).send(Request::get(url(&server, "/loop"))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Redirect);
    let off = HttpClientArgs { follow_redirects: false, ..Default::default() };
    assert_eq!(client(&off).send(Request::get(url(&server, "/"))).await.unwrap().status(), 301);
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let request = Request::get(url).timeout(Duration::from_millis(50));
    let error = client(&HttpClientArgs::default()).send(request).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.is_retryable());
}

/// A server that sends some bytes to whoever connects and keeps the connection open.
async fn raw(bytes: &'static [u8]) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(bytes).await;
            open.push(stream);
        }
    });
    url
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_too() {
    let url = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    let request = Request::get(url).timeout(Duration::from_millis(100));
    let response = client(&HttpClientArgs::default()).send(request).await.unwrap();
    assert_eq!(response.bytes(100).await.unwrap_err().kind(), Kind::Timeout);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_with_and_without_a_length() {
    let whole = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").await;
    let chunked =
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n5\r\nabcde\r\n0\r\n\r\n")
            .await;
    for (url, limit, fits) in [(&whole, 1000, false), (&chunked, 9, false), (&chunked, 10, true)] {
        let response = client(&HttpClientArgs::default()).send(Request::get(url.clone())).await.unwrap();
        match response.bytes(limit).await {
            Ok(body) => assert!(fits && body == "abcdeabcde"),
            Err(error) => {
                assert!(!fits && error.kind() == Kind::BodyTooLarge && !error.is_retryable(), "{error}")
            }
        }
    }
}

#[tokio::test]
async fn a_broken_exchange_is_retryable() {
    let url = raw(b"HTTP/1.1 200 OK\r\nContent-Le garbage\r\n\r\n").await;
    let error = client(&HttpClientArgs::default()).send(Request::get(url)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn no_listener_and_no_name_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    for (url, kind) in [(closed.as_str(), Kind::Connect), ("http://no-such-host.invalid/", Kind::Dns)] {
        let request = Request::get(Url::parse(url).unwrap());
        let error = client(&HttpClientArgs::default()).send(request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let request = Request::get(Url::parse("ftp://a/").unwrap());
    assert_eq!(client(&HttpClientArgs::default()).send(request).await.unwrap_err().kind(), Kind::Config);
}

#[tokio::test]
async fn a_compressed_body_is_given_as_it_came() {
    let server = serve(|_| {
        let mut response = reply(200, &b"\x1f\x8b not really"[..]);
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    })
    .await;
    let response = client(&HttpClientArgs::default()).send(Request::get(url(&server, "/"))).await.unwrap();
    assert_eq!(response.content_encoding(), Some("gzip"));
    let mut buffer = b"kept:".to_vec();
    response.read_into(&mut buffer, 100).await.unwrap();
    assert_eq!(buffer, b"kept:\x1f\x8b not really");
}

#[tokio::test]
async fn a_status_error_carries_the_first_line_of_the_body() {
    let server = serve(|_| reply(503, "overloaded\nsecond line")).await;
    let error = client(&HttpClientArgs::default())
        .send_ok(Request::get(url(&server, "/p?token=x")))
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(503));
    let text = error.to_string();
    assert!(text.ends_with("503 Service Unavailable: overloaded") && !text.contains("token"), "{text}");
}

#[tokio::test]
async fn requests_may_go_through_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let n = stream.read(&mut head).await.unwrap();
        assert!(head[..n].starts_with(b"GET /x HTTP/1.1"));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
    });
    net::install_provider();
    let options = net::ClientOptions::new("t").unix_socket(&path);
    let client = net::Client::new(&HttpClientArgs::default(), options).unwrap();
    let response = client.send(Request::get(Url::parse("http://docker/x").unwrap())).await.unwrap();
    assert_eq!(response.text(10).await.unwrap(), "hi");
}
