//! The same over a stand-in for ssh, and over HTTP with git's own server program.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use bytes::Bytes;
use component::BoxFuture;
use http::{Request, Response, StatusCode};
use net::server::{Handler, whole};
use net::{Server, ServerOptions};

use super::*;

/// A program that notes its arguments and runs the command here instead of on a host.
fn fake_ssh(world: &World) -> String {
    let path = world.dir.path().join("fake ssh");
    let notes = world.dir.path().join("notes");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{notes}'\nwhile :; do\n\
         case \"$1\" in\n-i) cat \"$2\" >> '{notes}'; shift 2;;\n-o) shift 2;;\n-*) shift;;\n*) break;;\nesac\ndone\n\
         shift\nexec sh -c \"$*\"\n",
        notes = notes.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn ssh_gets_the_user_the_key_and_asks_no_questions() {
    let world = World::new();
    world.commit(&[("a.alloy", "1")]);
    let key = SshKey {
        username: "robot".to_string(),
        key: "PRIVATE".into(),
        key_file: String::new(),
        passphrase: "".into(),
    };
    let address = format!("ssh://someone@host.example:2222{}", world.remote().display());
    let mut origin = Origin::new(&address, None, Some(&key)).unwrap();
    origin.ssh = fake_ssh(&world);
    assert_eq!(world.look_at(&origin, "main", "a.alloy").unwrap()[0].1, "1");
    let notes = std::fs::read_to_string(world.dir.path().join("notes")).unwrap();
    for part in ["robot@host.example\n", "-p2222\n", "BatchMode=yes\n", "IdentitiesOnly=yes\n", "PRIVATE\n"] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    assert!(!world.data().join("ssh-key").exists());
}

#[test]
fn an_ssh_that_fails_is_reported_with_what_it_said() {
    let world = World::new();
    let mut origin = Origin::new("ssh://git@host.example/r.git", None, None).unwrap();
    origin.ssh = "/nowhere/ssh".to_string();
    let error = world.look_at(&origin, "main", "a.alloy").unwrap_err();
    assert!(error.contains("check the address, the ssh_key"), "{error}");
}

/// `git http-backend` behind basic authentication.
#[derive(Clone)]
struct Backend {
    root: PathBuf,
    credentials: Option<&'static str>,
}

impl Backend {
    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let header = |name: &str| request.headers().get(name).map_or("", |v| v.to_str().unwrap());
        let given = header("authorization").strip_prefix("Basic ").map(|text| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
            String::from_utf8(bytes).unwrap()
        });
        if self.credentials.is_some_and(|wanted| given.as_deref() != Some(wanted)) {
            let refused = Response::builder().status(StatusCode::UNAUTHORIZED);
            return refused.header("www-authenticate", "Basic realm=\"t\"").body(Bytes::new()).unwrap();
        }
        let mut backend = Command::new("git")
            .args(["-c", "safe.directory=*", "http-backend"])
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", request.uri().path())
            .env("QUERY_STRING", request.uri().query().unwrap_or_default())
            .env("REQUEST_METHOD", request.method().as_str())
            .env("CONTENT_TYPE", header("content-type"))
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("CONTENT_LENGTH", request.body().len().to_string())
            .env("GIT_PROTOCOL", header("git-protocol"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        backend.stdin.take().unwrap().write_all(request.body()).unwrap();
        let out = backend.wait_with_output().unwrap().stdout;
        let end = out.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
        let mut response = Response::builder();
        for line in String::from_utf8_lossy(&out[..end]).lines() {
            let (name, value) = line.split_once(": ").unwrap();
            response = match name {
                "Status" => response.status(value.split(' ').next().unwrap()),
                _ => response.header(name, value),
            };
        }
        response.body(Bytes::copy_from_slice(&out[end + 4..])).unwrap()
    }
}

impl Handler for Backend {
    fn handle(&self, request: Request<Bytes>) -> BoxFuture<'_, Response<Bytes>> {
        let backend = self.clone();
        Box::pin(async move { tokio::task::spawn_blocking(move || backend.answer(&request)).await.unwrap() })
    }
}

async fn serve(world: &World, credentials: Option<&'static str>) -> Server {
    net::install_provider();
    let handler = whole(Backend { root: world.dir.path().to_path_buf(), credentials });
    Server::bind("git", "127.0.0.1", 0, ServerOptions::default(), handler).await.unwrap()
}

fn basic(password: &str) -> BasicAuth {
    BasicAuth { username: "robot".to_string(), password: password.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_a_branch_is_followed_with_user_and_password() {
    let world = World::new();
    world.commit(&[("a.alloy", "1")]);
    let server = serve(&world, Some("robot:hunter2")).await;
    let address = format!("http://{}/remote/.git", server.address());
    tokio::task::spawn_blocking(move || {
        let origin = Origin::new(&address, Some(&basic("hunter2")), None).unwrap();
        assert_eq!(world.look_at(&origin, "main", "a.alloy").unwrap()[0].1, "1");
        let commit = world.commit(&[("a.alloy", "2")]);
        assert_eq!(world.look_at(&origin, "main", "a.alloy").unwrap()[0].1, "2");
        world.commit(&[("a.alloy", "3")]);
        assert_eq!(world.look_at(&origin, &commit, "a.alloy").unwrap()[0].1, "2");

        let wrong = Origin::new(&address, Some(&basic("pass-word")), None).unwrap();
        let error = world.look_at(&wrong, "main", "a.alloy").unwrap_err();
        assert!(error.contains("the server refuses the credentials"), "{error}");
        assert!(!error.contains("pass-word"), "{error}");

        let none = Origin::new(&address, None, None).unwrap();
        let error = world.look_at(&none, "main", "a.alloy").unwrap_err();
        assert!(error.contains("a private repository needs a basic_auth block"), "{error}");
        assert!(
            !std::fs::read_to_string(world.data().join("repo.git/description")).unwrap().contains("hunter2")
        );
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_repository_over_http_needs_no_credentials_and_a_missing_one_says_404() {
    let world = World::new();
    world.commit(&[("a.alloy", "1")]);
    let server = serve(&world, None).await;
    let base = format!("http://{}", server.address());
    tokio::task::spawn_blocking(move || {
        let origin = Origin::new(&format!("{base}/remote/.git"), None, None).unwrap();
        assert_eq!(world.look_at(&origin, "main", "a.alloy").unwrap()[0].1, "1");
        let origin = Origin::new(&format!("{base}/nope"), None, None).unwrap();
        let error = world.look_at(&origin, "main", "a.alloy").unwrap_err();
        assert!(error.contains("404"), "{error}");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_speaks_tls_and_a_failed_handshake_is_an_error() {
    let world = World::new();
    let server = serve(&world, None).await;
    let address = format!("https://{}/remote/.git", server.address());
    tokio::task::spawn_blocking(move || {
        let origin = Origin::new(&address, Some(&basic("hunter2")), None).unwrap();
        let error = world.look_at(&origin, "main", "a.alloy").unwrap_err();
        assert!(error.contains("corrupt message"), "{error}");
    })
    .await
    .unwrap();
}
