//! Somebody who answers instead of the network: tests of pipelines give the answers of servers as text.
//!
//! Invariant: while a stand-in is in force on a thread, no request of an HTTP client leaves that thread; no
//! credential is read or fetched for it either.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use url::Url;

use crate::error::{Error, Kind};

/// Answers requests.
pub trait StandIn {
    /// The answer, or why there is none.
    fn answer(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<http::Response<Bytes>, String>;
}

thread_local! {
    static PRESENT: RefCell<Option<Rc<dyn StandIn>>> = const { RefCell::new(None) };
}

/// Puts back what was there before.
#[must_use = "the stand-in is in force until this is dropped"]
pub struct StandInGuard(Option<Rc<dyn StandIn>>);

impl Drop for StandInGuard {
    fn drop(&mut self) {
        PRESENT.with_borrow_mut(|present| *present = self.0.take());
    }
}

/// Has all clients that are used on this thread ask `who`.
pub fn stand_in(who: Rc<dyn StandIn>) -> StandInGuard {
    StandInGuard(PRESENT.with_borrow_mut(|present| present.replace(who)))
}

/// The answer of the stand-in, where there is one; a refusal is a connection that could not be made.
pub(super) fn answer(
    method: &Method,
    url: &Url,
    headers: &HeaderMap,
    body: &Bytes,
) -> Option<Result<http::Response<Bytes>, Error>> {
    let who = PRESENT.with_borrow(Clone::clone)?;
    Some(who.answer(method, url, headers, body).map_err(|message| Error::new(Kind::Connect, message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::HttpClientArgs;
    use crate::{Client, ClientOptions, Request};

    struct Echo;

    impl StandIn for Echo {
        fn answer(
            &self,
            method: &Method,
            url: &Url,
            _headers: &HeaderMap,
            body: &Bytes,
        ) -> Result<http::Response<Bytes>, String> {
            match url.path() {
                "/down" => Err("nobody there".into()),
                "/moved" => {
                    let moved = http::Response::builder().status(307).header("location", "/here");
                    Ok(moved.body(Bytes::new()).expect("a response"))
                }
                path => Ok(http::Response::new(format!("{method} {path} {}", body.len()).into())),
            }
        }
    }

    #[tokio::test]
    async fn clients_of_the_thread_ask_the_stand_in_and_nobody_else() {
        let _guard = stand_in(Rc::new(Echo));
        let args = HttpClientArgs { bearer_token_file: "/not/there".into(), ..HttpClientArgs::default() };
        let client = Client::new(&args, ClientOptions::new("test")).expect("valid arguments");
        let url = |path: &str| Url::parse(&format!("http://nowhere.invalid{path}")).expect("a URL");
        let answer = client.send(Request::post(url("/moved"), "abc")).await.expect("an answer");
        assert_eq!(answer.text(100).await.expect("a body"), "POST /here 3");
        let error = client.send(Request::get(url("/down"))).await.expect_err("refused");
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Connect, "nobody there"));
    }
}
