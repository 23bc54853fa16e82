//! Start, signals, exit codes, the HTTP API, the embedded default.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::kit::{Program, Sink, Target, eventually, get, kept_waiting, post};

pub fn pipeline(target: &Target, sink: &Sink) -> String {
    format!(
        r#"
prometheus.scrape "default" {{
	targets         = [{{"__address__" = "{}"}}]
	forward_to      = [prometheus.remote_write.default.receiver]
	scrape_interval = "1s"
	scrape_timeout  = "1s"
}}

prometheus.remote_write "default" {{
	endpoint {{
		url = "{}"
	}}
}}
"#,
        target.address(),
        sink.url()
    )
}

#[test]
fn it_scrapes_sends_and_flushes_within_five_seconds_and_exits_with_0_on_both_signals() {
    for signal in [Signal::INT, Signal::TERM] {
        let (target, sink) = (Target::start(3), Sink::start());
        let start = Instant::now();
        let mut program = Program::start(&pipeline(&target, &sink));
        let first = eventually("a number has arrived", || sink.first().ok_or("nothing".into()));
        let took = first.duration_since(start);
        let limit = Duration::from_secs(5) + program.kept_waiting();
        assert!(took < limit, "{took:?} of {limit:?}\n{}", program.log());
        program.signal(signal);
        let status = program.wait();
        assert_eq!(status.code(), Some(0), "{}", program.log());
        let minted = target.minted();
        let arrived = sink.numbers("minted");
        assert!(
            !arrived.is_empty() && arrived.len() as u64 + 1 >= minted,
            "flushed: {arrived:?} of {minted}"
        );
    }
}

#[test]
fn a_configuration_with_mistakes_ends_the_start_with_the_place_of_each() {
    let mut program = Program::prepare("prometheus.echo \"a\" {\n\tformat = \"xml\"\n\tcolour = 1\n}\n");
    program.launch();
    let status = program.wait();
    assert_eq!(status.code(), Some(1));
    let log = program.log();
    assert!(log.contains("config.alloy:2:") && log.contains("config.alloy:3:"), "{log}");
}

/// A module with something that has no effect, twice in use.
const MUTE: &str = r#"
declare "m" {
	loki.write "w" {
		endpoint {
			url = "http://127.0.0.1:1/push"
		}

		wal {
			min_read_frequency = "10ms"
		}
	}
}

m "a" { }

m "b" { }
"#;

#[test]
fn what_has_no_effect_is_told_with_its_place_and_refuses_nothing() {
    let program = Program::start(MUTE);
    let validate = Command::new(crate::kit::binary())
        .args(["validate", "--format=json"])
        .arg(program.config_path())
        .output()
        .expect("the program runs");
    assert_eq!(validate.status.code(), Some(0));
    let found: serde_json::Value = serde_json::from_slice(&validate.stdout).expect("JSON");
    let found = found.as_array().expect("a list");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["severity"], &found[0]["code"]), (&"warning".into(), &"no_effect".into()));
    assert_eq!((&found[0]["line"], &found[0]["column"]), (&9.into(), &4.into()));
    assert!(found[0]["file"].as_str().is_some_and(|f| f.ends_with("config.alloy")), "{found:?}");
    // One line of the log a load.
    let told = || program.log().matches("config.alloy:9:4").count();
    assert_eq!(told(), 1, "{}", program.log());
    assert_eq!(post(program.address, "/-/reload").expect("answered").status, 200);
    assert_eq!(told(), 2, "{}", program.log());
}

#[test]
fn a_mistake_in_a_module_shows_once_however_often_it_is_used() {
    let module = "declare \"m\" {\n\targument \"file\" { }\n\n\tlocal.file \"f\" {\n\t\tfilename = argument.file.value\n\t}\n}\n";
    let instance = |name: &str| format!("\nm \"{name}\" {{\n\tfile = \"/nonexistent/secret\"\n}}\n");
    let mut program = Program::prepare(&format!("{module}{}{}", instance("a"), instance("b")));
    program.launch();
    assert_eq!(program.wait().code(), Some(1));
    let log = program.log();
    assert_eq!(log.matches("/nonexistent/secret").count(), 1, "{log}");
}

