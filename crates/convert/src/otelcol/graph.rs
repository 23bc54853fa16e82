//! `service.pipelines` as a graph: who gives which signal to whom.
//!
//! Receivers, connectors and exporters are one node each, as in the Collector. A processor is one node for all
//! signals of the pipelines that share a name (`traces/a` and `metrics/a`), unless that closes a loop: then it is as
//! few as close none.

use std::collections::{BTreeMap, HashSet};

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    Metrics,
    Logs,
    Traces,
}

impl Signal {
    /// All, in the order that `output` blocks have.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Logs, Self::Traces];

    /// As both sides name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
        }
    }
}

/// A pipeline: identifiers that are defined and can be converted.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub signal: Signal,
    /// What stands behind the slash.
    pub group: String,
    pub receivers: Vec<String>,
    pub processors: Vec<String>,
    pub exporters: Vec<String>,
}

/// Something that is made of a component.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Receiver(String),
    /// `part`: the signals it is for; empty for all.
    Processor {
        group: String,
        id: String,
        part: Vec<Signal>,
    },
    Connector(String),
    Exporter(String),
}

/// Who gives what to whom.
pub type Edges = BTreeMap<Place, BTreeMap<Signal, Vec<Place>>>;

/// For which signals a processor (of a group, with an identifier) is one component each.
type Split = BTreeMap<(String, String), &'static [&'static [Signal]]>;

/// Ways to part three signals, the last is one each.
const PARTS: &[&[&[Signal]]] = &[
    &[&[Signal::Metrics], &[Signal::Logs, Signal::Traces]],
    &[&[Signal::Traces], &[Signal::Metrics, Signal::Logs]],
    &[&[Signal::Logs], &[Signal::Metrics, Signal::Traces]],
    &[&[Signal::Metrics], &[Signal::Logs], &[Signal::Traces]],
];

/// The graph; `Err` names something on a loop.
pub fn build(
    pipelines: &[Pipeline],
    connectors: &HashSet<String>,
    forward: &HashSet<String>,
) -> Result<Edges, String> {
    let shape = Shape { pipelines, connectors, forward };
    let merged = shape.edges(&Split::new());
    let each = PARTS[PARTS.len() - 1];
    let mut split: Split = on_loops(&merged)
        .into_iter()
        .filter_map(|place| match place {
            Place::Processor { group, id, .. } => Some(((group, id), each)),
            _ => None,
        })
        .collect();
    if let Some(place) = on_loops(&shape.edges(&split)).into_iter().next() {
        return Err(match place {
            Place::Connector(id)
            | Place::Receiver(id)
            | Place::Exporter(id)
            | Place::Processor { id, .. } => id,
        });
    }
    for key in split.keys().cloned().collect::<Vec<_>>() {
        for parts in PARTS {
            split.insert(key.clone(), parts);
            if on_loops(&shape.edges(&split)).is_empty() {
                break;
            }
        }
    }
    Ok(shape.edges(&split))
}

struct Shape<'p> {
    pipelines: &'p [Pipeline],
    connectors: &'p HashSet<String>,
    forward: &'p HashSet<String>,
}

impl Shape<'_> {
    fn edges(&self, split: &Split) -> Edges {
        let mut edges = Edges::new();
        for (index, pipeline) in self.pipelines.iter().enumerate() {
            let processors: Vec<_> =
                pipeline.processors.iter().map(|p| processor(pipeline, p, split)).collect();
            let head = self.head(index, split, &mut HashSet::new());
            for id in &pipeline.receivers {
                match (self.forward.contains(id), self.connectors.contains(id)) {
                    (true, _) => {}
                    (_, true) => add(&mut edges, Place::Connector(id.clone()), pipeline.signal, &head),
                    _ => add(&mut edges, Place::Receiver(id.clone()), pipeline.signal, &head),
                }
            }
            let ends = self.ends(index, split, &mut HashSet::new());
            for (n, place) in processors.iter().enumerate() {
                let next = processors.get(n + 1).map_or_else(|| ends.clone(), |p| vec![p.clone()]);
                add(&mut edges, place.clone(), pipeline.signal, &next);
            }
            for end in ends {
                edges.entry(end).or_default();
            }
        }
        edges
    }

    /// Where a pipeline begins: its first processor, or where it ends.
    fn head(&self, index: usize, split: &Split, seen: &mut HashSet<usize>) -> Vec<Place> {
        let pipeline = &self.pipelines[index];
        match pipeline.processors.first() {
            Some(first) => vec![processor(pipeline, first, split)],
            None => self.ends(index, split, seen),
        }
    }

    /// Where a pipeline's data go; the connector `forward` is nothing but the pipelines behind it.
    fn ends(&self, index: usize, split: &Split, seen: &mut HashSet<usize>) -> Vec<Place> {
        let pipeline = &self.pipelines[index];
        let mut ends = Vec::new();
        // A loop of nothing but `forward` has no end.
        if !seen.insert(index) {
            return ends;
        }
        for id in &pipeline.exporters {
            if self.forward.contains(id) {
                for (n, next) in self.pipelines.iter().enumerate() {
                    if next.signal == pipeline.signal && next.receivers.contains(id) {
                        ends.extend(self.head(n, split, seen));
                    }
                }
            } else if self.connectors.contains(id) {
                ends.push(Place::Connector(id.clone()));
            } else {
                ends.push(Place::Exporter(id.clone()));
            }
        }
        ends
    }
}

