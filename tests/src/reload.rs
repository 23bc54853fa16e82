//! Reloads under load: no number is missing, whatever part of the pipeline changes.

use std::collections::BTreeSet;

use rcgen::{CertifiedKey, KeyPair};

use crate::kit::{Program, Sink, Target, eventually, get};

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

/// A pipeline that scrapes the program itself over TLS with a password.
fn about_itself(program: &Program, sink: &Sink, key: &CertifiedKey<KeyPair>, password: &str) -> String {
    format!(
        r#"
http {{
	auth {{
		basic {{
			username = "scraper"
			password = "{password}"
		}}
	}}

	tls {{
		cert_pem = {cert:?}
		key_pem  = {private:?}
	}}
}}

prometheus.scrape "self" {{
	targets         = [{{"__address__" = "{address}", "round" = "{password}"}}]
	scheme          = "https"
	forward_to      = [prometheus.remote_write.default.receiver]
	scrape_interval = "200ms"
	scrape_timeout  = "200ms"

	basic_auth {{
		username = "scraper"
		password = "{password}"
	}}

	tls_config {{
		ca_pem      = {cert:?}
		server_name = "ferroalloy.test"
	}}
}}

prometheus.remote_write "default" {{
	endpoint {{
		url = "{url}"

		queue_config {{
			batch_send_deadline = "50ms"
		}}
	}}
}}
"#,
        address = program.address,
        url = sink.url(),
        cert = key.cert.pem(),
        private = key.signing_key.serialize_pem(),
    )
}

#[test]
fn tls_and_password_of_the_programs_own_pages_change_by_reload_and_its_scrapes_go_on() {
    let sink = Sink::start();
    let program = Program::start("");
    assert_eq!(get(program.address, "/metrics").map(|answer| answer.status), Ok(200));
    // The watch over the file loads it: who has asked for a reload could not be answered over another protocol.
    for password in ["first", "second"] {
        let names = ["ferroalloy.test".to_owned()];
        let key = rcgen::generate_simple_self_signed(names).expect("a certificate");
        program.write_config(&about_itself(&program, &sink, &key, password));
        let part = format!("round={password:?}");
        eventually("it scrapes itself with the certificate and the password of now", || {
            let seen = sink.series(&part);
            let is_up = |(name, points): (&String, &Vec<(i64, f64)>)| {
                name.contains("up{") && points.iter().any(|(_, value)| *value == 1.0)
            };
            if seen.iter().any(is_up) { Ok(()) } else { Err(format!("{seen:?}\n{}", program.log())) }
        });
        assert!(get(program.address, "/metrics").is_err(), "no page without TLS");
    }
}
