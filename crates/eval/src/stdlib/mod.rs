//! The standard library: namespaces, their functions, the names they used to have, and constants.
//!
//! Invariant: [`FUNCTIONS`] is the one list; lookup, arity, reference and completion come from it.

mod arrays;
mod encoding;
pub mod environment;
mod json;
mod printf;
mod strings;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use crate::arg::{ArgValue, ValueError};
use crate::scope::Stability;
use crate::value::{Function, Value};

pub use json::to_go_json;

/// A function of the standard library.
pub struct Builtin {
    /// Its full name.
    pub name: &'static str,
    /// The types of its parameters, those that may be left out at the end; one that repeats ends in `...`.
    pub params: &'static [&'static str],
    /// How many arguments there must be.
    pub required: usize,
    /// The static type of what it returns.
    pub returns: &'static str,
    /// How settled it is.
    pub stability: Stability,
    /// The name it had before namespaces.
    pub deprecated_alias: Option<&'static str>,
    /// Elements of arguments pass through unseen.
    pub passes_on: bool,
    /// The function.
    pub run: fn(&[Value]) -> Result<Value, CallError>,
}

/// Why a call failed.
#[derive(Debug)]
pub struct CallError {
    /// The argument at fault, from 0.
    pub argument: Option<usize>,
    /// What is wrong with it.
    pub error: ValueError,
}

impl CallError {
    /// An argument that makes no sense.
    pub(crate) fn argument(index: usize, error: ValueError) -> Self {
        Self { argument: Some(index), error }
    }
}

impl Builtin {
    /// Takes any number of arguments at its end.
    pub fn variadic(&self) -> bool {
        self.params.last().is_some_and(|p| p.ends_with("..."))
    }

    /// How it is called: `string.join(list(string), string)`.
    pub fn signature(&self) -> String {
        let params = self.params.iter().enumerate().map(|(i, p)| {
            if i >= self.required && !p.ends_with("...") { format!("[{p}]") } else { (*p).to_owned() }
        });
        format!("call it as {}({})", self.name, params.collect::<Vec<_>>().join(", "))
    }

    pub(crate) fn arity_problem(&self, got: usize) -> Option<String> {
        let most = if self.variadic() { usize::MAX } else { self.params.len() };
        if (self.required..=most).contains(&got) {
            return None;
        }
        let wanted = match (self.required, self.variadic(), self.params.len()) {
            (n, true, _) => format!("at least {n}"),
            (n, false, m) if n == m => n.to_string(),
            (n, false, m) => format!("{n} to {m}"),
        };
        Some(format!("{} takes {wanted} arguments, got {got}", self.name))
    }
}

/// A name of the library and how much of the path it took.
pub(crate) struct Found {
    pub name: &'static str,
    pub used: usize,
    pub value: Value,
    /// What to write instead.
    pub deprecated: Option<&'static str>,
}

/// Converts argument `index` with the language's coercions.
pub(crate) fn take<T: ArgValue>(arguments: &[Value], index: usize) -> Result<T, CallError> {
    T::from_value(arguments.get(index).unwrap_or(&Value::Null)).map_err(|e| CallError::argument(index, e))
}

const GA: Stability = Stability::GenerallyAvailable;

const fn function(
    name: &'static str,
    params: &'static [&'static str],
    returns: &'static str,
    run: fn(&[Value]) -> Result<Value, CallError>,
) -> Builtin {
    let required = params.len();
    Builtin { name, params, required, returns, stability: GA, deprecated_alias: None, passes_on: false, run }
}

const fn alias(builtin: Builtin, alias: &'static str) -> Builtin {
    Builtin { deprecated_alias: Some(alias), ..builtin }
}

const fn experimental(builtin: Builtin, required: usize) -> Builtin {
    Builtin { stability: Stability::Experimental, required, ..builtin }
}

/// Repeats its last parameter, which may be absent altogether.
const fn variadic(builtin: Builtin, passes_on: bool) -> Builtin {
    Builtin { required: builtin.params.len() - 1, passes_on, ..builtin }
}

