//! Who belongs to the cluster, and what a majority of it is.
//!
//! A configuration is *joint* while the cluster changes from one set of voters to another: then everything needs a majority
//! of both (paper, section 6; thesis, section 4.3).

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use sim_core::NodeId;
use smallvec::SmallVec;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Configuration {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who voted before, while the configuration is joint; otherwise nobody.
    pub outgoing: BTreeSet<NodeId>,
    /// Who gets the log and does not vote.
    pub learners: BTreeSet<NodeId>,
}

impl Configuration {
    /// These voters, and nobody else.
    pub fn of(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }
    /// Whether it is on the way from one set of voters to another.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }
    /// Whether the server has a vote.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }
    /// Everybody who gets the log, each once, in order.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        let mut members: Vec<NodeId> =
            self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect();
        members.sort_unstable();
        members.dedup();
        members.into_iter()
    }
    /// Everybody who votes, each once, in order.
    pub fn all_voters(&self) -> impl Iterator<Item = NodeId> {
        self.voters.union(&self.outgoing).copied()
    }
    /// What a joint configuration leads to.
    #[must_use]
    pub fn left(&self) -> Self {
        Self { outgoing: BTreeSet::new(), ..self.clone() }
    }

    /// Whether those who agree are a majority (of both sets where it is joint). Nobody is no majority of nobody.
    pub fn has_majority(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        let majority = |set: &BTreeSet<NodeId>| {
            set.iter().filter(|&&node| agrees(node)).count() > set.len() / 2 && !set.is_empty()
        };
        majority(&self.voters) && (self.outgoing.is_empty() || majority(&self.outgoing))
    }
    /// The highest value that a majority has reached (of both sets where it is joint). Nothing, where nobody votes.
    pub fn reached_by_majority<T: Ord + Copy>(&self, value: impl Fn(NodeId) -> T) -> Option<T> {
        let of = |set: &BTreeSet<NodeId>| {
            let mut values: SmallVec<[T; 8]> = set.iter().map(|&node| value(node)).collect();
            values.sort_unstable();
            // Of five the third highest: it and the two above it are three.
            values.len().checked_sub(1).map(|last| values[last / 2])
        };
        let incoming = of(&self.voters)?;
        Some(if self.outgoing.is_empty() { incoming } else { incoming.min(of(&self.outgoing)?) })
    }
}

/// By the numbers of the nodes: `n0,n1,n2`; joint `n0,n1>n0,n1,n2`; with a learner `n0,n1+n2`.
impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |set: &BTreeSet<NodeId>| {
            set.iter().map(|NodeId(number)| format!("n{number}")).collect::<Vec<_>>().join(",")
        };
        if self.is_joint() {
            write!(f, "{}>", list(&self.outgoing))?;
        }
        write!(f, "{}", list(&self.voters))?;
        if !self.learners.is_empty() {
            write!(f, "+{}", list(&self.learners))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(voters: impl IntoIterator<Item = u32>) -> Configuration {
        Configuration::of(voters.into_iter().map(NodeId))
    }

    #[test]
    fn a_majority_is_more_than_half() {
        for (voters, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)] {
            for agreeing in 0..=voters {
                let majority = of(0..voters).has_majority(|node| node.0 < agreeing);
                assert_eq!(majority, agreeing >= needed, "{agreeing} of {voters}");
                let reached = of(0..voters).reached_by_majority(|node| node.0 < agreeing);
                assert_eq!(reached, Some(agreeing >= needed), "{agreeing} of {voters}");
            }
        }
        assert!(!Configuration::default().has_majority(|_| true));
        assert_eq!(Configuration::default().reached_by_majority(|_| 1), None);
    }

    #[test]
    fn a_joint_configuration_needs_both_majorities() {
        let joint = Configuration { outgoing: of([0, 1, 2]).voters, ..of([2, 3, 4]) };
        assert!(!joint.has_majority(|node| node.0 >= 2), "only one of the old ones");
        assert!(!joint.has_majority(|node| node.0 <= 2), "only one of the new ones");
        assert!(joint.has_majority(|node| [0, 2, 3].contains(&node.0)));
        assert_eq!(joint.reached_by_majority(|node| node.0), Some(1));
        assert_eq!(joint.members().count(), 5);
        assert_eq!(joint.to_string(), "n0,n1,n2>n2,n3,n4");
        assert_eq!(joint.left(), of([2, 3, 4]));
    }
}
