//! `prometheus.exporter.static` gives metrics that stand in the configuration.
//!
//! The text is read when the configuration is; the page is made once.

use component::eval::Invalid;
use component::{Arguments, BuildCx, Error, Pure, Stability};
use signal::exposition::{Family, write_text};

use crate::page::{self, ExporterExports};
use crate::text;

/// `prometheus.exporter.static`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Metrics in the Prometheus text format.
    pub text: String,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let invalid = |error: text::TextError| {
            Invalid::field("text", format!("is not in the Prometheus text format: {error}"))
                .with_help("a sample is a line such as: up{job=\"x\"} 1")
        };
        text::parse(&self.text).map(drop).map_err(invalid)
    }
}

/// The component.
pub struct Static;

impl Pure for Static {
    const NAME: &'static str = "prometheus.exporter.static";
    const STABILITY: Stability = Stability::Experimental;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ExporterExports;

    fn evaluate(args: &Args, cx: &BuildCx) -> Result<ExporterExports, Error> {
        let parsed = text::parse(&args.text).map_err(|error| Error::argument("text", error.to_string()))?;
        let mut families: Vec<Family> = parsed.into_iter().map(|parsed| parsed.family).collect();
        families.sort_by(|a, b| a.name.cmp(&b.name));
        let mut page = String::new();
        write_text(&families, &mut page);
        // As Alloy: several of these on one host are told apart by their ID.
        Ok(page::serve(cx, "static", cx.id(), move |out| out.push_str(&page)))
    }
}

#[cfg(test)]
mod tests {
    use component::testkit::{Harness, Names, Refused};
    use component::{ComponentDef, Services};

    use super::*;

    #[tokio::test]
    async fn the_text_is_served() {
        let body = r##"text = "# TYPE b gauge\nb{x=\"1\"} 2 1700000000000\na 1\n""##;
        let harness = Harness::start(ComponentDef::pure::<Static>(), body, Names::default()).await;
        let page = page::testing::page(&harness).await;
        let expected =
            "# HELP a \n# TYPE a untyped\na 1\n# HELP b \n# TYPE b gauge\nb{x=\"1\"} 2 1700000000000\n";
        assert_eq!(page, expected);
    }

    #[tokio::test]
    async fn a_mistake_in_the_text_is_found_when_the_configuration_is_read() {
        let services = Services::for_tests("/nonexistent");
        let harness = Harness::new(ComponentDef::pure::<Static>(), Names::default(), services);
        let refused = harness.update(r#"text = "a 1\nb x\n""#).await.unwrap_err();
        let Refused::Diagnostics(found) = refused else { panic!("{refused:?}") };
        assert!(found[0].message.contains("line 2: \"x\" is not a number"), "{found:?}");
    }
}
