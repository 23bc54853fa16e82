//! Chores of this repository: `cargo xtask gen | tidy | bench | dist`.

mod bench;
mod dist;
mod generate;
mod tidy;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Write the generated pages.
    Gen {
        /// Write nothing; fail if a page is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Check the rules of the house.
    Tidy,
    /// Measure the program, and peers that are on PATH, on the same work.
    Bench {
        #[command(subcommand)]
        path: Box<bench::Path>,
    },
    /// Build the release archive.
    Dist(dist::Dist),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().chore {
        Chore::Gen { check } => generate::run(&root(), check),
        Chore::Tidy => tidy::run(&root()),
        Chore::Bench { path } => bench::run(&root(), &path),
        Chore::Dist(dist) => dist::run(&root(), &dist),
    }
}

/// Where cargo puts what it builds.
fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into)
}

/// The top of the repository.
fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path.pop();
    path
}
