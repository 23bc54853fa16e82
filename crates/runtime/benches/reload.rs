//! How long loads of a graph of 200 components take (goal for a reload: 50 ms).
//!
//! Chains of a value, a relay of values and modules; `unchanged` is the reload of the same text, `changed`
//! one in which a single argument differs, `refused` one with a mistake.

use std::fmt::Write as _;

use component::{Arguments, BuildCx, ComponentDef, Error, Exports, Pure, Registry, Services, Stability};
use criterion::{Criterion, criterion_group, criterion_main};
use eval::Value;
use runtime::{Options, Runtime};
use syntax::Source;

#[derive(Clone, PartialEq, Arguments)]
struct Args {
    value: Value,
    #[arg(default)]
    labels: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Exports)]
struct Out {
    value: Value,
}

struct Pass;

impl Pure for Pass {
    const NAME: &'static str = "bench.value";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = Args;
    type Exports = Out;

    fn evaluate(args: &Args, _cx: &BuildCx) -> Result<Out, Error> {
        Ok(Out { value: args.value.clone() })
    }
}

const COMPONENTS: &[ComponentDef] = &[ComponentDef::pure::<Pass>()];

fn configuration(first: u32) -> Vec<Source> {
    let mut text = String::from(
        "declare \"m\" {\n argument \"x\" { }\n bench.value \"v\" { value = argument.x.value + 1 }\n \
         export \"out\" { value = bench.value.v.value }\n}\n",
    );
    for i in 0..200 {
        let value = if i % 20 == 0 { first.to_string() } else { format!("bench.value.v{}.value", i - 1) };
        let name = if i % 20 == 10 { "m" } else { "bench.value" };
        let _ = match (i % 20, name) {
            (10, _) => {
                writeln!(text, "m \"m{i}\" {{ x = {value} }}\nbench.value \"v{i}\" {{ value = m.m{i}.out }}")
            }
            _ => writeln!(
                text,
                "bench.value \"v{i}\" {{\n value = {value}\n labels = {{a = \"b\", c = string.to_upper(\"d\")}}\n}}"
            ),
        };
    }
    vec![Source::new("bench.alloy", text)]
}

fn reload(criterion: &mut Criterion) {
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let _entered = tokio.enter();
    let registry = Registry::new(&[COMPONENTS]);
    let services = Services::for_tests("/nonexistent");
    let runtime = Runtime::new(Options { registry, blocks: Vec::new(), imports: Vec::new(), services });
    let load = |sources| tokio.block_on(runtime.load(sources));
    load(configuration(0)).expect("loads");
    criterion.bench_function("reload/200/unchanged", |b| b.iter(|| load(configuration(0)).expect("loads")));
    let mut first = 0;
    criterion.bench_function("reload/200/changed", |b| {
        b.iter(|| {
            first += 1;
            load(configuration(first)).expect("loads")
        })
    });
    let mut broken = configuration(0);
    broken.push(Source::new("more.alloy", "bench.value \"x\" { }"));
    criterion.bench_function("reload/200/refused", |b| b.iter(|| load(broken.clone()).expect_err("refused")));
}

criterion_group!(benches, reload);
criterion_main!(benches);
