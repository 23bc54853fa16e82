//! `stage.tenant` says for which tenant of Loki an entry is.

use component::eval::Invalid;
use component::{Arguments, Error};

use crate::intake::TENANT_LABEL;
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.tenant`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Label that holds the tenant.
    #[arg(default)]
    pub label: String,
    /// Extracted value that holds the tenant.
    #[arg(default)]
    pub source: String,
    /// The tenant.
    #[arg(default)]
    pub value: String,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let given = [&self.label, &self.source, &self.value].iter().filter(|text| !text.is_empty()).count();
        match given {
            1 => Ok(()),
            0 => Err(Invalid::body("needs one of label, source and value")),
            _ => Err(Invalid::body("label, source and value exclude each other")),
        }
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        Ok(Node::map(Tenant(self.clone())))
    }
}

struct Tenant(Args);

impl MapStage for Tenant {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let Args { label, source, value } = &self.0;
        let tenant = if !source.is_empty() {
            record.extracted.shared_text(source)
        } else if !label.is_empty() {
            record.labels.get(label).map(Into::into)
        } else {
            Some(value.as_str().into())
        };
        // An entry without one goes to the writer's own tenant.
        if let Some(tenant) = tenant.filter(|tenant| !tenant.is_empty()) {
            record.labels.set(TENANT_LABEL, &tenant);
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, refused};

    #[test]
    fn the_tenant_comes_from_a_label_a_value_or_the_configuration() {
        let team = || Case::new("x").labels([("team", "a")]);
        let told = |tenant| Case::new("x").labels([("team", "a"), ("__tenant_id__", tenant)]);
        check("stage.tenant { label = \"team\" }", &[team().gives(told("a")), Case::new("x").same()]);
        check("stage.tenant { source = \"team\" }", &[team().gives(told("a")), Case::new("x").same()]);
        check("stage.tenant { value = \"t\" }", &[team().gives(told("t"))]);
    }

    #[test]
    fn exactly_one_place_is_named() {
        refused("stage.tenant { }", "needs one of");
        refused("stage.tenant { value = \"a\"\n label = \"b\" }", "exclude each other");
        refused("stage.tenant { source = \"a\"\n label = \"b\" }", "exclude each other");
    }
}
