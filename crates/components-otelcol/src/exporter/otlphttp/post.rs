//! One post to the URL of a signal.

use std::time::Duration;

use bytes::Bytes;
use component::BoxFuture;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use net::{Poster, Request, Url};

use super::answer::judge;
use crate::auth::Handler;
use crate::exporter::sending::{Carrier, Headers, Verdict, Writing};

/// Posts requests of one signal to one URL.
pub(super) struct Post {
    pub client: Poster,
    pub url: Url,
    /// User-Agent and the user's headers.
    pub headers: HeaderMap,
    pub auth: Option<Handler>,
    pub timeout: Duration,
    pub writing: Writing,
    /// For log lines; carries no credentials.
    pub shown_url: String,
}

impl Carrier for Post {
    fn writing(&self) -> &Writing {
        &self.writing
    }

    fn auth(&self) -> Option<&Handler> {
        self.auth.as_ref()
    }

    fn shown(&self) -> &str {
        &self.shown_url
    }

    fn carry<'a>(&'a self, headers: &'a Headers, body: Bytes) -> BoxFuture<'a, Verdict> {
        Box::pin(self.post(headers, body))
    }
}

impl Post {
    async fn post(&self, headers: &Headers, body: Bytes) -> Verdict {
        let mut request = Request::post(self.url.clone(), body).timeout(self.timeout);
        request.headers.clone_from(&self.headers);
        if let Some(auth) = &self.auth {
            auth.apply_from_client(headers, &mut request.headers);
        }
        let media = if self.writing.json { "application/json" } else { "application/x-protobuf" };
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        if let Some(word) = self.writing.word {
            request.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(word));
        }
        match self.client.post(request).await {
            Ok(response) => judge(response).await,
            // A name, certificate or token that does not work says nothing about the data, and the next
            // configuration may mend it.
            Err(error) => {
                let message = error.to_string();
                Verdict::Later { reason: "unreachable", message, after: None, limited: false }
            }
        }
    }
}
