//! Which files are read: patterns, what is left out, and which of several count.

use std::path::Path;
use std::time::{Duration, SystemTime};

use component::OnceAMinute;
use component::eval::Invalid;
use component::paths::{FoundFile, PathPattern, absolute};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use indexmap::IndexMap;
use regex::Regex;
use signal::Labels;
use tail::{Finder, Wanted};

use super::args::{Args, OrderingCriteria, SortBy};
use crate::operators::times::Layout;
use crate::operators::value::Value;

/// The files of a component.
pub struct Files {
    include: Vec<PathPattern>,
    exclude: GlobSet,
    older_than: Duration,
    every: Duration,
    order: Option<Order>,
    /// So many at most.
    most: Option<usize>,
    told: OnceAMinute,
}

impl Files {
    /// As arguments say.
    ///
    /// # Errors
    /// If a pattern is none.
    pub fn new(args: &Args) -> Result<Self, Invalid> {
        let include = args.include.iter().map(|pattern| PathPattern::new(pattern, None));
        let include: Result<Vec<_>, _> = include.collect();
        let mut exclude = GlobSetBuilder::new();
        for pattern in &args.exclude {
            let path = absolute(Path::new(pattern));
            let text = path.to_str().unwrap_or(pattern);
            let mut builder = GlobBuilder::new(text);
            builder.literal_separator(true).backslash_escape(true).empty_alternates(true);
            let glob = builder.build().map_err(|e| Invalid::field("exclude", e.to_string()))?;
            exclude.add(glob);
        }
        let half = usize::try_from(args.max_concurrent_files).unwrap_or(1).div_ceil(2);
        let batches = usize::try_from(args.max_batches).unwrap_or(0);
        Ok(Self {
            include: include.map_err(|e| Invalid::field("include", e.to_string()))?,
            exclude: exclude.build().map_err(|e| Invalid::field("exclude", e.to_string()))?,
            older_than: args.exclude_older_than,
            every: args.poll_interval,
            order: args.ordering_criteria.as_ref().map(Order::new).transpose()?,
            most: (batches > 0).then(|| half.saturating_mul(batches)),
            told: OnceAMinute::default(),
        })
    }
}

impl Finder for Files {
    fn find(&self) -> Vec<Wanted> {
        let mut files: IndexMap<std::path::PathBuf, FoundFile> = IndexMap::new();
        for file in self.include.iter().flat_map(PathPattern::files) {
            if !self.exclude.is_match(&file.path) {
                files.entry(file.path.clone()).or_insert(file);
            }
        }
        let mut files: Vec<FoundFile> = files.into_values().collect();
        if let Some(order) = &self.order {
            files = order.choose(files);
        }
        if let Some(most) = self.most.filter(|most| files.len() > *most) {
            if self.told.now() {
                let found = files.len();
                tracing::warn!(
                    found,
                    most,
                    "more files are found than max_batches and max_concurrent_files let be followed"
                );
            }
            files.truncate(most);
        }
        let wanted = files.iter().filter_map(|file| {
            let is_old = file.is_older_than(self.older_than);
            Some(Wanted { is_old, ..Wanted::new(file.path.to_str()?, Labels::empty()) })
        });
        wanted.collect()
    }

    fn every(&self) -> Option<Duration> {
        Some(self.every)
    }
}

/// Which of the files count: the first ones of each group, sorted.
pub struct Order {
    regex: Option<Regex>,
    group_by: Option<Regex>,
    sorts: Vec<Sort>,
    top: usize,
}

struct Sort {
    by: By,
    ascending: bool,
}

enum By {
    Number(String),
    Text(String),
    Time(String, Layout),
    Modified,
}

/// What a file is sorted by.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Rank {
    Number(i128),
    Text(String),
    Modified(Option<SystemTime>),
}

impl Order {
    /// As arguments say.
    ///
    /// # Errors
    /// If an expression is none, or a sort does not say what it needs.
    pub fn new(args: &OrderingCriteria) -> Result<Self, Invalid> {
        let regex = |field: &'static str, text: &str| match text {
            "" => Ok(None),
            text => Regex::new(text).map(Some).map_err(|e| Invalid::field(field, format!("{text:?}: {e}"))),
        };
        let top = usize::try_from(args.top_n).ok().filter(|n| *n > 0);
        let order = Self {
            regex: regex("regex", &args.regex)?,
            group_by: regex("group_by", &args.group_by)?,
            sorts: args.sort_by.iter().map(Sort::new).collect::<Result<_, _>>()?,
            top: top.ok_or_else(|| Invalid::field("top_n", "top_n must be 1 or more"))?,
        };
        let keyed = order.sorts.iter().filter_map(|s| match &s.by {
            By::Number(key) | By::Text(key) | By::Time(key, _) => Some(key),
            By::Modified => None,
        });
        for key in keyed {
            let known = order.regex.as_ref().is_some_and(|r| r.capture_names().flatten().any(|n| n == key));
            if !known {
                let message = format!("regex has no group of the name {key:?} that sort_by asks for");
                return Err(Invalid::field("regex", message));
            }
        }
        Ok(order)
    }

    fn choose(&self, files: Vec<FoundFile>) -> Vec<FoundFile> {
        let mut groups: IndexMap<String, Vec<FoundFile>> = IndexMap::new();
        for file in files {
            let path = file.path.to_string_lossy().into_owned();
            if self.regex.as_ref().is_some_and(|regex| !regex.is_match(&path)) {
                continue;
            }
            let group = self.group_by.as_ref().and_then(|regex| {
                let captures = regex.captures(&path)?;
                Some(captures.get(1).or_else(|| captures.get(0))?.as_str().to_string())
            });
            groups.entry(group.unwrap_or_default()).or_default().push(file);
        }
        let chosen = groups.into_values().flat_map(|files| {
            let mut files = files;
            for sort in &self.sorts {
                let mut ranked: Vec<(Rank, FoundFile)> = files
                    .into_iter()
                    .filter_map(|file| Some((sort.rank(&file, self.regex.as_ref())?, file)))
                    .collect();
                ranked.sort_by(|(a, _), (b, _)| {
                    let order = a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
                    if sort.ascending { order } else { order.reverse() }
                });
                files = ranked.into_iter().map(|(_, file)| file).collect();
            }
            files.truncate(self.top);
            files
        });
        chosen.collect()
    }
}

