//! Reads the `loki.process` blocks of example configurations, where there are some.

use std::path::{Path, PathBuf};

use component::eval::syntax::ast::Block;
use component::eval::syntax::{Source, decode, parse};

use super::testkit::{Bench, Case};

/// Names the folder with configurations.
const FOLDER: &str = "FERROALLOY_CORPUS";

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "alloy" || e == "river") {
            out.push(path);
        }
    }
}

fn process_blocks<'b>(blocks: impl Iterator<Item = &'b Block>, out: &mut Vec<&'b Block>) {
    for block in blocks {
        if block.full_name() == "loki.process" {
            out.push(block);
        } else {
            process_blocks(block.body.blocks(), out);
        }
    }
}

/// Arguments of modules with the text of their defaults.
fn defaults<'b>(source: &Source, blocks: impl Iterator<Item = &'b Block>, out: &mut Vec<(String, String)>) {
    for block in blocks {
        if block.full_name() == "argument" {
            let default = block.body.attributes().find(|attribute| attribute.name.name == "default");
            let text = default.map_or("\"x\"", |attribute| source.slice(attribute.value.span));
            let name = block.label.as_ref().map(|label| label.name.clone()).unwrap_or_default();
            out.push((format!("argument.{name}.value"), format!("({text})")));
        }
        defaults(source, block.body.blocks(), out);
    }
}

#[test]
#[ignore = "needs a folder of configurations, named by FERROALLOY_CORPUS"]
fn stages_of_example_configurations_are_built() {
    let mut paths = Vec::new();
    files(Path::new(&std::env::var_os(FOLDER).expect("FERROALLOY_CORPUS names a folder")), &mut paths);
    let (mut built, mut unknown, mut wrong) = (0, 0, Vec::new());
    for path in paths {
        let bytes = std::fs::read(&path).expect("readable");
        let Ok(source) = decode(&bytes, "corpus.alloy") else { continue };
        let (file, problems) = parse(&source);
        if !problems.is_empty() {
            continue;
        }
        let (mut blocks, mut arguments) = (Vec::new(), Vec::new());
        defaults(&source, file.body.blocks(), &mut arguments);
        process_blocks(file.body.blocks(), &mut blocks);
        for block in blocks {
            let text = |b: &Block| source.slice(b.span).to_owned();
            let mut stages: String = block.body.blocks().map(|b| text(b) + "\n").collect();
            for (argument, default) in &arguments {
                stages = stages.replace(argument, default);
            }
            let what = format!("{} {}", path.display(), block.id());
            let entries = ["a line", r#"{"level":"info","time":5}"#, "level=warn msg=\"x\""].map(Case::new);
            let run = || Bench::try_new(&stages).map(|mut bench| drop(bench.run(&entries)));
            match std::panic::catch_unwind(run) {
                Ok(Ok(())) => built += 1,
                // An argument without a default is a text here.
                Ok(Err(error)) if error.contains("out of scope") || error.contains("got string") => {
                    unknown += 1
                }
                Ok(Err(error)) => wrong.push(format!("{what}: {error}")),
                Err(_) => wrong.push(format!("{what}: a mistake in its syntax")),
            }
        }
    }
    println!("{built} built, {unknown} with unknown arguments, {} not:\n{}", wrong.len(), wrong.join("\n"));
    assert!(wrong.is_empty());
    assert!(built > 0);
}