#[test]
fn the_embedded_default_prints_host_metrics_within_two_seconds() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let start = Instant::now();
    let mut child = Command::new(crate::kit::binary())
        .args(["run", "--server.http.listen-addr=127.0.0.1:0"])
        .arg(format!("--storage.path={}", folder.path().join("data").display()))
        .stdout(std::fs::File::create(&out).expect("a file"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let (seen, waited) = eventually("host metrics are printed", || {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        match text.contains("node_load1") {
            true => Ok((start.elapsed(), kept_waiting(child.id()))),
            false => Err(format!("{} bytes", text.len())),
        }
    });
    let _ = child.kill();
    let _ = child.wait();
    // The promise is the optimised program's; this one has twice the time.
    let limit = Duration::from_secs(4) + waited;
    assert!(seen < limit, "{seen:?} of {limit:?}");
}

#[test]
fn the_api_tells_readiness_health_metrics_and_components() {
    let (target, sink) = (Target::start(1), Sink::start());
    let program = Program::start(&pipeline(&target, &sink));
    let page = |path: &str| get(program.address, path).expect("answered");
    assert_eq!(page("/-/ready").status, 200);
    eventually("all components are healthy", || match page("/-/healthy") {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.body),
    });
    let metrics = page("/metrics").body;
    for name in [
        "alloy_build_info",
        "alloy_config_last_load_successful",
        "alloy_component_controller_running_components",
        "alloy_resources_process_resident_memory_bytes",
        "prometheus_remote_storage_samples_total",
    ] {
        assert!(metrics.contains(name), "{name} is missing");
    }
    let components: serde_json::Value =
        serde_json::from_str(&page("/api/v0/web/components").body).expect("JSON");
    let ids: Vec<_> = components.as_array().expect("a list").iter().map(|c| c["localID"].clone()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    let detail = page("/api/v0/web/components/prometheus.scrape.default");
    let detail: serde_json::Value = serde_json::from_str(&detail.body).expect("JSON");
    assert_eq!(detail["health"]["state"], "healthy");
    assert!(detail["arguments"].as_array().is_some_and(|a| !a.is_empty()));
    assert_eq!(page("/api/v0/web/components/none.such").status, 404);
    assert_eq!(page("/nowhere").status, 404);
}

#[test]
fn a_reload_over_http_answers_with_the_diagnostics() {
    let (target, sink) = (Target::start(1), Sink::start());
    let program = Program::start(&pipeline(&target, &sink));
    assert_eq!(post(program.address, "/-/reload").expect("answered").status, 200);
    assert_eq!(get(program.address, "/-/reload").expect("answered").status, 200);
    let refused = program.reload("prometheus.scrape \"default\" {\n\ttargets = nowhere\n}\n");
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("config.alloy:2:"), "{}", refused.body);
    assert_eq!(program.metric("alloy_config_last_load_successful"), 0.0);
    let before = target.minted();
    eventually("the old pipeline goes on", || match target.minted() > before + 1 {
        true => Ok(()),
        false => Err(target.minted().to_string()),
    });
}

