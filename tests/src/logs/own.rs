//! The program's own log, sent where the `logging` block says.

use super::Pipeline;
use crate::kit::{Journal, Loki, Mode, Program, eventually};

#[test]
fn own_lines_go_to_loki_across_reloads_and_until_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let _journal = Journal::create(&path);
    let loki = Loki::start();
    let logging = "logging {\n\tlevel    = \"debug\"\n\twrite_to = [loki.write.default.receiver]\n}";
    let config = Pipeline { more: logging, ..Pipeline::new(&path, &loki) }.config();
    let mut program = Program::start(&config);
    let said = |part: &str, program: &Program| {
        eventually(&format!("{part:?} is in Loki"), || {
            let own = loki.entries("component=\"alloy\"");
            match own.iter().any(|e| e.line.contains(part)) {
                true => Ok(()),
                false => Err(format!("{own:?}\n{}", program.log())),
            }
        });
    };
    said("msg=ready", &program);
    // A sender that fails speaks of it, but not by way of itself.
    loki.set(Mode::Hang);
    let changed = Pipeline { source: "tail_from_end = true", more: logging, ..Pipeline::new(&path, &loki) };
    assert_eq!(program.reload(&changed.config()).status, 200);
    std::thread::sleep(std::time::Duration::from_millis(300));
    loki.set(Mode::Accept);
    let loaded =
        || loki.entries("component=\"alloy\"").iter().filter(|e| e.line.contains("is loaded")).count();
    eventually("the reload is in Loki", || if loaded() >= 2 { Ok(()) } else { Err(program.log()) });
    let own = loki.entries("component=\"alloy\"");
    assert!(!own.iter().any(|e| e.line.contains("component_id=loki.write")), "{own:?}");
    program.signal(rustix::process::Signal::TERM);
    assert!(program.wait().success(), "{}", program.log());
    said("msg=stopping", &program);
}
