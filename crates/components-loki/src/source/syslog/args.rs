//! What a `loki.source.syslog` block may say.

use std::collections::BTreeMap;
use std::time::Duration;

use component::eval::Invalid;
use component::{ArgEnum, Arguments, Receiver, RelabelRules};
use net::args::TlsConfigArgs;
use signal::Logs;
use wire::syslog::Cisco;

/// `loki.source.syslog`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Where entries go.
    pub forward_to: Vec<Receiver<Logs>>,
    /// Rules that make labels of what is known of a message.
    pub relabel_rules: Option<RelabelRules>,
    /// Where to listen, and for what.
    #[arg(block, required)]
    pub listener: Vec<ListenerArgs>,
}

/// `listener`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = ListenerArgs::validate, without_effect = ListenerArgs::without_effect)]
pub struct ListenerArgs {
    /// Where to listen, as `host:port`.
    pub address: String,
    /// What to listen for.
    #[arg(default = Protocol::Tcp, code_type = "string")]
    pub protocol: Protocol,
    /// After how long without a byte a connection is closed; 0 means two minutes.
    #[arg(default = Duration::from_secs(120))]
    pub idle_timeout: Duration,
    /// Makes labels of structured data, for rules: `__syslog_message_sd_<id>_<name>`.
    #[arg(default)]
    pub label_structured_data: bool,
    /// Labels for all entries.
    #[arg(default)]
    pub labels: BTreeMap<String, String>,
    /// Keeps the times of messages; otherwise entries get the time at which they come in.
    #[arg(default)]
    pub use_incoming_timestamp: bool,
    /// The line is the whole message, not its text only.
    #[arg(default)]
    pub use_rfc5424_message: bool,
    /// Times of RFC 3164 do not say their year: it is the one in which they are near to now. Otherwise such
    /// entries get the time at which they come in.
    #[arg(default)]
    pub rfc3164_default_to_current_year: bool,
    /// Takes messages without a text; otherwise they are counted and left out.
    #[arg(default)]
    pub rfc5424_allow_empty_msg: bool,
    /// Bytes of a message; what is longer is cut. 0 means 8192.
    #[arg(default = 8192)]
    pub max_message_length: i64,
    /// How messages are written.
    #[arg(default = Format::Rfc5424, code_type = "string(SyslogFormat)")]
    pub syslog_format: Format,
    /// Batches of datagrams that may wait for being taken; what comes then is counted and dropped.
    #[arg(default = 10)]
    pub udp_queue_size: i64,
    /// Senders of datagrams whose names are remembered for five minutes.
    #[arg(default = 128)]
    pub udp_host_cache_size: i64,
    /// TLS, where it names a certificate. With an authority, clients need a certificate that it has signed.
    #[arg(block, default)]
    pub tls_config: TlsConfigArgs,
    /// For the format `raw`.
    #[arg(block)]
    pub raw_format_options: Option<RawFormatOptions>,
    /// For the format `rfc3164`: what Cisco's devices add to it.
    #[arg(block)]
    pub rfc3164_cisco_components: Option<CiscoComponents>,
}

/// What is listened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Protocol {
    /// Connections.
    #[arg(name = "tcp")]
    Tcp,
    /// Datagrams.
    #[arg(name = "udp")]
    Udp,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Format {
    /// RFC 5424.
    #[arg(name = "rfc5424")]
    Rfc5424,
    /// RFC 3164.
    #[arg(name = "rfc3164")]
    Rfc3164,
    /// Lines that are not parsed; only a priority is taken off.
    #[arg(name = "raw")]
    Raw,
}

/// `raw_format_options`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct RawFormatOptions {
    /// Lines end with a NUL instead of a line feed.
    #[arg(default)]
    pub use_null_terminator_delimiter: bool,
}

/// `rfc3164_cisco_components`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = CiscoComponents::validate)]
pub struct CiscoComponents {
    /// All of them.
    #[arg(default)]
    pub enable_all: bool,
    /// A count of messages before everything else.
    #[arg(default)]
    pub message_counter: bool,
    /// A sequence number before the time.
    #[arg(default)]
    pub sequence_number: bool,
    /// A host name before the time.
    #[arg(default)]
    pub hostname: bool,
    /// Fractions of a second in the time.
    #[arg(default)]
    pub second_fractions: bool,
}

impl CiscoComponents {
    fn validate(&self) -> Result<(), Invalid> {
        if self.cisco() == Cisco::default() {
            let message = "at least one option in rfc3164_cisco_components has to be enabled";
            return Err(Invalid::body(message).with_help("set enable_all, or remove the block"));
        }
        Ok(())
    }

