//! Where source maps come from: folders, and the servers that the code comes from.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use component::Error;
use net::args::HttpClientArgs;
use net::{Client, ClientOptions, Request, Url};
use tokio::sync::Semaphore;

use super::map::MOST_BYTES;
use crate::faro::receiver::args::{Location, SourceMaps};
use crate::faro::receiver::metrics::MapMetrics;

/// Downloads at one time.
const AT_ONCE: usize = 8;
/// How long a download may take where the argument is 0.
const LONGEST: Duration = Duration::from_secs(30);

/// A path with the release in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::faro::receiver) struct PathTemplate {
    /// Text before each place of the release, and after the last.
    parts: Vec<String>,
}

impl PathTemplate {
    /// # Errors
    /// If there is another template in it than `{{ .Release }}`.
    pub(in crate::faro::receiver) fn parse(path: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = path;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) =
                after.split_once("}}").ok_or_else(|| format!("{path:?} has a {{{{ without its }}}}"))?;
            if inside.trim_matches('-').trim() != ".Release" {
                return Err(format!("{{{{{inside}}}}} in {path:?} is not known"));
            }
            parts.push(before.to_owned());
            rest = after;
        }
        parts.push(rest.to_owned());
        Ok(Self { parts })
    }

    /// The path of a release, which cannot lead out of it.
    fn of(&self, release: &str) -> PathBuf {
        let clean: String = release.chars().filter(|c| !matches!(c, '/' | '\\' | '\0')).collect();
        self.parts.join(clean.trim_start_matches('.')).into()
    }
}

/// A source map, and where it is from.
pub(super) struct Fetched {
    pub(super) content: Bytes,
    pub(super) url: String,
}

/// The ways to a source map.
pub(super) struct Fetch {
    locations: Vec<(Location, PathTemplate)>,
    download: bool,
    origins: Vec<String>,
    timeout: Duration,
    client: Client,
    running: Semaphore,
    pub(super) metrics: MapMetrics,
}

impl Fetch {
    pub(super) fn new(args: &SourceMaps, metrics: MapMetrics) -> Result<Self, Error> {
        let located = |location: &Location| {
            let template = PathTemplate::parse(&location.path).map_err(|e| Error::argument("path", e))?;
            Ok((location.clone(), template))
        };
        // A redirect could lead to where nothing may be downloaded from.
        let follow_redirects = args.download_from_origins.iter().any(|origin| origin == "*");
        let client = HttpClientArgs { follow_redirects, ..HttpClientArgs::default() };
        let agent = concat!("Ferroalloy/", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            locations: args.location.iter().map(located).collect::<Result<_, Error>>()?,
            download: args.download,
            origins: args.download_from_origins.clone(),
            timeout: if args.download_timeout.is_zero() { LONGEST } else { args.download_timeout },
            client: Client::new(&client, ClientOptions::new(agent))?,
            running: Semaphore::new(AT_ONCE),
            metrics,
        })
    }

    /// The map of a file; `None` where there is none to be had.
    ///
    /// # Errors
    /// One sentence.
    pub(super) async fn get(&self, file: &str, release: &str) -> Result<Option<Fetched>, String> {
        for (location, template) in &self.locations {
            if let Some(found) = self.read(file, release, location, template).await? {
                return Ok(Some(found));
            }
        }
        if self.download && self.may_download(file) { self.download(file).await } else { Ok(None) }
    }

    async fn read(
        &self,
        file: &str,
        release: &str,
        location: &Location,
        template: &PathTemplate,
    ) -> Result<Option<Fetched>, String> {
        let Some(below) = file.strip_prefix(&location.minified_path_prefix) else { return Ok(None) };
        let below = below.split(['?', '#']).next().unwrap_or_default();
        let mut path = template.of(release);
        let parts = below.split('/').filter(|part| !matches!(*part, "" | "." | ".."));
        // A part is a name: what could be more than that is not looked for.
        for part in parts {
            if part.contains(['\\', '\0']) {
                return Ok(None);
            }
            path.push(part);
        }
        path.as_mut_os_string().push(".map");
        let count = |status: &str| {
            self.metrics.reads.with_label_values(&[self.metrics.origin(file).as_str(), status]).inc();
        };
        let failed = |error: std::io::Error| {
            count("error");
            format!("{} cannot be read: {error}", path.display())
        };
        match tokio::fs::metadata(&path).await {
            Ok(found) if found.is_file() && found.len() <= MOST_BYTES as u64 => {}
            Ok(_) => {
                count("error");
                return Err(format!("{} is no file, or too large", path.display()));
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                count("not_found");
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        }
        let content = tokio::fs::read(&path).await.map_err(failed)?;
        count("ok");
        Ok(Some(Fetched { content: content.into(), url: file.to_owned() }))
    }

    fn may_download(&self, url: &str) -> bool {
        let is_web = url.starts_with("http://") || url.starts_with("https://");
        is_web && self.origins.iter().any(|origin| origin == "*" || begins(url.as_bytes(), origin.as_bytes()))
    }

    async fn download(&self, file: &str) -> Result<Option<Fetched>, String> {
        let code = self.load(file).await?;
        let named = code.header.or_else(|| mapping_url(&code.body));
        let Some(named) = named else { return Ok(None) };
        if named.starts_with("data:") {
            let content = inline(&named)?;
            return Ok(Some(Fetched { content, url: format!("{file}.map") }));
        }
        let base = Url::parse(file).map_err(|e| format!("{file:?} is not a URL: {e}"))?;
        let url = base.join(&named).map_err(|e| format!("{named:?} is not a URL: {e}"))?;
        if !self.may_download(url.as_str()) {
            return Err(format!("nothing may be downloaded from {url}"));
        }
        let content = self.load(url.as_str()).await?.body;
        Ok(Some(Fetched { content, url: url.into() }))
    }

    async fn load(&self, url: &str) -> Result<Loaded, String> {
        let parsed = Url::parse(url).map_err(|e| format!("{url:?} is not a URL: {e}"))?;
        let origin = self.metrics.origin(url);
        let count = |status: &str| {
            self.metrics.downloads.with_label_values(&[origin.as_str(), status]).inc();
        };
        let waiting = tokio::time::timeout(self.timeout, self.running.acquire()).await;
        let Ok(Ok(_running)) = waiting else {
            return Err("too many downloads are under way".to_owned());
        };
        let request = Request::get(parsed).timeout(self.timeout);
        let response = self.client.send(request).await.map_err(|error| {
            count("?");
            error.to_string()
        })?;
        count(response.status().as_str());
        if response.status() != http::StatusCode::OK {
            return Err(format!("{url} answers with {}", response.status()));
        }
        let header = ["sourcemap", "x-sourcemap"]
            .into_iter()
            .find_map(|name| response.header(http::HeaderName::from_static(name)).map(str::to_owned));
        let body = response.bytes(MOST_BYTES).await.map_err(|e| e.to_string())?;
        Ok(Loaded { header, body })
    }
}

