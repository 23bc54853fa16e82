//! Declares, imports, `foreach`: scope, arguments, exports, refresh.

use std::time::Duration;

use component::HealthState;
use eval::Value;

use crate::world::{World, accept, export, folder, load, options, refuse, runtime};

fn number(value: i64) -> Option<Value> {
    Some(Value::from(value))
}

#[tokio::test(start_paused = true)]
async fn arguments_go_in_and_exports_come_out_through_nested_modules() {
    let runtime = runtime();
    let world = World::of("nested");
    world.set_tick(4);
    accept(
        &runtime,
        r#"
        test.tick "t" { world = "nested" }
        declare "outer" {
            argument "x" { }
            argument "plus" { optional = true  default = 100 }
            declare "twice" {
                argument "x" { }
                test.value "v" { value = argument.x.value * 2 }
                export "out" { value = test.value.v.value }
            }
            twice "a" { x = argument.x.value }
            twice "b" { x = twice.a.out }
            export "out" { value = twice.b.out + argument.plus.value }
        }
        outer "o" { x = test.tick.t.value }
        declare "lone" { argument "x" { } export "out" { value = argument.x.value * 4 } }
        lone { x = 1 }
        test.value "result" { value = outer.o.out }
        test.value "unlabelled" { value = lone.out }
    "#,
    )
    .await;
    assert_eq!(export(&runtime, "test.value.result", "value"), number(116));
    assert_eq!(export(&runtime, "test.value.unlabelled", "value"), number(4));
    assert_eq!(export(&runtime, "outer.o/twice.a/test.value.v", "value"), number(8));
    let before = runtime.snapshot().component("outer.o/twice.a/test.value.v").unwrap().instance;
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.set_tick(10);
    tokio::time::sleep(Duration::from_millis(1)).await;
    runtime.settled().await;
    assert_eq!(export(&runtime, "test.value.result", "value"), number(140));
    let snapshot = runtime.snapshot();
    assert_eq!(snapshot.component("outer.o/twice.a/test.value.v").unwrap().instance, before);
    assert_eq!(snapshot.component("outer.o").unwrap().created_module_ids, ["outer.o"]);
    assert_eq!(snapshot.component("outer.o/twice.a").unwrap().module_id, "outer.o");
}

#[tokio::test(start_paused = true)]
async fn a_declare_sees_what_is_around_it_and_not_where_it_is_used() {
    let runtime = runtime();
    let outside = r#"
        test.value "v" { value = 1 }
        declare "blind" { test.value "w" { value = test.value.v.value } }
        blind "b" { }
    "#;
    assert_eq!(refuse(&runtime, outside).await, ["unknown_reference"]);
    let shadowed = r#"
        declare "a" { export "x" { value = "outer a" } }
        declare "b" {
            declare "a" { export "x" { value = "inner a" } }
            a "i" { }
            export "x" { value = a.i.x }
        }
        declare "c" { a "i" { } export "x" { value = a.i.x } }
        b "i" { }
        c "i" { }
        test.value "b" { value = b.i.x }
        test.value "c" { value = c.i.x }
    "#;
    accept(&runtime, shadowed).await;
    assert_eq!(export(&runtime, "test.value.b", "value"), Some("inner a".into()));
    assert_eq!(export(&runtime, "test.value.c", "value"), Some("outer a".into()));
}

#[tokio::test(start_paused = true)]
async fn a_declare_may_hide_a_built_in_name() {
    let runtime = runtime();
    let text =
        "declare \"test\" { export \"x\" { value = 1 } }\ntest \"a\" { }\ntest.value \"v\" { value = 1 }";
    let codes = refuse(&runtime, text).await;
    assert_eq!(codes, ["unknown_component"], "test.value is now a name in the declare");
}

#[tokio::test(start_paused = true)]
async fn what_an_instance_passes_has_to_be_what_the_module_declares() {
    let runtime = runtime();
    let module = "declare \"m\" { argument \"need\" { } argument \"may\" { optional = true } }\n";
    for (instance, code) in [
        ("m \"i\" { }", "missing_argument"),
        ("m \"i\" { need = 1  other = 2 }", "unknown_argument"),
        ("m \"i\" { need = 1  need = 2 }", "duplicate_argument"),
        ("m \"i\" { need = 1  block { } }", "unknown_block"),
    ] {
        assert_eq!(refuse(&runtime, &format!("{module}{instance}")).await, [code], "{instance}");
    }
    accept(&runtime, &format!("{module}m \"i\" {{ need = null }}")).await;
}

