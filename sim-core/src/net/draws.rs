//! Draws that are not left to chance alone: the quiet network of a shrunk plan, and priorities that explore interleavings.

use crate::{
    node::NodeId,
    plan::Draws,
    rng::{Key, Rng},
};

/// A plan's [`Draws`] under way.
pub(crate) enum DrawRule {
    Median,
    Pct(Priorities),
}

/// See [`Draws::Pct`].
pub(crate) struct Priorities {
    key: Key,
    /// Nodes from the highest priority to the lowest; made at the first message.
    order: Vec<NodeId>,
    /// Before which messages the sender of the moment falls to the end, in order.
    changes: Vec<u64>,
    messages: u64,
}

/// What holds for one packet.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    Chance,
    Median,
    /// The sender's place among so many.
    Priority(u64, u64),
}

/// The word in the middle of all.
const MEDIAN: u64 = 1 << 63;

impl DrawRule {
    /// `None` where all is left to chance.
    pub(crate) fn of(draws: Draws, root: &Key) -> Option<Self> {
        match draws {
            Draws::Chance => None,
            Draws::Median => Some(Self::Median),
            Draws::Pct { depth, messages } => {
                let key = root.fork("priorities");
                let mut rng = Rng::new(&key.fork("changes"));
                let mut changes: Vec<u64> = (1..depth).map(|_| 1 + rng.below(messages.max(1))).collect();
                changes.sort_unstable();
                Some(Self::Pct(Priorities { key, order: Vec::new(), changes, messages: 0 }))
            }
        }
    }

    /// Whether nothing happens by chance on a link.
    pub(crate) fn is_quiet(&self, by_fault: bool) -> bool {
        matches!(self, Self::Median) && !by_fault
    }
    /// What holds for the next packet, of that sender. `by_fault`: a fault has changed its link; then that is not quiet.
    pub(crate) fn next(&mut self, from: NodeId, nodes: usize, by_fault: bool) -> Rule {
        match self {
            Self::Median if by_fault => Rule::Chance,
            Self::Median => Rule::Median,
            Self::Pct(priorities) => priorities.next(from, nodes),
        }
    }
}

impl Priorities {
    fn next(&mut self, from: NodeId, nodes: usize) -> Rule {
        if self.order.len() != nodes {
            let mut rng = Rng::new(&self.key.fork("order"));
            self.order = (0..nodes as u32).map(NodeId).collect();
            rng.shuffle(&mut self.order);
        }
        self.messages += 1;
        while self.changes.first().is_some_and(|&at| at <= self.messages) {
            self.changes.remove(0);
            self.order.retain(|&node| node != from);
            self.order.push(from);
        }
        let place = self.order.iter().position(|&node| node == from).unwrap_or(0);
        Rule::Priority(place as u64, self.order.len().max(1) as u64)
    }
}

impl Rule {
    /// The word from which the delay comes, given the one that was drawn.
    #[inline]
    pub(crate) fn delay(self, drawn: u64) -> u64 {
        match self {
            Self::Chance => drawn,
            Self::Median => MEDIAN,
            Self::Priority(place, of) => place * (u64::MAX / of) + drawn / of,
        }
    }
    /// Whether packets may be lost, doubled, damaged or overtaken by chance.
    #[inline]
    pub(crate) fn allows_mishaps(self) -> bool {
        !matches!(self, Self::Median)
    }
}
