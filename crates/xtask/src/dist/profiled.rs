//! A build guided by a profile: one that counts, the work of `bench` done with it, and one that uses the counts, for how
//! functions are compiled and for where they lie (`order`). Of a slim binary they only lie where they should, and what is
//! counted is calls (`calls`): what is compiled for speed is larger, of a slim binary's megabytes one in twenty. No build
//! touches the artifacts of ordinary ones: each has a folder of its own.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::{LLD, build, call, calls, order, rustc};

/// The work whose profile is taken, as arguments of `bench`: every path of data, as short as it can be and still
/// reach the state in which a program spends its days (templates are learnt, caches are warm). The first and the second
/// differ in what a program does that waits for a minute.
pub(super) const WORK: [&str; 9] = [
    "idle --seconds 1",
    "idle --seconds 75",
    "metrics --only ferroalloy,ferroalloy-rw2 --targets 30 --interval 1 --warmup 5 --seconds 15",
    "metrics --only ferroalloy --relabel --targets 30 --interval 1 --warmup 5 --seconds 5",
    "logs --only ferroalloy --rate 10 --stages none,json,logfmt,regex --warmup 2 --seconds 4",
    "otlp --only ferroalloy --warmup 1 --seconds 4",
    "otlp --only ferroalloy --signal traces --incoming gzip --outgoing none,gzip --warmup 1 --seconds 3",
    "otlp --only ferroalloy --signal traces --edit --warmup 1 --seconds 3",
    "profiles --only ferroalloy --interval 1 --warmup 3 --seconds 5",
];

/// Builds with the given profile, or makes one. The path of the binary. An order of functions lies beside a profile.
pub(super) fn build_profiled(root: &Path, slim: bool, profile: Option<&Path>) -> anyhow::Result<PathBuf> {
    let folder = crate::target_folder(root).join("profiled");
    let made = folder.join("ferroalloy.profdata");
    match profile {
        Some(_) => {}
        None if slim => calls::make_order(root, &folder, &made.with_extension("order"))?,
        None => make_profile(root, &folder, &made)?,
    }
    let profile = profile.unwrap_or(&made);
    let mut flags = Vec::new();
    if !slim {
        flags.push(format!("-Cprofile-use={}", named_by_content(profile, &folder)?.display()));
    }
    let order = profile.with_extension("order");
    if LLD && order.exists() {
        let order = named_by_content(&order, &folder)?;
        // The order that LLVM's own profile of calls gives would go before it.
        flags.push("-Clink-arg=-Wl,--call-graph-profile-sort=none,--no-warn-symbol-ordering".to_owned());
        flags.push(format!("-Clink-arg=-Wl,--symbol-ordering-file={}", order.display()));
    }
    build(root, slim, &folder.join("used"), &flags)
}

/// A copy whose name tells what is in it: cargo builds anew when flags change, and does not look into files that they
/// name.
fn named_by_content(file: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let content = std::fs::read(file).with_context(|| file.display().to_string())?;
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let copy = folder.join(format!("ferroalloy-{:016x}", hasher.finish()));
    let copy = copy.with_extension(file.extension().unwrap_or_default());
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&copy, content))?;
    Ok(copy)
}

/// Counts, and writes the profile and the order that come of it.
fn make_profile(root: &Path, folder: &Path, profile: &Path) -> anyhow::Result<()> {
    let profdata = profdata()?;
    let counts = folder.join("counts");
    if counts.exists() {
        std::fs::remove_dir_all(&counts).with_context(|| counts.display().to_string())?;
    }
    let flags = [format!("-Cprofile-generate={}", counts.display())];
    let counting = build(root, false, &folder.join("counting"), &flags)?;
    let mut taken = Vec::new();
    for (number, work) in WORK.iter().enumerate() {
        let taken_here = counts.join(number.to_string());
        bench(work, &counting, "LLVM_PROFILE_FILE", &taken_here.join("%m_%p.profraw"))?;
        if !taken_here.exists() {
            bail!(
                "the program wrote no profile to {}: is RUSTFLAGS set? It hides the flag for it",
                taken_here.display()
            );
        }
        taken.push(taken_here);
    }
    let read = |inputs: &[PathBuf]| -> anyhow::Result<order::Counts> {
        let text = counts.join("text");
        call(Command::new(&profdata).args(["merge", "--text", "--output"]).arg(&text).args(inputs))?;
        let text = std::fs::read_to_string(&text).with_context(|| text.display().to_string())?;
        Ok(order::counts(&text))
    };
    let order = order::order(&read(&taken[..1])?, &read(&taken[1..2])?, &read(&taken[2..])?);
    std::fs::write(profile.with_extension("order"), order)?;
    call(Command::new(profdata).args(["merge", "--output"]).arg(profile).args(&taken))
}

/// Does one of the works with a program that counts into a file which a variable names.
pub(super) fn bench(work: &str, program: &Path, variable: &str, file: &Path) -> anyhow::Result<()> {
    let mut bench = Command::new(std::env::current_exe()?);
    call(bench.env(variable, file).arg("bench").args(work.split(' ')).arg("--program").arg(program))
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
        let given = folder.join("given.order");
        let named = |content: &str| {
            std::fs::write(&given, content).expect("written");
            named_by_content(&given, &folder).expect("copied")
        };
        let (first, second, again) = (named("one"), named("two"), named("one"));
        assert!(first != second && first == again, "{first:?} {second:?}");
        assert!(first.extension().is_some_and(|e| e == "order"), "{first:?}");
        assert_eq!(std::fs::read(&second).expect("a copy"), b"two");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
