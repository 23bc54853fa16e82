//! `ferroalloy fmt`: prints, writes back or tests the formatted text of a configuration.

use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::args::FmtArgs;

/// Formats; fails with the diagnostics if the text does not parse.
pub fn run(args: &FmtArgs) -> anyhow::Result<ExitCode> {
    let stdin = args.file.as_os_str() == "-";
    if args.write && stdin {
        bail!("--write needs a file: name the file to format");
    }
    let bytes = super::read(&args.file)?;
    let name = if stdin { "<stdin>".to_string() } else { args.file.display().to_string() };
    let source = match syntax::decode(&bytes, &name) {
        Ok(source) => source,
        Err(diagnostic) => return Ok(crate::report(&[diagnostic])),
    };
    let (file, diagnostics) = syntax::parse(&source);
    if diagnostics.iter().any(syntax::Diagnostic::is_error) {
        return Ok(crate::report(&diagnostics));
    }
    let formatted = syntax::format(&file);
    let same = formatted.as_bytes() == bytes;
    if args.test {
        return Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if !args.write {
        super::print(&formatted)?;
    } else if !same {
        write_over(&args.file, &formatted)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Replaces a file as a whole, so that an interruption leaves the old or the new text.
fn write_over(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    let target = std::fs::canonicalize(path).with_context(|| path.display().to_string())?;
    let temporary = target.with_extension(format!("fmt-{}", std::process::id()));
    let written = std::fs::write(&temporary, text)
        .and_then(|()| std::fs::set_permissions(&temporary, std::fs::metadata(&target)?.permissions()))
        .and_then(|()| std::fs::rename(&temporary, &target));
    if written.is_err() {
        // The original is untouched; what is left of the attempt is not wanted.
        let _ = std::fs::remove_file(&temporary);
    }
    written.with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(file: &std::path::Path, write: bool, test: bool) -> FmtArgs {
        FmtArgs { file: file.to_path_buf(), write, test }
    }

    #[test]
    fn write_replaces_the_file_and_test_tells_whether_it_would_change() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("a.alloy");
        std::fs::write(&file, "a  =  1\n").expect("written");
        assert_eq!(run(&args(&file, false, true)).expect("tested"), ExitCode::FAILURE);
        run(&args(&file, true, false)).expect("written");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "a = 1\n");
        assert_eq!(run(&args(&file, false, true)).expect("tested"), ExitCode::SUCCESS);
    }

    #[test]
    fn a_file_with_mistakes_is_left_alone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("a.alloy");
        std::fs::write(&file, "a = = 1\n").expect("written");
        assert_eq!(run(&args(&file, true, false)).expect("reported"), ExitCode::FAILURE);
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "a = = 1\n");
    }
}
