//! The order of evaluation: dependencies first, otherwise as in the file; or the cycles that forbid one.

/// Positions in an order in which every node comes after what it depends on, or all cycles, each as the
/// nodes along it.
pub fn order(dependencies: &[Vec<usize>]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut walk = Walk {
        dependencies,
        state: vec![State::New; dependencies.len()],
        order: Vec::with_capacity(dependencies.len()),
        cycles: Vec::new(),
    };
    for start in 0..dependencies.len() {
        walk.from(start);
    }
    if walk.cycles.is_empty() { Ok(walk.order) } else { Err(walk.cycles) }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

struct Walk<'a> {
    dependencies: &'a [Vec<usize>],
    state: Vec<State>,
    order: Vec<usize>,
    cycles: Vec<Vec<usize>>,
}

impl Walk<'_> {
    /// Depth first with a stack of our own: a configuration may chain more nodes than a thread's stack holds.
    fn from(&mut self, start: usize) {
        if self.state[start] != State::New {
            return;
        }
        let mut path = vec![(start, 0)];
        self.state[start] = State::Open;
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let Some(&dependency) = self.dependencies[node].get(*next) else {
                self.state[node] = State::Done;
                self.order.push(node);
                path.pop();
                continue;
            };
            *next += 1;
            match self.state[dependency] {
                State::Done => {}
                State::New => {
                    self.state[dependency] = State::Open;
                    path.push((dependency, 0));
                }
                State::Open => {
                    let from = path.iter().position(|(n, _)| *n == dependency).unwrap_or(0);
                    self.cycles.push(path[from..].iter().map(|(n, _)| *n).collect());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_depends_on_comes_first_and_the_rest_keeps_its_order() {
        assert_eq!(order(&[vec![2], vec![], vec![]]), Ok(vec![2, 0, 1]));
        assert_eq!(order(&[vec![1], vec![2], vec![]]), Ok(vec![2, 1, 0]));
        assert_eq!(order(&[]), Ok(vec![]));
    }

    #[test]
    fn a_cycle_is_given_with_every_node_along_it() {
        assert_eq!(order(&[vec![1], vec![2], vec![1]]), Err(vec![vec![1, 2]]));
        assert_eq!(order(&[vec![0]]), Err(vec![vec![0]]));
    }

    #[test]
    fn a_chain_longer_than_a_stack_is_ordered() {
        let chain: Vec<Vec<usize>> =
            (0..200_000).map(|i| if i == 199_999 { vec![] } else { vec![i + 1] }).collect();
        assert_eq!(order(&chain).map(|o| o[0]), Ok(199_999));
    }
}
