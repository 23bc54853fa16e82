//! The Kubernetes API, as far as questions and watches of short lists need it.
//!
//! Data path: where the API is and who asks it ([`Cluster`]: a pod's service account, a kubeconfig) → [`Api`] → JSON
//! within a limit, or a [`Watch`]: one event a line. It goes through [`crate::Client`]; the token's file is read for every
//! request, so that a token that is renewed is used.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use component::eval::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::args::HttpClientArgs;
use crate::client::{Client, ClientOptions, Request, Response};
use crate::error::{Error, Kind};
use crate::sign::Variables;
use crate::tls::TlsExtras;

/// Below the root: what a pod is given of its service account.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";
/// Largest answer in JSON.
const MAX_ANSWER: usize = 64 << 20;
/// Largest event of a watch.
const MAX_EVENT: usize = 8 << 20;
/// How long a question may take.
const ASK: Duration = Duration::from_secs(30);
/// The server ends a watch after so many seconds; it may be silent until then.
const WATCH: u64 = 300;

/// Where the API is and who asks it.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Its address, such as `https://10.0.0.1:443`.
    pub address: String,
    /// Credentials and TLS.
    pub client: HttpClientArgs,
    /// What is asked of TLS beyond that.
    pub tls: TlsExtras,
}

impl Cluster {
    /// That of the pod in which the program runs, asked by the pod's service account. `root` is above all files.
    ///
    /// # Errors
    /// If the program does not run in a pod.
    pub fn in_pod(variables: &Variables, root: &Path) -> Result<Self, String> {
        let folder = root.join(ACCOUNT);
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        if !folder.join("token").is_file() {
            return Err(format!("there is no service account: {} does not exist", file("token")));
        }
        let mut client = HttpClientArgs { bearer_token_file: file("token"), ..HttpClientArgs::default() };
        if folder.join("ca.crt").is_file() {
            client.tls_config.ca_file = file("ca.crt");
        }
        Ok(Self { address: address(variables)?, client, ..Self::default() })
    }

    /// That of the pod, asked by nobody in particular. Who answers is not looked at, for want of an authority.
    ///
    /// # Errors
    /// If the program does not run in a pod.
    pub fn without_account(variables: &Variables) -> Result<Self, String> {
        let mut client = HttpClientArgs::default();
        client.tls_config.insecure_skip_verify = true;
        Ok(Self { address: address(variables)?, client, ..Self::default() })
    }

    /// As a kubeconfig says; `context` instead of its current one, where it is not empty. Paths in it are below `folder`.
    ///
    /// # Errors
    /// If the text is none, a name in it leads nowhere, or it wants what is not supported here.
    pub fn of_kubeconfig(text: &str, context: &str, folder: &Path) -> Result<Self, String> {
        let config: KubeConfig = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let context = if context.is_empty() { &config.current } else { context };
        let found = config.contexts.iter().find(|named| named.name == context);
        let context = &found.ok_or_else(|| format!("there is no context {context:?}"))?.context;
        let cluster = config.clusters.iter().find(|named| named.name == context.cluster);
        let cluster = &cluster.ok_or_else(|| format!("there is no cluster {:?}", context.cluster))?.cluster;
        let user = config.users.iter().find(|named| named.name == context.user);
        let path = |path: &str| match path {
            "" => String::new(),
            path => folder.join(path).to_string_lossy().into_owned(),
        };
        let mut client = HttpClientArgs::default();
        client.tls_config.ca_pem = decoded(&cluster.authority_data)?;
        client.tls_config.ca_file = path(&cluster.authority);
        client.tls_config.insecure_skip_verify = cluster.insecure;
        client.tls_config.server_name = cluster.server_name.clone();
        if let Some(NamedUser { user, .. }) = user {
            if user.exec.is_some() || user.provider.is_some() {
                return Err("credentials that a program hands out are not supported; use a token".into());
            }
            client.bearer_token = Secret::from(user.token.as_str());
            client.bearer_token_file = path(&user.token_file);
            client.tls_config.cert_pem = decoded(&user.certificate_data)?;
            client.tls_config.cert_file = path(&user.certificate);
            client.tls_config.key_pem = Secret::from(decoded(&user.key_data)?);
            client.tls_config.key_file = path(&user.key);
        }
        Ok(Self { address: cluster.server.clone(), client, ..Self::default() })
    }
}

