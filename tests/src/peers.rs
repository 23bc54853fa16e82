//! Against the field's own programs: Debian's Prometheus as the back end, its node exporter as a target.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use crate::kit::{Peer, Program, Target, eventually, get};

fn prometheus() -> Peer {
    Peer::start("prometheus", "/-/ready", |address: SocketAddr, folder: &Path| {
        let config = folder.join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").expect("written");
        vec![
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address={address}"),
            "--web.enable-remote-write-receiver".into(),
        ]
    })
}

fn node_exporter() -> Peer {
    Peer::start("prometheus-node-exporter", "/metrics", |address, _| {
        vec![format!("--web.listen-address={address}")]
    })
}

/// The result of an instant query.
fn query(peer: &Peer, expression: &str) -> Result<Vec<Value>, String> {
    let encoded: String = expression
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect();
    let answer = get(peer.address, &format!("/api/v1/query?query={encoded}"))?;
    let json: Value = serde_json::from_str(&answer.body).map_err(|e| format!("{e}: {}", answer.body))?;
    json["data"]["result"].as_array().cloned().ok_or_else(|| answer.body.clone())
}

fn number(result: &Value) -> f64 {
    result["value"][1].as_str().and_then(|s| s.parse().ok()).unwrap_or(f64::NAN)
}

fn config(targets: &str, prometheus: &Peer) -> String {
    format!(
        r#"
prometheus.scrape "default" {{
	targets         = {targets}
	forward_to      = [prometheus.remote_write.default.receiver]
	scrape_interval = "1s"
	scrape_timeout  = "1s"
}}

prometheus.remote_write "default" {{
	endpoint {{
		url = "http://{}/api/v1/write"
	}}
}}
"#,
        prometheus.address
    )
}

#[test]
fn every_sample_of_a_target_is_found_in_prometheus() {
    let prometheus = prometheus();
    let target = Target::start(50);
    let program =
        Program::start(&config(&format!(r#"[{{"__address__" = "{}"}}]"#, target.address()), &prometheus));
    eventually("ten scrapes have been made", || match target.minted() {
        n if n >= 10 => Ok(()),
        n => Err(n.to_string()),
    });
    drop(program_stopped(program));
    let minted = target.minted();
    let found = eventually("the last number has arrived", || {
        let found = query(&prometheus, "count_over_time(minted[10m])")?;
        let last = query(&prometheus, "max_over_time(minted[10m])")?;
        match last.len() == 50 && last.iter().all(|r| number(r) as u64 + 1 >= minted) {
            true => Ok(found),
            false => Err(format!("{} series, minted {minted}: {last:?}", last.len())),
        }
    });
    // Each number is one sample; a series ends with a marker that count_over_time leaves out.
    for result in &found {
        assert!(number(result) as u64 + 1 >= minted, "{result} of {minted}");
    }
    let gaps =
        query(&prometheus, "count_over_time(minted[10m]) != max_over_time(minted[10m])").expect("answered");
    assert_eq!(gaps, Vec::<Value>::new(), "as many samples as the highest number says");
}

/// Ends the program with SIGTERM, so that what is queued is sent.
fn program_stopped(mut program: Program) -> Program {
    program.signal(rustix::process::Signal::TERM);
    assert!(program.wait().success(), "{}", program.log());
    program
}

#[test]
fn node_exporter_and_our_own_host_metrics_arrive_in_prometheus() {
    let prometheus = prometheus();
    let exporter = node_exporter();
    let targets = format!(
        r#"array.concat([{{"__address__" = "{}", "job" = "theirs"}}], prometheus.exporter.unix.host.targets)"#,
        exporter.address
    );
    let config = format!("prometheus.exporter.unix \"host\" {{ }}\n{}", config(&targets, &prometheus));
    let _program = Program::start(&config);
    for (job, metric) in
        [("theirs", "node_memory_MemTotal_bytes"), ("integrations/unix", "node_memory_MemTotal_bytes")]
    {
        let total = eventually(&format!("{metric} of {job}"), || {
            let found = query(&prometheus, &format!("{metric}{{job=\"{job}\"}}"))?;
            found.first().map(number).ok_or_else(|| "nothing yet".to_string())
        });
        assert!(total > 1e6, "{job}: {total}");
    }
    // What one scrape of the exporter exposes is what one scrape brings to Prometheus.
    let scraped = eventually("scrape statistics", || {
        let found = query(&prometheus, "scrape_samples_post_metric_relabeling{job=\"theirs\"}")?;
        found.first().map(number).ok_or_else(|| "nothing yet".to_string())
    });
    let stored = query(&prometheus, "count({job=\"theirs\"})").expect("answered");
    let stored = stored.first().map(number).expect("a count");
    // up and four scrape_* series besides; series may come and go between two scrapes.
    assert!((stored - scraped - 5.0).abs() <= 20.0, "scraped {scraped}, stored {stored}");
}
