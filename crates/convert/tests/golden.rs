//! Files of each format, what they become, and what is reported: `testdata/<format>/<name>/`.
//!
//! `in.yaml`, perhaps `args.txt` (extra arguments) → `out.alloy` (missing: nothing can be written) and `report.txt`.
//! `UPDATE=1 cargo test -p convert` writes them anew. That each `out.alloy` is valid is tested in `cli`, which has all
//! of a program's blocks.

use std::fs;
use std::path::{Path, PathBuf};

use convert::Format;

fn cases() -> Vec<(Format, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut cases = Vec::new();
    for format in Format::ALL {
        let folder = fs::read_dir(root.join(format.as_str())).expect("a folder for each format");
        let mut names: Vec<_> = folder.map(|e| e.expect("an entry").path()).collect();
        names.sort();
        cases.extend(names.into_iter().map(|path| (format, path)));
    }
    cases
}

fn compare(path: &Path, have: Option<&str>, wrong: &mut Vec<String>) {
    if std::env::var_os("UPDATE").is_some() {
        match have {
            Some(text) => fs::write(path, text).expect("written"),
            None => drop(fs::remove_file(path)),
        }
    }
    let want = fs::read_to_string(path).ok();
    if want.as_deref() != have {
        wrong.push(format!("{} is not what is made:\n{}", path.display(), have.unwrap_or("(nothing)")));
    }
}

#[test]
fn each_file_becomes_what_is_written_beside_it() {
    let registry = catalog::all();
    let mut wrong = Vec::new();
    for (format, folder) in cases() {
        let text = fs::read_to_string(folder.join("in.yaml")).expect("in.yaml");
        let arguments = fs::read_to_string(folder.join("args.txt")).unwrap_or_default();
        let source = syntax::Source::new("in.yaml", text);
        let converted = convert::convert(&source, format, &arguments, &registry);
        compare(&folder.join("out.alloy"), converted.text.as_deref(), &mut wrong);
        compare(&folder.join("report.txt"), Some(&convert::report(&converted.problems)), &mut wrong);
        for problem in &converted.problems {
            assert!(
                problem.help.is_some(),
                "{}: {} does not say what to do",
                folder.display(),
                problem.message
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_written_parses_and_fits_the_schemas() {
    let registry = catalog::all();
    for (_, folder) in cases() {
        let Ok(text) = fs::read_to_string(folder.join("out.alloy")) else { continue };
        let source = syntax::Source::new(folder.join("out.alloy").display().to_string(), text);
        let (file, problems) = syntax::parse(&source);
        assert!(problems.is_empty(), "{}", syntax::render(&problems, false));
        for block in file.body.blocks() {
            let known = registry.get(&block.full_name()).is_some();
            assert!(
                known || matches!(block.full_name().as_str(), "logging" | "http"),
                "{}",
                block.full_name()
            );
        }
        assert_eq!(syntax::format(&file), source.text());
    }
}

#[test]
fn every_page_shows_its_tables() {
    let registry = catalog::all();
    for (format, row) in [
        (Format::Prometheus, "| `file_sd_configs` | `discovery.file` |"),
        (Format::Promtail, "| `journal` | `loki.source.journal` |"),
        (Format::Otelcol, "| `otlphttp, otlp_http` | `otelcol.exporter.otlphttp` |"),
        (Format::Static, "| `node_exporter` | `prometheus.exporter.unix` |"),
    ] {
        let page = convert::page(format, &registry);
        assert!(page.contains(row), "{page}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Lines of real files cut, repeated and put together in another order: never a panic, and what is written parses.
    #[test]
    fn whatever_is_read_is_written_or_reported(
        picks in proptest::collection::vec((0_usize..10_000, 0_usize..4, 0_usize..200), 1..30),
        format in 0_usize..4,
    ) {
        let registry = catalog::all();
        let format = Format::ALL[format];
        let lines: Vec<String> = cases()
            .into_iter()
            .filter(|(f, _)| *f == format)
            .filter_map(|(_, folder)| fs::read_to_string(folder.join("in.yaml")).ok())
            .flat_map(|t| t.lines().map(String::from).collect::<Vec<_>>())
            .collect();
        let mut text = String::new();
        for (line, change, cut) in picks {
            let line = &lines[line % lines.len()];
            match change {
                0 => text += line,
                1 => text += &format!("  {line}"),
                2 => text += line.trim_start(),
                _ => text += &line.chars().take(cut).collect::<String>(),
            }
            text.push('\n');
        }
        let source = syntax::Source::new("in.yaml", text);
        let converted = convert::convert(&source, format, "", &registry);
        if let Some(text) = converted.text {
            let (_, problems) = syntax::parse(&syntax::Source::new("out", text));
            proptest::prop_assert!(problems.is_empty(), "{}", syntax::render(&problems, false));
        } else {
            proptest::prop_assert!(!converted.problems.is_empty());
        }
    }
}
