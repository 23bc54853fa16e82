//! From a discovered target to the profiles that are fetched of it: labels filled in, URLs, times.
//!
//! As Alloy's `pyroscope.scrape`: a target has a profile for each type that is enabled, with its own labels.

use std::time::Duration;

use net::Url;
use net::scrape::{PARAM_PREFIX, SCHEME, check_address, target_url};
use signal::profiles::{DELTA, SERVICE_NAME};
use signal::target::ADDRESS;
use signal::{Labels, LabelsBuilder, METRIC_NAME};
use wire::pprof::Kind;

use super::args::{Args, Wanted};

const PROFILE_PATH: &str = "__profile_path__";
const PROFILE_PATH_PREFIX: &str = "__profile_path_prefix__";
const SECONDS: &str = "seconds";

/// One profile of one target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    /// Tells profiles apart.
    pub(super) key: u64,
    /// All labels; those that begin with `__` are for relabelling.
    pub(super) labels: Labels,
    pub(super) url: Url,
    /// The profile only grows: what is sent is the difference to the last one.
    pub(super) kind: Option<Kind>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

impl Spec {
    /// The type of the profile.
    pub(super) fn name(&self) -> &str {
        self.labels.metric_name().unwrap_or_default()
    }

    /// One profile of a target.
    pub(super) fn new(
        target: &Labels,
        args: &Args,
        wanted: Wanted<'_>,
        builder: &mut LabelsBuilder,
    ) -> Result<Self, String> {
        builder.reset(target);
        let scheme = if args.scheme.is_empty() { "http" } else { &args.scheme };
        let defaults = [
            (PROFILE_PATH, wanted.path),
            (METRIC_NAME, wanted.name),
            (PROFILE_PATH_PREFIX, &args.profiling_config.path_prefix),
            ("job", &args.job_name),
            (SCHEME, scheme),
        ];
        for (name, value) in defaults {
            if builder.get(name).is_none() {
                builder.set(name, value);
            }
        }
        for (name, values) in &args.params {
            if let Some(first) = values.first() {
                builder.set(&format!("{PARAM_PREFIX}{name}"), first);
            }
        }
        let address = address(builder)?;
        if builder.get("instance").is_none() {
            builder.set("instance", &address);
        }
        if builder.get(SERVICE_NAME).is_none() {
            let name = service_name(target);
            builder.set(SERVICE_NAME, &name);
        }
        let (url, seconds) = url(builder, &address, args, wanted)?;
        let kind = cumulative(builder, seconds.is_some());
        let labels = builder.build();
        builder.retain(|name, _| !name.starts_with("__"));
        builder.set("__url__", url.as_str());
        let key = builder.build().stable_hash();
        // The target answers when the time is over.
        let taking = seconds.map_or(Duration::ZERO, |seconds| {
            let whole = args.scrape_interval.saturating_sub(Duration::from_secs(1));
            whole.max(Duration::from_secs(seconds))
        });
        let timeout = args.scrape_timeout.saturating_add(taking);
        Ok(Self { key, labels, url, kind, interval: args.scrape_interval, timeout })
    }
}

/// `__address__` with a port; the scheme's where it has none.
fn address(builder: &mut LabelsBuilder) -> Result<String, String> {
    let address = builder.get(ADDRESS).ok_or("the target has no __address__")?;
    check_address(address)?;
    let bare = match address.rsplit_once(']') {
        Some((_, port)) => port.is_empty(),
        None => !address.contains(':'),
    };
    if !bare {
        return Ok(address.to_owned());
    }
    let port = if builder.get(SCHEME) == Some("https") { 443 } else { 80 };
    let address = format!("{address}:{port}");
    builder.set(ADDRESS, &address);
    Ok(address)
}

/// The URL, and for how many seconds the target is asked to take the profile.
fn url(
    builder: &LabelsBuilder,
    address: &str,
    args: &Args,
    wanted: Wanted<'_>,
) -> Result<(Url, Option<u64>), String> {
    let label = |name| builder.get(name).unwrap_or_default();
    let path = [label(PROFILE_PATH_PREFIX), label(PROFILE_PATH)]
        .iter()
        .flat_map(|path| path.split('/'))
        .filter(|part| !part.is_empty())
        .fold(String::new(), |path, part| path + "/" + part);
    let mut url = target_url(label(SCHEME), address, &path, &args.params, builder.iter())?;
    let given = url.query_pairs().find(|(name, _)| name == SECONDS).map(|(_, value)| value.into_owned());
    // What the user says about this parameter holds.
    let seconds = match given {
        Some(given) => Some(given.parse().ok().filter(|s| *s < 1 << 20).unwrap_or(0)),
        None if wanted.delta => {
            url.query_pairs_mut().append_pair(SECONDS, &args.seconds().to_string());
            Some(args.seconds())
        }
        None => None,
    };
    Ok((url, seconds))
}

