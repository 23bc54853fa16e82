//! `ferroalloy convert`: a file of another program → a configuration, and a report of what is not in it.

use std::process::ExitCode;

use anyhow::{Context, bail};
use syntax::Diagnostic;

use crate::args::ConvertArgs;

/// Exit code 0: the configuration was written; 1: the source has errors that are not bypassed, or is none at all.
/// The report is written in any case.
pub fn run(args: &ConvertArgs) -> anyhow::Result<ExitCode> {
    if args.file.is_dir() {
        bail!("{} is a directory: name the file that is to be converted", args.file.display());
    }
    let bytes = super::read(&args.file)?;
    let stdin = args.file.as_os_str() == "-";
    let name = if stdin { "<stdin>".to_string() } else { args.file.display().to_string() };
    let converted = match syntax::decode(&bytes, &name) {
        Ok(source) => convert::convert(&source, args.source_format.into(), &args.extra_args, &catalog::all()),
        Err(problem) => convert::Converted { text: None, problems: vec![problem] },
    };
    if let Some(path) = &args.report {
        std::fs::write(path, convert::report(&converted.problems))
            .with_context(|| path.display().to_string())?;
    }
    if !converted.problems.is_empty() {
        crate::report(&converted.problems);
    }
    let refused = !args.bypass_errors && converted.problems.iter().any(Diagnostic::is_error);
    let Some(text) = converted.text.filter(|_| !refused) else { return Ok(ExitCode::FAILURE) };
    match &args.output {
        Some(path) => std::fs::write(path, text).with_context(|| path.display().to_string())?,
        None => super::print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::args::SourceFormat;

    fn args(folder: &Path, text: &str, bypass_errors: bool) -> ConvertArgs {
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, text).expect("written");
        ConvertArgs {
            file,
            source_format: SourceFormat::Prometheus,
            output: Some(folder.join("out.alloy")),
            report: Some(folder.join("report.txt")),
            bypass_errors,
            extra_args: String::new(),
        }
    }

    #[test]
    fn errors_keep_the_configuration_back_unless_they_are_bypassed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        let text = "rule_files: [a.yml]\nremote_write: [{url: http://a}]\n";
        assert_eq!(run(&args(folder.path(), text, false)).expect("ran"), ExitCode::FAILURE);
        assert_eq!(read("out.alloy"), None);
        assert!(
            read("report.txt")
                .expect("a report")
                .contains("prometheus.yml:1:1: rule_files cannot be converted")
        );
        assert_eq!(run(&args(folder.path(), text, true)).expect("ran"), ExitCode::SUCCESS);
        assert!(read("out.alloy").expect("a configuration").contains("prometheus.remote_write \"default\""));
    }

    #[test]
    fn what_is_no_yaml_is_refused_even_then() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert_eq!(run(&args(folder.path(), "a: [", true)).expect("ran"), ExitCode::FAILURE);
        assert!(!folder.path().join("out.alloy").exists());
    }
}
