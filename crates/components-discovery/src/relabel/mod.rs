//! `discovery.relabel` rewrites the label sets of discovered targets.
//!
//! A pure function of its arguments: it holds no state and owns no task.

use std::sync::Arc;

use component::{
    Arguments, BuildCx, Error, Exports, Pure, RelabelRule, RelabelRules, Stability, Target, compile_rules,
};

/// Arguments.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Targets to relabel.
    #[arg(type_name = "list(map(string))")]
    pub targets: Vec<Target>,
    /// Relabelling rules, applied in order.
    #[arg(block)]
    pub rule: Vec<RelabelRule>,
}

/// Exports.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct Relabelled {
    /// Targets that the rules kept.
    #[arg(type_name = "list(map(string))")]
    pub output: Vec<Target>,
    /// The rules themselves, for other components.
    pub rules: RelabelRules,
}

/// The component.
pub struct Relabel;

impl Pure for Relabel {
    const NAME: &'static str = "discovery.relabel";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = Relabelled;

    fn evaluate(args: &Args, cx: &BuildCx) -> Result<Relabelled, Error> {
        let rules = compile_rules("rule", &args.rule)?;
        let apply = |target: &Target| {
            let relabelled = rules.relabel(target.labels()).map(|labels| Target(labels.into()));
            cx.live_debug(|| match &relabelled {
                Some(after) => format!("{} => {}\n", target.labels(), after.labels()),
                None => format!("{} => dropped\n", target.labels()),
            });
            relabelled
        };
        let output = args.targets.iter().filter_map(apply).collect();
        Ok(Relabelled { output, rules: RelabelRules(Arc::new(args.rule.clone())) })
    }
}

#[cfg(test)]
mod tests {
    use component::testkit::{Harness, Names, Refused};
    use component::{ArgValue, ComponentDef};

    use super::*;
    use crate::discovery::target;

    const BODY: &str = r#"
        targets = [
            {"__address__" = "a:1", "__meta_pod" = "web-1", "env" = "prod"},
            {"__address__" = "b:2", "__meta_pod" = "db-1", "env" = "dev"},
        ]
        rule {
            source_labels = ["env"]
            regex         = "dev"
            action        = "drop"
        }
        rule {
            source_labels = ["__meta_pod"]
            regex         = "(.+)-\\d+"
            target_label  = "service"
        }
        rule {
            regex  = "env"
            action = "labeldrop"
        }
    "#;

    #[tokio::test]
    async fn targets_are_rewritten_or_dropped_and_the_rules_are_exported() {
        let harness = Harness::start(ComponentDef::pure::<Relabel>(), BODY, Names::default()).await;
        let exports = harness.node.exports();
        let exports = exports.as_object().unwrap();
        let output = Vec::<Target>::from_value(&exports["output"]).unwrap();
        let expected = target(&[("__address__", "a:1"), ("__meta_pod", "web-1"), ("service", "web")]);
        assert_eq!(output, [expected]);
        assert_eq!(RelabelRules::from_value(&exports["rules"]).unwrap().0.len(), 3);
    }

    #[tokio::test]
    async fn a_rule_that_cannot_work_is_refused_and_the_last_output_stays() {
        let harness = Harness::start(ComponentDef::pure::<Relabel>(), BODY, Names::default()).await;
        let before = harness.node.exports();
        let bad = "targets = []\nrule {\n regex = \"(\"\n target_label = \"x\"\n}";
        let refused = harness.update(bad).await.unwrap_err();
        assert!(matches!(&refused, Refused::Diagnostics(_)), "{refused:?}");
        assert_eq!(harness.node.exports(), before);
    }
}
