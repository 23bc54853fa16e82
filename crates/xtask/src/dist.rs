//! `cargo xtask dist`: the release binary, optimised and stripped, in an archive with licence and examples.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// What a slim binary may have.
const SLIM_BYTES: u64 = 20_000_000;

/// Builds `ferroalloy-<target>.tar.gz` in the folder of the profile `dist` and prints sizes. A slim build
/// leaves out the groups of heavy dependencies that are features of the binary, and fails if it is too large.
pub fn run(root: &Path, slim: bool) -> anyhow::Result<()> {
    let mut build = Command::new("cargo");
    build.args(["build", "--profile", "dist", "--package", "cli"]).current_dir(root);
    if slim {
        build.arg("--no-default-features");
    }
    call(&mut build)?;
    let name = if slim { "ferroalloy-slim" } else { "ferroalloy" };
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let folder = crate::target_folder(root).join("dist");
    let (binary, archive) = (folder.join("ferroalloy"), folder.join(format!("{name}-{target}.tar.gz")));
    call(
        Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(&folder)
            .arg("ferroalloy")
            .arg("-C")
            .arg(root)
            .args(["LICENSE", "README.md", "examples/systemd", "pipelines"]),
    )?;
    let size = |path: &Path| -> anyhow::Result<u64> {
        let size = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
        eprintln!("{}: {:.1} MB", path.display(), size as f64 / 1e6);
        Ok(size)
    };
    let bytes = size(&binary)?;
    size(&archive)?;
    if slim && bytes > SLIM_BYTES {
        bail!("a slim binary has at most {:.0} MB", SLIM_BYTES as f64 / 1e6);
    }
    Ok(())
}

fn call(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}
