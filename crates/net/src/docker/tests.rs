//! The client against the engine of the test kit.

use serde_json::{Value, json};

use super::testkit::{FakeEngine, Fault};
use super::*;

fn engine(fake: &FakeEngine) -> Engine {
    crate::install_provider();
    Engine::new(&fake.host(), &HttpClientArgs::default(), "test/1").expect("a good host")
}

#[tokio::test]
async fn a_socket_and_tcp_are_asked_in_the_version_that_the_engine_offers() {
    for fake in [FakeEngine::unix().await, FakeEngine::tcp().await] {
        fake.add(json!({"Id": "a1"}), false);
        let engine = engine(&fake);
        for _ in 0..2 {
            let found: Value = engine.json("/containers/json", &[("filters", "{}")]).await.unwrap();
            assert_eq!(found, json!([{"Id": "a1"}]));
        }
        let asked = "/v1.43/containers/json?filters=%7B%7D";
        assert_eq!(fake.asked(), ["/_ping", asked, asked]);
    }
}

#[tokio::test]
async fn an_engine_that_is_upgraded_is_asked_in_its_new_version() {
    let fake = FakeEngine::unix().await;
    let engine = engine(&fake);
    let _: Value = engine.json("/networks", &[]).await.unwrap();
    fake.versions(1.44, 1.52);
    let _: Value = engine.json("/networks", &[]).await.unwrap();
    assert_eq!(fake.asked().last().map(String::as_str), Some("/v1.52/networks"));
}

#[tokio::test]
async fn refusals_broken_answers_and_missing_engines_are_told_apart() {
    let fake = FakeEngine::unix().await;
    let engine = engine(&fake);
    let missing = engine.json::<Value>("/containers/gone/json", &[]).await.unwrap_err();
    assert_eq!(missing.status(), Some(404));
    assert!(missing.to_string().contains("No such container: gone"), "{missing}");
    let shape = engine.json::<Vec<u8>>("/_ping", &[]).await.unwrap_err();
    assert_eq!(shape.kind(), Kind::Protocol);
    fake.stop();
    let gone = engine.json::<Value>("/networks", &[]).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::Connect);
    assert!(gone.to_string().contains("is the engine running"), "{gone}");
    assert!(gone.to_string().contains(&fake.host()), "{gone}");
    fake.start().await;
    let _: Value = engine.json("/networks", &[]).await.unwrap();
}

#[tokio::test]
async fn a_log_streams_as_it_grows_and_breaks_with_its_connection() {
    let fake = FakeEngine::unix().await;
    fake.add(json!({"Id": "a1"}), true);
    let engine = engine(&fake);
    let mut logs = engine.stream("/containers/a1/logs", &[("follow", "1")]).await.unwrap();
    fake.write("a1", 1, 1_500_000_000, "hello");
    let chunk = logs.chunk().await.unwrap().unwrap();
    assert_eq!(chunk, "1970-01-01T00:00:01.500000000Z hello\n");
    fake.stop();
    assert!(logs.chunk().await.is_err());
    fake.start().await;
    fake.faults(&[Fault::Status(503), Fault::CutAfter(4)]);
    assert_eq!(engine.stream("/containers/a1/logs", &[]).await.unwrap_err().status(), Some(503));
    let mut logs = engine.stream("/containers/a1/logs", &[]).await.unwrap();
    assert_eq!(logs.chunk().await.unwrap().unwrap(), "1970");
    assert!(logs.chunk().await.is_err());
}

#[test]
fn only_names_of_containers_become_part_of_a_path() {
    for (id, good) in
        [("4f2b", true), ("my-app_1.x", true), ("", false), ("a/b", false), ("..", false), ("a?", false)]
    {
        assert_eq!(is_id(id), good, "{id}");
    }
}
