//! What is promised about samples, fault by fault, with the real program.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::kit::{Answer, Mode, Program, Sink, SmallDisk, Target, binary, eventually, files, get};

fn pipeline(target: &Target, endpoints: &[&Sink]) -> String {
    let endpoints: String = endpoints
        .iter()
        .map(|s| {
            format!(
                "endpoint {{\n\t\turl = \"{}\"\n\n\t\tqueue_config {{\n\t\t\tmax_backoff = \"200ms\"\n\t\t\tbatch_send_deadline = \"50ms\"\n\t\t}}\n\t}}\n",
                s.url()
            )
        })
        .collect();
    format!(
        r#"
prometheus.scrape "default" {{
	targets         = [{{"__address__" = "{}"}}]
	forward_to      = [prometheus.remote_write.default.receiver]
	scrape_interval = "200ms"
	scrape_timeout  = "200ms"
}}

prometheus.remote_write "default" {{
	{endpoints}
}}
"#,
        target.address()
    )
}

fn scrapes(target: &Target, count: u64) {
    let before = target.minted();
    eventually("scrapes go on", || match target.minted() >= before + count {
        true => Ok(()),
        false => Err(target.minted().to_string()),
    });
}

/// Waits until every number from `first` to `last` is at the sink.
fn all_arrive(sink: &Sink, first: u64, last: u64, program: &Program) {
    eventually("every number has arrived", || {
        let arrived = sink.numbers("minted");
        let missing: Vec<_> = (first..=last).filter(|n| !arrived.contains(n)).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("missing {missing:?} of {first}..={last}\n{}", program.log())),
        }
    });
}

#[test]
fn what_a_back_end_refuses_for_now_is_kept_and_sent_later() {
    let cases = [
        Mode::Answer(Answer::status(500)),
        Mode::Answer(Answer::status(503).with_header("Retry-After", "1")),
        Mode::Answer(Answer::status(429).with_header("Retry-After", "1")),
        Mode::Garbage(b"\x00\x01 no protocol at all\r\n\r\n"),
        Mode::Garbage(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
    ];
    for mode in cases {
        let (target, sink) = (Target::start(2), Sink::start());
        let truncated = matches!(&mode, Mode::Garbage(b) if b.starts_with(b"HTTP"));
        sink.set(mode.clone());
        let program = Program::start(&pipeline(&target, &[&sink]));
        scrapes(&target, 3);
        sink.set(Mode::Accept);
        // A success whose body is cut off is a success: bodies are to be ignored.
        let first = if truncated { target.minted() } else { 1 };
        all_arrive(&sink, first, target.minted(), &program);
    }
}

#[test]
fn a_back_end_that_is_gone_gets_everything_when_it_comes_back() {
    let (target, mut sink) = (Target::start(2), Sink::start());
    sink.go_down();
    let program = Program::start(&pipeline(&target, &[&sink]));
    scrapes(&target, 5);
    sink.come_back();
    all_arrive(&sink, 1, target.minted(), &program);
}

#[test]
fn what_a_back_end_refuses_for_good_is_counted_with_the_reason() {
    let (target, sink) = (Target::start(2), Sink::start());
    sink.set(Mode::Answer(Answer::status(400)));
    let program = Program::start(&pipeline(&target, &[&sink]));
    eventually("drops are counted under their reason", || {
        let page = get(program.address, "/metrics")?.body;
        let name = "prometheus_remote_storage_samples_dropped_total{";
        let mut drops = page.lines().filter(|l| l.starts_with(name) && !l.ends_with(" 0"));
        match drops.clone().all(|l| l.contains("reason=\"http_400\"")) && drops.next().is_some() {
            true => Ok(()),
            false => Err(page),
        }
    });
    sink.set(Mode::Accept);
    let after = target.minted() + 1;
    scrapes(&target, 3);
    all_arrive(&sink, after, target.minted() - 1, &program);
}

#[test]
fn one_back_end_that_is_down_does_not_delay_another() {
    let (target, dead, alive) = (Target::start(2), Sink::start(), Sink::start());
    for mode in [Mode::Hang, Mode::Answer(Answer::status(500))] {
        dead.set(mode);
        let program = Program::start(&pipeline(&target, &[&dead, &alive]));
        scrapes(&target, 3);
        let minted = target.minted();
        // For as long as this takes, the first one is down.
        eventually("the other one is up to date", || match alive.numbers("minted").last() {
            Some(last) if *last >= minted => Ok(()),
            other => Err(format!("{other:?} of {minted}\n{}", program.log())),
        });
    }
}

#[test]
fn sigterm_leaves_on_disk_what_could_not_be_sent_and_the_next_start_sends_it() {
    let (target, mut sink) = (Target::start(2), Sink::start());
    sink.go_down();
    let mut program = Program::start(&pipeline(&target, &[&sink]));
    scrapes(&target, 5);
    program.signal(rustix::process::Signal::TERM);
    assert!(program.wait().success(), "{}", program.log());
    let minted = target.minted();
    sink.come_back();
    program.launch();
    program.wait_ready();
    // The scrape that the signal interrupted is not acknowledged.
    all_arrive(&sink, 1, minted - 1, &program);
}

/// Kills the program at times that differ from round to round; what it had counted as taken in must arrive.
#[test]
fn after_kill_9_everything_that_was_committed_arrives() {
    const SERIES: u64 = 2;
    let (target, sink) = (Target::start(SERIES as usize), Sink::start());
    let mut program = Program::prepare(&pipeline(&target, &[&sink]));
    let mut committed: BTreeSet<u64> = BTreeSet::new();
    for round in 0..6 {
        if round % 2 == 0 {
            sink.set(Mode::Answer(Answer::status(500)));
        }
        // Nothing scrapes before the launch: the numbers of this run begin here.
        let first = target.minted() + 1;
        program.launch();
        program.wait_ready();
        scrapes(&target, 2 + round % 3);
        std::thread::sleep(Duration::from_millis(37 * (round + 1)));
        // Each scrape appends the numbers, `up` and four more; whole scrapes only are counted.
        let appended =
            program.metric("prometheus_remote_write_wal_samples_appended_total") as u64 / (SERIES + 5);
        program.kill();
        sink.set(Mode::Accept);
        committed.extend(first..first + appended);
    }
    program.launch();
    program.wait_ready();
    let last = committed.last().copied().expect("something was committed");
    eventually("what was committed has arrived", || {
        let arrived = sink.numbers("minted");
        let missing: Vec<_> = committed.iter().filter(|n| !arrived.contains(n)).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("missing {missing:?} up to {last}\n{}", program.log())),
        }
    });
    // Nothing that was never minted, and each series in order of time but for what is repeated.
    let minted = target.minted();
    assert!(sink.numbers("minted{").iter().all(|n| (1..=minted).contains(n)));
}

