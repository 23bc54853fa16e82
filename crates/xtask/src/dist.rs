//! `cargo xtask dist`: the release binary, optimised and stripped, in an archive with licence and examples.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Builds `target/dist/ferroalloy-<target>.tar.gz` and prints its size.
pub fn run(root: &Path) -> anyhow::Result<()> {
    call(Command::new("cargo").args(["build", "--profile", "dist", "--package", "cli"]).current_dir(root))?;
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let folder = root.join("target/dist");
    let archive = folder.join(format!("ferroalloy-{target}.tar.gz"));
    call(
        Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(&folder)
            .arg("ferroalloy")
            .arg("-C")
            .arg(root)
            .args(["LICENSE", "README.md", "examples/systemd"]),
    )?;
    for path in [folder.join("ferroalloy"), archive] {
        let size = std::fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        eprintln!("{}: {:.1} MB", path.display(), size as f64 / 1e6);
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
