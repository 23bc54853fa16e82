//! What an `otelcol.exporter.file` block may say.

use std::time::Duration;

use component::Arguments;
use component::eval::Invalid;
use component::otel::DebugMetrics;
use wire::compress::Encoding;

use super::files::{Filing, Rolling};
use crate::exporter::sending::Writing;

/// `otelcol.exporter.file`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// The file. With `group_by` one `*` in it stands for the group.
    pub path: String,
    /// Keep what is in the file; otherwise it is emptied when the program starts to write it.
    #[arg(default)]
    pub append: bool,
    /// `json`, a line a batch; or `proto`, each batch behind its length in four bytes.
    #[arg(default = "json")]
    pub format: String,
    /// Not supported: encodings of extensions.
    #[arg(default)]
    pub encoding: String,
    /// `zstd`: each batch is compressed, and stands behind its length in four bytes.
    #[arg(default)]
    pub compression: String,
    /// How often what was written is forced to the device.
    #[arg(default = Duration::from_secs(1))]
    pub flush_interval: Duration,
    /// Begin new files by size.
    #[arg(block)]
    pub rotation: Option<Rotation>,
    /// How hard to compress.
    #[arg(block)]
    pub compression_params: Option<CompressionParams>,
    /// A file a group of resources.
    #[arg(block)]
    pub group_by: Option<GroupBy>,
    /// The component's own metrics.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// Begin new files by size.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Rotation::validate)]
pub struct Rotation {
    /// Size at which a new file is begun.
    #[arg(default = 100)]
    pub max_megabytes: i64,
    /// Days after which old files are removed; 0 for never.
    #[arg(default)]
    pub max_days: i64,
    /// Old files that are kept; 0 for all.
    #[arg(default = 100)]
    pub max_backups: i64,
    /// Name old files by local time, rather than UTC.
    #[arg(default)]
    pub localtime: bool,
}

/// How hard to compress.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct CompressionParams {
    /// 1 to 22.
    pub level: i64,
}

/// A file a group of resources.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct GroupBy {
    /// Do it.
    #[arg(default)]
    pub enabled: bool,
    /// The attribute of the resource that takes the place of `*` in `path`.
    #[arg(default = "fileexporter.path_segment")]
    pub resource_attribute: String,
    /// Files that are kept open.
    #[arg(default = 100)]
    pub max_open_files: i64,
}

fn refuse(field: &'static str, message: &str) -> Result<(), Invalid> {
    Err(Invalid::field(field, message.to_owned()))
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.path.is_empty() {
            return refuse("path", "must not be empty");
        }
        if !matches!(self.format.as_str(), "json" | "proto") {
            return refuse("format", "must be json or proto");
        }
        if !self.encoding.is_empty() {
            return refuse("encoding", "encodings of extensions are not supported: use format");
        }
        if !matches!(self.compression.as_str(), "" | "zstd") {
            return refuse("compression", "must be zstd or empty");
        }
        if self.append && !self.compression.is_empty() {
            return refuse("append", "compressed files cannot be appended to");
        }
        if self.append && self.rotation.is_some() {
            return refuse("append", "files that are rotated are appended to anyway: remove append");
        }
        if self.flush_interval.is_zero() {
            return refuse("flush_interval", "must be above 0");
        }
        if let Some(CompressionParams { level }) = self.compression_params {
            if self.compression.is_empty() {
                return refuse("compression_params", "says nothing without compression");
            }
            if !(1..=22).contains(&level) {
                return refuse("compression_params", "level must be between 1 and 22");
            }
        }
        self.validate_groups()
    }

    fn validate_groups(&self) -> Result<(), Invalid> {
        let Some(group_by) = self.group_by.as_ref().filter(|group_by| group_by.enabled) else {
            return Ok(());
        };
        if self.path.matches('*').count() != 1 {
            return refuse("path", "must have exactly one * with group_by");
        }
        if self.path.starts_with('*') {
            return refuse("path", "must not begin with * with group_by");
        }
        if group_by.resource_attribute.is_empty() {
            return refuse("group_by", "resource_attribute must not be empty");
        }
        if group_by.max_open_files < 1 {
            return refuse("group_by", "max_open_files must be at least 1");
        }
        Ok(())
    }

    /// How records are written.
    pub(super) fn writing(&self) -> Writing {
        Writing {
            json: self.format == "json",
            encoding: if self.compression.is_empty() { Encoding::Identity } else { Encoding::Zstd },
            word: None,
            level: self.compression_params.as_ref().and_then(|params| i32::try_from(params.level).ok()),
        }
    }

    /// The attribute that tells groups apart.
    pub(super) fn grouping(&self) -> Option<String> {
        self.group_by.as_ref().filter(|by| by.enabled).map(|by| by.resource_attribute.clone())
    }

    /// How files are kept.
    pub(super) fn filing(&self) -> Filing {
        let groups = self.group_by.as_ref().filter(|by| by.enabled);
        Filing {
            first: groups.is_none().then(|| self.path.clone().into()),
            append: self.append,
            rolling: self.rotation.as_ref().map(|rotation| Rolling {
                most_bytes: rotation.max_megabytes.max(1).unsigned_abs().saturating_mul(1 << 20),
                most_days: rotation.max_days.max(0),
                most_files: usize::try_from(rotation.max_backups).unwrap_or(0),
                local: rotation.localtime,
            }),
            most_open: groups.map_or(1, |by| usize::try_from(by.max_open_files).unwrap_or(1)),
        }
    }
}

impl Rotation {
    fn validate(&self) -> Result<(), Invalid> {
        if self.max_megabytes < 1 {
            return refuse("max_megabytes", "must be at least 1");
        }
        for (field, number) in [("max_days", self.max_days), ("max_backups", self.max_backups)] {
            if number < 0 {
                return refuse(field, "must be 0 or more");
            }
        }
        Ok(())
    }
}
