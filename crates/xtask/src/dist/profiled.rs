//! A build guided by a profile: one that counts, the work of `bench` done with it, and one that uses the counts.
//!
//! What never ran is laid out apart from what did (`-z keep-text-section-prefix`), so that an idle program
//! has few pages of code in memory. Neither build touches the artifacts of ordinary ones: both are for an
//! explicit target, in a folder of their own.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::{build, call, profile as cargo_profile};

/// The work whose profile is taken, as arguments of `bench`: every path of data, as short as it can be and still
/// reach the state in which a program spends its days (templates are learnt, caches are warm).
const WORK: [&str; 9] = [
    "idle",
    "metrics --only ferroalloy,ferroalloy-rw2 --targets 30 --interval 1 --warmup 5 --seconds 15",
    "metrics --only ferroalloy --relabel --targets 30 --interval 1 --warmup 5 --seconds 5",
    "logs --only ferroalloy --rate 10 --stages none,json,logfmt,regex --warmup 2 --seconds 4",
    "otlp --only ferroalloy --warmup 1 --seconds 4",
    "otlp --only ferroalloy --signal traces --incoming gzip --outgoing none,gzip --warmup 1 --seconds 3",
    "otlp --only ferroalloy --signal traces --edit --warmup 1 --seconds 3",
    "profiles --only ferroalloy --interval 1 --warmup 3 --seconds 5",
    "idle",
];

/// Builds with the given profile, or makes one. The path of the binary.
pub(super) fn build_profiled(root: &Path, slim: bool, profile: Option<&Path>) -> anyhow::Result<PathBuf> {
    let folder = crate::target_folder(root).join("profiled");
    let made;
    let profile = match profile {
        Some(profile) => profile,
        None => {
            made = make_profile(root, slim, &folder)?;
            &made
        }
    };
    let flags = [
        format!("-Cprofile-use={}", named_by_content(profile, &folder)?.display()),
        "-Clink-arg=-Wl,-z,keep-text-section-prefix".to_owned(),
    ];
    guided(root, slim, &folder.join("used"), &flags)
}

/// A copy whose name tells what is in it: cargo builds anew when flags change, and does not look into files that they
/// name.
fn named_by_content(profile: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let content = std::fs::read(profile).with_context(|| profile.display().to_string())?;
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let copy = folder.join(format!("ferroalloy-{:016x}.profdata", hasher.finish()));
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&copy, content))?;
    Ok(copy)
}

fn make_profile(root: &Path, slim: bool, folder: &Path) -> anyhow::Result<PathBuf> {
    let profdata = profdata()?;
    let counts = folder.join("counts");
    if counts.exists() {
        std::fs::remove_dir_all(&counts).with_context(|| counts.display().to_string())?;
    }
    let flags = [format!("-Cprofile-generate={}", counts.display())];
    let counting = guided(root, slim, &folder.join("counting"), &flags)?;
    for work in WORK {
        let mut bench = Command::new(std::env::current_exe()?);
        call(bench.arg("bench").args(work.split(' ')).arg("--program").arg(&counting))?;
    }
    let profile = folder.join("ferroalloy.profdata");
    if !counts.exists() {
        bail!(
            "the program wrote no profile to {}: is RUSTFLAGS set? It hides the flag for it",
            counts.display()
        );
    }
    call(Command::new(profdata).args(["merge", "--output"]).arg(&profile).arg(&counts))?;
    Ok(profile)
}

/// Builds with flags besides those of `.cargo/config.toml`. Build scripts do not get them, for a target is named.
fn guided(root: &Path, slim: bool, folder: &Path, flags: &[String]) -> anyhow::Result<PathBuf> {
    let target = rustc(&["--print", "host-tuple"])?;
    let mut build = build(root, slim);
    build.arg("--config").arg(format!("build.rustflags={flags:?}"));
    build.arg("--target").arg(&target).arg("--target-dir").arg(folder);
    call(&mut build)?;
    Ok(folder.join(target).join(cargo_profile(slim)).join("ferroalloy"))
}

/// LLVM's tool: the toolchain's own, or one of the same version on PATH.
fn profdata() -> anyhow::Result<PathBuf> {
    let own = Path::new(&rustc(&["--print", "sysroot"])?)
        .join("lib/rustlib")
        .join(rustc(&["--print", "host-tuple"])?)
        .join("bin/llvm-profdata");
    let version = rustc(&["--version", "--verbose"])?;
    let version = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major =
        version.and_then(|version| version.split('.').next()).context("rustc names no LLVM version")?;
    let named = PathBuf::from(format!("llvm-profdata-{major}"));
    let works =
        |tool: &PathBuf| Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success());
    [own, named].into_iter().find(works).with_context(|| {
        format!("no llvm-profdata: `rustup component add llvm-tools`, or install `llvm-profdata-{major}`")
    })
}

/// What rustc prints.
fn rustc(args: &[&str]) -> anyhow::Result<String> {
    let out = Command::new("rustc").args(args).output().context("rustc")?;
    if !out.status.success() {
        bail!("rustc {args:?} failed: {}", out.status);
    }
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{Chore, Cli};

    #[test]
    fn the_work_is_what_bench_understands() {
        for work in WORK {
            let words = ["cargo xtask", "bench"].into_iter().chain(work.split(' '));
            let cli = Cli::try_parse_from(words.chain(["--program", "x"]));
            let cli = cli.unwrap_or_else(|error| panic!("{work}: {error}"));
            assert!(matches!(cli.chore, Chore::Bench { .. }), "{work}");
        }
    }

    #[test]
    fn another_profile_has_another_name() {
        let folder = std::env::temp_dir().join(format!("xtask-profile-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let given = folder.join("given");
        let named = |content: &str| {
            std::fs::write(&given, content).expect("written");
            named_by_content(&given, &folder).expect("copied")
        };
        let (first, second, again) = (named("one"), named("two"), named("one"));
        assert!(first != second && first == again, "{first:?} {second:?}");
        assert_eq!(std::fs::read(&second).expect("a copy"), b"two");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