struct Loaded {
    /// What the server says of the map.
    header: Option<String>,
    body: Bytes,
}

/// Whether a text begins as a pattern says: `*` stands for anything, `?` for one character.
fn begins(text: &[u8], pattern: &[u8]) -> bool {
    // The place after the last `*`, to come back to.
    let (mut t, mut p, mut again) = (0, 0, None);
    loop {
        if p == pattern.len() {
            return true;
        }
        if pattern[p] == b'*' {
            again = Some((p + 1, t));
            p += 1;
        } else if t < text.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            (t, p) = (t + 1, p + 1);
        } else {
            let Some((after, from)) = again.filter(|(_, from)| *from < text.len()) else { return false };
            again = Some((after, from + 1));
            (t, p) = (from + 1, after);
        }
    }
}

/// What the last `//# sourceMappingURL=` of a file says.
fn mapping_url(code: &[u8]) -> Option<String> {
    const MARKS: [&[u8]; 2] = [b"//# sourceMappingURL=", b"//@ sourceMappingURL="];
    let last =
        MARKS.iter().filter_map(|mark| memchr::memmem::rfind(code, mark).map(|at| at + mark.len())).max()?;
    let rest = &code[last..];
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let url = std::str::from_utf8(&rest[..end]).ok()?;
    (!url.is_empty()).then(|| url.to_owned())
}

/// A map inside of the code.
fn inline(url: &str) -> Result<Bytes, String> {
    let (head, data) = url.split_once(',').ok_or("a data URL has no data")?;
    if !head.ends_with(";base64") {
        return Err("a data URL is not in Base64".to_owned());
    }
    let content = base64::engine::general_purpose::STANDARD.decode(data);
    content.map(Bytes::from).map_err(|e| format!("a data URL is broken: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_beginnings_with_wildcards() {
        for (pattern, url, expected) in [
            ("http://a.example", "http://a.example/x.js", true),
            ("http://a.example", "http://b.example/x.js", false),
            ("http://*.example/", "http://a.b.example/x.js", true),
            ("http://*.example/", "http://a.example.evil/x.js", false),
            ("http://?.example/", "http://a.example/x.js", true),
            ("http://?.example/", "http://ab.example/x.js", false),
            ("*.js", "http://a/x.js?y", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("", "http://a", true),
        ] {
            assert_eq!(begins(url.as_bytes(), pattern.as_bytes()), expected, "{pattern} {url}");
        }
    }

    #[test]
    fn a_path_has_the_release_and_nothing_else_in_it() {
        let path = |template: &str, release: &str| PathTemplate::parse(template).map(|t| t.of(release));
        for (template, release, expected) in [
            ("/srv/{{ .Release }}/build", "1.2", "/srv/1.2/build"),
            ("/srv/{{.Release}}-{{- .Release -}}", "x", "/srv/x-x"),
            ("/srv", "x", "/srv"),
            ("/srv/{{ .Release }}", "../../etc", "/srv/etc"),
            ("/srv/{{ .Release }}", "..\\a/b", "/srv/ab"),
        ] {
            assert_eq!(path(template, release), Ok(expected.into()), "{template}");
        }
        for bad in ["{{ .Other }}", "{{ .Release", "{{ printf }}"] {
            assert!(PathTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn code_names_its_map_at_its_end() {
        for (code, expected) in [
            ("x\n//# sourceMappingURL=a.js.map\n", Some("a.js.map")),
            ("//# sourceMappingURL=old\n//@ sourceMappingURL=new", Some("new")),
            ("//# sourceMappingURL=\n", None),
            ("nothing", None),
        ] {
            assert_eq!(mapping_url(code.as_bytes()).as_deref(), expected, "{code}");
        }
        assert_eq!(inline("data:application/json;charset=utf-8;base64,e30=").as_deref(), Ok(&b"{}"[..]));
        assert!(inline("data:application/json,{}").is_err() && inline("data:;base64,?").is_err());
    }
}
