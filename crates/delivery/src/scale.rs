//! How many senders the load asks for: arrival rate times time per item, plus a tenth of the backlog a second.
//!
//! `desired = seconds per item × (items arriving per second + 0.1 × items queued)`, both smoothed; the same
//! proportional rule as Prometheus' shards (storage/remote/queue_manager.go, `calculateDesiredShards`). Growth at
//! most doubles each second, a fall of less than 30 % is ignored, and while the endpoint limits us the answer is
//! the minimum.

/// How often the number is revised.
const TICK_MS: i64 = 1_000;
const SMOOTHING: f64 = 0.3;
const BACKLOG_SHARE_PER_SECOND: f64 = 0.1;
const TOLERANCE: f64 = 0.7;

/// The measurements behind the number of senders.
#[derive(Debug, Default)]
pub(crate) struct Scale {
    last_tick_ms: i64,
    arrived_items: u64,
    sent_items: u64,
    sent_seconds: f64,
    arrival_rate: f64,
    seconds_per_item: Option<f64>,
    desired: f64,
}

/// The bounds of one decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub min: usize,
    pub max: usize,
    pub limited: bool,
}

impl Scale {
    pub(crate) fn arrived(&mut self, items: u32) {
        self.arrived_items += u64::from(items);
    }

    pub(crate) fn sent(&mut self, items: u64, seconds: f64) {
        self.sent_items += items;
        self.sent_seconds += seconds;
    }

    pub(crate) fn desired(&self) -> f64 {
        self.desired
    }

    /// When the number is due to be revised.
    pub(crate) fn next_tick(&self) -> i64 {
        self.last_tick_ms + TICK_MS
    }

    /// Revises the number of senders if a tick has passed.
    pub(crate) fn tick(&mut self, now_ms: i64, queued_items: u64, senders: usize, bounds: Bounds) -> usize {
        let elapsed_ms = now_ms - self.last_tick_ms;
        if elapsed_ms >= TICK_MS {
            self.measure(elapsed_ms as f64 / 1e3, queued_items);
            self.last_tick_ms = now_ms;
            let wanted = self.desired.ceil() as usize;
            if wanted > senders {
                return clamp(wanted.min(senders * 2), bounds);
            }
            if self.desired < senders as f64 * TOLERANCE {
                return clamp(wanted, bounds);
            }
        }
        clamp(senders, bounds)
    }

    fn measure(&mut self, elapsed: f64, queued_items: u64) {
        let rate = self.arrived_items as f64 / elapsed;
        self.arrival_rate += SMOOTHING * (rate - self.arrival_rate);
        if self.sent_items > 0 {
            let now = self.sent_seconds / self.sent_items as f64;
            let before = self.seconds_per_item.unwrap_or(now);
            self.seconds_per_item = Some(before + SMOOTHING * (now - before));
        }
        (self.arrived_items, self.sent_items, self.sent_seconds) = (0, 0, 0.0);
        let load = self.arrival_rate + BACKLOG_SHARE_PER_SECOND * queued_items as f64;
        self.desired = self.seconds_per_item.unwrap_or(0.0) * load;
    }
}

fn clamp(senders: usize, bounds: Bounds) -> usize {
    let max = if bounds.limited { bounds.min } else { bounds.max };
    senders.clamp(bounds.min.min(max), max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Bounds = Bounds { min: 1, max: 50, limited: false };

    /// Ten seconds of 1,000 items/s that take a second per 100 items: ten senders' worth of work.
    fn loaded(bounds: Bounds) -> (Scale, usize) {
        let (mut scale, mut senders) = (Scale::default(), 1);
        for second in 1..=20 {
            scale.arrived(1_000);
            scale.sent(100 * senders as u64, senders as f64);
            senders = scale.tick(second * 1_000, 0, senders, bounds);
        }
        (scale, senders)
    }

    #[test]
    fn senders_grow_to_arrival_rate_times_latency() {
        assert_eq!(loaded(FREE).1, 10);
    }

    #[test]
    fn a_backlog_asks_for_more_and_the_maximum_holds() {
        let (mut scale, senders) = loaded(FREE);
        assert_eq!(scale.tick(21_000, 10_000, senders, FREE), 17, "0.01 s × (700 smoothed + 1000)");
        assert_eq!(scale.tick(22_000, 10_000_000, 40, FREE), 50);
    }

    #[test]
    fn a_limited_endpoint_gets_the_minimum_at_once() {
        let (mut scale, senders) = loaded(FREE);
        assert_eq!(scale.tick(20_001, 10_000, senders, Bounds { limited: true, ..FREE }), 1);
    }

    #[test]
    fn a_small_fall_is_ignored_and_idleness_shrinks() {
        let (mut scale, mut senders) = loaded(FREE);
        scale.arrived(900);
        senders = scale.tick(21_000, 0, senders, FREE);
        assert_eq!(senders, 10);
        for second in 22..40 {
            senders = scale.tick(second * 1_000, 0, senders, FREE);
        }
        assert_eq!(senders, 1);
    }
}
