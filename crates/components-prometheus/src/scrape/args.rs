//! What a `prometheus.scrape` block may say, and what it means together.

use std::collections::BTreeMap;
use std::time::Duration;

use component::eval::{Invalid, Size};
use component::{ArgEnum, Arguments, Receiver, Target};
use net::args::HttpClientArgs;
use signal::{Escaping, NameScheme, Samples};
use wire::exposition::ScrapeProtocol;

/// `prometheus.scrape`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// What to scrape.
    pub targets: Vec<Target>,
    /// Where samples go.
    pub forward_to: Vec<Receiver<Samples>>,
    /// The `job` label of targets that bring none; the component's ID where it is empty.
    #[arg(default)]
    pub job_name: String,
    /// Keeps scraped labels that a target label has the name of, instead of renaming them `exported_…`.
    #[arg(default)]
    pub honor_labels: bool,
    /// Takes the times that a page states; otherwise the time of the scrape.
    #[arg(default = true)]
    pub honor_timestamps: bool,
    /// Marks series as stale also if the page states their times.
    #[arg(default)]
    pub track_timestamps_staleness: bool,
    /// URL parameters.
    #[arg(default)]
    pub params: BTreeMap<String, Vec<String>>,
    /// Keeps the classic series of histograms beside native ones.
    #[arg(default)]
    pub scrape_classic_histograms: bool,
    /// Takes native histograms; asks for protobuf first where `scrape_protocols` is at its default.
    #[arg(default)]
    pub scrape_native_histograms: bool,
    /// File to which failed scrapes are appended as lines of JSON.
    #[arg(default)]
    pub scrape_failure_log_file: String,
    /// Time between scrapes.
    #[arg(default = Duration::from_secs(60))]
    pub scrape_interval: Duration,
    /// How long one scrape may take; at most the interval. The default shrinks with the interval.
    #[arg(default = DEFAULT_TIMEOUT)]
    pub scrape_timeout: Duration,
    /// Formats to ask for, most wanted first.
    #[arg(default = Protocol::DEFAULT.to_vec())]
    pub scrape_protocols: Vec<Protocol>,
    /// Path of the page.
    #[arg(default = "/metrics".to_string())]
    pub metrics_path: String,
    /// `http` or `https`.
    #[arg(default = "http".to_string())]
    pub scheme: String,
    /// Largest page, after decompression. 0 stands for 256 MiB.
    #[arg(default)]
    pub body_size_limit: Size,
    /// Most samples a page; a page with more fails. 0 for no limit.
    #[arg(default)]
    pub sample_limit: u64,
    /// Most targets; with more every scrape fails. 0 for no limit.
    #[arg(default)]
    pub target_limit: u64,
    /// Most labels a series; a page with more fails. 0 for no limit.
    #[arg(default)]
    pub label_limit: u64,
    /// Longest label name in bytes; a page with longer ones fails. 0 for no limit.
    #[arg(default)]
    pub label_name_length_limit: u64,
    /// Longest label value in bytes; a page with longer ones fails. 0 for no limit.
    #[arg(default)]
    pub label_value_length_limit: u64,
    /// How to connect and authenticate.
    #[arg(squash, default = HttpClientArgs::default())]
    pub client: HttpClientArgs,
    /// Adds series about timeout, sample limit and page size.
    #[arg(default)]
    pub extra_metrics: bool,
    /// Old way to take native histograms: use `scrape_native_histograms`.
    #[arg(default)]
    pub enable_protobuf_negotiation: bool,
    /// Which names are valid; a page with others fails.
    #[arg(default)]
    pub metric_name_validation_scheme: Validation,
    /// How targets should escape names; `allow-utf-8` where UTF-8 names are valid, else `underscores`.
    #[arg(code_type = "string")]
    pub metric_name_escaping_scheme: Option<EscapingScheme>,
    /// Format of pages whose `Content-Type` is missing or unknown.
    #[arg(default = Protocol::PrometheusText0_0_4)]
    pub scrape_fallback_protocol: Protocol,
    /// Turns classic histograms into native ones with custom buckets.
    #[arg(default)]
    pub convert_classic_histograms_to_nhcb: bool,
    /// Asks for compressed pages.
    #[arg(default = true)]
    pub enable_compression: bool,
    /// Most buckets of a native histogram: its resolution is lowered to fit. A page with one that cannot be
    /// made to fit fails. 0 for no limit.
    #[arg(default)]
    pub native_histogram_bucket_limit: u64,
    /// Lowers the resolution of native histograms until buckets grow by at least this factor.
    #[arg(default)]
    pub native_histogram_min_bucket_factor: f64,
    /// Passes type, help and unit of metrics on.
    #[arg(default)]
    pub honor_metadata: bool,
    /// Gives series the labels `__type__` and `__unit__`.
    #[arg(default)]
    pub enable_type_and_unit_labels: bool,
    /// Sends a zero at the time at which a counter says that it started.
    #[arg(default)]
    pub start_timestamp_zero_ingestion: bool,
    /// Sharing of targets between the members of a cluster. Without a cluster all targets are scraped here.
    #[arg(
        block,
        default = Clustering { enabled: false },
        no_effect = "there is no clustering, so that all targets are scraped here; where several programs share \
                     targets, have discovery.relabel keep a part for each with hashmod"
    )]
    pub clustering: Clustering,
}

