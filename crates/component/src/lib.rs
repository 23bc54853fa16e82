//! The authoring API: what a component is, how components are joined, and what they are given.
//!
//! A component is a type with arguments and exports ([`Component`], [`Pure`]). The runtime knows it only
//! as a [`ComponentDef`] that makes a [`Node`]. Data moves between nodes through a [`Port`] and its
//! [`Receiver`]s; a [`Fanout`] is what `forward_to` turns into.
//! Invariants: `build` does no I/O and spawns nothing; `run` owns its state and gets updates as
//! messages; a panic anywhere in a component ends as that node's health.

extern crate self as component;

mod context;
mod definition;
mod error;
pub mod health;
mod heavy;
pub mod http;
mod kind;
mod legacy;
pub mod livedebug;
pub mod metrics;
mod node;
mod offer;
mod once_a_minute;
pub mod otel;
pub mod paths;
mod port;
mod services;
pub mod testkit;
pub mod trace;
mod values;

pub use context::{BuildCx, DebugInfo, Event, RunCx, Spawner, Update};
pub use definition::{Absent, Component, ComponentDef, MakeNode, Pure, Registry};
pub use error::Error;
pub use eval::{self, ArgValue, Stability};
pub use health::{Health, HealthState};
pub use heavy::heavy;
pub use legacy::{Legacies, Legacy};
pub use macros::{ArgEnum, ArgObject, ArgText, Arguments, Exports};
pub use node::{Evaluated, Node, NodeCx, Prepared, Rest, Stopped};
pub use offer::{Offered, offer};
pub use once_a_minute::OnceAMinute;
pub use port::{BoxFuture, Consumer, Draining, Fanout, Port, Receiver, Rejected, Signal};
pub use services::Services;
pub use values::{Pattern, RelabelAction, RelabelRule, RelabelRules, Target, compile_rules};