/// Whether the profile is one that grows from scrape to scrape. Labels say that what is sent does not.
fn cumulative(builder: &mut LabelsBuilder, taken_for_a_time: bool) -> Option<Kind> {
    // That a library has made the difference is of no interest any more: the type is that of the data.
    let name = builder.get(METRIC_NAME).unwrap_or_default();
    let (kind, name, library) = match name {
        "memory" => (Kind::Memory, "memory", false),
        "mutex" => (Kind::Contention, "mutex", false),
        "block" => (Kind::Contention, "block", false),
        "godeltaprof_memory" => (Kind::Memory, "memory", true),
        "godeltaprof_mutex" => (Kind::Contention, "mutex", true),
        "godeltaprof_block" => (Kind::Contention, "block", true),
        _ => return None,
    };
    builder.set(METRIC_NAME, name);
    builder.set(DELTA, "false");
    (!library && !taken_for_a_time).then_some(kind)
}

/// As Alloy: Kubernetes' annotation, namespace and container, Docker's container, Swarm's service.
fn service_name(target: &Labels) -> String {
    let label = |name| target.get(name).filter(|value| !value.is_empty());
    if let Some(annotated) = label("__meta_kubernetes_pod_annotation_pyroscope_io_service_name") {
        return annotated.to_owned();
    }
    let container = label("__meta_kubernetes_pod_container_name");
    if let (Some(namespace), Some(container)) = (label("__meta_kubernetes_namespace"), container) {
        return format!("{namespace}/{container}");
    }
    let names = [
        "__meta_docker_container_name",
        "__meta_dockerswarm_container_label_service_name",
        "__meta_dockerswarm_service_name",
    ];
    names.into_iter().find_map(label).unwrap_or("unspecified").to_owned()
}

#[cfg(test)]
mod tests {
    use component::eval::Arguments;

    use super::*;

    fn args(change: impl FnOnce(&mut Args)) -> Args {
        let mut args = Args { targets: Vec::new(), forward_to: Vec::new(), ..Args::defaults() };
        change(&mut args);
        args
    }

    fn specs(target: &[(&str, &str)], args: &Args) -> Result<Vec<Spec>, String> {
        let target = Labels::from_pairs(target.iter().copied());
        let wanted = args.profiling_config.wanted();
        wanted.into_iter().map(|w| Spec::new(&target, args, w, &mut LabelsBuilder::new())).collect()
    }

    fn one(target: &[(&str, &str)], args: &Args) -> Spec {
        specs(target, args).unwrap().remove(0)
    }

