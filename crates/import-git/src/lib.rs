//! `import.git`: modules from a git repository.
//!
//! Data path: [`Args`] → `origin` (address and credentials) → `update` (one look) → `clone` (a bare, shallow
//! clone that is fetched into) → `tree` (the work tree that modules are read from). Everything blocks and
//! runs on the runtime's threads for that. Invariant: no secret is part of a message.

mod clone;
mod origin;
mod tree;
mod update;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use component::eval::{Invalid, Secret};
use component::{Arguments, BoxFuture};
use origin::Origin;
use runtime::{FetchCx, ImportDef, ImportSource, ModuleText};

/// `import.git "x" { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Address of the repository: https, ssh, git, file, or a path. Its submodules are not fetched: they are imported by
    /// `import.git` blocks of their own.
    pub repository: String,
    /// Branch, tag or commit to use.
    #[arg(default = "main")]
    pub revision: String,
    /// File of the module inside the repository, or a directory whose `*.alloy` files are the module.
    pub path: String,
    /// How often to look for changes; 0 turns it off.
    #[arg(default = "1m")]
    pub pull_frequency: Duration,
    /// User name and password for https.
    #[arg(block)]
    pub basic_auth: Option<BasicAuth>,
    /// Key for ssh.
    #[arg(block)]
    pub ssh_key: Option<SshKey>,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct BasicAuth {
    /// User name.
    pub username: String,
    /// Password, or a token that the server takes instead.
    pub password: Secret,
}

/// A key for ssh. The system's `ssh` makes the connection, so that its configuration and its known hosts count.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct SshKey {
    /// User name.
    pub username: String,
    /// The private key itself. While a fetch runs it is in a file that only its owner can read.
    #[arg(default)]
    pub key: Secret,
    /// File with the private key; `key` goes before it.
    #[arg(default)]
    pub key_file: String,
    /// Not supported: use a key without passphrase, or an ssh agent.
    #[arg(default)]
    pub passphrase: Secret,
}

/// Names that mean something else in every clone, as Alloy refuses them.
const SPECIAL: [&str; 5] = ["HEAD", "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD"];

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if SPECIAL.contains(&self.revision.as_str()) {
            let message = format!("revision cannot be {}", self.revision);
            return Err(Invalid::field("revision", message).with_help("name a branch, a tag or a commit"));
        }
        if tree::inside(&self.path).is_none() {
            let message = format!("path {:?} leads out of the repository", self.path);
            return Err(Invalid::field("path", message));
        }
        self.origin().map(drop).map_err(|message| Invalid::field("repository", message))
    }

    fn origin(&self) -> Result<Origin, String> {
        Origin::new(&self.repository, self.basic_auth.as_ref(), self.ssh_key.as_ref())
    }
}

impl SshKey {
    fn validate(&self) -> Result<(), Invalid> {
        if self.passphrase.is_empty() {
            return Ok(());
        }
        let message = "keys with a passphrase are not supported: nobody is there to give it to ssh";
        let help = "remove the passphrase from a copy of the key (ssh-keygen -p), or load the key into an ssh agent \
                    and leave key, key_file and passphrase out";
        Err(Invalid::field("passphrase", message).with_help(help))
    }
}

/// The block as the program hands it to the runtime.
pub const IMPORT: ImportDef = ImportDef::of::<Args>();

/// No look takes longer: what is not here by then is an error, and the next look tries again.
const LIMIT: Duration = Duration::from_secs(300);

impl ImportSource for Args {
    const NAME: &'static str = "import.git";
    /// As in Alloy, a module of a repository may import other files of its work tree by `module_path`.
    const TRUSTED: bool = true;

    fn fetch<'a>(&'a self, cx: &'a FetchCx) -> BoxFuture<'a, Result<Vec<ModuleText>, String>> {
        let (args, data) = (self.clone(), cx.data_path.clone());
        Box::pin(async move {
            let interrupt = Arc::new(AtomicBool::new(false));
            // When nobody waits any more, the thread need not go on.
            let _stop = StopOnDrop(interrupt.clone());
            let looked = tokio::task::spawn_blocking(move || {
                let origin = args.origin()?;
                update::look(&data, &origin, (&args.revision, &args.path), LIMIT, &interrupt)
            });
            let texts = match tokio::time::timeout(LIMIT, looked).await {
                Ok(Ok(texts)) => texts?,
                Ok(Err(error)) => {
                    return Err(format!("fetching the repository ended without a result: {error}"));
                }
                Err(_) => {
                    return Err(format!("fetching the repository takes longer than {} s", LIMIT.as_secs()));
                }
            };
            Ok(texts.into_iter().map(|(name, text)| ModuleText { name, text, is_secret: false }).collect())
        })
    }

    fn poll(&self) -> Option<Duration> {
        (!self.pull_frequency.is_zero()).then(|| self.pull_frequency.max(Duration::from_secs(1)))
    }

    /// The root of the work tree, wherever in it the module is.
    fn module_path(&self, _inherited: &str, cx: &FetchCx) -> String {
        update::work_tree(&cx.data_path).display().to_string()
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
