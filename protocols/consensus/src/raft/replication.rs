//! The log, from the leader to the others, and the commit index (paper, sections 5.3 and 5.4.2; disk beside network, batching
//! and pipelining: thesis, sections 10.2.1 and 10.2.2).
//!
//! To a member whose log is known to agree, a leader sends what it has without waiting, until `in_flight` messages are on
//! their way; what is proposed meanwhile shares the next message. A heartbeat finds out whether the last of them got lost: it
//! asks for the entry before the next one, and who lacks it says so.

use std::collections::VecDeque;

use sim_core::{NodeId, protocol::Out, time::Monotonic};
use smallvec::SmallVec;

use super::{
    Entry, Event, Index, Message, Outcome, Payload, Position, Raft, Record, Rejection, Standing, Timer,
    peer::Mode,
};
use crate::Bytes;

impl Raft {
    // ---- the leader's side ----

    pub(super) fn propose(&mut self, id: u64, data: Bytes, out: &mut Out<Self>) {
        let Standing::Leader(leading) = &self.standing else {
            return self.reject(id, self.not_leader(), out);
        };
        if leading.transfer.is_some() {
            return self.reject(id, Rejection::Transferring, out);
        }
        let at = Position::new(self.term, self.log.last().index + 1);
        out.announce_now(Event::Accepted { id, at });
        self.append_as_leader(Payload::Command(data), out);
    }

    /// One more entry of this leader: on its way to the others before it is on the own disk.
    pub(super) fn append_as_leader(&mut self, payload: Payload, out: &mut Out<Self>) {
        let previous = self.log.last();
        let entries = vec![Entry { term: self.term, payload }];
        self.keep(previous, &entries);
        let changed = super::is_configuration(&entries[0]);
        if changed {
            out.state(super::CONFIG, self.configuration().to_string());
            self.meet_members(out.now());
        }
        self.replicate_all(out);
        out.append(Record::Entries { previous, entries });
        out.when_durable(Timer::Durable { term: self.term, index: previous.index + 1 });
    }

