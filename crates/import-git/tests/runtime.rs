//! A module from a repository in a running configuration.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use component::eval::items_to_json;
use component::eval::syntax::Source;
use component::{HealthState, Registry, Services};
use runtime::{Options, Runtime};

fn git(dir: &Path, args: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git is installed");
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn commit(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder can be made");
    std::fs::write(path, text).expect("the file can be written");
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", "x"]);
}

fn options(storage: &Path) -> Options {
    Options {
        registry: Registry::new(&[]),
        blocks: Vec::new(),
        imports: vec![import_git::IMPORT],
        services: Services::for_tests(storage),
    }
}

fn exports(runtime: &Runtime) -> String {
    let snapshot = runtime.snapshot();
    let node = snapshot.component("m.outer.x").expect("the instance is there");
    assert_eq!(node.health.state, HealthState::Healthy, "{}", node.health.message);
    items_to_json(&node.exports).to_string()
}

/// The module in `m/a.alloy` imports `lib/b.alloy` of the same repository by `module_path`.
const OUTER: &str = r#"
import.file "lib" { filename = module_path + "/lib/b.alloy" }
declare "outer" {
    lib.inner "x" { }
    export "value" { value = lib.inner.x.value }
}
"#;

fn inner(value: u32) -> String {
    format!("declare \"inner\" {{\n export \"value\" {{ value = {value} }}\n}}")
}

// Time is virtual: it moves on when everything waits, and stands still while a fetch works.
#[tokio::test(start_paused = true)]
async fn a_module_and_what_it_imports_follow_the_branch_and_stay_while_the_remote_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let (remote, storage) = (dir.path().join("remote"), dir.path().join("storage"));
    std::fs::create_dir(&remote).unwrap();
    git(&remote, &["init", "-q", "-b", "main", "."]);
    commit(&remote, "lib/b.alloy", &inner(1));
    commit(&remote, "m/a.alloy", OUTER);
    let text = format!(
        "import.git \"m\" {{\n repository = {remote:?}\n path = \"m/a.alloy\"\n pull_frequency = \"10s\"\n}}\n\
         m.outer \"x\" {{ }}"
    );
    let source = || vec![Source::new("config.alloy", &*text)];
    assert!(runtime::validate(options(&storage), &source(), None).iter().all(|d| !d.is_error()));
    assert!(!storage.exists(), "validating fetches nothing");

    let runtime = Runtime::new(options(&storage));
    runtime.load(source()).await.unwrap();
    runtime.settled().await;
    assert!(exports(&runtime).contains('1'), "{}", exports(&runtime));
    assert!(storage.join("import.git.m/repo/lib/b.alloy").exists());

    commit(&remote, "lib/b.alloy", &inner(2));
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut ticks = 0;
    while !exports(&runtime).contains('2') {
        tick.tick().await;
        ticks += 1;
        assert!(ticks < 100, "{}", exports(&runtime));
    }

    std::fs::rename(&remote, dir.path().join("elsewhere")).unwrap();
    for _ in 0..30 {
        tick.tick().await;
    }
    runtime.load(source()).await.unwrap();
    assert!(exports(&runtime).contains('2'));
    runtime.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_first_fetch_that_fails_refuses_the_configuration_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let text = "import.git \"m\" {\n repository = \"/nowhere/r.git\"\n path = \"a.alloy\"\n}";
    let runtime = Runtime::new(options(dir.path()));
    let error = runtime.load(vec![Source::new("config.alloy", text)]).await.unwrap_err();
    assert!(!error.applied);
    let message = format!("{error:?}");
    assert!(message.contains("/nowhere/r.git") && message.contains("check the path"), "{message}");
}
