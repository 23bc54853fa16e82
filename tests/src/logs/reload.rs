//! Reloads under load: no line is missing and none comes twice, whatever part of the pipeline changes.

use std::time::Duration;

use super::{DISK, Pipeline, each_is_read_once};
use crate::kit::{Journal, Loki, Program, eventually};

#[test]
fn a_reload_of_any_part_under_load_loses_no_line_and_reads_none_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::create(&path);
    let loki = Loki::start();
    let base = || Pipeline::new(&path, &loki);
    let rule = "loki.process \"p\" {\n\tforward_to = [loki.write.default.receiver]\n\tstage.static_labels {\n\t\tvalues = {step = \"a\"}\n\t}\n}";
    let through = base().config().replace("[loki.write.default.receiver]", "[loki.process.p.receiver]");
    let steps = [
        ("unrelated", Pipeline { more: "loki.echo \"unused\" { }", ..base() }.config()),
        ("the source", Pipeline { source: "tail_from_end = true", ..base() }.config()),
        ("downstream", base().config().replace("loki.relabel \"default\" {", "loki.relabel \"default\" {\n\trule {\n\t\ttarget_label = \"step\"\n\t\treplacement = \"b\"\n\t}")),
        ("a step more", format!("{through}\n{rule}")),
        ("the sender", Pipeline { write: "external_labels = {\"c\" = \"d\"}", ..base() }.config()),
        ("the endpoint", Pipeline { endpoint: "\t\theaders = {\"X-A\" = \"b\"}", ..base() }.config()),
        ("the queue moves to disk", Pipeline { write: DISK, ..base() }.config()),
        ("and back", base().config()),
    ];
    let program = Program::start(&base().config());
    let writing = journal.keep_writing(50, Duration::from_millis(5));
    for (what, config) in &steps {
        let before = journal.written();
        eventually("lines are written", || match journal.written() > before + 1000 {
            true => Ok(()),
            false => Err(String::new()),
        });
        let answer = program.reload(config);
        assert_eq!(answer.status, 200, "{what}: {}", answer.body);
    }
    std::thread::sleep(Duration::from_millis(200));
    drop(writing);
    each_is_read_once(&loki, 1, journal.written(), &program);
}

#[test]
fn a_reload_while_loki_is_down_loses_no_line_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::create(&path);
    let mut loki = Loki::start();
    loki.go_down();
    let program = Program::start(&Pipeline::new(&path, &loki).config());
    for step in 0..4 {
        journal.write(2000);
        std::thread::sleep(Duration::from_millis(300));
        let labels = format!("external_labels = {{\"step\" = \"{step}\"}}");
        let answer = program.reload(&Pipeline { write: &labels, ..Pipeline::new(&path, &loki) }.config());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    loki.come_back();
    each_is_read_once(&loki, 1, journal.written(), &program);
}

/// The reload is answered while the writer that was taken out has still ten minutes for what it could not send: the
/// one that comes back goes on with its queue.
#[test]
fn a_writer_that_comes_back_while_loki_is_down_holds_no_reload_up_and_loses_no_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::create(&path);
    let mut loki = Loki::start();
    loki.go_down();
    let disk = DISK.replace("enabled = true", "enabled       = true\n\t\tdrain_timeout = \"10m\"");
    let whole = Pipeline { write: &disk, ..Pipeline::new(&path, &loki) }.config();
    let program = Program::start(&whole);
    for _ in 0..3 {
        journal.write(2000);
        eventually("lines are queued", || match program.metric("loki_write_queue_entries") > 0.0 {
            true => Ok(()),
            false => Err(program.log()),
        });
        for config in ["loki.echo \"unused\" { }", &whole] {
            let answer = program.reload(config);
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }
    loki.come_back();
    each_is_read_once(&loki, 1, journal.written(), &program);
}
