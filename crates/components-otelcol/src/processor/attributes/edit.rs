//! Applies the rules to the items of requests, in their serialised form.

use signal::otlp::ClientMetadata;
use wire::otlp::view::Unclear;
use wire::otlp::{Around, AttributeList, Editor, Fate, Splices};

use super::Rules;
use super::matching::Filtering;
use crate::signals::Kind;

/// Edits the requests of one batch.
pub(super) struct Editing<'r> {
    rules: &'r Rules,
    filtering: Filtering<'r>,
    client: Option<&'r ClientMetadata>,
}

impl<'r> Editing<'r> {
    pub(super) fn new(rules: &'r Rules, kind: Kind, client: Option<&'r ClientMetadata>) -> Self {
        Self { rules, filtering: Filtering::new(&rules.filter, kind), client }
    }
}

impl Editor for Editing<'_> {
    fn begin(&mut self) {
        self.filtering.begin();
    }

    fn item(&mut self, around: Around<'_>, item: &[u8], splices: &mut Splices) -> Result<Fate, Unclear> {
        if self.filtering.applies(around, item)? {
            let concerned = |key: &[u8]| self.rules.actions.iter().any(|action| action.concerns(key));
            let mut list = AttributeList::of(item, around.attributes, concerned)?;
            for action in &self.rules.actions {
                action.apply(&mut list, self.client)?;
            }
            list.write(splices);
        }
        Ok(Fate::Keep)
    }
}
