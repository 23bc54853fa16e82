//! The table of functions: Go's that print, Alloy's, and Sprig's.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use gotmpl::{Value, ValueFunc};
use net::digest::Digest;

use super::args::Args;
use super::budget::{self, Result, STEP};
use super::numbers::Operation;
use super::show::Json;
use super::text::{self, Ends};
use super::{dates, dicts, encode, lists, numbers, regexes, show};

/// A function under one of its names.
type Entry = (&'static str, fn(&Args<'_>) -> Result<Value>);

/// Pays for a turn of a loop or a use of a template.
pub(super) const STEP_FUNCTION: &str = "__step";
/// Gives nothing.
pub(super) const NIL_FUNCTION: &str = "__nil";
/// Puts a value into a dictionary inside of others.
pub(super) const PUT_FUNCTION: &str = "__put";
/// A value as it is printed.
pub(super) const SHOW_FUNCTION: &str = "__show";

/// Functions of Go's templates that the engine has itself.
pub(super) const BUILT_IN: [&str; 11] =
    ["and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "index", "call"];

/// Functions that give a text whatever they are given, so that it need not be made one.
pub(super) fn gives_text(name: &str) -> bool {
    TEXT.iter().any(|(known, _)| *known == name)
}

/// Functions of Sprig that are left out, and why.
pub(super) fn left_out(name: &str) -> Option<&'static str> {
    const KEYS: &str = "keys, certificates and passwords are not made in a log pipeline";
    Some(match name {
        "bcrypt"
        | "htpasswd"
        | "genPrivateKey"
        | "derivePassword"
        | "buildCustomCert"
        | "genCA"
        | "genCAWithKey"
        | "genSelfSignedCert"
        | "genSelfSignedCertWithKey"
        | "genSignedCert"
        | "genSignedCertWithKey"
        | "encryptAES"
        | "decryptAES"
        | "randBytes" => KEYS,
        "getHostByName" => "a template must not wait for the network",
        "semver" | "semverCompare" | "urlParse" | "urlJoin" => "it is not supported",
        _ => return None,
    })
}

