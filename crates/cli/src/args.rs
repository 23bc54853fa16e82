//! The command line: Alloy's commands and flags, same names and defaults, and a few of our own.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use component::Stability;

/// A telemetry collector that runs Grafana Alloy configuration files.
#[derive(Parser, Debug)]
#[command(name = "ferroalloy", version = crate::VERSION, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a pipeline: a file, a directory of *.alloy files, or, without a path, the built-in default
    /// (own metrics and, on Linux, host metrics, printed).
    Run(Box<RunArgs>),
    /// Format a configuration file.
    #[command(visible_alias = "format")]
    Fmt(FmtArgs),
    /// Check a configuration without running it.
    Validate(ValidateArgs),
    /// Run unit tests of pipelines: what goes in, what is to come out, without network and in no time.
    #[command(after_long_help = TEST_HELP)]
    Test(TestArgs),
    /// Make a configuration of a file of Prometheus, Promtail, the OpenTelemetry Collector or Grafana Agent.
    Convert(ConvertArgs),
    /// List the components of this program.
    Components,
    /// Print arguments, blocks, types, defaults and exports of components as JSON.
    Schema {
        /// Only this component.
        name: Option<String>,
    },
    /// Look into data and files.
    Tools {
        #[command(subcommand)]
        tool: Tool,
    },
    /// Alloy's, and not here: there is no GraphQL API.
    #[command(hide = true)]
    Gql(Elsewhere),
    /// Alloy's, and not here.
    #[command(hide = true)]
    Otel(Elsewhere),
    /// Alloy's, and not here.
    #[command(hide = true)]
    OtelSupervisor(Elsewhere),
    /// Print a shell's completion script.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Whatever a command of Alloy that is not here was given.
#[derive(Args, Debug)]
pub struct Elsewhere {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Args, Debug)]
pub struct RunArgs {
    /// Configuration file or directory.
    pub path: Option<PathBuf>,
    /// Address that the HTTP server listens on.
    #[arg(
        long = "server.http.listen-addr",
        default_value = "127.0.0.1:12345",
        env = "FERROALLOY_LISTEN_ADDR"
    )]
    pub listen: String,
    /// Address that components reach without the network.
    #[arg(long = "server.http.memory-addr", default_value = "alloy.internal:12345")]
    pub memory_address: String,
    /// Path below which the web API and UI are served.
    #[arg(long = "server.http.ui-path-prefix", default_value = "/")]
    pub ui_prefix: String,
    /// Serve /debug/pprof.
    #[arg(long = "server.http.enable-pprof", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub enable_pprof: bool,
    /// Accepted for compatibility: this version serves no support bundle.
    #[arg(long = "server.http.disable-support-bundle", default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub disable_support_bundle: bool,
    /// Folder for queues and other data.
    #[arg(long = "storage.path", default_value = "data-alloy/", env = "FERROALLOY_STORAGE_PATH")]
    pub storage: PathBuf,
    /// Reload when the configuration changes on disk.
    #[arg(long = "config.watch", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub watch: bool,
    /// How long a stopping component may take.
    #[arg(long = "feature.component-shutdown-deadline", default_value = "10m0s", value_parser = duration)]
    pub shutdown_deadline: Duration,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Accepted for compatibility: this program never reports its use.
    #[arg(long = "disable-reporting", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, default_value_t = false)]
    pub disable_reporting: bool,
    /// Accepted for compatibility: components are always wired directly.
    #[arg(long = "feature.prometheus.direct-fanout.enabled", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, default_value_t = false)]
    pub direct_fanout: bool,
    /// Deprecated in Alloy, where it has no effect any more: each component has its own argument.
    #[arg(
        long = "feature.prometheus.metric-validation-scheme",
        hide = true,
        default_value = "",
        hide_default_value = true
    )]
    pub metric_validation_scheme: String,
    /// Refused where it is on: there is no GraphQL API.
    #[arg(long = "server.http.enable-graphql", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, default_value_t = false)]
    pub graphql: bool,
    /// As `server.http.enable-graphql`.
    #[arg(long = "server.http.enable-graphql-playground", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, default_value_t = false)]
    pub graphql_playground: bool,
}

