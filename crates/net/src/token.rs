//! A token that is fetched when needed and kept until shortly before it expires.
//!
//! Invariant: at most one fetch at a time; whoever comes meanwhile waits for it and uses its result.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use component::BoxFuture;
use component::eval::Secret;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::error::{Error, Kind};

/// A token is not used any more this long before its end; as Go's oauth2 package.
const EARLY: Duration = Duration::from_secs(10);

/// A token, or credentials, with their end.
#[derive(Clone, Debug)]
pub(crate) struct Token<T = Secret> {
    /// What is sent; for bearer tokens the whole header value.
    pub(crate) value: T,
    /// When it ends; `None` never.
    pub(crate) expires: Option<Instant>,
}

impl<T> Token<T> {
    /// From an answer's `expires_in` seconds; 0 or none never ends.
    pub(crate) fn lasting(value: T, seconds: Option<u64>) -> Self {
        let expires = seconds.filter(|s| *s > 0).map(|s| Instant::now() + Duration::from_secs(s));
        Self { value, expires }
    }

    fn usable(&self, early: Duration) -> bool {
        self.expires.is_none_or(|end| Instant::now() + early < end)
    }
}

/// Where tokens come from.
pub(crate) trait TokenSource<T = Secret>: Send + Sync {
    /// Fetches a new one.
    fn fetch(&self) -> BoxFuture<'_, Result<Token<T>, Error>>;
}

/// A source with its last token.
pub(crate) struct TokenCache<T = Secret> {
    source: Box<dyn TokenSource<T>>,
    current: ArcSwapOption<Token<T>>,
    turn: Semaphore,
    early: Duration,
}

impl<T: Clone> TokenCache<T> {
    pub(crate) fn new(source: impl TokenSource<T> + 'static) -> Self {
        Self::early(source, EARLY)
    }

    /// Tokens are not used any more so long before their end.
    pub(crate) fn early(source: impl TokenSource<T> + 'static, early: Duration) -> Self {
        Self { source: Box::new(source), current: ArcSwapOption::empty(), turn: Semaphore::new(1), early }
    }

    /// A token that is good for now.
    pub(crate) async fn get(&self) -> Result<T, Error> {
        if let Some(token) = self.usable() {
            return Ok(token.value.clone());
        }
        let turn = self.turn.acquire().await;
        let _turn = turn.map_err(|_| Error::new(Kind::Token, "the token source has been closed"))?;
        if let Some(token) = self.usable() {
            return Ok(token.value.clone());
        }
        let token = Arc::new(self.source.fetch().await?);
        self.current.store(Some(token.clone()));
        Ok(token.value.clone())
    }

    fn usable(&self) -> Option<Arc<Token<T>>> {
        self.current.load_full().filter(|t| t.usable(self.early))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counting(Arc<AtomicUsize>);

    impl TokenSource for Counting {
        fn fetch(&self) -> BoxFuture<'_, Result<Token, Error>> {
            let n = self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(Token::lasting(Secret::from(format!("t{n}")), Some(60)))
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_share_one_fetch_and_the_end_is_seen_in_time() {
        let fetched = Arc::new(AtomicUsize::new(0));
        let cache = TokenCache::<Secret>::new(Counting(fetched.clone()));
        let (a, b, c) = tokio::join!(cache.get(), cache.get(), cache.get());
        assert!([a, b, c].iter().all(|t| t.as_ref().unwrap().reveal() == "t0"));
        tokio::time::advance(Duration::from_secs(49)).await;
        assert_eq!(cache.get().await.unwrap().reveal(), "t0");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(cache.get().await.unwrap().reveal(), "t1");
        assert_eq!(fetched.load(Ordering::SeqCst), 2);
    }
}
