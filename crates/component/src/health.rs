//! The health of a node: the least healthy of its last evaluation, its run loop, and what the component
//! itself reports.

use std::time::SystemTime;

use parking_lot::Mutex;

/// Ordered from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthState {
    /// Works.
    Healthy,
    /// Created, not heard of yet.
    Unknown,
    /// Does not do what it should.
    Unhealthy,
    /// Its run loop has ended.
    Exited,
}

impl HealthState {
    /// As in the API and the metric's `health_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Unhealthy => "unhealthy",
            Self::Exited => "exited",
        }
    }
}

/// A state with its reason and when it was entered.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// The state.
    pub state: HealthState,
    /// Why, in one sentence.
    pub message: String,
    /// Since when.
    pub updated: SystemTime,
}

impl Health {
    /// A state as of now.
    pub fn now(state: HealthState, message: impl Into<String>) -> Self {
        Self { state, message: message.into(), updated: SystemTime::now() }
    }

    /// Works.
    pub fn healthy(message: impl Into<String>) -> Self {
        Self::now(HealthState::Healthy, message)
    }

    /// Does not do what it should.
    pub fn unhealthy(message: impl Into<String>) -> Self {
        Self::now(HealthState::Unhealthy, message)
    }

    /// The worse of two; of equals the more recent.
    pub fn worst(self, other: Health) -> Health {
        match self.state.cmp(&other.state) {
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Equal if self.updated >= other.updated => self,
            std::cmp::Ordering::Equal => other,
        }
    }
}

/// The three sources of a node's health.
#[derive(Debug)]
pub(crate) struct HealthCell(Mutex<[Health; 3]>);

/// Which source speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Evaluation = 0,
    Run = 1,
    Reported = 2,
}

impl HealthCell {
    pub(crate) fn new() -> Self {
        let unknown = Health::now(HealthState::Unknown, "component created");
        let reported = Health::healthy("");
        Self(Mutex::new([unknown.clone(), unknown, reported]))
    }

    pub(crate) fn set(&self, part: Part, health: Health) {
        let slot = &mut self.0.lock()[part as usize];
        if slot.state != health.state || slot.message != health.message {
            *slot = health;
        }
    }

    pub(crate) fn get(&self) -> Health {
        let [evaluation, run, reported] = self.0.lock().clone();
        evaluation.worst(run).worst(reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_part_is_the_nodes_health() {
        let cell = HealthCell::new();
        assert_eq!(cell.get().state, HealthState::Unknown);
        cell.set(Part::Evaluation, Health::healthy("evaluated"));
        cell.set(Part::Run, Health::healthy("running"));
        assert_eq!(cell.get().state, HealthState::Healthy);
        cell.set(Part::Reported, Health::unhealthy("no back end"));
        assert_eq!(cell.get().message, "no back end");
        cell.set(Part::Run, Health::now(HealthState::Exited, "panicked"));
        assert_eq!(cell.get().state, HealthState::Exited);
    }
}
