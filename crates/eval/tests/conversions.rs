//! What each attribute type accepts, and as what.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use eval::{ArgValue, OptionalSecret, Secret, Size, Value, ValueError};

#[track_caller]
fn takes<T: ArgValue + PartialEq + Debug>(value: impl Into<Value>, expected: T) {
    let value = value.into();
    assert_eq!(T::from_value(&value), Ok(expected), "{value:?} as {}", T::code_type());
}

#[track_caller]
fn refuses<T: ArgValue + Debug>(value: impl Into<Value>, why: &str) -> ValueError {
    let value = value.into();
    let error = T::from_value(&value).expect_err("it should be refused");
    assert!(error.to_string().contains(why), "{error} does not say {why:?}");
    error
}

#[test]
fn numbers_and_strings_convert_into_each_other() {
    takes(1_i64, "1".to_owned());
    takes(1.5, "1.5".to_owned());
    takes(1e21, "1000000000000000000000".to_owned());
    takes(1e-7, "0.0000001".to_owned());
    takes(u64::MAX, "18446744073709551615".to_owned());
    takes("12", 12_i64);
    takes("-12", -12_i64);
    takes("1.9", 1_i64);
    takes("1e3", 1000_u64);
    takes("18446744073709551615", u64::MAX);
    takes(1_i64, 1.0_f64);
    takes(1_i64, Arc::<str>::from("1"));
    refuses::<i64>("", "\"\" is not a number");
    refuses::<i64>("+1", "is not a number");
    refuses::<i64>("abc", "is not a number");
    refuses::<i64>("1e400", "is not a number");
    refuses::<u64>("1_000", "is not a number");
    refuses::<i64>(true, "expected number, got bool");
    refuses::<String>(true, "expected string, got bool");
    let error = refuses::<bool>("true", "expected bool, got string");
    assert_eq!(error.help.as_deref(), Some("write it without the quotes"));
    refuses::<bool>(1_i64, "expected bool, got number");
}

#[test]
fn narrowing_cuts_and_wraps_without_an_error() {
    takes(1.9, 1_i64);
    takes(-1.9, -1_i64);
    takes(300_i64, 44_u8);
    takes(-1_i64, u64::MAX);
    takes(-1_i64, 255_u8);
    takes(1_i64 << 40, 0_i32);
    takes(-1.5, u64::MAX);
}

#[test]
fn null_sets_the_zero_value() {
    takes(Value::Null, 0_i64);
    takes(Value::Null, String::new());
    takes(Value::Null, false);
    takes(Value::Null, Duration::ZERO);
    takes(Value::Null, Size(0));
    takes(Value::Null, Secret::default());
    takes(Value::Null, Vec::<String>::new());
    takes(Value::Null, BTreeMap::<String, String>::new());
    takes(Value::Null, None::<String>);
    takes(Value::Null, [0_i64, 0]);
}

#[test]
fn durations_and_sizes_are_texts_with_a_unit() {
    takes("1m30s", Duration::from_secs(90));
    takes("0", Duration::ZERO);
    takes(0_i64, Duration::ZERO);
    refuses::<Duration>(5_i64, "has no unit");
    refuses::<Duration>("1d", "no unit above h");
    refuses::<Duration>("-1s", "is negative");
    takes("1MiB", Size::mib(1));
    takes(0_i64, Size(0));
    refuses::<Size>(1024_i64, "has no unit");
    refuses::<Size>("1kB", "unknown unit");
    assert_eq!(Duration::from_millis(1500).to_value(), Value::from("1.5s"));
    assert_eq!(Size::kib(512).to_value(), Value::from("512KiB"));
    assert_eq!(Size(0).to_value(), Value::from(0_u64));
}

#[test]
fn a_secret_never_becomes_a_string_by_itself() {
    let secret = Value::Secret(Secret::from("s"));
    let hidden = Value::OptionalSecret(OptionalSecret::secret("s"));
    let shown = Value::OptionalSecret(OptionalSecret::plain("s"));
    takes("s", Secret::from("s"));
    takes(secret.clone(), Secret::from("s"));
    takes(hidden.clone(), Secret::from("s"));
    takes(shown.clone(), "s".to_owned());
    takes("s", OptionalSecret::plain("s"));
    takes(secret.clone(), OptionalSecret::secret("s"));
    let error = refuses::<String>(secret, "expected string, got secret");
    assert!(error.help.is_some_and(|h| h.contains("convert.nonsensitive")));
    refuses::<String>(hidden, "expected string, got secret");
    refuses::<Secret>(5_i64, "expected secret, got number");
}

#[test]
fn lists_maps_and_arrays_convert_their_elements_and_point_at_the_bad_one() {
    let list = |items: &[Value]| Value::array(items.to_vec());
    takes(list(&[1_i64.into(), "b".into()]), vec!["1".to_owned(), "b".to_owned()]);
    takes(list(&[Value::Null]), vec![String::new()]);
    takes(list(&["1".into(), 2_i64.into()]), [1_i64, 2]);
    refuses::<[i64; 2]>(list(&[1_i64.into()]), "exactly 2 elements, it has 1");
    let error = refuses::<Vec<String>>("a", "expected list(string), got string");
    assert_eq!(error.help.as_deref(), Some("write it as a list: [value]"));
    refuses::<Vec<String>>(list(&["a".into(), true.into()]), "element 1: expected string, got bool");
    let object = Value::object(BTreeMap::from([("k".to_owned(), list(&[true.into()]))]));
    refuses::<BTreeMap<String, Vec<String>>>(object, "key \"k\": element 0: expected string, got bool");
    refuses::<BTreeMap<String, String>>(list(&[]), "expected map(string), got array");
}

#[test]
fn types_have_the_names_of_the_reference() {
    type Headers = BTreeMap<String, Vec<Secret>>;
    for (name, code, expected_name, expected_code) in [
        (Headers::type_name(), Headers::code_type(), "map(list(secret))", "map(list(secret))"),
        (Vec::<Duration>::type_name(), Vec::<Duration>::code_type(), "list(duration)", "list(duration)"),
        (Size::type_name(), Size::code_type(), "string", "size(base2)"),
        (Option::<u32>::type_name(), Option::<u32>::code_type(), "uint", "uint"),
        (Value::type_name(&Value::Null).into(), <Value as ArgValue>::code_type(), "null", "any"),
    ] {
        assert_eq!((&*name, &*code), (expected_name, expected_code));
    }
}

#[test]
fn the_static_check_takes_what_may_fit_and_still_sees_what_cannot() {
    type Names = Vec<String>;
    let unknown = Value::Unknown;
    assert_eq!(Names::check(&unknown("list(any)")), Ok(()));
    assert_eq!(Names::check(&Value::array(vec!["a".into(), unknown("string")])), Ok(()));
    assert!(Names::check(&unknown("string")).is_err());
    let error = Names::check(&Value::array(vec![unknown(""), true.into()])).expect_err("a bool is no string");
    assert_eq!(error.to_string(), "element 1: expected string, got bool");
    let object = Value::object(BTreeMap::from([("k".to_owned(), unknown("bool"))]));
    assert!(BTreeMap::<String, String>::check(&object).is_err());
    assert_eq!(Option::<Secret>::check(&unknown("string")), Ok(()));
}
