//! `cargo xtask bench otlp`: prepared requests at a fixed rate, through a program, to a back end in this process.
//!
//! Every request has a number and every item a mark, which the sink finds again however requests are put together:
//! what is delivered is known, and a program that loses or repeats is told from one that is slow. Generator and sink
//! should be cheaper than the program: run a release build of this (`cargo run --release -p xtask -- bench otlp`).

mod generator;
mod payload;
mod programs;
mod sink;

use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;

use super::Running;
use super::peers::free;
use generator::{Generator, Protocol, Work};
use payload::{Coding, Signal};
use programs::{Program, Setup};
use sink::Sink;

/// The work.
#[derive(Args, Clone)]
pub struct Otlp {
    /// Signals, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Signal::Traces, Signal::Metrics, Signal::Logs])]
    signal: Vec<Signal>,
    /// How requests come in, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Protocol::Grpc, Protocol::Http])]
    protocol: Vec<Protocol>,
    /// How they go out; as they come in where it is not given.
    #[arg(long, value_enum)]
    out: Option<Protocol>,
    /// How they are compressed as they come in, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Coding::None])]
    incoming: Vec<Coding>,
    /// How they are compressed as they go out, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Coding::None])]
    outgoing: Vec<Coding>,
    /// Each item gets an attribute, one is renamed, two are taken away.
    #[arg(long)]
    edit: bool,
    /// Without the batch processor.
    #[arg(long)]
    no_batch: bool,
    /// Items of a request.
    #[arg(long, default_value_t = 200)]
    items: usize,
    /// Items a second.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Seconds before counting begins.
    #[arg(long, default_value_t = 5)]
    warmup: u64,
    /// Seconds that are counted.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The back end answers nothing for so many of the seconds that are counted, and then everything.
    #[arg(long, default_value_t = 0)]
    stall: u64,
    /// Megabytes that a program may use; with `--stall` 256 where it is not given.
    #[arg(long)]
    cap: Option<u64>,
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

/// How long after the last request a program may take to deliver it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one run of one program showed.
#[derive(Clone, Debug)]
struct Figures {
    name: String,
    cpu_us_per_item: f64,
    /// Of that, in the kernel.
    system_us_per_item: f64,
    peak_bytes: f64,
    wire_bytes_per_item: f64,
    items_per_post: f64,
    sent: u64,
    delivered: u64,
    /// Requests that came more than once; answers that were no success; items that were due while too much was
    /// under way.
    repeated: u64,
    retried: u64,
    left_out: u64,
}

#[derive(Clone, Copy)]
struct Case {
    work: Work,
    out: Protocol,
    outgoing: Coding,
}

/// Measures and prints.
pub fn run(binary: &FilePath, work: &Otlp) -> anyhow::Result<()> {
    let mut all = programs::on_this_machine(binary);
    if let Some(before) = &work.before {
        all.push(Program::ours("ferroalloy-before", before));
    }
    if !work.only.is_empty() {
        all.retain(|p| work.only.contains(&p.name));
    }
    for protocol in &work.protocol {
        for incoming in &work.incoming {
            for outgoing in &work.outgoing {
                for signal in &work.signal {
                    let out = work.out.unwrap_or(*protocol);
                    let of = Work {
                        signal: *signal,
                        protocol: *protocol,
                        coding: *incoming,
                        items: work.items.max(2),
                        rate: work.rate,
                    };
                    let case = Case { work: of, out, outgoing: *outgoing };
                    eprintln!(
                        "\n{signal:?}, {protocol:?} to {out:?}, {incoming:?} in, {outgoing:?} out{}{}, {} items/s{}",
                        if work.edit { ", edited" } else { "" },
                        if work.no_batch { ", no batch" } else { "" },
                        work.rate,
                        if work.stall > 0 { format!(", stalled {} s", work.stall) } else { String::new() }
                    );
                    table(&measure_all(&all, &case, work)?);
                }
            }
        }
    }
    Ok(())
}

fn measure_all(programs: &[Program], case: &Case, work: &Otlp) -> anyhow::Result<Vec<Figures>> {
    let mut all: Vec<Vec<Figures>> = vec![Vec::new(); programs.len()];
    for round in 0..work.rounds {
        let mut order: Vec<_> = (0..programs.len()).collect();
        if round % 2 == 1 {
            // A B B A: drift of the machine hits all alike.
            order.reverse();
        }
        for at in order {
            let program = &programs[at];
            if let Some(figures) = measure(program, case, work).with_context(|| program.name.clone())? {
                eprintln!("{figures:?}");
                all[at].push(figures);
            }
        }
    }
    let median = |mut runs: Vec<Figures>| {
        runs.sort_by(|a, b| a.cpu_us_per_item.total_cmp(&b.cpu_us_per_item));
        runs.get(runs.len() / 2).cloned()
    };
    Ok(all.into_iter().filter_map(median).collect())
}

/// `None` where the program cannot do the work.
fn measure(program: &Program, case: &Case, work: &Otlp) -> anyhow::Result<Option<Figures>> {
    let name = format!("ferroalloy-bench-{}-{}", program.name, std::process::id());
    let folder = std::env::temp_dir().join(name);
    let sink = Sink::start()?;
    let cap = work.cap.or((work.stall > 0).then_some(256)).map(|mib| mib << 20);
    let setup = Setup {
        folder: &folder,
        listen: free()?,
        sink: sink.address,
        protocol: case.work.protocol,
        out: case.out,
        coding: case.outgoing,
        edit: work.edit,
        batch: !work.no_batch,
        cap,
    };
    if !program.is_able(&setup) {
        return Ok(None);
    }
    std::fs::create_dir_all(&folder)?;
    let _folder = Removed(&folder);
    let mut child = Running(program.start(&setup)?);
    let start = Instant::now();
    while std::net::TcpStream::connect(setup.listen).is_err() {
        child.alive().with_context(|| log(&folder))?;
        if start.elapsed() > Duration::from_secs(30) {
            bail!("it does not listen\n{}", log(&folder));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let generator = Generator::start(setup.listen, case.work)?;
    std::thread::sleep(Duration::from_secs(work.warmup));
    let (cpu, from, wire) = (child.cpu()?, generator.sent(), sink.wire());
    if work.stall > 0 {
        sink.stall(true);
        std::thread::sleep(Duration::from_secs(work.stall));
        sink.stall(false);
    }
    std::thread::sleep(Duration::from_secs(work.seconds.saturating_sub(work.stall)));
    child.alive().with_context(|| log(&folder))?;
    let (after, to, wire_after) = (child.cpu()?, generator.sent(), sink.wire());
    let sent = generator.finish(PATIENCE);
    let deadline = Instant::now() + PATIENCE;
    let mut arrived = sink.arrived();
    while arrived.items < sent.taken && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        arrived = sink.arrived();
    }
    let (peak, _) = child.memory()?;
    let items = to.taken - from.taken;
    if items == 0 {
        bail!("nothing was taken\n{}", log(&folder));
    }
    let once = arrived.requests * case.work.items as u64;
    Ok(Some(Figures {
        name: program.name.clone(),
        cpu_us_per_item: (after.0 + after.1 - cpu.0 - cpu.1) * 1e6 / items as f64,
        system_us_per_item: (after.1 - cpu.1) * 1e6 / items as f64,
        peak_bytes: peak,
        wire_bytes_per_item: arrived.bytes as f64 / arrived.items.max(1) as f64,
        items_per_post: items as f64 / (wire_after.1 - wire.1).max(1) as f64,
        sent: sent.taken,
        // Each request once, and of each all items.
        delivered: once.min(arrived.items),
        repeated: arrived.repeated,
        retried: sent.retried,
        left_out: sent.left_out,
    }))
}

fn log(folder: &FilePath) -> String {
    let text = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    text.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// A folder that goes whatever happens.
struct Removed<'a>(&'a FilePath);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0);
    }
}

fn table(rows: &[Figures]) {
    let Some(ours) = rows.first() else { return };
    eprintln!(
        "\n| program | CPU µs/item (kernel) | ours ÷ it | peak RSS MB | ours ÷ it | bytes/item out | items/post | delivered of sent | repeated | retried | left out |"
    );
    eprintln!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for row in rows {
        let complete = if row.delivered >= row.sent { "all" } else { "**not all**" };
        eprintln!(
            "| {} | {:.3} ({:.3}) | {:.3} | {:.1} | {:.3} | {:.1} | {:.0} | {complete}: {} of {} | {} | {} | {} |",
            row.name,
            row.cpu_us_per_item,
            row.system_us_per_item,
            ours.cpu_us_per_item / row.cpu_us_per_item,
            row.peak_bytes / 1e6,
            ours.peak_bytes / row.peak_bytes,
            row.wire_bytes_per_item,
            row.items_per_post,
            row.delivered,
            row.sent,
            row.repeated,
            row.retried,
            row.left_out,
        );
    }
}
