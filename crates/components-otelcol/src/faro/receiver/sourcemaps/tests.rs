//! Maps from disk and from servers, what is remembered, and what is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use component::metrics::Metrics;
use net::testkit::{Backend, Reply, status};

use super::map::Map;
use super::*;
use crate::faro::receiver::args::{Cache, Location, SourceMaps};
use crate::faro::receiver::metrics::MapMetrics;

/// `x.js` line 1: column 0 is `src/x.ts` 10:4 `outer`, column 8 is 20:6 without a name.
const MAP: &str = r#"{"version":3,"sources":["src/x.ts"],"names":["outer"],"mappings":"AASIA,QAUE"}"#;

fn args() -> SourceMaps {
    component::eval::Arguments::defaults()
}

fn store(args: &SourceMaps) -> (Store, Metrics) {
    let metrics = Metrics::default();
    let node = metrics.node("x");
    let store = Store::new(args, MapMetrics::new(&node)).expect("good arguments");
    // The registry lives as long as somebody holds it.
    std::mem::forget(node);
    (store, metrics)
}

fn frame(file: &str, line: u32, column: u32) -> String {
    format!(r#"{{"function":"t","filename":"{file}","lineno":{line},"colno":{column}}}"#)
}

/// Resolves frames; answers them as lines print them.
async fn resolved(store: &Store, frames: &[String], release: &str) -> Vec<String> {
    let text = format!(r#"{{"exceptions":[{{"stacktrace":{{"frames":[{}]}}}}]}}"#, frames.join(","));
    let payload = wire::faro::Payload::read(&text).expect("a payload");
    let mut exceptions = payload.exceptions().expect("exceptions");
    store.resolve(&mut exceptions, release).await;
    let show = |f: &Frame<'_>| format!("{} {}:{}:{}", f.function, f.filename, f.lineno, f.colno);
    exceptions[0].frames().iter().map(show).collect()
}

fn text(body: &str) -> Reply {
    Reply::Answer { status: 200, headers: Vec::new(), body: body.to_owned() }
}

#[test]
fn a_place_is_the_last_mapping_of_its_line_that_is_not_behind_it() {
    let map = Map::parse(MAP.as_bytes(), "http://h/js/x.js.map").expect("a map");
    let place = |line, column| map.place(line, column).map(|p| (p.file, p.function, p.line, p.column));
    let file = "http://h/js/src/x.ts".to_owned();
    assert_eq!(place(1, 1), Some((file.clone(), Some("outer".into()), 10, 4)));
    assert_eq!(place(1, 8), Some((file.clone(), Some("outer".into()), 10, 4)));
    assert_eq!(place(1, 9), Some((file.clone(), None, 20, 6)));
    assert_eq!(place(1, 0), Some((file, Some("outer".into()), 10, 4)));
    assert_eq!((place(2, 1), place(0, 1)), (None, None));
    let webpack = MAP.replace("src/x.ts", "webpack:///./src/x.ts");
    let map = Map::parse(webpack.as_bytes(), "http://h/x.js.map").expect("a map");
    assert_eq!(map.place(1, 1).expect("mapped").file, "webpack:///./src/x.ts");
}

#[test]
fn hostile_maps_are_refused() {
    let many = format!(r#"{{"version":3,"sources":[],"names":[],"mappings":"{}"}}"#, ",".repeat(5_000_000));
    let deep = format!(r#"{{"version":3,"sections":{}"#, "[".repeat(100_000));
    for content in
        ["", "null", "[]", "{}", r#"{"version":3,"mappings":"!!!","sources":[],"names":[]}"#, &many, &deep]
    {
        let result = Map::parse(content.as_bytes(), "http://h/x");
        // Nothing is a map without mappings.
        assert!(result.is_err() || result.is_ok_and(|map| map.place(1, 1).is_none()), "{content:.40}");
    }
    for end in 0..MAP.len() {
        assert!(Map::parse(&MAP.as_bytes()[..end], "http://h/x").is_err(), "{end}");
    }
    for at in 0..MAP.len() {
        let mut bytes = MAP.as_bytes().to_vec();
        bytes[at] = b'z';
        if let Ok(map) = Map::parse(&bytes, "http://h/x") {
            let _ = map.place(1, 1);
        }
    }
}

#[tokio::test]
async fn maps_are_found_on_disk_by_prefix_and_release() {
    let folder = tempfile::tempdir().expect("a folder");
    let build = folder.path().join("1.2/build/js");
    std::fs::create_dir_all(&build).expect("folders");
    std::fs::write(build.join("x.js.map"), MAP).expect("written");
    std::fs::write(folder.path().join("secret.map"), MAP).expect("written");
    let location = Location {
        path: format!("{}/{{{{ .Release }}}}/build", folder.path().display()),
        minified_path_prefix: "http://app/".into(),
    };
    let (store, metrics) = store(&SourceMaps { location: vec![location], download: false, ..args() });
    let frames = [
        frame("http://app/js/x.js?v=1", 1, 9),
        frame("http://app/js/x.js", 1, 1),
        frame("http://app/./js//../js/x.js", 1, 1),
        frame("http://other/js/x.js", 1, 1),
        frame("http://app/none.js", 1, 1),
        frame("http://app/js/x.js", 7, 1),
    ];
    let found = resolved(&store, &frames, "1.2").await;
    assert_eq!(
        found,
        [
            "t http://app/js/src/x.ts:20:6",
            "outer http://app/js/src/x.ts:10:4",
            "t http://app/./js//../js/x.js:1:1",
            "t http://other/js/x.js:1:1",
            "t http://app/none.js:1:1",
            "t http://app/js/x.js:7:1",
        ]
    );
    let outside = [frame("http://app/../../secret", 1, 1), frame("http://app/..%2f..%2fsecret", 1, 1)];
    let found = resolved(&store, &outside, "1.2").await;
    assert!(found.iter().all(|f| f.starts_with("t http://app/")), "{found:?}");
    let found = resolved(&store, &[frame("http://app/js/x.js", 1, 1)], "../1.2").await;
    assert_eq!(found, ["outer http://app/js/src/x.ts:10:4"], "a release is a name");
    let text = metrics.text();
    assert!(text.contains("status=\"ok\"") && text.contains("status=\"not_found\""), "{text}");
    assert!(text.contains("faro_receiver_sourcemap_cache_size"), "{text}");
}

#[tokio::test]
async fn maps_are_downloaded_once_however_many_ask() {
    let server = Backend::start(|posted| match posted.path.as_str() {
        "/js/x.js" => text("code\n//# sourceMappingURL=maps/x.map\n"),
        "/js/maps/x.map" => text(MAP),
        "/inline.js" => text(
            "//# sourceMappingURL=data:application/json;base64,eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbImEudHMiXSwibmFtZXMiOltdLCJtYXBwaW5ncyI6IkFBQUEifQ==",
        ),
        "/header.js" => Reply::Answer {
            status: 200,
            headers: vec![("SourceMap", "/js/maps/x.map".to_owned())],
            body: "code".to_owned(),
        },
        _ => status(404),
    })
    .await;
    let (store, metrics) = store(&args());
    let base = server.base();
    let x = frame(&format!("{base}/js/x.js"), 1, 1);
    let (twice, once) = ([x.clone(), x.clone()], [x]);
    let (one, two) = tokio::join!(resolved(&store, &twice, "r"), resolved(&store, &once, "r"));
    let expected = format!("outer {base}/js/maps/src/x.ts:10:4");
    assert_eq!((one, two), (vec![expected.clone(); 2], vec![expected]));
    assert_eq!(server.all().len(), 2);
    let others = [frame(&format!("{base}/inline.js"), 1, 1), frame(&format!("{base}/header.js"), 1, 1)];
    let found = resolved(&store, &others, "r").await;
    assert_eq!(found, [format!("t {base}/a.ts:1:0"), format!("outer {base}/js/maps/src/x.ts:10:4")]);
    let missing = [frame(&format!("{base}/none.js"), 1, 1)];
    for _ in 0..3 {
        assert_eq!(resolved(&store, &missing, "r").await, [format!("t {base}/none.js:1:1")]);
    }
    assert_eq!(server.all().iter().filter(|p| p.path == "/none.js").count(), 1, "a failure is remembered");
    let text = metrics.text();
    assert!(text.contains("http_status=\"200\"") && text.contains("http_status=\"404\""), "{text}");
}

#[tokio::test]
async fn nothing_is_downloaded_from_where_it_is_not_allowed() {
    let other = Backend::start(|_| text(MAP)).await;
    let elsewhere = format!("//# sourceMappingURL={}/x.map", other.base());
    let redirect = other.base();
    let server = Backend::start(move |posted| match posted.path.as_str() {
        "/moved.js" => {
            Reply::Answer { status: 302, headers: vec![("Location", redirect.clone())], body: String::new() }
        }
        _ => text(&elsewhere),
    })
    .await;
    let base = server.base();
    let (only, _) = store(&SourceMaps { download_from_origins: vec![base.clone()], ..args() });
    let frames = [
        frame(&format!("{base}/x.js"), 1, 1),
        frame(&format!("{base}/moved.js"), 1, 1),
        frame(&format!("{}/x.js", other.base()), 1, 1),
        frame("file:///etc/passwd", 1, 1),
        frame("ftp://h/x.js", 1, 1),
    ];
    let found = resolved(&only, &frames, "").await;
    assert!(found.iter().all(|f| f.starts_with("t ")), "{found:?}");
    assert!(other.all().is_empty(), "{:?}", other.all());
    let (never, _) = store(&SourceMaps { download: false, ..args() });
    resolved(&never, &frames, "").await;
    assert_eq!(server.all().len(), 2);
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_up_nobody_for_long() {
    let server = Backend::start(|_| Reply::Hang).await;
    let (store, _) = store(&SourceMaps { download_timeout: Duration::from_millis(50), ..args() });
    let frames: Vec<_> = (0..40).map(|n| frame(&format!("{}/{n}.js", server.base()), 1, 1)).collect();
    let found = resolved(&store, &frames, "").await;
    assert_eq!(found.len(), 40);
    assert!(server.connections() <= MOST_FILES, "{}", server.connections());
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_forgotten_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.js.map");
    let location =
        Location { path: folder.path().display().to_string(), minified_path_prefix: "http://app/".into() };
    let cache = Cache {
        ttl: Duration::from_secs(100),
        error_cleanup_interval: Duration::from_secs(10),
        ..Cache::default()
    };
    let args = SourceMaps { location: vec![location], download: false, cache: Some(cache), ..args() };
    let (store, _metrics) = store(&args);
    let x = [frame("http://app/x.js", 1, 1)];
    let mapped = ["outer http://app/src/x.ts:10:4"];
    assert_eq!(resolved(&store, &x, "").await, ["t http://app/x.js:1:1"]);
    std::fs::write(&path, MAP).expect("written");
    store.clean();
    assert_eq!(resolved(&store, &x, "").await, ["t http://app/x.js:1:1"], "not yet");
    tokio::time::advance(Duration::from_secs(10)).await;
    store.clean();
    assert_eq!(resolved(&store, &x, "").await, mapped);
    std::fs::remove_file(&path).expect("there");
    tokio::time::advance(Duration::from_secs(99)).await;
    store.clean();
    assert_eq!(resolved(&store, &x, "").await, mapped, "it was needed");
    tokio::time::advance(Duration::from_secs(100)).await;
    store.clean();
    assert_eq!(resolved(&store, &x, "").await, ["t http://app/x.js:1:1"]);
}

#[tokio::test]
async fn names_that_are_made_up_are_forgotten_when_there_are_too_many() {
    let (store, _metrics) = store(&SourceMaps { download: false, ..args() });
    let store = Arc::new(store);
    let asked = AtomicUsize::new(0);
    for n in 0..9000 {
        assert!(store.map(&format!("http://app/{n}.js"), "").await.is_none());
        asked.fetch_add(1, Ordering::Relaxed);
    }
    assert!(store.remembered() <= 8192, "{}", store.remembered());
}