#[test]
fn a_damaged_queue_does_not_keep_the_program_from_starting() {
    let (target, mut sink) = (Target::start(2), Sink::start());
    sink.go_down();
    let mut program = Program::start(&pipeline(&target, &[&sink]));
    scrapes(&target, 3);
    program.kill();
    let mut damaged = 0;
    for file in files(&program.storage()) {
        let mut bytes = std::fs::read(&file).expect("read");
        if bytes.len() > 64 {
            let length = bytes.len();
            bytes.truncate(length - 7);
            bytes[40] ^= 0xff;
            std::fs::write(&file, bytes).expect("written");
            damaged += 1;
        }
    }
    assert!(damaged > 0, "a queue file was there");
    sink.come_back();
    let first = target.minted() + 1;
    program.launch();
    program.wait_ready();
    scrapes(&target, 3);
    all_arrive(&sink, first + 1, target.minted() - 1, &program);
}

const MANY: u64 = 300;

/// A program whose queue has more to hold than its disk, with a back end that is down until it shows.
fn with_a_full_disk(target: &Target, sink: &mut Sink, on_full: &str) -> Option<Program> {
    let disk = SmallDisk::of("192k")?;
    sink.go_down();
    // More than the disk has.
    let wal = format!(
        "prometheus.remote_write \"default\" {{\n\twal {{\n\t\tmax_size = \"8MiB\"\n\t\ton_full = {on_full:?}\n\t}}\n"
    );
    let config = pipeline(target, &[sink]).replace("prometheus.remote_write \"default\" {\n", &wal);
    let mut program = Program::prepare(&config);
    program.store_on(disk);
    program.launch();
    program.wait_ready();
    Some(program)
}

fn counted(program: &Program, metric: &str) {
    eventually(metric, || match program.metric(metric) {
        count if count > 0.0 => Ok(()),
        count => Err(format!("{count}\n{}", program.log())),
    });
}

