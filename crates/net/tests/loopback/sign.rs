//! Signers against hand-made token services.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use component::BoxFuture;
use http::{HeaderMap, Method};
use net::sign::{
    AwsEnvironment, AzureAd, AzureAdArgs, AzureEndpoints, AzureManagedIdentity, AzureOAuth, AzureSdk,
    AzureWorkloadIdentity, GoogleEndpoints, GoogleIam, GoogleIamArgs, Outgoing, SigV4, SigV4Args, Sign,
    Variables,
};
use net::{ClientOptions, Error, Kind, Request, Url};

use crate::support::{recorder, reply, serve, url};

const ID: &str = "00000000-1111-2222-3333-444444444444";

fn variables(pairs: &[(&str, &str)]) -> Variables {
    let map: HashMap<String, String> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    Arc::new(move |name| map.get(name).cloned())
}

fn outgoing() -> Outgoing {
    Outgoing {
        method: Method::POST,
        url: Url::parse("https://aps.example/api/v1/remote_write").unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"body"),
    }
}

async fn signed(signer: &impl Sign) -> Result<HeaderMap, Error> {
    let mut request = outgoing();
    signer.sign(&mut request).await?;
    Ok(request.headers)
}

fn environment(pairs: &[(&str, &str)]) -> AwsEnvironment {
    AwsEnvironment {
        variables: variables(pairs),
        instance_metadata: "http://127.0.0.1:1".into(),
        container_metadata: "http://127.0.0.1:1".into(),
        sts: None,
    }
}

async fn aws(args: SigV4Args, environment: AwsEnvironment) -> Result<(String, Option<String>), Error> {
    net::install_provider();
    let headers = signed(&SigV4::with_environment(&args, "t", environment)?).await?;
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    let authorization = text("authorization").unwrap();
    let scope = authorization.split_once("Credential=").unwrap().1.split_once(',').unwrap().0.to_owned();
    // Key and what follows the day.
    let mut parts: Vec<_> = scope.split('/').collect();
    parts.remove(1);
    Ok((parts.join("/"), text("x-amz-security-token")))
}

fn region() -> SigV4Args {
    SigV4Args { region: "eu-west-1".into(), ..Default::default() }
}

#[tokio::test]
async fn aws_keys_come_from_the_block_then_the_environment_then_the_profile() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(
        home.path().join(".aws/credentials"),
        "[default]\naws_access_key_id = D\naws_secret_access_key = s\n[p]\naws_access_key_id=P\naws_secret_access_key=s\n",
    )
    .unwrap();
    std::fs::write(home.path().join(".aws/config"), "[default]\nregion = us-east-2\n").unwrap();
    let home = home.path().to_str().unwrap();
    let keys = [
        ("AWS_ACCESS_KEY_ID", "E"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_SESSION_TOKEN", "t"),
        ("HOME", home),
    ];

    let given = SigV4Args { access_key: "B".into(), secret_key: "s".into(), ..region() };
    let (scope, token) = aws(given, environment(&keys)).await.unwrap();
    assert_eq!((scope.as_str(), token), ("B/eu-west-1/aps/aws4_request", None));

    let (scope, token) = aws(region(), environment(&keys)).await.unwrap();
    assert_eq!((scope.as_str(), token.as_deref()), ("E/eu-west-1/aps/aws4_request", Some("t")));

    let named = SigV4Args { profile: "p".into(), ..region() };
    assert_eq!(aws(named, environment(&keys)).await.unwrap().0, "P/eu-west-1/aps/aws4_request");

    let (scope, _) = aws(SigV4Args::default(), environment(&[("HOME", home)])).await.unwrap();
    assert_eq!(scope, "D/us-east-2/aps/aws4_request", "the region of the profile too");

    let missing = SigV4Args { profile: "q".into(), ..region() };
    assert_eq!(aws(missing, environment(&keys)).await.unwrap_err().kind(), Kind::Credentials);
}

#[tokio::test]
async fn aws_keys_come_from_the_instance_with_a_session_of_version_2() {
    let server = serve(|request| match request.uri().path() {
        "/latest/api/token" => {
            assert_eq!(request.method(), Method::PUT);
            reply(200, "session")
        }
        path => {
            assert_eq!(request.headers()["x-aws-ec2-metadata-token"], "session");
            match path {
                "/latest/meta-data/iam/security-credentials/" => reply(200, "the-role"),
                "/latest/meta-data/iam/security-credentials/the-role" => reply(
                    200,
                    r#"{"AccessKeyId":"I","SecretAccessKey":"s","Token":"t","Expiration":"2199-01-01T00:00:00Z"}"#,
                ),
                _ => reply(404, ""),
            }
        }
    })
    .await;
    let environment =
        AwsEnvironment { instance_metadata: format!("http://{}", server.address()), ..environment(&[]) };
    let (scope, token) = aws(region(), environment).await.unwrap();
    assert_eq!((scope.as_str(), token.as_deref()), ("I/eu-west-1/aps/aws4_request", Some("t")));
}

