//! Certificates: good, bad, swapped; both ends.

use std::path::Path;
use std::sync::Arc;

use http::Version;
use net::args::{HttpClientArgs, ServerTlsArgs, ServiceTlsArgs, TlsConfigArgs, TlsVersion};
use net::{ClientAuth, Error, Kind, Request, Response, Server, ServerOptions, ServerTls, Url};
use rcgen::date_time_ymd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Authority, Identity, client, reply, serve_with};

fn tls_args(identity: &Identity) -> ServerTlsArgs {
    ServerTlsArgs {
        cert_pem: identity.cert.clone(),
        key_pem: identity.key.as_str().into(),
        ..Default::default()
    }
}

async fn tls_server(args: ServerTlsArgs) -> Server {
    args.validate().unwrap();
    let tls = Some(Arc::new(ServerTls::new(&args).unwrap()));
    serve_with(ServerOptions { tls, ..Default::default() }, |request| {
        let host = request.headers().get("host").map(|h| h.to_str().unwrap().to_owned());
        reply(200, host.unwrap_or_default())
    })
    .await
}

fn trusting(authority: &Authority) -> TlsConfigArgs {
    TlsConfigArgs { ca_pem: authority.pem.clone(), ..Default::default() }
}

async fn get(server: &Server, tls_config: TlsConfigArgs) -> Result<Response, Error> {
    let args = HttpClientArgs { tls_config, ..Default::default() };
    let url = Url::parse(&format!("https://localhost:{}/", server.address().port())).unwrap();
    client(&args).send(Request::get(url)).await
}