fn node_is(program: &Program, state: &str) {
    eventually("the node says how it is", || {
        let body = get(program.address, "/api/v0/web/components/prometheus.remote_write.default")?.body;
        match body.contains(&format!("{state:?}")) {
            true => Ok(()),
            false => Err(body),
        }
    });
}

/// What comes from now on goes through the queue.
fn goes_on(target: &Target, sink: &Sink, program: &Program) {
    let minted = target.minted();
    eventually("new numbers arrive", || match sink.numbers("minted").last() {
        Some(last) if *last > minted => Ok(()),
        last => Err(format!("{last:?} of {minted}\n{}", program.log())),
    });
    node_is(program, "healthy");
    let after = target.minted() + 1;
    scrapes(target, 5);
    all_arrive(sink, after, target.minted() - 1, program);
}

#[test]
fn a_full_disk_under_a_queue_that_blocks_holds_scrapes_up_and_loses_nothing_that_was_taken() {
    let (target, mut sink) = (Target::start(MANY as usize), Sink::start());
    let Some(program) = with_a_full_disk(&target, &mut sink, "block") else { return };
    // A scrape that is not taken in time is no secret, and the only thing that is lost.
    counted(&program, "prometheus_scrape_samples_dropped_total");
    node_is(&program, "unhealthy");
    // Each scrape appends the numbers, `up` and four more.
    let taken = program.metric("prometheus_remote_write_wal_samples_appended_total") as u64 / (MANY + 5);
    assert!(taken > 0);
    sink.come_back();
    all_arrive(&sink, 1, taken, &program);
    goes_on(&target, &sink, &program);
    assert_eq!(program.metric("prometheus_remote_storage_samples_dropped_total"), 0.0);
}

#[test]
fn a_full_disk_under_a_queue_that_drops_the_oldest_counts_them_and_goes_on() {
    let (target, mut sink) = (Target::start(MANY as usize), Sink::start());
    let Some(program) = with_a_full_disk(&target, &mut sink, "drop_oldest") else { return };
    counted(&program, "prometheus_remote_storage_samples_dropped_total");
    let page = get(program.address, "/metrics").expect("answered").body;
    assert!(page.contains("reason=\"queue_full\""), "{page}");
    node_is(&program, "unhealthy");
    sink.come_back();
    goes_on(&target, &sink, &program);
}

#[test]
fn what_waits_on_disk_can_be_looked_into_when_the_program_is_gone() {
    const SERIES: u64 = 3;
    let (target, mut sink) = (Target::start(SERIES as usize), Sink::start());
    sink.go_down();
    let mut program = Program::start(&pipeline(&target, &[&sink]));
    let appended = "prometheus_remote_write_wal_samples_appended_total";
    eventually("some scrapes wait", || match program.metric(appended) as u64 {
        samples if samples >= 2 * (SERIES + 5) => Ok(()),
        samples => Err(format!("{samples} samples")),
    });
    program.kill();
    let folder = program.storage().join("prometheus.remote_write.default");
    let look = |arguments: &[&str]| {
        let mut tool = std::process::Command::new(binary());
        tool.args(["tools", "prometheus.remote_write"]).args(arguments).arg(&folder);
        let output = tool.output().expect("started");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let number_before = |text: &str, unit: &str| -> u64 {
        let before = text.split(unit).next().and_then(|before| before.split_whitespace().next_back());
        before.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{unit:?} in {text}"))
    };
    let whole = look(&["wal-stats"]);
    let (records, samples) = (number_before(&whole, " records,"), number_before(&whole, " samples,"));
    assert!(records >= 2 && samples >= 2 * (SERIES + 5), "{whole}");
    assert!(whole.contains("damaged: ") && whole.contains("next record "), "{whole}");
    // Every scrape has all of the target's series.
    let minted = look(&["sample-stats", "--selector", "{__name__=\"minted\", series=~\"0|2\"}"]);
    assert_eq!(number_before(&minted, " series,"), 2, "{minted}");
    let scrapes = number_before(&minted, " samples\n") / 2;
    assert!(scrapes >= 2 && minted.contains("minted{") && minted.contains("oldest "), "{minted}");
    assert!(!minted.contains("series=\"1\""), "{minted}");
    let instance = target.address().to_string();
    let by_name = look(&["target-stats", "--job", "prometheus.scrape.default", "--instance", &instance]);
    assert_eq!(by_name.lines().next().map(str::trim), Some(format!("{}  minted", scrapes * SERIES).as_str()));
    assert_eq!(number_before(&by_name, " samples\n"), samples, "{by_name}\n{whole}");
}
