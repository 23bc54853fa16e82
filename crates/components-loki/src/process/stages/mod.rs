//! The stages. One file a stage: its arguments, what it does, its table test.
//!
//! To add one: a module, and a line in the list below. Its arguments are `Args` with
//! `fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error>`.

use std::collections::BTreeMap;

use component::eval::Invalid;
use component::{Arguments, Error};

use super::pipeline::{Node, StageCx};

// Text into parts.
pub mod eventlogmessage;
pub mod json;
pub mod logfmt;
pub mod pattern;
pub mod regex;
pub mod windowsevent;

// Parts into text, labels and metadata.
pub mod label_drop;
pub mod label_keep;
pub mod labels;
pub mod output;
pub mod pack;
pub mod static_labels;
pub mod structured_metadata;
pub mod structured_metadata_drop;
pub mod tenant;
pub mod timestamp;

// Lines of containers, lines that belong together.
pub mod cri;
pub mod docker;
pub mod multiline;
pub mod split_json;

// Values made from values.
pub mod decolorize;
pub mod geoip;
pub mod luhn;
pub mod replace;
pub mod template;
pub mod truncate;

// Which entries go on, and how fast.
pub mod drop;
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
    /// Extracts values of a JSON object.
    Json(json) = "stage.json";
    /// Extracts values of a logfmt line.
    Logfmt(logfmt) = "stage.logfmt";
    /// Extracts values with a pattern as LogQL has it.
    Pattern(pattern) = "stage.pattern";
    /// Extracts the named groups of an RE2 expression.
    Regex(regex) = "stage.regex";
    /// Takes `name: value` lines out of the message of a Windows event.
    EventLogMessage(eventlogmessage) = "stage.eventlogmessage";
    /// Takes the sections of the message of a Windows event apart.
    WindowsEvent(windowsevent) = "stage.windowsevent";

    // Parts into text, labels and metadata.
    /// Removes labels.
    LabelDrop(label_drop) = "stage.label_drop";
    /// Removes all labels but some.
    LabelKeep(label_keep) = "stage.label_keep";
    /// Makes labels of extracted values.
    Labels(labels) = "stage.labels";
    /// Replaces the line by an extracted value.
    Output(output) = "stage.output";
    /// Puts labels and extracted values into the line.
    Pack(pack) = "stage.pack";
    /// Adds fixed labels.
    StaticLabels(static_labels) = "stage.static_labels";
    /// Makes structured metadata of extracted values and labels.
    StructuredMetadata(structured_metadata) = "stage.structured_metadata";
    /// Removes structured metadata.
    StructuredMetadataDrop(structured_metadata_drop) = "stage.structured_metadata_drop";
    /// Says for which tenant an entry is.
    Tenant(tenant) = "stage.tenant";
    /// Takes the entry's time from an extracted value.
    Timestamp(timestamp) = "stage.timestamp";

    // Lines of containers, lines that belong together.
    /// Reads lines as container runtimes write them.
    Cri(cri) = "stage.cri";
    /// Reads lines as Docker writes them.
    Docker(docker) = "stage.docker";
    /// Joins lines to blocks.
    Multiline(multiline) = "stage.multiline";
    /// Makes an entry of each element of a JSON array.
    SplitJson(split_json) = "stage.split_json";

    // Values made from values.
    /// Takes terminal escape sequences out of the line.
    Decolorize(decolorize) = "stage.decolorize";
    /// Replaces what the groups of an RE2 expression match.
    Replace(replace) = "stage.replace";
    /// Looks addresses up in a MaxMind database.
    GeoIp(geoip) = "stage.geoip";
    /// Replaces numbers that pass Luhn's check.
    Luhn(luhn) = "stage.luhn";
    /// Makes an extracted value by a Go template.
    Template(template) = "stage.template";
    /// Cuts what is too long.
    Truncate(truncate) = "stage.truncate";

    // Which entries go on, and how fast.
    /// Drops entries.
    Drop(drop) = "stage.drop";
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

/// Lists of names have to name something.
fn not_empty(field: &'static str, names: &[String]) -> Result<(), Invalid> {
    if names.is_empty() { Err(Invalid::field(field, "must hold at least one name")) } else { Ok(()) }
}

/// A `source` that is given has to name something.
fn source(source: Option<&String>) -> Result<(), Invalid> {
    if source.is_some_and(String::is_empty) {
        return Err(Invalid::field("source", "must name an extracted value")
            .with_help("leave it out to read the line"));
    }
    Ok(())
}

/// Names with the names of their values: empty and null stand for the same name.
fn named_sources(values: &BTreeMap<String, Option<String>>) -> Vec<(String, String)> {
    let source = |name: &String, source: &Option<String>| {
        source.clone().filter(|s| !s.is_empty()).unwrap_or_else(|| name.clone())
    };
    values.iter().map(|(name, from)| (name.clone(), source(name, from))).collect()
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::fuzz;

    #[test]
    fn any_bytes_go_through_stages_that_do_not_look_at_lines() {
        fuzz(
            r#"
            stage.regex { expression = "(?P<x>.?)(?P<y>.*)" }
            stage.labels { values = { x = "", y = "" } }
            stage.structured_metadata { values = { m = "y" } }
            stage.static_labels { values = { z = "1" } }
            stage.label_drop { values = ["x"] }
            stage.label_keep { values = ["y", "pod"] }
            stage.structured_metadata_drop { values = ["m"] }
            stage.output { source = "y" }"#,
        );
    }
}
