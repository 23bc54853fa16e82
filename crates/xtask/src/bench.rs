//! `cargo xtask bench`: the program, and peers that are on PATH, on the same work in the same run.
//!
//! Targets are rendered beforehand and served by this process; so is the sink, which only counts. What is
//! read of a program is the kernel's account of it: CPU time of user and system, peak and present memory.
//! Figures drift with the machine: what counts is the ratio between programs of one run.

mod collectors;
mod load;
mod logs;
mod otlp;
mod peers;
mod profiles;

use std::path::Path as FilePath;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use load::{Sink, Targets};
use peers::Peer;

/// What is measured.
#[derive(Subcommand)]
pub enum Path {
    /// Scrape to remote write.
    Metrics(Metrics),
    /// File to Loki.
    Logs(logs::Logs),
    /// OTLP in, OTLP out.
    Otlp(otlp::Otlp),
    /// Scraped pprof profiles to Pyroscope.
    Profiles(profiles::Profiles),
    /// Start to ready with all four paths configured, idle memory, size of the binary.
    Idle {
        /// Seconds between ready and the look at the memory.
        #[arg(long, default_value_t = 12)]
        seconds: u64,
        /// Measure this build of the program instead of making one.
        #[arg(long)]
        program: Option<std::path::PathBuf>,
    },
}