/// What `run` and `validate` share.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// Language of the configuration.
    #[arg(long = "config.format", default_value = "alloy", value_enum)]
    pub language: Language,
    /// Run what could be converted although something could not.
    #[arg(long = "config.bypass-conversion-errors", default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub bypass_errors: bool,
    /// Arguments that the program of another language was started with, separated by spaces; those that matter
    /// are used for the conversion.
    #[arg(long = "config.extra-args", default_value = "", allow_hyphen_values = true)]
    pub extra_args: String,
    /// Least stability of what may be used.
    #[arg(long = "stability.level", default_value = "generally-available", value_parser = stability)]
    pub stability: Stability,
    /// Accepted for compatibility: this version carries no community components.
    #[arg(long = "feature.community-components.enabled", default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub community: bool,
}

/// Clustering is not available; with it off, Alloy's flags have no effect there either.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    #[arg(long = "cluster.enabled", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, default_value_t = false)]
    pub enabled: bool,
    #[arg(long = "cluster.node-name", hide = true, default_value = "")]
    pub node_name: String,
    #[arg(long = "cluster.advertise-address", hide = true, default_value = "")]
    pub advertise_address: String,
    #[arg(long = "cluster.join-addresses", hide = true, default_value = "")]
    pub join_addresses: String,
    #[arg(long = "cluster.discover-peers", hide = true, default_value = "")]
    pub discover_peers: String,
    #[arg(long = "cluster.advertise-interfaces", hide = true, default_value = "eth0,en0")]
    pub advertise_interfaces: String,
    #[arg(long = "cluster.rejoin-interval", hide = true, default_value = "1m0s", value_parser = duration)]
    pub rejoin_interval: Duration,
    #[arg(long = "cluster.max-join-peers", hide = true, default_value_t = 5)]
    pub max_join_peers: u32,
    #[arg(long = "cluster.name", hide = true, default_value = "")]
    pub name: String,
    #[arg(long = "cluster.enable-tls", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, default_value_t = false)]
    pub enable_tls: bool,
    #[arg(long = "cluster.tls-ca-path", hide = true, default_value = "")]
    pub tls_ca_path: String,
    #[arg(long = "cluster.tls-cert-path", hide = true, default_value = "")]
    pub tls_cert_path: String,
    #[arg(long = "cluster.tls-key-path", hide = true, default_value = "")]
    pub tls_key_path: String,
    #[arg(long = "cluster.tls-server-name", hide = true, default_value = "")]
    pub tls_server_name: String,
    /// Deprecated in Alloy, where it has no effect any more.
    #[arg(long = "cluster.use-discovery-v1", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, default_value_t = false)]
    pub use_discovery_v1: bool,
    #[arg(long = "cluster.wait-for-size", hide = true, default_value_t = 0)]
    pub wait_for_size: u32,
    #[arg(long = "cluster.wait-timeout", hide = true, default_value = "0s", value_parser = duration)]
    pub wait_timeout: Duration,
}

#[derive(Args, Debug)]
pub struct FmtArgs {
    /// File, or `-` for standard input.
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// Write the result back to the file.
    #[arg(long, short, conflicts_with = "test")]
    pub write: bool,
    /// Exit with 1 if the file is not formatted.
    #[arg(long, short)]
    pub test: bool,
}

#[derive(Args, Debug)]
pub struct ValidateArgs {
    /// Configuration file or directory.
    pub path: PathBuf,
    /// How problems are printed.
    #[arg(long, default_value = "text", value_enum)]
    pub format: Output,
    #[command(flatten)]
    pub load: LoadArgs,
}

