//! What an `otelcol.receiver.filelog` block may say.

use std::collections::BTreeMap;
use std::time::Duration;

use component::eval::{Invalid, Size};
use component::otel::{DebugMetrics, Output};
use component::{ArgEnum, Arguments};
use regex::bytes::Regex;
use tail::{Charset, Codec, Framing, Packing, Rule, Settings, Start};

use super::find;
use crate::auth::Handler;
use crate::operators::Config;
use crate::operators::deliver::Retry;

/// `otelcol.receiver.filelog`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Patterns of files to read.
    pub include: Vec<String>,
    /// Patterns of files to leave out.
    #[arg(default)]
    pub exclude: Vec<String>,
    /// Do not begin with files that were last written longer ago than this; 0 takes all.
    #[arg(default)]
    pub exclude_older_than: Duration,
    /// How often files are looked for and looked at. Where the kernel tells of changes, an idle file is looked at
    /// once a second.
    #[arg(default = "200ms")]
    pub poll_interval: Duration,
    /// So many files are kept open at most.
    #[arg(default = 1024)]
    pub max_concurrent_files: i64,
    /// With `max_concurrent_files`: at most half as many files times this are followed; 0 is no limit.
    #[arg(default = 10)]
    pub max_batches: i64,
    /// Where files begin that are there at the first start: `beginning` or `end`.
    #[arg(default = StartAt::End, code_type = "string")]
    pub start_at: StartAt,
    /// So many bytes of its head tell a file from others; at least 16.
    #[arg(default = Size(1 << 10))]
    pub fingerprint_size: Size,
    /// A longer record comes in parts.
    #[arg(default = Size::mib(1))]
    pub max_log_size: Size,
    /// Encoding of the files, by its IANA name; `nop` gives bodies as bytes.
    #[arg(default = "utf-8")]
    pub encoding: String,
    /// After how long without more a record without its end is taken as it is; 0 waits for ever.
    #[arg(default = "500ms")]
    pub force_flush_period: Duration,
    /// Remove files that have been read to their end and delivered. Needs `start_at = "beginning"`.
    #[arg(default)]
    pub delete_after_read: bool,
    /// Add `log.file.record_number`.
    #[arg(default)]
    pub include_file_record_number: bool,
    /// `gzip` for compressed files, `auto` for those whose name ends in `.gz`.
    #[arg(default)]
    pub compression: String,
    /// Leave a file alone while another process has it locked.
    #[arg(default)]
    pub acquire_fs_lock: bool,
    /// Tell the kernel not to keep what was read in its cache.
    #[arg(default)]
    pub file_cache_advise: bool,
    /// Keep spaces before records.
    #[arg(default)]
    pub preserve_leading_whitespaces: bool,
    /// Keep spaces behind records.
    #[arg(default)]
    pub preserve_trailing_whitespaces: bool,
    /// Add `log.file.name`.
    #[arg(default = true)]
    pub include_file_name: bool,
    /// Add `log.file.path`.
    #[arg(default)]
    pub include_file_path: bool,
    /// Add `log.file.name_resolved`: without links.
    #[arg(default)]
    pub include_file_name_resolved: bool,
    /// Add `log.file.path_resolved`: without links.
    #[arg(default)]
    pub include_file_path_resolved: bool,
    /// Add `log.file.owner.name`.
    #[arg(default)]
    pub include_file_owner_name: bool,
    /// Add `log.file.owner.group.name`.
    #[arg(default)]
    pub include_file_owner_group_name: bool,
    /// Add `log.file.permissions`.
    #[arg(default)]
    pub include_file_permissions: bool,
    /// Attributes of all records; text may hold `EXPR(…)`.
    #[arg(default)]
    pub attributes: BTreeMap<String, String>,
    /// Attributes of the resource of all records; text may hold `EXPR(…)`.
    #[arg(default)]
    pub resource: BTreeMap<String, String>,
    /// Operators, one after the other.
    #[arg(default)]
    pub operators: Vec<Config>,
    /// Where positions are kept: the `handler` of an `otelcol.storage` component; the component's own folder otherwise.
    #[arg(code_type = "capsule(otelcol.Handler)")]
    pub storage: Option<Handler>,
    /// Which of the files that are found are read.
    #[arg(block)]
    pub ordering_criteria: Option<OrderingCriteria>,
    /// Records of several lines.
    #[arg(block)]
    pub multiline: Option<Multiline>,
    /// Lines at the start of a file that say something about all of its records.
    #[arg(block)]
    pub header: Option<Header>,
    /// How records are offered that nobody takes.
    #[arg(block)]
    pub retry_on_failure: Retry,
    /// The component's own metrics.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
    /// Where records go.
    #[arg(block, required)]
    pub output: Output,
}

