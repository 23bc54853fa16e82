//! `cargo xtask bench profiles`: prepared pprof profiles, scraped from targets in this process and pushed to a back end
//! in it.
//!
//! With a difference the profiles are a Go program's allocations, which grow from scrape to scrape; without one the
//! same bytes are of a type that is forwarded as it is. What counts is CPU for each megabyte that targets have served.

mod payload;
mod servers;

use std::fmt::Write;
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::peers::{find, free};
use super::{Running, quiet};
use servers::{Sink, Targets};

/// The work.
#[derive(Args, Clone)]
pub struct Profiles {
    /// How many targets.
    #[arg(long, default_value_t = 50)]
    targets: usize,
    /// Bytes of a profile, compressed.
    #[arg(long, default_value_t = 200_000)]
    bytes: usize,
    /// What is made of profiles, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Case::Plain, Case::Delta])]
    case: Vec<Case>,
    /// Scrape interval in seconds.
    #[arg(long, default_value_t = 5)]
    interval: u64,
    /// Seconds before counting begins.
    #[arg(long, default_value_t = 15)]
    warmup: u64,
    /// Seconds that are counted.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How often each program is measured, in turn.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Measure this build of the program instead of making one.
    #[arg(long)]
    pub program: Option<PathBuf>,
    /// Another build of our program, measured too as `ferroalloy-before`.
    #[arg(long)]
    before: Option<PathBuf>,
    /// Only these programs, by name.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// What is made of profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// They are forwarded as they are.
    Plain,
    /// The difference to the last one is.
    Delta,
}

/// How long after the first measurement what is on its way may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one run of one program showed.
#[derive(Clone, Debug)]
struct Figures {
    name: String,
    cpu_ms_per_mb: f64,
    /// Of that, in the kernel.
    system_ms_per_mb: f64,
    peak_bytes: f64,
    present_bytes: f64,
    /// Bytes pushed for each that was scraped.
    out_per_in: f64,
    served: u64,
    pushed: u64,
}

struct Program {
    name: &'static str,
    path: PathBuf,
}

/// Measures and prints.
pub fn run(binary: &FilePath, work: &Profiles) -> anyhow::Result<()> {
    let mut all = vec![Program { name: "ferroalloy", path: binary.to_path_buf() }];
    all.extend(work.before.clone().map(|path| Program { name: "ferroalloy-before", path }));
    all.extend(find("alloy").map(|path| Program { name: "alloy", path }));
    if !work.only.is_empty() {
        all.retain(|program| work.only.iter().any(|only| program.name == only));
    }
    // One more than are asked for: a target that has no new one gives the last again.
    let scrapes = (work.warmup + work.seconds) / work.interval.max(1) + 2;
    let versions = payload::versions(work.bytes, usize::try_from(scrapes)?);
    for case in &work.case {
        let size = versions.last().map_or(0, Vec::len);
        eprintln!("\n{case:?}: {} targets, {size} bytes each, every {} s", work.targets, work.interval);
        let mut runs: Vec<Vec<Figures>> = vec![Vec::new(); all.len()];
        for round in 0..work.rounds {
            let mut order: Vec<_> = (0..all.len()).collect();
            if round % 2 == 1 {
                // A B B A: drift of the machine hits all alike.
                order.reverse();
            }
            for at in order {
                let figures = measure(&all[at], *case, work, &versions).context(all[at].name)?;
                eprintln!("{figures:?}");
                runs[at].push(figures);
            }
        }
        let median = |mut runs: Vec<Figures>| {
            runs.sort_by(|a, b| a.cpu_ms_per_mb.total_cmp(&b.cpu_ms_per_mb));
            runs.get(runs.len() / 2).cloned()
        };
        table(&runs.into_iter().filter_map(median).collect::<Vec<_>>());
    }
    Ok(())
}

