//! The stages. One file a stage: its arguments, what it does, its table test.
//!
//! To add one: a module, and a line in the list below. Its arguments are `Args` with
//! `fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error>`.

use component::eval::Invalid;
use component::{Arguments, Error};

use super::pipeline::{Node, StageCx};

// Text into parts.

// Parts into text, labels and metadata.
pub mod output;
pub mod static_labels;

// Lines that belong together.

// Values made from values.

// Which entries go on, and how fast.

// Measuring.

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

    // Parts into text, labels and metadata.
    /// Replaces the line by an extracted value.
    Output(output) = "stage.output";
    /// Adds fixed labels.
    StaticLabels(static_labels) = "stage.static_labels";

    // Lines that belong together.

    // Values made from values.

    // Which entries go on, and how fast.

    // Measuring.
}

/// Names that the configuration gives to labels have to be names of labels.
fn label_names<'a>(field: &'static str, names: impl IntoIterator<Item = &'a String>) -> Result<(), Invalid> {
    match names.into_iter().find(|name| !signal::names::is_legacy_label(name)) {
        Some(name) => Err(Invalid::field(field, format!("{name:?} is not a name of a label"))
            .with_help("letters, digits and _ only, and no digit first")),
        None => Ok(()),
    }
}
