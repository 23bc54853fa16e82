//! What `run` and `validate` share: the settings of a load, and the check of a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use component::Services;
use runtime::{ConfigBlockDef, Convert, ImportDef, Options};
use syntax::{Diagnostic, Source};

use crate::args::LoadArgs;
use crate::blocks;

/// What makes a configuration of a text in another language, as the command line asks; `None` if it is none.
/// Errors that are bypassed become warnings.
#[cfg(feature = "convert")]
pub fn converter(load: &LoadArgs) -> Option<Convert> {
    let format = load.language.foreign()?.into();
    let (bypass, arguments, registry) = (load.bypass_errors, load.extra_args.clone(), catalog::all());
    Some(Arc::new(move |source: &Source| {
        let mut converted = convert::convert(source, format, &arguments, &registry);
        let refused = !bypass && converted.problems.iter().any(Diagnostic::is_error);
        match converted.text {
            Some(text) if !refused => {
                for problem in &mut converted.problems {
                    problem.severity = syntax::Severity::Warning;
                }
                let source = Source::new(format!("{} (converted)", source.name()), text);
                Ok(runtime::Translated { source, warnings: converted.problems })
            }
            _ => Err(converted.problems),
        }
    }))
}

/// A build without the converter refuses every text in another language.
#[cfg(not(feature = "convert"))]
pub fn converter(load: &LoadArgs) -> Option<Convert> {
    load.language.foreign()?;
    Some(Arc::new(|source: &Source| {
        let why = "a slim build reads no other program's files: let `ferroalloy convert` of the full one make a \
                   configuration of it";
        Err(vec![Diagnostic::error("unsupported", why, source, syntax::Span::new(0, 0))])
    }))
}

/// Kinds of import blocks besides files and strings.
pub fn imports() -> Vec<ImportDef> {
    vec![
        import_http::IMPORT,
        #[cfg(feature = "git")]
        import_git::IMPORT,
    ]
}

/// Options for a runtime over `services`.
pub fn options(services: &Arc<Services>, blocks: Vec<ConfigBlockDef>) -> Options {
    Options { registry: catalog::all(), blocks, imports: imports(), services: services.clone() }
}

/// Services with the settings of the command line and nothing registered.
pub fn services(
    load: &LoadArgs,
    storage: PathBuf,
    memory_address: &str,
    deadline: Duration,
    id: String,
) -> Arc<Services> {
    Arc::new(Services {
        metrics: Default::default(),
        handlers: Default::default(),
        live_debug: Default::default(),
        legacies: Default::default(),
        storage,
        memory_address: memory_address.to_string(),
        stability: load.stability,
        shutdown_deadline: deadline,
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        version: crate::VERSION,
        instance_id: id,
        trial: false,
    })
}

