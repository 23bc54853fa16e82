//! What a `faro.receiver` block may say.

use std::collections::BTreeMap;
use std::time::Duration;

use component::eval::{Invalid, Secret, Size};
use component::otel::OtelInput;
use component::{ArgEnum, Arguments, Receiver};
use signal::Logs;

use super::sourcemaps::PathTemplate;

/// Bytes of a payload where the argument is 0.
const UNLIMITED: usize = 64 << 20;

/// `faro.receiver`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Labels of log lines. One without a value gets that of the line's field of the same name, if there is one.
    #[arg(default)]
    pub extra_log_labels: BTreeMap<String, String>,
    /// How log lines are written.
    #[arg(default = LogFormat::Logfmt, code_type = "string(LogFormat)")]
    pub log_format: LogFormat,
    /// The server.
    #[arg(block, default = Server::usual())]
    pub server: Server,
    /// Finds the places in the source that stack traces mean.
    #[arg(block, default = SourceMaps::usual())]
    pub sourcemaps: SourceMaps,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
}

/// `log_format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum LogFormat {
    /// `name=value`.
    #[arg(default)]
    Logfmt,
    /// A JSON object.
    Json,
}

/// `server`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Server {
    /// Address to listen on.
    #[arg(default = "127.0.0.1".to_string())]
    pub listen_address: String,
    /// Port to listen on.
    #[arg(default = 12347)]
    pub listen_port: i64,
    /// Origins of pages that may send; each may have one `*`. Without any, no page of another origin may.
    #[arg(default)]
    pub cors_allowed_origins: Vec<String>,
    /// What clients have to send in `X-API-Key`; nothing where it is empty.
    #[arg(default)]
    pub api_key: Secret,
    /// Largest payload, both as it is sent and decompressed; 0 means 64MiB.
    #[arg(default = Size::mib(5))]
    pub max_allowed_payload_size: Size,
    /// Notes the headers of requests for the components that take traces.
    #[arg(default)]
    pub include_metadata: bool,
    /// How many requests are taken.
    #[arg(block, default = RateLimiting::usual())]
    pub rate_limiting: RateLimiting,
}

/// `rate_limiting`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct RateLimiting {
    /// Whether there is a limit.
    #[arg(default = true)]
    pub enabled: bool,
    /// One limit for all, or one for each app and environment.
    #[arg(default = Strategy::Global, code_type = "string(RateLimitingStrategy)")]
    pub strategy: Strategy,
    /// Requests a second.
    #[arg(default = 50.0)]
    pub rate: f64,
    /// Requests at one time.
    #[arg(default = 100.0)]
    pub burst_size: f64,
}

/// `strategy`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Strategy {
    /// One limit for all requests.
    #[arg(default)]
    Global,
    /// One for each app and environment, as payloads name them.
    PerApp,
}

/// `sourcemaps`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SourceMaps {
    /// Whether source maps are downloaded from where the code is.
    #[arg(default = true)]
    pub download: bool,
    /// Beginnings of URLs that may be downloaded from; `*` stands for anything, `?` for one character.
    #[arg(default = vec!["*".to_string()])]
    pub download_from_origins: Vec<String>,
    /// How long a download may take; 0 means 30 seconds.
    #[arg(default = Duration::from_secs(1))]
    pub download_timeout: Duration,
    /// How long source maps are remembered.
    #[arg(block)]
    pub cache: Option<Cache>,
    /// Where source maps are on disk; looked at in order, before anything is downloaded.
    #[arg(block, default)]
    pub location: Vec<Location>,
}

/// `cache`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Cache {
    /// How long a source map is kept that nobody needs; 0 means until there is no room.
    #[arg(default)]
    pub ttl: Duration,
    /// How long it is remembered that a source map cannot be had.
    #[arg(default = Duration::from_secs(3600))]
    pub error_cleanup_interval: Duration,
    /// How often the two above are looked after.
    #[arg(default = Duration::from_secs(30))]
    pub cleanup_check_interval: Duration,
}

/// `location`
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Location {
    /// Folder; `{{ .Release }}` in it stands for the release of the app.
    pub path: String,
    /// Beginning of the URLs whose files are in that folder.
    pub minified_path_prefix: String,
}

/// `output`
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Output {
    /// Consumers of log lines.
    #[arg(default)]
    pub logs: Vec<Receiver<Logs>>,
    /// Consumers of traces.
    #[arg(default)]
    pub traces: Vec<OtelInput>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let named = |name: &str| {
            let mut chars = name.chars();
            chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match self.extra_log_labels.keys().find(|name| !named(name)) {
            None => Ok(()),
            Some(bad) => {
                let message = format!("{bad:?} is not the name of a label");
                Err(Invalid::field("extra_log_labels", message)
                    .with_help("use letters, digits and underscores; begin with a letter"))
            }
        }
    }
}

impl Server {
    fn usual() -> Self {
        component::eval::Arguments::defaults()
    }

    fn validate(&self) -> Result<(), Invalid> {
        if u16::try_from(self.listen_port).is_err() {
            return Err(Invalid::field("listen_port", "listen_port must be from 0 to 65535"));
        }
        if self.max_allowed_payload_size.bytes() > 1 << 30 {
            return Err(Invalid::field(
                "max_allowed_payload_size",
                "max_allowed_payload_size must be at most 1GiB",
            ));
        }
        if let Some(origin) = self.cors_allowed_origins.iter().find(|o| o.matches('*').count() > 1) {
            return Err(Invalid::field("cors_allowed_origins", format!("{origin:?} has more than one *")));
        }
        Ok(())
    }

    /// Bytes of a payload.
    pub(super) fn max_payload(&self) -> usize {
        match self.max_allowed_payload_size.bytes() {
            0 => UNLIMITED,
            given => usize::try_from(given).unwrap_or(UNLIMITED),
        }
    }

    pub(super) fn port(&self) -> u16 {
        u16::try_from(self.listen_port).unwrap_or(0)
    }
}

impl RateLimiting {
    fn usual() -> Self {
        component::eval::Arguments::defaults()
    }

    fn validate(&self) -> Result<(), Invalid> {
        for (field, number) in [("rate", self.rate), ("burst_size", self.burst_size)] {
            if !number.is_finite() || number < 0.0 {
                return Err(Invalid::field(field, format!("{field} must be a number from 0 on")));
            }
        }
        Ok(())
    }
}

impl SourceMaps {
    fn usual() -> Self {
        component::eval::Arguments::defaults()
    }
}

impl Cache {
    fn validate(&self) -> Result<(), Invalid> {
        if self.cleanup_check_interval.is_zero() {
            let message = "cleanup_check_interval must be above 0";
            return Err(Invalid::field("cleanup_check_interval", message));
        }
        Ok(())
    }
}

impl Default for Cache {
    fn default() -> Self {
        component::eval::Arguments::defaults()
    }
}

impl Location {
    fn validate(&self) -> Result<(), Invalid> {
        PathTemplate::parse(&self.path)
            .map(drop)
            .map_err(|why| Invalid::field("path", why).with_help("the only template is {{ .Release }}"))
    }
}
