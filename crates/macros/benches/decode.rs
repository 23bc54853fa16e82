//! Decoding a body with 60 attributes of the common types, all of them written.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use eval::{Arguments, Scope, decode};
use macros::Arguments;
use syntax::{Source, parse};

#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Wide {
    #[arg(default = "value")]
    pub attribute_00: String,
    #[arg(default = "30s")]
    pub attribute_01: Duration,
    #[arg(default = true)]
    pub attribute_02: bool,
    #[arg(default = 5)]
    pub attribute_03: u64,
    #[arg(default)]
    pub attribute_04: Vec<String>,
    #[arg(default)]
    pub attribute_05: BTreeMap<String, String>,
    #[arg(default = "value")]
    pub attribute_06: String,
    #[arg(default = "30s")]
    pub attribute_07: Duration,
    #[arg(default = true)]
    pub attribute_08: bool,
    #[arg(default = 5)]
    pub attribute_09: u64,
    #[arg(default)]
    pub attribute_10: Vec<String>,
    #[arg(default)]
    pub attribute_11: BTreeMap<String, String>,
    #[arg(default = "value")]
    pub attribute_12: String,
    #[arg(default = "30s")]
    pub attribute_13: Duration,
    #[arg(default = true)]
    pub attribute_14: bool,
    #[arg(default = 5)]
    pub attribute_15: u64,
    #[arg(default)]
    pub attribute_16: Vec<String>,
    #[arg(default)]
    pub attribute_17: BTreeMap<String, String>,
    #[arg(default = "value")]
    pub attribute_18: String,
    #[arg(default = "30s")]
    pub attribute_19: Duration,
    #[arg(default = true)]
    pub attribute_20: bool,
    #[arg(default = 5)]
    pub attribute_21: u64,
    #[arg(default)]
    pub attribute_22: Vec<String>,
    #[arg(default)]
    pub attribute_23: BTreeMap<String, String>,
    #[arg(default = "value")]
    pub attribute_24: String,
    #[arg(default = "30s")]
    pub attribute_25: Duration,
    #[arg(default = true)]
    pub attribute_26: bool,
    #[arg(default = 5)]
    pub attribute_27: u64,
    #[arg(default)]
    pub attribute_28: Vec<String>,
    #[arg(default)]
    pub attribute_29: BTreeMap<String, String>,
    #[arg(default = "value")]
    pub attribute_30: String,
    #[arg(default = "30s")]
    pub attribute_31: Duration,
    #[arg(default = true)]
    pub attribute_32: bool,
    #[arg(default = 5)]
    pub attribute_33: u64,
    #[arg(default)]
    pub attribute_34: Vec<String>,
    #[arg(default)]
    pub attribute_35: BTreeMap<String, String>,
    #[arg(default = "value")]
    pub attribute_36: String,
    #[arg(default = "30s")]
    pub attribute_37: Duration,
    #[arg(default = true)]
    pub attribute_38: bool,
    #[arg(default = 5)]
    pub attribute_39: u64,
    #[arg(default)]
    pub attribute_40: Vec<String>,
    #[arg(default)]
    pub attribute_41: BTreeMap<String, String>,
    #[arg(default = "value")]
    pub attribute_42: String,
    #[arg(default = "30s")]
    pub attribute_43: Duration,
    #[arg(default = true)]
    pub attribute_44: bool,
    #[arg(default = 5)]
    pub attribute_45: u64,
    #[arg(default)]
    pub attribute_46: Vec<String>,
    #[arg(default)]
    pub attribute_47: BTreeMap<String, String>,
    #[arg(default = "value")]
    pub attribute_48: String,
    #[arg(default = "30s")]
    pub attribute_49: Duration,
    #[arg(default = true)]
    pub attribute_50: bool,
    #[arg(default = 5)]
    pub attribute_51: u64,
    #[arg(default)]
    pub attribute_52: Vec<String>,
    #[arg(default)]
    pub attribute_53: BTreeMap<String, String>,
    #[arg(default = "value")]
    pub attribute_54: String,
    #[arg(default = "30s")]
    pub attribute_55: Duration,
    #[arg(default = true)]
    pub attribute_56: bool,
    #[arg(default = 5)]
    pub attribute_57: u64,
    #[arg(default)]
    pub attribute_58: Vec<String>,
    #[arg(default)]
    pub attribute_59: BTreeMap<String, String>,
}

const TEXT: &str = r#"
	attribute_00 = "text 0"
	attribute_01 = "1m30s"
	attribute_02 = false
	attribute_03 = 3
	attribute_04 = ["a", "b4"]
	attribute_05 = { a = "b", c = "d5" }
	attribute_06 = "text 6"
	attribute_07 = "7m30s"
	attribute_08 = false
	attribute_09 = 9
	attribute_10 = ["a", "b10"]
	attribute_11 = { a = "b", c = "d11" }
	attribute_12 = "text 12"
	attribute_13 = "13m30s"
	attribute_14 = false
	attribute_15 = 15
	attribute_16 = ["a", "b16"]
	attribute_17 = { a = "b", c = "d17" }
	attribute_18 = "text 18"
	attribute_19 = "19m30s"
	attribute_20 = false
	attribute_21 = 21
	attribute_22 = ["a", "b22"]
	attribute_23 = { a = "b", c = "d23" }
	attribute_24 = "text 24"
	attribute_25 = "25m30s"
	attribute_26 = false
	attribute_27 = 27
	attribute_28 = ["a", "b28"]
	attribute_29 = { a = "b", c = "d29" }
	attribute_30 = "text 30"
	attribute_31 = "31m30s"
	attribute_32 = false
	attribute_33 = 33
	attribute_34 = ["a", "b34"]
	attribute_35 = { a = "b", c = "d35" }
	attribute_36 = "text 36"
	attribute_37 = "37m30s"
	attribute_38 = false
	attribute_39 = 39
	attribute_40 = ["a", "b40"]
	attribute_41 = { a = "b", c = "d41" }
	attribute_42 = "text 42"
	attribute_43 = "43m30s"
	attribute_44 = false
	attribute_45 = 45
	attribute_46 = ["a", "b46"]
	attribute_47 = { a = "b", c = "d47" }
	attribute_48 = "text 48"
	attribute_49 = "49m30s"
	attribute_50 = false
	attribute_51 = 51
	attribute_52 = ["a", "b52"]
	attribute_53 = { a = "b", c = "d53" }
	attribute_54 = "text 54"
	attribute_55 = "55m30s"
	attribute_56 = false
	attribute_57 = 57
	attribute_58 = ["a", "b58"]
	attribute_59 = { a = "b", c = "d59" }
"#;

fn bench(c: &mut Criterion) {
    let source = Source::new("bench.alloy", TEXT);
    let (file, problems) = parse(&source);
    assert!(problems.is_empty(), "{problems:?}");
    Wide::schema();
    c.bench_function("decode 60 attributes", |b| {
        b.iter(|| {
            let (decoded, problems) = decode::<Wide>(&source, black_box(&file.body), None, &Scope::new(&()));
            assert!(problems.is_empty());
            decoded
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
