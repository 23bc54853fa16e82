//! The blocks of a configuration's root that this program carries: `logging`, `tracing`, `http`,
//! `livedebugging`.

use std::sync::Arc;

use component::{Arguments, Services, Stability};
use runtime::ConfigBlockDef;

use crate::logging::{Log, LoggingArgs};
use crate::serve::MainServer;
use crate::spans::{Spans, TracingArgs};

/// `livedebugging { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct LiveDebuggingArgs {
    /// Let watchers see what passes through components.
    #[arg(default)]
    pub enabled: bool,
}

/// The blocks as they are run.
pub fn running(
    log: &Log,
    spans: &Spans,
    server: &MainServer,
    services: &Arc<Services>,
) -> Vec<ConfigBlockDef> {
    let (server, services) = (server.clone(), services.clone());
    let ga = Stability::GenerallyAvailable;
    vec![
        logging(log),
        tracing(spans, &services),
        ConfigBlockDef::new("http", ga, move |args: &net::args::ServiceHttpArgs| server.apply(args)),
        ConfigBlockDef::new("livedebugging", ga, move |args: &LiveDebuggingArgs| {
            services.live_debug.set_enabled(args.enabled);
            Ok(())
        }),
    ]
}

/// `logging`, applied to a log.
pub fn logging(log: &Log) -> ConfigBlockDef {
    let (configured, told) = (log.clone(), log.clone());
    let configure = move |args: &LoggingArgs| configured.configure(args);
    ConfigBlockDef::new("logging", Stability::GenerallyAvailable, configure)
        .with_carriers(move |ids| told.set_carriers(ids))
}

/// `tracing`, applied to the spans.
pub fn tracing(spans: &Spans, services: &Arc<Services>) -> ConfigBlockDef {
    let (configured, told, services) = (spans.clone(), spans.clone(), services.clone());
    let configure = move |args: &TracingArgs| configured.configure(args, &services);
    ConfigBlockDef::new("tracing", Stability::GenerallyAvailable, configure)
        .with_carriers(move |ids| told.set_carriers(ids))
}

/// The blocks as they are only checked.
pub fn checked() -> Vec<ConfigBlockDef> {
    let ga = Stability::GenerallyAvailable;
    vec![
        ConfigBlockDef::new("logging", ga, |_: &LoggingArgs| Ok(())),
        ConfigBlockDef::new("tracing", ga, |_: &TracingArgs| Ok(())),
        ConfigBlockDef::new("http", ga, |_: &net::args::ServiceHttpArgs| Ok(())),
        ConfigBlockDef::new("livedebugging", ga, |_: &LiveDebuggingArgs| Ok(())),
    ]
}
