//! What can go wrong: in the arguments ([`ConfigError`]) and while collecting ([`CollectorError`]).

use std::io;
use std::path::{Path, PathBuf};

/// A mistake in the arguments; the message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A name in `enable_collectors` or `set_collectors` that node_exporter does not know either.
    #[error("{argument} names the collector {name:?}, which does not exist; remove it or correct the name")]
    UnknownCollector {
        /// The argument that holds the name.
        argument: &'static str,
        /// The name.
        name: String,
    },
    /// A collector of node_exporter that this program does not carry.
    #[error("{argument} names the collector {name:?}, which is not available here; remove it from the list")]
    NotCarried {
        /// The argument that holds the name.
        argument: &'static str,
        /// The name.
        name: String,
    },
    /// A block that configures a collector that this program does not carry.
    #[error("the block {block:?} configures a collector that is not available here; remove the block")]
    BlockNotCarried {
        /// The block.
        block: &'static str,
    },
    /// A regular expression that does not compile.
    #[error("{argument} is not a valid regular expression: {problem}")]
    Pattern {
        /// Block and argument, joined by a dot.
        argument: &'static str,
        /// What the compiler said.
        problem: String,
    },
    /// Two arguments that exclude each other.
    #[error("{first} and {second} are mutually exclusive; set only one of them")]
    Exclusive {
        /// Block and argument.
        first: &'static str,
        /// Block and argument.
        second: &'static str,
    },
    /// A value that is of the right type but cannot be used.
    #[error("{argument}: {problem}")]
    Value {
        /// Block and argument.
        argument: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl ConfigError {
    /// The argument or block at fault, without what is inside the block.
    pub fn field(&self) -> &'static str {
        let argument = match self {
            Self::UnknownCollector { argument, .. }
            | Self::NotCarried { argument, .. }
            | Self::Pattern { argument, .. }
            | Self::Exclusive { first: argument, .. }
            | Self::Value { argument, .. }
            | Self::BlockNotCarried { block: argument } => argument,
        };
        argument.split('.').next().unwrap_or(argument)
    }
}

/// Why a collector gave nothing, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The host does not have what the collector reads.
    #[error("no data")]
    NoData,
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not look as its format says.
    #[error("cannot parse {}: {problem}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A system call failed.
    #[error("{call} failed: {source}")]
    System {
        /// The call.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl CollectorError {
    /// The error for a file whose content is not as expected.
    pub(super) fn parse(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::Parse { path: path.as_ref().to_path_buf(), problem: problem.into() }
    }

    /// Whether the file is simply not there.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether we may not read the file.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Turns "there is no such file" into "no data".
    pub(super) fn missing_is_no_data(self) -> Self {
        if self.is_missing() { Self::NoData } else { self }
    }

    /// Turns "there is no such file" and "we may not read it" into "no data".
    pub(super) fn unreadable_is_no_data(self) -> Self {
        if self.is_missing() || self.is_forbidden() { Self::NoData } else { self }
    }
}