#[tokio::test(start_paused = true)]
async fn declares_that_contain_themselves_are_refused() {
    let runtime = runtime();
    let error =
        load(&runtime, "declare \"a\" { b \"x\" { } }\ndeclare \"b\" { a \"x\" { } }\na \"x\" { }").await;
    let diagnostics = error.unwrap_err().diagnostics;
    assert_eq!(diagnostics[0].code, "cycle");
    assert!(diagnostics[0].message.ends_with("a -> b -> a"), "{}", diagnostics[0].message);
}

#[tokio::test(start_paused = true)]
async fn the_health_of_a_module_is_the_worst_inside() {
    let runtime = runtime();
    accept(&runtime, "declare \"m\" { test.faulty \"f\" { how = \"run error\" } }\nm \"i\" { }").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let snapshot = runtime.snapshot();
    assert_eq!(snapshot.component("m.i").unwrap().health.state, HealthState::Exited);
}

#[tokio::test(start_paused = true)]
async fn foreach_keeps_instances_whose_item_stays() {
    let runtime = runtime();
    let world = World::of("foreach");
    let text = |items: &str| {
        format!(
            r#"
            test.tick "t" {{ world = "foreach" }}
            foreach "f" {{
                collection = {items}
                var = "item"
                template {{
                    test.value "v" {{ value = item + test.tick.t.value }}
                    test.sink "k" {{ world = "foreach" }}
                }}
            }}
        "#
        )
    };
    accept(&runtime, &text("[1, 2]")).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let id = |n: u32, what: &str| format!("foreach.f/foreach_{n}_1/{what}");
    assert_eq!(export(&runtime, &id(2, "test.value.v"), "value"), number(2));
    let kept = runtime.snapshot().component(&id(2, "test.sink.k")).unwrap().instance;
    world.take_log();
    accept(&runtime, &text("[3, 2]")).await;
    runtime.drained().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(runtime.snapshot().component(&id(2, "test.sink.k")).unwrap().instance, kept);
    let mut log = world.take_log();
    log.sort();
    let (new, old) = (id(3, "test.sink.k"), id(1, "test.sink.k"));
    assert_eq!(log, [format!("build {new}"), format!("run {new}"), format!("stop {old}")]);
    world.set_tick(50);
    tokio::time::sleep(Duration::from_millis(1)).await;
    runtime.settled().await;
    assert_eq!(export(&runtime, &id(3, "test.value.v"), "value"), number(53), "the template sees outside");
}

#[tokio::test(start_paused = true)]
async fn a_module_from_a_text_can_be_used_and_replaced() {
    let runtime = runtime();
    let text = |factor: u32| {
        format!(
            r#"
            import.string "lib" {{
                content = `declare "times" {{ argument "x" {{ }} export "out" {{ value = argument.x.value * {factor} }} }}`
            }}
            lib.times "a" {{ x = 7 }}
            test.value "v" {{ value = lib.times.a.out }}
        "#
        )
    };
    accept(&runtime, &text(2)).await;
    assert_eq!(export(&runtime, "test.value.v", "value"), number(14));
    accept(&runtime, &text(3)).await;
    runtime.settled().await;
    assert_eq!(export(&runtime, "test.value.v", "value"), number(21));
    let missing = text(3).replace("lib.times \"a\"", "lib.tines \"a\"");
    assert!(refuse(&runtime, &missing).await.contains(&"unknown_component"));
}

#[tokio::test]
async fn a_module_file_is_looked_at_again_and_a_broken_one_changes_nothing() {
    let folder = folder();
    let file = folder.path().join("lib.alloy");
    let declare = |n: u32| {
        format!(
            "declare \"it\" {{ export \"out\" {{ value = {n} }}\n export \"path\" {{ value = module_path }} }}"
        )
    };
    std::fs::write(&file, declare(1)).unwrap();
    let runtime = runtime();
    let text = format!(
        "import.file \"lib\" {{ filename = \"{}\"  poll_frequency = \"1s\" }}\nlib.it \"a\" {{ }}\n\
         test.value \"v\" {{ value = lib.it.a.out }}\ntest.value \"p\" {{ value = lib.it.a.path }}",
        file.display()
    );
    accept(&runtime, &text).await;
    assert_eq!(export(&runtime, "test.value.v", "value"), number(1));
    assert_eq!(export(&runtime, "test.value.p", "value"), Some(folder.path().display().to_string().into()));
    std::fs::write(&file, "declare \"it\" {").unwrap();
    until(|| runtime.unhealthy().iter().any(|u| u.name == "import.file")).await;
    assert_eq!(export(&runtime, "test.value.v", "value"), number(1));
    std::fs::write(&file, declare(5)).unwrap();
    until(|| export(&runtime, "test.value.v", "value") == number(5)).await;
    assert_eq!(runtime.unhealthy(), []);
}

