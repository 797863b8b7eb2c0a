//! Terms, votes and elections (paper, section 5.2 and 5.4.1; pre-vote: thesis, section 9.6), and the transfer of leadership
//! (thesis, section 3.10).

use std::collections::BTreeSet;

use sim_core::{
    NodeId,
    protocol::Out,
    time::{Duration, Monotonic},
};

use super::{
    Event, Index, Message, Outcome, Position, Raft, Rejection, Role, Standing, TERM, Term, Timer,
    peer::{Leading, Transfer},
};

impl Raft {
    /// Whether a message's term lets it through. A higher term makes a follower of anybody; a lower one is answered with the
    /// own, where the sender needs to know.
    pub(super) fn admit_term(&mut self, from: NodeId, message: &Message, out: &mut Out<Self>) -> bool {
        let term = message.term();
        match message {
            Message::PreVote { .. } | Message::PreVoted { granted: true, .. } => return true,
            Message::RequestVote { transfer: false, .. }
                if term > self.term && self.config.stickiness && self.has_leader(out.now()) =>
            {
                return false;
            }
            _ => {}
        }
        let from_leader = matches!(message, Message::AppendEntries { .. } | Message::InstallSnapshot { .. });
        if term > self.term {
            self.become_follower(term, from_leader.then_some(from), out);
            return true;
        }
        if term == self.term {
            // Two leaders in a term: only where a flaw is switched on. Nobody follows.
            return !(from_leader && self.is_leader());
        }
        match *message {
            Message::RequestVote { .. } => {
                out.send(from, Message::Vote { term: self.term, granted: false });
            }
            Message::AppendEntries { round, sent, .. } | Message::InstallSnapshot { round, sent, .. } => {
                let outcome = Outcome::StaleTerm;
                out.send(from, Message::Appended { term: self.term, outcome, round, sent });
            }
            _ => {}
        }
        false
    }

    /// Whether it leads, or has heard from a leader within the shortest election time-out.
    fn has_leader(&self, now: Monotonic) -> bool {
        self.is_leader()
            || self.heard.is_some_and(|heard| now.since(heard) < self.config.election_timeout_min)
    }

    pub(super) fn arm_election(&self, out: &mut Out<Self>) {
        let (min, max) = (self.config.election_timeout_min, self.config.election_timeout_max);
        let after = out.rng().range(min.as_nanos()..=max.as_nanos());
        out.arm(Timer::Election, Duration::from_nanos(after));
    }

    /// Somebody leads in this term: follows.
    pub(super) fn follow(&mut self, leader: NodeId, out: &mut Out<Self>) {
        if self.role() != Role::Follower || self.leader != Some(leader) {
            self.become_follower(self.term, Some(leader), out);
        }
        self.heard = Some(out.now());
        self.arm_election(out);
    }

    /// Becomes a follower in a term that is not lower than its own.
    pub(super) fn become_follower(&mut self, term: Term, leader: Option<NodeId>, out: &mut Out<Self>) {
        let role = self.role();
        let news = role != Role::Follower || term != self.term || leader != self.leader;
        if let Standing::Leader(leading) = std::mem::replace(&mut self.standing, Standing::Follower) {
            out.disarm(Timer::Heartbeat);
            out.disarm(Timer::Transfer);
            self.arm_election(out);
            for id in leading.unanswered_reads() {
                self.reject(id, Rejection::NotLeader { leader }, out);
            }
        }
        self.leader = leader;
        if term > self.term {
            self.enter_term(term, None, out);
        }
        if role != Role::Follower {
            out.state(super::ROLE, Role::Follower.name());
        }
        if news {
            self.announce_role(out);
        }
    }

    fn enter_term(&mut self, term: Term, vote: Option<NodeId>, out: &mut Out<Self>) {
        (self.term, self.vote) = (term, vote);
        out.append(self.hard_state());
        out.state(TERM, term.to_string());
    }

    fn stand(&mut self, standing: Standing, out: &mut Out<Self>) {
        let before = self.role();
        self.standing = standing;
        if self.role() != before {
            out.state(super::ROLE, self.role().name());
        }
        self.announce_role(out);
    }

    fn announce_role(&self, out: &mut Out<Self>) {
        let event = Event::RoleChanged { role: self.role(), term: self.term, leader: self.leader };
        out.announce_now(event);
    }

    // ---- the candidate's side ----

    pub(super) fn on_election_timeout(&mut self, out: &mut Out<Self>) {
        if self.is_leader() {
            return;
        }
        if !self.may_campaign() {
            self.leader = None;
            self.arm_election(out);
        } else if self.config.pre_vote {
            self.ask_around(out);
        } else {
            self.campaign(false, out);
        }
    }

    /// Voters campaign. So does one whom the newest configuration in its log leaves out, until that is committed: it may be
    /// the only one with the entry that says so (thesis, section 4.2.2).
    fn may_campaign(&self) -> bool {
        let newest = self.configurations.len() - 1;
        let (index, configuration) = &self.configurations[newest];
        configuration.is_voter(self.config.id)
            || (*index > self.commit
                && newest > 0
                && self.configurations[newest - 1].1.is_voter(self.config.id))
    }

    fn others(&self) -> Vec<NodeId> {
        self.configuration().all_voters().filter(|&node| node != self.config.id).collect()
    }

    fn ask_around(&mut self, out: &mut Out<Self>) {
        self.arm_election(out);
        self.leader = None;
        let granted = BTreeSet::from([self.config.id]);
        self.stand(Standing::PreCandidate { granted }, out);
        for voter in self.others() {
            out.send_now(voter, Message::PreVote { term: self.term + 1, last: self.log.last() });
        }
        self.count_pre_votes(out);
    }

