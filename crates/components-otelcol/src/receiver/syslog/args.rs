//! What an `otelcol.receiver.syslog` block may say.

use component::eval::{Invalid, Size};
use component::otel::{DebugMetrics, Output};
use component::{ArgEnum, Arguments};
use tail::{Framing, Rule};

use crate::operators::Config;
use crate::operators::deliver::Retry;
use crate::operators::syslog_parser::Rules;
use crate::operators::times;
use crate::receiver::check_debug_metrics;
use crate::receiver::filelog::{Encoding, Multiline};
use crate::receiver::tcplog::most;
use crate::receiver::text::{Address, Frames, Reading};
use crate::server::TlsServerArgs;

/// The largest datagram there is.
const LARGEST: usize = 65_535;

/// Batches of datagrams that wait where there is no `async` block.
const QUEUE: usize = 10;

/// `otelcol.receiver.syslog`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// How messages are written.
    #[arg(default = Protocol::Rfc5424, code_type = "string(SysLogFormat)")]
    pub protocol: Protocol,
    /// Time zone of times of RFC 3164, which do not say theirs.
    #[arg(default = "UTC")]
    pub location: String,
    /// The length of a message stands before it, as RFC 6587 has it; over TCP only.
    #[arg(default)]
    pub enable_octet_counting: bool,
    /// Bytes of a message with its length before it; what is longer is cut.
    #[arg(default = 8192)]
    pub max_octets: i64,
    /// Take messages without a priority; they have neither severity nor facility.
    #[arg(default)]
    pub allow_skip_pri_header: bool,
    /// What stands behind a message: `LF` or `NUL`; over TCP only.
    #[arg(default, code_type = "string(FramingTrailer)")]
    pub non_transparent_framing_trailer: String,
    /// What becomes of a message that cannot be parsed: `send`, `send_quiet`, `drop` or `drop_quiet`.
    #[arg(default = "send")]
    pub on_error: String,
    /// Operators on parsed messages, one after the other. Alloy has no such argument here; the Collector has.
    #[arg(default)]
    pub operators: Vec<Config>,
    /// How records are offered that nobody takes.
    #[arg(block)]
    pub retry_on_failure: Retry,
    /// Listen for connections.
    #[arg(block)]
    pub tcp: Option<Tcp>,
    /// Listen for datagrams.
    #[arg(block)]
    pub udp: Option<Udp>,
    /// The component's own metrics.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
    /// Where records go.
    #[arg(block, required)]
    pub output: Output,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Protocol {
    /// RFC 5424.
    #[arg(name = "rfc5424")]
    Rfc5424,
    /// RFC 3164.
    #[arg(name = "rfc3164")]
    Rfc3164,
}

/// `tcp`
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Tcp {
    /// A longer message comes in parts.
    #[arg(default = Size::mib(1))]
    pub max_log_size: Size,
    /// Where to listen, as `host:port`.
    #[arg(default)]
    pub listen_address: String,
    /// Add attributes of both ends of the connection, `net.peer.ip` and the like.
    #[arg(default)]
    pub add_attributes: bool,
    /// All that a connection sends is one message.
    #[arg(default)]
    pub one_log_per_packet: bool,
    /// Encoding of messages, by its IANA name.
    #[arg(default = "utf-8")]
    pub encoding: String,
    /// Keep spaces before messages.
    #[arg(default)]
    pub preserve_leading_whitespaces: bool,
    /// Keep spaces behind messages.
    #[arg(default)]
    pub preserve_trailing_whitespaces: bool,
    /// TLS.
    #[arg(block)]
    pub tls: Option<TlsServerArgs>,
    /// Messages of several lines.
    #[arg(block)]
    pub multiline: Option<Multiline>,
}

/// `udp`
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Udp {
    /// Where to listen, as `host:port`.
    #[arg(default)]
    pub listen_address: String,
    /// A datagram is one message, whatever it holds.
    #[arg(default)]
    pub one_log_per_packet: bool,
    /// Add attributes of both ends, `net.peer.ip` and the like.
    #[arg(default)]
    pub add_attributes: bool,
    /// Encoding of messages, by its IANA name.
    #[arg(default = "utf-8")]
    pub encoding: String,
    /// Keep spaces before messages.
    #[arg(default)]
    pub preserve_leading_whitespaces: bool,
    /// Keep spaces behind messages.
    #[arg(default)]
    pub preserve_trailing_whitespaces: bool,
    /// Messages of several lines.
    #[arg(block)]
    pub multiline: Option<Multiline>,
    /// How much is done at once.
    #[arg(block, name = "async")]
    pub concurrency: Option<Async>,
}

/// `udp > async`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Async::validate)]
pub struct Async {
    /// Tasks that read.
    #[arg(default = 1, no_effect = "one task takes all datagrams that are there at once")]
    pub readers: i64,
    /// Tasks that make records of datagrams; with several, those of one sender may change places.
    #[arg(default = 1)]
    pub processors: i64,
    /// Batches of datagrams that may wait for being taken; what comes then is counted and dropped.
    #[arg(default = 100)]
    pub max_queue_length: i64,
}

