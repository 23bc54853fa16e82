//! The runtime: from a configuration's text to a graph of running components, and from one configuration
//! to the next.
//!
//! Data path: [`ConfigSource`] → [`Reloader`] → [`Runtime::load`] → `loader` (static pass) → `modules`
//! (plan, evaluate, start) → `scheduler` (evaluate again what depends on changed exports).
//! Invariants: components are known by their type-erased definitions only; a configuration that is refused
//! changes nothing that runs; nothing waits for what was removed to drain.

mod block;
mod definitions;
mod drain;
mod graph;
mod hide;
mod loader;
mod modules;
mod node;
mod own_metrics;
mod reload;
mod runtime;
mod scheduler;
mod scope;
mod secrets;
mod shared;
mod snapshot;
mod watch;

pub use block::ConfigBlockDef;
pub use modules::import::{FetchCx, ImportDef, ImportSource, ModuleText};
pub use reload::{ConfigSource, Convert, Reloader, Translated};
pub use runtime::{LoadError, Loaded, Options, Runtime, Unhealthy, validate};
pub use snapshot::{ComponentSnapshot, ModuleSnapshot, Snapshot};
pub use watch::Watch;
