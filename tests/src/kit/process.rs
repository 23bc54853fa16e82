//! The program under test and peers, as child processes that never outlive their test.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::http::{Answer, get, post};
use super::{PATIENCE, SmallDisk, eventually};

/// An address of loopback that nobody listens at, each call another. Its port lies below those that the system gives to
/// connections and to listeners that leave the choice to it, so that no other test takes it before it is used.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id().wrapping_mul(97).wrapping_add(next) % 20_000) as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

/// The program with a configuration and a storage folder of its own.
pub struct Program {
    child: Option<Child>,
    folder: tempfile::TempDir,
    storage: PathBuf,
    /// What the storage is on, if not on the disk that all is on.
    disk: Option<SmallDisk>,
    /// Of every launch.
    flags: Vec<&'static str>,
    environment: Vec<(&'static str, String)>,
    /// Where the configuration is, if not in the folder.
    elsewhere: Option<PathBuf>,
    pub address: SocketAddr,
}

impl Program {
    /// Starts it and waits until it is ready.
    pub fn start(config: &str) -> Self {
        let mut program = Self::prepare(config);
        program.launch();
        program.wait_ready();
        program
    }

    /// A folder with the configuration; nothing runs yet.
    pub fn prepare(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("config.alloy"), config).expect("the configuration is written");
        let storage = folder.path().join("data");
        let (flags, environment) = (Vec::new(), Vec::new());
        let (disk, elsewhere) = (None, None);
        Self { child: None, folder, storage, disk, flags, environment, elsewhere, address: free_address() }
    }

    /// As [`Program::prepare`], with a configuration that stays where it is.
    pub fn prepare_file(path: &Path) -> Self {
        let mut program = Self::prepare("");
        program.elsewhere = Some(path.to_path_buf());
        program
    }

    /// Where the configuration is.
    pub fn config_path(&self) -> PathBuf {
        self.elsewhere.clone().unwrap_or_else(|| self.folder.path().join("config.alloy"))
    }

    /// Sets a variable of the environment of every launch.
    pub fn set_env(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    /// The storage path.
    pub fn storage(&self) -> PathBuf {
        self.storage.clone()
    }

    /// Has it store on a disk of its own, which begins and ends with each launch.
    pub fn store_on(&mut self, disk: SmallDisk) {
        self.storage = disk.path().to_path_buf();
        self.disk = Some(disk);
    }

    /// Permits components that are not generally available yet.
    pub fn allow_preview(&mut self) {
        self.flags.push("--stability.level=public-preview");
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let pid = self.child.as_ref().expect("running").id();
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).expect("running");
        let pages: u64 = statm.split(' ').nth(1).and_then(|p| p.parse().ok()).expect("a number of pages");
        pages * rustix::param::page_size() as u64
    }

    /// The most that it ever had resident (VmHWM), in bytes.
    pub fn peak(&self) -> u64 {
        let pid = self.child.as_ref().expect("running").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("as proc(5)");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("kilobytes") * 1024
    }

    /// By how much its peak has risen since it was `before`. The kernel counts with each processor for itself: a peak may be
    /// told as a little less than before.
    pub fn grown(&self, before: u64) -> u64 {
        self.peak().saturating_sub(before)
    }

    /// How long its threads have waited for a processor that others had.
    pub fn kept_waiting(&self) -> Duration {
        kept_waiting(self.child.as_ref().expect("running").id())
    }

    /// Everything that the program has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts the program, again if it ran before.
    pub fn launch(&mut self) {
        self.launch_with(&[]);
    }

    /// As [`Program::launch`], with more flags.
    pub fn launch_with(&mut self, flags: &[&str]) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.expect("a log file");
        let program = binary();
        let mut command =
            self.disk.as_ref().map_or_else(|| Command::new(&program), |disk| disk.command(&program));
        let child = command
            .arg("run")
            .arg(format!("--server.http.listen-addr={}", self.address))
            .arg(format!("--storage.path={}", self.storage().display()))
            .args(&self.flags)
            .args(flags)
            .arg(self.config_path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("the program starts");
        self.child = Some(child);
    }

    pub fn wait_ready(&mut self) {
        eventually("the program is ready", || {
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                panic!("the program ended with {status}:\n{}", self.log());
            }
            match get(self.address, "/-/ready") {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}\n{}", self.log())),
            }
        });
    }

    /// Replaces the configuration as an editor does: a new file renamed over the old one.
    pub fn write_config(&self, config: &str) {
        let next = self.folder.path().join("config.alloy.next");
        fs::write(&next, config).expect("written");
        fs::rename(next, self.config_path()).expect("renamed");
    }

    /// Replaces the configuration and asks for a reload.
    pub fn reload(&self, config: &str) -> Answer {
        self.write_config(config);
        post(self.address, "/-/reload").expect("the program answers")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().expect("running").id();
        kill_process(Pid::from_raw(pid as i32).expect("a process"), signal).expect("signalled");
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let status = self.child.take().expect("running").wait().expect("waited");
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("running");
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("waited") {
                return status;
            }
            if start.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("the program did not end:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// One of its own metrics: the sum over all series of that name.
    pub fn metric(&self, name: &str) -> f64 {
        let Ok(page) = get(self.address, "/metrics") else { return 0.0 };
        page.body.lines().filter_map(|line| series_value(line, name)).sum()
    }
}

fn series_value(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    if !rest.starts_with('{') && !rest.starts_with(' ') {
        return None;
    }
    rest.rsplit(' ').next()?.parse().ok()
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the program\n{}", self.log());
        }
    }
}

/// How long the threads of a process have been ready to run while the machine ran others: the second number of each
/// thread's `schedstat`. A promise about time is one about what the program does with it, so a bound that is measured
/// by the clock is moved by this. It is no excuse for a program that sleeps, waits for a timer or is busy. Threads that
/// waited at the same time are all counted: on a crowded machine that is lenient.
pub fn kept_waiting(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let waited = |thread: fs::DirEntry| -> Option<u64> {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').nth(1)?.parse().ok()
    };
    Duration::from_nanos(threads.filter_map(waited).sum())
}

/// The program that `cargo build -p cli` made; the tests' own profile tells which.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("FERROALLOY_BINARY") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test runs from a file");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let path = profile.join("ferroalloy");
    assert!(path.exists(), "{} is not there: run `cargo build -p cli` first", path.display());
    path
}

/// Another program from the distribution.
pub struct Peer {
    child: Child,
    pub address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Peer {
    /// Starts `command` with `arguments` of its address and folder and waits until it answers at `ready`.
    pub fn start(command: &str, ready: &str, arguments: impl Fn(SocketAddr, &Path) -> Vec<String>) -> Self {
        let peer = Self::launch(command, arguments);
        eventually(&format!("{command} is ready"), || match get(peer.address, ready) {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        peer
    }

    /// As [`Peer::start`], for what speaks no HTTP: the caller knows when it is ready.
    pub fn launch(command: &str, arguments: impl Fn(SocketAddr, &Path) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        let child = Command::new(command)
            .args(arguments(address, folder.path()))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{command}: {e}: install it, as .ci/run does"));
        Self { child, address, folder }
    }

    /// Where it runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a process");
        kill_process(pid, Signal::TERM).expect("signalled");
        eventually("the peer has ended", || self.child.try_wait().expect("waited").ok_or_else(String::new))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
