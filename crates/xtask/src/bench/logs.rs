//! `cargo xtask bench logs`: a file that grows at a fixed rate, through a program, to a Loki in this process.
//!
//! Every line carries a number of its own, which the sink finds again in whatever form a program sends: what is
//! delivered is known line by line, and a program that loses or repeats lines is told from one that is slow.

use std::fs::File;
use std::io::{BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use parking_lot::Mutex;

use super::Running;
use super::collectors::{self, Setup};
use super::load::head;

/// The work.
#[derive(Args, Clone)]
pub struct Logs {
    /// Bytes of a line.
    #[arg(long, value_delimiter = ',', default_values_t = [150, 512])]
    line: Vec<usize>,
    /// Megabytes a second.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 50])]
    rate: Vec<u64>,
    /// What is done to a line on its way.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Stages::None])]
    stages: Vec<Stages>,
    /// Seconds before counting begins.
    #[arg(long, default_value_t = 5)]
    warmup: u64,
    /// Seconds that are counted.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How often each program is measured, in turn.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Measure this build of the program instead of making one.
    #[arg(long)]
    pub program: Option<PathBuf>,
    /// Only these programs, by name.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// What is done to a line: fields extracted, one made a label, three relabelling rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stages {
    None,
    Json,
    Logfmt,
    Regex,
}

/// How long after the last line a program may take to deliver it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Before the number of a line, and digits of it.
const MARK: &[u8] = b"SEQ";
const DIGITS: usize = 12;
/// The generator writes so often.
const TICK: Duration = Duration::from_millis(10);

/// What one run of one program showed.
#[derive(Clone, Debug)]
struct Figures {
    name: String,
    cpu_s_per_gb: f64,
    peak_bytes: f64,
    wire_share: f64,
    offered: u64,
    delivered: u64,
    repeated: u64,
}

/// Measures and prints.
pub fn run(binary: &FilePath, work: &Logs) -> anyhow::Result<()> {
    let mut peers = collectors::on_this_machine(binary);
    if !work.only.is_empty() {
        peers.retain(|p| work.only.iter().any(|o| p.name == o));
    }
    for stages in &work.stages {
        for line in &work.line {
            for rate in &work.rate {
                let case = Case { stages: *stages, line: *line, bytes_per_second: rate * 1_000_000 };
                eprintln!("\nlines of {line} bytes, {rate} MB/s, stages: {stages:?}");
                table(&measure_all(&peers, &case, work)?);
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Case {
    stages: Stages,
    line: usize,
    bytes_per_second: u64,
}

fn measure_all(peers: &[collectors::Collector], case: &Case, work: &Logs) -> anyhow::Result<Vec<Figures>> {
    let mut all: Vec<Vec<Figures>> = vec![Vec::new(); peers.len()];
    for round in 0..work.rounds {
        let mut order: Vec<_> = (0..peers.len()).collect();
        if round % 2 == 1 {
            // A B B A: drift of the machine hits all alike.
            order.reverse();
        }
        for at in order {
            let figures = measure(&peers[at], case, work).with_context(|| peers[at].name.to_string())?;
            eprintln!("{figures:?}");
            all[at].push(figures);
        }
    }
    let median = |mut runs: Vec<Figures>| {
        runs.sort_by(|a, b| a.cpu_s_per_gb.total_cmp(&b.cpu_s_per_gb));
        runs.get(runs.len() / 2).cloned()
    };
    Ok(all.into_iter().filter_map(median).collect())
}

fn measure(peer: &collectors::Collector, case: &Case, work: &Logs) -> anyhow::Result<Figures> {
    let folder = std::env::temp_dir().join(format!("ferroalloy-bench-{}-{}", peer.name, std::process::id()));
    std::fs::create_dir_all(&folder)?;
    // Whatever happens, gigabytes of lines go.
    let _folder = Removed(&folder);
    let file = folder.join("bench.log");
    let sink = Sink::start()?;
    let generator = Generator::start(&file, case)?;
    let setup = Setup { folder: &folder, file: &file, sink: sink.address, stages: case.stages };
    let mut child = Running(peer.start(&setup)?);
    std::thread::sleep(Duration::from_secs(work.warmup));
    child.alive()?;
    let (cpu, wire, from) =
        (total(child.cpu()?), sink.counts.bytes.load(Ordering::Relaxed), generator.written());
    std::thread::sleep(Duration::from_secs(work.seconds));
    let lines = generator.stop();
    let began = Instant::now();
    while sink.delivered() < lines && began.elapsed() < PATIENCE {
        child.alive()?;
        std::thread::sleep(TICK);
    }
    let gigabytes = ((lines - from) * case.line as u64) as f64 / 1e9;
    let wire = sink.counts.bytes.load(Ordering::Relaxed) - wire;
    let (cpu, (peak_bytes, _)) = (total(child.cpu()?) - cpu, child.memory()?);
    let delivered = sink.delivered();
    if delivered == 0 {
        bail!(
            "nothing arrived; its log: {}",
            std::fs::read_to_string(folder.join("log")).unwrap_or_default()
        );
    }
    Ok(Figures {
        name: peer.name.to_string(),
        cpu_s_per_gb: cpu / gigabytes,
        peak_bytes,
        wire_share: wire as f64 / 1e9 / gigabytes,
        offered: lines,
        delivered,
        repeated: sink.counts.lines.load(Ordering::Relaxed) - delivered,
    })
}

/// Of user and kernel.
fn total((user, kernel): (f64, f64)) -> f64 {
    user + kernel
}

/// Removes a folder at the end.
struct Removed<'a>(&'a FilePath);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0);
    }
}

fn table(rows: &[Figures]) {
    let Some(ours) = rows.first() else { return };
    eprintln!(
        "\n| program | CPU s/GB | ours ÷ it | peak RSS MB | ours ÷ it | wire bytes/byte | delivered of offered | repeated |"
    );
    eprintln!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for row in rows {
        eprintln!(
            "| {} | {:.2} | {:.3} | {:.1} | {:.3} | {:.3} | {} of {} | {} |",
            row.name,
            row.cpu_s_per_gb,
            ours.cpu_s_per_gb / row.cpu_s_per_gb,
            row.peak_bytes / 1e6,
            ours.peak_bytes / row.peak_bytes,
            row.wire_share,
            row.delivered,
            row.offered,
            row.repeated,
        );
    }
}

/// Appends numbered lines to a file, at a rate, until it is stopped.
struct Generator {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<std::io::Result<()>>,
}

impl Generator {
    fn start(path: &FilePath, case: &Case) -> std::io::Result<Self> {
        let mut file = File::create(path)?;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count, case) = (stop.clone(), written.clone(), *case);
        let thread = std::thread::spawn(move || {
            let (mut page, lines) = page(&case);
            let per_second = case.bytes_per_second as f64 / case.line as f64;
            let began = Instant::now();
            let mut next = 0;
            while !stopped.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_secs_f64() * per_second) as u64;
                while next < due {
                    let now = (due - next).min(lines.len() as u64) as usize;
                    for (i, at) in lines[..now].iter().enumerate() {
                        put_number(&mut page[*at..*at + DIGITS], next + i as u64);
                    }
                    file.write_all(&page[..now * case.line])?;
                    next += now as u64;
                    count.store(next, Ordering::Relaxed);
                }
                std::thread::sleep(TICK);
            }
            Ok(())
        });
        Ok(Self { stop, written, thread })
    }

    /// Lines so far.
    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Ends; how many lines there are.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Ok(Err(error)) = self.thread.join() {
            eprintln!("the generator has failed: {error}");
        }
        self.written.load(Ordering::Relaxed)
    }
}

