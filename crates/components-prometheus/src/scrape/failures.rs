//! `scrape_failure_log_file`: failed scrapes as lines of JSON, appended to a file.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use wire::json;

/// The file, opened when there is something to write. It is opened anew when writing has failed.
pub(super) struct FailureLog {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl FailureLog {
    pub(super) fn new(path: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Self { path: path.into(), file: Mutex::new(None) })
    }

    /// Appends a line. A file that cannot be written to is logged; scrapes go on.
    pub(super) async fn write(self: &Arc<Self>, job: &str, target: &str, error: &str, at_ms: i64) {
        let line = line(job, target, error, at_ms);
        let log = self.clone();
        let written = tokio::task::spawn_blocking(move || log.append(&line)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, path = %self.path.display(), "scrape_failure_log_file cannot be written")
            }
            Err(error) => tracing::warn!(%error, "scrape_failure_log_file was not written"),
        }
    }

    fn append(&self, line: &str) -> std::io::Result<()> {
        let mut file = self.file.lock();
        if file.is_none() {
            *file = Some(OpenOptions::new().create(true).append(true).open(&self.path)?);
        }
        let result = file.as_mut().expect("opened above").write_all(line.as_bytes());
        if result.is_err() {
            *file = None;
        }
        result
    }
}

/// As Prometheus' scrape failure log.
fn line(job: &str, target: &str, error: &str, at_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    let mut out = format!("{{\"time\":\"{time}\",\"level\":\"ERROR\",\"msg\":");
    for (key, value) in [("", error), (",\"job_name\":", job), (",\"target\":", target)] {
        out.push_str(key);
        json::text(value, false, &mut out);
    }
    out.push_str("}\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_of_json_whatever_the_error_says() {
        let line = line("job", "http://a/metrics", "line 1: \"x\\\n\u{1}\"", 1500);
        assert_eq!(
            line,
            "{\"time\":\"1970-01-01T00:00:01.5Z\",\"level\":\"ERROR\",\
             \"msg\":\"line 1: \\\"x\\\\\\n\\u0001\\\"\",\"job_name\":\"job\",\"target\":\"http://a/metrics\"}\n"
        );
    }
}