/// The namespace of the pod in which the program runs.
pub fn namespace(root: &Path) -> Option<String> {
    let name = std::fs::read_to_string(root.join(ACCOUNT).join("namespace")).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Of the API, as every pod is told it.
fn address(variables: &Variables) -> Result<String, String> {
    let variable = |name: &str| {
        let value = variables(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("{name} is not set: the program does not run in a pod"))
    };
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{port}"))
}

fn decoded(data: &str) -> Result<String, String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(data.trim());
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| "data of a certificate or key are no base64 of PEM".into())
}

#[derive(Deserialize)]
struct KubeConfig {
    #[serde(rename = "current-context", default)]
    current: String,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: ClusterEntry,
}

#[derive(Deserialize)]
struct ClusterEntry {
    server: String,
    #[serde(rename = "certificate-authority", default)]
    authority: String,
    #[serde(rename = "certificate-authority-data", default)]
    authority_data: String,
    #[serde(rename = "insecure-skip-tls-verify", default)]
    insecure: bool,
    #[serde(rename = "tls-server-name", default)]
    server_name: String,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: ContextEntry,
}

#[derive(Deserialize)]
struct ContextEntry {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: UserEntry,
}

#[derive(Deserialize)]
struct UserEntry {
    #[serde(default)]
    token: String,
    #[serde(rename = "tokenFile", default)]
    token_file: String,
    #[serde(rename = "client-certificate", default)]
    certificate: String,
    #[serde(rename = "client-certificate-data", default)]
    certificate_data: String,
    #[serde(rename = "client-key", default)]
    key: String,
    #[serde(rename = "client-key-data", default)]
    key_data: String,
    exec: Option<serde::de::IgnoredAny>,
    #[serde(rename = "auth-provider")]
    provider: Option<serde::de::IgnoredAny>,
}

/// A client of one API.
pub struct Api {
    client: Client,
    base: Url,
}

impl Api {
    /// Opens no connection and reads no file.
    ///
    /// # Errors
    /// If the address or an argument does not work.
    pub fn new(cluster: &Cluster, user_agent: &str) -> Result<Self, Error> {
        let base = cluster.address.trim_end_matches('/').parse().map_err(|error| {
            Error::config(format!("{:?} is no address of the Kubernetes API: {error}", cluster.address))
        })?;
        let mut options = ClientOptions::new(user_agent);
        options.max_idle_per_host = 2;
        options.tls = cluster.tls.clone();
        Ok(Self { client: Client::new(&cluster.client, options)?, base })
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// [`Kind::Status`] where the API refuses, with its reason.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Error> {
        let request = Request::get(self.url(path, query)).timeout(ASK);
        let body = self.client.send_ok(request).await?.bytes(MAX_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|error| {
            Error::new(Kind::Protocol, format!("the answer for {path} is no such thing: {error}"))
        })
    }

    /// Follows a list from the version that it was read at.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn watch(&self, path: &str, query: &[(&str, &str)], version: &str) -> Result<Watch, Error> {
        let limit = WATCH.to_string();
        let follow = [("watch", "true"), ("resourceVersion", version), ("timeoutSeconds", limit.as_str())];
        let url = self.url(path, &[query, &follow].concat());
        // A server that does not end it is left.
        let request = Request::get(url).timeout(Duration::from_secs(WATCH) + ASK);
        Ok(Watch { response: self.client.send_ok(request).await?, unread: Vec::new() })
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// A change of a list.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What has changed.
    pub object: serde_json::Value,
}

/// Changes of a list.
pub struct Watch {
    response: Response,
    unread: Vec<u8>,
}