/// `clustering`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Clustering {
    /// Whether targets are shared.
    pub enabled: bool,
}

/// Formats of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Protocol {
    /// Protocol Buffers, the only one with native histograms.
    #[arg(name = "PrometheusProto")]
    PrometheusProto,
    /// Prometheus text.
    #[arg(name = "PrometheusText0.0.4")]
    PrometheusText0_0_4,
    /// Prometheus text with UTF-8 names.
    #[arg(name = "PrometheusText1.0.0")]
    PrometheusText1_0_0,
    /// OpenMetrics.
    #[arg(name = "OpenMetricsText0.0.1")]
    OpenMetricsText0_0_1,
    /// OpenMetrics.
    #[arg(name = "OpenMetricsText1.0.0")]
    OpenMetricsText1_0_0,
}

impl Protocol {
    /// The default order, as Prometheus'.
    pub const DEFAULT: [Self; 4] = [
        Self::OpenMetricsText1_0_0,
        Self::OpenMetricsText0_0_1,
        Self::PrometheusText1_0_0,
        Self::PrometheusText0_0_4,
    ];

    pub(super) fn wire(self) -> ScrapeProtocol {
        match self {
            Self::PrometheusProto => ScrapeProtocol::PrometheusProto,
            Self::PrometheusText0_0_4 => ScrapeProtocol::PrometheusText0_0_4,
            Self::PrometheusText1_0_0 => ScrapeProtocol::PrometheusText1_0_0,
            Self::OpenMetricsText0_0_1 => ScrapeProtocol::OpenMetricsText0_0_1,
            Self::OpenMetricsText1_0_0 => ScrapeProtocol::OpenMetricsText1_0_0,
        }
    }
}

/// Which names are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum Validation {
    /// ASCII letters, digits, `_` and `:`.
    #[default]
    Legacy,
    /// Any text.
    Utf8,
}

impl Validation {
    pub(super) fn scheme(self) -> NameScheme {
        match self {
            Self::Legacy => NameScheme::Legacy,
            Self::Utf8 => NameScheme::Utf8,
        }
    }
}

/// How names are escaped that the reader may not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum EscapingScheme {
    /// Not at all.
    #[arg(name = "allow-utf-8")]
    AllowUtf8,
    /// Foreign characters become `_`.
    Underscores,
    /// `.` becomes `_dot_`.
    Dots,
    /// Foreign characters become their numbers.
    Values,
}

/// As Prometheus, which shortens its default for scrapes that are more frequent.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

