//! OTLP: from clients of both protocols, and from OpenTelemetry's own SDKs, to a back end, fault by fault.

mod answers;
mod delivery;
mod faults;
mod http2;
mod own;
mod reload;
mod restart;
mod sdk;

use std::net::SocketAddr;

use crate::kit::otlp::{Backend, Client, Kind, Outcome, Sent, request, runtime};
use crate::kit::{Program, eventually, free_address, get};

/// By which exporter data goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    Http,
    Grpc,
}

impl Out {
    const ALL: [Self; 2] = [Self::Http, Self::Grpc];

    /// The component.
    fn exporter(self) -> &'static str {
        match self {
            Self::Http => "otelcol.exporter.otlphttp",
            Self::Grpc => "otelcol.exporter.otlp",
        }
    }

    /// The block, and what belongs to it outside of it.
    fn client(self, backend: &Backend, timeout: &str, more: &str) -> String {
        let address = backend.address;
        match self {
            Self::Http => format!(
                "client {{\n\t\tendpoint = \"http://{address}\"\n\t\ttimeout  = \"{timeout}\"\n\t\t{more}\n\t}}"
            ),
            Self::Grpc => format!(
                "timeout = \"{timeout}\"\n\tclient {{\n\t\tendpoint = \"{address}\"\n\t\ttls {{\n\t\t\tinsecure = true\n\t\t}}\n\t\t\
                 {more}\n\t}}"
            ),
        }
    }
}

/// A receiver of both protocols, what is between, and an exporter a back end that does not give up.
#[derive(Clone)]
struct Pipeline<'a> {
    grpc: SocketAddr,
    http: SocketAddr,
    out: Out,
    backends: Vec<&'a Backend>,
    /// More arguments of the blocks of the receiver.
    in_grpc: String,
    in_http: String,
    /// Processors between: component, its arguments; each hands on to the next.
    between: Vec<(&'static str, String)>,
    /// Of an attempt. Long, so that a busy machine does not make one fail; what it delivers would come twice.
    timeout: &'static str,
    /// More arguments of the exporters' `client`, `sending_queue`, `retry_on_failure`.
    client: String,
    queue: String,
    retry: String,
    more: String,
}

/// Keeps the exporters' queues on disk.
const DISK: &str = "storage = otelcol.storage.file.default.handler";
const STORAGE: &str = "otelcol.storage.file \"default\" { }";

impl<'a> Pipeline<'a> {
    fn new(backend: &'a Backend) -> Self {
        Self {
            grpc: free_address(),
            http: free_address(),
            out: Out::Http,
            backends: vec![backend],
            in_grpc: String::new(),
            in_http: String::new(),
            between: Vec::new(),
            timeout: "20s",
            client: String::new(),
            queue: String::new(),
            retry: "max_elapsed_time = \"0s\"".into(),
            more: String::new(),
        }
    }

    /// With the queue on disk.
    fn on_disk(self) -> Self {
        Self { queue: DISK.into(), more: STORAGE.into(), ..self }
    }

    fn through(self, component: &'static str, arguments: &str) -> Self {
        let mut between = self.between;
        between.push((component, arguments.into()));
        Self { between, ..self }
    }

    fn config(&self) -> String {
        let Self { grpc, http, in_grpc, in_http, client, queue, retry, more, .. } = self;
        let output = |to: &str| {
            format!("output {{\n\t\ttraces  = [{to}]\n\t\tmetrics = [{to}]\n\t\tlogs    = [{to}]\n\t}}")
        };
        let exporter = self.out.exporter();
        let last: Vec<_> =
            (0..self.backends.len()).map(|i| format!("{exporter}.backend_{i}.input")).collect();
        let mut to = last.join(", ");
        let mut text = String::new();
        for (i, (component, arguments)) in self.between.iter().enumerate().rev() {
            text += &format!("{component} \"step_{i}\" {{\n\t{arguments}\n\t{}\n}}\n", output(&to));
            to = format!("{component}.step_{i}.input");
        }
        for (i, backend) in self.backends.iter().enumerate() {
            let client = self.out.client(backend, self.timeout, client);
            text += &format!(
                "{exporter} \"backend_{i}\" {{\n\t{client}\n\tsending_queue {{\n\t\t{queue}\n\t}}\n\tretry_on_failure {{\n\t\t\
                 initial_interval = \"50ms\"\n\t\tmax_interval = \"200ms\"\n\t\t{retry}\n\t}}\n}}\n"
            );
        }
        format!(
            "otelcol.receiver.otlp \"default\" {{\n\tgrpc {{\n\t\tendpoint = \"{grpc}\"\n\t\t{in_grpc}\n\t}}\n\thttp {{\n\t\t\
             endpoint = \"{http}\"\n\t\t{in_http}\n\t}}\n\t{}\n}}\n{text}{more}\n",
            output(&to)
        )
    }

