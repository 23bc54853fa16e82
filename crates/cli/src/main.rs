//! The program: `ferroalloy run | validate | test | convert | fmt | components | schema | tools | completion`.

mod args;
mod blocks;
mod code_pages;
mod commands;
mod heap;
mod host;
mod identity;
mod load;
mod logging;
mod resources;
mod run;
mod serve;
mod spans;
mod systemd;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use syntax::Diagnostic;

use args::{Cli, Command};

/// The program's version; `0.0.0` for builds that are no release.
pub const VERSION: &str = match option_env!("FERROALLOY_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    component::eval::stdlib::set_version(&format!("v{VERSION}"));
    let result = match cli.command {
        Command::Run(args) => run::run(*args),
        Command::Fmt(args) => commands::fmt::run(&args),
        Command::Validate(args) => commands::validate::run(&args),
        #[cfg(feature = "pipeline-test")]
        Command::Test(args) => commands::test::run(&args),
        #[cfg(not(feature = "pipeline-test"))]
        Command::Test(_) => Err(left_out("test")),
        #[cfg(feature = "convert")]
        Command::Convert(args) => commands::convert::run(&args),
        #[cfg(not(feature = "convert"))]
        Command::Convert(_) => Err(left_out("convert")),
        Command::Components => commands::schema::components(),
        Command::Schema { name } => commands::schema::schema(name.as_deref()),
        Command::Tools { tool } => commands::tools::run(&tool),
        Command::Gql(_) => Err(anyhow::anyhow!(
            "gql: there is no GraphQL API in this version: ask /api/v0/web/components of the running program"
        )),
        Command::Otel(_) => Err(anyhow::anyhow!(
            "otel: this program has one engine: run the Collector's file with `run --config.format=otelcol FILE`"
        )),
        Command::OtelSupervisor(_) => {
            Err(anyhow::anyhow!("otel-supervisor: there is no supervisor in this version"))
        }
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "ferroalloy", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| fail(&error))
}

/// The answer of a command that is a feature of the binary which this one has not.
#[cfg(not(all(feature = "convert", feature = "pipeline-test")))]
fn left_out(command: &str) -> anyhow::Error {
    anyhow::anyhow!("{command}: this is a slim build without that command; the full one has it")
}

#[expect(clippy::print_stderr, reason = "the last word of a command")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("ferroalloy: {error:#}");
    ExitCode::FAILURE
}

/// Diagnostics as text, in colour for a terminal.
pub fn rendered(diagnostics: &[Diagnostic]) -> String {
    let color =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    syntax::render(diagnostics, color)
}

/// Prints diagnostics and fails.
#[expect(clippy::print_stderr, reason = "a command's answer")]
pub fn report(diagnostics: &[Diagnostic]) -> ExitCode {
    eprint!("{}", rendered(diagnostics));
    ExitCode::FAILURE
}
