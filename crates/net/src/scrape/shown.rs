//! The last scrape of a target, as UI and API show it.

use std::time::Duration;

use component::eval::{Item, Value};
use parking_lot::Mutex;

/// The last scrape, for UI and API.
#[derive(Default)]
pub struct Status(Mutex<Last>);

/// How a scrape went.
#[derive(Clone, Debug, Default)]
pub struct Last {
    /// `None` before the first scrape.
    pub up: Option<bool>,
    /// Why it failed; empty where it did not.
    pub error: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// How long it took.
    pub took: Duration,
}

impl Status {
    /// Notes a scrape.
    pub fn set(&self, last: Last) {
        *self.0.lock() = last;
    }

    /// The last scrape.
    pub fn last(&self) -> Last {
        self.0.lock().clone()
    }

    /// The block `target` of a component's debug information.
    pub fn item<'a>(
        &self,
        job: &str,
        url: &url::Url,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Item {
        let attribute = |name: &'static str, value: Value| Item::Attribute { name: name.into(), value };
        let last = self.last();
        let health = match last.up {
            None => "unknown",
            Some(true) => "up",
            Some(false) => "down",
        };
        let labels = labels.map(|(n, v)| (n.to_owned(), Value::from(v))).collect();
        let mut body = vec![
            attribute("job", Value::from(job)),
            attribute("url", Value::from(url.as_str())),
            attribute("health", Value::from(health)),
            attribute("labels", Value::object(labels)),
        ];
        if !last.error.is_empty() {
            body.push(attribute("last_error", Value::from(last.error.as_str())));
        }
        if last.up.is_some() {
            let time = jiff::Timestamp::from_millisecond(last.at_ms).unwrap_or_default().to_string();
            body.push(attribute("last_scrape", Value::from(time.as_str())));
            body.push(attribute("last_scrape_duration", Value::from(format!("{:?}", last.took).as_str())));
        }
        Item::Block { name: "target".into(), label: None, body }
    }
}
