//! Each target over its seeds and mutations of them, as an ordinary test.
#![cfg(not(feature = "libfuzzer"))]

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*

        const TARGETS: &[&str] = &[$(stringify!($name)),*];

        mod no_seed_breaks {
            $(#[test]
            fn $name() {
                fuzz::seeds::run(stringify!($name), super::$name::run);
            })*
        }
    };
}

targets!(
    compress,
    convert,
    credential_files,
    docker_logs,
    docker_targets,
    evaluator,
    exposition,
    faro,
    firehose,
    gelf,
    go_time,
    grpc_answers,
    grpc_calls,
    heroku,
    host_files,
    jaeger,
    log_places,
    logfmt,
    logql,
    loki_push,
    loki_stages,
    net_texts,
    operator_expr,
    operator_time,
    operators,
    otlp,
    otlp_edit,
    ottl,
    pipeline_test,
    positions,
    pprof,
    pyroscope,
    queue_reader,
    queue_records,
    re2,
    redaction,
    remote_write,
    secretfilter,
    source_map,
    syntax,
    syslog,
    tail_lines,
    target_groups,
    template,
    text_metrics,
    thrift,
    tracestate,
    zipkin,
);

#[test]
fn every_file_of_a_target_is_a_test_and_a_fuzzer() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder.join("fuzz_targets")).expect("the folder");
    let mut names: Vec<String> = files
        .map(|file| file.expect("a file").file_name().into_string().expect("a name").replace(".rs", ""))
        .filter(|name| name != "main")
        .collect();
    names.sort();
    assert_eq!(names, TARGETS);
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("the manifest");
    for name in names {
        let bin = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\nrequired-features");
        assert!(manifest.contains(&bin), "{name} is not in Cargo.toml");
    }
}