/// All functions.
pub static FUNCTIONS: &[Builtin] = &[
    alias(variadic(function("array.concat", &["list(any)..."], "list(any)", arrays::concat), true), "concat"),
    experimental(
        function(
            "array.combine_maps",
            &["list(map(any))", "list(map(any))", "list(string)", "bool"],
            "list(map(any))",
            arrays::combine_maps,
        ),
        3,
    ),
    experimental(
        function("array.group_by", &["list(map(any))", "string", "bool"], "list(any)", arrays::group_by),
        3,
    ),
    variadic(function("coalesce", &["any..."], "any", arrays::coalesce), true),
    alias(function("convert.nonsensitive", &["secret"], "string", encoding::nonsensitive), "nonsensitive"),
    alias(function("encoding.from_json", &["string"], "any", json::from_json), "json_decode"),
    alias(function("encoding.from_yaml", &["string"], "any", yaml::from_yaml), "yaml_decode"),
    alias(function("encoding.from_base64", &["string"], "string", encoding::from_base64), "base64_decode"),
    function("encoding.from_URLbase64", &["string"], "string", encoding::from_url_base64),
    function("encoding.to_json", &["map(any)"], "string", json::to_json),
    function("encoding.to_base64", &["string"], "string", encoding::to_base64),
    function("encoding.to_URLbase64", &["string"], "string", encoding::to_url_base64),
    function("encoding.url_encode", &["string"], "string", encoding::url_encode),
    function("encoding.url_decode", &["string"], "string", encoding::url_decode),
    variadic(function("file.path_join", &["string..."], "string", strings::path_join), false),
    function("json_path", &["string", "string"], "list(any)", json::json_path),
    alias(
        variadic(function("string.format", &["string", "any..."], "string", printf::format), false),
        "format",
    ),
    alias(function("string.join", &["list(string)", "string"], "string", strings::join), "join"),
    alias(function("string.replace", &["string", "string", "string"], "string", strings::replace), "replace"),
    alias(function("string.split", &["string", "string"], "list(string)", strings::split), "split"),
    alias(function("string.to_lower", &["string"], "string", strings::to_lower), "to_lower"),
    alias(function("string.to_upper", &["string"], "string", strings::to_upper), "to_upper"),
    alias(function("string.trim", &["string", "string"], "string", strings::trim), "trim"),
    alias(
        function("string.trim_prefix", &["string", "string"], "string", strings::trim_prefix),
        "trim_prefix",
    ),
    alias(
        function("string.trim_suffix", &["string", "string"], "string", strings::trim_suffix),
        "trim_suffix",
    ),
    alias(function("string.trim_space", &["string"], "string", strings::trim_space), "trim_space"),
    alias(function("sys.env", &["string"], "string", encoding::env), "env"),
];

static VERSION: OnceLock<String> = OnceLock::new();

/// Sets what `constants.version` is, with its leading `v`. The first call counts, if it comes before the
/// first look at the constants.
pub fn set_version(version: &str) {
    VERSION.get_or_init(|| version.to_owned());
}

static CONSTANTS: LazyLock<Value> = LazyLock::new(|| {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // Go's names.
    let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    let version = VERSION.get().map_or("v0.0.0", String::as_str);
    let all = [("hostname", host.as_str()), ("os", os), ("arch", arch), ("version", version)];
    Value::object(all.into_iter().map(|(k, v)| (k.to_owned(), Value::string(v))).collect())
});

/// Namespaces with their functions, `constants`, and the names outside of namespaces.
static NAMES: LazyLock<BTreeMap<&'static str, Value>> = LazyLock::new(|| {
    let mut spaces: BTreeMap<&'static str, BTreeMap<String, Value>> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for builtin in FUNCTIONS {
        let function = Value::Function(Function(builtin));
        match builtin.name.split_once('.') {
            Some((space, name)) => {
                spaces.entry(space).or_default().insert(name.to_owned(), function.clone());
            }
            None => {
                names.insert(builtin.name, function.clone());
            }
        }
        if let Some(alias) = builtin.deprecated_alias {
            names.insert(alias, function);
        }
    }
    names.extend(spaces.into_iter().map(|(space, functions)| (space, Value::object(functions))));
    names
});

/// Whether the first name of a path belongs to the library.
pub fn is_name(name: &str) -> bool {
    name == "constants" || NAMES.contains_key(name)
}

/// The longest front of a path that the library knows.
pub(crate) fn lookup(path: &[&str]) -> Option<Found> {
    let first = *path.first()?;
    if first == "constants" {
        return Some(Found { name: "constants", used: 1, value: CONSTANTS.clone(), deprecated: None });
    }
    let (name, value) = NAMES.get_key_value(first)?;
    let member = match (value, path.get(1)) {
        (Value::Object(functions), Some(member)) => functions.get(*member),
        _ => None,
    };
    if let Some(function) = member {
        return Some(Found { name, used: 2, value: function.clone(), deprecated: None });
    }
    let deprecated = match value {
        Value::Function(f) if f.0.name != *name => Some(f.0.name),
        _ => None,
    };
    Some(Found { name, used: 1, value: value.clone(), deprecated })
}

/// Full names of functions and constants, for suggestions and completion.
pub fn names<'a>() -> impl Iterator<Item = &'a str> {
    let constants = ["constants.hostname", "constants.os", "constants.arch", "constants.version"];
    FUNCTIONS.iter().map(|f| f.name).chain(constants)
}