/// Lines rendered beforehand, and where the number of each stands.
fn page(case: &Case) -> (Vec<u8>, Vec<usize>) {
    let mut page = Vec::new();
    let mut numbers = Vec::new();
    for i in 0..2000 {
        let line = line(case.stages, case.line, i);
        let at = line.find("SEQ").expect("every line is numbered") + MARK.len();
        numbers.push(page.len() + at);
        page.extend_from_slice(line.as_bytes());
    }
    (page, numbers)
}

/// A line as a service writes it, of exactly so many bytes.
fn line(stages: Stages, bytes: usize, i: usize) -> String {
    let level = ["info", "info", "info", "warn", "debug", "error"][i % 6];
    let (id, took) = (i * 7919 % 99_991, i * 31 % 1973);
    let number = "0".repeat(DIGITS);
    let (head, tail) = match stages {
        Stages::Json => (
            format!(
                r#"{{"seq":"SEQ{number}","level":"{level}","took":{took},"path":"/api/items/{id}","msg":""#
            ),
            "\"}\n",
        ),
        Stages::None | Stages::Logfmt => {
            (format!("seq=SEQ{number} level={level} took={took} path=/api/items/{id} msg=\""), "\"\n")
        }
        Stages::Regex => (format!("SEQ{number} {level} {took} /api/items/{id} "), "\n"),
    };
    let words = ["request ", "served ", "from ", "the ", "cache ", "of ", "shard "];
    let mut text = head;
    for word in words.iter().cycle().skip(i % 7) {
        if text.len() + tail.len() >= bytes {
            break;
        }
        text.push_str(word);
        text.push_str(&(text.len() * 2_654_435_761 % 99_991).to_string());
        text.push(' ');
    }
    text.truncate(bytes - tail.len());
    text + tail
}