/// Where a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum StartAt {
    /// At its start.
    Beginning,
    /// At its end.
    End,
}

/// `ordering_criteria`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = OrderingCriteria::validate)]
pub struct OrderingCriteria {
    /// Its named groups are what is sorted and grouped by; files whose path it does not match are left out.
    #[arg(default)]
    pub regex: String,
    /// So many files of each group are read.
    #[arg(default = 1)]
    pub top_n: i64,
    /// A regular expression; files for whose paths its first group differs are sorted apart.
    #[arg(default)]
    pub group_by: String,
    /// What is sorted by; where there are several, the last counts most.
    #[arg(block, required)]
    pub sort_by: Vec<SortBy>,
}

/// `ordering_criteria > sort_by`
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct SortBy {
    /// `numeric`, `alphabetical`, `timestamp` or `mtime`.
    #[arg(default)]
    pub sort_type: String,
    /// A group of `regex`.
    #[arg(default)]
    pub regex_key: String,
    /// Smallest first.
    #[arg(default)]
    pub ascending: bool,
    /// Of a timestamp, as strptime has it.
    #[arg(default)]
    pub layout: String,
    /// Time zone of a timestamp.
    #[arg(default = "UTC")]
    pub location: String,
}

impl OrderingCriteria {
    fn validate(&self) -> Result<(), Invalid> {
        find::Order::new(self).map(|_| ())
    }
}

/// `multiline`
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
#[arguments(validate = Multiline::validate)]
pub struct Multiline {
    /// A regular expression that matches where records start.
    #[arg(default)]
    pub line_start_pattern: String,
    /// A regular expression that matches where records end.
    #[arg(default)]
    pub line_end_pattern: String,
    /// Leave out what matches.
    #[arg(default)]
    pub omit_pattern: bool,
}

impl Multiline {
    fn validate(&self) -> Result<(), Invalid> {
        self.rule().map(|_| ())
    }

    /// How records end.
    ///
    /// # Errors
    /// If not exactly one of the patterns is there, or it is none.
    pub fn rule(&self) -> Result<Rule, Invalid> {
        let regex = |field: &'static str, pattern: &str| {
            // `^` and `$` are about lines.
            let regex = Regex::new(&format!("(?m){pattern}"));
            regex.map_err(|e| Invalid::field(field, format!("{pattern:?} is no regular expression: {e}")))
        };
        let omit = self.omit_pattern;
        match (self.line_start_pattern.as_str(), self.line_end_pattern.as_str()) {
            ("", "") => Ok(Rule::Lines),
            (start, "") => Ok(Rule::Start { pattern: regex("line_start_pattern", start)?, omit }),
            ("", end) => Ok(Rule::End { pattern: regex("line_end_pattern", end)?, omit }),
            _ => Err(Invalid::body("only one of line_start_pattern and line_end_pattern can be set")),
        }
    }
}

/// `header`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Header {
    /// A regular expression that matches lines of the header.
    pub pattern: String,
    /// Operators on its lines; the attributes that they make are those of all records of the file.
    pub metadata_operators: Vec<Config>,
}

/// How bytes become bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// The charset of the reading.
    pub charset: Charset,
    /// Bodies are bytes.
    pub is_raw: bool,
}