impl Async {
    fn validate(&self) -> Result<(), Invalid> {
        for (name, value) in [
            ("readers", self.readers),
            ("processors", self.processors),
            ("max_queue_length", self.max_queue_length),
        ] {
            if !(1..=100_000).contains(&value) {
                return Err(Invalid::field(name, format!("{name} must be from 1 to 100000")));
            }
        }
        Ok(())
    }
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.tcp.is_none() && self.udp.is_none() {
            return Err(Invalid::body("nothing listens").with_help("add a tcp or a udp block"));
        }
        let addresses = [
            ("tcp", self.tcp.as_ref().map(|t| &t.listen_address)),
            ("udp", self.udp.as_ref().map(|u| &u.listen_address)),
        ];
        for (block, address) in addresses {
            if address.is_some_and(|a| net::socket::split(a).is_none()) {
                let message = format!("{block}: listen_address must be an address");
                return Err(Invalid::field(block, message).with_help("write host:port"));
            }
        }
        if !(1..=64 << 20).contains(&self.max_octets) {
            return Err(Invalid::field("max_octets", "max_octets must be from 1 to 67108864"));
        }
        check_debug_metrics(&self.debug_metrics)?;
        self.check_framing()?;
        self.on_error()?;
        self.rules()?;
        self.listeners().map(|_| ())
    }

    fn check_framing(&self) -> Result<(), Invalid> {
        let trailer = match self.non_transparent_framing_trailer.as_str() {
            "" => false,
            "LF" | "NUL" => true,
            other => {
                let message = format!("non_transparent_framing_trailer is LF or NUL, not {other:?}");
                return Err(Invalid::field("non_transparent_framing_trailer", message));
            }
        };
        let framed = [
            ("enable_octet_counting", self.enable_octet_counting),
            ("non_transparent_framing_trailer", trailer),
        ];
        for (name, _) in framed.into_iter().filter(|(_, set)| *set) {
            if self.protocol != Protocol::Rfc5424 || self.udp.is_some() {
                return Err(Invalid::field(name, format!("{name} is for messages of rfc5424 over TCP")));
            }
        }
        if trailer && self.enable_octet_counting {
            let message = "enable_octet_counting and non_transparent_framing_trailer exclude each other";
            return Err(Invalid::field("non_transparent_framing_trailer", message));
        }
        Ok(())
    }

    /// Whether a message that cannot be parsed is dropped, and without a word.
    ///
    /// # Errors
    /// If it says something else.
    pub fn on_error(&self) -> Result<(bool, bool), Invalid> {
        match self.on_error.as_str() {
            "send" => Ok((false, false)),
            "send_quiet" => Ok((false, true)),
            "drop" => Ok((true, false)),
            "drop_quiet" => Ok((true, true)),
            other => {
                let message = format!("on_error is send, send_quiet, drop or drop_quiet, not {other:?}");
                Err(Invalid::field("on_error", message))
            }
        }
    }

    /// How messages are parsed. Frames are taken off before that.
    ///
    /// # Errors
    /// If there is no such time zone.
    pub fn rules(&self) -> Result<Rules, Invalid> {
        let location = if self.location.is_empty() { "UTC" } else { &self.location };
        Ok(Rules {
            is_5424: self.protocol == Protocol::Rfc5424,
            location: times::zone(Some(location)).map_err(|e| Invalid::field("location", e))?,
            octet_counting: false,
            allow_skip_pri: self.allow_skip_pri_header,
            trailer: None,
            max_octets: usize::MAX,
        })
    }

    /// What listens where.
    ///
    /// # Errors
    /// If an encoding or an expression is none.
    pub fn listeners(&self) -> Result<Vec<(Address, Reading)>, Invalid> {
        let mut listeners = Vec::new();
        if let Some(tcp) = &self.tcp {
            let address =
                Address::Tcp { address: tcp.listen_address.clone(), tls: tcp.tls.clone().map(Box::new) };
            let most = most(tcp.max_log_size)?;
            let octets = usize::try_from(self.max_octets).unwrap_or(usize::MAX);
            let frames = match (self.enable_octet_counting, self.non_transparent_framing_trailer.as_str()) {
                (true, _) => Some(Frames::Counted(octets)),
                (false, "LF") => Some(Frames::Trailer(b'\n', most)),
                (false, "NUL") => Some(Frames::Trailer(0, most)),
                (false, _) => None,
            };
            let spaces = (tcp.preserve_leading_whitespaces, tcp.preserve_trailing_whitespaces);
            let split = (tcp.multiline.as_ref(), tcp.one_log_per_packet, most);
            listeners.push((address, reading(&tcp.encoding, split, frames, spaces, tcp.add_attributes)?));
        }
        if let Some(udp) = &self.udp {
            let concurrency = udp.concurrency.as_ref();
            let number = |n: i64| usize::try_from(n).unwrap_or(1);
            let address = Address::Udp {
                address: udp.listen_address.clone(),
                queue: concurrency.map_or(QUEUE, |c| number(c.max_queue_length)),
                processors: concurrency.map_or(1, |c| number(c.processors)),
            };
            let spaces = (udp.preserve_leading_whitespaces, udp.preserve_trailing_whitespaces);
            let split = (udp.multiline.as_ref(), udp.one_log_per_packet, LARGEST);
            listeners.push((address, reading(&udp.encoding, split, None, spaces, udp.add_attributes)?));
        }
        Ok(listeners)
    }
}

fn reading(
    encoding: &str,
    (multiline, whole, most): (Option<&Multiline>, bool, usize),
    frames: Option<Frames>,
    keep_spaces: (bool, bool),
    add_attributes: bool,
) -> Result<Reading, Invalid> {
    let encoding = Encoding::named(encoding)?;
    if encoding.is_raw {
        return Err(Invalid::field("encoding", "messages of syslog are text: the encoding nop has none"));
    }
    let rule = multiline.map_or(Ok(Rule::Lines), Multiline::rule)?;
    encoding.check(&rule)?;
    let frames = match frames {
        Some(frames) => frames,
        None if whole => Frames::Whole(most),
        None => Frames::Split(Framing { rule, max: most }),
    };
    Ok(Reading { frames, encoding, keep_spaces, add_attributes })
}