fn put_number(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A Loki that counts the lines that it knows by their numbers.
struct Sink {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    lines: AtomicU64,
    /// One bit a line.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    bits: Vec<u64>,
    count: u64,
}

impl Seen {
    fn note(&mut self, number: u64) {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.bits.len() {
            self.bits.resize((word + 1).next_power_of_two(), 0);
        }
        self.count += u64::from(self.bits[word] & bit == 0);
        self.bits[word] |= bit;
    }
}

impl Sink {
    fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = shared.clone();
                std::thread::spawn(move || take(stream, &counts));
            }
        });
        Ok(Self { address, counts })
    }

    /// Lines that have arrived, each once.
    fn delivered(&self) -> u64 {
        self.counts.seen.lock().count
    }
}

fn take(stream: TcpStream, counts: &Counts) {
    const OK: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let mut body = Vec::new();
    while let Some(length) = head(&mut reader) {
        body.resize(length, 0);
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        counts.bytes.fetch_add(length as u64, Ordering::Relaxed);
        count(&body, counts);
        if writer.write_all(OK).is_err() {
            return;
        }
    }
}

/// Finds the numbers in a body: a snappy block, or text as it is.
fn count(body: &[u8], counts: &Counts) {
    let message = snap::raw::Decoder::new().decompress_vec(body);
    let text = message.as_deref().unwrap_or(body);
    let mut seen = counts.seen.lock();
    let mut lines = 0;
    for at in memchr::memmem::find_iter(text, MARK) {
        let digits = text.get(at + MARK.len()..at + MARK.len() + DIGITS);
        let number = digits.and_then(|d| std::str::from_utf8(d).ok()?.parse::<u64>().ok());
        // Far above what any run writes: a line may contain the mark by itself.
        if let Some(number) = number.filter(|n| *n < 1 << 40) {
            seen.note(number);
            lines += 1;
        }
    }
    counts.lines.fetch_add(lines, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_size_and_their_number_in_every_form() {
        for stages in [Stages::None, Stages::Json, Stages::Logfmt, Stages::Regex] {
            for bytes in [150, 512] {
                let case = Case { stages, line: bytes, bytes_per_second: 1 };
                let (mut page, numbers) = page(&case);
                assert_eq!(page.len(), numbers.len() * bytes);
                for (i, at) in numbers.iter().enumerate() {
                    put_number(&mut page[*at..*at + DIGITS], 5 + i as u64);
                }
                let text = String::from_utf8(page.clone()).expect("text");
                assert!(text.lines().all(|line| line.len() == bytes - 1));
                let counts = Counts::default();
                count(&page, &counts);
                count(&snap::raw::Encoder::new().compress_vec(&page).expect("small"), &counts);
                assert_eq!(counts.seen.lock().count, numbers.len() as u64);
                assert_eq!(counts.lines.load(Ordering::Relaxed), 2 * numbers.len() as u64);
            }
        }
    }
}
