//! From the text of a test file to [`TestFile`].
//!
//! The shapes that Alloy's own pipeline tests have had are read as they are (`inputs`, `assert`, `mocks`); what goes
//! beyond them uses the same words.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use syntax::{Diagnostic, Source, Span};

use crate::claims;
use crate::read::{Fields, Reader};
use crate::spec::{
    Answer, Asked, Config, Data, Input, LogEntry, SentProfile, Step, Stub, StubExports, TestCase, TestFile,
};
use crate::yaml::{self, Kind, Node};

/// 2026-01-01T00:00:00Z: the clock of a test shows the same every time.
const START_NS: i64 = 1_767_225_600_000_000_000;
/// How long a test without steps of its own waits for what it claims. As Alloy's harness.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a test file.
pub(crate) fn parse(source: &Source) -> Result<TestFile, Vec<Diagnostic>> {
    let tree = yaml::parse(source).map_err(|d| vec![d])?;
    let reader = Reader::new(source.clone());
    let tests = file(&reader, &tree);
    let files = reader.files.take();
    let mut problems = reader.into_problems();
    problems.sort_by_key(|p| p.location.as_ref().map(|l| l.span.start));
    if problems.is_empty() { Ok(TestFile { source: source.clone(), tests, files }) } else { Err(problems) }
}

fn file(reader: &Reader, tree: &Node) -> Vec<TestCase> {
    let Some(fields) = reader.fields(tree) else { return Vec::new() };
    let stem = default_name(reader.source.name());
    let base = TestCase {
        name: stem,
        span: fields.span,
        config: Config::default(),
        start_ns: START_NS,
        env: BTreeMap::new(),
        files: BTreeMap::new(),
        answers: Vec::new(),
        stubs: Vec::new(),
        mocks: Vec::new(),
        steps: Vec::new(),
    };
    let Some(list) = fields.get("tests") else {
        let mut test = base;
        case(reader, &fields, &mut test);
        complete(reader, &test);
        fields.finish();
        return vec![test];
    };
    let mut shared = base;
    surroundings(reader, &fields, &mut shared);
    fields.finish();
    let mut tests: Vec<TestCase> = Vec::new();
    for node in reader.list(list) {
        let Some(inner) = reader.fields(node) else { continue };
        let mut test = shared.clone();
        test.span = inner.span;
        if inner.need("name").is_some() {
            case(reader, &inner, &mut test);
        }
        if let Some(first) = tests.iter().find(|t| t.name == test.name) {
            let line = reader.source.line(first.span.start);
            reader.problem(test.span, format!("there is a test {:?} already, in line {line}", test.name));
        }
        complete(reader, &test);
        inner.finish();
        tests.push(test);
    }
    if tests.is_empty() {
        reader.problem(list.span, "there is no test in this list");
    }
    tests
}

/// `a_test.yaml` is `a`, `folder/test.yaml` is `folder`.
fn default_name(path: &str) -> String {
    let path = Path::new(path);
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.strip_suffix("_test").unwrap_or(&stem).to_string();
    let folder = path.parent().and_then(Path::file_name).map(|s| s.to_string_lossy().into_owned());
    if stem == "test" { folder.unwrap_or(stem) } else { stem }
}

fn complete(reader: &Reader, test: &TestCase) {
    if test.config.inline.is_empty() && test.config.path.is_none() {
        let help = "give the configuration as config: | …, config: { path: … } or module: { … }";
        reader.problem_with_help(test.span, "there is no configuration to test", help);
    }
    if !test.steps.iter().any(|s| matches!(s, Step::Assert(claims, _) if !claims.is_empty())) {
        let help = "add assert: with what the sinks are to receive";
        reader.problem_with_help(test.span, format!("the test {:?} asserts nothing", test.name), help);
    }
}