    fn count_pre_votes(&mut self, out: &mut Out<Self>) {
        if let Standing::PreCandidate { granted } = &self.standing
            && self.configuration().has_majority(|node| granted.contains(&node))
        {
            self.campaign(false, out);
        }
    }

    fn campaign(&mut self, transfer: bool, out: &mut Out<Self>) {
        self.arm_election(out);
        self.leader = None;
        self.enter_term(self.term + 1, Some(self.config.id), out);
        let last = self.log.last();
        // Its own vote counts when it is durable.
        out.when_durable(Timer::Durable { term: self.term, index: last.index });
        self.stand(Standing::Candidate { granted: BTreeSet::new() }, out);
        for voter in self.others() {
            out.send_now(voter, Message::RequestVote { term: self.term, last, transfer });
        }
    }

    pub(super) fn on_pre_voted(&mut self, from: NodeId, term: Term, granted: bool, out: &mut Out<Self>) {
        if granted
            && term == self.term + 1
            && let Standing::PreCandidate { granted } = &mut self.standing
        {
            granted.insert(from);
            self.count_pre_votes(out);
        }
    }

    pub(super) fn on_vote(&mut self, from: NodeId, granted: bool, out: &mut Out<Self>) {
        if granted && let Standing::Candidate { granted } = &mut self.standing {
            granted.insert(from);
            self.count_votes(self.log.last().index, out);
        }
    }

    fn count_votes(&mut self, durable: Index, out: &mut Out<Self>) {
        let Standing::Candidate { granted } = &self.standing else { return };
        // Without its own durable term it must not lead, even where its vote is not needed: see the module.
        let durable_term = granted.contains(&self.config.id);
        if durable_term && self.configuration().has_majority(|node| granted.contains(&node)) {
            self.become_leader(durable, out);
        }
    }

    /// What was written up to there in that term is durable.
    pub(super) fn on_durable(&mut self, term: Term, index: Index, out: &mut Out<Self>) {
        if term != self.term {
            return;
        }
        match &mut self.standing {
            Standing::Candidate { granted } => {
                granted.insert(self.config.id);
                self.count_votes(index, out);
            }
            Standing::Leader(leading) if index > leading.durable => {
                leading.durable = index;
                self.advance_commit(out);
            }
            _ => {}
        }
    }

    fn become_leader(&mut self, durable: Index, out: &mut Out<Self>) {
        out.disarm(Timer::Election);
        self.leader = Some(self.config.id);
        let leading = Leading::new(durable, self.log.last().index + 1);
        self.stand(Standing::Leader(leading), out);
        self.meet_members(out.now());
        out.arm(Timer::Heartbeat, self.config.heartbeat);
        if self.config.flaws.no_noop {
            self.heartbeat_all(out);
        } else {
            self.append_as_leader(super::Payload::Noop, out);
        }
    }

    // ---- the voter's side ----

    pub(super) fn on_pre_vote(&mut self, from: NodeId, term: Term, last: Position, out: &mut Out<Self>) {
        let granted = term > self.term && last >= self.log.last() && !self.has_leader(out.now());
        let term = if granted { term } else { self.term };
        out.send_now(from, Message::PreVoted { term, granted });
    }

    pub(super) fn on_request_vote(&mut self, from: NodeId, last: Position, out: &mut Out<Self>) {
        let free = self.vote.is_none_or(|vote| vote == from) && !self.is_leader();
        let granted = free && last >= self.log.last();
        if granted {
            if self.vote.is_none() {
                self.vote = Some(from);
                out.append(self.hard_state());
            }
            self.arm_election(out);
        }
        out.send(from, Message::Vote { term: self.term, granted });
    }

    // ---- transfer ----

    pub(super) fn transfer_leadership(&mut self, id: u64, target: NodeId, out: &mut Out<Self>) {
        let voter = self.configuration().is_voter(target) && target != self.config.id;
        let rejection = self.not_leader();
        let Standing::Leader(leading) = &mut self.standing else { return self.reject(id, rejection, out) };
        if !voter {
            return self.reject(id, Rejection::NoVoter, out);
        }
        leading.transfer = Some(Transfer { target, asked: false });
        out.arm(Timer::Transfer, self.config.election_timeout_max);
        self.go_on_with_transfer(out);
    }

    /// Asks the target to campaign as soon as it has the whole log.
    pub(super) fn go_on_with_transfer(&mut self, out: &mut Out<Self>) {
        let last = self.log.last().index;
        let Standing::Leader(leading) = &mut self.standing else { return };
        if let Some(transfer) = &mut leading.transfer
            && !transfer.asked
            && leading.peers.get(&transfer.target).is_some_and(|peer| peer.matched == last)
        {
            transfer.asked = true;
            // From now on somebody may be elected at any time in spite of all promises: no leases any more in this term.
            leading.lease_is_void = true;
            out.send_now(transfer.target, Message::TimeoutNow { term: self.term });
        }
    }

    pub(super) fn end_transfer(&mut self, _out: &mut Out<Self>) {
        if let Standing::Leader(leading) = &mut self.standing {
            leading.transfer = None;
        }
    }

    pub(super) fn on_timeout_now(&mut self, out: &mut Out<Self>) {
        if self.role() == Role::Follower && self.may_campaign() {
            self.campaign(true, out);
        }
    }
}
