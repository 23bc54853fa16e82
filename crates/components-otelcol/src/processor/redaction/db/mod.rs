//! Database queries without their values: `WHERE id = 7` becomes `WHERE id = ?`.
//!
//! Which language a query is in is told by `db.system.name` (or `db.system`) beside it. Where nothing tells, in bodies
//! of log records, each language that is switched on takes what it recognises. Invariant: where a query cannot be
//! understood, too much is masked rather than too little.

mod json;
mod redis;
mod sql;

use super::{DbArgs, SanitizerArgs};

/// In the place of a value.
const PLACEHOLDER: &str = "?";

/// Attributes that name the system, the newer one first.
pub(super) const SYSTEM_KEYS: [&str; 2] = ["db.system.name", "db.system"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Language {
    Sql,
    Redis,
    Memcached,
    Json,
}

/// Databases of a kind.
struct Kind {
    language: Language,
    systems: &'static [&'static str],
    of: fn(&DbArgs) -> &SanitizerArgs,
}

/// By the names of the semantic conventions, old and new.
const KINDS: &[Kind] = &[
    Kind {
        language: Language::Sql,
        systems: &[
            "other_sql",
            "mysql",
            "postgresql",
            "mariadb",
            "sqlite",
            "mssql",
            "microsoft.sql_server",
            "oracle",
            "oracle.db",
            "db2",
            "ibm.db2",
            "cockroachdb",
            "clickhouse",
            "redshift",
            "aws.redshift",
            "snowflake",
            "trino",
        ],
        of: |args| &args.sql,
    },
    Kind { language: Language::Redis, systems: &["redis"], of: |args| &args.redis },
    Kind { language: Language::Redis, systems: &["valkey"], of: |args| &args.valkey },
    Kind { language: Language::Memcached, systems: &["memcached"], of: |args| &args.memcached },
    Kind { language: Language::Json, systems: &["mongodb"], of: |args| &args.mongo },
    Kind { language: Language::Json, systems: &["opensearch"], of: |args| &args.opensearch },
    Kind { language: Language::Json, systems: &["elasticsearch"], of: |args| &args.es },
];

/// What is cleaned of queries.
#[derive(Debug)]
pub(super) struct Databases {
    kinds: Vec<Enabled>,
    /// Names of spans, too.
    pub(super) span_names: bool,
}

#[derive(Debug)]
struct Enabled {
    language: Language,
    systems: &'static [&'static str],
    attributes: Vec<String>,
}

impl Databases {
    /// `None` where no kind of database is switched on.
    pub(super) fn new(args: &DbArgs) -> Option<Self> {
        let enabled = KINDS.iter().filter(|kind| (kind.of)(args).enabled).map(|kind| Enabled {
            language: kind.language,
            systems: kind.systems,
            attributes: (kind.of)(args).attributes.clone(),
        });
        let kinds: Vec<Enabled> = enabled.collect();
        (!kinds.is_empty()).then_some(Self { kinds, span_names: args.sanitize_span_name })
    }

    fn of_system(&self, system: &str) -> Option<&Enabled> {
        self.kinds.iter().find(|kind| kind.systems.contains(&system))
    }

    /// The value of an attribute beside which a system is named.
    pub(super) fn attribute(&self, key: &str, text: &str, system: &str) -> Option<String> {
        let kind = self.of_system(system)?;
        kind.attributes.iter().any(|known| known == key).then(|| kind.language.masked(text, system))
    }

    /// The name of a span of a system.
    pub(super) fn span_name(&self, name: &str, system: &str) -> Option<String> {
        let kind = self.of_system(system)?;
        let new = match kind.language {
            // A name is no document unless it looks like one.
            Language::Json => json::masked(name)?,
            language => language.masked(name, system),
        };
        (!new.is_empty()).then_some(new)
    }

    /// A text of which nobody says what it is.
    pub(super) fn guessed(&self, text: &str) -> String {
        let has = |language: Language| self.kinds.iter().any(|kind| kind.language == language);
        if has(Language::Json)
            && let Some(masked) = json::masked(text)
        {
            return masked;
        }
        let mut text = text.to_string();
        if has(Language::Redis) {
            text = redis::masked(&text, true);
        }
        if has(Language::Memcached) && is_memcached(&text) {
            text = without_payload(&text);
        }
        if has(Language::Sql) {
            text = sql::masked(&text, false);
        }
        text
    }
}

