//! What the process offers to every component.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::http::Handlers;
use crate::legacy::Legacies;
use crate::livedebug::LiveDebug;
use crate::metrics::Metrics;
use eval::Stability;

/// Services and settings of the process; shared by all nodes.
pub struct Services {
    /// Own metrics.
    pub metrics: Metrics,
    /// HTTP handlers of components and of the main server.
    pub handlers: Handlers,
    /// Live debugging.
    pub live_debug: LiveDebug,
    /// What nodes on their way out leave to the next of their ID.
    pub legacies: Legacies,
    /// Root of all data on disk (`--storage.path`).
    pub storage: PathBuf,
    /// Address that is answered without the network (`--server.http.memory-addr`).
    pub memory_address: String,
    /// Items below this level are refused.
    pub stability: Stability,
    /// How long a stopping node may take (`--feature.component-shutdown-deadline`).
    pub shutdown_deadline: Duration,
    /// Host name, for `instance` labels and `constants.hostname`.
    pub hostname: String,
    /// Version as in `alloy_build_info` and User-Agent headers, without a leading `v`.
    pub version: &'static str,
    /// Nodes are built only to see whether they can be (`validate`): nothing may be read or asked for.
    pub trial: bool,
    /// Identity of this process's data folder, sent as `X-Agent-Id` / `X-Alloy-Id`.
    pub instance_id: String,
}

impl Services {
    /// Services for tests: a storage path of the caller's choice, everything else at its default.
    pub fn for_tests(storage: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            metrics: Metrics::default(),
            handlers: Handlers::default(),
            live_debug: LiveDebug::default(),
            legacies: Legacies::default(),
            storage: storage.into(),
            memory_address: "alloy.internal:12345".into(),
            stability: Stability::Experimental,
            shutdown_deadline: Duration::from_secs(600),
            hostname: "test-host".into(),
            version: env!("CARGO_PKG_VERSION"),
            trial: false,
            instance_id: "00000000-0000-0000-0000-000000000000".into(),
        })
    }

    /// `Ferroalloy/<version>`, the User-Agent of every client.
    pub fn user_agent(&self) -> String {
        format!("Ferroalloy/{}", self.version)
    }
}