/// What tests of one file may share.
fn surroundings(reader: &Reader, fields: &Fields<'_>, test: &mut TestCase) {
    if let Some(node) = fields.get("config") {
        config(reader, node, test);
    }
    if let Some(node) = fields.get("module") {
        module(reader, node, test);
    }
    if let Some(ns) = fields.get("now").and_then(|n| reader.time(n)) {
        test.start_ns = ns;
    }
    if let Some(node) = fields.get("env") {
        test.env.extend(reader.texts(node));
    }
    if let Some(node) = fields.get("files") {
        test.files.extend(reader.texts(node));
        if let Kind::Map(entries) = &node.kind {
            reader.files.borrow_mut().extend(entries.iter().map(|e| (e.name.clone(), e.name_span)));
        }
    }
    if let Some(node) = fields.get("http") {
        test.answers.extend(answers(reader, node));
    }
    if let Some(node) = fields.get("mocks") {
        mocks(reader, node, test);
    }
    if let Some(node) = fields.get("stubs") {
        stubs(reader, node, test);
    }
}

fn case(reader: &Reader, fields: &Fields<'_>, test: &mut TestCase) {
    surroundings(reader, fields, test);
    if let Some(name) = fields.get("name").and_then(|n| reader.text(n)) {
        test.name = name;
    }
    if let Some(node) = fields.get("inputs") {
        test.steps.extend(inputs(reader, node));
    }
    let stepped = fields.get("steps");
    for node in stepped.map(|n| reader.list(n)).unwrap_or_default() {
        step(reader, node, &mut test.steps);
    }
    let patience = if stepped.is_some() { Duration::ZERO } else { PATIENCE };
    let patience = fields.get("within").map_or(Some(patience), |n| reader.duration(n)).unwrap_or(patience);
    if let Some(node) = fields.get("assert") {
        test.steps.push(Step::Assert(claims::assertions(reader, node), patience));
    }
}

fn step(reader: &Reader, node: &Node, steps: &mut Vec<Step>) {
    let Some(fields) = reader.fields(node) else { return };
    let things = fields.entries().len() - usize::from(fields.has("within") && fields.has("assert"));
    if things != 1 {
        let help = "begin each with a dash of its own: they happen one after the other";
        reader.problem_with_help(node.span, "a step is one thing", help);
    }
    if let Some(node) = fields.get("inputs") {
        steps.extend(inputs(reader, node));
    }
    if let Some(by) = fields.get("advance").and_then(|n| reader.duration(n)) {
        steps.push(Step::Advance(by));
    }
    if let Some(node) = fields.get("http") {
        steps.push(Step::Answer(answers(reader, node)));
    }
    if let Some(node) = fields.get("assert") {
        let within = fields.get("within").and_then(|n| reader.duration(n)).unwrap_or_default();
        steps.push(Step::Assert(claims::assertions(reader, node), within));
    }
    fields.finish();
}

fn config(reader: &Reader, node: &Node, test: &mut TestCase) {
    match &node.kind {
        Kind::Text(text) => test.config.inline = vec![at_its_line(reader, node, text)],
        Kind::Map(_) => {
            let Some(fields) = reader.fields(node) else { return };
            if let Some(node) = fields.need("path")
                && let Some(path) = reader.text(node)
            {
                test.config.path = Some((beside(&reader.source, &path), node.span));
                test.config.inline.clear();
            }
            fields.finish();
        }
        _ => reader.problem(node.span, "config is a text, or a map with a path"),
    }
}

/// A path beside the test file, if there is something; otherwise as seen from the working directory.
pub(crate) fn beside(source: &Source, path: &str) -> std::path::PathBuf {
    let beside = Path::new(source.name()).parent().map(|dir| dir.join(path));
    beside.filter(|p| p.exists()).unwrap_or_else(|| path.into())
}

/// A text of the configuration language whose lines have the numbers that they have in the test file.
fn at_its_line(reader: &Reader, node: &Node, text: &str) -> Source {
    // The place of a block of text is that of its first character which is no line end.
    let empty = text.len() - text.trim_start_matches('\n').len();
    let before = (reader.source.line(node.span.start) as usize - 1).saturating_sub(empty);
    Source::new(reader.source.name(), "\n".repeat(before) + text)
}

