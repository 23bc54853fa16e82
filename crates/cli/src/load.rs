//! What `run` and `validate` share: the settings of a load, and the check of a configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use component::Services;
use runtime::{ConfigBlockDef, ImportDef, Options};
use syntax::{Diagnostic, Source};

use crate::args::{Language, LoadArgs};
use crate::blocks;

/// Other languages are read by a converter that is not there yet.
pub fn supported(language: Language) -> anyhow::Result<()> {
    if language != Language::Alloy {
        bail!("--config.format: only alloy can be read by this version");
    }
    Ok(())
}

/// Kinds of import blocks besides files and strings.
pub fn imports() -> Vec<ImportDef> {
    vec![
        import_http::IMPORT,
        #[cfg(feature = "git")]
        import_git::IMPORT,
    ]
}

/// Options for a runtime over `services`.
pub fn options(services: &Arc<Services>, blocks: Vec<ConfigBlockDef>) -> Options {
    Options { registry: catalog::all(), blocks, imports: imports(), services: services.clone() }
}

/// Services with the settings of the command line and nothing registered.
pub fn services(
    load: &LoadArgs,
    storage: PathBuf,
    memory_address: &str,
    deadline: Duration,
    id: String,
) -> Arc<Services> {
    Arc::new(Services {
        metrics: Default::default(),
        handlers: Default::default(),
        live_debug: Default::default(),
        storage,
        memory_address: memory_address.to_string(),
        stability: load.stability,
        shutdown_deadline: deadline,
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        version: crate::VERSION,
        instance_id: id,
        trial: false,
    })
}

/// The whole static pass.
pub fn validate(sources: &[Source], load: &LoadArgs) -> Vec<Diagnostic> {
    let services =
        services(load, std::env::temp_dir(), "alloy.internal:12345", Duration::from_secs(600), String::new());
    runtime::validate(options(&services, blocks::checked()), sources)
}