const TEXT: &[Entry] = &[
    ("print", show::print),
    ("println", show::println),
    ("printf", show::printf),
    ("html", |a| show::escaped(a, |t| gotmpl::html_escape(t).to_string())),
    ("js", |a| show::escaped(a, |t| gotmpl::js_escape(t).to_string())),
    ("urlquery", |a| show::escaped(a, |t| gotmpl::url_encode(t).to_string())),
    ("ToLower", text::lower),
    ("ToUpper", text::upper),
    ("Replace", text::go_replace),
    ("Trim", |a| text::go_trim(a, Ends::Both)),
    ("TrimLeft", |a| text::go_trim(a, Ends::Left)),
    ("TrimRight", |a| text::go_trim(a, Ends::Right)),
    ("TrimPrefix", |a| text::trim_prefix(a, false)),
    ("TrimSuffix", |a| text::trim_suffix(a, false)),
    ("TrimSpace", text::trim_space),
    ("Hash", |a| encode::salted(a, Digest::Sha3_256)),
    ("Sha2Hash", |a| encode::salted(a, Digest::Sha256)),
    ("regexReplaceAll", |a| regexes::replace_all(a, false)),
    ("mustRegexReplaceAll", |a| regexes::replace_all(a, false)),
    ("regexReplaceAllLiteral", |a| regexes::replace_all(a, true)),
    ("mustRegexReplaceAllLiteral", |a| regexes::replace_all(a, true)),
    ("regexFind", regexes::find),
    ("mustRegexFind", regexes::find),
    ("regexQuoteMeta", regexes::quote_meta),
    ("hello", text::hello),
    ("abbrev", text::abbrev),
    ("abbrevboth", text::abbrevboth),
    ("trunc", text::trunc),
    ("trim", text::trim_space),
    ("upper", text::upper),
    ("lower", text::lower),
    ("title", text::title),
    ("untitle", text::untitle),
    ("substr", text::substr),
    ("repeat", text::repeat),
    ("trimall", text::trim_all),
    ("trimAll", text::trim_all),
    ("trimSuffix", |a| text::trim_suffix(a, true)),
    ("trimPrefix", |a| text::trim_prefix(a, true)),
    ("nospace", text::nospace),
    ("initials", text::initials),
    ("randAlphaNum", |a| text::random(a, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")),
    ("randAlpha", |a| text::random(a, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")),
    ("randNumeric", |a| text::random(a, b"0123456789")),
    ("randAscii", |a| {
        text::random(
            a,
            b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
        )
    }),
    ("swapcase", text::swapcase),
    ("shuffle", text::shuffle),
    ("snakecase", |a| text::words::separate(a, '_')),
    ("kebabcase", |a| text::words::separate(a, '-')),
    ("camelcase", text::words::camelcase),
    ("wrap", text::wrap),
    ("wrapWith", text::wrap_with),
    ("quote", text::quote),
    ("squote", text::squote),
    ("cat", text::cat),
    ("indent", |a| text::indent(a, false)),
    ("nindent", |a| text::indent(a, true)),
    ("replace", text::replace),
    ("plural", text::plural),
    ("sha1sum", |a| encode::sum(a, Digest::Sha1)),
    ("sha256sum", |a| encode::sum(a, Digest::Sha256)),
    ("sha512sum", |a| encode::sum(a, Digest::Sha512)),
    ("adler32sum", encode::adler32),
    ("toString", text::to_string),
    ("seq", numbers::seq),
    ("join", text::join),
    ("toJson", |a| encode::to_json(a, Json { html: true, pretty: false }, false)),
    ("mustToJson", |a| encode::to_json(a, Json { html: true, pretty: false }, true)),
    ("toPrettyJson", |a| encode::to_json(a, Json { html: true, pretty: true }, false)),
    ("mustToPrettyJson", |a| encode::to_json(a, Json { html: true, pretty: true }, true)),
    ("toRawJson", |a| encode::to_json(a, Json { html: false, pretty: false }, true)),
    ("mustToRawJson", |a| encode::to_json(a, Json { html: false, pretty: false }, true)),
    ("typeOf", lists::type_of),
    ("kindOf", lists::kind_of),
    ("env", text::env),
    ("expandenv", text::expandenv),
    ("base", |a| text::path::apply(a, text::path::base)),
    ("dir", |a| text::path::apply(a, text::path::dir)),
    ("clean", |a| text::path::apply(a, text::path::clean)),
    ("ext", |a| text::path::apply(a, text::path::ext)),
    ("osBase", |a| text::path::apply(a, text::path::base)),
    ("osDir", |a| text::path::apply(a, text::path::dir)),
    ("osClean", |a| text::path::apply(a, text::path::clean)),
    ("osExt", |a| text::path::apply(a, text::path::ext)),
    ("b64enc", encode::b64enc),
    ("b64dec", encode::b64dec),
    ("b32enc", encode::b32enc),
    ("b32dec", encode::b32dec),
    ("uuidv4", encode::uuid),
    ("fail", text::fail),
    ("date", dates::date),
    ("date_in_zone", dates::date_in_zone),
    ("dateInZone", dates::date_in_zone),
    ("htmlDate", dates::html_date),
    ("htmlDateInZone", dates::html_date_in_zone),
    ("ago", dates::ago),
    ("duration", dates::duration),
    ("durationRound", dates::duration_round),
    ("unixEpoch", dates::unix_epoch),
];

const OTHER: &[Entry] = &[
    (STEP_FUNCTION, |a| budget::spend(usize::try_from(a.int(0)?).unwrap_or(0) * STEP).map(|()| Value::Nil)),
    (NIL_FUNCTION, |_| Ok(Value::Nil)),
    (PUT_FUNCTION, dicts::put),
    (SHOW_FUNCTION, |a| match a.get(0) {
        kept @ (Value::Nil | Value::String(_)) => Ok(kept.clone()),
        other => super::args::text(show::shown(other)?),
    }),
    ("len", text::len),
    ("contains", |a| text::contains(a, |value, part| value.contains(part))),
    ("hasPrefix", |a| text::contains(a, |value, part| value.starts_with(part))),
    ("hasSuffix", |a| text::contains(a, |value, part| value.ends_with(part))),
    ("isAbs", text::is_abs),
    ("osIsAbs", text::is_abs),
    ("toStrings", text::to_strings),
    ("sortAlpha", text::sort_alpha),
    ("split", text::split),
    ("splitList", text::split_list),
    ("splitn", text::splitn),
    ("atoi", numbers::atoi),
    ("int64", numbers::to_int),
    ("int", numbers::to_int),
    ("float64", numbers::to_float),
    ("toDecimal", numbers::to_decimal),
    ("until", numbers::until),
    ("untilStep", numbers::until_steps),
    ("add1", numbers::add1),
    ("add", numbers::add),
    ("sub", numbers::sub),
    ("mul", numbers::mul),
    ("div", |a| numbers::divided(a, i64::wrapping_div)),
    ("mod", |a| numbers::divided(a, i64::wrapping_rem)),
    ("randInt", numbers::rand_int),
    ("add1f", numbers::add1f),
    ("addf", |a| numbers::floats(a, Operation::Add)),
    ("subf", |a| numbers::floats(a, Operation::Sub)),
    ("mulf", |a| numbers::floats(a, Operation::Mul)),
    ("divf", |a| numbers::floats(a, Operation::Div)),
    ("biggest", |a| numbers::extreme(a, i64::max)),
    ("max", |a| numbers::extreme(a, i64::max)),
    ("min", |a| numbers::extreme(a, i64::min)),
    ("maxf", |a| numbers::extreme_float(a, f64::max)),
    ("minf", |a| numbers::extreme_float(a, f64::min)),
    ("ceil", |a| numbers::rounded(a, f64::ceil)),
    ("floor", |a| numbers::rounded(a, f64::floor)),
    ("round", numbers::round),
    ("default", lists::default),
    ("empty", lists::empty),
    ("coalesce", lists::coalesce),
    ("all", lists::all),
    ("any", lists::any),
    ("compact", lists::compact),
    ("mustCompact", lists::compact),
    ("ternary", lists::ternary),
    ("deepCopy", lists::deep_copy),
    ("mustDeepCopy", lists::deep_copy),
    ("fromJson", |a| encode::from_json(a, false)),
    ("mustFromJson", |a| encode::from_json(a, true)),
    ("typeIs", lists::type_is),
    ("typeIsLike", lists::type_is),
    ("kindIs", lists::kind_is),
    ("deepEqual", lists::deep_equal),
    ("tuple", lists::new),
    ("list", lists::new),
    ("append", lists::push),
    ("push", lists::push),
    ("mustAppend", lists::push),
    ("mustPush", lists::push),
    ("prepend", lists::prepend),
    ("mustPrepend", lists::prepend),
    ("first", lists::first),
    ("mustFirst", lists::first),
    ("rest", lists::rest),
    ("mustRest", lists::rest),
    ("last", lists::last),
    ("mustLast", lists::last),
    ("initial", lists::initial),
    ("mustInitial", lists::initial),
    ("reverse", lists::reverse),
    ("mustReverse", lists::reverse),
    ("uniq", lists::uniq),
    ("mustUniq", lists::uniq),
    ("without", lists::without),
    ("mustWithout", lists::without),
    ("has", lists::has),
    ("mustHas", lists::has),
    ("slice", lists::slice),
    ("mustSlice", lists::slice),
    ("concat", lists::concat),
    ("chunk", lists::chunk),
    ("mustChunk", lists::chunk),
    ("dict", dicts::new),
    ("get", dicts::get),
    ("set", dicts::set),
    ("unset", dicts::unset),
    ("hasKey", dicts::has_key),
    ("pluck", dicts::pluck),
    ("keys", dicts::keys),
    ("values", dicts::values),
    ("pick", dicts::pick),
    ("omit", dicts::omit),
    ("merge", |a| dicts::merge(a, false)),
    ("mustMerge", |a| dicts::merge(a, false)),
    ("mergeOverwrite", |a| dicts::merge(a, true)),
    ("mustMergeOverwrite", |a| dicts::merge(a, true)),
    ("dig", dicts::dig),
    ("regexMatch", |a| regexes::is_match(a, false)),
    ("mustRegexMatch", |a| regexes::is_match(a, true)),
    ("regexFindAll", regexes::find_all),
    ("mustRegexFindAll", regexes::find_all),
    ("regexSplit", regexes::split),
    ("mustRegexSplit", regexes::split),
    ("now", dates::now),
    ("toDate", |a| dates::to_date(a, false)),
    ("mustToDate", |a| dates::to_date(a, true)),
    ("dateModify", |a| dates::modify(a, false)),
    ("date_modify", |a| dates::modify(a, false)),
    ("mustDateModify", |a| dates::modify(a, true)),
    ("must_date_modify", |a| dates::modify(a, true)),
];

/// All of them as the engine takes them.
pub(super) static ALL: LazyLock<BTreeMap<String, ValueFunc>> = LazyLock::new(|| {
    let entries = TEXT.iter().chain(OTHER);
    let function = |(name, call): &Entry| {
        let (name, call) = (*name, *call);
        let charged: ValueFunc = Arc::new(move |values: &[Value]| {
            budget::spend(STEP)?;
            call(&Args { name, values })
        });
        (name.to_owned(), charged)
    };
    entries.map(function).collect()
});
