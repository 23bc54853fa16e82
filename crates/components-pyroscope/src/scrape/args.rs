//! What a `pyroscope.scrape` block may say, and what it means together.

use std::collections::BTreeMap;
use std::time::Duration;

use component::eval::Invalid;
use component::{Arguments, Receiver, Target};
use net::args::HttpClientArgs;
use signal::Profiles;

/// Where `delta_profiling_duration` stands unless the user says something. As Alloy: at this value profiles last a
/// second less than the interval.
const DEFAULT_DURATION: Duration = Duration::from_secs(14);

/// `pyroscope.scrape`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// What to scrape.
    pub targets: Vec<Target>,
    /// Where profiles go.
    pub forward_to: Vec<Receiver<Profiles>>,
    /// The `job` label of targets that bring none.
    #[arg(default)]
    pub job_name: String,
    /// URL parameters.
    #[arg(default)]
    pub params: BTreeMap<String, Vec<String>>,
    /// Time between scrapes.
    #[arg(default = Duration::from_secs(15))]
    pub scrape_interval: Duration,
    /// How long a scrape may take, beyond the time for which the target takes the profile.
    #[arg(default = Duration::from_secs(10))]
    pub scrape_timeout: Duration,
    /// `http` or `https`.
    #[arg(default = "http".to_string())]
    pub scheme: String,
    /// For how long targets take the profiles that have `delta` set; a second less than `scrape_interval` by default.
    #[arg(default = DEFAULT_DURATION)]
    pub delta_profiling_duration: Duration,
    /// How to connect and authenticate.
    #[arg(squash, default = HttpClientArgs::default())]
    pub client: HttpClientArgs,
    /// Which profiles to fetch.
    #[arg(block)]
    pub profiling_config: ProfilingConfig,
    /// Sharing of targets between the members of a cluster. Without a cluster all targets are scraped here.
    #[arg(
        block,
        default = Clustering { enabled: false },
        no_effect = "there is no clustering, so that all targets are scraped here; where several programs share \
                     targets, have discovery.relabel keep a part for each with hashmod"
    )]
    pub clustering: Clustering,
}

/// `clustering`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Clustering {
    /// Whether targets are shared.
    pub enabled: bool,
}

/// A profile type as the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wanted<'a> {
    /// What `__name__` becomes, unless the target has one.
    pub(super) name: &'a str,
    pub(super) path: &'a str,
    /// The target is asked to take it for a time.
    pub(super) delta: bool,
}

/// The blocks of the known profile types, each with its own defaults.
macro_rules! profiles {
    ($($(#[doc = $doc:literal])* $name:ident $field:ident $block:literal = $enabled:literal $path:literal $delta:literal,)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Debug, PartialEq, Arguments)]
            pub struct $name {
                /// Fetch it.
                #[arg(default = $enabled)]
                pub enabled: bool,
                /// Where targets serve it.
                #[arg(default = $path.to_string())]
                pub path: String,
                /// Ask the target to take it for `delta_profiling_duration`, with the parameter `seconds`.
                #[arg(default = $delta)]
                pub delta: bool,
            }
        )*

        /// `profiling_config`
        #[derive(Clone, Debug, PartialEq, Arguments)]
        #[arguments(validate = ProfilingConfig::validate)]
        pub struct ProfilingConfig {
            /// Put before the path of every profile.
            #[arg(default)]
            pub path_prefix: String,
            $(
                $(#[doc = $doc])*
                #[arg(block, name = $block)]
                pub $field: $name,
            )*
            /// A profile of another type: the label is the type's name.
            #[arg(block, name = "profile.custom")]
            pub custom: Vec<Custom>,
        }

        impl ProfilingConfig {
            /// The types of blocks of their own that are fetched, in the order of the page.
            fn known(&self) -> Vec<Wanted<'_>> {
                let mut known = Vec::new();
                $(if self.$field.enabled {
                    known.push(Wanted {
                        name: stringify!($field),
                        path: &self.$field.path,
                        delta: self.$field.delta,
                    });
                })*
                known
            }
        }
    };
}

profiles! {
    /// Memory: what was allocated, and what is in use.
    Memory memory "profile.memory" = true "/debug/pprof/allocs" false,
    /// Where goroutines have waited for each other.
    Block block "profile.block" = true "/debug/pprof/block" false,
    /// Where goroutines are.
    Goroutine goroutine "profile.goroutine" = true "/debug/pprof/goroutine" false,
    /// Who held the locks that others have waited for.
    Mutex mutex "profile.mutex" = true "/debug/pprof/mutex" false,
    /// Where processor time goes.
    ProcessCpu process_cpu "profile.process_cpu" = true "/debug/pprof/profile" true,
    /// Where time goes, waiting included, by the library fgprof.
    Fgprof fgprof "profile.fgprof" = false "/debug/fgprof" true,
    /// Memory, by the library godeltaprof.
    GodeltaprofMemory godeltaprof_memory "profile.godeltaprof_memory" = false "/debug/pprof/delta_heap" false,
    /// Locks, by the library godeltaprof.
    GodeltaprofMutex godeltaprof_mutex "profile.godeltaprof_mutex" = false "/debug/pprof/delta_mutex" false,
    /// Waiting, by the library godeltaprof.
    GodeltaprofBlock godeltaprof_block "profile.godeltaprof_block" = false "/debug/pprof/delta_block" false,
}

/// `profile.custom`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Custom {
    /// The type's name.
    #[arg(label)]
    pub name: String,
    /// Fetch it.
    pub enabled: bool,
    /// Where targets serve it.
    pub path: String,
    /// Ask the target to take it for `delta_profiling_duration`, with the parameter `seconds`.
    #[arg(default)]
    pub delta: bool,
}

