//! How settled an item is; the command line says from which level on items may be used.

use std::fmt;
use std::str::FromStr;

/// Ordered: experimental < public preview < generally available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Stability {
    /// May change or go away.
    Experimental,
    /// Complete, not yet promised.
    PublicPreview,
    /// Promised.
    #[default]
    GenerallyAvailable,
}

impl Stability {
    /// As written on the command line and in the reference.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Experimental => "experimental",
            Self::PublicPreview => "public-preview",
            Self::GenerallyAvailable => "generally-available",
        }
    }

    /// Whether an item of this stability may be used when `minimum` is asked for.
    pub fn allowed_at(self, minimum: Stability) -> bool {
        self >= minimum
    }
}

impl fmt::Display for Stability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Experimental, Self::PublicPreview, Self::GenerallyAvailable]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| format!("unknown stability level {text:?}: use experimental, public-preview or generally-available"))
    }
}