#[tokio::test(start_paused = true)]
async fn imports_that_import_themselves_end_in_a_diagnostic() {
    let folder = folder();
    let file = folder.path().join("loop.alloy");
    std::fs::write(&file, format!("import.file \"again\" {{ filename = \"{}\" }}", file.display())).unwrap();
    let runtime = runtime();
    let text = format!("import.file \"lib\" {{ filename = \"{}\" }}", file.display());
    let error = load(&runtime, &text).await.unwrap_err();
    assert!(error.diagnostics[0].message.contains("does a module import itself"), "{error}");
    // And `validate` refuses what no load will take.
    let services = component::Services::for_tests(folder.path());
    let found = runtime::validate(options(services).0, &[syntax::Source::new("f", text)], None);
    let told = found.iter().find(|d| d.message.contains("does a module import itself")).expect("told");
    let place = told.location.as_ref().expect("a place");
    assert!(told.is_error() && place.source.name().ends_with("loop.alloy"), "{found:?}");
}

/// A module that comes from elsewhere, which answers what the world's tick says.
#[derive(Clone, Debug, PartialEq, component::Arguments)]
struct Remote {
    world: String,
    #[arg(default = "10s")]
    poll: Duration,
}

impl runtime::ImportSource for Remote {
    const NAME: &'static str = "import.http";
    const TRUSTED: bool = false;

    fn fetch<'a>(
        &'a self,
        _cx: &'a runtime::FetchCx,
    ) -> component::BoxFuture<'a, Result<Vec<runtime::ModuleText>, String>> {
        let text = match World::of(&self.world).tick.load(std::sync::atomic::Ordering::SeqCst) {
            0 => Err("status 500".to_string()),
            99 => Ok("import.file \"x\" { filename = \"/etc/passwd\" }".to_string()),
            n => Ok(format!("declare \"it\" {{ export \"out\" {{ value = {n} }} }}")),
        };
        let name = "http://module".to_string();
        Box::pin(std::future::ready(
            text.map(|text| vec![runtime::ModuleText { name, text, is_secret: false }]),
        ))
    }

    fn poll(&self) -> Option<Duration> {
        Some(self.poll)
    }

    fn module_path(&self, _inherited: &str, _cx: &runtime::FetchCx) -> String {
        "http://".to_string()
    }
}

#[tokio::test(start_paused = true)]
async fn a_module_from_elsewhere_is_polled_and_what_fails_keeps_the_old_one() {
    let (mut options, _) = crate::world::options(component::Services::for_tests("/nonexistent"));
    options.imports.push(runtime::ImportDef::of::<Remote>());
    let runtime = runtime::Runtime::new(options);
    let world = World::of("remote");
    let text = r#"
        import.http "lib" { world = "remote" }
        lib.it "a" { }
        test.value "v" { value = lib.it.a.out }
    "#;
    assert_eq!(refuse(&runtime, text).await[0], "import_failed", "at first there is nothing to fall back on");
    for (answer, expected, healthy) in [(5, 5, true), (0, 5, false), (99, 5, false), (6, 6, true)] {
        world.set_tick(answer);
        if answer == 5 {
            accept(&runtime, text).await;
        }
        tokio::time::sleep(Duration::from_secs(11)).await;
        runtime.settled().await;
        assert_eq!(export(&runtime, "test.value.v", "value"), number(expected), "{answer}");
        assert_eq!(runtime.unhealthy().is_empty(), healthy, "{answer}: {:?}", runtime.unhealthy());
    }
    world.set_tick(0);
    accept(&runtime, &format!("{text}\ntest.value \"more\" {{ value = 1 }}")).await;
}

/// Waits for something that the file system brings about; real time, bounded by the test's own timeout.
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("happens within 30 s");
}

