//! Commands of Redis and Valkey, one a line: keys stay, values go.
//!
//! Which arguments are values depends on the command, as in github.com/DataDog/datadog-agent/pkg/obfuscate, with
//! commands that came later. Those without values stay as they are.

use super::PLACEHOLDER;

/// Which arguments are values; the first argument is number 0.
#[derive(Clone, Copy)]
enum Values {
    /// All of them.
    All,
    /// All from this one on, as one.
    From(usize),
    /// This one.
    One(usize),
    /// Every so many from the first of these on.
    Step { from: usize, step: usize },
    /// Of `CONFIG SET`.
    Config,
    /// Behind each `SET` of `BITFIELD`.
    Bitfield,
    /// Members of `ZADD`, behind its options.
    Members,
    /// Behind `AUTH`.
    Auth,
}

const COMMANDS: &[(&[&str], Values)] = &[
    (&["AUTH", "EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"], Values::All),
    (
        &["GEOHASH", "GEOPOS", "GEODIST", "LPUSH", "RPUSH", "SREM", "ZREM", "SADD", "PFADD", "ACL"],
        Values::From(1),
    ),
    (
        &[
            "APPEND",
            "GETSET",
            "LPUSHX",
            "GEORADIUSBYMEMBER",
            "RPUSHX",
            "SET",
            "SETNX",
            "SISMEMBER",
            "ZRANK",
            "ZREVRANK",
            "ZSCORE",
            "PUBLISH",
            "SPUBLISH",
            "ECHO",
            "LPOS",
        ],
        Values::One(1),
    ),
    (
        &["HSETNX", "LREM", "LSET", "SETBIT", "SETEX", "PSETEX", "SETRANGE", "ZINCRBY", "SMOVE", "RESTORE"],
        Values::One(2),
    ),
    (&["LINSERT"], Values::One(3)),
    (&["GEOADD"], Values::Step { from: 3, step: 3 }),
    (&["HSET", "HMSET"], Values::Step { from: 2, step: 2 }),
    (&["MSET", "MSETNX"], Values::Step { from: 1, step: 2 }),
    (&["XADD"], Values::Step { from: 3, step: 2 }),
    (&["CONFIG"], Values::Config),
    (&["BITFIELD"], Values::Bitfield),
    (&["ZADD"], Values::Members),
    (&["HELLO", "MIGRATE"], Values::Auth),
];

/// Without values. `exact`: only commands in capitals are commands, for texts that may be prose.
pub(super) fn masked(text: &str, exact: bool) -> String {
    let lines = text.split('\n').map(|line| command(line, exact));
    lines.collect::<Vec<_>>().join("\n")
}

fn command(line: &str, exact: bool) -> String {
    let mut words = words(line);
    if words.is_empty() {
        return line.to_string();
    }
    let name = words.remove(0);
    let known = match exact {
        true => name.clone(),
        false => name.to_ascii_uppercase(),
    };
    let Some((_, values)) = COMMANDS.iter().find(|(names, _)| names.contains(&known.as_str())) else {
        return line.to_string();
    };
    mask(&mut words, *values);
    words.insert(0, name);
    words.join(" ")
}

/// Options of `ZADD` before its scores and members.
const OPTIONS: [&str; 6] = ["NX", "XX", "GT", "LT", "CH", "INCR"];

fn mask(args: &mut Vec<String>, values: Values) {
    let is = |arg: &str, words: &[&str]| words.iter().any(|word| arg.eq_ignore_ascii_case(word));
    let all_from = |args: &mut Vec<String>, at: usize| {
        hide(args, [at]);
        args.truncate(at + 1);
    };
    let end = args.len();
    match values {
        Values::All => all_from(args, 0),
        Values::From(at) => all_from(args, at),
        Values::One(at) => hide(args, [at]),
        Values::Step { from, step } => hide(args, (from..end).step_by(step)),
        Values::Config => {
            if args.first().is_some_and(|arg| is(arg, &["SET"])) {
                hide(args, [2]);
            }
        }
        Values::Bitfield => {
            let sets: Vec<usize> = (0..end).filter(|at| is(&args[*at], &["SET"])).collect();
            hide(args, sets.into_iter().map(|at| at + 3));
        }
        Values::Members => {
            let options = args.iter().skip(1).take_while(|arg| is(arg, &OPTIONS)).count();
            hide(args, (options + 2..end).step_by(2));
        }
        Values::Auth => {
            if let Some(at) = args.iter().position(|arg| is(arg, &["AUTH", "AUTH2"])) {
                all_from(args, at + 1);
            }
        }
    }
}

fn hide(args: &mut [String], places: impl IntoIterator<Item = usize>) {
    for at in places {
        if let Some(arg) = args.get_mut(at) {
            *arg = PLACEHOLDER.to_string();
        }
    }
}

/// Words between spaces; a word in quotes may have spaces in it, and is not ended by a quote behind a backslash.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        match c {
            ' ' | '\r' | '\t' if !quoted => {
                if !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        word.push(c);
    }
    if !word.is_empty() {
        all.push(word);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_and_keys_stay() {
        for (text, expected) in [
            ("AUTH my-secret-password", "AUTH ?"),
            ("AUTH james my-secret-password", "AUTH ?"),
            ("AUTH", "AUTH"),
            ("GET key", "GET key"),
            ("APPEND key value", "APPEND key ?"),
            ("set key \"a value\" EX 60", "set key ? EX 60"),
            ("SET key \"a \\\" b\" NX", "SET key ? NX"),
            ("SETEX key 60 value", "SETEX key 60 ?"),
            ("LINSERT list BEFORE pivot value", "LINSERT list BEFORE pivot ?"),
            ("LPUSH list a b c", "LPUSH list ?"),
            ("GEOADD k 1 2 m 3 4 n", "GEOADD k 1 2 ? 3 4 ?"),
            ("HSET k a 1 b 2", "HSET k a ? b ?"),
            ("MSET a 1 b 2", "MSET a ? b ?"),
            ("XADD s * a 1 b 2", "XADD s * a ? b ?"),
            ("CONFIG SET requirepass secret", "CONFIG SET requirepass ?"),
            ("CONFIG GET save", "CONFIG GET save"),
            ("BITFIELD k GET u8 0 SET u8 0 255", "BITFIELD k GET u8 0 SET u8 0 ?"),
            ("ZADD k NX CH 1 one 2 two", "ZADD k NX CH 1 ? 2 ?"),
            ("HELLO 3 AUTH user secret", "HELLO 3 AUTH ?"),
            ("PUBLISH channel \"a secret\"", "PUBLISH channel ?"),
            ("SET a 1\nGET a\nSET b 2", "SET a ?\nGET a\nSET b ?"),
            ("", ""),
        ] {
            assert_eq!(masked(text, false), expected, "{text}");
        }
        assert_eq!(masked("set the table", true), "set the table");
        assert_eq!(masked("SET k v", true), "SET k ?");
    }
}
