//! With the programs that logs come from: Debian's rsyslog, logger and nginx.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::Pipeline;
use crate::kit::{Loki, Peer, Program, eventually, free_address, get};

fn write_to(loki: &Loki) -> String {
    format!(
        "loki.write \"default\" {{\n\tendpoint {{\n\t\turl = \"{}\"\n\t\tbatch_wait = \"50ms\"\n\t}}\n}}\n",
        loki.url()
    )
}

/// `logger` → rsyslog's socket → TCP in RFC 5424 with counted octets → us.
#[test]
fn what_logger_says_comes_through_rsyslog() {
    let loki = Loki::start();
    let listen = free_address();
    let config = format!(
        r#"
loki.source.syslog "default" {{
	listener {{
		address                = "{listen}"
		use_incoming_timestamp = true
		labels                 = {{"job" = "syslog"}}
	}}
	relabel_rules = loki.relabel.syslog.rules
	forward_to    = [loki.write.default.receiver]
}}

loki.relabel "syslog" {{
	forward_to = []

	rule {{
		source_labels = ["__syslog_message_app_name"]
		target_label  = "app"
	}}

	rule {{
		source_labels = ["__syslog_message_severity"]
		target_label  = "severity"
	}}
}}

{}"#,
        write_to(&loki)
    );
    let program = Program::start(&config);
    let rsyslog = Peer::launch("rsyslogd", |_: SocketAddr, folder: &Path| {
        let conf = folder.join("rsyslog.conf");
        let socket = folder.join("log");
        let text = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{}\")\n\
             *.* action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{}\" protocol=\"tcp\" \
             TCP_Framing=\"octet-counted\" template=\"RSYSLOG_SyslogProtocol23Format\" \
             action.resumeInterval=\"1\" action.resumeRetryCount=\"-1\")\n",
            socket.display(),
            listen.port()
        );
        std::fs::write(&conf, text).expect("written");
        ["-n", "-f", &conf.display().to_string(), "-i", &folder.join("pid").display().to_string()]
            .map(str::to_string)
            .to_vec()
    });
    let socket = rsyslog.folder().join("log");
    eventually("rsyslog listens", || if socket.exists() { Ok(()) } else { Err(String::new()) });
    for i in 1..=20 {
        let mut logger = Command::new("logger");
        logger.arg("--socket").arg(&socket).args(["--tag", "kit", "--priority", "user.warning"]);
        let status = logger.arg(format!("line={i} said by logger")).status();
        assert!(status.expect("logger: install it, as .ci/run does").success());
    }
    eventually("every message has arrived", || {
        let numbers = loki.numbers("job=\"syslog\"");
        match (1..=20).all(|i| numbers.get(&i) == Some(&1)) {
            true => Ok(()),
            false => Err(format!("{numbers:?}\n{}", program.log())),
        }
    });
    let entries = loki.entries("app=\"kit\"");
    assert_eq!(entries.len(), 20);
    assert!(entries.iter().all(|e| e.stream.contains("severity=\"warning\"")), "{:?}", entries[0]);
    // The space is rsyslog's: it belongs to the text in its template.
    assert_eq!(entries[0].line.trim_start(), "line=1 said by logger");
}

/// nginx' access log through the file source, a pattern and labels.
#[test]
fn nginx_access_logs_are_taken_apart() {
    let logs = tempfile::tempdir().expect("a folder");
    let access = logs.path().join("access.log");
    let loki = Loki::start();
    let stages = r#"
loki.process "nginx" {
	forward_to = [loki.write.default.receiver]

	stage.regex {
		expression = "^(?P<remote>\\S+) \\S+ \\S+ \\[(?P<time>[^\\]]+)\\] \"(?P<method>\\S+) (?P<path>\\S+) [^\"]*\" (?P<status>\\d+)"
	}

	stage.timestamp {
		source = "time"
		format = "02/Jan/2006:15:04:05 -0700"
	}

	stage.labels {
		values = {method = "", status = ""}
	}

	stage.structured_metadata {
		values = {path = ""}
	}
}"#;
    let config = Pipeline { more: stages, ..Pipeline::new(&access, &loki) }.config();
    let config = config.replacen("[loki.relabel.default.receiver]", "[loki.process.nginx.receiver]", 1);
    let program = Program::start(&config);
    let nginx = Peer::start("nginx", "/there", |address: SocketAddr, folder: &Path| {
        let conf = folder.join("nginx.conf");
        let text = format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n\
             events {{ }}\nhttp {{\n\taccess_log {access};\n\tclient_body_temp_path {folder}/b;\n\
             \tproxy_temp_path {folder}/p;\n\tfastcgi_temp_path {folder}/f;\n\tuwsgi_temp_path {folder}/u;\n\
             \tscgi_temp_path {folder}/s;\n\tserver {{\n\t\tlisten {address};\n\
             \t\tlocation /there {{ return 200 \"ok\"; }}\n\t\tlocation / {{ return 404; }}\n\t}}\n}}\n",
            folder = folder.display(),
            access = access.display(),
        );
        // One process: workers would outlive a master that is killed.
        std::fs::write(&conf, text).expect("written");
        ["-p", &folder.display().to_string(), "-c", &conf.display().to_string()].map(str::to_string).to_vec()
    });
    for i in 0..10 {
        let _ = get(nginx.address, &format!("/missing?line={i}"));
    }
    eventually("every request is in Loki", || {
        let missing = loki.numbers("status=\"404\"");
        match (0..10).all(|i| missing.get(&i) == Some(&1)) {
            true => Ok(()),
            false => Err(format!("{missing:?}\n{}", program.log())),
        }
    });
    let there = loki.entries("status=\"200\"");
    assert!(there.iter().all(|e| e.stream.contains("method=\"GET\"")), "{there:?}");
    assert!(there[0].timestamp_ns % 1_000_000_000 < 1_000_000, "nginx' own time, in seconds");
}