impl Encoding {
    /// By its name; `nop` is none.
    ///
    /// # Errors
    /// If there is none of the name.
    pub fn named(name: &str) -> Result<Self, Invalid> {
        let lower = name.trim().to_ascii_lowercase();
        match lower.as_str() {
            // Each byte becomes the character of its number, and goes back.
            "nop" => Ok(Self { charset: Charset::Latin1, is_raw: true }),
            "utf8-raw" | "utf8" => Ok(Self { charset: Charset::Utf8, is_raw: false }),
            _ => match Charset::named(name) {
                Ok(charset) => Ok(Self { charset, is_raw: false }),
                Err(message) => Err(Invalid::field("encoding", message)
                    .with_help("use the IANA name of an encoding, as \"utf-16le\", or \"nop\"")),
            },
        }
    }

    /// Multiline patterns match bytes, and characters of two bytes are none.
    ///
    /// # Errors
    /// If the two do not go together.
    pub fn check(self, rule: &Rule) -> Result<(), Invalid> {
        if matches!(self.charset, Charset::Utf16 { .. }) && !matches!(rule, Rule::Lines) {
            return Err(Invalid::field("multiline", "multiline is not supported with UTF-16")
                .with_help("use the operator recombine"));
        }
        Ok(())
    }
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.include.is_empty() {
            return Err(Invalid::field("include", "include names no files"));
        }
        if self.poll_interval.is_zero() {
            return Err(Invalid::field("poll_interval", "poll_interval must be longer than 0"));
        }
        if self.max_concurrent_files < 1 {
            return Err(Invalid::field("max_concurrent_files", "max_concurrent_files must be 1 or more"));
        }
        if self.max_batches < 0 {
            return Err(Invalid::field("max_batches", "max_batches must be 0 or more"));
        }
        if !(16..=1 << 20).contains(&self.fingerprint_size.bytes()) {
            return Err(Invalid::field("fingerprint_size", "fingerprint_size must be from 16B to 1MiB"));
        }
        if !(1..=256 << 20).contains(&self.max_log_size.bytes()) {
            return Err(Invalid::field("max_log_size", "max_log_size must be from 1B to 256MiB"));
        }
        if self.start_at == StartAt::End && self.delete_after_read {
            return Err(Invalid::field(
                "delete_after_read",
                "delete_after_read needs start_at = \"beginning\"",
            ));
        }
        if self.start_at == StartAt::End && self.header.is_some() {
            return Err(Invalid::field("header", "header needs start_at = \"beginning\""));
        }
        if self.storage.as_ref().is_some_and(|handler| handler.folder().is_none()) {
            return Err(Invalid::field(
                "storage",
                "storage must be the handler of an otelcol.storage component",
            ));
        }
        find::Files::new(self)?;
        self.settings().map(|_| ())
    }

    /// As the engine takes them.
    ///
    /// # Errors
    /// If encoding, compression or an expression is none.
    pub fn settings(&self) -> Result<Settings, Invalid> {
        let packing = match self.compression.as_str() {
            "" => Packing::None,
            "gzip" => Packing::All(Codec::Gzip),
            "auto" => Packing::ByName,
            other => {
                let message = format!("compression is \"gzip\", \"auto\" or empty, not {other:?}");
                return Err(Invalid::field("compression", message));
            }
        };
        let rule = self.multiline.as_ref().map_or(Ok(Rule::Lines), Multiline::rule)?;
        let encoding = Encoding::named(&self.encoding)?;
        encoding.check(&rule)?;
        let header = self.header.as_ref().map(|header| Regex::new(&header.pattern)).transpose();
        let header = header.map_err(|e| Invalid::field("header", format!("pattern: {e}")))?;
        let bytes = |size: Size| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
        Ok(Settings {
            charset: encoding.charset,
            framing: Framing { rule, max: bytes(self.max_log_size) },
            start: match self.start_at {
                StartAt::Beginning => Start::Beginning,
                StartAt::End => Start::End,
            },
            poll: (self.poll_interval, self.poll_interval),
            packing,
            flush_after: (!self.force_flush_period.is_zero()).then_some(self.force_flush_period),
            head: bytes(self.fingerprint_size),
            delete_after_read: self.delete_after_read,
            lock: self.acquire_fs_lock,
            advise: self.file_cache_advise,
            header,
            count_records: self.include_file_record_number,
            ..Settings::default()
        })
    }
}
