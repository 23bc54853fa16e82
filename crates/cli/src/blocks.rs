//! The blocks of a configuration's root that this program carries: `logging`, `tracing`, `http`,
//! `livedebugging`.

use std::sync::Arc;
use std::time::Duration;

use component::{Arguments, Error, Services, Stability};
use runtime::ConfigBlockDef;

use crate::logging::{Log, LoggingArgs};
use crate::serve::MainServer;

/// `tracing { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct TracingArgs {
    /// Which part of traces is kept.
    #[arg(default = 0.1)]
    pub sampling_fraction: f64,
    /// Send trace headers with requests.
    #[arg(default)]
    pub send_traceparent: bool,
    /// Who gets the program's own traces.
    #[arg(default, type_name = "list(otelcol.Consumer)", code_type = "list(capsule(otelcol.Consumer))")]
    pub write_to: Vec<component::eval::Value>,
    /// Another way to choose which traces are kept.
    #[arg(block, default = Sampler { jaeger_remote: None })]
    pub sampler: Sampler,
}

/// `tracing > sampler`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Sampler {
    /// Ask a Jaeger remote sampling server.
    #[arg(block)]
    pub jaeger_remote: Option<JaegerRemote>,
}

/// `tracing > sampler > jaeger_remote`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct JaegerRemote {
    /// The server.
    #[arg(default = "http://127.0.0.1:5778/sampling".to_string())]
    pub url: String,
    /// Operations remembered.
    #[arg(default = 256)]
    pub max_operations: i64,
    /// How often it is asked.
    #[arg(default = Duration::from_secs(60))]
    pub refresh_interval: Duration,
}

/// `livedebugging { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct LiveDebuggingArgs {
    /// Let watchers see what passes through components.
    #[arg(default)]
    pub enabled: bool,
}

/// The blocks as they are run.
pub fn running(log: &Log, server: &MainServer, services: &Arc<Services>) -> Vec<ConfigBlockDef> {
    let (server, services) = (server.clone(), services.clone());
    let ga = Stability::GenerallyAvailable;
    vec![
        logging(log),
        ConfigBlockDef::new("tracing", ga, tracing),
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

/// Without receivers `tracing` does nothing in Alloy either; what would do something is refused.
fn tracing(args: &TracingArgs) -> Result<(), Error> {
    if !args.write_to.iter().all(|v| matches!(v, component::eval::Value::Null)) {
        return Err(Error::argument(
            "write_to",
            "own traces are not available in this program yet: remove write_to",
        ));
    }
    if args.send_traceparent {
        let message = "trace headers are not available in this program yet: remove send_traceparent";
        return Err(Error::argument("send_traceparent", message));
    }
    Ok(())
}
