//! Which names a block's values refer to: the edges of the configuration graph.

use crate::ast::{Body, Expr, ExprKind, Ident, Statement, walk_expr};
use crate::span::Span;

/// A chain of names, `a.b.c`, as far as it goes without an index or a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The names, never empty; the first is looked up in scope.
    pub path: Vec<Ident>,
    /// From the first name to the last.
    pub span: Span,
}

impl Reference {
    /// The names with dots between them.
    pub fn dotted(&self) -> String {
        self.path.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(".")
    }
}

/// All references in the attributes of a body and of the blocks in it, in order of position.
pub fn references(body: &Body) -> Vec<Reference> {
    let mut found = Vec::new();
    collect(body, &mut found);
    found
}

/// All references in one expression.
pub fn expr_references(expr: &Expr) -> Vec<Reference> {
    let mut found = Vec::new();
    visit(expr, &mut found);
    found
}

fn collect(body: &Body, found: &mut Vec<Reference>) {
    for statement in &body.statements {
        match statement {
            Statement::Attribute(attribute) => visit(&attribute.value, found),
            Statement::Block(block) => collect(&block.body, found),
        }
    }
}

fn visit(expr: &Expr, found: &mut Vec<Reference>) {
    walk_expr(expr, &mut |e| match chain(e) {
        Some(path) => {
            found.push(Reference { path, span: e.span });
            false
        }
        None => true,
    });
}

/// The names of an expression that is nothing but a chain of them.
fn chain(expr: &Expr) -> Option<Vec<Ident>> {
    let mut path = Vec::new();
    let mut at = expr;
    loop {
        match &at.kind {
            ExprKind::Access(inner, name) => {
                path.push(name.clone());
                at = inner;
            }
            ExprKind::Ident(name) => {
                path.push(Ident { name: name.clone(), span: at.span });
                path.reverse();
                return Some(path);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, parse};

    #[test]
    fn a_chain_stops_at_index_and_call() {
        for (value, want) in [
            ("a", "a"),
            ("a.b.c", "a.b.c"),
            ("a.b.c[0].d", "a.b.c"),
            ("a.b[c.d].e", "a.b c.d"),
            ("f.g(x.y, [z]).w", "f.g x.y z"),
            ("-a.b + (c.d) ^ e", "a.b c.d e"),
            ("{ k = v.w, \"q\" = \"text\" }", "v.w"),
            ("(a.b).c", "a.b"),
            ("1 + null", ""),
        ] {
            let (file, problems) = parse(&Source::new("t", format!("x = {value}")));
            assert_eq!(problems, []);
            let got: Vec<_> = references(&file.body).iter().map(Reference::dotted).collect();
            assert_eq!(got.join(" "), want, "{value}");
        }
    }

    #[test]
    fn inner_blocks_count_and_spans_cover_the_chain() {
        let source = Source::new("t", "a = b.c\nd {\n\te \"l\" {\n\t\tf = g.h.i[0]\n\t}\n}\n");
        let found = references(&parse(&source).0.body);
        let spans: Vec<_> = found.iter().map(|r| source.slice(r.span)).collect();
        assert_eq!(spans, ["b.c", "g.h.i"]);
        assert_eq!(source.slice(found[1].path[1].span), "h");
    }
}