#[test]
fn a_reload_over_http_answers_with_the_warnings_of_what_it_has_loaded() {
    let (target, sink) = (Target::start(1), Sink::start());
    let program = Program::start(&pipeline(&target, &sink));
    let odd = pipeline(&target, &sink)
        .replace("endpoint {", "wal {\n\t\ttruncate_frequency = \"1h\"\n\t}\n\tendpoint {");
    let loaded = program.reload(&odd);
    assert_eq!(loaded.status, 200, "{}", loaded.body);
    assert!(loaded.body.starts_with("config reloaded\nwarning[no_effect]: "), "{}", loaded.body);
    assert!(loaded.body.contains("config.alloy:11:3"), "{}", loaded.body);
    assert_eq!(program.reload(&pipeline(&target, &sink)).body, "config reloaded\n");
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_one_line_that_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let ran = Command::new(crate::kit::binary())
        .args(["run", &format!("--server.http.listen-addr={address}")])
        .arg(format!("--storage.path={}", folder.path().display()))
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("--server.http.listen-addr: cannot listen on {address}: ")), "{told}");
    assert_eq!(told.matches("Address already in use").count(), 1, "{told}");
    assert!(told.contains("choose another port"), "{told}");
}

#[test]
fn what_two_files_of_a_folder_define_is_refused_with_both_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("a.alloy", "prometheus.echo \"x\" { }\n");
    write("b.alloy", "// One more.\nprometheus.echo \"x\" { }\n");
    let storage = tempfile::tempdir().expect("a folder");
    let run = ["run", "--server.http.listen-addr=127.0.0.1:0"].map(str::to_string).to_vec();
    let stored = format!("--storage.path={}", storage.path().display());
    for arguments in [[run, vec![stored]].concat(), vec!["validate".to_string()]] {
        let ran =
            Command::new(crate::kit::binary()).args(arguments).arg(folder.path()).output().expect("runs");
        let told = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{told}");
        assert!(told.contains("b.alloy:2:1") && told.contains("a.alloy:1:1"), "{told}");
        assert!(told.contains("is defined already"), "{told}");
    }
}

/// Takes connections and never answers, so that a load waits for it; and a module that is to come from there.
fn module_that_never_comes() -> (std::net::TcpListener, String) {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    silent.set_nonblocking(true).expect("a socket");
    let address = silent.local_addr().expect("bound");
    (silent, format!("import.http \"m\" {{\n\turl = \"http://{address}/\"\n\tpoll_timeout = \"10m\"\n}}\n"))
}

#[test]
fn a_reload_that_takes_long_does_not_keep_the_program_from_ending() {
    let (silent, import) = module_that_never_comes();
    let (target, sink) = (Target::start(1), Sink::start());
    let mut program = Program::start(&pipeline(&target, &sink));
    program.write_config(&format!("{}{import}", pipeline(&target, &sink)));
    program.signal(Signal::HUP);
    let _asked = eventually("the reload asks for the module", || {
        silent.accept().map_err(|error| format!("{error}\n{}", program.log()))
    });
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0), "{}", program.log());
}

#[test]
fn a_first_load_that_takes_long_is_ended_in_order_by_both_signals_and_not_by_a_hangup() {
    for signal in [Signal::INT, Signal::TERM] {
        let (silent, import) = module_that_never_comes();
        let mut program = Program::prepare(&import);
        program.launch();
        let _asked = eventually("the load asks for the module", || {
            silent.accept().map_err(|error| format!("{error}\n{}", program.log()))
        });
        program.signal(Signal::HUP);
        program.signal(signal);
        assert_eq!(program.wait().code(), Some(0), "{}", program.log());
        let log = program.log();
        assert!(log.contains("msg=stopping") && log.contains("msg=stopped"), "{log}");
        assert!(!log.contains("msg=ready"), "{log}");
    }
}

#[test]
fn a_second_interrupt_ends_the_program_at_once() {
    let (target, sink) = (Target::start(1), Sink::start());
    // Nobody listens on port 1: the end waits for the queue.
    let mut program =
        Program::start(&pipeline(&target, &sink).replace(&sink.url(), "http://127.0.0.1:1/push"));
    eventually("samples wait", || match program.metric("prometheus_remote_storage_samples_pending") {
        waiting if waiting > 0.0 => Ok(()),
        waiting => Err(waiting.to_string()),
    });
    program.signal(Signal::INT);
    eventually("it is stopping", || match program.log().contains("msg=stopping") {
        true => Ok(()),
        false => Err(program.log()),
    });
    program.signal(Signal::INT);
    assert_eq!(program.wait().code(), Some(1), "{}", program.log());
    let log = program.log();
    assert!(log.contains("interrupted while stopping") && !log.contains("msg=stopped"), "{log}");
}