impl Watch {
    /// The next change; `None` where the server has ended the watch.
    ///
    /// # Errors
    /// If the connection breaks, or the server cannot go on: the list has to be read again.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let event: Event = serde_json::from_slice(&line)
                    .map_err(|error| Error::new(Kind::Protocol, format!("an event of a watch: {error}")))?;
                if event.kind == "ERROR" {
                    let why = event.object["message"].as_str().unwrap_or("the watch cannot go on").to_owned();
                    return Err(Error::new(Kind::Protocol, why));
                }
                return Ok(Some(event));
            }
            if self.unread.len() > MAX_EVENT {
                return Err(Error::new(Kind::Protocol, format!("an event is larger than {MAX_EVENT} bytes")));
            }
            match self.response.chunk().await? {
                Some(chunk) => self.unread.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::testkit::{Backend, Reply};

    fn variables(all: &[(&str, &str)]) -> Variables {
        let all: HashMap<String, String> = all.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Arc::new(move |name| all.get(name).cloned())
    }

    const POD: [(&str, &str); 2] =
        [("KUBERNETES_SERVICE_HOST", "fd00::1"), ("KUBERNETES_SERVICE_PORT", "443")];

    #[test]
    fn a_pod_asks_with_its_service_account() {
        let root = tempfile::tempdir().expect("a folder");
        let refused = Cluster::in_pod(&variables(&POD), root.path()).expect_err("no account");
        assert!(refused.contains("there is no service account"), "{refused}");
        let folder = root.path().join(ACCOUNT);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in [("token", "t"), ("ca.crt", "c"), ("namespace", "shop\n")] {
            std::fs::write(folder.join(name), text).expect("a file");
        }
        let cluster = Cluster::in_pod(&variables(&POD), root.path()).expect("in a pod");
        assert_eq!(cluster.address, "https://[fd00::1]:443");
        assert!(cluster.client.bearer_token_file.ends_with("serviceaccount/token"));
        assert!(cluster.client.tls_config.ca_file.ends_with("serviceaccount/ca.crt"));
        assert!(!cluster.client.tls_config.insecure_skip_verify);
        assert_eq!(namespace(root.path()).as_deref(), Some("shop"));
        let refused = Cluster::in_pod(&variables(&[]), root.path()).expect_err("no pod");
        assert!(refused.contains("KUBERNETES_SERVICE_HOST is not set"), "{refused}");
        let anonymous = Cluster::without_account(&variables(&POD)).expect("in a pod");
        assert!(anonymous.client.bearer_token_file.is_empty());
    }

    #[test]
    fn a_kubeconfig_leads_from_its_context_to_a_cluster_and_a_user() {
        let text = r#"
apiVersion: v1
kind: Config
current-context: one
clusters:
- name: c1
  cluster: {server: "https://one:6443", certificate-authority: ca.pem}
- name: c2
  cluster: {server: "https://two:6443", insecure-skip-tls-verify: true}
contexts:
- name: one
  context: {cluster: c1, user: u1, namespace: n}
- name: two
  context: {cluster: c2, user: u2}
- name: three
  context: {cluster: c3, user: u2}
users:
- name: u1
  user: {token: secret, client-certificate-data: Y2VydA==, client-key: key.pem}
- name: u2
  user: {exec: {command: aws}}
"#;
        let one = Cluster::of_kubeconfig(text, "", Path::new("/home/.kube")).expect("sound");
        assert_eq!(one.address, "https://one:6443");
        assert_eq!(one.client.tls_config.ca_file, "/home/.kube/ca.pem");
        assert_eq!(one.client.tls_config.cert_pem, "cert");
        assert_eq!(one.client.tls_config.key_file, "/home/.kube/key.pem");
        assert_eq!(one.client.bearer_token.reveal(), "secret");
        for (context, why) in
            [("two", "are not supported"), ("three", "there is no cluster"), ("four", "there is no context")]
        {
            let refused = Cluster::of_kubeconfig(text, context, Path::new("/")).expect_err(context);
            assert!(refused.contains(why), "{context}: {refused}");
        }
    }

    #[tokio::test]
    async fn questions_and_watches_go_to_the_api() {
        crate::install_provider();
        let backend = Backend::start(|posted| match posted.path.contains("watch=true") {
            true => Reply::Raw(concat!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n",
                r#"{"type":"ADDED","object":{"n":1}}"#,
                "\n\n",
                r#"{"type":"ERROR","object":{"message":"too old resource version"}}"#,
                "\n",
            )),
            false => Reply::Answer { status: 200, headers: Vec::new(), body: r#"{"a":7}"#.into() },
        })
        .await;
        let client = HttpClientArgs { bearer_token: Secret::from("t"), ..HttpClientArgs::default() };
        let cluster = Cluster { address: format!("{}/below/", backend.base()), client, ..Cluster::default() };
        let api = Api::new(&cluster, "test/1").expect("sound");
        let found: serde_json::Value =
            api.get("/api/v1/x", &[("labelSelector", "a=b")]).await.expect("there");
        assert_eq!(found["a"], 7);
        let mut watch = api.watch("/api/v1/x", &[], "12").await.expect("there");
        let event = watch.next().await.expect("sound").expect("one");
        assert_eq!((event.kind.as_str(), &event.object["n"]), ("ADDED", &serde_json::json!(1)));
        assert!(watch.next().await.expect_err("told").to_string().contains("too old"));
        let all = backend.all();
        assert_eq!(all[0].path, "/below/api/v1/x?labelSelector=a%3Db");
        assert_eq!(all[0].headers["authorization"], "Bearer t");
        assert!(all[1].path.contains("resourceVersion=12"), "{}", all[1].path);
    }
}
