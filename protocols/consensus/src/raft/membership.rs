//! Changes of membership: one voter at a time, or jointly (paper, section 6; thesis, chapter 4).
//!
//! A server goes by the newest configuration in its log, committed or not. One change at a time; and a leader first commits an
//! entry of its own term (the rule of July 2015), or two leaders could each commit a change of the same old configuration.

use std::collections::BTreeSet;

use sim_core::{NodeId, protocol::Out, time::Monotonic};

use super::{Configuration, Event, Payload, Position, Raft, Rejection, Standing, peer::Peer};

impl Raft {
    pub(super) fn change_membership(
        &mut self,
        id: u64,
        voters: BTreeSet<NodeId>,
        learners: BTreeSet<NodeId>,
        joint: bool,
        out: &mut Out<Self>,
    ) {
        let learners = learners.difference(&voters).copied().collect();
        if let Err(reason) = self.may_change(&voters, joint) {
            return self.reject(id, reason, out);
        }
        let outgoing = match joint && voters != self.configuration().voters {
            true => self.configuration().voters.clone(),
            false => BTreeSet::new(),
        };
        let at = Position::new(self.term, self.log.last().index + 1);
        out.announce_now(Event::Accepted { id, at });
        let next = Configuration { voters, outgoing, learners };
        self.append_as_leader(Payload::Configuration(next), out);
    }

    fn may_change(&self, voters: &BTreeSet<NodeId>, joint: bool) -> Result<(), Rejection> {
        let Standing::Leader(leading) = &self.standing else { return Err(self.not_leader()) };
        let (index, now) = self.configurations.last().expect("there is always a first configuration");
        if leading.transfer.is_some() {
            return Err(Rejection::Transferring);
        }
        if self.commit < leading.first && !self.config.flaws.change_before_own_commit {
            return Err(Rejection::NothingCommittedInTerm);
        }
        if *index > self.commit || now.is_joint() {
            return Err(Rejection::ChangeInFlight);
        }
        if voters.is_empty() {
            return Err(Rejection::NoVoter);
        }
        if !joint && voters.symmetric_difference(&now.voters).count() > 1 {
            return Err(Rejection::TooManyAtOnce);
        }
        let last = self.log.last().index;
        for &node in voters.difference(&now.voters) {
            let matched = leading.peers.get(&node).map_or(0, |peer| peer.matched);
            if self.config.catch_up.is_some_and(|may_lack| matched.saturating_add(may_lack) < last) {
                return Err(Rejection::NotCaughtUp { node });
            }
        }
        Ok(())
    }

    /// The leader sends to the members of the newest configuration, and to nobody else.
    pub(super) fn meet_members(&mut self, now: Monotonic) {
        let own = self.config.id;
        let members: BTreeSet<NodeId> = self.configuration().members().filter(|&node| node != own).collect();
        let next = self.log.last().index + 1;
        let Standing::Leader(leading) = &mut self.standing else { return };
        leading.peers.retain(|node, _| members.contains(node));
        for node in members {
            leading.peers.entry(node).or_insert_with(|| Peer::new(next, now));
        }
    }

    /// A commit may end a change: a joint configuration is left, and a leader that is no voter any more steps down.
    pub(super) fn go_on_with_change(&mut self, out: &mut Out<Self>) {
        let (index, now) = self.configurations.last().expect("there is always a first configuration");
        if !self.is_leader() || *index > self.commit {
            return;
        }
        if now.is_joint() {
            let left = now.left();
            self.append_as_leader(Payload::Configuration(left), out);
        } else if !now.is_voter(self.config.id) {
            // The others shall know that it is committed, and elect somebody.
            self.heartbeat_all(out);
            self.become_follower(self.term, None, out);
        }
    }
}