#[test]
fn cpu_profiles_are_taken_on_request() {
    let (target, sink) = (Target::start(1), Sink::start());
    let program = Program::start(&pipeline(&target, &sink));
    let profile = get(program.address, "/debug/pprof/profile?seconds=1").expect("answered");
    assert_eq!(profile.status, 200, "{}", profile.body);
    assert!(!profile.body.is_empty());
}

#[test]
fn flags_that_cannot_be_honoured_are_refused_and_say_why() {
    let refused = [
        (&["--cluster.enabled"][..], "--cluster.enabled: clustering is not available"),
        (&["--server.http.enable-graphql"], "--server.http.enable-graphql: there is no GraphQL API"),
        (&["--server.http.enable-graphql-playground=true"], "there is no GraphQL API"),
        (&["--config.format=prometheus"], "--config.format: name the one file that is to be converted"),
        (&["--stability.level=beta"], "use experimental, public-preview or generally-available"),
        (&["--feature.component-shutdown-deadline=-1s"], "a duration cannot be negative here"),
        (&["--server.http.listen-addr=nowhere"], "--server.http.listen-addr is written as host:port"),
        (&["--storage.path=/proc/none"], "--storage.path: /proc/none has to be a folder"),
        (&["--windows.priority=normal"], "--windows.priority"),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    for (flags, why) in refused {
        let ran = Command::new(crate::kit::binary())
            .arg("run")
            .args(flags)
            .current_dir(folder.path())
            .output()
            .expect("runs");
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && told.contains(why), "{flags:?}: {told}");
    }
}

#[test]
fn commands_of_alloy_that_are_not_here_say_what_to_use_instead() {
    let refused = [
        (&["gql", "{ components }", "--endpoint=http://127.0.0.1:1/graphql"][..], "/api/v0/web/components"),
        (&["otel", "--config=collector.yaml"], "--config.format=otelcol"),
        (&["otel-supervisor"], "there is no supervisor"),
    ];
    for (arguments, why) in refused {
        let ran = Command::new(crate::kit::binary()).args(arguments).output().expect("runs");
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(1) && told.contains(why), "{arguments:?}: {told}");
    }
}

#[test]
fn flags_of_the_server_and_of_stability_are_honoured() {
    let mut program = Program::prepare(
        "prometheus.exporter.self \"s\" { }\n\nprometheus.exporter.static \"e\" {\n\ttext = \"a 1\\n\"\n}\n",
    );
    program.launch();
    assert_eq!(program.wait().code(), Some(1), "the second is experimental");
    assert!(program.log().contains("start with --stability.level=experimental"), "{}", program.log());
    program.launch_with(&[
        "--stability.level=experimental",
        "--server.http.ui-path-prefix=/below",
        "--server.http.enable-pprof=false",
        "--server.http.memory-addr=inside:7",
        // Nothing is on that they would turn off, or off that they would turn on.
        "--server.http.disable-support-bundle",
        "--disable-reporting",
        "--feature.community-components.enabled",
        "--feature.prometheus.direct-fanout.enabled",
        "--cluster.name=none",
    ]);
    program.wait_ready();
    let page = |path: &str| get(program.address, path).expect("answered");
    assert_eq!(page("/debug/pprof/profile?seconds=1").status, 404);
    assert_eq!(page("/api/v0/web/components").status, 404);
    let detail = page("/below/api/v0/web/components/prometheus.exporter.self.s");
    assert!(detail.status == 200 && detail.body.contains("inside:7"), "{}", detail.body);
}
