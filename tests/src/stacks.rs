//! What the folders `pipelines/` and `examples/` hold: each configuration is valid and formatted, each page tells every
//! argument, each manifest and dashboard can be read and refers to what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::kit::{Program, binary, get};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Files below a folder of the repository whose names end so; there has to be one.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap_or_else(|e| panic!("{}: {e}", at.display())) {
            let path = entry.expect("an entry").path();
            // What a run of an example has left behind is none of it.
            if path.is_dir() && !path.ends_with("run") {
                open.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no {end}");
    found.sort();
    found
}

/// Variables that configurations read.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("METRICS_URL", "http://127.0.0.1:1/api/v1/push"),
    ("LOGS_URL", "http://127.0.0.1:1/loki/api/v1/push"),
    ("LOGS_OTLP_URL", "http://127.0.0.1:1/otlp"),
    ("TRACES_ENDPOINT", "127.0.0.1:1"),
    ("PROFILES_URL", "http://127.0.0.1:1"),
    ("NODE_NAME", "node"),
    ("NODE_IP", "127.0.0.1"),
    ("POD_NAME", "pod"),
    ("POD_NAMESPACE", "namespace"),
    ("GCLOUD_HOSTED_METRICS_URL", "https://127.0.0.1:1/api/prom/push"),
    ("GCLOUD_HOSTED_METRICS_ID", "1"),
    ("GCLOUD_HOSTED_LOGS_URL", "https://127.0.0.1:1/loki/api/v1/push"),
    ("GCLOUD_HOSTED_LOGS_ID", "2"),
    ("GCLOUD_OTLP_URL", "https://127.0.0.1:1/otlp"),
    ("GCLOUD_OTLP_ID", "3"),
    ("GCLOUD_HOSTED_PROFILES_URL", "https://127.0.0.1:1"),
    ("GCLOUD_HOSTED_PROFILES_ID", "4"),
    ("GCLOUD_RW_API_KEY", "token"),
];

