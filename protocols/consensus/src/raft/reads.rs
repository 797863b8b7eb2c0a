//! Reads that do not go through the log: read index and leases (thesis, section 6.4), and the leader's touch with a majority.
//!
//! Both rest on the answers to what a leader sends. Each message carries a *round*, which a new read raises: a majority that has
//! answered it did not follow anybody else when it did. And each carries the leader's clock at the sending, from which a lease
//! is counted: not from the answer, since the followers' promise begins when they hear it.

use sim_core::{NodeId, protocol::Out, time::Monotonic};

use super::{Event, Raft, ReadMode, Standing, peer::PendingRead};

impl Raft {
    pub(super) fn read(&mut self, id: u64, mode: ReadMode, out: &mut Out<Self>) {
        let Standing::Leader(leading) = &mut self.standing else {
            return self.reject(id, self.not_leader(), out);
        };
        if mode == ReadMode::Local {
            return out.announce_now(Event::ReadReady { id, index: self.commit });
        }
        // A new leader does not know how much is committed before an entry of its own is.
        if self.commit < leading.first {
            leading.early_reads.push(id);
        } else if mode == ReadMode::Lease && self.has_lease(out.now()) {
            out.announce_now(Event::ReadReady { id, index: self.commit });
        } else {
            self.confirm_read(id, out);
        }
    }

    fn confirm_read(&mut self, id: u64, out: &mut Out<Self>) {
        let Standing::Leader(leading) = &mut self.standing else { return };
        leading.round += 1;
        leading.reads.push_back(PendingRead { id, index: self.commit, round: leading.round });
        self.heartbeat_all(out);
        self.answer_reads(out);
    }

    /// The first entry of this term is committed: the reads that waited for it begin.
    pub(super) fn begin_early_reads(&mut self, out: &mut Out<Self>) {
        let Standing::Leader(leading) = &mut self.standing else { return };
        if self.commit >= leading.first {
            for id in std::mem::take(&mut leading.early_reads) {
                self.confirm_read(id, out);
            }
        }
    }

    /// Answers the reads whose confirmation is complete.
    fn answer_reads(&mut self, out: &mut Out<Self>) {
        let Standing::Leader(leading) = &self.standing else { return };
        if leading.reads.is_empty() {
            return;
        }
        let own = self.config.id;
        let answered = |node| {
            if node == own { u64::MAX } else { leading.peers.get(&node).map_or(0, |peer| peer.round) }
        };
        let confirmed = self.configuration().reached_by_majority(answered).unwrap_or(0);
        let Standing::Leader(leading) = &mut self.standing else { return };
        while let Some(&PendingRead { id, index, round }) = leading.reads.front() {
            if round > confirmed {
                break;
            }
            leading.reads.pop_front();
            out.announce_now(Event::ReadReady { id, index });
        }
    }

    /// A member has answered something of this term; gives whether this server leads and knows the member.
    pub(super) fn heard_from(
        &mut self,
        from: NodeId,
        round: u64,
        sent: Monotonic,
        out: &mut Out<Self>,
    ) -> bool {
        let Standing::Leader(leading) = &mut self.standing else { return false };
        let Some(peer) = leading.peers.get_mut(&from) else { return false };
        peer.heard = peer.heard.max(Some(sent.min(out.now())));
        if round > peer.round && round <= leading.round {
            peer.round = round;
            self.answer_reads(out);
        }
        true
    }

    /// Whether a majority has promised not to elect anybody else, and the promise holds on the slowest clock.
    fn has_lease(&self, now: Monotonic) -> bool {
        let Standing::Leader(leading) = &self.standing else { return false };
        let own = self.config.id;
        let promised = self.configuration().reached_by_majority(|node| {
            if node == own { Some(now) } else { leading.peers.get(&node).and_then(|peer| peer.heard) }
        });
        let Some(Some(promised)) = promised else { return false };
        !leading.lease_is_void && now.since(promised) < self.config.lease_on_own_clock()
    }

    /// Whether a majority has answered within the longest election time-out, or could not be asked for so long.
    pub(super) fn is_in_touch(&self, now: Monotonic) -> bool {
        let Standing::Leader(leading) = &self.standing else { return false };
        let own = self.config.id;
        let heard = self.configuration().reached_by_majority(|node| match leading.peers.get(&node) {
            _ if node == own => now,
            Some(peer) => peer.heard.unwrap_or(peer.since),
            None => Monotonic::ZERO,
        });
        heard.is_some_and(|heard| now.since(heard) <= self.config.election_timeout_max)
    }
}
