//! Reloads under load: no profile is missing and no client is refused, whatever part of the pipeline changes.

use std::time::Duration;

use super::{DISK, Pipeline, all_arrive};
use crate::kit::Program;
use crate::kit::pyroscope::{Load, Pyroscope, Sent};

/// The steps of a reload, each with its configuration.
fn steps(base: &dyn Fn() -> Pipeline<'static>) -> Vec<(&'static str, String)> {
    let rule = "pyroscope.relabel \"default\" {\n\trule {\n\t\ttarget_label = \"step\"\n\t\treplacement = \"b\"\n\t}";
    vec![
        ("the receiver", Pipeline { receive: "graceful_shutdown_timeout = \"5s\"", ..base() }.config()),
        ("between", base().config().replace("pyroscope.relabel \"default\" {", rule)),
        (
            "past the step between",
            base()
                .config()
                .replace("[pyroscope.relabel.default.receiver]", "[pyroscope.write.default.receiver]"),
        ),
        ("the sender", Pipeline { write: "external_labels = {\"c\" = \"d\"}", ..base() }.config()),
        ("the endpoint", Pipeline { endpoint: "headers = {\"X-A\" = \"b\"}", ..base() }.config()),
        ("the queue moves to disk", Pipeline { write: DISK, ..base() }.config()),
        ("and back", base().config()),
        ("unrelated", Pipeline { more: "loki.echo \"unused\" { }", ..base() }.config()),
    ]
}

fn reloads(program: &Program, steps: &[(&str, String)], load: &Load) {
    for (what, config) in steps {
        load.wait_taken(30);
        let answer = program.reload(config);
        assert_eq!(answer.status, 200, "{what}: {}", answer.body);
    }
}

#[test]
fn a_reload_of_any_part_under_load_loses_no_profile_and_refuses_no_client() {
    let pyroscope: &'static Pyroscope = Box::leak(Box::new(Pyroscope::start()));
    let first = Pipeline::new(pyroscope);
    let address = first.address;
    let base = move || Pipeline { address, ..Pipeline::new(pyroscope) };
    let program = first.start();
    let load = first.load();
    reloads(&program, &steps(&base), &load);
    load.wait_taken(30);
    let troubles = load.troubles();
    assert_eq!(troubles, Vec::<String>::new(), "{}", program.log());
    let sent = load.finish();
    all_arrive(pyroscope, &sent, &program);
    // A request in flight while its queue moves to or from the disk may be sent again: at most those.
    for Sent { way, .. } in &sent {
        let twice = pyroscope.numbers(way.name()).values().filter(|times| **times > 1).count();
        assert!(twice <= 32, "{way:?}: {twice} came twice");
    }
}

#[test]
fn a_reload_while_a_pyroscope_is_down_loses_no_profile_either() {
    let mut pyroscope = Pyroscope::start();
    pyroscope.go_down();
    let pipeline = Pipeline::new(&pyroscope);
    let program = pipeline.start();
    for step in 0..4u64 {
        pipeline.send(step * 20 + 1..=step * 20 + 20);
        let labels = format!("external_labels = {{\"step\" = \"{step}\"}}");
        let changed = Pipeline { address: pipeline.address, write: &labels, ..Pipeline::new(&pyroscope) };
        let answer = program.reload(&changed.config());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    std::thread::sleep(Duration::from_millis(300));
    pyroscope.come_back();
    super::each_arrives_once(&pyroscope, 1, 80, &program);
}
