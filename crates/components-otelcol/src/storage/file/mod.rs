//! `otelcol.storage.file` is a folder in which other components keep what must survive a restart.
//!
//! It makes the folder and exports its place; what is in it belongs to those who use it: each has a folder of its
//! own inside, guarded by a lock. Invariant: which folder that is follows from the user's ID alone.

#[cfg(test)]
mod tests;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use component::eval::Invalid;
use component::otel::DebugMetrics;
use component::{Arguments, BuildCx, Component, Error, Event, Health, RunCx, Stability};

use crate::auth::{AuthExports, Handler};

/// How often a folder that could not be made is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// `otelcol.storage.file`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// The folder; that of the component below the storage path otherwise.
    #[arg(default)]
    pub directory: String,
    /// How long a folder that another process still holds is waited for before it counts as a failure.
    #[arg(default = Duration::from_secs(1))]
    pub timeout: Duration,
    /// Force what is written to the device before it counts as kept; otherwise once a second.
    #[arg(default)]
    pub fsync: bool,
    /// Make the folder if it is not there.
    #[arg(default = true)]
    pub create_directory: bool,
    /// Permissions of a folder that is made, in octal.
    #[arg(default = "0750")]
    pub directory_permissions: String,
    /// Giving back of space.
    #[arg(
        block,
        no_effect = "files are removed as soon as all in them is done with, so that space is always given back"
    )]
    pub compaction: Compaction,
    /// The component's own metrics.
    #[arg(block, no_effect = "the component has no metrics of its own")]
    pub debug_metrics: DebugMetrics,
}

/// `compaction`. What is asked for here happens without being asked for.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Compaction {
    /// Give back space at the start; always done.
    #[arg(default)]
    pub on_start: bool,
    /// Give back space while it runs; always done.
    #[arg(default)]
    pub on_rebound: bool,
    /// Folder for temporary files, of which there are none.
    #[arg(default)]
    pub directory: String,
    /// Above this size space is given back; here it is at any size.
    #[arg(default = 100)]
    pub rebound_needed_threshold_mib: i64,
    /// Below this use space is given back; here it is at any.
    #[arg(default = 10)]
    pub rebound_trigger_threshold_mib: i64,
    /// How much is moved at a time; nothing has to be moved here.
    #[arg(default = 65536)]
    pub max_transaction_size: i64,
    /// How often the size is looked at; here with every file that is done with.
    #[arg(default = Duration::from_secs(5))]
    pub check_interval: Duration,
    /// Remove temporary files at the start; there are none.
    #[arg(default)]
    pub cleanup_on_start: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.create_directory {
            self.permissions()?;
        }
        if self.compaction.max_transaction_size < 0 {
            return Err(Invalid::field("compaction", "max_transaction_size must be 0 or more"));
        }
        if self.compaction.on_rebound && self.compaction.check_interval.is_zero() {
            return Err(Invalid::field("compaction", "check_interval must be above 0 with on_rebound"));
        }
        Ok(())
    }

    fn permissions(&self) -> Result<u32, Invalid> {
        let text = &self.directory_permissions;
        let refuse = |why: &str| Invalid::field("directory_permissions", format!("{text:?} {why}"));
        let permissions = u32::from_str_radix(text, 8).map_err(|_| refuse("is no octal number"))?;
        match permissions {
            0..=0o777 => Ok(permissions),
            _ => Err(refuse("has bits beyond 0777")),
        }
    }

    fn folder(&self, own: PathBuf) -> Result<Folder, Error> {
        Ok(Folder {
            directory: if self.directory.is_empty() { own } else { self.directory.clone().into() },
            timeout: self.timeout,
            fsync: self.fsync,
            create: match self.create_directory {
                true => Some(
                    self.permissions().map_err(|e| Error::argument("directory_permissions", e.message))?,
                ),
                false => None,
            },
        })
    }
}

/// The folder, as its users see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Folder {
    directory: PathBuf,
    timeout: Duration,
    fsync: bool,
    /// Permissions, where it may be made.
    create: Option<u32>,
}

impl Folder {
    /// The place of a user of the folder. `name` may be any text: it is the same place for the same name, and
    /// another for another.
    pub fn of(&self, name: &str) -> PathBuf {
        let mut file = String::with_capacity(name.len());
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => file.push(char::from(byte)),
                b'.' if !file.is_empty() => file.push('.'),
                other => file.push_str(&format!("~{other:02x}")),
            }
        }
        self.directory.join(file)
    }

    /// The names of those who have a place; none where the folder cannot be read.
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Vec::new() };
        let name = |entry: std::fs::DirEntry| {
            let file = entry.file_name().into_string().ok()?;
            let mut bytes = Vec::with_capacity(file.len());
            let mut parts = file.split('~');
            bytes.extend_from_slice(parts.next()?.as_bytes());
            for part in parts {
                bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            String::from_utf8(bytes).ok()
        };
        entries.flatten().filter_map(name).collect()
    }

    /// The folder itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How long a place that another process holds is waited for.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether what is written must be on the device before it counts.
    pub fn fsync(&self) -> bool {
        self.fsync
    }

    /// Makes the folder where it may be made and is not there.
    ///
    /// # Errors
    /// If it is not there after that.
    pub fn prepare(&self) -> Result<(), String> {
        let shown = self.directory.display();
        if self.directory.is_dir() {
            return Ok(());
        }
        if self.directory.exists() {
            return Err(format!("{shown} is no folder"));
        }
        let Some(permissions) = self.create else {
            return Err(format!("folder {shown} is not there: make it, or set create_directory = true"));
        };
        DirBuilder::new()
            .recursive(true)
            .mode(permissions)
            .create(&self.directory)
            .map_err(|error| format!("folder {shown} cannot be made: {error}"))
    }
}

/// The component.
pub struct FileStorage {
    folder: Folder,
}

impl FileStorage {
    fn exports(cx: &BuildCx, folder: &Folder) -> AuthExports {
        AuthExports { handler: Handler::storage(cx.id(), folder.clone()) }
    }
}

impl Component for FileStorage {
    const NAME: &'static str = "otelcol.storage.file";
    const STABILITY: Stability = Stability::PublicPreview;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = AuthExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, AuthExports), Error> {
        let folder = args.folder(cx.data_path())?;
        let exports = Self::exports(cx, &folder);
        Ok((Self { folder }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let mut folder = self.folder;
        loop {
            let ready = folder.prepare();
            let fine = ready.is_ok();
            cx.report(match ready {
                Ok(()) => Health::healthy("the folder is there"),
                Err(error) => Health::unhealthy(error),
            });
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => return Ok(()),
                    Event::Update(update) => {
                        let changed = update.args().folder(cx.data_path()).map(|new| {
                            cx.export(&Self::exports(&cx, &new));
                            folder = new;
                        });
                        update.answer(changed);
                    }
                },
                () = tokio::time::sleep(AGAIN), if !fine => {}
            }
        }
    }
}