/// `module`: the configuration imports a file and uses what it declares once, as `module.<name>.test`.
fn module(reader: &Reader, node: &Node, test: &mut TestCase) {
    let Some(fields) = reader.fields(node) else { return };
    let path = fields.need("path").and_then(|n| Some((reader.text(n)?, n.span)));
    let name = fields.need("name").and_then(|n| reader.text(n));
    let mut arguments = String::new();
    let given = fields.get("arguments").and_then(|n| reader.fields(n));
    for entry in given.iter().flat_map(Fields::entries) {
        arguments += &format!("  {} = {}\n", entry.name, expression(reader, &entry.value));
    }
    fields.finish();
    let (Some((path, span)), Some(name)) = (path, name) else { return };
    let path = beside(&reader.source, &path);
    if !path.exists() {
        reader.problem(span, format!("there is no {}", path.display()));
    }
    let path = eval::Value::string(path.display().to_string()).to_source();
    let text = format!(
        "import.file \"module\" {{\n  filename = {path}\n}}\n\nmodule.{name} \"test\" {{\n{arguments}}}\n"
    );
    test.config.inline.push(Source::new(format!("<module of {}>", reader.source.name()), text));
}

/// A value as the configuration language writes it; `{ expr: … }` is taken as it stands.
fn expression(reader: &Reader, node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".into(),
        Kind::Bool(v) => v.to_string(),
        Kind::Number(_, text) => text.clone(),
        Kind::Text(text) => eval::Value::string(text.as_str()).to_source(),
        Kind::List(items) => {
            let items: Vec<String> = items.iter().map(|i| expression(reader, i)).collect();
            format!("[{}]", items.join(", "))
        }
        Kind::Map(entries) => match &entries[..] {
            [only] if only.name == "expr" => reader.text(&only.value).unwrap_or_default(),
            _ => {
                let name = |name: &str| eval::Value::string(name).to_source();
                let pair = |e: &yaml::Entry| format!("{} = {}", name(&e.name), expression(reader, &e.value));
                format!("{{{}}}", entries.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
        },
    }
}

/// A value for an export of a stub.
fn value(node: &Node) -> eval::Value {
    match &node.kind {
        Kind::Null => eval::Value::Null,
        Kind::Bool(v) => (*v).into(),
        Kind::Number(v, text) => text.parse::<i64>().map_or_else(|_| (*v).into(), eval::Value::from),
        Kind::Text(text) => text.as_str().into(),
        Kind::List(items) => eval::Value::array(items.iter().map(value).collect()),
        Kind::Map(entries) => {
            let pairs = entries.iter().map(|e| (e.name.clone(), value(&e.value)));
            eval::Value::object(pairs.collect())
        }
    }
}

fn stubs(reader: &Reader, node: &Node, test: &mut TestCase) {
    let Some(fields) = reader.fields(node) else { return };
    for entry in fields.entries() {
        let exports = match &entry.value.kind {
            Kind::Text(word) if word == "off" => StubExports::Off,
            Kind::Map(exports) => StubExports::Values(
                exports.iter().map(|e| (e.name.clone(), e.name_span, value(&e.value))).collect(),
            ),
            _ => {
                reader.problem(entry.value.span, "a stub is a map of exports, or the word off");
                continue;
            }
        };
        test.stubs.retain(|s| s.component != entry.name);
        test.stubs.push(Stub { component: entry.name.clone(), span: entry.name_span, exports });
    }
}

fn answers(reader: &Reader, node: &Node) -> Vec<Answer> {
    reader.list(node).iter().filter_map(|n| answer(reader, n)).collect()
}

fn answer(reader: &Reader, node: &Node) -> Option<Answer> {
    let fields = reader.fields(node)?;
    let url =
        fields.get("url").and_then(|n| claims::text_match(reader, n)).map(|m| Asked::Url(with_scheme(m)));
    let component = fields.get("component").and_then(|n| reader.text(n)).map(Asked::Component);
    if url.is_some() == component.is_some() {
        reader.problem(fields.span, "an answer needs either a url or a component");
    }
    let answer = Answer {
        to: url.or(component)?,
        method: fields.get("method").and_then(|n| reader.text(n)),
        status: status(reader, &fields),
        headers: fields.get("headers").map(|n| reader.texts(n)).unwrap_or_default(),
        body: body(reader, &fields, ["body", "body_file", "body_base64"]).unwrap_or_default(),
        refuse: fields.get("refuse").and_then(|n| reader.boolean(n)).unwrap_or_default(),
    };
    fields.finish();
    Some(answer)
}

/// Bytes as text, from a file beside the test file, or in base64.
fn body(reader: &Reader, fields: &Fields<'_>, [plain, file, base64]: [&'static str; 3]) -> Option<Bytes> {
    let plain = fields.get(plain).and_then(|n| reader.text(n)).map(Bytes::from);
    let file = fields.get(file).and_then(|n| Some((reader.text(n)?, n.span))).and_then(|(path, span)| {
        let path = beside(&reader.source, &path);
        match std::fs::read(&path) {
            Ok(bytes) => Some(bytes.into()),
            Err(error) => {
                reader.problem(span, format!("{}: {error}", path.display()));
                None
            }
        }
    });
    let base64 = fields.get(base64).and_then(|n| Some((reader.text(n)?, n.span))).and_then(|(text, span)| {
        let text: String = text.split_whitespace().collect();
        match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) => Some(bytes.into()),
            Err(error) => {
                reader.problem(span, format!("this is no base64: {error}"));
                None
            }
        }
    });
    plain.or(file).or(base64)
}