/// The program's answer, run in the repository's folder.
fn ferroalloy(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(root()).envs(ENVIRONMENT.iter().copied());
    command.env("FERROALLOY_PIPELINES", root().join("pipelines"));
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn succeeds(what: &str, arguments: &[&str]) {
    let output = ferroalloy(arguments);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {arguments:?}: {}\n{said}", output.status);
}

/// A configuration is valid and formatted.
fn is_good(what: &str, path: &Path, stability: &str) {
    let path = path.to_str().expect("UTF-8");
    succeeds(what, &["validate", &format!("--stability.level={stability}"), path]);
    succeeds(what, &["fmt", "-t", path]);
}

/// The texts between "```alloy" and "```".
fn examples(page: &str) -> Vec<&str> {
    page.split("```alloy\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_example_of_a_module_is_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.alloy");
    for page in files("pipelines", "README.md") {
        let text = read(&page);
        let found = examples(&text);
        assert!(!found.is_empty(), "{} has no example", page.display());
        for example in found {
            fs::write(&path, example).expect("written");
            is_good(&format!("{}:\n{example}", page.display()), &path, "generally-available");
        }
    }
}

#[test]
fn the_tests_of_all_modules_pass() {
    succeeds("tests of pipelines", &["test", "pipelines"]);
    let output = ferroalloy(&["test", "pipelines"]);
    let said = String::from_utf8_lossy(&output.stdout);
    for module in files("pipelines", "module.alloy") {
        let name =
            module.parent().and_then(Path::file_name).expect("a folder").to_string_lossy().into_owned();
        assert!(said.contains(&format!("{name}/test.yaml")), "no test of {name} has run:\n{said}");
    }
}

#[test]
fn the_token_of_grafana_cloud_is_shown_nowhere() {
    const TOKEN: &str = "glc_a_token_that_nobody_may_see";
    let module = root().join("pipelines/grafana_cloud/module.alloy");
    let blocks = ["metrics", "logs", "otlp", "profiles"];
    let uses: String = blocks.iter().map(|block| format!("cloud.{block} \"default\" {{ }}\n")).collect();
    let import = format!("import.file \"cloud\" {{\n\tfilename = \"{}\"\n}}\n", module.display());
    let mut program = Program::prepare(&(import + &uses));
    for (name, value) in ENVIRONMENT {
        program.set_env(name, if *name == "GCLOUD_RW_API_KEY" { TOKEN } else { *value });
    }
    program.launch();
    program.wait_ready();
    let page = |path: &str| get(program.address, path).expect("the program answers").body;
    let mut pages = vec![page("/metrics"), page("/api/v0/web/components"), program.log()];
    let mut inside = 0;
    for block in blocks {
        pages.push(page(&format!("/api/v0/web/components/cloud.{block}.default")));
        let list = page(&format!("/api/v0/web/modules/cloud.{block}.default/components"));
        let components: Value = serde_json::from_str(&list).expect("JSON");
        for component in components.as_array().expect("a list") {
            let id = component["localID"].as_str().expect("an ID");
            let detail = page(&format!("/api/v0/web/components/cloud.{block}.default/{id}"));
            inside += usize::from(detail.contains("(secret)"));
            pages.push(detail);
        }
    }
    assert!(inside >= 4, "the pages with the secrets in them are looked at: {inside}");
    for page in pages {
        assert!(!page.contains(TOKEN), "{page}");
    }
}

/// The labels of a kind of block, and the names of the declares around them.
fn labels(module: &str, block: &str) -> BTreeSet<String> {
    let lines = module.lines().filter_map(|l| l.trim().strip_prefix(block)?.trim().strip_prefix('"'));
    lines.filter_map(|l| l.split('"').next()).map(str::to_owned).collect()
}

#[test]
fn every_module_is_formatted_and_its_page_tells_all_of_its_arguments_and_exports() {
    for module in files("pipelines", "module.alloy") {
        succeeds("a module", &["fmt", "-t", module.to_str().expect("UTF-8")]);
        let text = read(&module);
        let page = read(&module.with_file_name("README.md"));
        assert!(page.contains("```mermaid"), "{} has no picture", module.display());
        assert!(module.with_file_name("test.yaml").exists(), "{} has no test", module.display());
        let declares = labels(&text, "declare");
        assert!(!declares.is_empty(), "{}", module.display());
        for (kind, names) in [
            ("declare", declares),
            ("argument", labels(&text, "argument")),
            ("export", labels(&text, "export")),
        ] {
            for name in names {
                let told = ["`", ".", "\""].iter().any(|before| page.contains(&format!("{before}{name}")));
                assert!(told, "{}: its page does not tell of the {kind} {name}", module.display());
            }
        }
        assert_eq!(
            text.matches("argument \"").count(),
            text.matches("comment ").count(),
            "{}: every argument has a comment",
            module.display()
        );
    }
}

#[test]
fn every_configuration_of_the_examples_is_valid() {
    for path in files("examples", ".alloy") {
        // Printing spans is experimental.
        let stability = if path.ends_with("print.alloy") { "experimental" } else { "generally-available" };
        is_good("an example", &path, stability);
    }
}

/// The documents of a YAML file.
fn documents(path: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_configuration_in_a_manifest_is_valid_with_the_modules_that_are_mounted_beside_it() {
    let mut found = 0;
    for manifest in files("examples/kubernetes", ".yaml") {
        let documents = documents(&manifest);
        for document in &documents {
            let Some(config) = document["data"]["config.alloy"].as_str() else { continue };
            found += 1;
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("config/config.alloy");
            fs::create_dir(folder.path().join("config")).expect("a folder");
            fs::write(&path, config).expect("written");
            for (key, mounted) in mounted_modules(&documents) {
                let name = key.strip_suffix(".alloy").expect("apply.sh names them so");
                let to = folder.path().join("pipelines").join(mounted);
                fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
                fs::copy(root().join("pipelines").join(name).join("module.alloy"), to).expect("a module");
            }
            is_good(&format!("{}:\n{config}", manifest.display()), &path, "generally-available");
        }
    }
    assert_eq!(found, 2, "the DaemonSet's and the sidecar's");
}

/// Keys and paths of the volume that is made of the modules.
fn mounted_modules(documents: &[Value]) -> Vec<(String, String)> {
    let volumes = documents.iter().filter_map(|d| d["spec"]["template"]["spec"]["volumes"].as_array());
    let volume = volumes.flatten().find(|v| v["configMap"]["name"] == "ferroalloy-pipelines");
    let items = volume.and_then(|v| v["configMap"]["items"].as_array()).expect("a volume of the modules");
    let text = |v: &Value| v.as_str().expect("text").to_owned();
    items.iter().map(|i| (text(&i["key"]), text(&i["path"]))).collect()
}

#[test]
fn every_container_of_the_manifests_is_without_rights() {
    for manifest in ["daemonset.yaml", "sidecar.yaml"] {
        let documents = documents(&root().join("examples/kubernetes").join(manifest));
        let pods = documents.iter().map(|d| &d["spec"]["template"]["spec"]).filter(|p| p.is_object());
        for pod in pods {
            let containers =
                ["initContainers", "containers"].iter().filter_map(|c| pod[c].as_array()).flatten();
            let mut count = 0;
            for container in containers {
                count += 1;
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{manifest}: {container}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{manifest}: {container}");
                assert_eq!(context["capabilities"]["drop"][0], "ALL", "{manifest}: {container}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{manifest}: {container}");
                volumes_are_there(manifest, pod, container);
            }
            assert!(count > 0);
        }
    }
}

fn volumes_are_there(manifest: &str, pod: &Value, container: &Value) {
    let names: Vec<_> = pod["volumes"].as_array().expect("volumes").iter().map(|v| &v["name"]).collect();
    for mount in container["volumeMounts"].as_array().expect("mounts") {
        assert!(names.contains(&&mount["name"]), "{manifest}: {mount}");
    }
}

#[test]
fn what_the_composition_mounts_and_builds_is_there() {
    let folder = root().join("examples/lgtm-compose");
    let [compose] = &documents(&folder.join("compose.yaml"))[..] else { panic!("one document") };
    let services = compose["services"].as_object().expect("services");
    let volumes = compose["volumes"].as_object().expect("volumes");
    for (name, service) in services {
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let source = mount.as_str().expect("text").split(':').next().expect("a source");
            let there = if source.starts_with('.') {
                folder.join(source).exists()
            } else {
                volumes.contains_key(source)
            };
            assert!(there, "{name}: {source}");
        }
        if let Some(build) = service["build"].as_str() {
            assert!(folder.join(build).join("Dockerfile").exists(), "{name}: {build}");
        }
        for on in service["depends_on"].as_array().into_iter().flatten() {
            assert!(services.contains_key(on.as_str().expect("text")), "{name}: {on}");
        }
    }
    // Those without an image are the two that are built here.
    let built: Vec<_> =
        services.iter().filter(|(_, s)| s["build"].is_string()).map(|(n, _)| n.as_str()).collect();
    assert_eq!(built, ["ferroalloy", "worker-pool"]);
    for backend in files("examples/lgtm-compose/backends", ".yaml") {
        assert_eq!(documents(&backend).len(), 1, "{}", backend.display());
    }
}

/// Dashboards with their file names.
pub fn dashboards() -> Vec<(String, Value)> {
    let parsed = files("examples/lgtm-compose/dashboards", ".json").into_iter().map(|path| {
        let dashboard =
            serde_json::from_str(&read(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path.file_name().expect("a name").to_string_lossy().into_owned(), dashboard)
    });
    parsed.collect()
}

/// Everything in a dashboard that asks Prometheus or Mimir: panels and variables.
pub fn prometheus_queries(dashboard: &Value) -> Vec<String> {
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            if target["datasource"]["type"] == "prometheus" {
                queries.push(target["expr"].as_str().expect("an expression").to_owned());
            }
        }
    }
    for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
        let query = variable["query"]["query"].as_str().expect("a query");
        let inside = query.strip_prefix("label_values(").expect("of label_values").trim_end_matches(')');
        // What is before the last comma is an expression, behind it stands a label.
        queries.push(inside.rsplit_once(',').expect("an expression and a label").0.to_owned());
    }
    queries
}