    fn cisco(&self) -> Cisco {
        Cisco {
            counter: self.enable_all || self.message_counter,
            sequence: self.enable_all || self.sequence_number,
            hostname: self.enable_all || self.hostname,
            fractions: self.enable_all || self.second_fractions,
        }
    }
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        for (i, listener) in self.listener.iter().enumerate() {
            let same = |other: &&ListenerArgs| other.key() == listener.key();
            if self.listener[..i].iter().any(|other| same(&other)) {
                let message = format!("two listeners have the address {}", listener.address);
                return Err(Invalid::field("listener", message));
            }
        }
        Ok(())
    }
}

impl ListenerArgs {
    fn validate(&self) -> Result<(), Invalid> {
        if net::socket::split(&self.address).is_none() {
            let message = format!("{:?} is not an address to listen on", self.address);
            return Err(Invalid::field("address", message).with_help("write host:port, as in 0.0.0.0:514"));
        }
        self.tls_config.validate()?;
        for (name, value, least) in [
            ("max_message_length", self.max_message_length, 0),
            ("udp_queue_size", self.udp_queue_size, 1),
            ("udp_host_cache_size", self.udp_host_cache_size, 0),
        ] {
            if !(least..=16 << 20).contains(&value) {
                return Err(Invalid::field(name, format!("{name} must be from {least} to {}", 16 << 20)));
            }
        }
        let only = |name: &'static str, set: bool, format: Format, word: &str| {
            let message = format!("{name} has no effect when syslog_format is not {word:?}");
            match set && self.syslog_format != format {
                true => Err(Invalid::field(name, message).with_help(format!("remove {name}"))),
                false => Ok(()),
            }
        };
        only("raw_format_options", self.raw_format_options.is_some(), Format::Raw, "raw")?;
        only(
            "rfc3164_cisco_components",
            self.rfc3164_cisco_components.is_some(),
            Format::Rfc3164,
            "rfc3164",
        )?;
        only("rfc5424_allow_empty_msg", self.rfc5424_allow_empty_msg, Format::Rfc5424, "rfc5424")?;
        if self.syslog_format == Format::Raw {
            for (name, set) in [
                ("use_rfc5424_message", self.use_rfc5424_message),
                ("rfc3164_default_to_current_year", self.rfc3164_default_to_current_year),
                ("use_incoming_timestamp", self.use_incoming_timestamp),
            ] {
                if set {
                    let message = format!("{name} has no effect when syslog_format is \"raw\"");
                    return Err(Invalid::field(name, message).with_help(format!("remove {name}")));
                }
            }
        }
        Ok(())
    }

    /// What tells listeners apart.
    pub(super) fn key(&self) -> (Protocol, &str) {
        (self.protocol, &self.address)
    }

    /// Arguments that Alloy takes without using them, and that are not used here either.
    fn without_effect(&self) -> Vec<Invalid> {
        let tls = &self.tls_config;
        let over_udp = self.protocol == Protocol::Udp && *tls != TlsConfigArgs::default();
        const OF_CLIENTS: &str = "it is about the certificates of servers, and this is a server";
        let format = |wanted: &str| format!("it is for syslog_format = {wanted:?}");
        [
            (
                "use_rfc5424_message",
                self.use_rfc5424_message && self.syslog_format == Format::Rfc3164,
                format("rfc5424"),
            ),
            (
                "rfc3164_default_to_current_year",
                self.rfc3164_default_to_current_year && self.syslog_format == Format::Rfc5424,
                format("rfc3164"),
            ),
            (
                "label_structured_data",
                self.label_structured_data && self.syslog_format != Format::Rfc5424,
                format("rfc5424"),
            ),
            ("tls_config", over_udp, "there is no TLS with protocol = \"udp\"".to_string()),
            ("tls_config.server_name", !over_udp && !tls.server_name.is_empty(), OF_CLIENTS.to_string()),
            (
                "tls_config.insecure_skip_verify",
                !over_udp && tls.insecure_skip_verify,
                OF_CLIENTS.to_string(),
            ),
        ]
        .into_iter()
        .filter_map(|(name, set, why)| set.then(|| Invalid::without_effect(name, &why)))
        .collect()
    }

    pub(super) fn idle(&self) -> Duration {
        if self.idle_timeout.is_zero() { Duration::from_secs(120) } else { self.idle_timeout }
    }

    pub(super) fn limit(&self) -> usize {
        match usize::try_from(self.max_message_length) {
            Ok(0) | Err(_) => 8192,
            Ok(given) => given,
        }
    }

    pub(super) fn framing(&self) -> wire::syslog::Framing {
        use wire::syslog::Framing;
        let nul = self.raw_format_options.as_ref().is_some_and(|o| o.use_null_terminator_delimiter);
        match self.syslog_format {
            Format::Raw => Framing::Lines { delimiter: if nul { 0 } else { b'\n' } },
            Format::Rfc5424 | Format::Rfc3164 => Framing::Messages,
        }
    }

    pub(super) fn cisco(&self) -> Cisco {
        self.rfc3164_cisco_components.as_ref().map(CiscoComponents::cisco).unwrap_or_default()
    }
}
