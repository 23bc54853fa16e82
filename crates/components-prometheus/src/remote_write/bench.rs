//! What the bench of the crate measures: the private encoder, by itself.

use component::eval::Arguments;
use component::{RelabelRule, compile_rules};
use signal::SampleBatch;
use wire::remote_write::{Message, Options};

use super::encode::{Encoder, rules};

pub use component::RelabelAction as Action;
pub use wire::remote_write::Message as Version;

/// An encoder as an endpoint has it.
pub struct Encoding(Encoder, Message);

impl Encoding {
    /// With external labels and with rules given as action, source label and expression.
    ///
    /// # Panics
    /// If a rule is wrong.
    pub fn new(version: Version, external: &[(&str, &str)], relabel: &[(Action, &str, &str)]) -> Self {
        let external: Vec<_> = external.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let rule = |(action, source, regex): &(Action, &str, &str)| {
            let mut rule = RelabelRule::defaults();
            rule.action = *action;
            rule.source_labels = Some(source.to_string()).filter(|s| !s.is_empty()).into_iter().collect();
            rule.regex = Some(regex.parse().expect("a pattern of this benchmark"));
            rule
        };
        let relabel: Vec<_> = relabel.iter().map(rule).collect();
        let relabel = compile_rules("write_relabel_config", &relabel).expect("good rules");
        let rules = rules(external.iter().map(|(n, v)| (n, v)), &relabel).expect("good rules");
        Self(Encoder::new(Options::default(), rules, None), version)
    }

    /// Bytes of the records that a batch becomes.
    pub fn encode(&self, batch: &SampleBatch) -> usize {
        self.0.encode(batch, self.1, 1_763_700_000_000).records.iter().map(|r| r.body.len()).sum()
    }
}