fn failed_tls(result: Result<Response, Error>, says: &str) {
    let error = result.expect_err("the handshake must fail");
    assert_eq!(error.kind(), Kind::Tls, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test]
async fn a_certificate_is_good_only_for_its_authority_name_and_time() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let good = tls_server(tls_args(&ours.issue(&["localhost"]))).await;
    assert_eq!(get(&good, trusting(&ours)).await.unwrap().status(), 200);
    failed_tls(get(&good, trusting(&theirs)).await, "ca_file");
    let insecure = TlsConfigArgs { insecure_skip_verify: true, ..Default::default() };
    assert_eq!(get(&good, insecure).await.unwrap().status(), 200);

    let other_name = tls_server(tls_args(&ours.issue(&["other.example"]))).await;
    failed_tls(get(&other_name, trusting(&ours)).await, "server_name");

    let expired = ours.issue_with(&["localhost"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    failed_tls(get(&tls_server(tls_args(&expired)).await, trusting(&ours)).await, "expired");
}

#[tokio::test]
async fn server_name_is_expected_and_sent_while_host_stays_that_of_the_url() {
    let ours = Authority::new();
    let identity = ours.issue(&["other.example"]);
    let config = {
        let tls = ServerTls::new(&tls_args(&identity)).unwrap();
        net::install_provider();
        tls.config().unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let start = tokio_rustls::LazyConfigAcceptor::new(Default::default(), stream).await.unwrap();
        let name = start.client_hello().server_name().map(str::to_owned);
        let mut stream = start.into_stream(config).await.unwrap();
        let mut head = vec![0; 2048];
        let n = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        (name, String::from_utf8_lossy(&head[..n]).to_lowercase())
    });
    let tls_config = TlsConfigArgs { server_name: "other.example".into(), ..trusting(&ours) };
    let args = HttpClientArgs { tls_config, ..Default::default() };
    let url = Url::parse(&format!("https://127.0.0.1:{port}/")).unwrap();
    let response = client(&args).send(Request::get(url.clone())).await.unwrap();
    assert_eq!(response.url(), &url);
    let (name, head) = server.await.unwrap();
    assert_eq!(name.as_deref(), Some("other.example"));
    assert!(head.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{head}");
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_and_checked() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let args = ServerTlsArgs {
        client_auth_type: ClientAuth::RequireAndVerifyClientCert,
        client_ca: ours.pem.clone(),
        ..tls_args(&ours.issue(&["localhost"]))
    };
    let server = tls_server(args).await;
    let with = |identity: &Identity| TlsConfigArgs {
        cert_pem: identity.cert.clone(),
        key_pem: identity.key.as_str().into(),
        ..trusting(&ours)
    };
    assert_eq!(get(&server, with(&ours.issue(&["me"]))).await.unwrap().status(), 200);
    get(&server, trusting(&ours)).await.expect_err("no certificate");
    get(&server, with(&theirs.issue(&["me"]))).await.expect_err("a stranger's certificate");

    let any = ServerTlsArgs {
        client_auth_type: ClientAuth::RequireAnyClientCert,
        ..tls_args(&ours.issue(&["localhost"]))
    };
    let server = tls_server(any).await;
    assert_eq!(get(&server, with(&theirs.issue(&["me"]))).await.unwrap().status(), 200);
    get(&server, trusting(&ours)).await.expect_err("no certificate");
}

#[tokio::test]
async fn versions_below_the_minimum_are_refused() {
    let ours = Authority::new();
    let identity = ours.issue(&["localhost"]);
    let old = ServiceTlsArgs {
        cert_pem: identity.cert.clone(),
        key_pem: identity.key.as_str().into(),
        max_version: Some(TlsVersion::Tls12),
        ..Default::default()
    };
    let tls = Some(Arc::new(ServerTls::for_service(&old).unwrap()));
    let server = serve_with(ServerOptions { tls, ..Default::default() }, |_| reply(200, "")).await;
    assert_eq!(get(&server, trusting(&ours)).await.unwrap().status(), 200);
    let new = TlsConfigArgs { min_version: Some(TlsVersion::Tls13), ..trusting(&ours) };
    get(&server, new).await.expect_err("TLS 1.2 is below the minimum");
}

#[tokio::test]
async fn http2_is_spoken_over_tls_unless_it_is_off() {
    let ours = Authority::new();
    let server = tls_server(tls_args(&ours.issue(&["localhost"]))).await;
    let url = Url::parse(&format!("https://localhost:{}/", server.address().port())).unwrap();
    for (enable_http2, version) in [(true, Version::HTTP_2), (false, Version::HTTP_11)] {
        let args = HttpClientArgs { enable_http2, tls_config: trusting(&ours), ..Default::default() };
        assert_eq!(client(&args).send(Request::get(url.clone())).await.unwrap().version(), version);
    }
}

fn write(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

#[tokio::test]
async fn a_swapped_server_certificate_is_shown_with_the_next_handshake() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
    let put = |identity: Identity| {
        write(&cert, &identity.cert);
        write(&key, &identity.key);
    };
    put(old.issue(&["localhost"]));
    let path = |p: &Path| p.to_str().unwrap().to_owned();
    let server =
        tls_server(ServerTlsArgs { cert_file: path(&cert), key_file: path(&key), ..Default::default() })
            .await;
    assert_eq!(get(&server, trusting(&old)).await.unwrap().status(), 200);
    put(new.issue(&["localhost"]));
    assert_eq!(get(&server, trusting(&new)).await.unwrap().status(), 200);
    failed_tls(get(&server, trusting(&old)).await, "");

    // Rubbish leaves the last good certificate in force.
    write(&cert, "rubbish");
    assert_eq!(get(&server, trusting(&new)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_takes_a_swapped_authority_with_the_next_request() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca");
    write(&ca, &old.pem);
    let server = tls_server(tls_args(&new.issue(&["localhost"]))).await;
    let url = Url::parse(&format!("https://localhost:{}/", server.address().port())).unwrap();
    let tls_config = TlsConfigArgs { ca_file: ca.to_str().unwrap().into(), ..Default::default() };
    let client = client(&HttpClientArgs { tls_config, ..Default::default() });
    failed_tls(client.send(Request::get(url.clone())).await, "ca_file");
    write(&ca, &new.pem);
    assert_eq!(client.send(Request::get(url.clone())).await.unwrap().status(), 200);
    write(&ca, "rubbish");
    assert_eq!(client.send(Request::get(url)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_or_server_whose_files_never_were_good_says_so() {
    let tls_config = TlsConfigArgs { ca_file: "/nonexistent/ca".into(), ..Default::default() };
    let client = client(&HttpClientArgs { tls_config, ..Default::default() });
    let request = Request::get(Url::parse("https://127.0.0.1:1/").unwrap());
    let error = client.send(request).await.unwrap_err();
    assert!(error.kind() == Kind::Credentials && error.to_string().contains("/nonexistent/ca"), "{error}");

    let args =
        ServerTlsArgs { cert_file: "/nonexistent/c".into(), key_file: "/k".into(), ..Default::default() };
    let tls = Some(Arc::new(ServerTls::new(&args).unwrap()));
    let options = ServerOptions { tls, ..Default::default() };
    let handler = net::server::whole(crate::support::Answer(|_| reply(200, "")));
    let error = Server::bind("t", "127.0.0.1", 0, options, handler).await.err().unwrap();
    assert!(error.to_string().contains("/nonexistent/c"), "{error}");
}
