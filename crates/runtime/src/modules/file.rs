//! `import.file`: a module in a file, or in the `*.alloy` files of a directory.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use component::{ArgEnum, Arguments, BoxFuture};
use syntax::{Diagnostic, Source};

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

/// The texts of a file, or of a directory's `*.alloy` files sorted by name; or every reason why there are none.
pub(crate) fn read_sources(path: &Path) -> Result<Vec<Source>, Vec<Diagnostic>> {
    let files = match path.is_dir() {
        true => files_of(path).map_err(|e| vec![unreadable(path, &e)])?,
        false => vec![path.to_path_buf()],
    };
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    for file in &files {
        match read_source(file) {
            Ok(source) => sources.push(source),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

/// What [`read_sources`] gives, for a module.
pub(crate) fn read_modules(path: &Path) -> Result<Vec<ModuleText>, String> {
    let sources = read_sources(path).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(in_one_line).collect();
        lines.join("; ")
    })?;
    let text = |s: Source| ModuleText { name: s.name().into(), text: s.text().into(), is_secret: false };
    Ok(sources.into_iter().map(text).collect())
}

/// The `*.alloy` files of a directory. A link that leads nowhere is among them: what it was to bring would be missing
/// without a word. A hidden one is not, for that is how an editor marks the file that it works on.
fn files_of(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let file = entry.path();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let counts = file.metadata().map_or(!is_hidden, |m| m.is_file());
        if counts && file.extension().is_some_and(|e| e == "alloy") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_source(path: &Path) -> Result<Source, Diagnostic> {
    use std::io::Read as _;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e| unreadable(path, &e))?;
    let name = path.display().to_string();
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("{name} is larger than {} MiB", MAX_BYTES >> 20);
        return Err(Diagnostic::plain("unreadable", message).with_help("is it the file that you mean?"));
    }
    syntax::decode(&bytes, name)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    let help = match error.kind() {
        ErrorKind::PermissionDenied => "give the user that the program runs as the right to read it",
        _ if path.is_symlink() => "the link leads nowhere: remove it, or mend what it leads to",
        _ => "name a configuration file, or a directory that holds *.alloy files",
    };
    Diagnostic::plain("unreadable", format!("{}: {error}", path.display())).with_help(help)
}

fn in_one_line(problem: &Diagnostic) -> String {
    let place = problem.location.as_ref().map(|l| (l.source.name(), l.line_column()));
    let place = place.map_or(String::new(), |(name, at)| format!("{name}:{}:{}: ", at.line, at.column));
    format!("{place}{}", problem.message)
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

    #[test]
    fn what_cannot_be_read_is_told_with_its_place_and_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.alloy"), "\u{feff}// good").expect("written");
        std::fs::write(path("b.alloy"), b"// two\n//\xff").expect("written");
        std::fs::write(path("c.txt"), b"\xff").expect("written");
        std::fs::create_dir(path("d.alloy")).expect("made");
        std::os::unix::fs::symlink("nowhere", path("e.alloy")).expect("linked");
        std::os::unix::fs::symlink("f.alloy", path("f.alloy")).expect("linked");
        std::os::unix::fs::symlink("me@host.1", path(".#a.alloy")).expect("linked");
        let problems = read_sources(folder.path()).expect_err("three of them cannot be read");
        let told: Vec<_> =
            problems.iter().map(|d| (in_one_line(d), d.help.clone().unwrap_or_default())).collect();
        let [bytes, dangling, circle] = &told[..] else { panic!("{told:?}") };
        assert!(bytes.0.ends_with("b.alloy:2:3: these bytes are not valid UTF-8"), "{bytes:?}");
        assert!(
            dangling.0.contains("e.alloy: No such file") && dangling.1.contains("leads nowhere"),
            "{dangling:?}"
        );
        assert!(circle.0.contains("f.alloy: ") && circle.1.contains("leads nowhere"), "{circle:?}");
        assert!(read_modules(folder.path()).expect_err("the same").contains("b.alloy:2:3: "));
        for broken in ["b.alloy", "e.alloy", "f.alloy"] {
            std::fs::remove_file(path(broken)).expect("removed");
        }
        let [only] = &read_sources(folder.path()).expect("good ones are left")[..] else { panic!("one") };
        assert_eq!(only.text(), "// good");
        let missing = read_sources(&path("none")).expect_err("not there");
        assert!(
            missing[0].help.as_ref().is_some_and(|h| h.contains("name a configuration file")),
            "{missing:?}"
        );
    }

    #[test]
    fn a_file_without_an_end_is_refused_at_the_limit() {
        let told = read_modules(Path::new("/dev/zero")).expect_err("it has no end");
        assert!(told.contains("is larger than 16 MiB"), "{told}");
    }
}
