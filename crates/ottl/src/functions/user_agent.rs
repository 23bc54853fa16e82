//! `UserAgent`: the browser or program that a `User-Agent` header names, and its operating system.
//!
//! The expressions are the list of the ua-parser project, as in the Collector; they are compiled when the function
//! is called for the first time.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::Deserialize;
use ua_parser::{os, user_agent};

use super::Takes::Str;
use super::{Args, Function, param};
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Value, any_str, entry};

pub(super) const TABLE: &[Function] =
    &[Function::convert("UserAgent", &[param("user_agent", Str)], user_agent_of)];

/// A name where no expression matches, as the project's parsers give it.
const OTHER: &str = "Other";

#[derive(Deserialize)]
struct Lists {
    user_agent_parsers: Vec<user_agent::Parser<'static>>,
    os_parsers: Vec<os::Parser<'static>>,
}

struct Extractors {
    agents: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

static EXTRACTORS: LazyLock<Extractors> = LazyLock::new(|| {
    let lists = include_str!("../../data/user_agents.json");
    let lists: Lists = serde_json::from_str(lists).expect("a test has read the list");
    let agents = user_agent::Builder::new().push_all(lists.user_agent_parsers);
    let systems = os::Builder::new().push_all(lists.os_parsers);
    Extractors {
        agents: agents.expect("a test has compiled the list").build().expect("a test has built it"),
        systems: systems.expect("a test has compiled the list").build().expect("a test has built it"),
    }
});

/// Parts of a version up to the first that is missing.
fn version(parts: &[Option<&str>]) -> String {
    let present: Vec<&str> = parts.iter().map_while(|part| part.filter(|p| !p.is_empty())).collect();
    present.join(".")
}

fn user_agent_of<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let text = args.str(0, env)?;
    let agent = EXTRACTORS.agents.extract(&text);
    let (name, of_agent) = agent.map_or((Cow::Borrowed(OTHER), String::new()), |agent| {
        let parts = [agent.major, agent.minor, agent.patch];
        (agent.family, version(&parts))
    });
    let mut map = vec![
        entry("user_agent.name", any_str(name)),
        entry("user_agent.original", any_str(text.as_ref())),
        entry("user_agent.version", any_str(of_agent)),
    ];
    let system = EXTRACTORS.systems.extract(&text);
    let (name, of_system) = system.map_or((Cow::Borrowed(OTHER), String::new()), |system| {
        let parts = [&system.major, &system.minor, &system.patch, &system.patch_minor];
        let of_system = version(&parts.map(|part| part.as_deref()));
        (system.os, of_system)
    });
    map.push(entry("os.name", any_str(name)));
    if !of_system.is_empty() {
        map.push(entry("os.version", any_str(of_system)));
    }
    Ok(Value::Map(Cow::Owned(map)))
}
