//! `cargo xtask dist`: the release binary, optimised and stripped, in an archive with licence and examples.

mod calls;
mod order;
mod profiled;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

/// What a slim binary may have.
const SLIM_BYTES: u64 = 20_000_000;
/// How a slim build compiles C: no tables for unwinding through it, for nothing does, and of zstd's ways to find matches the
/// two that its levels up to 4 use; at a higher level it takes the best of these.
const SMALL_C: [&str; 7] = [
    "-fno-asynchronous-unwind-tables",
    "-DZSTD_EXCLUDE_GREEDY_BLOCK_COMPRESSOR",
    "-DZSTD_EXCLUDE_LAZY_BLOCK_COMPRESSOR",
    "-DZSTD_EXCLUDE_LAZY2_BLOCK_COMPRESSOR",
    "-DZSTD_EXCLUDE_BTLAZY2_BLOCK_COMPRESSOR",
    "-DZSTD_EXCLUDE_BTOPT_BLOCK_COMPRESSOR",
    "-DZSTD_EXCLUDE_BTULTRA_BLOCK_COMPRESSOR",
];
/// rustc brings LLVM's linker and uses it.
const LLD: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// What is built.
#[derive(Args)]
pub struct Dist {
    /// Small before fast, and without the features of the binary: no `import.git`, no other programs' files, no `test`.
    /// Needs the source of the standard library (`rustup component add rust-src`).
    #[arg(long)]
    slim: bool,
    /// Build twice: first to find out what runs how often on the work of `bench`, then with code laid out and
    /// compiled for that; of a slim binary laid out only, so that it stays small. Needs LLVM's `llvm-profdata` (`rustup
    /// component add llvm-tools`), a slim build only `cc`.
    #[arg(long)]
    profiled: bool,
    /// With `--profiled`: the profile of an earlier run instead of making one. Of crates that have other dependencies or
    /// features since then it says nothing, for functions go by names that tell those too. The order of functions that was
    /// written beside it is used as well, and alone for a slim binary.
    #[arg(long, requires = "profiled")]
    profile: Option<PathBuf>,
}

/// Builds `ferroalloy-<target>.tar.gz` beside the binary and prints sizes. A slim build leaves out what is a feature of the
/// binary, and fails if it is too large.
pub fn run(root: &Path, dist: &Dist) -> anyhow::Result<()> {
    let binary = if dist.profiled {
        profiled::build_profiled(root, dist.slim, dist.profile.as_deref())?
    } else {
        build(root, dist.slim, &crate::target_folder(root), &[])?
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

/// Builds the binary into a target folder with flags besides those of `.cargo/config.toml`, and says where it is. Build
/// scripts do not get the flags, for a target is named.
fn build(root: &Path, slim: bool, folder: &Path, flags: &[String]) -> anyhow::Result<PathBuf> {
    let target = rustc(&["--print", "host-tuple"])?;
    let profile = if slim { "slim" } else { "dist" };
    let mut flags = flags.to_vec();
    if LLD {
        // Functions that are the same in machine code become one: much of generic code. Nothing here compares addresses of
        // functions.
        flags.push("-Clink-arg=-Wl,--icf=all".to_owned());
    }
    let mut build = Command::new("cargo");
    build.args(["build", "--profile", profile, "--package", "cli", "--target", &target]).current_dir(root);
    if slim {
        build.arg("--no-default-features");
        // A standard library that is small, for its sorting and searching is compiled again for each type. Cargo builds one
        // only if unstable features are let in, which the variable does, for every crate that looks for them.
        build.args(["-Zbuild-std=std,panic_unwind", "-Zbuild-std-features=optimize_for_size"]);
        build.env("RUSTC_BOOTSTRAP", "1");
        build.env("CFLAGS", [std::env::var("CFLAGS").unwrap_or_default(), SMALL_C.join(" ")].join(" "));
        if LLD {
            // A megabyte of relocations in a few kilobytes. The loader of glibc 2.36 and later reads them (Debian 12,
            // Ubuntu 24.04, distroless `cc-debian12`); an older one says which version it wants.
            flags.push("-Clink-arg=-Wl,-z,pack-relative-relocs".to_owned());
        }
    }
    build.arg("--config").arg(format!("build.rustflags={flags:?}")).arg("--target-dir").arg(folder);
    call(&mut build)?;
    Ok(folder.join(target).join(profile).join("ferroalloy"))
}

/// What rustc prints.
fn rustc(args: &[&str]) -> anyhow::Result<String> {
    let out = Command::new("rustc").args(args).output().context("rustc")?;
    if !out.status.success() {
        bail!("rustc {args:?} failed: {}", out.status);
    }
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

fn call(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}
