//! Proxies: what they see, and who goes past them.

use net::args::{HttpClientArgs, ServerTlsArgs, TlsConfigArgs};
use net::{Kind, Request, Server, ServerOptions, ServerTls, Url};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Authority, client, header, recorder, reply, serve_with, url};

/// A proxy that tunnels every CONNECT to one address and keeps the heads of requests.
async fn tunnel(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if client.read(&mut byte).await.unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            seen.lock().push(String::from_utf8(head).unwrap());
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let mut server = TcpStream::connect(to).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (address, heads)
}

async fn secure(authority: &Authority) -> Server {
    let identity = authority.issue(&["target.example"]);
    let args = ServerTlsArgs { cert_pem: identity.cert, key_pem: identity.key.into(), ..Default::default() };
    let tls = Some(Arc::new(ServerTls::new(&args).unwrap()));
    serve_with(ServerOptions { tls, ..Default::default() }, |_| reply(200, "through")).await
}

fn via(proxy: String) -> HttpClientArgs {
    HttpClientArgs { proxy_url: Some(proxy), ..Default::default() }
}

#[tokio::test]
async fn connect_carries_the_proxys_own_headers_and_credentials() {
    let authority = Authority::new();
    let server = secure(&authority).await;
    let (proxy, heads) = tunnel(server.address()).await;
    let args = HttpClientArgs {
        proxy_connect_header: [("X-Proxy-Key".to_string(), vec!["pk".into()])].into(),
        bearer_token: "for-the-server".into(),
        tls_config: TlsConfigArgs { ca_pem: authority.pem.clone(), ..Default::default() },
        ..via(format!("http://u:p@{proxy}"))
    };
    let request = Request::get(Url::parse("https://target.example/").unwrap());
    let response = client(&args).send(request).await.unwrap();
    assert_eq!(response.text(100).await.unwrap(), "through");
    let head = heads.lock()[0].to_lowercase();
    assert!(head.starts_with("connect target.example:443 http/1.1\r\n"), "{head}");
    assert!(head.contains("x-proxy-key: pk\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: basic dtpw\r\n"), "{head}");
    assert!(!head.contains("for-the-server"), "{head}");
}

#[tokio::test]
async fn plain_requests_are_forwarded_whole_and_without_the_connect_headers() {
    let (proxy, seen) = recorder().await;
    let args = HttpClientArgs {
        proxy_connect_header: [("X-Proxy-Key".to_string(), vec!["pk".into()])].into(),
        ..via(format!("http://{}", proxy.address()))
    };
    client(&args).send(Request::get(Url::parse("http://target.example/x?y=1").unwrap())).await.unwrap();
    assert_eq!(seen.lock()[0].uri(), "http://target.example/x?y=1");
    assert_eq!(header(&seen, 0, "host").as_deref(), Some("target.example"));
    assert_eq!(header(&seen, 0, "x-proxy-key"), None);
}

#[tokio::test]
async fn exempt_hosts_are_reached_directly() {
    let (proxy, through) = recorder().await;
    let (server, direct) = recorder().await;
    let args = HttpClientArgs { no_proxy: "10.0.0.0/8".into(), ..via(format!("http://{}", proxy.address())) };
    client(&args).send(Request::get(url(&server, "/"))).await.unwrap();
    assert_eq!((through.lock().len(), direct.lock().len()), (0, 1), "the loopback is exempt with no_proxy");
    client(&via(format!("http://{}", proxy.address()))).send(Request::get(url(&server, "/"))).await.unwrap();
    assert_eq!((through.lock().len(), direct.lock().len()), (1, 1), "and not without");
}

#[tokio::test]
async fn a_socks5_proxy_gets_the_name_and_the_password() {
    let (server, seen) = recorder().await;
    let to = server.address();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting).await.unwrap();
        let mut methods = vec![0; greeting[1] as usize];
        client.read_exact(&mut methods).await.unwrap();
        assert!(methods.contains(&2), "user and password are offered");
        client.write_all(&[5, 2]).await.unwrap();
        let mut auth = [0; 5];
        client.read_exact(&mut auth).await.unwrap();
        assert_eq!(&auth, b"\x01\x01u\x01p");
        client.write_all(&[1, 0]).await.unwrap();
        let mut request = [0; 5];
        client.read_exact(&mut request).await.unwrap();
        assert_eq!(request[..4], [5, 1, 0, 3], "connect to a name");
        let mut name = vec![0; request[4] as usize + 2];
        client.read_exact(&mut name).await.unwrap();
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let mut server = TcpStream::connect(to).await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        String::from_utf8_lossy(&name[..name.len() - 2]).into_owned()
    });
    let client = client(&via(format!("socks5://u:p@{address}")));
    client.send(Request::get(Url::parse("http://target.example/").unwrap())).await.unwrap();
    assert_eq!(proxy.await.unwrap(), "target.example");
    assert_eq!(header(&seen, 0, "host").as_deref(), Some("target.example"));
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_a_connect_error_without_its_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let client = client(&via(format!("http://u:hunter2@{gone}")));
    let error = client.send(Request::get(Url::parse("http://target.example/").unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect, "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
