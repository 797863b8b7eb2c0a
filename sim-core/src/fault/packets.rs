//! What faults do to packets: who is cut off from whom, what links are like, and rules for single packets.

use std::rc::Rc;

use super::{LinkChange, PacketAction, PacketRule, Partition};
use crate::{
    net::{Changed, Changes, Link, Loss, Packet},
    node::NodeId,
    world::Core,
};

pub(super) struct ActivePartition {
    pub(super) fault: u32,
    pub(super) shape: Resolved,
}

pub(super) enum Resolved {
    /// Nodes of different groups cannot reach each other.
    Split(Vec<Vec<NodeId>>),
    OneWay(Vec<NodeId>, Vec<NodeId>),
}

pub(super) struct ActiveLink {
    pub(super) fault: u32,
    pub(super) change: LinkChange,
    pub(super) on: Option<Vec<NodeId>>,
    pub(super) from: Option<Vec<NodeId>>,
    pub(super) to: Option<Vec<NodeId>>,
}

pub(super) struct ActiveRule {
    pub(super) fault: u32,
    pub(super) rule: PacketRule,
    pub(super) on: Option<Vec<NodeId>>,
    pub(super) from: Option<Vec<NodeId>>,
    pub(super) to: Option<Vec<NodeId>>,
    pub(super) seen: u64,
}

impl Core {
    pub(super) fn resolve_partition(&self, partition: &Partition, on: &[NodeId]) -> Resolved {
        match partition {
            Partition::Isolate => {
                let rest = (0..self.nodes.len() as u32).map(NodeId).filter(|n| !on.contains(n)).collect();
                Resolved::Split(vec![on.to_vec(), rest])
            }
            Partition::Split(groups) => {
                Resolved::Split(groups.iter().map(|names| self.all_named(names)).collect())
            }
            Partition::OneWay { from, to } => Resolved::OneWay(self.all_named(from), self.all_named(to)),
            // Whoever is on neither side is the bridge: it reaches both.
            Partition::Bridge { left, right } => {
                Resolved::Split(vec![self.all_named(left), self.all_named(right)])
            }
            Partition::Regions(groups) => {
                let in_region = |regions: &Vec<String>| {
                    (0..self.nodes.len() as u32)
                        .map(NodeId)
                        .filter(|n| regions.iter().any(|r| **r == *self.nodes[n.index()].region))
                        .collect()
                };
                Resolved::Split(groups.iter().map(in_region).collect())
            }
        }
    }

    /// The fault that keeps packets from one node from reaching another.
    pub(crate) fn blocking_fault(&self, from: NodeId, to: NodeId) -> Option<u32> {
        if from == to {
            return None; // a node always reaches itself
        }
        self.faults
            .partitions
            .iter()
            .find(|partition| match &partition.shape {
                Resolved::Split(groups) => {
                    let group = |node: NodeId| groups.iter().position(|g| g.contains(&node));
                    matches!((group(from), group(to)), (Some(a), Some(b)) if a != b)
                }
                Resolved::OneWay(a, b) => a.contains(&from) && b.contains(&to),
            })
            .map(|partition| partition.fault)
    }

    /// A link as the faults in force leave it, and which of them change it.
    pub(crate) fn faulty_link(
        &self,
        from: NodeId,
        to: NodeId,
        base: Option<Rc<Link>>,
    ) -> (Option<Rc<Link>>, Option<Changes>) {
        let Some(base) = base else { return (None, None) };
        if self.faults.links.is_empty() {
            return (Some(base), None);
        }
        let mut link = (*base).clone();
        let mut by: Vec<Changed> = Vec::new();
        for active in &self.faults.links {
            if !side_matches(&active.on, &active.from, &active.to, from, to) {
                continue;
            }
            let change = &active.change;
            // What a later fault sets is its doing, and no more that of an earlier one.
            for earlier in &mut by {
                earlier.delay &= change.delay.is_none();
                earlier.loss &= change.loss.is_none();
                earlier.duplication &= change.duplication.is_none();
                earlier.corruption &= change.corruption.is_none();
                earlier.bandwidth &= change.bandwidth.is_none();
            }
            by.push(Changed {
                fault: active.fault,
                delay: change.delay.is_some() || !change.extra_delay.is_zero(),
                loss: change.loss.is_some(),
                duplication: change.duplication.is_some(),
                corruption: change.corruption.is_some(),
                bandwidth: change.bandwidth.is_some(),
            });
            if let Some(delay) = &change.delay {
                link.delay = delay.clone();
            }
            if !change.extra_delay.is_zero() {
                link.delay = link.delay.clone().plus(change.extra_delay);
            }
            if let Some(loss) = change.loss {
                link.loss = if loss > 0.0 { Loss::Independent(loss) } else { Loss::Never };
            }
            link.duplication = change.duplication.unwrap_or(link.duplication);
            link.corruption = change.corruption.unwrap_or(link.corruption);
            link.bandwidth = change.bandwidth.or(link.bandwidth);
        }
        if by.is_empty() {
            return (Some(base), None);
        }
        (Some(Rc::new(link)), Some(Changes::new(base, by)))
    }

    /// What the rules in force say of a packet: the first rule that is for it, what it does, and whether it does so in
    /// place of another one further down.
    pub(crate) fn packet_rule(&mut self, packet: &Packet) -> Option<(u32, PacketAction, bool)> {
        let kind = &self.recorder.recording().names[packet.kind.0 as usize];
        let mut found = None;
        for active in &mut self.faults.rules {
            let rule = &active.rule;
            if rule.kind.as_ref().is_some_and(|k| k != kind)
                || !side_matches(&active.on, &active.from, &active.to, packet.from, packet.to)
            {
                continue;
            }
            // A rule counts the packets that reach it: none that an earlier rule has taken.
            let seen = active.seen + 1;
            let last = rule.count.map(|count| rule.first.saturating_add(count));
            let is_for_it = seen >= rule.first && last.is_none_or(|last| seen < last);
            match found {
                Some((fault, action)) if is_for_it => return Some((fault, action, rule.action != action)),
                Some(_) => {}
                None => {
                    active.seen = seen;
                    found = is_for_it.then_some((active.fault, rule.action));
                }
            }
        }
        found.map(|(fault, action)| (fault, action, false))
    }
}

/// Whether a packet is one that a change or rule is for: `on` is either end, `from` and `to` are its ends.
fn side_matches(
    on: &Option<Vec<NodeId>>,
    senders: &Option<Vec<NodeId>>,
    receivers: &Option<Vec<NodeId>>,
    from: NodeId,
    to: NodeId,
) -> bool {
    on.as_ref().is_none_or(|nodes| nodes.contains(&from) || nodes.contains(&to))
        && senders.as_ref().is_none_or(|nodes| nodes.contains(&from))
        && receivers.as_ref().is_none_or(|nodes| nodes.contains(&to))
}