#[test]
fn dashboards_have_their_own_names_and_ask_data_sources_that_are_provisioned() {
    let provisioned =
        documents(&root().join("examples/lgtm-compose/grafana/provisioning/datasources/lgtm.yaml"));
    let sources = provisioned[0]["datasources"].as_array().expect("data sources");
    let known: Vec<_> = sources.iter().map(|s| (&s["uid"], &s["type"])).collect();
    let mut names = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        let uid = dashboard["uid"].as_str().expect("a uid");
        assert_eq!(format!("{uid}.json"), file);
        assert!(names.insert(uid.to_owned()), "{uid} is there twice");
        let panels = dashboard["panels"].as_array().expect("panels");
        let asked = panels.iter().flat_map(|p| p["targets"].as_array().into_iter().flatten().chain([p]));
        for datasource in asked.map(|t| &t["datasource"]).filter(|d| d.is_object()) {
            assert!(known.contains(&(&datasource["uid"], &datasource["type"])), "{file}: {datasource}");
        }
        let mut ids: Vec<_> = panels.iter().map(|p| p["id"].as_u64()).collect();
        ids.dedup();
        assert_eq!(ids.len(), panels.len(), "{file}: a panel's id is there twice");
    }
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["ferroalloy", "go-runtime", "worker-pool"]);
}

