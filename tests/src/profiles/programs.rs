//! Real programs under profile: one in Go that is scraped, and Pyroscope's own SDKs for Go and Python that push.
//!
//! What the programs do has names, which are looked for in what arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use signal::profiles::DELTA;
use wire::pprof::{Shape, Tables, shape, unpack};

use super::Pipeline;
use crate::kit::pyroscope::{Arrived, Pyroscope};
use crate::kit::sdk::{go_program, installed};
use crate::kit::{Program, eventually};

/// The Go program while it serves its profiles.
struct Profiled {
    child: Child,
    address: SocketAddr,
}

impl Profiled {
    fn start(program: &Path) -> Self {
        Self::start_at(program, "127.0.0.1:0")
    }

    fn start_at(program: &Path, address: &str) -> Self {
        let mut child = Command::new(program)
            .args(["serve", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        Self { child, address: line.trim().parse().expect("an address") }
    }
}

impl Drop for Profiled {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A profile's shape and all its texts.
fn read(raw: &[u8]) -> (Shape, BTreeSet<String>) {
    let mut buffer = Vec::new();
    let profile = unpack(raw, 64 << 20, &mut buffer).expect("packed, or not at all");
    let shape = shape(profile).expect("a sound profile");
    let mut tables = Tables::default();
    tables.read(profile).expect("a profile");
    let texts = (0..).map_while(|index| tables.string(profile, index).ok());
    (shape, texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect())
}

fn columns(shape: &Shape) -> Vec<&str> {
    shape.columns.iter().map(|(kind, _)| kind.as_str()).collect()
}

/// The profiles of a service by type, once there are at least three of each.
fn by_type(
    pyroscope: &Pyroscope,
    service: &str,
    types: &[&str],
    program: &Program,
) -> BTreeMap<String, Vec<Arrived>> {
    eventually("profiles of every type have arrived", || {
        let mut found = BTreeMap::<String, Vec<Arrived>>::new();
        for arrived in pyroscope.profiles(service) {
            let name = arrived.labels.metric_name().expect("every profile has a type").to_owned();
            found.entry(name).or_default().push(arrived);
        }
        let counts: BTreeMap<_, _> = found.iter().map(|(name, all)| (name.clone(), all.len())).collect();
        match types.iter().all(|name| counts.get(*name).is_some_and(|count| *count >= 3)) {
            true => Ok(found),
            false => Err(format!("{counts:?}\n{}", program.log())),
        }
    })
}

const MEMORY: [&str; 4] = ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"];
const CONTENTION: [&str; 2] = ["contentions", "delay"];

/// Types, their columns, and what the program has done that they show.
const TYPES: [(&str, &[&str], &str); 7] = [
    ("memory", &MEMORY, "main.allocate"),
    ("heap", &MEMORY, "main.allocate"),
    ("block", &CONTENTION, "main.contend"),
    ("mutex", &CONTENTION, "main.contend"),
    ("goroutine", &["goroutine"], "main.wait"),
    ("process_cpu", &["samples", "cpu"], "main.compute"),
    ("fgprof", &["samples", "time"], "main.contend"),
];

fn scrape(address: SocketAddr, pyroscope: &Pyroscope) -> String {
    let common = "scrape_interval          = \"3s\"\n\tdelta_profiling_duration = \"2s\"";
    format!(
        r#"
pyroscope.scrape "runtime" {{
	targets    = [{{"__address__" = "{address}", "service_name" = "runtime", "__meta_x" = "y"}}]
	forward_to = [pyroscope.write.out.receiver]
	{common}

	profiling_config {{
		profile.fgprof {{
			enabled = true
		}}

		profile.custom "heap" {{
			enabled = true
			path    = "/debug/pprof/heap"
		}}
	}}
}}

pyroscope.scrape "library" {{
	targets    = [{{"__address__" = "{address}", "service_name" = "library"}}]
	forward_to = [pyroscope.write.out.receiver]
	{common}

	profiling_config {{
		path_prefix = "/debug"

		profile.memory {{
			enabled = false
		}}

		profile.block {{
			enabled = false
		}}

		profile.mutex {{
			enabled = false
		}}

		profile.process_cpu {{
			enabled = false
		}}

		profile.goroutine {{
			path = "/pprof/goroutine"
		}}

		profile.godeltaprof_memory {{
			enabled = true
			path    = "/pprof/delta_heap"
		}}

		profile.godeltaprof_mutex {{
			enabled = true
			path    = "/pprof/delta_mutex"
		}}

		profile.godeltaprof_block {{
			enabled = true
			path    = "/pprof/delta_block"
		}}
	}}
}}

pyroscope.write "out" {{
	endpoint {{
		url = "{}"
	}}
}}
"#,
        pyroscope.url()
    )
}

#[test]
fn every_profile_of_a_go_program_arrives_and_shows_what_it_does() {
    let Some(path) = go_program("pprof/profiled") else { return };
    let (profiled, pyroscope) = (Profiled::start(&path), Pyroscope::of_programs());
    let program = Program::start(&scrape(profiled.address, &pyroscope));

    let found = by_type(&pyroscope, "runtime", &TYPES.map(|(name, ..)| name), &program);
    assert_eq!(found.len(), TYPES.len(), "{:?}", found.keys());
    for (name, expected, text) in TYPES {
        for arrived in &found[name] {
            assert_eq!(columns(&read(&arrived.raw).0), expected, "{name}");
            let labels = &arrived.labels;
            assert_eq!(labels.get("instance"), Some(&*profiled.address.to_string()));
            let cumulative = ["memory", "block", "mutex"].contains(&name);
            assert_eq!(labels.get(DELTA), cumulative.then_some("false"), "{name}");
            let private =
                labels.iter().filter(|(n, _)| n.starts_with("__") && !["__name__", DELTA].contains(n));
            assert_eq!(private.count(), 0, "{labels}");
        }
        let shows = |arrived: &Arrived| read(&arrived.raw).1.contains(text);
        assert!(found[name].iter().any(shows), "{name} does not show {text}");
    }

    let found = by_type(&pyroscope, "library", &["memory", "block", "mutex", "goroutine"], &program);
    assert_eq!(found.len(), 4, "{:?}", found.keys());
    assert!(found["memory"].iter().any(|arrived| read(&arrived.raw).1.contains("main.allocate")));
    assert!(found["mutex"].iter().all(|arrived| columns(&read(&arrived.raw).0) == CONTENTION));
}

#[test]
fn differences_of_allocations_add_up_to_what_the_go_program_has_allocated() {
    let Some(path) = go_program("pprof/profiled") else { return };
    let (profiled, pyroscope) = (Profiled::start(&path), Pyroscope::of_programs());
    let program = Program::start(&scrape(profiled.address, &pyroscope));
    let bytes = |arrived: &Arrived| read(&arrived.raw).0.totals[1];

    // What was sent as the difference, and, of another type, what there is in all.
    let before = by_type(&pyroscope, "runtime", &["memory"], &program);
    let differences: Vec<_> = before["memory"].iter().map(bytes).collect();
    let come = before.get("heap").map_or(0, Vec::len);
    let all = eventually("a later profile of the whole has arrived", || {
        let heaps: Vec<_> = pyroscope
            .profiles("runtime")
            .into_iter()
            .filter(|arrived| arrived.labels.metric_name() == Some("heap"))
            .collect();
        // The next one may have been fetched before.
        if heaps.len() > come + 1 {
            Ok(heaps.iter().map(bytes).collect::<Vec<_>>())
        } else {
            Err(heaps.len().to_string())
        }
    });
    assert!(all.is_sorted() && all[0] > 0, "{all:?}");
    assert!(differences.iter().all(|difference| *difference > 0), "{differences:?}");
    let (sum, whole) = (differences.iter().sum::<i128>(), *all.last().expect("some"));
    assert!(sum <= whole, "{differences:?} are more than {whole}");
    // Had the program been idle, this test would say nothing.
    assert!(sum > whole / 10, "{differences:?} are almost nothing of {whole}");
}

#[test]
fn a_go_program_that_is_started_anew_goes_on_with_positive_differences() {
    let Some(path) = go_program("pprof/profiled") else { return };
    let pyroscope = Pyroscope::of_programs();
    let first = Profiled::start(&path);
    let address = first.address.to_string();
    let program = Program::start(&format!(
        "pyroscope.scrape \"go\" {{\n\ttargets = [{{\"__address__\" = \"{address}\", \"service_name\" = \"restarted\"}}]\n\
         \tforward_to = [pyroscope.write.out.receiver]\n\tscrape_interval = \"2s\"\n\tprofiling_config {{\n\
         \t\tprofile.process_cpu {{\n\t\t\tenabled = false\n\t\t}}\n\t}}\n}}\n\
         pyroscope.write \"out\" {{\n\tendpoint {{\n\t\turl = \"{}\"\n\t}}\n}}\n",
        pyroscope.url()
    ));
    // Long enough that what the first has done is more than what the second has done when it is asked.
    by_type(&pyroscope, "restarted", &["memory", "mutex", "block"], &program);
    drop(first);
    let _second = Profiled::start_at(&path, &address);
    let come = pyroscope.profiles("restarted").len();
    let all = eventually("profiles of the second have arrived", || {
        let all = pyroscope.profiles("restarted");
        if all.len() >= come + 9 {
            Ok(all)
        } else {
            Err(format!("{} of 9\n{}", all.len() - come, program.log()))
        }
    });
    for arrived in all {
        let (shape, _) = read(&arrived.raw);
        assert!(shape.totals.iter().all(|total| *total >= 0), "{}: {shape:?}", arrived.labels);
    }
}

/// Runs a client that pushes to the pipeline.
fn push(command: &mut Command, pipeline: &Pipeline<'_>) -> String {
    let url = format!("http://{}", pipeline.address);
    let Output { status, stdout, stderr } =
        command.arg(url).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{text}");
    // The SDKs log what they could not send and go on.
    assert!(!text.to_lowercase().contains("error"), "{text}");
    text.into_owned()
}

/// The part `profile` of a form.
fn part<'a>(arrived: &'a Arrived, name: &str) -> Option<&'a [u8]> {
    let boundary = arrived.content_type.split_once("boundary=").expect("a form").1;
    let find = |text: &[u8], wanted: &[u8]| text.windows(wanted.len()).position(|part| part == wanted);
    let start = find(&arrived.raw, format!("name=\"{name}\"").as_bytes())?;
    let body = &arrived.raw[start..];
    let body = &body[find(body, b"\r\n\r\n").expect("the end of the part's head") + 4..];
    Some(&body[..find(body, format!("\r\n--{boundary}").as_bytes()).expect("the part's end")])
}

#[test]
fn every_upload_of_the_go_sdk_arrives_once() {
    let Some(path) = go_program("pprof/profiled") else { return };
    let pyroscope = Pyroscope::of_programs();
    let pipeline = Pipeline::new(&pyroscope);
    let program = pipeline.start();
    let log = push(Command::new(&path).arg("push"), &pipeline);
    let uploads = log.lines().filter(|line| line.contains("uploading at")).count();
    assert!(uploads >= 8, "{log}");
    let all = eventually("every upload has arrived", || {
        let all = pyroscope.profiles("pushed.go");
        if all.len() >= uploads {
            Ok(all)
        } else {
            Err(format!("{} of {uploads}\n{}", all.len(), program.log()))
        }
    });
    assert_eq!(all.len(), uploads, "each once");
    let (mut seen, mut texts) = (BTreeSet::new(), BTreeSet::new());
    for arrived in &all {
        assert_eq!(arrived.labels.get("client"), Some("pyroscope-go"), "{}", arrived.labels);
        let (shape, found) = read(part(arrived, "profile").expect("a profile"));
        seen.extend(shape.columns.into_iter().map(|(kind, _)| kind));
        texts.extend(found);
    }
    for column in MEMORY.iter().chain(&CONTENTION).chain(&["cpu", "goroutine"]) {
        assert!(seen.contains(*column), "{column} of {seen:?}");
    }
    for name in ["main.allocate", "main.compute", "main.contend", "main.wait"] {
        assert!(texts.contains(name), "{name}");
    }
}

#[test]
fn profiles_of_the_python_sdk_arrive() {
    let pyroscope = Pyroscope::of_programs();
    let pipeline = Pipeline::new(&pyroscope);
    let program = pipeline.start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/python/profiled.py");
    push(Command::new(installed("python/bin/python")).arg(script), &pipeline);
    eventually("a profile shows what the program does", || {
        let all = pyroscope.profiles("pushed.python");
        for arrived in &all {
            assert_eq!(arrived.labels.metric_name(), Some("process_cpu"), "{}", arrived.labels);
            assert_eq!(arrived.labels.get("client"), Some("pyroscope-io"), "{}", arrived.labels);
        }
        match all.iter().any(|arrived| read(&arrived.raw).1.contains("compute")) {
            true => Ok(()),
            false => Err(format!("{} profiles\n{}", all.len(), program.log())),
        }
    });
}
