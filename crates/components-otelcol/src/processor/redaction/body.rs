//! What is done to the body of a log record: to a text by itself, to a map and a list at every depth.

use prost::Message as _;
use signal::otlp::proto::common::v1::AnyValue;
use signal::otlp::proto::common::v1::any_value::Value;
use wire::otlp::text_value;
use wire::otlp::view::{self, Any, Unclear};

use super::redact::{ByKey, Done, Rules};
use crate::value;

impl Rules {
    /// The new body, serialised; `None` where it stays.
    pub(super) fn body(&self, body: &[u8], done: &mut Done) -> Result<Option<Vec<u8>>, Unclear> {
        if let Any::Array(_) | Any::Map(_) = view::any(body)? {
            let Some(mut value) = value::decoded(Some(body)) else { return Ok(None) };
            let changed = self.inside(&mut value, "", done);
            return Ok(changed.then(|| value.encode_to_vec()));
        }
        let text = value::text_of(Some(body))?;
        if self.is_allowed(&text) {
            return Ok(None);
        }
        let new = match view::any(body)? {
            Any::Text(_) => self.cleaned_text(&text),
            _ => self.cleaned(&text),
        };
        if new.is_some() {
            done.masked.push("body".into());
        }
        Ok(new.map(|new| text_value(new.as_bytes())))
    }

    /// Whether anything changes in a value at a path.
    fn inside(&self, value: &mut AnyValue, path: &str, done: &mut Done) -> bool {
        let at = |step: &str| if path.is_empty() { step.to_string() } else { format!("{path}.{step}") };
        let mut changed = false;
        match &mut value.value {
            Some(Value::KvlistValue(map)) => map.values.retain_mut(|entry| {
                let path = at(&entry.key);
                match self.by_key(&entry.key) {
                    ByKey::Ignored => {
                        done.ignored += 1;
                        return true;
                    }
                    ByKey::Redacted => {
                        done.redacted.push(path);
                        changed = true;
                        return false;
                    }
                    ByKey::Kept => {}
                }
                let value = entry.value.get_or_insert_default();
                if self.is_blocked(&entry.key) {
                    let masked = self.masked(&value::text(Some(value)));
                    value.value = Some(Value::StringValue(masked));
                    done.masked.push(path);
                    changed = true;
                } else {
                    changed |= self.inside(value, &path, done);
                }
                true
            }),
            Some(Value::ArrayValue(list)) => {
                for (index, value) in list.values.iter_mut().enumerate() {
                    changed |= self.inside(value, &at(&format!("[{index}]")), done);
                }
            }
            _ => {
                let text = value::text(Some(value));
                let cleaned = || match &value.value {
                    Some(Value::StringValue(text)) => self.cleaned_text(text),
                    _ => self.cleaned(&text),
                };
                if self.is_allowed(&text) {
                    done.allowed.push(path.to_string());
                } else if let Some(new) = cleaned() {
                    value.value = Some(Value::StringValue(new));
                    done.masked.push(path.to_string());
                    changed = true;
                }
            }
        }
        changed
    }
}
