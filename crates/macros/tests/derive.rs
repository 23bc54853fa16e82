//! What the derives accept, decode, describe and refuse. Diagnostics are compared as
//! `code @ the text pointed at: message (help)`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use eval::{
    Absent, Arguments, BodySchema, Exports, Invalid, Item, Resolve, Scope, Secret, Size, Stability, Value,
    check, check_schema, decode, items_to_json,
};
use macros::{ArgEnum, ArgObject, ArgText, Arguments, Exports};
use syntax::{Diagnostic, Source, parse};

#[derive(Debug, Clone, Copy, PartialEq, ArgEnum)]
#[arg(code_type = "string(Action)", ignore_case)]
enum Action {
    #[arg(default)]
    Replace,
    LabelDrop,
    #[arg(name = "keep", alias = "retain")]
    KeepIt,
}

#[derive(Debug, Clone, PartialEq, Default, ArgText)]
#[arg(code_type = "string(Port)")]
struct Port(u16);

impl FromStr for Port {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        s.parse().map(Self).map_err(|_| format!("{s:?} is not a port"))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Clone, PartialEq, ArgObject)]
#[arg(type_name = "object", code_type = "object(Filter)")]
struct Filter {
    name: String,
    #[arg(default = 7)]
    weight: i64,
}

/// How to connect.
#[derive(Debug, Clone, PartialEq, Arguments)]
struct Client {
    /// Follow redirects.
    #[arg(default = true)]
    follow_redirects: bool,
    #[arg(default)]
    token: Secret,
    #[arg(block)]
    tls: Option<Tls>,
}

#[derive(Debug, Clone, PartialEq, Arguments)]
#[arguments(validate = Tls::whole)]
struct Tls {
    #[arg(default)]
    cert: String,
    #[arg(default)]
    key: String,
}

impl Tls {
    fn whole(&self) -> Result<(), Invalid> {
        if self.cert.is_empty() == self.key.is_empty() {
            return Ok(());
        }
        Err(Invalid::field("cert", "a certificate needs a key").with_help("set key"))
    }
}

#[derive(Debug, Clone, PartialEq, Arguments)]
struct Queue {
    #[arg(default = 100)]
    capacity: usize,
}

#[derive(Debug, Clone, PartialEq, Arguments)]
struct Endpoint {
    url: String,
    #[arg(squash, default = Client { follow_redirects: false, ..Client::defaults() })]
    client: Client,
}

#[derive(Debug, Clone, PartialEq, Arguments)]
struct Named {
    #[arg(label)]
    name: String,
    #[arg(default)]
    value: i64,
}

#[derive(Debug, Clone, PartialEq, Arguments)]
struct Json {
    expressions: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Arguments)]
struct Match {
    selector: String,
    #[arg(one_of)]
    stage: Vec<Stage>,
}

#[derive(Debug, Clone, PartialEq, Arguments)]
enum Stage {
    /// Reads JSON.
    #[arg(name = "stage.json")]
    Json(Json),
    #[arg(name = "stage.match")]
    Match(Box<Match>),
    #[arg(name = "stage.docker")]
    Docker,
}

/// A component's arguments.
#[derive(Debug, Clone, PartialEq, Arguments)]
struct Args {
    /// Where it goes,
    /// in order.
    targets: Vec<String>,
    #[arg(default = "1m")]
    interval: Duration,
    #[arg(default = "1MiB")]
    limit: Size,
    #[arg(default)]
    r#type: String,
    #[arg(default = Action::Replace)]
    action: Action,
    #[arg(default = vec!["a".to_owned()], name = "names")]
    list: Vec<String>,
    timeout: Option<Duration>,
    #[arg(default = "80")]
    port: Port,
    #[arg(default)]
    filters: Vec<Filter>,
    #[arg(default, stability = experimental)]
    preview: bool,
    #[arg(default, type_name = "number", code_type = "float")]
    ratio: f64,
    #[arg(skip)]
    cache: usize,
    #[arg(block)]
    queue: Queue,
    #[arg(block, default = Queue { capacity: 7 })]
    small_queue: Queue,
    #[arg(block, default)]
    endpoint: Vec<Endpoint>,
    #[arg(block)]
    named: Vec<Named>,
    #[arg(one_of)]
    stage: Vec<Stage>,
    #[arg(squash)]
    client: Client,
}

