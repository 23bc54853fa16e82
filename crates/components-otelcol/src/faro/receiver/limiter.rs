//! How many requests are taken: buckets of tokens, one for all or one for each app and environment.
//!
//! Invariant: apps are told apart only up to a number; what comes after shares a bucket, so that names that clients
//! make up cost neither memory nor label values.

use std::time::Duration;

use component::metrics::{IntCounterVec, IntGauge, NodeMetrics};
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::args::{RateLimiting, Strategy};

/// Apps with buckets of their own.
const MOST_APPS: usize = 1000;
/// After how long without a request an app's bucket is forgotten. As Alloy.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Bytes of a name that are told apart.
const NAME: usize = 128;

/// Own metrics of the limit.
#[derive(Clone)]
pub(super) struct LimiterMetrics {
    active: IntGauge,
    requests: IntCounterVec,
}

impl LimiterMetrics {
    pub(super) fn new(metrics: &NodeMetrics) -> Self {
        Self {
            active: metrics
                .gauge("faro_receiver_rate_limiter_active_app", "Apps that have a limit of their own now."),
            requests: metrics.counter_vec(
                "faro_receiver_rate_limiter_requests_total",
                "Requests that a limit has decided on, by app and environment.",
                &["app", "env", "allowed"],
            ),
        }
    }
}

/// A limit at work.
pub(super) struct Limiter {
    args: RateLimiting,
    global: Mutex<Bucket>,
    apps: Mutex<HashMap<(String, String), Bucket, foldhash::fast::RandomState>>,
    metrics: LimiterMetrics,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(args: &RateLimiting) -> Self {
        Self { tokens: args.burst_size.floor(), at: Instant::now() }
    }

    fn take(&mut self, args: &RateLimiting) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.at).as_secs_f64() * args.rate;
        (self.tokens, self.at) = ((self.tokens + gained).min(args.burst_size.floor()), now);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

impl Limiter {
    pub(super) fn new(args: &RateLimiting, metrics: LimiterMetrics) -> Self {
        let global = Mutex::new(Bucket::full(args));
        Self { args: args.clone(), global, apps: Mutex::default(), metrics }
    }

    /// Whether a request may come in, before anything of it is read.
    pub(super) fn admits(&self) -> bool {
        !self.args.enabled || self.args.strategy != Strategy::Global || self.global.lock().take(&self.args)
    }

    /// Whether a request of an app may come in.
    pub(super) fn admits_app(&self, app: &str, environment: &str) -> bool {
        if !self.args.enabled || self.args.strategy != Strategy::PerApp {
            return true;
        }
        let short = |name: &str| name[..name.floor_char_boundary(NAME)].to_owned();
        let key = (short(app), short(environment));
        let mut apps = self.apps.lock();
        let is_new = !apps.contains_key(&key);
        if is_new && apps.len() >= MOST_APPS {
            forget(&mut apps);
        }
        let (allowed, key) = if is_new && apps.len() >= MOST_APPS {
            (self.global.lock().take(&self.args), ("other".to_owned(), String::new()))
        } else {
            let bucket = apps.entry(key.clone()).or_insert_with(|| Bucket::full(&self.args));
            (bucket.take(&self.args), key)
        };
        self.metrics.active.set(apps.len() as i64);
        let word = if allowed { "true" } else { "false" };
        self.metrics.requests.with_label_values(&[&*key.0, &key.1, word]).inc();
        allowed
    }

    /// Forgets apps that have sent nothing for a while, and what was counted of them.
    pub(super) fn clean(&self) {
        let mut apps = self.apps.lock();
        for (app, environment) in forget(&mut apps) {
            for word in ["true", "false"] {
                // There is nothing to remove where nothing was counted.
                let _ = self.metrics.requests.remove_label_values(&[&*app, &environment, word]);
            }
        }
        self.metrics.active.set(apps.len() as i64);
    }
}

fn forget(
    apps: &mut HashMap<(String, String), Bucket, foldhash::fast::RandomState>,
) -> Vec<(String, String)> {
    apps.extract_if(|_, bucket| bucket.at.elapsed() >= FORGOTTEN).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use component::metrics::Metrics;

    use super::*;

    fn limiter(strategy: Strategy, rate: f64, burst_size: f64) -> (Limiter, Metrics, NodeMetrics) {
        let metrics = Metrics::default();
        let node = metrics.node("x");
        let args = RateLimiting { enabled: true, strategy, rate, burst_size };
        (Limiter::new(&args, LimiterMetrics::new(&node)), metrics, node)
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_holds_a_burst_and_is_filled_again() {
        let (limiter, ..) = limiter(Strategy::Global, 2.0, 3.0);
        let allowed = |count: usize| (0..count).filter(|_| limiter.admits()).count();
        assert_eq!(allowed(10), 3);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(allowed(10), 2);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(allowed(10), 3);
        assert!(limiter.admits_app("a", "b"), "the other strategy");
    }

    #[tokio::test(start_paused = true)]
    async fn apps_do_not_take_each_others_requests_and_are_forgotten() {
        let (limiter, metrics, _node) = limiter(Strategy::PerApp, 1.0, 1.0);
        assert!(limiter.admits(), "the other strategy");
        assert_eq!(
            [("a", "x"), ("a", "x"), ("a", "y"), ("b", "x")].map(|(a, e)| limiter.admits_app(a, e)),
            [true, false, true, true]
        );
        let text = metrics.text();
        assert!(
            text.contains("allowed=\"false\",app=\"a\"")
                && text.contains("active_app{component_id=\"x\",component_path=\"/\"} 3"),
            "{text}"
        );
        tokio::time::advance(FORGOTTEN).await;
        assert!(limiter.admits_app("b", "x"));
        limiter.clean();
        let text = metrics.text();
        assert!(!text.contains("app=\"a\"") && text.contains("app=\"b\""), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_are_made_up_share_a_bucket_in_the_end() {
        let (limiter, metrics, _node) = limiter(Strategy::PerApp, 1.0, 1.0);
        let allowed = (0..MOST_APPS * 2).filter(|n| limiter.admits_app(&n.to_string(), "")).count();
        assert_eq!(allowed, MOST_APPS + 1);
        assert!(metrics.text().contains("app=\"other\""));
        assert!(limiter.apps.lock().len() <= MOST_APPS);
    }
}
