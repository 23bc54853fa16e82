//! Reloads without end, under load, with a clock that stands still between events: graphs change at
//! random and nothing accepted is lost. The seed of a failing run is in its message.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::world::{World, load, runtime};

/// A random graph in which every source reaches both sinks, over paths that change from call to call.
fn graph(world: &str, random: &mut fastrand::Rng) -> String {
    let mut text = format!(
        r#"
        test.sink "a" {{ world = "{world}"  delay = "{}ms" }}
        test.sink "b" {{ world = "{world}"  delay = "{}ms"  tag = "{}" }}
        declare "pair" {{
            argument "to" {{ }}
            test.relay "one" {{ world = "{world}"  forward_to = argument.to.value  delay = "{}ms" }}
            test.relay "two" {{ world = "{world}"  forward_to = [test.relay.one.receiver] }}
            export "in" {{ value = test.relay.two.receiver }}
        }}
    "#,
        random.u8(0..4),
        random.u8(0..4),
        random.u8(0..3),
        random.u8(0..3),
    );
    let mut entrances = vec!["test.sink.a.receiver, test.sink.b.receiver".to_string()];
    for relay in 0..random.u8(0..5) {
        let to = random.choice(&entrances).unwrap().clone();
        let tag = random.u8(0..3);
        let _ = match random.u8(0..3) {
            0 => {
                entrances.push(format!("pair.p{relay}.in"));
                writeln!(text, "pair \"p{relay}\" {{ to = [{to}] }}")
            }
            _ => {
                entrances.push(format!("test.relay.r{relay}.receiver"));
                writeln!(
                    text,
                    "test.relay \"r{relay}\" {{ world = \"{world}\"  forward_to = [{to}]  tag = \"{tag}\" }}"
                )
            }
        };
    }
    for source in 0..random.u8(1..4) {
        let to = random.choice(&entrances).unwrap();
        let _ = writeln!(
            text,
            "test.source \"s{source}\" {{ world = \"{world}\"  every = \"2ms\"  forward_to = [{to}] }}"
        );
    }
    if random.bool() {
        let to = random.choice(&entrances).unwrap();
        let items = ["[1]", "[1, 2]", "[2, 3]"][random.usize(0..3)];
        let _ = writeln!(
            text,
            "foreach \"f\" {{\n collection = {items}\n var = \"n\"\n template {{\n test.source \"s\" {{ world = \"{world}\"  every = \"3ms\"  forward_to = [{to}] }}\n }}\n }}"
        );
    }
    text
}

async fn storm(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let name = format!("storm {seed}");
    let world = World::of(&name);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let baseline = tasks();
    let runtime = runtime();
    for _ in 0..30 {
        let mut text = graph(&name, &mut random);
        let refused = random.u8(0..5) == 0;
        if refused {
            text.push_str("test.sink \"a\" { }");
        }
        let before = Instant::now();
        let result = load(&runtime, &text).await;
        assert_eq!(result.is_err(), refused, "seed {seed}: {result:?}\n{text}");
        let took = before.elapsed();
        assert!(took < Duration::from_secs(5), "seed {seed}: a reload took {took:?}");
        tokio::time::sleep(Duration::from_millis(random.u64(0..40))).await;
    }
    let before = Instant::now();
    runtime.shutdown(Duration::from_secs(30)).await;
    assert!(before.elapsed() < Duration::from_secs(30), "seed {seed}: shutdown ran into its deadline");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(tasks(), baseline, "seed {seed}: tasks are left");
    let accepted = world.accepted.lock().unwrap().clone();
    assert!(accepted.len() > 20, "seed {seed}: only {} items", accepted.len());
    let arrived = world.arrived.lock().unwrap();
    for sink in ["test.sink.a", "test.sink.b"] {
        let missing: Vec<_> = accepted.iter().filter(|i| !arrived[sink].contains_key(i)).collect();
        assert!(missing.is_empty(), "seed {seed}: {sink} lacks {missing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_accepted_item_is_lost_in_a_storm_of_reloads() {
    let seeds = std::env::var("STORM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(12);
    for seed in 0..seeds {
        storm(seed).await;
    }
}