    /// The program; nothing runs yet.
    fn prepare(&self) -> Program {
        let mut program = Program::prepare(&self.config());
        // The queue on disk is not generally available.
        program.allow_preview();
        program
    }

    fn start(&self) -> Program {
        let mut program = self.prepare();
        self.launch(&mut program);
        program
    }

    /// Starts it, again if it ran before, and waits until it listens.
    fn launch(&self, program: &mut Program) {
        program.launch();
        program.wait_ready();
        self.wait_listening(program);
    }

    /// The program is ready before its components have built their listeners, for all that it says.
    fn wait_listening(&self, program: &Program) {
        for address in [self.grpc, self.http] {
            eventually("the receiver listens", || match std::net::TcpStream::connect(address) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{address}: {error}\n{}", program.log())),
            });
        }
    }

    fn client(&self, grpc: bool) -> Client {
        if grpc { Client::grpc(self.grpc) } else { Client::http(self.http) }
    }

    /// Sends one request of each signal by each protocol, with numbers from 1 on; all have to be taken. The clients
    /// are `grpc` and `http`.
    fn send_all(&self, items: u64) {
        self.send_range(1..items + 1);
    }

    fn send_range(&self, numbers: std::ops::Range<u64>) {
        for (grpc, name) in [(true, "grpc"), (false, "http")] {
            let mut client = self.client(grpc);
            for kind in Kind::ALL {
                let outcome = runtime().block_on(client.send(kind, &request(kind, name, numbers.clone(), 0)));
                assert_eq!(outcome, Outcome::Taken, "{kind:?} over {name}");
            }
        }
    }
}

/// Waits until all that was taken is there, and that what is there was offered.
fn all_arrive(backend: &Backend, sent: &Sent, program: &Program) {
    for client in &sent.clients {
        arrives(backend, client.kind, &client.name, 1, client.taken, program);
        let arrived = backend.numbers(client.kind, &client.name);
        let beyond: Vec<_> = arrived.keys().filter(|n| **n > client.offered || **n == 0).collect();
        assert!(beyond.is_empty(), "{client:?} has never sent {beyond:?}");
    }
}

/// Waits until the numbers of a client are there.
fn arrives(backend: &Backend, kind: Kind, client: &str, first: u64, last: u64, program: &Program) {
    eventually("everything has arrived", || {
        let arrived = backend.numbers(kind, client);
        let missing: Vec<_> = (first..=last).filter(|n| !arrived.contains_key(n)).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{kind:?} of {client}: {} missing of {first}..={last}: {:?}…\n{}",
                missing.len(),
                &missing[..missing.len().min(20)],
                program.log()
            )),
        }
    });
}

/// As [`arrives`], for all signals of the clients of [`Pipeline::send_range`]; each item once.
fn each_arrives_once(backend: &Backend, first: u64, last: u64, program: &Program) {
    for client in ["grpc", "http"] {
        for kind in Kind::ALL {
            arrives(backend, kind, client, first, last, program);
            let arrived = backend.numbers(kind, client);
            let wrong: Vec<_> = arrived
                .iter()
                .filter(|(n, times)| !(first..=last).contains(*n) || **times != 1)
                .take(5)
                .collect();
            assert!(wrong.is_empty(), "{kind:?} of {client}: {wrong:?}\n{}", program.log());
        }
    }
}

/// The sum of the series of an own metric that have all these parts in their labels.
fn counted(program: &Program, name: &str, parts: &[&str]) -> f64 {
    let Ok(page) = get(program.address, "/metrics") else { return -1.0 };
    let lines = page.body.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && parts.iter().all(|part| line.contains(part))
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until a metric has a value.
fn counts(program: &Program, name: &str, parts: &[&str], expected: f64) {
    eventually(&format!("{name} {parts:?} is {expected}"), || match counted(program, name, parts) {
        value if value == expected => Ok(()),
        value => Err(format!("{value}\n{}", program.log())),
    });
}
