//! The body of a request, with its limits.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::admission::{Refusal, Room};

/// A request's body: ends with an error beyond the server's limit or deadline.
pub struct RequestBody {
    incoming: Incoming,
    left: usize,
    limit: usize,
    deadline: Pin<Box<Sleep>>,
}

/// Why a body could not be read.
#[derive(Debug)]
pub enum BodyError {
    /// Larger than the limit, in bytes.
    TooLarge(usize),
    /// It did not arrive in time.
    TooSlow,
    /// The client went away or broke the protocol.
    Broken(hyper::Error),
}

impl BodyError {
    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "the body is larger than the limit of {limit} bytes"),
            Self::TooSlow => f.write_str("the body did not arrive in time"),
            Self::Broken(error) => write!(f, "the body broke off: {error}"),
        }
    }
}

impl std::error::Error for BodyError {}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, limit: usize, deadline: Instant) -> Self {
        Self { incoming, left: limit, limit, deadline: Box::pin(tokio::time::sleep_until(deadline)) }
    }

    /// All of it, within the room that a request gets; more is waited for as the body arrives.
    ///
    /// # Errors
    /// If the body cannot be had, or there is no room for it in time.
    pub async fn within(mut self, room: &mut Room) -> Result<Bytes, Refusal> {
        if self.incoming.size_hint().lower() > self.limit as u64 {
            return Err(Refusal::from(&BodyError::TooLarge(self.limit)));
        }
        let mut parts = Parts::expecting(&self.incoming);
        while let Some(data) = self.next().await.map_err(|e| Refusal::from(&e))? {
            room.at_least(parts.len() + data.len()).await?;
            parts.push(data);
        }
        Ok(parts.finish())
    }

    /// All of it. What the client says about its length is believed only up to the limit and a megabyte.
    pub async fn whole(mut self) -> Result<Bytes, BodyError> {
        if self.incoming.size_hint().lower() > self.limit as u64 {
            return Err(BodyError::TooLarge(self.limit));
        }
        let mut parts = Parts::expecting(&self.incoming);
        while let Some(data) = self.next().await? {
            parts.push(data);
        }
        Ok(parts.finish())
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await;
            let Some(frame) = frame.transpose()? else { return Ok(None) };
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// A body that is put together. One in one part, which most are, is not copied.
#[derive(Default)]
pub(crate) struct Parts {
    expected: usize,
    first: Bytes,
    all: BytesMut,
}

impl Parts {
    fn expecting(incoming: &Incoming) -> Self {
        let expected = incoming.size_hint().lower().min(1 << 20) as usize;
        Self { expected, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// What has come so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.all.is_empty() { &self.first } else { &self.all }
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.reserve(self.expected.max(self.first.len() + data.len()));
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&data);
    }

    pub(crate) fn finish(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            ready!(this.deadline.as_mut().poll(cx));
            return Poll::Ready(Some(Err(BodyError::TooSlow)));
        };
        Poll::Ready(match frame {
            None => None,
            Some(Err(error)) => Some(Err(BodyError::Broken(error))),
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, Bytes::len);
                match this.left.checked_sub(size) {
                    Some(left) => {
                        this.left = left;
                        Some(Ok(frame))
                    }
                    None => {
                        this.left = 0;
                        Some(Err(BodyError::TooLarge(this.limit)))
                    }
                }
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
