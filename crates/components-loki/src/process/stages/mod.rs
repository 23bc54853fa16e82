//! The stages. One file a stage: its arguments, what it does, its table test.
//!
//! To add one: a module, and a line in the list below. Its arguments are `Args` with
//! `fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error>`.

use component::eval::Invalid;
use component::{Arguments, Error};

use super::pipeline::{Node, StageCx};

// Text into parts.
pub mod eventlogmessage;
pub mod windowsevent;

// Parts into text, labels and metadata.
pub mod output;
pub mod pack;
pub mod static_labels;
pub mod tenant;
pub mod timestamp;

// Lines that belong together.

// Values made from values.
pub mod geoip;
pub mod luhn;
pub mod template;
pub mod truncate;

// Which entries go on, and how fast.
pub mod limit;
pub mod matching;
pub mod sampling;

// Measuring.
pub mod metrics;

macro_rules! stages {
    ($($(#[doc = $doc:literal])+ $variant:ident($module:ident) = $name:literal;)+) => {
        /// A stage of `loki.process`.
        #[derive(Clone, Debug, PartialEq, Arguments)]
        pub enum Stage {
            $($(#[doc = $doc])+ #[arg(name = $name)] $variant($module::Args),)+
        }

        impl Stage {
            /// Makes a stage that runs.
            pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
                match self { $(Self::$variant(args) => args.build(cx),)+ }
            }
        }
    };
}

stages! {
    // Text into parts.
    /// Takes `name: value` lines out of the message of a Windows event.
    EventLogMessage(eventlogmessage) = "stage.eventlogmessage";
    /// Takes the sections of the message of a Windows event apart.
    WindowsEvent(windowsevent) = "stage.windowsevent";

    // Parts into text, labels and metadata.
    /// Replaces the line by an extracted value.
    Output(output) = "stage.output";
    /// Puts labels and extracted values into the line.
    Pack(pack) = "stage.pack";
    /// Adds fixed labels.
    StaticLabels(static_labels) = "stage.static_labels";
    /// Says for which tenant an entry is.
    Tenant(tenant) = "stage.tenant";
    /// Takes the entry's time from an extracted value.
    Timestamp(timestamp) = "stage.timestamp";

    // Lines that belong together.

    // Values made from values.
    /// Looks addresses up in a MaxMind database.
    GeoIp(geoip) = "stage.geoip";
    /// Replaces numbers that pass Luhn's check.
    Luhn(luhn) = "stage.luhn";
    /// Makes an extracted value by a Go template.
    Template(template) = "stage.template";
    /// Cuts what is too long.
    Truncate(truncate) = "stage.truncate";

    // Which entries go on, and how fast.
    /// Lets so many entries a second through.
    Limit(limit) = "stage.limit";
    /// Runs stages on the entries that a selector selects, or drops those.
    Match(matching) = "stage.match";
    /// Lets a share of the entries through.
    Sampling(sampling) = "stage.sampling";

    // Measuring.
    /// Counts and measures entries.
    Metrics(metrics) = "stage.metrics";
}

/// Names that the configuration gives to labels have to be names of labels.
fn label_names<'a>(field: &'static str, names: impl IntoIterator<Item = &'a String>) -> Result<(), Invalid> {
    match names.into_iter().find(|name| !signal::names::is_legacy_label(name)) {
        Some(name) => Err(Invalid::field(field, format!("{name:?} is not a name of a label"))
            .with_help("letters, digits and _ only, and no digit first")),
        None => Ok(()),
    }
}