impl Language {
    fn masked(self, text: &str, system: &str) -> String {
        match self {
            Self::Sql => sql::masked(text, ["mysql", "mariadb"].contains(&system)),
            Self::Redis => redis::masked(text, false),
            Self::Memcached => without_payload(text),
            Self::Json => json::masked(text).unwrap_or_else(|| PLACEHOLDER.to_string()),
        }
    }
}

/// Whether a text begins with a command that stores something.
fn is_memcached(text: &str) -> bool {
    let command = text.split(' ').next().unwrap_or_default();
    text.contains("\r\n") && ["set", "add", "replace", "append", "prepend", "cas"].contains(&command)
}

/// A command of memcached: what it stores comes behind its line.
fn without_payload(text: &str) -> String {
    text.split(['\r', '\n']).next().unwrap_or_default().trim().to_string()
}

/// Masks any text as every kind of query; for `tests/fuzz/fuzz_targets/redaction.rs` only.
pub(super) fn read_arbitrary(text: &str) {
    for kind in KINDS {
        for system in kind.systems {
            let _ = kind.language.masked(text, system);
        }
    }
    let _ = (json::masked(text), redis::masked(text, true), is_memcached(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Databases {
        let on = || SanitizerArgs { enabled: true, attributes: vec!["db.statement".into()] };
        let args = DbArgs {
            sanitize_span_name: true,
            sql: on(),
            redis: on(),
            valkey: on(),
            memcached: on(),
            mongo: on(),
            opensearch: on(),
            es: on(),
        };
        Databases::new(&args).expect("all are on")
    }

    #[test]
    fn the_system_tells_the_language() {
        let databases = all();
        for (system, text, expected) in [
            ("mysql", "SELECT * FROM users WHERE id = 1", Some("SELECT * FROM users WHERE id = ?")),
            ("mysql", "SELECT \"secret\"", Some("SELECT ?")),
            ("postgresql", "SELECT \"name\" FROM t", Some("SELECT \"name\" FROM t")),
            ("redis", "SET user:1 top-secret", Some("SET user:1 ?")),
            ("valkey", "SET key value", Some("SET key ?")),
            ("memcached", "set mykey 0 60 5\r\nsecret\r\n", Some("set mykey 0 60 5")),
            (
                "mongodb",
                r#"{"find":"users","filter":{"name":"john"}}"#,
                Some(r#"{"find":"?","filter":{"name":"?"}}"#),
            ),
            (
                "opensearch",
                r#"{"query":{"match":{"title":"secret"}}}"#,
                Some(r#"{"query":{"match":{"title":"?"}}}"#),
            ),
            ("elasticsearch", "no document", Some("?")),
            ("cassandra", "SET user:123 john", None),
            ("", "SET user:123 john", None),
        ] {
            assert_eq!(
                databases.attribute("db.statement", text, system).as_deref(),
                expected,
                "{system} {text}"
            );
        }
        assert_eq!(databases.attribute("other", "SELECT 1", "mysql"), None);
        assert_eq!(databases.span_name("SELECT 1", "mysql").as_deref(), Some("SELECT ?"));
        assert_eq!(databases.span_name("find users", "mongodb"), None);
    }

    #[test]
    fn without_a_system_each_language_takes_what_it_recognises() {
        let databases = all();
        for (text, expected) in [
            ("SELECT * FROM users WHERE id = 123", "SELECT * FROM users WHERE id = ?"),
            ("SET user:123 john", "SET user:? ?"),
            ("set k 0 60 5\r\nsecret\r\n", "set k ? ? ?"),
            (r#"{"a":"b"}"#, r#"{"a":"?"}"#),
            ("nothing to see here", "nothing to see here"),
        ] {
            assert_eq!(databases.guessed(text), expected, "{text}");
        }
        let off = SanitizerArgs { enabled: false, attributes: vec![] };
        let args = DbArgs {
            sanitize_span_name: true,
            sql: off.clone(),
            redis: off.clone(),
            valkey: off.clone(),
            memcached: off.clone(),
            mongo: off.clone(),
            opensearch: off.clone(),
            es: off,
        };
        assert!(Databases::new(&args).is_none());
    }
}
