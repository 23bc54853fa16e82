//! Why a component could not be built, updated or run.

/// An error of one component, shown as its health and in the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument's value does not work; `argument` names it so that the place can be shown.
    #[error("{message}")]
    Argument {
        /// Name of the argument or block, dotted where nested.
        argument: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// Anything else, told in one sentence.
    #[error("{0}")]
    Other(String),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path or address.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    /// An argument's value does not work.
    pub fn argument(argument: &'static str, message: impl Into<String>) -> Self {
        Self::Argument { argument, message: message.into() }
    }

    /// A failed system call.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// Anything else.
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }
}