impl ProfilingConfig {
    /// What is fetched of every target. A custom type stands in the place of a known one of its name.
    pub(super) fn wanted(&self) -> Vec<Wanted<'_>> {
        let mut wanted = self.known();
        wanted.retain(|known| self.custom.iter().all(|custom| custom.name != known.name));
        let custom = self.custom.iter().filter(|custom| custom.enabled);
        wanted.extend(custom.map(|c| Wanted { name: &c.name, path: &c.path, delta: c.delta }));
        wanted
    }

    fn validate(&self) -> Result<(), Invalid> {
        let mut names: Vec<_> = self.custom.iter().map(|custom| custom.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("there are two blocks profile.custom {:?}", twice[0]);
            return Err(Invalid::body(message).with_help("give each profile type a label of its own"));
        }
        Ok(())
    }
}

impl Args {
    /// What the parameter `seconds` says for profiles that have `delta` set.
    pub(super) fn seconds(&self) -> u64 {
        match self.delta_profiling_duration {
            DEFAULT_DURATION => self.scrape_interval.as_secs().saturating_sub(1),
            given => given.as_secs(),
        }
    }

    fn validate(&self) -> Result<(), Invalid> {
        const SECOND: Duration = Duration::from_secs(1);
        self.client.validate()?;
        if self.scrape_timeout.is_zero() {
            return Err(Invalid::field("scrape_timeout", "scrape_timeout must be longer than 0"));
        }
        if self.scrape_interval.is_zero() {
            return Err(Invalid::field("scrape_interval", "scrape_interval must be longer than 0"));
        }
        if !matches!(self.scheme.as_str(), "" | "http" | "https") {
            let message = format!("scheme {:?} is neither http nor https", self.scheme);
            return Err(Invalid::field("scheme", message));
        }
        let wanted = self.profiling_config.wanted();
        let Some(delta) = wanted.iter().find(|wanted| wanted.delta) else { return Ok(()) };
        let help = format!("or set delta = false for the profile {:?}", delta.name);
        if self.scrape_interval < 2 * SECOND {
            let message = "scrape_interval must be at least 2s for profiles that are taken for a time";
            return Err(Invalid::field("scrape_interval", message).with_help(help));
        }
        if self.delta_profiling_duration <= SECOND {
            let message = "delta_profiling_duration must be longer than 1s";
            return Err(Invalid::field("delta_profiling_duration", message).with_help(help));
        }
        if self.delta_profiling_duration > self.scrape_interval - SECOND {
            let message = format!(
                "delta_profiling_duration ({:?}) must be at least 1s shorter than scrape_interval ({:?})",
                self.delta_profiling_duration, self.scrape_interval
            );
            return Err(Invalid::field("delta_profiling_duration", message).with_help(help));
        }
        Ok(())
    }
}
