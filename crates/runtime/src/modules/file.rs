//! `import.file`: a module in a file, or in the `*.alloy` files of a directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use component::{ArgEnum, Arguments, BoxFuture};

use super::import::{FetchCx, ImportSource, ModuleText};

/// How changes of the file are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub(crate) enum Detector {
    /// By the operating system's notices, and by looking every `poll_frequency` too.
    #[default]
    #[arg(name = "fsnotify")]
    Notify,
    /// By looking every `poll_frequency`.
    Poll,
}

/// `import.file "x" { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub(crate) struct FileArgs {
    /// Path of the file or directory.
    pub(crate) filename: String,
    /// How changes are noticed.
    #[arg(default, code_type = "string(Detector)")]
    pub(crate) detector: Detector,
    /// How often to look for changes.
    #[arg(default = "1m")]
    pub(crate) poll_frequency: Duration,
}

impl ImportSource for FileArgs {
    const NAME: &'static str = "import.file";
    const TRUSTED: bool = true;

    fn read_now(&self) -> Option<Result<Vec<ModuleText>, String>> {
        Some(read_modules(Path::new(&self.filename)))
    }

    fn fetch<'a>(&'a self, _cx: &'a FetchCx) -> BoxFuture<'a, Result<Vec<ModuleText>, String>> {
        let path = PathBuf::from(&self.filename);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read_modules(&path)).await;
            read.unwrap_or_else(|e| Err(format!("reading the file ended without a result: {e}")))
        })
    }

    fn poll(&self) -> Option<Duration> {
        // A frequency of zero would be a busy loop.
        Some(self.poll_frequency.max(Duration::from_secs(1)))
    }

    fn watch(&self) -> Option<PathBuf> {
        (self.detector == Detector::Notify).then(|| PathBuf::from(&self.filename))
    }

    fn module_path(&self, _inherited: &str, _cx: &FetchCx) -> String {
        directory(Path::new(&self.filename))
    }
}

/// The directory that a file is in; a directory itself. Never empty: what is joined to it with a slash must not
/// become a path from the root.
pub(crate) fn directory(path: &Path) -> String {
    let directory = if path.is_dir() { Some(path) } else { path.parent() };
    match directory.map(|p| p.display().to_string()) {
        Some(named) if !named.is_empty() => named,
        _ => ".".to_string(),
    }
}

/// No configuration is larger; more is a mistake in the path.
const MAX_BYTES: u64 = 16 << 20;

/// The texts of a file, or of a directory's `*.alloy` files sorted by name.
pub(crate) fn read_modules(path: &Path) -> Result<Vec<ModuleText>, String> {
    if !path.is_dir() {
        return Ok(vec![read_text(path)?]);
    }
    let entries = std::fs::read_dir(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|e| format!("{}: {e}", path.display()))?.path();
        if file.extension().is_some_and(|e| e == "alloy") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    files.iter().map(|f| read_text(f)).collect()
}

fn read_text(path: &Path) -> Result<ModuleText, String> {
    use std::io::Read as _;
    let name = path.display().to_string();
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e| format!("{name}: {e}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{name} is larger than {} MiB", MAX_BYTES >> 20));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8 text"))?;
    Ok(ModuleText { name, text, is_secret: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_file_can_be_joined_with_a_slash() {
        let cases = [
            ("config.alloy", "."),
            ("a/b.alloy", "a"),
            ("./b.alloy", "."),
            ("/b.alloy", "/"),
            ("/", "/"),
            (".", "."),
        ];
        for (path, directory_of) in cases {
            assert_eq!(directory(Path::new(path)), directory_of, "{path}");
        }
    }
}
