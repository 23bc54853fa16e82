//! A rule set as text: the form of a Gitleaks configuration, which users' own files have too.
//!
//! Data path: TOML → keys in lower case (Gitleaks does not mind their case) → [`File`] → merged with what it
//! extends → [`Detector`]. As gitleaks/config: `Translate`, `extend`.

use std::path::Path;

use hashbrown::HashMap;
use serde::Deserialize;
use signal::re2::Regex;

use super::detect::{Allowlist, Detector, Pattern, Required, Rule, Target};

/// The rules that are used where no file is given.
pub const BUILTIN: &str = include_str!("rules.toml");

/// How deep a file may extend one that extends one. As gitleaks: `maxExtendDepth`.
const DEPTH: usize = 2;
/// The largest file that is read.
const MAX_FILE: u64 = 16 << 20;

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    extend: Extend,
    allowlist: Option<AllowText>,
    allowlists: Vec<AllowText>,
    rules: Vec<RuleText>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Extend {
    path: String,
    url: String,
    usedefault: bool,
    disabledrules: Vec<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct RuleText {
    id: String,
    regex: String,
    path: String,
    secretgroup: usize,
    entropy: f64,
    keywords: Vec<String>,
    allowlist: Option<AllowText>,
    allowlists: Vec<AllowText>,
    required: Vec<RequiredText>,
    skipreport: bool,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct RequiredText {
    id: String,
    withinlines: Option<usize>,
    withincolumns: Option<usize>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct AllowText {
    condition: String,
    commits: Vec<String>,
    paths: Vec<String>,
    regextarget: String,
    regexes: Vec<String>,
    stopwords: Vec<String>,
    targetrules: Vec<String>,
}

/// A file and what it extends, merged.
#[derive(Default)]
struct Merged {
    rules: Vec<RuleText>,
    allowlists: Vec<AllowText>,
}

/// Reads a user's file and compiles what it says.
///
/// # Errors
/// With the file and the rule at fault.
pub fn load(path: &Path) -> Result<Detector, String> {
    let merged = merged(&read(path)?, 0).map_err(|error| format!("{}: {error}", path.display()))?;
    compile(merged, true).map_err(|error| format!("{}: {error}", path.display()))
}

/// Compiles a text; of files it may extend.
///
/// # Errors
/// With the rule at fault.
pub fn parse(text: &str) -> Result<Detector, String> {
    compile(merged(text, 0)?, true)
}

/// The rules of this program. Their patterns are compiled when a line needs them for the first time.
pub fn builtin() -> Detector {
    let merged = merged(BUILTIN, 0).and_then(|merged| compile(merged, false));
    merged.expect("the built-in rules are valid: a test compiles them all")
}

fn read(path: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(told)?.len();
    if size > MAX_FILE {
        return Err(format!("{}: larger than {MAX_FILE} bytes", path.display()));
    }
    std::fs::read_to_string(path).map_err(told)
}

fn merged(text: &str, depth: usize) -> Result<Merged, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut value = toml::Value::Table(table);
    lower_keys(&mut value);
    let file = File::deserialize(value).map_err(|error| error.to_string())?;
    if !file.extend.url.is_empty() {
        return Err("extend.url is not supported: use extend.path".into());
    }
    if file.allowlist.is_some() && !file.allowlists.is_empty() {
        return Err("allowlist and allowlists exclude each other: use allowlists".into());
    }
    if let Some(unnamed) = file.rules.iter().position(|r| r.id.is_empty()) {
        return Err(format!("rule {} has no id", unnamed + 1));
    }
    let base = match (file.extend.usedefault, file.extend.path.as_str()) {
        (true, path) if !path.is_empty() => {
            return Err("extend.useDefault and extend.path exclude each other".into());
        }
        (false, "") => Merged::default(),
        _ if depth >= DEPTH => return Err(format!("files extend each other more than {DEPTH} times")),
        (true, _) => merged(BUILTIN, depth + 1)?,
        (false, path) => {
            merged(&read(Path::new(path))?, depth + 1).map_err(|error| format!("{path}: {error}"))?
        }
    };
    let mut own = Merged { rules: file.rules, allowlists: file.allowlists };
    own.allowlists.extend(file.allowlist);
    extend(base, own, &file.extend.disabledrules)
}

/// Viper, which Gitleaks reads its files with, does not tell capitals in keys apart.
fn lower_keys(value: &mut toml::Value) {
    match value {
        toml::Value::Table(table) => {
            let lowered = std::mem::take(table).into_iter().map(|(key, mut value)| {
                lower_keys(&mut value);
                (key.to_ascii_lowercase(), value)
            });
            *table = lowered.collect();
        }
        toml::Value::Array(values) => values.iter_mut().for_each(lower_keys),
        _ => {}
    }
}

/// The base, changed by rules of the same ID and followed by new ones.
fn extend(base: Merged, own: Merged, disabled: &[String]) -> Result<Merged, String> {
    let mut rules: Vec<RuleText> =
        base.rules.into_iter().filter(|rule| !disabled.contains(&rule.id)).collect();
    let mut places: HashMap<String, usize> =
        rules.iter().enumerate().map(|(i, rule)| (rule.id.clone(), i)).collect();
    let inherited = rules.len();
    for rule in own.rules {
        match places.get(&rule.id) {
            Some(place) if *place < inherited => change(&mut rules[*place], rule)?,
            Some(_) => return Err(format!("rule {:?} is given twice", rule.id)),
            None => {
                places.insert(rule.id.clone(), rules.len());
                rules.push(rule);
            }
        }
    }
    let mut allowlists = base.allowlists;
    allowlists.extend(own.allowlists);
    Ok(Merged { rules, allowlists })
}

fn change(base: &mut RuleText, own: RuleText) -> Result<(), String> {
    let allowlists = allow_texts(&own)?;
    if !own.regex.is_empty() {
        base.regex = own.regex;
    }
    if !own.path.is_empty() {
        base.path = own.path;
    }
    if own.entropy != 0.0 {
        base.entropy = own.entropy;
    }
    if own.secretgroup != 0 {
        base.secretgroup = own.secretgroup;
    }
    base.keywords.extend(own.keywords);
    base.allowlists.extend(allowlists);
    base.required.extend(own.required);
    base.skipreport |= own.skipreport;
    Ok(())
}

fn allow_texts(rule: &RuleText) -> Result<Vec<AllowText>, String> {
    if rule.allowlist.is_some() && !rule.allowlists.is_empty() {
        return Err(format!(
            "rule {:?}: allowlist and allowlists exclude each other: use allowlists",
            rule.id
        ));
    }
    Ok(rule.allowlist.iter().chain(&rule.allowlists).cloned().collect())
}

fn compile(merged: Merged, eagerly: bool) -> Result<Detector, String> {
    let mut global = Vec::new();
    let mut targeted: HashMap<&str, Vec<&AllowText>> = HashMap::new();
    for (i, text) in merged.allowlists.iter().enumerate() {
        if text.targetrules.is_empty() {
            global.push(allowlist(text).map_err(|error| format!("allowlist {}: {error}", i + 1))?);
        }
        for id in &text.targetrules {
            if !merged.rules.iter().any(|rule| rule.id == *id) {
                return Err(format!("allowlist {}: there is no rule {id:?}", i + 1));
            }
            targeted.entry(id).or_default().push(text);
        }
    }
    let mut rules = Vec::new();
    for text in &merged.rules {
        let told = |error: String| format!("rule {:?}: {error}", text.id);
        let mut texts = allow_texts(text)?;
        texts.extend(targeted.get(text.id.as_str()).into_iter().flatten().map(|t| (*t).clone()));
        let allowlists = texts.iter().map(allowlist).collect::<Result<_, _>>().map_err(told)?;
        if text.regex.is_empty() && text.path.is_empty() {
            return Err(told("needs a regex".into()));
        }
        if !applies(text).map_err(told)? {
            continue;
        }
        let pattern = Pattern::new(&text.regex, eagerly).map_err(told)?;
        if eagerly && text.secretgroup >= pattern.regex().group_count() {
            return Err(told(format!("secretGroup {} is not in its regex", text.secretgroup)));
        }
        rules.push(Rule {
            id: text.id.as_str().into(),
            pattern,
            secret_group: text.secretgroup,
            entropy: text.entropy,
            keywords: text.keywords.iter().map(|k| k.to_lowercase()).collect(),
            allowlists,
            required: Vec::new(),
            reported: !text.skipreport,
        });
    }
    for text in merged.rules.iter().filter(|t| !t.required.is_empty()) {
        let required = required(text, &rules)?;
        if let Some(rule) = rules.iter_mut().find(|rule| *rule.id == text.id) {
            rule.required = required;
        }
    }
    Detector::new(rules, global)
}

/// A log line has no path: a rule for certain paths applies if its pattern matches none.
fn applies(text: &RuleText) -> Result<bool, String> {
    if text.path.is_empty() {
        return Ok(true);
    }
    let path = Regex::new(&text.path).map_err(|error| error.to_string())?;
    Ok(!text.regex.is_empty() && path.is_match(""))
}

fn required(text: &RuleText, rules: &[Rule]) -> Result<Vec<Required>, String> {
    let one = |required: &RequiredText| {
        let rule = rules.iter().position(|rule| *rule.id == required.id);
        let missing = || format!("rule {:?} requires {:?}, which is no rule", text.id, required.id);
        Ok(Required {
            rule: rule.ok_or_else(missing)?,
            within_lines: required.withinlines,
            within_columns: required.withincolumns,
        })
    };
    text.required.iter().map(one).collect()
}

fn allowlist(text: &AllowText) -> Result<Allowlist, String> {
    let target = match text.regextarget.as_str() {
        "" | "secret" => Target::Secret,
        "match" => Target::Match,
        "line" => Target::Line,
        other => return Err(format!("regexTarget {other:?} is not one of secret, match, line")),
    };
    let all = match text.condition.to_ascii_uppercase().as_str() {
        "" | "OR" | "||" => false,
        "AND" | "&&" => true,
        other => return Err(format!("condition {other:?} is not one of OR, AND")),
    };
    if [&text.commits, &text.paths, &text.regexes, &text.stopwords].iter().all(|l| l.is_empty()) {
        return Err("an allowlist needs regexes or stopwords".into());
    }
    let regexes = text.regexes.iter().map(|r| Regex::new(r).map_err(|error| error.to_string()));
    Ok(Allowlist {
        target,
        all,
        // What only a file in a repository has is never met by a log line.
        elsewhere: !text.commits.is_empty() || !text.paths.is_empty(),
        regexes: regexes.collect::<Result<_, _>>()?,
        stopwords: text.stopwords.iter().map(|word| word.to_lowercase()).collect(),
    })
}