impl Sort {
    fn new(args: &SortBy) -> Result<Self, Invalid> {
        let key = || match args.regex_key.as_str() {
            "" => Err(Invalid::field("sort_by", format!("sort_type {:?} needs a regex_key", args.sort_type))),
            key => Ok(key.to_string()),
        };
        let by = match args.sort_type.as_str() {
            "numeric" => By::Number(key()?),
            "alphabetical" => By::Text(key()?),
            "timestamp" => {
                let layout = Layout::new("strptime", &args.layout, Some(&args.location));
                let layout = layout.map_err(|e| Invalid::field("sort_by", e))?;
                if args.layout.is_empty() {
                    return Err(Invalid::field("sort_by", "sort_type \"timestamp\" needs a layout"));
                }
                By::Time(key()?, layout)
            }
            "mtime" => By::Modified,
            other => {
                let message =
                    format!("sort_type is numeric, alphabetical, timestamp or mtime, not {other:?}");
                return Err(Invalid::field("sort_by", message));
            }
        };
        Ok(Self { by, ascending: args.ascending })
    }

    /// `None` where there is nothing to sort by: such a file is left out.
    fn rank(&self, file: &FoundFile, regex: Option<&Regex>) -> Option<Rank> {
        let path = file.path.to_string_lossy();
        let group = |key: &str| Some(regex?.captures(&path)?.name(key)?.as_str().to_string());
        match &self.by {
            By::Modified => Some(Rank::Modified(file.metadata.modified().ok())),
            By::Number(key) => group(key)?.parse().ok().map(Rank::Number),
            By::Text(key) => group(key).map(Rank::Text),
            By::Time(key, layout) => {
                let ns = layout.read(&Value::Text(group(key)?), 0).ok()?;
                Some(Rank::Number(ns.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(criteria: &OrderingCriteria, names: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let pattern = folder.path().join("*");
        let files = PathPattern::new(pattern.to_str().unwrap(), None).unwrap().files();
        let order = Order::new(criteria).unwrap_or_else(|e| panic!("{e:?}"));
        let name = |file: FoundFile| file.path.file_name().unwrap().to_str().unwrap().to_string();
        order.choose(files).into_iter().map(name).collect()
    }

    fn criteria(regex: &str, sort_type: &str, key: &str) -> OrderingCriteria {
        let sort = SortBy {
            sort_type: sort_type.into(),
            regex_key: key.into(),
            layout: "%Y%m%d".into(),
            location: "UTC".into(),
            ascending: false,
        };
        OrderingCriteria { regex: regex.into(), top_n: 2, group_by: String::new(), sort_by: vec![sort] }
    }

    #[test]
    fn the_first_files_in_order_are_chosen() {
        let names = ["a.9.log", "a.10.log", "a.1.log", "b.2.log", "other"];
        let numeric = criteria(r"\.(?P<n>\d+)\.log$", "numeric", "n");
        assert_eq!(chosen(&numeric, &names), ["a.10.log", "a.9.log"]);
        let mut by_text = criteria(r"\.(?P<n>\d+)\.log$", "alphabetical", "n");
        assert_eq!(chosen(&by_text, &names), ["a.9.log", "b.2.log"]);
        by_text.sort_by[0].ascending = true;
        assert_eq!(chosen(&by_text, &names), ["a.1.log", "a.10.log"]);
        let mut grouped = numeric.clone();
        (grouped.group_by, grouped.top_n) = (r"/([ab])\.".into(), 1);
        assert_eq!(chosen(&grouped, &names), ["a.10.log", "b.2.log"]);
        let times = criteria(r"(?P<t>\d{8})", "timestamp", "t");
        assert_eq!(chosen(&times, &["x20260101", "x20251231", "x20260102"]), ["x20260102", "x20260101"]);
        let modified = criteria("", "mtime", "");
        assert_eq!(chosen(&modified, &names).len(), 2);
    }

    #[test]
    fn what_cannot_be_sorted_by_is_refused() {
        for (regex, kind, key) in
            [("(", "mtime", ""), ("", "numeric", ""), ("x", "numeric", "n"), ("", "size", "")]
        {
            assert!(Order::new(&criteria(regex, kind, key)).is_err(), "{regex} {kind} {key}");
        }
        let none = OrderingCriteria { top_n: 0, ..criteria("", "mtime", "") };
        assert!(Order::new(&none).is_err());
    }
}
