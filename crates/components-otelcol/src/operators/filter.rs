//! `filter`: drops entries that an expression is true of, all of them or a part.

use super::entry::{Entry, Failure};
use super::expr::Expr;
use super::options::Options;

/// The operator.
pub struct Filter {
    expr: Expr,
    ratio: f64,
}

impl Filter {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let expr = options.expr("expr")?.ok_or_else(|| options.error("expr is missing"))?;
        let ratio = options.number("drop_ratio", 1.0)?;
        if !(0.0..=1.0).contains(&ratio) {
            return Err(options.error("drop_ratio must be from 0 to 1"));
        }
        Ok(Self { expr, ratio })
    }

    /// Whether an entry is to be dropped.
    ///
    /// # Errors
    /// If the expression fails.
    pub fn drops(&self, entry: &Entry) -> Result<bool, Failure> {
        Ok(self.expr.is_true(entry)? && fastrand::f64() < self.ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run_entries, text_entry};

    #[test]
    fn what_the_expression_is_true_of_is_dropped() {
        for (options, expected) in [
            (r#"expr = "body matches '^DEBUG'""#, vec!["INFO a", "INFO c"]),
            (r#"expr = "body contains 'a'", drop_ratio = 0"#, vec!["INFO a", "DEBUG b", "INFO c"]),
            (r#"expr = "body.x == 1""#, vec!["INFO a", "DEBUG b", "INFO c"]),
        ] {
            let entries = ["INFO a", "DEBUG b", "INFO c"].map(text_entry).to_vec();
            let out = run_entries(&format!(r#"{{type = "filter", {options}}}"#), entries);
            assert_eq!(out.iter().map(|e| e.body.text()).collect::<Vec<_>>(), expected, "{options}");
        }
        assert!(refused(r#"{type = "filter"}"#).contains("expr"));
        assert!(refused(r#"{type = "filter", expr = "true", drop_ratio = 2}"#).contains("drop_ratio"));
    }
}