#[tokio::test]
async fn aws_keys_come_from_the_container() {
    let server = serve(|request| {
        assert_eq!(request.headers()["authorization"], "ct");
        assert_eq!(request.uri().path(), "/creds");
        reply(
            200,
            r#"{"AccessKeyId":"C","SecretAccessKey":"s","Token":"t","Expiration":"2199-01-01T00:00:00Z"}"#,
        )
    })
    .await;
    let variables =
        [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/creds"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "ct")];
    let environment = AwsEnvironment {
        container_metadata: format!("http://{}", server.address()),
        ..environment(&variables)
    };
    assert_eq!(aws(region(), environment).await.unwrap().0, "C/eu-west-1/aps/aws4_request");
}

const ASSUMED: &str = "<R><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
    <SessionToken>t</SessionToken><Expiration>2199-01-01T00:00:00Z</Expiration></Credentials></R>";

#[tokio::test]
async fn aws_roles_are_assumed_with_signed_requests_and_with_web_identities() {
    let sts = serve(|request| {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        if body.contains("Action=AssumeRoleWithWebIdentity") {
            assert!(body.contains("WebIdentityToken=jwt") && body.contains("RoleArn=arn2"), "{body}");
        } else {
            let authorization = request.headers()["authorization"].to_str().unwrap();
            assert!(authorization.contains("/eu-west-1/sts/aws4_request"), "{authorization}");
            assert!(body.contains("RoleArn=arn&") && body.contains("ExternalId=x"), "{body}");
        }
        reply(200, ASSUMED)
    })
    .await;
    let sts = Some(format!("http://{}/", sts.address()));
    let args = SigV4Args {
        access_key: "B".into(),
        secret_key: "s".into(),
        role_arn: "arn".into(),
        external_id: "x".into(),
        ..region()
    };
    let (scope, token) = aws(args, AwsEnvironment { sts: sts.clone(), ..environment(&[]) }).await.unwrap();
    assert_eq!((scope.as_str(), token.as_deref()), ("A/eu-west-1/aps/aws4_request", Some("t")));

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "jwt\n").unwrap();
    let variables =
        [("AWS_WEB_IDENTITY_TOKEN_FILE", file.path().to_str().unwrap()), ("AWS_ROLE_ARN", "arn2")];
    let (scope, _) = aws(region(), AwsEnvironment { sts, ..environment(&variables) }).await.unwrap();
    assert_eq!(scope, "A/eu-west-1/aps/aws4_request");
}

#[tokio::test]
async fn without_any_aws_keys_the_error_lists_where_they_were_looked_for() {
    let error = aws(region(), environment(&[])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials);
    assert!(error.to_string().contains("neither in sigv4, nor in the environment"), "{error}");
}

