//! `ferroalloy validate`: the whole static pass, as text or as a JSON array of diagnostics.

use std::path::Path;
use std::process::ExitCode;

use runtime::ConfigSource;
use serde_json::json;
use syntax::{Diagnostic, Source};

use crate::args::{Output, ValidateArgs};

/// Exit code 0: valid (warnings are printed); 1: not.
pub fn run(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let diagnostics = match read(args) {
        Ok((sources, mut found)) => {
            found.extend(crate::load::validate(&sources, &args.path, &args.load));
            found
        }
        Err(diagnostics) => diagnostics,
    };
    match args.format {
        Output::Text => {
            if !diagnostics.is_empty() {
                eprint_diagnostics(&diagnostics);
            }
        }
        Output::Json => {
            let array: Vec<_> = diagnostics.iter().map(to_json).collect();
            super::print(&format!("{}\n", serde_json::to_string_pretty(&array)?))?;
        }
    }
    let valid = !diagnostics.iter().any(Diagnostic::is_error);
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The texts, converted if they are in another language, and what the conversion warns of.
fn read(args: &ValidateArgs) -> Result<(Vec<Source>, Vec<Diagnostic>), Vec<Diagnostic>> {
    let Some(convert) = crate::load::converter(&args.load) else {
        return sources(&args.path).map(|sources| (sources, Vec::new()));
    };
    let source = ConfigSource::Converted { path: args.path.clone(), convert: convert.clone() };
    let texts = source.read().map_err(|error| error.diagnostics)?;
    let made = texts.iter().map(|text| convert(text)).collect::<Result<Vec<_>, _>>()?;
    let (sources, warnings): (Vec<_>, Vec<_>) =
        made.into_iter().map(|made| (made.source, made.warnings)).unzip();
    Ok((sources, warnings.concat()))
}

/// The texts of a file, or of the `*.alloy` files of a directory, sorted by path, as `run` reads them.
fn sources(path: &Path) -> Result<Vec<Source>, Vec<Diagnostic>> {
    ConfigSource::Path(path.to_path_buf()).read().map_err(|error| error.diagnostics)
}

#[expect(clippy::print_stderr, reason = "the command's answer")]
fn eprint_diagnostics(diagnostics: &[Diagnostic]) {
    eprint!("{}", crate::rendered(diagnostics));
}

fn to_json(diagnostic: &Diagnostic) -> serde_json::Value {
    let place = diagnostic.location.as_ref().map(|l| (l.source.name().to_string(), l.line_column()));
    json!({
        "severity": if diagnostic.is_error() { "error" } else { "warning" },
        "code": diagnostic.code,
        "message": diagnostic.message,
        "file": place.as_ref().map(|(file, _)| file),
        "line": place.as_ref().map(|(_, at)| at.line),
        "column": place.as_ref().map(|(_, at)| at.column),
        "help": diagnostic.help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_alloy_files_in_order() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for name in ["b.alloy", "a.alloy", "c.txt"] {
            std::fs::write(folder.path().join(name), "// nothing\n").expect("written");
        }
        let names: Vec<_> = sources(folder.path())
            .expect("read")
            .iter()
            .map(|s| Path::new(s.name()).file_name().expect("a name").to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a.alloy", "b.alloy"]);
    }

    #[test]
    fn a_directory_without_a_configuration_is_refused_as_by_run() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("config.txt"), "// nothing\n").expect("written");
        let refused = sources(folder.path()).expect_err("nothing to check");
        assert!(refused[0].message.ends_with("holds no *.alloy file"), "{refused:?}");
        let source = ConfigSource::Path(folder.path().to_path_buf());
        assert!(source.read().is_err());
    }

    #[test]
    fn a_diagnostic_in_json_tells_severity_code_and_place() {
        let source = Source::new("f.alloy", "a\nbc\n");
        let json = to_json(&Diagnostic::error("syntax", "wrong", &source, syntax::Span::new(3, 4)));
        assert_eq!((&json["line"], &json["column"]), (&json!(2), &json!(2)));
        assert_eq!((&json["severity"], &json["code"]), (&json!("error"), &json!("syntax")));
    }
}