    #[test]
    fn each_type_has_its_path_its_name_and_its_time() {
        let all = args(|a| {
            let config = &mut a.profiling_config;
            config.fgprof.enabled = true;
            config.godeltaprof_memory.enabled = true;
            config.godeltaprof_mutex.enabled = true;
            config.godeltaprof_block.enabled = true;
        });
        let specs = specs(&[("__address__", "a:1")], &all).unwrap();
        let told = |spec: &Spec| {
            let url = spec.url.as_str().trim_start_matches("http://a:1").to_owned();
            (spec.name().to_owned(), url, spec.kind, spec.labels.get(DELTA).is_some(), spec.timeout.as_secs())
        };
        let told: Vec<_> = specs.iter().map(told).collect();
        let expected = [
            ("memory", "/debug/pprof/allocs", Some(Kind::Memory), true, 10),
            ("block", "/debug/pprof/block", Some(Kind::Contention), true, 10),
            ("goroutine", "/debug/pprof/goroutine", None, false, 10),
            ("mutex", "/debug/pprof/mutex", Some(Kind::Contention), true, 10),
            ("process_cpu", "/debug/pprof/profile?seconds=14", None, false, 24),
            ("fgprof", "/debug/fgprof?seconds=14", None, false, 24),
            ("memory", "/debug/pprof/delta_heap", None, true, 10),
            ("mutex", "/debug/pprof/delta_mutex", None, true, 10),
            ("block", "/debug/pprof/delta_block", None, true, 10),
        ];
        assert_eq!(told, expected.map(|(n, u, k, d, t)| (n.to_owned(), u.to_owned(), k, d, t)));
        let mut keys: Vec<_> = specs.iter().map(|spec| spec.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), expected.len());
    }

    #[test]
    fn labels_are_filled_in_and_the_targets_own_win() {
        let args = args(|a| {
            a.job_name = "the job".to_owned();
            a.profiling_config.path_prefix = "/prefix/".to_owned();
            a.params = [("gc".to_owned(), vec!["1".to_owned(), "2".to_owned()])].into();
        });
        let spec = one(&[("__address__", "a"), ("__meta_x", "y"), ("env", "prod")], &args);
        assert_eq!(spec.url.as_str(), "http://a/prefix/debug/pprof/allocs?gc=1&gc=2");
        let public: Vec<_> = spec.labels.iter().filter(|(name, _)| !name.starts_with("__")).collect();
        let expected =
            [("env", "prod"), ("instance", "a:80"), ("job", "the job"), ("service_name", "unspecified")];
        assert_eq!(public, expected);
        assert_eq!(spec.labels.get("__meta_x"), Some("y"), "rules behind may use it");
        let target = [
            ("__address__", "[::1]"),
            ("__scheme__", "https"),
            ("__profile_path__", "own//heap"),
            ("__profile_path_prefix__", "/p"),
            ("__name__", "own_type"),
            ("__param_x", "y z"),
            ("instance", "mine"),
            ("job", "own"),
            ("service_name", "svc"),
        ];
        let spec = one(&target, &args);
        assert_eq!(spec.url.as_str(), "https://[::1]/p/own/heap?gc=1&gc=2&x=y+z");
        assert_eq!((spec.name(), spec.kind), ("own_type", None));
        assert_eq!(spec.labels.get("__address__"), Some("[::1]:443"));
        assert_eq!(
            ["instance", "job", "service_name"].map(|n| spec.labels.get(n).unwrap()),
            ["mine", "own", "svc"]
        );
    }

    #[test]
    fn the_services_name_comes_from_where_the_target_runs() {
        const K8S: &str = "__meta_kubernetes_pod_annotation_pyroscope_io_service_name";
        let namespace = ("__meta_kubernetes_namespace", "ns");
        let pod = ("__meta_kubernetes_pod_container_name", "c");
        let docker = ("__meta_docker_container_name", "/d");
        let swarm = ("__meta_dockerswarm_service_name", "s");
        let label = ("__meta_dockerswarm_container_label_service_name", "l");
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[(K8S, "annotated"), namespace, pod, docker], "annotated"),
            (&[namespace, pod, docker], "ns/c"),
            (&[namespace, docker, swarm], "/d"),
            (&[swarm, label], "l"),
            (&[swarm], "s"),
            (&[namespace], "unspecified"),
            (&[("service_name", "own"), (K8S, "annotated")], "own"),
        ];
        for (labels, expected) in cases {
            let target: Vec<_> = labels.iter().copied().chain([("__address__", "a")]).collect();
            assert_eq!(one(&target, &args(|_| {})).labels.get(SERVICE_NAME), Some(expected), "{labels:?}");
        }
    }

    #[test]
    fn what_is_taken_for_a_time_is_no_longer_cumulative() {
        let asked = args(|a| a.profiling_config.memory.delta = true);
        let spec = one(&[("__address__", "a:1")], &asked);
        assert!(spec.url.as_str().ends_with("allocs?seconds=14"));
        assert_eq!((spec.kind, spec.labels.get(DELTA)), (None, Some("false")));
        let by_label = one(&[("__address__", "a:1"), ("__param_seconds", "30")], &asked);
        assert!(by_label.url.as_str().ends_with("allocs?seconds=30"));
        assert_eq!((by_label.kind, by_label.timeout.as_secs()), (None, 40));
    }

    #[test]
    fn the_time_for_which_a_profile_is_taken_follows_the_interval_unless_it_is_given() {
        let seconds = |interval: u64, duration: u64| {
            args(|a| {
                a.scrape_interval = Duration::from_secs(interval);
                a.delta_profiling_duration = Duration::from_secs(duration);
            })
            .seconds()
        };
        assert_eq!([seconds(15, 14), seconds(60, 14), seconds(60, 20)], [14, 59, 20]);
    }

    #[test]
    fn a_custom_type_stands_in_the_place_of_a_known_one() {
        let args = args(|a| {
            let custom = |name: &str, enabled| super::super::args::Custom {
                name: name.to_owned(),
                enabled,
                path: format!("/{name}"),
                delta: false,
            };
            a.profiling_config.custom =
                vec![custom("memory", true), custom("heap", true), custom("mutex", false)];
        });
        let names: Vec<_> = args.profiling_config.wanted().iter().map(|w| (w.name, w.path)).collect();
        let expected = [
            ("block", "/debug/pprof/block"),
            ("goroutine", "/debug/pprof/goroutine"),
            ("process_cpu", "/debug/pprof/profile"),
            ("memory", "/memory"),
            ("heap", "/heap"),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn targets_that_cannot_be_scraped_say_why() {
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[("x", "y")], "no __address__"),
            (&[("__address__", "http://a/b")], "not a valid host:port"),
            (&[("__address__", "a:b")], "not a valid host:port"),
            (&[("__address__", "a"), ("__scheme__", "ftp")], "neither http nor https"),
        ];
        for (target, part) in cases {
            let error = specs(target, &args(|_| {})).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn labels_for_relabelling_do_not_tell_targets_apart() {
        let key = |labels: &[(&str, &str)]| one(labels, &args(|_| {})).key;
        let plain = key(&[("__address__", "a")]);
        assert_eq!(plain, key(&[("__address__", "a"), ("__meta_x", "1")]));
        assert_ne!(plain, key(&[("__address__", "a"), ("__param_x", "1")]));
        assert_ne!(plain, key(&[("__address__", "a"), ("x", "1")]));
    }
}
