//! What a node on its way out leaves to the next one of its ID.
//!
//! A writer that is taken out of the configuration goes on sending what is queued. If it comes back meanwhile, the
//! new node finds here whom to ask for the queues. Invariant: what is left is gone with the one who left it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// All that nodes of the process have left.
#[derive(Clone, Default)]
pub struct Legacies(Arc<Mutex<Left>>);

#[derive(Default)]
struct Left {
    next: u64,
    /// By global ID, oldest first.
    by_node: HashMap<String, Vec<Numbered>>,
}

type Numbered = (u64, Box<dyn Any + Send>);

/// Something that is left; dropping it takes it back.
pub struct Legacy {
    legacies: Legacies,
    global_id: String,
    number: u64,
}

impl Legacies {
    pub(crate) fn leave<T: Clone + Send + 'static>(&self, global_id: &str, what: T) -> Legacy {
        let mut left = self.0.lock();
        let number = left.next;
        left.next += 1;
        left.by_node.entry(global_id.to_string()).or_default().push((number, Box::new(what)));
        Legacy { legacies: self.clone(), global_id: global_id.to_string(), number }
    }

    pub(crate) fn of<T: Clone + Send + 'static>(&self, global_id: &str) -> Vec<T> {
        let left = self.0.lock();
        let all = left.by_node.get(global_id).into_iter().flatten();
        all.filter_map(|(_, what)| what.downcast_ref::<T>().cloned()).collect()
    }
}

impl Drop for Legacy {
    fn drop(&mut self) {
        let mut left = self.legacies.0.lock();
        if let Some(all) = left.by_node.get_mut(&self.global_id) {
            all.retain(|(number, _)| *number != self.number);
            if all.is_empty() {
                left.by_node.remove(&self.global_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_found_by_its_node_and_type_until_it_is_taken_back() {
        let legacies = Legacies::default();
        let first = legacies.leave("a", 1_u32);
        let second = legacies.leave("a", 2_u32);
        let _other = legacies.leave("a", "text");
        assert_eq!(legacies.of::<u32>("a"), [1, 2]);
        assert!(legacies.of::<u32>("b").is_empty() && legacies.of::<u8>("a").is_empty());
        drop(first);
        assert_eq!(legacies.of::<u32>("a"), [2]);
        drop((second, _other));
        assert!(legacies.0.lock().by_node.is_empty());
    }
}