#[derive(Debug, Clone, PartialEq, Arguments)]
struct Strict {
    #[arg(block, required)]
    tls: Tls,
    #[arg(block, required)]
    endpoint: Vec<Endpoint>,
}

#[derive(Arguments)]
struct Nothing;

struct Host;

impl Resolve for Host {
    fn resolve(&self, path: &[&str]) -> Option<(usize, Value)> {
        match *path.first()? {
            "unknown_targets" => Some((1, Value::Unknown("list(target)"))),
            "unknown_names" => Some((1, Value::Unknown("list(string)"))),
            "unknown_text" => Some((1, Value::Unknown("string"))),
            "unknown" => Some((1, Value::Unknown(""))),
            _ => None,
        }
    }
}

fn shown(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics
        .iter()
        .map(|d| {
            let l = d.location.as_ref().expect("a problem in a body has a place");
            let help = d.help.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
            format!("{} @ {}: {}{help}", d.code, l.source.slice(l.span), d.message)
        })
        .collect()
}

/// Decodes what stands in `component "x" { … }`.
fn decode_at<A: Arguments>(text: &str, stability: Stability) -> (Option<A>, Vec<String>) {
    let source = Source::new("test.alloy", format!("component \"x\" {{\n{text}\n}}\n"));
    let (file, problems) = parse(&source);
    assert!(problems.is_empty(), "{text}: {problems:?}");
    let block = file.body.blocks().next().expect("there is one block");
    let scope = Scope::new(&Host).with_stability(stability);
    let (decoded, diagnostics) = decode(&source, &block.body, block.label.as_ref(), &scope);
    (decoded, shown(&diagnostics))
}

fn good<A: Arguments>(text: &str) -> A {
    let (decoded, problems) = decode_at(text, Stability::GenerallyAvailable);
    assert_eq!(problems, [""; 0], "{text}");
    decoded.expect("without problems there is a struct")
}

#[track_caller]
fn bad<A: Arguments>(text: &str, expected: &[&str]) {
    let (decoded, problems) = decode_at::<A>(text, Stability::GenerallyAvailable);
    assert_eq!(problems, expected, "{text}");
    assert!(decoded.is_none());
}

fn checked<A: Arguments>(text: &str) -> Vec<String> {
    let source = Source::new("test.alloy", text);
    let (file, problems) = parse(&source);
    assert!(problems.is_empty(), "{text}: {problems:?}");
    shown(&check::<A>(&source, &file.body, None, &Scope::new(&Host)))
}

#[test]
fn what_is_not_written_has_its_default() {
    let args: Args = good("targets = []");
    assert_eq!(
        args,
        Args {
            targets: vec![],
            interval: Duration::from_secs(60),
            limit: Size::mib(1),
            r#type: String::new(),
            action: Action::Replace,
            list: vec!["a".to_owned()],
            timeout: None,
            port: Port(80),
            filters: vec![],
            preview: false,
            ratio: 0.0,
            cache: 0,
            queue: Queue { capacity: 100 },
            small_queue: Queue { capacity: 7 },
            endpoint: vec![],
            named: vec![],
            stage: vec![],
            client: Client { follow_redirects: true, token: Secret::default(), tls: None },
        }
    );
}

