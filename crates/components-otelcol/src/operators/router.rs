//! `router`: sends an entry where the first of several expressions that is true of it says.

use super::entry::{Entry, Failure};
use super::expr::{Expr, Template};
use super::options::Options;

/// The operator, with the names of the operators that it leads to.
pub struct Router {
    routes: Vec<Route>,
    default: Vec<String>,
}

struct Route {
    expr: Expr,
    outputs: Vec<String>,
    attributes: Vec<(String, Template)>,
}

impl Router {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let mut routes = Vec::new();
        for mut route in options.list("routes")? {
            let expr = route.expr("expr")?.ok_or_else(|| route.error("expr is missing"))?;
            let outputs = route.texts("output")?;
            if outputs.is_empty() {
                return Err(route.error("output is missing"));
            }
            let attributes = match route.nested("attributes")? {
                None => Vec::new(),
                Some(mut nested) => templates(&mut nested)?,
            };
            route.finish()?;
            routes.push(Route { expr, outputs, attributes });
        }
        if routes.is_empty() {
            return Err(options.error("routes is missing"));
        }
        Ok(Self { routes, default: options.texts("default")? })
    }

    /// The outputs of each route, then those of the default.
    pub fn outputs(&self) -> Vec<&[String]> {
        self.routes.iter().map(|r| r.outputs.as_slice()).chain([self.default.as_slice()]).collect()
    }

    /// Which of [`Router::outputs`] an entry takes.
    ///
    /// # Errors
    /// If an expression fails before one is true.
    pub fn route(&self, entry: &mut Entry) -> Result<usize, Failure> {
        for (i, route) in self.routes.iter().enumerate() {
            if route.expr.is_true(entry)? {
                for (name, template) in &route.attributes {
                    let value = template.value(entry)?;
                    entry.attributes_mut().insert(name.clone(), value);
                }
                return Ok(i);
            }
        }
        Ok(self.routes.len())
    }
}

/// Names with text that may hold expressions.
///
/// # Errors
/// If one is no text, or an expression in it is none.
pub fn templates(options: &mut Options) -> Result<Vec<(String, Template)>, String> {
    let rest = options.rest();
    rest.into_iter()
        .map(|(name, value)| {
            let component::eval::Value::String(text) = value else {
                return Err(options.error(format!("{name} must be text")));
            };
            let template = Template::parse(&text).map_err(|e| options.error(format!("{name}: {e}")))?;
            Ok((name, template))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run_all, shown, sorted, text_entry};

    #[test]
    fn entries_go_where_the_first_true_expression_leads() {
        let config = r#"[
            {type = "router", default = "other", routes = [
                {expr = "body startsWith 'a'", output = "first", attributes = {route = "A", n = "EXPR(body)"}},
                {expr = "body startsWith 'b'", output = ["first", "second"]},
            ]},
            {type = "add", id = "first", field = "attributes.f", value = 1, output = "end"},
            {type = "add", id = "second", field = "attributes.s", value = 2, output = "end"},
            {type = "add", id = "other", field = "attributes.o", value = 3},
            {type = "noop", id = "end"},
        ]"#;
        let out = run_all(config, ["a1", "b1", "c1"].map(text_entry).to_vec());
        let expected =
            [r#"{"route":"A","n":"a1","f":1} "a1""#, r#"{"f":1} "b1""#, r#"{"s":2} "b1""#, r#"{"o":3} "c1""#];
        assert_eq!(shown(&out), sorted(&expected.join("\n")));
        let dropping = r#"[{type = "router", routes = [{expr = "body == 'a'", output = "end"}]}, {type = "noop", id = "end"}]"#;
        assert_eq!(run_all(dropping, ["a", "b"].map(text_entry).to_vec()).len(), 1, "no default drops");
        for (config, says) in [
            (r#"{type = "router"}"#, "routes"),
            (r#"{type = "router", routes = [{expr = "true"}]}"#, "output"),
            (r#"{type = "router", routes = [{expr = "true", output = "nowhere"}]}"#, "nowhere"),
            (r#"{type = "router", routes = [{expr = "(", output = "x"}]}"#, "expr"),
        ] {
            assert!(refused(config).contains(says), "{config}");
        }
    }
}