/// The work.
#[derive(Args, Clone)]
pub struct Metrics {
    /// How many targets.
    #[arg(long, default_value_t = 100)]
    targets: usize,
    /// Series of each.
    #[arg(long, default_value_t = 1900)]
    series: usize,
    /// Scrape interval in seconds.
    #[arg(long, default_value_t = 5)]
    interval: u64,
    /// Seconds before counting begins.
    #[arg(long, default_value_t = 15)]
    warmup: u64,
    /// Seconds that are counted.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often each program is measured, in turn.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Five relabelling rules before and after the scrape.
    #[arg(long)]
    relabel: bool,
    /// Measure this build of the program instead of making one.
    #[arg(long)]
    program: Option<std::path::PathBuf>,
    /// No two targets have a series' labels in common; otherwise they differ in `instance` alone.
    #[arg(long)]
    distinct: bool,
    /// Of each target's series, so many per cent an hour end and others begin, evenly over time. What this adds to the
    /// memory within the seconds that are counted is printed.
    #[arg(long, default_value_t = 0.0)]
    churn: f64,
    /// Another build of our program, measured too as `ferroalloy-before`.
    #[arg(long)]
    before: Option<std::path::PathBuf>,
    /// Only these programs, by name.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// What one run of one program showed.
#[derive(Clone, Debug)]
struct Figures {
    name: String,
    cpu_us_per_sample: f64,
    /// Of that, in the kernel.
    system_us_per_sample: f64,
    peak_bytes: f64,
    bytes_per_series: f64,
    /// Resident memory at the end of what is counted, by that at its beginning.
    growth: f64,
    wire_bytes_per_sample: f64,
    samples: u64,
    offered: u64,
}

/// Measures and prints.
pub fn run(root: &FilePath, path: &Path) -> anyhow::Result<()> {
    let binary = match path {
        Path::Metrics(Metrics { program: Some(program), .. })
        | Path::Logs(logs::Logs { program: Some(program), .. })
        | Path::Otlp(otlp::Otlp { program: Some(program), .. })
        | Path::Profiles(profiles::Profiles { program: Some(program), .. })
        | Path::Idle { program: Some(program), .. } => program.clone(),
        _ => build(root)?,
    };
    match path {
        Path::Metrics(work) => metrics(&binary, work),
        Path::Logs(work) => logs::run(&binary, work),
        Path::Otlp(work) => otlp::run(&binary, work),
        Path::Profiles(work) => profiles::run(&binary, work),
        Path::Idle { seconds, .. } => idle(&binary, Duration::from_secs(*seconds)),
    }
}

fn build(root: &FilePath) -> anyhow::Result<std::path::PathBuf> {
    let status =
        Command::new("cargo").args(["build", "--release", "--package", "cli"]).current_dir(root).status()?;
    if !status.success() {
        bail!("the program does not build");
    }
    Ok(crate::target_folder(root).join("release/ferroalloy"))
}

fn metrics(binary: &FilePath, work: &Metrics) -> anyhow::Result<()> {
    let mut peers = peers::on_this_machine(binary);
    if let Some(before) = &work.before {
        peers.push(Peer::ours("ferroalloy-before", before, peers::Variant::Plain));
    }
    if !work.only.is_empty() {
        peers.retain(|p| work.only.iter().any(|o| p.name == o));
    }
    let mut all: Vec<Vec<Figures>> = vec![Vec::new(); peers.len()];
    for round in 0..work.rounds {
        let mut order: Vec<_> = (0..peers.len()).collect();
        if round % 2 == 1 {
            // A B B A: drift of the machine hits all alike.
            order.reverse();
        }
        for at in order {
            let figures = measure(&peers[at], work).with_context(|| peers[at].name.to_string())?;
            eprintln!("{figures:?}");
            all[at].push(figures);
        }
    }
    table(&all.iter().filter_map(|runs| median(runs)).collect::<Vec<_>>());
    Ok(())
}

fn measure(peer: &Peer, work: &Metrics) -> anyhow::Result<Figures> {
    let folder = std::env::temp_dir().join(format!("ferroalloy-bench-{}-{}", peer.name, std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let targets = Targets::start(work.targets, work.series, work.distinct, work.churn)?;
    let sink = Sink::start()?;
    let setup = peers::Setup {
        folder: &folder,
        targets: &targets.addresses,
        sink: sink.address,
        interval: work.interval,
        relabel: work.relabel,
    };
    let mut child = Running(peer.start(&setup)?);
    std::thread::sleep(Duration::from_secs(work.warmup));
    let (_, at_first) = child.memory()?;
    let (cpu, samples, bytes, offered) = (child.cpu()?, sink.samples(), sink.bytes(), targets.served());
    std::thread::sleep(Duration::from_secs(work.seconds));
    child.alive()?;
    let (after, samples, bytes) = (child.cpu()?, sink.samples() - samples, sink.bytes() - bytes);
    let offered = (targets.served() - offered) * work.series as u64;
    let (peak, present) = child.memory()?;
    drop(child);
    let _ = std::fs::remove_dir_all(&folder);
    if samples == 0 {
        bail!("nothing arrived");
    }
    Ok(Figures {
        name: peer.name.to_string(),
        cpu_us_per_sample: (after.0 + after.1 - cpu.0 - cpu.1) * 1e6 / samples as f64,
        system_us_per_sample: (after.1 - cpu.1) * 1e6 / samples as f64,
        peak_bytes: peak,
        bytes_per_series: present / (work.targets * work.series) as f64,
        growth: present / at_first,
        wire_bytes_per_sample: bytes as f64 / samples as f64,
        samples,
        offered,
    })
}

fn median(runs: &[Figures]) -> Option<Figures> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(|a, b| a.cpu_us_per_sample.total_cmp(&b.cpu_us_per_sample));
    sorted.get(sorted.len() / 2).cloned()
}

fn table(rows: &[Figures]) {
    let Some(ours) = rows.first() else { return };
    eprintln!(
        "\n| program | CPU µs/sample (kernel) | ours ÷ it | peak RSS MB | ours ÷ it | RSS bytes/series (at end ÷ at first) | wire bytes/sample | samples (offered) |"
    );
    eprintln!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for row in rows {
        eprintln!(
            "| {} | {:.3} ({:.3}) | {:.3} | {:.1} | {:.3} | {:.0} ({:.3}) | {:.2} | {} ({}) |",
            row.name,
            row.cpu_us_per_sample,
            row.system_us_per_sample,
            ours.cpu_us_per_sample / row.cpu_us_per_sample,
            row.peak_bytes / 1e6,
            ours.peak_bytes / row.peak_bytes,
            row.bytes_per_series,
            row.growth,
            row.wire_bytes_per_sample,
            row.samples,
            row.offered,
        );
    }
}

fn idle(binary: &FilePath, wait: Duration) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("ferroalloy-bench-idle-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let sink = Sink::start()?;
    let targets: Vec<std::net::SocketAddr> = Vec::new();
    let setup =
        peers::Setup { folder: &folder, targets: &targets, sink: sink.address, interval: 60, relabel: false };
    let peer = Peer::ours("ferroalloy", binary, peers::Variant::AllPaths);
    let start = Instant::now();
    let mut child = Running(peer.start(&setup)?);
    let address = peers::api_address(&folder)?;
    while !load::is_ready(address) {
        child.alive()?;
        std::thread::sleep(Duration::from_micros(500));
    }
    let ready = start.elapsed();
    std::thread::sleep(wait);
    let (peak, present) = child.memory()?;
    drop(child);
    let _ = std::fs::remove_dir_all(&folder);
    eprintln!(
        "ready after {ready:?}; RSS {:.1} MB (peak {:.1} MB); binary {:.1} MB",
        present / 1e6,
        peak / 1e6,
        std::fs::metadata(binary)?.len() as f64 / 1e6
    );
    Ok(())
}

/// How long a program that is asked to end may take.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// A child that ends with its measurement.
struct Running(Child);

impl Running {
    fn alive(&mut self) -> anyhow::Result<()> {
        match self.0.try_wait()? {
            Some(status) => bail!("ended with {status}"),
            None => Ok(()),
        }
    }

    /// CPU seconds so far, of user and system, as `proc(5)`: fields 14 and 15 of `stat`, in ticks of 10 ms.
    fn cpu(&self) -> anyhow::Result<(f64, f64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).context("stat is too short");
        Ok((ticks(11)? / 100.0, ticks(12)? / 100.0))
    }

    /// Peak and present resident bytes.
    fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let field = |name: &str| -> anyhow::Result<f64> {
            let line = text.lines().find(|l| l.starts_with(name)).context("status is too short")?;
            Ok(line.split_whitespace().nth(1).context("a number")?.parse::<f64>()? * 1024.0)
        };
        Ok((field("VmHWM:")?, field("VmRSS:")?))
    }
}

impl Drop for Running {
    /// Asks it to end, as a build that counts writes its profile then; who does not is killed.
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let asked = rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok();
        let until = Instant::now() + if asked { LAST_WORDS } else { Duration::ZERO };
        while Instant::now() < until && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command without input and output, its log in the folder.
fn quiet(command: &mut Command, folder: &FilePath) -> anyhow::Result<Child> {
    let log = std::fs::File::create(folder.join("log"))?;
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    child.with_context(|| format!("{command:?}"))
}