fn processor(pipeline: &Pipeline, id: &str, split: &Split) -> Place {
    let (group, id) = (pipeline.group.clone(), id.to_string());
    let parts = split.get(&(group.clone(), id.clone())).into_iter().flat_map(|parts| parts.iter());
    let part =
        parts.into_iter().find(|p| p.contains(&pipeline.signal)).map(|p| p.to_vec()).unwrap_or_default();
    Place::Processor { group, id, part }
}

fn add(edges: &mut Edges, from: Place, signal: Signal, to: &[Place]) {
    let list = edges.entry(from).or_default().entry(signal).or_default();
    for place in to {
        if !list.contains(place) {
            list.push(place.clone());
        }
    }
}

/// All places from which a way leads back to them.
fn on_loops(edges: &Edges) -> Vec<Place> {
    let returns = |start: &Place| {
        let mut seen = HashSet::new();
        let mut left = vec![start];
        while let Some(place) = left.pop() {
            for next in edges.get(place).into_iter().flat_map(|e| e.values().flatten()) {
                if next == start {
                    return true;
                }
                if seen.insert(next) {
                    left.push(next);
                }
            }
        }
        false
    };
    edges.keys().filter(|p| returns(p)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(id: &str, receivers: &[&str], processors: &[&str], exporters: &[&str]) -> Pipeline {
        let (signal, group) = id.split_once('/').unwrap_or((id, ""));
        let own = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
        Pipeline {
            signal: Signal::ALL.into_iter().find(|s| s.as_str() == signal).expect("a signal"),
            group: group.into(),
            receivers: own(receivers),
            processors: own(processors),
            exporters: own(exporters),
        }
    }

    fn name(place: &Place) -> String {
        match place {
            Place::Processor { group, id, part } => {
                let part: Vec<_> = part.iter().map(|s| s.as_str()).collect();
                format!("{id}[{group}{}]", part.join("+"))
            }
            Place::Receiver(id) | Place::Connector(id) | Place::Exporter(id) => id.clone(),
        }
    }

    fn show(pipelines: &[Pipeline], connectors: &[&str]) -> Result<Vec<String>, String> {
        let connectors: HashSet<_> = connectors.iter().map(|s| s.to_string()).collect();
        let forward = connectors.iter().filter(|c| *c == "forward").cloned().collect();
        let edges = build(pipelines, &connectors, &forward)?;
        let lines = edges.iter().flat_map(|(from, to)| {
            to.iter().map(move |(signal, to)| {
                let to: Vec<_> = to.iter().map(name).collect();
                format!("{} -{}-> {}", name(from), signal.as_str(), to.join(" "))
            })
        });
        Ok(lines.collect())
    }

    #[test]
    fn signals_of_one_group_share_processors() {
        let pipelines = [
            pipeline("traces", &["otlp"], &["batch"], &["out"]),
            pipeline("logs", &["otlp"], &["batch"], &["out"]),
        ];
        let want = [
            "otlp -logs-> batch[]",
            "otlp -traces-> batch[]",
            "batch[] -logs-> out",
            "batch[] -traces-> out",
        ];
        assert_eq!(show(&pipelines, &[]), Ok(want.map(String::from).to_vec()));
    }

    #[test]
    fn a_processor_on_both_sides_of_a_connector_is_two() {
        let pipelines = [
            pipeline("traces", &["otlp"], &["batch"], &["spanmetrics", "out"]),
            pipeline("metrics", &["spanmetrics"], &["batch"], &["out"]),
            pipeline("logs", &["otlp"], &["batch"], &["out"]),
        ];
        let want = [
            "otlp -logs-> batch[logs+traces]",
            "otlp -traces-> batch[logs+traces]",
            "batch[metrics] -metrics-> out",
            "batch[logs+traces] -logs-> out",
            "batch[logs+traces] -traces-> spanmetrics out",
            "spanmetrics -metrics-> batch[metrics]",
        ];
        assert_eq!(show(&pipelines, &["spanmetrics"]), Ok(want.map(String::from).to_vec()));
    }

    #[test]
    fn forward_is_the_pipelines_behind_it() {
        let pipelines = [
            pipeline("traces/in", &["otlp"], &[], &["forward"]),
            pipeline("traces/a", &["forward"], &["batch"], &["a"]),
            pipeline("traces/b", &["forward"], &[], &["b"]),
        ];
        let want = ["otlp -traces-> batch[a] b", "batch[a] -traces-> a"];
        assert_eq!(show(&pipelines, &["forward"]), Ok(want.map(String::from).to_vec()));
    }

    #[test]
    fn a_real_loop_is_refused() {
        let pipelines =
            [pipeline("traces/a", &["x"], &[], &["y"]), pipeline("traces/b", &["y"], &[], &["x"])];
        assert!(show(&pipelines, &["x", "y"]).is_err());
        let own = [pipeline("traces", &["forward"], &[], &["forward"])];
        assert_eq!(show(&own, &["forward"]), Ok(vec![]));
    }
}
