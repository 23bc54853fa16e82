//! Every mistake with the text that people read: `diagnostics/<name>.alloy` → `<name>.txt`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p runtime` writes the texts anew; look at the difference.

use std::path::Path;

use component::{Services, Stability};
use runtime::validate;
use syntax::Source;

use crate::world::{options, runtime, spread};

#[test]
fn mistakes_are_shown_with_their_place_and_a_way_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/diagnostics");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "alloy"));
    files.sort();
    assert!(files.len() > 30, "the folder holds the cases");
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let found = rendered(&name, &std::fs::read_to_string(&file).unwrap());
        let golden = file.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &found).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != found {
            wrong.push(format!("--- {name}\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn rendered(name: &str, text: &str) -> String {
    let mut services = Services::for_tests("/nonexistent");
    std::sync::Arc::get_mut(&mut services).unwrap().stability = Stability::GenerallyAvailable;
    syntax::render(&validate(options(services).0, &[Source::new(name, text)], None), false)
}

#[test]
fn a_good_configuration_has_no_diagnostics() {
    let good = r#"
        settings { level = "debug" }
        test.source "s" { world = "w"  forward_to = [test.relay.r.receiver, pair.p.in] }
        test.relay "r" { world = "w"  forward_to = [test.sink.k.receiver] }
        test.sink "k" { world = sys.env("HOME") }
        declare "pair" {
            argument "to" { }
            argument "tag" { optional = true  default = "none" }
            test.relay "one" { world = "w"  forward_to = argument.to.value  tag = argument.tag.value }
            export "in" { value = test.relay.one.receiver }
        }
        pair "p" { to = [test.sink.k.receiver] }
        foreach "f" {
            collection = [{name = "a"}]
            var = "item"
            id = "name"
            template { test.value "v" { value = item.name + test.value.w.text } }
        }
        test.value "w" { value = module_path }
    "#;
    assert_eq!(rendered("good.alloy", &spread(good)), "");
}

#[test]
fn no_line_shows_what_a_module_makes_a_secret_of() {
    let text = r#"
        declare "inner" {
            argument "pw" { default = "hunter2" + 1 }
            argument "plain" { }
            test.sink "k" { world = argument.plain.value  password = string.trim_space(argument.pw.value) }
        }
        declare "outer" {
            argument "handed_on" { }
            inner "i" { pw = argument.handed_on.value  plain = "shown" }
        }
        outer "o" { handed_on = "hunter2" + 1 }
        inner "n" { pw = ["hunter2"] + 1  plain = "shown" + 1 }
    "#;
    let shown = rendered("handed_on.alloy", &spread(text));
    assert!(!shown.contains("hunter2"), "{shown}");
    for line in ["handed_on = \"*******\" + 1", "pw = [\"*******\"] + 1", "plain = \"shown\" + 1"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn no_line_shows_what_an_imported_module_makes_a_secret_of() {
    let folder = tempfile::tempdir().unwrap();
    let inner = r#"
        declare "inner" {
            argument "handed_in" { default = "hunter2" + 1 }
            test.sink "k" { world = "w"  password = argument.handed_in.value }
        }
    "#;
    std::fs::write(folder.path().join("inner.alloy"), spread(inner)).unwrap();
    let outer = format!(
        "import.file \"deep\" {{ filename = {:?} }}\n{}",
        folder.path().join("inner.alloy"),
        r#"
        declare "outer" {
            argument "handed_on" { }
            argument "plain" { }
            deep.inner "i" { handed_in = argument.handed_on.value }
            deep.inner "j" { handed_in = "hunter2" + 1 }
            test.sink "k" { world = argument.plain.value }
        }
        "#
    );
    std::fs::write(folder.path().join("outer.alloy"), spread(&outer)).unwrap();
    let text = format!(
        "import.file \"lib\" {{ filename = {:?} }}\n{}",
        folder.path().join("outer.alloy"),
        r#"
        lib.outer "o" { handed_on = "hunter2" + 1  plain = "shown" + 1 }
        declare "around" {
            argument "further" { }
            lib.outer "o" { handed_on = argument.further.value  plain = "shown" }
        }
        around "a" { further = "hunter2" + 1 }
        "#
    );
    let mut services = Services::for_tests("/nonexistent");
    std::sync::Arc::get_mut(&mut services).unwrap().stability = Stability::GenerallyAvailable;
    let found = validate(options(services).0, &[Source::new("imports.alloy", spread(&text))], None);
    let shown = syntax::render(&found, false);
    assert!(!shown.contains("hunter2"), "{shown}");
    for line in ["handed_on = \"*******\" + 1", "further = \"*******\" + 1", "plain = \"shown\" + 1"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[tokio::test]
async fn no_line_shows_what_a_module_of_another_file_makes_a_secret_of() {
    let declares = "declare \"d\" {\nargument \"handed_in\" { }\ntest.sink \"k\" {\nworld = \"w\"\npassword = argument.handed_in.value\n}\n}";
    let uses = "d \"x\" {\nhanded_in = \"hunter2\" + 1\n}";
    let sources = vec![Source::new("a.alloy", declares), Source::new("b.alloy", uses)];
    let refused = runtime().load(sources).await.expect_err("a sum of a text and a number");
    let shown = syntax::render(&refused.diagnostics, false);
    assert!(shown.contains("handed_in = \"*******\" + 1"), "{shown}");
}

#[test]
fn no_line_that_is_broken_shows_a_secret_either() {
    for line in [
        "test.sink \"k\" { world = \"w\"  password = \"hunter2\" }",
        "test.sink \"k\" {\n\tpassword = \"a\" \"hunter2\"\n}",
        "test.sink \"k\" {\n\tworld = \"w\" password = string.format(\"hunter2\"\n}",
        "declare \"d\" {\n\targument \"a\" { optional = true  default = \"hunter2\" }\n}",
        "declare \"d\" {\n\targument \"a\" { }\n\ttest.sink \"k\" {\n\t\tworld = \"w\"\n\t\tpassword = argument.a.value\n\t}\n}\n\
         d \"x\" { optional = 1  a = `hunter2` }",
    ] {
        let shown = rendered("broken.alloy", line);
        assert!(shown.contains("error[syntax]") && !shown.contains("hunter2"), "{line}\n{shown}");
    }
}

#[test]
fn no_line_that_is_shown_holds_a_secret() {
    let text = include_str!("diagnostics/secret_lines.alloy");
    let shown = rendered("secret_lines.alloy", text);
    assert!(!shown.contains("hunter2"), "{shown}");
    for line in [
        "password = \"*******\" + 1",
        "pasword = \"*******\"",
        "token = \"*******\"  other = \"shown\"",
        "value = \"http://u:*******@host\" + 1",
        "sys.nope({ \"Authorization\" = \"*******\", \"b\" = \"shown\" })",
        "string.format(\"**********\", argument.nope)",
        "api_token = `*******` + 1",
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
}
