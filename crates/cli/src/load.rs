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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn problems(name: &str, text: &str) -> Vec<String> {
        let load = Line::parse_from(["test", "--stability.level=experimental"]).load;
        let found = validate(&[Source::new(name, text)], &load);
        found.iter().map(|d| syntax::render(std::slice::from_ref(d), false)).collect()
    }

    /// The texts between "```alloy" and "```".
    fn examples(page: &str) -> Vec<&str> {
        page.split("```alloy\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
    }

    #[test]
    fn every_example_of_the_reference_is_valid() {
        for definition in catalog::all().iter() {
            let examples = examples(definition.docs);
            assert!(!examples.is_empty(), "{} has no example", definition.name);
            for example in examples {
                assert_eq!(problems(definition.name, example), Vec::<String>::new(), "{example}");
            }
        }
    }

    #[test]
    fn the_example_stacks_and_the_readme_are_valid_and_formatted() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
        let readme = read("README.md");
        let mut texts = vec![include_str!("default.alloy").to_string()];
        texts.extend(["quickstart", "remote-write"].map(|e| read(&format!("examples/{e}/config.alloy"))));
        texts.extend(examples(&readme).iter().map(|e| e.to_string()));
        for text in texts {
            assert_eq!(problems("example", &text), Vec::<String>::new(), "{text}");
            let (file, _) = syntax::parse(&Source::new("example", text.as_str()));
            assert_eq!(syntax::format(&file), text);
        }
    }
}