    fn peers(&self) -> Vec<NodeId> {
        match &self.standing {
            Standing::Leader(leading) => leading.peers.keys().copied().collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn replicate_all(&mut self, out: &mut Out<Self>) {
        let Standing::Leader(leading) = &self.standing else { return };
        let in_flight = self.config.in_flight;
        let ready = leading.peers.iter().filter(|(_, peer)| peer.may_be_sent_to(in_flight));
        let ready: SmallVec<[NodeId; 8]> = ready.map(|(id, _)| *id).collect();
        for peer in ready {
            self.replicate(peer, out);
        }
    }

    /// Sends a member what it lacks, as far as it may be sent now.
    pub(super) fn replicate(&mut self, to: NodeId, out: &mut Out<Self>) {
        loop {
            let Standing::Leader(leading) = &mut self.standing else { return };
            let Some(peer) = leading.peers.get_mut(&to) else { return };
            if !peer.may_be_sent_to(self.config.in_flight) {
                return;
            }
            let Some(previous) = self.log.position(peer.next - 1) else {
                return self.begin_snapshot(to, out);
            };
            let entries = self.log.batch(peer.next, self.config.batch_bytes);
            match &mut peer.mode {
                Mode::Probe { waiting } => *waiting = true,
                Mode::Stream(_) if entries.is_empty() => return,
                Mode::Stream(on_their_way) => {
                    peer.next += entries.len() as Index;
                    on_their_way.push_back((peer.next - 1, out.now()));
                }
                Mode::Snapshot(_) => {}
            }
            let round = leading.round;
            self.send_entries(to, previous, entries, round, out);
        }
    }

    fn send_entries(
        &self,
        to: NodeId,
        previous: Position,
        entries: Vec<Entry>,
        round: u64,
        out: &mut Out<Self>,
    ) {
        let (term, commit, sent) = (self.term, self.commit, out.now());
        out.send_now(to, Message::AppendEntries { term, previous, entries, commit, round, sent });
    }

    pub(super) fn on_heartbeat(&mut self, out: &mut Out<Self>) {
        if !self.is_leader() {
            return;
        }
        if self.config.check_quorum && !self.is_in_touch(out.now()) {
            return self.become_follower(self.term, None, out);
        }
        out.arm(Timer::Heartbeat, self.config.heartbeat);
        self.heartbeat_all(out);
    }

    pub(super) fn heartbeat_all(&mut self, out: &mut Out<Self>) {
        for peer in self.peers() {
            self.send_heartbeat(peer, out);
        }
    }

    fn send_heartbeat(&mut self, to: NodeId, out: &mut Out<Self>) {
        self.resend_snapshot(to, out);
        let Standing::Leader(leading) = &self.standing else { return };
        let Some(peer) = leading.peers.get(&to) else { return };
        let previous = match &peer.mode {
            Mode::Snapshot(_) => 0,
            Mode::Probe { .. } => peer.next - 1,
            Mode::Stream(on_their_way) => {
                // What left a heartbeat ago has arrived or is lost; what has just left may yet be overtaken by this.
                let fresh = |&(_, sent): &(_, Monotonic)| out.now().since(sent) < self.config.heartbeat;
                if on_their_way.front().is_some_and(fresh) { peer.matched } else { peer.next - 1 }
            }
        };
        // What was before the first entry is the same in every log: such a heartbeat says only that there is a leader.
        let known = self.log.position(previous).unwrap_or(Position::START);
        let compacted = known.index != previous && previous + 1 == peer.next;
        self.send_entries(to, known, Vec::new(), leading.round, out);
        if compacted {
            // What it has not answered is gone from the log: nothing but a snapshot can help.
            self.begin_snapshot(to, out);
        }
    }

    pub(super) fn on_appended(
        &mut self,
        from: NodeId,
        outcome: Outcome,
        round: u64,
        sent: Monotonic,
        out: &mut Out<Self>,
    ) {
        if !self.heard_from(from, round, sent, out) {
            return;
        }
        match outcome {
            Outcome::Matched { index } => self.on_matched(from, index, out),
            Outcome::Conflict { rejected, first, term } => {
                self.on_conflict(from, rejected, first, term, out);
            }
            Outcome::StaleTerm => {}
        }
    }

    fn on_matched(&mut self, from: NodeId, index: Index, out: &mut Out<Self>) {
        let last = self.log.last().index;
        let Standing::Leader(leading) = &mut self.standing else { return };
        let Some(peer) = leading.peers.get_mut(&from) else { return };
        if index > last {
            return; // no honest follower says so
        }
        let news = index > peer.matched;
        peer.matched = peer.matched.max(index);
        match &mut peer.mode {
            Mode::Probe { .. } if index + 1 >= peer.next => peer.mode = Mode::Stream(VecDeque::new()),
            Mode::Stream(on_their_way) => {
                while on_their_way.front().is_some_and(|&(end, _)| end <= index) {
                    on_their_way.pop_front();
                }
            }
            Mode::Snapshot(outgoing) if index >= outgoing.last().index => {
                peer.mode = Mode::Stream(VecDeque::new());
                peer.next = index + 1;
            }
            _ => {}
        }
        peer.next = peer.next.max(index + 1);
        if news {
            self.advance_commit(out);
        }
        self.replicate(from, out);
        self.go_on_with_transfer(out);
    }

    fn on_conflict(
        &mut self,
        from: NodeId,
        rejected: Index,
        first: Index,
        term: Option<u64>,
        out: &mut Out<Self>,
    ) {
        let Standing::Leader(leading) = &mut self.standing else { return };
        let Some(peer) = leading.peers.get_mut(&from) else { return };
        let old_news = rejected == 0
            || match &peer.mode {
                Mode::Probe { .. } => rejected + 1 != peer.next,
                Mode::Stream(_) => rejected < peer.matched,
                Mode::Snapshot(_) => true,
            };
        if old_news {
            return;
        }
        // The paper's hint: after the leader's own last entry of that term, or where the follower's begins.
        let in_common = term.and_then(|term| self.log.last_of_term(term, rejected));
        let next = in_common.map_or(first, |index| index + 1);
        // A follower that has lost what it had promised (its disk does not keep its word) is believed: what it lacks does not
        // count for a commit any more.
        if rejected <= peer.matched {
            peer.matched = first.saturating_sub(1).min(rejected - 1);
        }
        peer.next = next.min(rejected).max(peer.matched + 1);
        peer.mode = Mode::Probe { waiting: false };
        self.replicate(from, out);
    }

    /// Counts who holds what. Only an entry of the leader's own term is committed by counting; those before it are committed
    /// with it (paper, section 5.4.2).
    pub(super) fn advance_commit(&mut self, out: &mut Out<Self>) {
        let Standing::Leader(leading) = &self.standing else { return };
        let own = self.config.id;
        let held = |node| {
            if node == own {
                leading.durable
            } else {
                leading.peers.get(&node).map_or(0, |peer| peer.matched)
            }
        };
        let Some(index) = self.configuration().reached_by_majority(held) else { return };
        let of_own_term = self.log.term_at(index) == Some(self.term);
        if index <= self.commit || !(of_own_term || self.config.flaws.commit_any_term) {
            return;
        }
        self.commit_through(index, out);
        self.begin_early_reads(out);
        self.go_on_with_change(out);
    }

    // ---- the follower's side ----

    pub(super) fn on_append_entries(
        &mut self,
        mut previous: Position,
        mut entries: Vec<Entry>,
        commit: Index,
        out: &mut Out<Self>,
    ) -> Outcome {
        let base = self.log.base();
        if previous.index < base.index {
            // What is compacted is committed, so it is the same here.
            let known = (base.index - previous.index) as usize;
            if entries.len() <= known {
                return Outcome::Matched { index: previous.index + entries.len() as Index };
            }
            entries.drain(..known);
            previous = base;
        }
        if self.log.position(previous.index) != Some(previous) {
            return self.conflict(previous.index);
        }
        let end = previous.index + entries.len() as Index;
        // Cut only where an entry really contradicts: a message that is old or short proves nothing about what comes after.
        let known = if self.config.flaws.truncate_on_stale {
            0
        } else {
            let mut index = previous.index;
            entries
                .iter()
                .take_while(|entry| {
                    index += 1;
                    self.log.term_at(index) == Some(entry.term)
                })
                .count()
        };
        let news = entries.split_off(known);
        let store_at = self.log.position(previous.index + known as Index);
        if let Some(store_at) = store_at
            && (!news.is_empty() || (self.config.flaws.truncate_on_stale && self.log.last().index > end))
        {
            self.store(store_at, news, out);
        }
        let commit = commit.min(end);
        if commit > self.commit {
            self.commit_through(commit, out);
        }
        Outcome::Matched { index: end }
    }

    /// Where to look, for a leader whose previous entry is not here.
    fn conflict(&self, rejected: Index) -> Outcome {
        let last = self.log.last().index;
        match self.log.term_at(rejected) {
            None => Outcome::Conflict { rejected, first: last + 1, term: None },
            Some(term) => {
                let first = self.log.first_of_its_term(rejected);
                Outcome::Conflict { rejected, first, term: Some(term) }
            }
        }
    }
}
