//! Profiles: from clients of both of Pyroscope's protocols to Pyroscope, fault by fault.

mod delivery;
mod reload;
mod restart;

use std::net::SocketAddr;
use std::time::Duration;

use crate::kit::pyroscope::{Load, Pyroscope, Sent, Way};
use crate::kit::{Program, eventually, free_address, get};

/// A receiver, a step between, and a writer that does not wait long and does not give up. `write` and `endpoint` are more
/// arguments of the writer.
struct Pipeline<'a> {
    address: SocketAddr,
    pyroscopes: Vec<&'a Pyroscope>,
    /// Of an attempt. Long, so that a busy machine does not make one fail; what it delivers would come twice.
    timeout: &'a str,
    receive: &'a str,
    write: &'a str,
    endpoint: &'a str,
    more: &'a str,
}

/// Keeps the queue on disk.
const DISK: &str = "wal {\n\t\tenabled = true\n\t}";

/// Between two profiles of a client.
const PAUSE: Duration = Duration::from_millis(5);

impl<'a> Pipeline<'a> {
    fn new(pyroscope: &'a Pyroscope) -> Self {
        Self {
            address: free_address(),
            pyroscopes: vec![pyroscope],
            timeout: "20s",
            receive: "",
            write: "",
            endpoint: "",
            more: "",
        }
    }

    fn config(&self) -> String {
        let endpoint = |pyroscope: &&Pyroscope| {
            format!(
                "\tendpoint {{\n\t\turl = \"{}\"\n\t\tmin_backoff_period = \"50ms\"\n\t\tmax_backoff_period = \
                 \"200ms\"\n\t\tremote_timeout = \"{}\"\n\t\tmax_backoff_retries = 0\n\t\t{}\n\t}}\n",
                pyroscope.url(),
                self.timeout,
                self.endpoint
            )
        };
        format!(
            r#"
pyroscope.receive_http "default" {{
	forward_to = [pyroscope.relabel.default.receiver]
	{receive}
	http {{
		listen_address = "{ip}"
		listen_port    = {port}
	}}
}}

pyroscope.relabel "default" {{
	forward_to = [pyroscope.write.default.receiver]
}}

pyroscope.write "default" {{
	{write}
{endpoints}}}
{more}
"#,
            ip = self.address.ip(),
            port = self.address.port(),
            receive = self.receive,
            write = self.write,
            endpoints = self.pyroscopes.iter().map(endpoint).collect::<String>(),
            more = self.more,
        )
    }

    fn start(&self) -> Program {
        let mut program = Program::prepare(&self.config());
        self.launch(&mut program);
        program
    }

    /// Starts it, again if it ran before, and waits until it listens: the program is ready before its components have
    /// built their listeners, for all that it says.
    fn launch(&self, program: &mut Program) {
        program.launch();
        program.wait_ready();
        eventually("the receiver listens", || match std::net::TcpStream::connect(self.address) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}\n{}", program.log())),
        });
    }

    /// Sends profiles of every client; all have to be taken.
    fn send(&self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            for way in Way::ALL {
                way.send(self.address, number, 0).unwrap_or_else(|trouble| panic!("{way:?}: {trouble}"));
            }
        }
    }

    fn load(&self) -> Load {
        Load::start(self.address, 100, PAUSE)
    }
}

/// Waits until the numbers of every client are there.
fn arrive(pyroscope: &Pyroscope, way: Way, first: u64, last: u64, program: &Program) {
    eventually("every profile has arrived", || {
        let arrived = pyroscope.numbers(way.name());
        let missing: Vec<_> = (first..=last).filter(|n| !arrived.contains_key(n)).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{way:?}: {} missing of {first}..={last}: {:?}…\n{}",
                missing.len(),
                &missing[..missing.len().min(20)],
                program.log()
            )),
        }
    });
}

/// Waits until all that clients were told is taken is there, and that what is there was offered.
fn all_arrive(pyroscope: &Pyroscope, sent: &[Sent], program: &Program) {
    for Sent { way, taken, offered } in sent {
        arrive(pyroscope, *way, 1, *taken, program);
        let arrived = pyroscope.numbers(way.name());
        let beyond: Vec<_> = arrived.keys().filter(|n| **n == 0 || *n > offered).collect();
        assert!(beyond.is_empty(), "{way:?} has never sent {beyond:?}");
    }
}

/// Waits until the numbers of all clients are there, each once.
fn each_arrives_once(pyroscope: &Pyroscope, first: u64, last: u64, program: &Program) {
    for way in Way::ALL {
        arrive(pyroscope, way, first, last, program);
        let arrived = pyroscope.numbers(way.name());
        let wrong: Vec<_> =
            arrived.iter().filter(|(n, times)| !(first..=last).contains(*n) || **times > 1).collect();
        assert!(wrong.is_empty(), "{way:?}: {wrong:?}\n{}", program.log());
    }
}

/// The sum of the series of an own metric that have this in their labels.
fn counted(program: &Program, name: &str, part: &str) -> f64 {
    let Ok(page) = get(program.address, "/metrics") else { return -1.0 };
    let lines = page.body.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')) && line.contains(part)
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until a metric has at least a value.
fn counts(program: &Program, name: &str, part: &str, expected: f64) {
    eventually(&format!("{name} {part} is {expected}"), || match counted(program, name, part) {
        value if value >= expected => Ok(()),
        value => Err(format!("{value}\n{}", program.log())),
    });
}