async fn azure(args: AzureAdArgs, server: &net::Server, pairs: &[(&str, &str)]) -> Result<String, Error> {
    net::install_provider();
    args.validate().unwrap();
    let base = format!("http://{}", server.address());
    let endpoints = AzureEndpoints { login: Some(base.clone()), metadata: base, variables: variables(pairs) };
    let headers = signed(&AzureAd::with_endpoints(&args, "t", endpoints)?).await?;
    Ok(headers["authorization"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn azure_identities_of_each_kind_get_their_tokens() {
    let server = serve(|request| {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let token = if request.uri().path() == "/metadata/identity/oauth2/token" {
            assert_eq!(request.headers()["metadata"], "true");
            let query = request.uri().query().unwrap();
            assert!(query.contains("resource=https%3A%2F%2Fmonitor.azure.com%2F&"), "{query}");
            "managed"
        } else {
            assert_eq!(request.uri().path(), format!("/{ID}/oauth2/v2.0/token"));
            assert!(body.contains("scope=https%3A%2F%2Fmonitor.azure.com%2F%2F.default"), "{body}");
            if body.contains("client_assertion=jwt") { "workload" } else { "application" }
        };
        reply(200, format!(r#"{{"access_token":"{token}","expires_in":"3600","token_type":"Bearer"}}"#))
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "jwt").unwrap();
    let file = file.path().to_str().unwrap();
    let none = AzureAdArgs::default;

    let oauth = AzureOAuth { client_id: ID.into(), client_secret: "s".into(), tenant_id: ID.into() };
    let args = AzureAdArgs { oauth: Some(oauth), ..none() };
    assert_eq!(azure(args, &server, &[]).await.unwrap(), "Bearer application");

    let args =
        AzureAdArgs { managed_identity: Some(AzureManagedIdentity { client_id: ID.into() }), ..none() };
    assert_eq!(azure(args, &server, &[]).await.unwrap(), "Bearer managed");

    let workload =
        AzureWorkloadIdentity { client_id: ID.into(), tenant_id: ID.into(), token_file_path: file.into() };
    let args = AzureAdArgs { workload_identity: Some(workload), ..none() };
    assert_eq!(azure(args, &server, &[]).await.unwrap(), "Bearer workload");

    let sdk = || AzureAdArgs { sdk: Some(AzureSdk { tenant_id: ID.into() }), ..none() };
    for (pairs, expected) in [
        (&[("AZURE_CLIENT_ID", ID), ("AZURE_CLIENT_SECRET", "s")][..], "Bearer application"),
        (&[("AZURE_CLIENT_ID", ID), ("AZURE_FEDERATED_TOKEN_FILE", file)], "Bearer workload"),
        (&[("AZURE_CLIENT_ID", ID)], "Bearer managed"),
    ] {
        assert_eq!(azure(sdk(), &server, pairs).await.unwrap(), expected);
    }
}

/// An RSA key is slow to make, so this one is made once; it is worth nothing.
fn rsa_key() -> (String, aws_lc_rs::rsa::KeyPair) {
    use aws_lc_rs::encoding::AsDer;
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
    (format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")), pair)
}

async fn google(file: &str, endpoints: GoogleEndpoints) -> Result<String, Error> {
    net::install_provider();
    let args = GoogleIamArgs { credentials_file: file.into() };
    let headers = signed(&GoogleIam::with_endpoints(&args, "t", endpoints)?).await?;
    Ok(headers["authorization"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_google_service_account_signs_its_request_for_a_token() {
    use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    let (pem, pair) = rsa_key();
    let public = pair.public_key().as_ref().to_vec();
    let server = serve(move |request| {
        let fields: HashMap<_, _> = url::form_urlencoded::parse(request.body())
            .map(|(k, v)| (k.into_owned(), v.into_owned()))
            .collect();
        assert_eq!(fields["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let (signed, signature) = fields["assertion"].rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
        key.verify(signed.as_bytes(), &signature).expect("the signature is that of the key");
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["iss"], "me@project");
        assert_eq!(claims["scope"], "https://www.googleapis.com/auth/monitoring.write");
        reply(200, r#"{"access_token":"sa","expires_in":3600,"token_type":"Bearer"}"#)
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let credentials = serde_json::json!({
        "type": "service_account", "client_email": "me@project", "private_key": pem, "private_key_id": "k1",
        "token_uri": format!("http://{}/token", server.address()),
    });
    std::fs::write(file.path(), credentials.to_string()).unwrap();
    let none = GoogleEndpoints { variables: variables(&[]), ..Default::default() };
    assert_eq!(google(file.path().to_str().unwrap(), none).await.unwrap(), "Bearer sa");
}

#[tokio::test]
async fn google_credentials_come_from_the_environment_or_the_metadata_server() {
    let server = serve(|request| {
        if request.uri().path().starts_with("/computeMetadata/") {
            assert_eq!(request.headers()["metadata-flavor"], "Google");
            return reply(200, r#"{"access_token":"machine","expires_in":3600,"token_type":"Bearer"}"#);
        }
        assert!(String::from_utf8_lossy(request.body()).contains("refresh_token=r"));
        reply(200, r#"{"access_token":"user","expires_in":3600,"token_type":"Bearer"}"#)
    })
    .await;
    let base = format!("http://{}", server.address());
    let endpoints = |pairs: &[(&str, &str)]| GoogleEndpoints {
        metadata: Some(base.clone()),
        token: base.clone(),
        variables: variables(pairs),
    };
    assert_eq!(google("", endpoints(&[])).await.unwrap(), "Bearer machine");

    let file = tempfile::NamedTempFile::new().unwrap();
    let user = r#"{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}"#;
    std::fs::write(file.path(), user).unwrap();
    let variable = [("GOOGLE_APPLICATION_CREDENTIALS", file.path().to_str().unwrap())];
    assert_eq!(google("", endpoints(&variable)).await.unwrap(), "Bearer user");

    std::fs::write(file.path(), r#"{"type":"service_account","private_key":"hunter2"}"#).unwrap();
    let error = google("", endpoints(&variable)).await.unwrap_err();
    assert!(error.kind() == Kind::Credentials && !error.to_string().contains("hunter2"), "{error}");
}

/// Marks requests, and sees what it is given.
struct Mark;

impl Sign for Mark {
    fn sign<'a>(&'a self, request: &'a mut Outgoing) -> BoxFuture<'a, Result<(), Error>> {
        assert_eq!(request.body, "data");
        request.headers.insert("x-signed", http::HeaderValue::from_static("yes"));
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn a_signer_sees_the_request_last() {
    let (server, seen) = recorder().await;
    net::install_provider();
    let options = ClientOptions::new("t").signer(Arc::new(Mark));
    let client = net::Client::new(&Default::default(), options).unwrap();
    client.send(Request::post(url(&server, "/"), "data")).await.unwrap();
    assert_eq!(seen.lock()[0].headers()["x-signed"], "yes");
}