/// Counts errors that are logged.
#[derive(Default)]
struct Errors(std::sync::atomic::AtomicUsize);

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}
    fn event(&self, _event: &tracing::Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    fn enter(&self, _span: &tracing::span::Id) {}
    fn exit(&self, _span: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn nothing_is_evaluated_before_all_of_its_arguments_are_there() {
    let errors = std::sync::Arc::new(Errors::default());
    let _guard = tracing::subscriber::set_default(errors.clone());
    let runtime = runtime();
    // So many that the walk lets others run before it is through; the first one has woken `v` by then.
    const ARGUMENTS: usize = 400;
    let arguments =
        |end: &str| (0..ARGUMENTS).map(|i| format!("argument \"x{i}\" {end}\n")).collect::<String>();
    let passed = (0..ARGUMENTS).map(|i| format!("x{i} = {i}\n")).collect::<String>();
    let sum = format!("argument.x0.value + argument.x{}.value", ARGUMENTS - 1);
    let text = format!(
        "declare \"many\" {{\n{}test.value \"v\" {{\nvalue = {sum}\n}}\nexport \"out\" {{\nvalue = test.value.v.value\n}}\n}}\n\
         many \"m\" {{\n{passed}}}\n",
        arguments("{ }")
    );
    accept(&runtime, &text).await;
    runtime.settled().await;
    assert_eq!(export(&runtime, "many.m/test.value.v", "value"), number(ARGUMENTS as i64 - 1));
    assert_eq!(errors.0.load(std::sync::atomic::Ordering::SeqCst), 0, "errors were logged");
}

fn evaluations(runtime: &runtime::Runtime, module: &str) -> f64 {
    let start = format!("alloy_component_evaluation_seconds_count{{controller_id={module:?}");
    let text = runtime.services().metrics.text();
    let line = text.lines().find(|l| l.starts_with(&start)).expect("the module has been evaluated");
    line.rsplit_once(' ').expect("a value").1.parse().expect("a number")
}

#[tokio::test(start_paused = true)]
async fn what_a_load_evaluates_in_a_module_is_not_evaluated_again_for_its_new_arguments() {
    let runtime = runtime();
    let text = |how: &str| {
        format!(
            r#"
            declare "m" {{
                argument "how" {{ }}
                test.faulty "f" {{ how = argument.how.value }}
            }}
            m "i" {{ how = "{how}" }}
        "#
        )
    };
    accept(&runtime, &text("fine")).await;
    runtime.settled().await;
    let before = evaluations(&runtime, "m.i");
    let error = load(&runtime, &text("update error")).await.expect_err("the component refuses");
    assert!(error.applied);
    let found: Vec<_> = error.diagnostics.iter().map(|d| (d.code, d.message.as_str())).collect();
    assert_eq!(found, [("invalid_value", "told to fail")]);
    // By the load alone: a worker that did it too would put the same mistake into the log.
    runtime.settled().await;
    assert_eq!(evaluations(&runtime, "m.i") - before, 2.0, "the argument and the component");
}

#[tokio::test(start_paused = true)]
async fn a_mistake_in_a_module_shows_once_however_many_instances_there_are() {
    let runtime = runtime();
    let declare = r#"declare "m" { test.faulty "f" { how = "build error" } }"#;
    let error =
        load(&runtime, &format!("{declare}\nm \"a\" {{ }}\nm \"b\" {{ }}")).await.expect_err("refused");
    assert_eq!(error.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), ["invalid_value"]);
}

#[tokio::test(start_paused = true)]
async fn what_changes_behind_the_walk_of_a_load_is_evaluated_again() {
    let runtime = runtime();
    let world = World::of("behind");
    let text = r#"
        test.tick "t" { world = "behind" }
        declare "m" { argument "x" { } test.value "v" { value = argument.x.value } }
        m "i" { x = test.tick.t.value }
    "#;
    accept(&runtime, text).await;
    for tick in 1..4 {
        world.set_tick(tick);
        tokio::time::sleep(Duration::from_millis(1)).await;
        runtime.settled().await;
        assert_eq!(export(&runtime, "m.i/test.value.v", "value"), number(tick as i64));
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_effect_is_warned_of_once_at_each_load() {
    let runtime = runtime();
    // What the tag is the static pass does not know.
    let text = r#"
        test.value "v" { value = "mute" }
        declare "m" {
            argument "tag" { }
            test.relay "r" {
                world = "no effect"
                forward_to = []
                tag = argument.tag.value
                rest = "1s"
            }
        }
        m "a" { tag = test.value.v.value }
        m "b" { tag = test.value.v.value }
        foreach "f" {
            collection = [1, 2]
            var = "item"
            template {
                test.relay "r" {
                    world = "no effect"
                    forward_to = []
                    rest = "1s"
                }
            }
        }
    "#;
    for round in 0..2 {
        let loaded = load(&runtime, text).await.expect("warnings refuse nothing");
        let found: Vec<_> = loaded.warnings.iter().map(|d| (d.code, place(d))).collect();
        // Last what only evaluation could tell: for both instances once, as the rest.
        assert_eq!(found, [("no_effect", 9), ("no_effect", 21), ("no_effect", 8)], "round {round}");
    }
}

fn place(diagnostic: &syntax::Diagnostic) -> u32 {
    diagnostic.location.as_ref().expect("it has a place").line_column().line
}

#[tokio::test(start_paused = true)]
async fn a_mistake_in_a_template_is_told_once_however_many_items_there_are() {
    let runtime = runtime();
    let text = r#"
        foreach "f" {
            collection = ["a", "b", "c"]
            var = "item"
            template { test.value "v" { value = item + 1 } }
        }
    "#;
    let refused = load(&runtime, text).await.expect_err("a text and a number");
    assert_eq!(refused.diagnostics.len(), 1, "{:?}", refused.diagnostics);
}
