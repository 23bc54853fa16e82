//! The `pyroscope.*` components; the folder of each is the path of its name.
//!
//! What flows between them is [`signal::Profiles`]: label sets and bodies that are forwarded as they were received.

use component::{Absent, ComponentDef};

pub mod enrich;
pub mod receive_http;
pub mod relabel;
mod relabelled;
pub mod scrape;
pub mod write;

/// The components of this family.
pub static COMPONENTS: &[ComponentDef] = &[
    ComponentDef::of::<enrich::Enrich>(),
    ComponentDef::of::<receive_http::ReceiveHttp>(),
    ComponentDef::of::<relabel::Relabel>(),
    ComponentDef::of::<scrape::Scrape>(),
    ComponentDef::of::<write::Write>(),
];

/// What Alloy has of this family and this program has not.
pub const ABSENT: &[Absent] = &[
    Absent {
        name: "pyroscope.ebpf",
        instead: "this program has no eBPF profiler: let programs in Go be scraped by pyroscope.scrape, others push \
                  by Pyroscope's SDKs to pyroscope.receive_http, or leave this block to an Alloy that sends to \
                  pyroscope.receive_http",
    },
    Absent {
        name: "pyroscope.java",
        instead: "this program brings no async-profiler and attaches none: start the JVM with Pyroscope's Java agent \
                  (-javaagent:pyroscope.jar) and set PYROSCOPE_SERVER_ADDRESS to the address of a \
                  pyroscope.receive_http block",
    },
];