#[derive(Args, Debug)]
pub struct TestArgs {
    /// Test files; of a directory all *_test.yaml and test.yaml in it and below it.
    #[arg(required_unless_present = "docs")]
    pub paths: Vec<PathBuf>,
    /// Print the description of the format.
    #[arg(long)]
    pub docs: bool,
    /// Run only tests whose "FILE > NAME" matches this regular expression.
    #[arg(long, short)]
    pub run: Option<String>,
    /// How the result is written.
    #[arg(long, default_value = "text", value_enum)]
    pub format: TestFormat,
    /// Write the result into this file; the text still goes to standard output.
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Give a test up after this much real time.
    #[arg(long, default_value = "1m", value_parser = duration)]
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TestFormat {
    Text,
    Junit,
}

const TEST_HELP: &str = "\
A test file gives a configuration, inputs and claims about what the sinks receive:

  config: |
    loki.process \"app\" {
      forward_to = [loki.write.default.receiver]
      stage.drop { expression = \"debug\" }
    }
    loki.write \"default\" {
      endpoint { url = \"http://loki:3100/loki/api/v1/push\" }
    }
  inputs:
    loki:
      - components: [loki.process.app.receiver]
        lines: [\"debug: no\", \"error: yes\"]
  assert:
    loki:
      - type: exact
        items: [{ line: \"error: yes\" }]

Writers record, listeners are fed by the test, servers are answered for by it; everything else is the true
component. `ferroalloy test --docs` describes the whole format.

Exit codes: 0, all have passed; 1, a claim does not hold; 2, a test is broken or there is none.";

#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// File, or `-` for standard input.
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// Language of the file.
    #[arg(long, short = 'f', value_enum)]
    pub source_format: SourceFormat,
    /// File that the configuration is written to, instead of standard output.
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// File that problems are written to.
    #[arg(long, short)]
    pub report: Option<PathBuf>,
    /// Write what could be converted although something could not.
    #[arg(long, short)]
    pub bypass_errors: bool,
    /// Arguments that the program of the file was started with, separated by spaces; those that matter are used.
    #[arg(long, short, default_value = "", allow_hyphen_values = true)]
    pub extra_args: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SourceFormat {
    Otelcol,
    Prometheus,
    Promtail,
    Static,
}

#[cfg(feature = "convert")]
impl From<SourceFormat> for convert::Format {
    fn from(format: SourceFormat) -> Self {
        match format {
            SourceFormat::Otelcol => Self::Otelcol,
            SourceFormat::Prometheus => Self::Prometheus,
            SourceFormat::Promtail => Self::Promtail,
            SourceFormat::Static => Self::Static,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Alloy,
    Otelcol,
    Prometheus,
    Promtail,
    Static,
}

impl Language {
    /// What has to be converted first.
    pub fn foreign(self) -> Option<SourceFormat> {
        match self {
            Self::Alloy => None,
            Self::Otelcol => Some(SourceFormat::Otelcol),
            Self::Prometheus => Some(SourceFormat::Prometheus),
            Self::Promtail => Some(SourceFormat::Promtail),
            Self::Static => Some(SourceFormat::Static),
        }
    }
}

#[derive(Subcommand, Debug)]
pub enum Tool {
    /// Look into the queue of a prometheus.remote_write component.
    #[command(name = "prometheus.remote_write")]
    RemoteWrite {
        #[command(subcommand)]
        command: RemoteWriteTool,
    },
    /// Check an exposition page (a file, or `-` for standard input) against the OpenMetrics specification.
    #[command(name = "openmetrics.lint")]
    OpenMetricsLint {
        /// File, or `-` for standard input.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
}

#[derive(Subcommand, Debug)]
pub enum RemoteWriteTool {
    /// Segments, records, samples, bytes, ages, damage and the position of the sender.
    #[command(name = "wal-stats")]
    Queue {
        /// A component's queue folder: <storage>/<component id>.
        folder: PathBuf,
    },
    /// Samples by series that wait to be sent.
    #[command(name = "sample-stats")]
    Samples {
        /// A component's queue folder: <storage>/<component id>.
        folder: PathBuf,
        /// Only series that match, as `{job="a",instance=~"b.*"}`.
        #[arg(long, short, default_value = "{}")]
        selector: String,
    },
    /// Samples by metric name of one target.
    #[command(name = "target-stats")]
    Target {
        /// A component's queue folder: <storage>/<component id>.
        folder: PathBuf,
        /// Value of the target's job label.
        #[arg(long, short)]
        job: String,
        /// Value of the target's instance label.
        #[arg(long, short)]
        instance: String,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    let nanoseconds = eval::parse_duration(text)?;
    u64::try_from(nanoseconds)
        .map(Duration::from_nanos)
        .map_err(|_| "a duration cannot be negative here".into())
}

fn stability(text: &str) -> Result<Stability, String> {
    [Stability::Experimental, Stability::PublicPreview, Stability::GenerallyAvailable]
        .into_iter()
        .find(|s| s.as_str() == text)
        .ok_or_else(|| "use experimental, public-preview or generally-available".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn switches_take_a_value_behind_an_equals_sign() {
        let cli =
            Cli::parse_from(["ferroalloy", "run", "a.alloy", "--config.watch=false", "--cluster.enabled"]);
        let Command::Run(run) = cli.command else { panic!("run") };
        assert!(!run.watch && run.cluster.enabled && run.enable_pprof);
        assert_eq!(run.shutdown_deadline, Duration::from_secs(600));
    }

    #[test]
    fn every_flag_that_alloy_takes_on_linux_is_taken() {
        let flags = [
            "--server.http.listen-addr=127.0.0.1:1",
            "--server.http.memory-addr=a:1",
            "--server.http.ui-path-prefix=/",
            "--server.http.enable-pprof=true",
            "--server.http.disable-support-bundle",
            "--server.http.enable-graphql=false",
            "--server.http.enable-graphql-playground=false",
            "--cluster.enabled=false",
            "--cluster.node-name=a",
            "--cluster.advertise-address=a:1",
            "--cluster.join-addresses=a,b",
            "--cluster.discover-peers=x",
            "--cluster.advertise-interfaces=eth0",
            "--cluster.rejoin-interval=1m0s",
            "--cluster.max-join-peers=5",
            "--cluster.name=a",
            "--cluster.enable-tls",
            "--cluster.tls-ca-path=a",
            "--cluster.tls-cert-path=a",
            "--cluster.tls-key-path=a",
            "--cluster.tls-server-name=a",
            "--cluster.wait-for-size=1",
            "--cluster.wait-timeout=0s",
            "--cluster.use-discovery-v1",
            "--config.format=alloy",
            "--config.bypass-conversion-errors",
            "--config.extra-args=",
            "--disable-reporting",
            "--storage.path=a",
            "--stability.level=experimental",
            "--feature.community-components.enabled",
            "--feature.component-shutdown-deadline=10m0s",
            "--feature.prometheus.direct-fanout.enabled",
            "--feature.prometheus.metric-validation-scheme=utf8",
        ];
        let line = ["ferroalloy", "run", "a.alloy"].into_iter().chain(flags);
        let cli = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{error}"));
        let Command::Run(run) = cli.command else { panic!("run") };
        assert!(!run.graphql && !run.graphql_playground && run.cluster.enable_tls);
    }

    #[test]
    fn extra_arguments_may_begin_with_a_hyphen() {
        let line =
            ["ferroalloy", "convert", "-f", "promtail", "-b", "-e", "-config.expand-env=true", "a.yml"];
        let Command::Convert(convert) = Cli::parse_from(line).command else { panic!("convert") };
        assert_eq!(convert.extra_args, "-config.expand-env=true");
        assert!(convert.bypass_errors && convert.source_format == SourceFormat::Promtail);
        assert!(Cli::try_parse_from(["ferroalloy", "convert", "a.yml"]).is_err());
    }
}