/// The whole static pass.
pub fn validate(sources: &[Source], path: &Path, load: &LoadArgs) -> Vec<Diagnostic> {
    let services =
        services(load, std::env::temp_dir(), "alloy.internal:12345", Duration::from_secs(600), String::new());
    let converted = load.language.foreign().map(|_| path);
    runtime::validate(options(&services, blocks::checked()), sources, converted)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use component::eval::{BodySchema, FieldSchema, Scope, check_schema};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn diagnostics(name: &str, text: &str) -> Vec<Diagnostic> {
        let load = Line::parse_from(["test", "--stability.level=experimental"]).load;
        validate(&[Source::new(name, text)], Path::new(name), &load)
    }

    fn problems(name: &str, text: &str) -> Vec<String> {
        diagnostics(name, text).iter().map(|d| syntax::render(std::slice::from_ref(d), false)).collect()
    }

    /// Every body that a component may have in it, with the blocks that lead to it as they are opened.
    fn bodies(
        schema: &'static BodySchema,
        path: &mut Vec<String>,
        known: &mut Vec<*const BodySchema>,
        each: &mut impl FnMut(&[String], &'static BodySchema),
    ) {
        if known.contains(&std::ptr::from_ref(schema)) {
            return;
        }
        known.push(schema);
        each(path, schema);
        for field in &schema.fields {
            if let FieldSchema::Block(block) = field {
                let body = (block.body)();
                let label = if body.labelled { " \"label\"" } else { "" };
                path.push(format!("{}{label} {{", block.name));
                bodies(body, path, known, each);
                path.pop();
            }
        }
    }

    /// Lines with one mistake each, and a word that has to be in what is said of it.
    fn mistakes(schema: &BodySchema) -> Vec<(String, &'static str)> {
        let values = ["true", "\"x\"", "[]", "{ a = [{ }] }", "[[true]]"];
        let mut lines = vec![("no_such_thing = 1".to_string(), "no_such_thing")];
        lines.push(("no_such_block { }".to_string(), "no_such_block"));
        for field in &schema.fields {
            match field {
                FieldSchema::Attribute(a) => {
                    let is_wrong = |text: &&&str| {
                        let source = Source::new("value", **text);
                        let (expr, _) = syntax::parse_expression(&source);
                        let scope = Scope::new(&());
                        let value = component::eval::evaluate(&expr.expect("it parses"), &source, &scope);
                        (a.check)(&value.expect("it has a value")).is_err()
                    };
                    match values.iter().find(is_wrong) {
                        Some(value) => lines.push((format!("{} = {value}", a.name), a.name)),
                        // What takes anything takes no block.
                        None => lines.push((format!("{} {{ }}", a.name), a.name)),
                    }
                }
                FieldSchema::Block(b) if b.name.contains('.') => {}
                FieldSchema::Block(b) => lines.push((format!("{} = 1", b.name), b.name)),
            }
        }
        lines
    }

    /// All at once, so that no mistake hides another.
    #[test]
    fn a_mistake_in_any_place_of_any_component_is_told_with_its_place() {
        let (mut count, mut silent) = (0, Vec::new());
        for definition in catalog::all().iter() {
            let mut check = |path: &[String], schema: &'static BodySchema| {
                let mistakes = mistakes(schema);
                let mut lines = vec![format!("{} \"x\" {{", definition.name)];
                lines.extend(path.iter().cloned());
                let first = lines.len() + 1;
                lines.extend(mistakes.iter().map(|(line, _)| line.clone()));
                lines.extend(std::iter::repeat_n("}".to_string(), path.len() + 1));
                let found = diagnostics(definition.name, &(lines.join("\n") + "\n"));
                for ((line, word), number) in mistakes.iter().zip(first..) {
                    count += 1;
                    let is_told = found.iter().any(|d| {
                        let at = d.location.as_ref().map(|l| l.line_column().line as usize);
                        d.is_error() && at == Some(number) && d.message.contains(word)
                    });
                    if !is_told {
                        silent.push(format!("{} {path:?} {line}", definition.name));
                    }
                }
                // What is required is asked for where it is missing.
                let empty = [lines[..first - 1].to_vec(), vec!["}".to_string(); path.len() + 1]].concat();
                let found = diagnostics(definition.name, &(empty.join("\n") + "\n"));
                for field in schema.fields.iter().filter(|f| f.required()) {
                    let wanted = format!("\"{}\" is required", field.name());
                    let is_told = found.iter().any(|d| d.message.contains(&wanted) && d.location.is_some());
                    if !is_told {
                        silent.push(format!("{} {path:?} without {}", definition.name, field.name()));
                    }
                }
            };
            bodies((definition.arguments)(), &mut Vec::new(), &mut Vec::new(), &mut check);
        }
        assert_eq!(silent, Vec::<String>::new());
        assert!(count > 3000, "{count}");
    }

    /// A label where there must be none, none where there must be one.
    #[test]
    fn a_label_in_the_wrong_place_is_told_at_its_block() {
        let mut silent = Vec::new();
        for definition in catalog::all().iter() {
            let mut check = |path: &[String], schema: &'static BodySchema| {
                let wrong = match path.last() {
                    None => vec![format!("{} {{", definition.name)],
                    Some(last) if schema.labelled => vec![last.replace(" \"label\"", "")],
                    Some(last) => vec![last.replace(" {", " \"label\" {")],
                };
                let outer = match path {
                    [] => vec![],
                    [around @ .., _] => {
                        [vec![format!("{} \"x\" {{", definition.name)], around.to_vec()].concat()
                    }
                };
                let depth = outer.len() + 1;
                let text = [outer, wrong, vec!["}".to_string(); depth]].concat().join("\n");
                let found = diagnostics(definition.name, &format!("{text}\n"));
                let is_told = found.iter().any(|d| {
                    let at = d.location.as_ref().map(|l| l.line_column().line as usize);
                    d.is_error() && at == Some(depth) && d.message.contains("label")
                });
                if !is_told {
                    silent.push(text);
                }
            };
            bodies((definition.arguments)(), &mut Vec::new(), &mut Vec::new(), &mut check);
        }
        assert_eq!(silent, Vec::<String>::new());
    }

    /// The texts between "```alloy" and "```".
    fn examples(page: &str) -> Vec<&str> {
        page.split("```alloy\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
    }

    #[test]
    fn every_example_of_the_reference_is_valid() {
        for definition in catalog::all().iter() {
            let examples = examples(definition.docs);
            assert!(!examples.is_empty(), "{} has no example", definition.name);
            for example in examples {
                assert_eq!(problems(definition.name, example), Vec::<String>::new(), "{example}");
            }
        }
    }

    /// Bodies with one thing in them that has no effect.
    fn without_effect(
        schema: &'static BodySchema,
        known: &mut Vec<*const BodySchema>,
        found: &mut Vec<String>,
    ) {
        if known.contains(&std::ptr::from_ref(schema)) {
            return;
        }
        known.push(schema);
        for field in &schema.fields {
            let text = match field {
                FieldSchema::Attribute(a) => {
                    format!("{} = {}", a.name, a.default.as_deref().unwrap_or("null"))
                }
                FieldSchema::Block(b) => {
                    without_effect((b.body)(), known, found);
                    format!("{} {{ }}", b.name)
                }
            };
            let source = Source::new("body", text.as_str());
            let (file, _) = syntax::parse(&source);
            let said = check_schema(schema, &source, &file.body, None, &Scope::new(&()));
            let warned = said.iter().any(|d| d.code == "no_effect" && d.location.is_some());
            assert_eq!(warned, field.no_effect().is_some(), "{text}");
            if let Some(why) = field.no_effect() {
                assert!(!field.required() && !why.is_empty() && !why.ends_with('.'), "{text}: {why}");
                found.push(field.name().to_string());
            }
        }
    }

    #[test]
    fn whatever_a_component_marks_as_without_effect_is_warned_of_where_it_is_written() {
        let (mut known, mut found) = (Vec::new(), Vec::new());
        for definition in catalog::all().iter() {
            without_effect((definition.arguments)(), &mut known, &mut found);
        }
        for name in ["debug_info_upload_timeout", "compaction", "truncate_frequency", "clustering"] {
            assert!(found.iter().any(|f| f == name), "{name}: {found:?}");
        }
    }

    #[test]
    fn what_has_no_effect_with_these_values_is_warned_of() {
        let warnings = |listener: &str| {
            let listener = format!("listener {{\n\t\taddress = \"127.0.0.1:1514\"\n{listener}\n\t}}");
            let text = format!("loki.source.syslog \"s\" {{\n\t{listener}\n\tforward_to = []\n}}\n");
            problems("f", &text)
        };
        let found = warnings("\t\ttls_config {\n\t\t\tserver_name = \"x\"\n\t\t}");
        assert!(
            found.len() == 1 && found[0].contains("warning[no_effect]") && found[0].contains("f:5:4"),
            "{found:?}"
        );
        assert_eq!(warnings("\t\ttls_config { }"), Vec::<String>::new());
        let found = warnings("\t\tprotocol = \"udp\"\n\t\ttls_config {\n\t\t\tserver_name = \"x\"\n\t\t}");
        assert!(found.len() == 1 && found[0].contains("f:5:3"), "{found:?}");
    }

    /// The inputs of the converter's tests, and what they become; `true` where nothing was wrong with them.
    fn conversions() -> Vec<(std::path::PathBuf, bool)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../convert/testdata");
        let folders = |path: &Path| {
            let entries = std::fs::read_dir(path).expect("a folder");
            let mut paths: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
            paths.sort();
            paths
        };
        let cases =
            folders(&root).into_iter().flat_map(|f| folders(&f)).filter(|f| f.join("out.alloy").exists());
        let clean =
            |f: &Path| !std::fs::read_to_string(f.join("report.txt")).expect("a report").contains("(Error)");
        cases.map(|f| (f.join("out.alloy"), clean(&f))).collect()
    }

    #[test]
    fn what_is_converted_without_an_error_is_valid() {
        let mut count = 0;
        for (path, clean) in conversions() {
            let text = std::fs::read_to_string(&path).expect("a pipeline");
            let found = problems(&path.display().to_string(), &text);
            assert!(!clean || found.is_empty(), "{found:?}");
            count += usize::from(clean);
        }
        assert!(count >= 5, "there are conversions without errors: {count}");
    }

    #[test]
    fn what_is_left_of_a_file_with_errors_is_valid_where_nothing_is_missing() {
        for name in [
            "prometheus/discovery",
            "promtail/sources",
            "promtail/stages",
            "otelcol/typical",
            "otelcol/prometheus",
            "static/agent",
        ] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../convert/testdata")
                .join(name)
                .join("out.alloy");
            let text = std::fs::read_to_string(path).expect("a pipeline");
            assert_eq!(problems(name, &text), Vec::<String>::new(), "{text}");
        }
    }

    /// The whole circle: a file of Prometheus is read, converted, built and run, and stopped again.
    #[tokio::test]
    async fn a_converted_file_runs_in_the_real_graph() {
        net::install_provider();
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("prometheus.yml");
        // Nobody listens on port 1.
        let text = "scrape_configs:\n- job_name: go app\n  static_configs: [{targets: ['127.0.0.1:1']}]\n  \
                    relabel_configs: [{source_labels: [job], target_label: app}]\n\
                    remote_write: [{url: 'http://127.0.0.1:1/push'}]\n";
        std::fs::write(&path, text).expect("written");
        let load = Line::parse_from(["test", "--config.format=prometheus"]).load;
        let convert = converter(&load).expect("another language");
        let storage = folder.path().join("data");
        let services =
            services(&load, storage, "alloy.internal:12345", Duration::from_secs(5), String::new());
        let runtime = runtime::Runtime::new(options(&services, blocks::checked()));
        let source = runtime::ConfigSource::Converted { path, convert };
        let reloader = runtime::Reloader::new(runtime, source);
        let loaded = reloader.reload().await.expect("runs");
        assert!(loaded.warnings.is_empty(), "{loaded:?}");
        let shown = format!("{:?}", reloader.runtime().snapshot());
        for id in ["discovery.relabel.go_app", "prometheus.scrape.go_app", "prometheus.remote_write.default"]
        {
            assert!(shown.contains(id), "{id} is missing: {shown}");
        }
        reloader.runtime().shutdown(Duration::from_secs(5)).await;
    }

    #[test]
    fn what_a_conversion_leaves_out_is_a_warning_where_errors_are_bypassed() {
        // `tcp_md5` is no key of Prometheus.
        let text = "scrape_configs:\n- job_name: app\n  tcp_md5: x\n  static_configs: [{targets: ['a:1']}]\n";
        let convert = |line: &[&str]| converter(&Line::parse_from(line).load).expect("another language");
        let source = Source::new("prometheus.yml", text);
        let strict = convert(&["test", "--config.format=prometheus"]);
        let refused = strict(&source).expect_err("refused");
        assert!(refused.iter().any(Diagnostic::is_error));
        let lax = convert(&["test", "--config.format=prometheus", "--config.bypass-conversion-errors"]);
        let made = lax(&source).unwrap_or_else(|found| panic!("{found:?}"));
        assert_eq!(made.warnings.len(), refused.len());
        assert!(made.warnings.iter().all(|d| !d.is_error()), "{:?}", made.warnings);
    }

    #[test]
    fn the_example_stacks_and_the_readme_are_valid_and_formatted() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
        let readme = read("README.md");
        let defaults = [include_str!("default.alloy"), include_str!("default_elsewhere.alloy")];
        let mut texts = defaults.map(str::to_string).to_vec();
        texts.extend(["quickstart", "remote-write"].map(|e| read(&format!("examples/{e}/config.alloy"))));
        texts.extend(examples(&readme).iter().map(|e| e.to_string()));
        for text in texts {
            // Modules are imported as from the repository's folder; the test runs in another.
            let here = text.replace("\"pipelines/", &format!("\"{}/pipelines/", root.display()));
            assert_eq!(problems("example", &here), Vec::<String>::new(), "{text}");
            let (file, _) = syntax::parse(&Source::new("example", text.as_str()));
            assert_eq!(syntax::format(&file), text);
        }
    }
}
