//! HTTP clients as Prometheus, Promtail and Grafana Agent write them: mostly the names are those of the components.

use crate::cx::{Cx, Fields, list};
use crate::fill::{Rule, To, rule};
use crate::out::{Expr, Item, attribute};
use crate::yaml::{Key, Kind, Node};

/// What differs.
pub const HTTP: &[Rule] = &[
    rule("tls_config.ca", To::At("ca_pem")),
    rule("tls_config.cert", To::At("cert_pem")),
    rule("tls_config.key", To::At("key_pem")),
    rule("tls_config.max_version", To::Refuse("remove it: the newest version both sides know is used")),
    rule("http_headers", To::Own(headers)),
];

/// `http_headers: {Name: {values: […], secrets: […], files: […]}}`
fn headers(cx: &mut Cx<'_>, key: &Key, node: &Node, items: &mut Vec<Item>) {
    let Kind::Map(entries) = &node.kind else {
        return cx.wrong(node, &key.text, "a mapping");
    };
    let mut headers = Vec::new();
    for (name, value) in entries {
        let mut fields = Fields::of(cx, value, format!("the header {}", name.text));
        let mut values = Vec::new();
        for key in ["values", "secrets"] {
            for item in fields.take(key).map(|n| list(cx, n, key)).unwrap_or_default() {
                values.extend(cx.typed("secret", &name.text, item));
            }
        }
        for item in fields.take("files").map(|n| list(cx, n, "files")).unwrap_or_default() {
            let path = cx.text(item.text().unwrap_or_default(), item.span);
            values.push(cx.file(&format!("header_{}", name.text), path, true, item.span));
        }
        fields.finish(cx);
        headers.push((name.text.clone(), Expr::List(values)));
    }
    items.push(attribute("http_headers", Expr::Object(headers)));
}
