//! TLS and client certificates over both protocols.

use component::Stability;
use component::testkit::Harness;
use net::args::{HttpClientArgs, TlsConfigArgs};
use net::{Client, ClientOptions, Error, Request, Url};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::bench::{ALL, DEFINITION, Sinks, config, free_port, listening, requests};

/// An authority, and a certificate by it with its key.
fn identities() -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority of a test");
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("signed").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let cert = params.signed_by(&key, &issuer).expect("signed").pem();
    (authority, cert, key.serialize_pem())
}

async fn post(port: u16, tls_config: TlsConfigArgs) -> Result<u16, Error> {
    let args = HttpClientArgs { tls_config, ..HttpClientArgs::default() };
    let client = Client::new(&args, ClientOptions::new("test/1")).expect("valid");
    let url = Url::parse(&format!("https://localhost:{port}/v1/traces")).expect("a URL");
    let media = http::HeaderValue::from_static("application/x-protobuf");
    let request = Request::post(url, requests()[0].0.clone()).header(http::header::CONTENT_TYPE, media);
    client.send(request).await.map(|response| response.status().as_u16())
}

#[tokio::test]
async fn clients_must_show_a_certificate_where_an_authority_for_them_is_named() {
    net::install_provider();
    assert_eq!(DEFINITION.stability, Stability::GenerallyAvailable);
    let (authority, cert, key) = identities();
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (ca_file, cert_file, key_file) =
        (write("ca.pem", &authority), write("cert.pem", &cert), write("key.pem", &key));
    let own = format!("cert_file = \"{cert_file}\"\nkey_file = \"{key_file}\"\nmin_version = \"1.3\"");
    let (sinks, grpc, http) = (Sinks::new(), free_port(), free_port());
    let plain = format!("tls {{\n{own}\n}}");
    let mutual = format!("tls {{\n{own}\nclient_ca_file = \"{ca_file}\"\n}}");
    let trusting = TlsConfigArgs { ca_pem: authority, ..TlsConfigArgs::default() };
    let known = TlsConfigArgs { cert_file, key_file, ..trusting.clone() };

    let harness =
        Harness::start(DEFINITION, &config((grpc, &plain), (http, &plain), ALL), sinks.names()).await;
    listening(http).await;
    assert_eq!(post(http, trusting.clone()).await.expect("an answer"), 200);
    // Over gRPC's port the handshake works too; what is not gRPC is told so.
    assert_eq!(post(grpc, trusting.clone()).await.expect("an answer"), 415);
    assert_eq!(sinks.traces.take().len(), 1);

    harness.update(&config((grpc, &mutual), (http, &mutual), ALL)).await.expect("updated");
    for port in [grpc, http] {
        assert!(post(port, trusting.clone()).await.is_err(), "nobody knows this client");
    }
    assert_eq!(post(http, known).await.expect("an answer"), 200);
    assert_eq!(sinks.traces.take().len(), 1);
}
