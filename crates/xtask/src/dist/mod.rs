//! `cargo xtask dist`: the release binary, optimised and stripped, in an archive with licence and examples.

mod profiled;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

/// What a slim binary may have.
const SLIM_BYTES: u64 = 20_000_000;

/// What is built.
#[derive(Args)]
pub struct Dist {
    /// Small before fast, and without the features of the binary: no `import.git`.
    #[arg(long)]
    slim: bool,
    /// Build twice: first to find out what runs how often on the work of `bench`, then with code laid out and
    /// compiled for that. Needs LLVM's `llvm-profdata` (`rustup component add llvm-tools`).
    #[arg(long)]
    profiled: bool,
    /// With `--profiled`: the profile of an earlier run instead of making one. Of crates that have other dependencies or
    /// features since then it says nothing, for functions go by names that tell those too.
    #[arg(long, requires = "profiled")]
    profile: Option<std::path::PathBuf>,
}

/// Builds `ferroalloy-<target>.tar.gz` in the folder of the profile `dist` and prints sizes. A slim build
/// leaves out the groups of heavy dependencies that are features of the binary, and fails if it is too large.
pub fn run(root: &Path, dist: &Dist) -> anyhow::Result<()> {
    let binary = if dist.profiled {
        profiled::build_profiled(root, dist.slim, dist.profile.as_deref())?
    } else {
        call(&mut build(root, dist.slim))?;
        crate::target_folder(root).join(profile(dist.slim)).join("ferroalloy")
    };
    let name = if dist.slim { "ferroalloy-slim" } else { "ferroalloy" };
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let folder = binary.parent().context("a binary lies in a folder")?;
    let archive = folder.join(format!("{name}-{target}.tar.gz"));
    call(
        Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(folder)
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
    if dist.slim && bytes > SLIM_BYTES {
        bail!("a slim binary has at most {:.0} MB", SLIM_BYTES as f64 / 1e6);
    }
    Ok(())
}

/// The command that builds the binary.
fn build(root: &Path, slim: bool) -> Command {
    let mut build = Command::new("cargo");
    build.args(["build", "--profile", profile(slim), "--package", "cli"]).current_dir(root);
    if slim {
        build.arg("--no-default-features");
    }
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        // Functions that are the same in machine code become one: much of generic code. Nothing here compares addresses of
        // functions. Said only where rustc brings the linker that knows it.
        build.args(["--config", "build.rustflags=['-Clink-arg=-Wl,--icf=all']"]);
    }
    build
}

/// The profile of Cargo.toml, and the folder of what it makes.
fn profile(slim: bool) -> &'static str {
    if slim { "slim" } else { "dist" }
}

fn call(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}