fn with_scheme(url: crate::spec::TextMatch) -> crate::spec::TextMatch {
    match url {
        crate::spec::TextMatch::Is(url) if !url.contains("://") => {
            crate::spec::TextMatch::Is(format!("http://{url}"))
        }
        other => other,
    }
}

fn status(reader: &Reader, fields: &Fields<'_>) -> u16 {
    let Some(node) = fields.get("status") else { return 200 };
    let status = reader.count(node).and_then(|n| u16::try_from(n).ok());
    match status.filter(|s| (100..600).contains(s)) {
        Some(status) => status,
        None => {
            reader.problem(node.span, "a status is a number from 100 to 599");
            200
        }
    }
}

/// `mocks`: as Alloy's tests have them.
fn mocks(reader: &Reader, node: &Node, test: &mut TestCase) {
    let Some(fields) = reader.fields(node) else { return };
    for node in fields.get("http").map(|n| reader.list(n)).unwrap_or_default() {
        let Some(mock) = reader.fields(node) else { continue };
        let name = mock.need("name").and_then(|n| reader.text(n)).unwrap_or_default();
        for node in mock.need("routes").map(|n| reader.list(n)).unwrap_or_default() {
            let Some(route) = reader.fields(node) else { continue };
            let path = route.need("path").and_then(|n| reader.text(n)).unwrap_or_default();
            let url = format!("{}{path}", crate::prelude::mock_url(&name));
            let answer = Answer {
                to: Asked::Url(crate::spec::TextMatch::Is(url)),
                method: route.get("method").and_then(|n| reader.text(n)),
                status: status(reader, &route),
                headers: route.get("headers").map(|n| reader.texts(n)).unwrap_or_default(),
                body: route.get("body").and_then(|n| reader.text(n)).unwrap_or_default().into(),
                refuse: false,
            };
            route.finish();
            test.answers.push(answer);
        }
        mock.finish();
        test.mocks.push(name);
    }
    fields.finish();
}