#[test]
fn what_is_written_replaces_defaults_and_null_sets_zero() {
    let args: Args = good(
        r#"
        targets  = ["x", 1]
        interval = "1h30m"
        limit    = null
        type     = "t"
        action   = "LABEL_DROP"
        names    = null
        timeout  = "5s"
        port     = 8080
        filters  = [{ name = "n" }, { weight = 1 }]
        ratio    = "1e1"
        token    = "secret"
        tls { cert = "c"
              key = "k" }
        "#,
    );
    assert_eq!(args.targets, ["x", "1"]);
    assert_eq!((args.interval, args.limit), (Duration::from_secs(5400), Size(0)));
    assert_eq!((args.r#type.as_str(), args.action, args.list.len()), ("t", Action::LabelDrop, 0));
    assert_eq!((args.timeout, args.port, args.ratio), (Some(Duration::from_secs(5)), Port(8080), 10.0));
    let filter = |name: &str, weight| Filter { name: name.to_owned(), weight };
    assert_eq!(args.filters, [filter("n", 7), filter("", 1)]);
    assert_eq!((args.client.token.reveal(), args.client.tls.is_some()), ("secret", true));
    assert_eq!(good::<Args>("targets = []\naction = \"retain\"").action, Action::KeepIt);
}

#[test]
fn an_absent_block_has_the_parents_default_and_a_present_one_its_own() {
    let args: Args = good("targets = []\nsmall_queue { }");
    assert_eq!((args.queue.capacity, args.small_queue.capacity), (100, 100));
    let args: Args = good("targets = []\nqueue { capacity = 1 }");
    assert_eq!((args.queue.capacity, args.small_queue.capacity), (1, 7));
}

#[test]
fn a_flattened_struct_has_the_parents_defaults_and_no_validation_of_its_own() {
    let args: Args =
        good("targets = []\nendpoint { url = \"a\" }\nendpoint {\nurl = \"b\"\nfollow_redirects = true\n}");
    let follow: Vec<bool> = args.endpoint.iter().map(|e| e.client.follow_redirects).collect();
    assert_eq!(follow, [false, true]);

    #[derive(Debug, Arguments)]
    struct Flat {
        #[arg(squash)]
        tls: Tls,
    }
    assert_eq!(good::<Flat>("cert = \"c\"").tls.cert, "c");
}

#[test]
fn labels_and_ordered_groups_keep_the_order_of_the_file() {
    let args: Args = good(
        r#"
        targets = []
        named "b" { value = 1 }
        stage.docker { }
        stage.match {
            selector = "{}"
            stage.docker { }
            stage.json { expressions = { a = "b" } }
        }
        named "a" { }
        stage.json { expressions = {} }
        "#,
    );
    let named = |name: &str, value| Named { name: name.to_owned(), value };
    assert_eq!(args.named, [named("b", 1), named("a", 0)]);
    let json = |pairs: &[(&str, &str)]| {
        Stage::Json(Json { expressions: pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect() })
    };
    let inner = Match { selector: "{}".to_owned(), stage: vec![Stage::Docker, json(&[("a", "b")])] };
    assert_eq!(args.stage, [Stage::Docker, Stage::Match(Box::new(inner)), json(&[])]);
}

#[test]
fn every_problem_of_a_body_is_reported_at_its_place() {
    bad::<Args>(
        r#"
        interval = 5
        interval = "6s"
        intreval = "7s"
        limit    = "1kB"
        names    = ["a", true, {}]
        filters  = [{ name = "n", wieght = 1 }]
        action   = "label-drop"
        queue    = "x"
        timeout { }
        stage.jsn { }
        stage.json { expression = {} }
        named { }
        queue "q" { }
        queue { capacity = "x" }
        port     = "http"
        preview  = true
        type     = nowhere.to_be
        tls { cert = "c" }
        "#,
        &[
            "missing_argument @ component \"x\": argument \"targets\" is required (add targets = …, of type list(string))",
            "invalid_value @ 5: argument \"interval\": \"5\" is not a duration: it has no unit (units are ns, us, ms, s, m and h, as in \"1m30s\")",
            "duplicate_argument @ interval: argument \"interval\" is set twice (keep one of them)",
            "unknown_argument @ intreval: there is no argument \"intreval\" here (did you mean \"interval\"?)",
            "invalid_value @ \"1kB\": argument \"limit\": \"1kB\" is not a size: unknown unit (write a number with its unit, such as \"10MiB\", \"512KiB\" or \"100B\")",
            "wrong_type @ true: argument \"names\": expected string, got bool",
            "invalid_value @ 1: argument \"filters\": there is no field \"wieght\" (did you mean \"weight\"?)",
            "invalid_value @ \"label-drop\": argument \"action\": \"label-drop\" is not one of \"replace\", \"label_drop\", \"keep\" (did you mean \"label_drop\"?)",
            "block_expected @ queue: \"queue\" is a block, not an argument (write queue { … })",
            "attribute_expected @ timeout: \"timeout\" is an argument, not a block (write timeout = …)",
            "unknown_block @ stage.jsn: there is no block \"stage.jsn\" here (did you mean \"stage.json\"?)",
            "missing_argument @ stage.json: argument \"expressions\" is required (add expressions = …, of type map(string))",
            "unknown_argument @ expression: there is no argument \"expression\" here (did you mean \"expressions\"?)",
            "missing_label @ named: this block needs a label (write a name in quotes between the block's name and the brace)",
            "duplicate_block @ queue: block \"queue\" may be written only once (put everything into one of them)",
            "unexpected_label @ \"q\": this block takes no label (remove it)",
            "duplicate_block @ queue: block \"queue\" may be written only once (put everything into one of them)",
            "invalid_value @ \"http\": argument \"port\": \"http\" is not a port",
            "stability @ preview  = true: argument \"preview\" is experimental, the configuration may use what is generally-available (remove it, or start with --stability.level=experimental)",
            "unknown_reference @ nowhere.to_be: \"nowhere.to_be\" does not exist or is out of scope",
            "invalid_value @ cert = \"c\": a certificate needs a key (set key)",
        ],
    );
}

#[test]
fn required_blocks_must_stand_and_repeat_only_where_they_may() {
    bad::<Strict>(
        "",
        &[
            "missing_block @ component \"x\": block \"tls\" is required (add tls { … })",
            "missing_block @ component \"x\": block \"endpoint\" is required (add endpoint { … })",
        ],
    );
    let strict: Strict = good("tls { }\nendpoint { url = \"a\" }\nendpoint { url = \"b\" }");
    assert_eq!(strict.endpoint.len(), 2);
    bad::<Nothing>("x = 1", &["unknown_argument @ x: there is no argument \"x\" here"]);
}

#[test]
fn an_experimental_argument_may_be_written_with_its_default_or_at_the_level() {
    assert!(!good::<Args>("targets = []\npreview = false").preview);
    let (args, problems) = decode_at::<Args>("targets = []\npreview = true", Stability::Experimental);
    assert_eq!(problems, [""; 0]);
    assert!(args.is_some_and(|a| a.preview));
}

#[test]
fn the_static_pass_takes_what_can_fit_and_refuses_what_cannot() {
    for text in [
        "targets = unknown_names",
        "targets = unknown",
        "targets = [unknown_text, \"x\"]",
        "targets = array.concat(unknown, [])",
        "targets = []\ninterval = unknown_text",
        "targets = []\ntoken = unknown_text\ntls { cert = unknown_text }",
        "targets = []\nfilters = [{ name = unknown_text }]",
    ] {
        assert_eq!(checked::<Args>(text), [""; 0], "{text}");
    }
    assert_eq!(
        checked::<Args>(
            "targets = unknown_text\nfollow_redirects = unknown_text\nnames = [unknown_targets]\ntls { cert = \"c\" }"
        ),
        [
            "wrong_type @ unknown_text: argument \"targets\": expected list(string), got string",
            "wrong_type @ unknown_text: argument \"follow_redirects\": expected bool, got string",
            "wrong_type @ unknown_targets: argument \"names\": expected string, got list(target)",
            "invalid_value @ cert = \"c\": a certificate needs a key (set key)",
        ]
    );
}

#[test]
fn a_schema_alone_finds_the_same_as_the_struct() {
    let text = "targets = true\nqueue { capacity = \"x\" }\nstage.match { stage.docker { x = 1 } }\nnamed { }\npreview = true\n";
    let source = Source::new("test.alloy", text);
    let (file, _) = parse(&source);
    let scope = Scope::new(&Host);
    let by_schema = shown(&check_schema(Args::schema(), &source, &file.body, None, &scope));
    let by_struct = shown(&check::<Args>(&source, &file.body, None, &scope));
    assert_eq!(by_schema, by_struct);
    assert_eq!(by_schema.len(), 6);
}

#[test]
fn warnings_come_with_the_struct() {
    let (args, problems) = decode_at::<Args>("targets = [to_upper(\"a\")]", Stability::GenerallyAvailable);
    assert_eq!(args.map(|a| a.targets), Some(vec!["A".to_owned()]));
    assert_eq!(
        problems,
        ["deprecated @ to_upper: the name \"to_upper\" is deprecated (write string.to_upper instead)"]
    );
}

#[test]
fn the_schema_says_what_the_struct_does() {
    let schema: &BodySchema = Args::schema();
    assert_eq!(schema.doc, "A component's arguments.");
    let attributes: Vec<String> = schema
        .attributes()
        .map(|a| {
            let default = a.default.as_deref().unwrap_or(if a.required { "required" } else { "unset" });
            format!("{} {} {default}", a.name, a.code_type)
        })
        .collect();
    assert_eq!(
        attributes,
        [
            "targets list(string) required",
            "interval duration \"1m\"",
            "limit size(base2) \"1MiB\"",
            "type string \"\"",
            "action string(Action) \"replace\"",
            "names list(string) [\"a\"]",
            "timeout duration unset",
            "port string(Port) \"80\"",
            "filters list(object(Filter)) []",
            "preview bool false",
            "ratio float 0",
            "follow_redirects bool true",
            "token secret \"\"",
        ]
    );
    let action = schema.attributes().find(|a| a.name == "action").expect("it is declared");
    assert_eq!(action.allowed, ["replace", "label_drop", "keep"]);
    let targets = schema.attributes().next().expect("it is first");
    assert_eq!(targets.doc, "Where it goes,\nin order.");
    let blocks: Vec<_> =
        schema.blocks().map(|b| (b.name, b.absent, b.repeatable, b.group, (b.body)().labelled)).collect();
    assert_eq!(
        blocks,
        [
            ("queue", Absent::Defaults, false, None, false),
            ("small_queue", Absent::Defaults, false, None, false),
            ("endpoint", Absent::Empty, true, None, false),
            ("named", Absent::Empty, true, None, true),
            ("stage.json", Absent::Empty, true, Some("stage"), false),
            ("stage.match", Absent::Empty, true, Some("stage"), false),
            ("stage.docker", Absent::Empty, true, Some("stage"), false),
            ("tls", Absent::Unset, false, None, false),
        ]
    );
    assert!(Strict::schema().blocks().all(|b| b.required && b.absent == Absent::Error));
}

#[test]
fn the_reference_form_flattens_blocks_and_stops_at_recursion() {
    let json = Args::schema().to_json();
    let blocks = json["blocks"].as_array().expect("it is a list");
    let paths: Vec<&str> = blocks.iter().filter_map(|b| b["path"].as_str()).collect();
    assert_eq!(
        paths,
        [
            "queue",
            "small_queue",
            "endpoint",
            "endpoint > tls",
            "named",
            "stage.json",
            "stage.match",
            "stage.docker",
            "tls"
        ]
    );
    let of = |path: &str| blocks.iter().find(|b| b["path"] == path).expect("the block is listed");
    assert_eq!(of("stage.match")["recursive"], true);
    assert_eq!(of("stage.json")["ordered_enum"], "stage");
    assert_eq!(of("named")["label"], "required");
    assert_eq!(of("endpoint")["absent_means"], "empty");
    assert_eq!(of("endpoint")["multiple"], true);
    assert_eq!(json["arguments"][1]["default"], "\"1m\"");
    assert_eq!(json["arguments"][0]["required"], true);
}

#[test]
fn a_struct_becomes_statements_without_zero_values_and_without_secrets() {
    let args: Args = good(
        "targets = []\ntoken = \"hunter2\"\nnamed \"n\" { value = 3 }\nstage.match {\nselector = \"s\"\nstage.docker { }\n}",
    );
    let mut items = Vec::new();
    args.encode(&mut items);
    let names: Vec<&str> = items
        .iter()
        .map(|i| match i {
            Item::Attribute { name, .. } | Item::Block { name, .. } => name.as_ref(),
        })
        .collect();
    assert_eq!(
        names,
        [
            "targets",
            "interval",
            "limit",
            "action",
            "names",
            "port",
            "queue",
            "small_queue",
            "named",
            "stage.match",
            "follow_redirects",
            "token"
        ]
    );
    let json = items_to_json(&items).to_string();
    assert!(!json.contains("hunter2") && json.contains("(secret)"), "{json}");
    let named = items_to_json(&items)[8].to_string();
    assert_eq!(
        named,
        r#"{"body":[{"name":"value","type":"attr","value":{"type":"number","value":3}}],"label":"n","name":"named","type":"block"}"#
    );
}

/// Exports of a component.
#[derive(Clone, PartialEq, Exports)]
struct Outputs {
    /// What comes out.
    output: Vec<String>,
    #[arg(name = "content", type_name = "string or secret", code_type = "optional_secret")]
    r#type: String,
}

#[test]
fn exports_are_an_object_with_a_schema() {
    let outputs = Outputs { output: vec!["a".to_owned()], r#type: "t".to_owned() };
    assert_eq!(Exports::to_value(&outputs).to_source(), "{content = \"t\", output = [\"a\"]}");
    let schema: Vec<_> =
        Outputs::schema().iter().map(|e| (e.name, &*e.type_name, &*e.code_type, e.doc)).collect();
    assert_eq!(
        schema,
        [
            ("output", "list(string)", "list(string)", "What comes out."),
            ("content", "string or secret", "optional_secret", ""),
        ]
    );
    assert_eq!(().to_value().to_source(), "{}");
    assert!(<() as Exports>::schema().is_empty());
}
