//! What every writer asks of HTTP beyond a client: a POST that stays one, and answers that tell what to do next.

use std::time::Duration;

use http::StatusCode;
use http::header::{LOCATION, RETRY_AFTER};

use super::{Client, ClientOptions, Request, Response};
use crate::args::HttpClientArgs;
use crate::error::Error;

/// How much of an answer is read, and for how long, so that its connection can be used again.
const REST_BYTES: usize = 64 << 10;
const REST_WAIT: Duration = Duration::from_secs(1);

/// Posts, and follows only redirects that keep method and body: after a 301, 302 or 303 a client goes on with a
/// GET, and the success of that would be taken for a delivery.
#[derive(Clone, Debug)]
pub struct Poster {
    /// Follows no redirect.
    client: Client,
    /// Follows redirects; `None` where they are not to be followed.
    following: Option<Client>,
}

impl Poster {
    /// As the arguments say.
    pub fn new(args: &HttpClientArgs, options: ClientOptions) -> Result<Self, Error> {
        let client = |follow_redirects| {
            Client::new(&HttpClientArgs { follow_redirects, ..args.clone() }, options.clone())
        };
        Ok(Self {
            client: client(false)?,
            following: args.follow_redirects.then(|| client(true)).transpose()?,
        })
    }

    /// Sends a request whose method and body must arrive as they are.
    pub async fn post(&self, request: Request) -> Result<Response, Error> {
        let Some(following) = &self.following else { return self.client.send(request).await };
        let again = request.clone();
        let response = self.client.send(request).await?;
        match response.status() {
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => following.send(again).await,
            _ => Ok(response),
        }
    }
}

impl Response {
    /// What `Retry-After` says: RFC 9110, section 10.2.3, seconds or a date.
    pub fn retry_after(&self) -> Option<Duration> {
        self.header(RETRY_AFTER).and_then(|value| retry_after(value, jiff::Timestamp::now()))
    }

    /// Where a redirect leads.
    pub fn location(&self) -> Option<&str> {
        self.header(LOCATION)
    }

    /// Reads what is left, so that the connection can be used again; whether that works out does not matter.
    pub async fn finish(mut self) {
        let read = async {
            let mut left = REST_BYTES;
            while let Ok(Some(chunk)) = self.chunk().await {
                left = left.saturating_sub(chunk.len());
                if left == 0 {
                    break;
                }
            }
        };
        // After the wait the connection is given up instead.
        let _ = tokio::time::timeout(REST_WAIT, read).await;
    }

    /// The beginning of the body, as far as it comes; for messages.
    pub async fn excerpt(mut self, limit: usize) -> String {
        let mut text = Vec::new();
        while text.len() < limit {
            match self.chunk().await {
                Ok(Some(chunk)) => text.extend_from_slice(&chunk[..chunk.len().min(limit - text.len())]),
                Ok(None) | Err(_) => break,
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// One line about an answer: its status, and the first line of its body.
pub fn describe(status: StatusCode, body: &str) -> String {
    const LONGEST: usize = 512;
    let line = body.lines().next().unwrap_or_default().trim();
    match &line[..line.floor_char_boundary(LONGEST)] {
        "" => format!("server answered {status}"),
        line => format!("server answered {status}: {line}"),
    }
}

fn retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Duration::try_from(date.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: jiff::Timestamp = "2015-10-21T07:27:00Z".parse().expect("a time");
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:26:00 GMT", now), None);
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn an_answer_is_told_in_one_line() {
        assert_eq!(describe(StatusCode::BAD_REQUEST, " bad\nmore"), "server answered 400 Bad Request: bad");
        assert_eq!(describe(StatusCode::BAD_GATEWAY, "\n"), "server answered 502 Bad Gateway");
        assert_eq!(describe(StatusCode::OK, &"é".repeat(500)).len(), "server answered 200 OK: ".len() + 512);
    }
}