fn measure(program: &Program, case: Case, work: &Profiles, versions: &[Vec<u8>]) -> anyhow::Result<Figures> {
    let name = format!("ferroalloy-bench-{}-{}", program.name, std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder)?;
    let (targets, sink) = (Targets::start(work.targets, versions)?, Sink::start()?);
    let mut child = Running(start(program, &folder, case, work, &targets, &sink)?);
    let told = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    std::thread::sleep(Duration::from_secs(work.warmup));
    let (cpu, served, pushed) = (child.cpu()?, targets.served(), sink.pushed());
    std::thread::sleep(Duration::from_secs(work.seconds));
    child.alive().with_context(told)?;
    let (after, served_after) = (child.cpu()?, targets.served());
    // What was served at the end is on its way.
    let (deadline, due) = (Instant::now() + PATIENCE, served_after.0 - served.0);
    while sink.pushed().0 - pushed.0 < due && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let pushed_after = sink.pushed();
    let (peak, present) = child.memory()?;
    drop(child);
    if pushed_after.0 == 0 {
        bail!("nothing arrived\n{}", told());
    }
    let _ = std::fs::remove_dir_all(&folder);
    let megabytes = (served_after.1 - served.1) as f64 / 1e6;
    Ok(Figures {
        name: program.name.to_string(),
        cpu_ms_per_mb: (after.0 + after.1 - cpu.0 - cpu.1) * 1e3 / megabytes,
        system_ms_per_mb: (after.1 - cpu.1) * 1e3 / megabytes,
        peak_bytes: peak,
        present_bytes: present,
        out_per_in: (pushed_after.1 - pushed.1) as f64 / 1e6 / megabytes,
        served: due,
        pushed: pushed_after.0 - pushed.0,
    })
}

/// Alloy's configuration, which is ours too.
fn start(
    program: &Program,
    folder: &FilePath,
    case: Case,
    work: &Profiles,
    targets: &Targets,
    sink: &Sink,
) -> anyhow::Result<Child> {
    let mut text = String::from("pyroscope.scrape \"bench\" {\n\ttargets = [\n");
    for target in &targets.addresses {
        let _ = writeln!(text, "\t\t{{\"__address__\" = \"{target}\", \"service_name\" = \"bench\"}},");
    }
    let _ = write!(
        text,
        "\t]\n\tforward_to = [pyroscope.write.bench.receiver]\n\tscrape_interval = \"{0}s\"\n\tscrape_timeout = \"{0}s\"\n\
         \tprofiling_config {{\n",
        work.interval
    );
    for name in ["memory", "block", "goroutine", "mutex", "process_cpu"] {
        let enabled = case == Case::Delta && name == "memory";
        let _ = writeln!(text, "\t\tprofile.{name} {{\n\t\t\tenabled = {enabled}\n\t\t}}");
    }
    if case == Case::Plain {
        text.push_str(
            "\t\tprofile.custom \"heap\" {\n\t\t\tenabled = true\n\t\t\tpath = \"/debug/pprof/heap\"\n\t\t}\n",
        );
    }
    let _ = write!(
        text,
        "\t}}\n}}\n\npyroscope.write \"bench\" {{\n\tendpoint {{\n\t\turl = \"http://{}\"\n\t}}\n}}\n",
        sink.address
    );
    let file = folder.join("config.alloy");
    std::fs::write(&file, text)?;
    let mut command = Command::new(&program.path);
    command
        .arg("run")
        .arg(format!("--server.http.listen-addr={}", free()?))
        .arg(format!("--storage.path={}", folder.join("data").display()))
        .arg("--disable-reporting")
        .arg(file);
    quiet(&mut command, folder)
}

fn table(rows: &[Figures]) {
    let Some(ours) = rows.first() else { return };
    eprintln!(
        "\n| program | CPU ms/MB scraped (kernel) | ours ÷ it | peak RSS MB | ours ÷ it | RSS MB | bytes out/in | pushed (served) |"
    );
    eprintln!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for row in rows {
        eprintln!(
            "| {} | {:.3} ({:.3}) | {:.3} | {:.1} | {:.3} | {:.1} | {:.3} | {} ({}) |",
            row.name,
            row.cpu_ms_per_mb,
            row.system_ms_per_mb,
            ours.cpu_ms_per_mb / row.cpu_ms_per_mb,
            row.peak_bytes / 1e6,
            ours.peak_bytes / row.peak_bytes,
            row.present_bytes / 1e6,
            row.out_per_in,
            row.pushed,
            row.served,
        );
    }
}