impl Args {
    /// How long one scrape may take.
    pub(super) fn timeout(&self) -> Duration {
        self.scrape_timeout.min(self.scrape_interval)
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.client.validate()?;
        if self.scrape_interval.is_zero() {
            return Err(Invalid::field("scrape_interval", "scrape_interval must be longer than 0"));
        }
        if self.scrape_timeout.is_zero() {
            return Err(Invalid::field("scrape_timeout", "scrape_timeout must be longer than 0"));
        }
        if self.scrape_timeout > self.scrape_interval && self.scrape_timeout != DEFAULT_TIMEOUT {
            let message = format!(
                "scrape_timeout ({:?}) is longer than scrape_interval ({:?})",
                self.scrape_timeout, self.scrape_interval
            );
            return Err(
                Invalid::field("scrape_timeout", message).with_help("shorten it, or scrape less often")
            );
        }
        if !matches!(self.scheme.as_str(), "" | "http" | "https") {
            return Err(Invalid::field(
                "scheme",
                format!("scheme {:?} is neither http nor https", self.scheme),
            ));
        }
        self.validate_protocols()?;
        if self.escaping() == Escaping::AllowUtf8 && self.metric_name_validation_scheme == Validation::Legacy
        {
            let message = "allow-utf-8 lets targets send names that the legacy scheme refuses";
            return Err(Invalid::field("metric_name_escaping_scheme", message)
                .with_help("set metric_name_validation_scheme = \"utf8\", or choose another escaping"));
        }
        let factor = self.native_histogram_min_bucket_factor;
        if !factor.is_finite() || factor < 0.0 {
            return Err(Invalid::field(
                "native_histogram_min_bucket_factor",
                "must be 0 or a positive number",
            ));
        }
        Ok(())
    }

    fn validate_protocols(&self) -> Result<(), Invalid> {
        let protocols = &self.scrape_protocols;
        if protocols.is_empty() {
            return Err(Invalid::field(
                "scrape_protocols",
                "scrape_protocols must name at least one protocol",
            ));
        }
        if let Some(twice) = protocols.iter().enumerate().find(|(i, p)| protocols[..*i].contains(p)) {
            let message = format!("{} is listed twice", twice.1.as_str());
            return Err(Invalid::field("scrape_protocols", message));
        }
        if self.enable_protobuf_negotiation && self.custom_protocols() {
            let message = "enable_protobuf_negotiation and scrape_protocols exclude each other";
            return Err(Invalid::field("enable_protobuf_negotiation", message)
                .with_help("remove it and list PrometheusProto first in scrape_protocols"));
        }
        if self.native_histograms()
            && self.custom_protocols()
            && !protocols.contains(&Protocol::PrometheusProto)
        {
            let message =
                "native histograms come only with PrometheusProto, which is not in scrape_protocols";
            return Err(Invalid::field("scrape_native_histograms", message).with_help("add it as the first"));
        }
        Ok(())
    }

    fn custom_protocols(&self) -> bool {
        self.scrape_protocols != Protocol::DEFAULT
    }

    /// Whether native histograms are taken.
    pub(super) fn native_histograms(&self) -> bool {
        self.scrape_native_histograms || self.enable_protobuf_negotiation
    }

    /// The protocols to ask for.
    pub(super) fn protocols(&self) -> Vec<ScrapeProtocol> {
        if self.native_histograms() && !self.custom_protocols() {
            return ScrapeProtocol::PROTO_FIRST.to_vec();
        }
        self.scrape_protocols.iter().map(|p| p.wire()).collect()
    }

    /// The escaping to ask for.
    pub(super) fn escaping(&self) -> Escaping {
        match (self.metric_name_escaping_scheme, self.metric_name_validation_scheme) {
            (Some(EscapingScheme::AllowUtf8), _) | (None, Validation::Utf8) => Escaping::AllowUtf8,
            (Some(EscapingScheme::Underscores), _) | (None, Validation::Legacy) => Escaping::Underscores,
            (Some(EscapingScheme::Dots), _) => Escaping::Dots,
            (Some(EscapingScheme::Values), _) => Escaping::Values,
        }
    }
}
