//! Reloads under load: no number is missing, whatever part of the pipeline changes.

use std::collections::BTreeSet;

use crate::kit::{Program, Sink, Target, eventually};

/// A pipeline with a relabelling step; the parts that the test changes are its arguments.
fn pipeline(target: &Target, sink: &Sink, scrape: &str, relabel: &str, write: &str, more: &str) -> String {
    format!(
        r#"
prometheus.scrape "default" {{
	targets         = [{{"__address__" = "{}"}}]
	forward_to      = [prometheus.relabel.default.receiver]
	scrape_interval = "200ms"
	scrape_timeout  = "200ms"
	{scrape}
}}

prometheus.relabel "default" {{
	forward_to = [prometheus.remote_write.default.receiver]
	{relabel}
}}

prometheus.remote_write "default" {{
	{write}
	endpoint {{
		url = "{}"

		queue_config {{
			batch_send_deadline = "50ms"
		}}
	}}
}}
{more}
"#,
        target.address(),
        sink.url()
    )
}

/// Numbers from the first that arrived up to the last but one: none may be missing.
fn missing(arrived: &BTreeSet<u64>, up_to: u64) -> Vec<u64> {
    let first = arrived.first().copied().unwrap_or(1);
    (first..up_to).filter(|n| !arrived.contains(n)).collect()
}

#[test]
fn a_reload_of_any_part_under_load_loses_nothing() {
    let (target, sink) = (Target::start(5), Sink::start());
    let base = |scrape: &str, relabel: &str, write: &str, more: &str| {
        pipeline(&target, &sink, scrape, relabel, write, more)
    };
    let program = Program::start(&base("", "", "", ""));
    let steps = [
        ("unrelated", base("", "", "", "prometheus.echo \"unused\" { }")),
        ("upstream", base("honor_labels = true", "", "", "")),
        ("downstream", base("", "rule {\n\t\ttarget_label = \"step\"\n\t\treplacement = \"a\"\n\t}", "", "")),
        ("sender", base("", "", "external_labels = {\"c\" = \"d\"}", "")),
        ("queue moves to memory", base("", "", "wal {\n\t\tenabled = false\n\t}", "")),
        ("queue moves to disk", base("", "", "", "")),
    ];
    for (what, config) in &steps {
        let before = target.minted();
        eventually("scrapes go on", || match target.minted() > before + 2 {
            true => Ok(()),
            false => Err(target.minted().to_string()),
        });
        let answer = program.reload(config);
        assert_eq!(answer.status, 200, "{what}: {}", answer.body);
    }
    let last = target.minted();
    eventually("everything has arrived", || {
        let arrived = sink.numbers("minted");
        match arrived.last().is_some_and(|n| *n > last) && missing(&arrived, last).is_empty() {
            true => Ok(()),
            false => Err(format!("missing {:?} up to {last}\n{}", missing(&arrived, last), program.log())),
        }
    });
}

#[test]
fn a_changed_file_is_taken_over_without_being_asked() {
    let (target, sink) = (Target::start(1), Sink::start());
    let program = Program::start(&pipeline(&target, &sink, "", "", "", ""));
    let relabel = "rule {\n\t\ttarget_label = \"noticed\"\n\t\treplacement = \"yes\"\n\t}";
    program.write_config(&pipeline(&target, &sink, "", relabel, "", ""));
    eventually("the new rule is in force", || match sink.series("noticed=\"yes\"").is_empty() {
        true => Err("not yet".into()),
        false => Ok(()),
    });
}

#[test]
fn a_hangup_reloads() {
    let (target, sink) = (Target::start(1), Sink::start());
    let mut program = Program::prepare(&pipeline(&target, &sink, "", "", "", ""));
    program.launch_with(&["--config.watch=false"]);
    program.wait_ready();
    let relabel = "rule {\n\t\ttarget_label = \"noticed\"\n\t\treplacement = \"yes\"\n\t}";
    program.write_config(&pipeline(&target, &sink, "", relabel, "", ""));
    program.signal(rustix::process::Signal::HUP);
    eventually("the new rule is in force", || match sink.series("noticed=\"yes\"").is_empty() {
        true => Err("not yet".into()),
        false => Ok(()),
    });
}