/// Words of PromQL that stand where a metric could.
const WORDS: &[&str] = &[
    "sum",
    "min",
    "max",
    "avg",
    "count",
    "topk",
    "bottomk",
    "stddev",
    "quantile",
    "or",
    "and",
    "unless",
    "bool",
    "offset",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "inf",
    "nan",
];

/// The names of metrics in a PromQL expression: words that are no function, no keyword and no label.
pub fn metric_names(expression: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let word =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
        rest = match first {
            '"' | '\'' => after(&rest[1..], first),
            '{' => after_selector(rest),
            '[' => after(rest, ']'),
            _ if word == 0 => &rest[first.len_utf8()..],
            _ => {
                let (name, behind) = rest.split_at(word);
                let called = behind.trim_start().starts_with('(');
                let groups =
                    matches!(name, "by" | "without" | "on" | "ignoring" | "group_left" | "group_right");
                if !first.is_ascii_digit() && !called && !WORDS.contains(&name) {
                    names.insert(name.to_owned());
                }
                if groups { after(behind, ')') } else { behind }
            }
        };
    }
    names
}

fn after(text: &str, end: char) -> &str {
    text.find(end).map_or("", |at| &text[at + end.len_utf8()..])
}

/// What is behind a selector, in whose strings there may be braces.
fn after_selector(text: &str) -> &str {
    let mut quoted = false;
    let end = text.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '}' && !quoted
    });
    end.map_or("", |(at, _)| &text[at + 1..])
}

#[test]
fn names_of_metrics_are_found_in_expressions() {
    for (expression, expected) in [
        ("go_goroutines", &["go_goroutines"][..]),
        ("sum by (le) (rate(a_bucket{job=~\"$job\",x=\"}b{\"}[$__rate_interval]))", &["a_bucket"]),
        ("histogram_quantile(0.99, sum(rate(a{x=\"y\"}[5m])) without (z))", &["a"]),
        ("a / on (instance) group_left (x) b or vector(0)", &["a", "b"]),
        ("sum(a offset 5m) > bool 1e3", &["a"]),
        ("job:a:rate5m * 2", &["job:a:rate5m"]),
        ("vector(1)", &[]),
    ] {
        let found: Vec<_> = metric_names(expression).into_iter().collect();
        assert_eq!(found, expected, "{expression}");
    }
}

#[test]
fn every_script_of_the_examples_can_be_read_by_bash_and_run() {
    use std::os::unix::fs::PermissionsExt;
    for script in files("examples", ".sh") {
        let output = Command::new("bash").arg("-n").arg(&script).output().expect("bash is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mode = fs::metadata(&script).expect("there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{} cannot be run", script.display());
    }
}