/// `inputs`: lists by kind of data.
fn inputs(reader: &Reader, node: &Node) -> Vec<Step> {
    let Some(fields) = reader.fields(node) else { return Vec::new() };
    let mut steps = Vec::new();
    for (name, read) in [
        ("loki", loki as fn(&Reader, &Fields<'_>) -> Vec<(Data, Span)>),
        ("prometheus", prometheus),
        ("otelcol", otelcol),
        ("pyroscope", pyroscope),
    ] {
        for node in fields.get(name).map(|n| reader.list(n)).unwrap_or_default() {
            let Some(input) = reader.fields(node) else { continue };
            let list = input.need("components").map(|n| reader.list(n)).unwrap_or_default();
            let to: Vec<(String, Span)> =
                list.iter().filter_map(|n| Some((reader.text(n)?, n.span))).collect();
            if to.is_empty() && input.has("components") {
                reader.problem(input.span, "components names no receiver");
            }
            let data = read(reader, &input);
            if data.is_empty() {
                reader.problem(input.span, "there is nothing to send in this input");
            }
            let send = |(data, span)| Step::Send(Input { to: to.clone(), data, span });
            steps.extend(data.into_iter().map(send));
            input.finish();
        }
    }
    fields.finish();
    steps
}

fn loki(reader: &Reader, fields: &Fields<'_>) -> Vec<(Data, Span)> {
    let labels = fields.get("labels").map(|n| reader.texts(n)).unwrap_or_default();
    let mut entries = Vec::new();
    let plain = |line: &str| LogEntry {
        labels: labels.clone(),
        line: line.to_string(),
        timestamp_ns: None,
        metadata: BTreeMap::new(),
    };
    match fields.get("lines") {
        Some(Node { kind: Kind::Text(text), .. }) => entries.extend(text.lines().map(plain)),
        Some(node) => {
            entries.extend(reader.list(node).iter().filter_map(|n| reader.text(n)).map(|line| plain(&line)));
        }
        None => {}
    }
    for node in fields.get("entries").map(|n| reader.list(n)).unwrap_or_default() {
        let Some(entry) = reader.fields(node) else { continue };
        let mut all = labels.clone();
        all.extend(entry.get("labels").map(|n| reader.texts(n)).unwrap_or_default());
        entries.push(LogEntry {
            labels: all,
            line: entry.get("line").and_then(|n| reader.text(n)).unwrap_or_default(),
            timestamp_ns: entry.get("timestamp").and_then(|n| reader.time(n)),
            metadata: entry.get("structured_metadata").map(|n| reader.texts(n)).unwrap_or_default(),
        });
        entry.finish();
    }
    if entries.is_empty() { Vec::new() } else { vec![(Data::Loki(entries), fields.span)] }
}

fn prometheus(reader: &Reader, fields: &Fields<'_>) -> Vec<(Data, Span)> {
    let open = fields.get("open_metrics").and_then(|n| reader.boolean(n)).unwrap_or_default();
    let text = fields.need("text").and_then(|n| Some((reader.text(n)?, n.span)));
    let data = text.map(|(page, span)| (Data::Prometheus { page, open_metrics: open }, span));
    data.into_iter().collect()
}

fn otelcol(reader: &Reader, fields: &Fields<'_>) -> Vec<(Data, Span)> {
    let mut data = Vec::new();
    for (name, make) in [
        ("traces", Data::Traces as fn(serde_json::Value) -> Data),
        ("metrics", Data::Metrics),
        ("logs", Data::Logs),
    ] {
        let Some(node) = fields.get(name) else { continue };
        let json = match &node.kind {
            Kind::Text(text) => match serde_json::from_str(text) {
                Ok(json) => json,
                Err(error) => {
                    reader.problem(node.span, format!("this is no JSON: {error}"));
                    continue;
                }
            },
            _ => json(node),
        };
        data.push((make(json), node.span));
    }
    data
}

fn pyroscope(reader: &Reader, fields: &Fields<'_>) -> Vec<(Data, Span)> {
    let shared = fields.get("labels").map(|n| reader.texts(n)).unwrap_or_default();
    let mut profiles = Vec::new();
    for node in fields.need("profiles").map(|n| reader.list(n)).unwrap_or_default() {
        let Some(profile) = reader.fields(node) else { continue };
        let mut labels = shared.clone();
        labels.extend(profile.get("labels").map(|n| reader.texts(n)).unwrap_or_default());
        let folded = profile.has("folded");
        match body(reader, &profile, ["folded", "file", "base64"]) {
            Some(body) => {
                let ingest = folded.then(|| "folded".to_string());
                profiles.push(SentProfile { labels, body, ingest });
            }
            None => reader.problem(profile.span, "a profile is given as file, base64 or folded"),
        }
        profile.finish();
    }
    if profiles.is_empty() { Vec::new() } else { vec![(Data::Pyroscope(profiles), fields.span)] }
}

fn json(node: &Node) -> serde_json::Value {
    match &node.kind {
        Kind::Null => serde_json::Value::Null,
        Kind::Bool(v) => (*v).into(),
        Kind::Number(v, text) => {
            let whole = text.parse::<i64>().map(Into::into).or_else(|_| text.parse::<u64>().map(Into::into));
            whole.unwrap_or_else(|_| (*v).into())
        }
        Kind::Text(text) => text.as_str().into(),
        Kind::List(items) => items.iter().map(json).collect(),
        Kind::Map(entries) => {
            serde_json::Value::Object(entries.iter().map(|e| (e.name.clone(), json(&e.value))).collect())
        }
    }
}
