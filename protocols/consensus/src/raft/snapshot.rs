//! Snapshots: the state instead of a prefix of the log, and its way to a follower that is too far behind (paper, section 7;
//! thesis, section 5.1).

use sim_core::{NodeId, protocol::Out, time::Monotonic};

use super::{
    Configuration, Event, Index, Log, Message, Outcome, Position, Raft, Record, Snapshot, Standing,
    peer::Mode,
};
use crate::Bytes;

/// A snapshot on its way to a follower, one part at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outgoing {
    snapshot: Snapshot,
    /// Where the part under way begins.
    offset: u64,
    /// When it left.
    sent: Monotonic,
}

impl Outgoing {
    /// The last entry that it covers.
    pub(super) fn last(&self) -> Position {
        self.snapshot.last
    }
}

/// A snapshot of which the first parts have come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Incoming {
    last: Position,
    data: Vec<u8>,
}

impl Raft {
    // ---- its own ----

    pub(super) fn compact(&mut self, index: Index, data: Bytes, out: &mut Out<Self>) {
        let Some(last) = self.log.position(index) else { return };
        if index > self.commit || index <= self.snapshot_index() {
            return;
        }
        let configuration = self.configuration_at(index).clone();
        self.snapshot = Some(Snapshot { last, configuration, data });
        let base = index.saturating_sub(self.config.keep).max(self.log.base().index);
        self.log.forget_through(base);
        self.forget_configurations(index);
        self.rewrite(out);
    }

    /// The newest configuration at an index or before.
    fn configuration_at(&self, index: Index) -> &Configuration {
        let known = self.configurations.iter().rfind(|(at, _)| *at <= index);
        &known.unwrap_or(&self.configurations[0]).1
    }
    /// Keeps of the configurations up to an index only the newest.
    fn forget_configurations(&mut self, index: Index) {
        let before = self.configurations.iter().filter(|(at, _)| *at <= index).count();
        self.configurations.drain(..before.saturating_sub(1));
    }

    /// Everything that is durable, written anew.
    fn rewrite(&self, out: &mut Out<Self>) {
        let base = self.log.base();
        let mut records = Vec::with_capacity(3);
        if let Some(snapshot) = &self.snapshot {
            records.push(Record::Snapshot { base, snapshot: snapshot.clone() });
        }
        records.push(self.hard_state());
        records.push(Record::Entries { previous: base, entries: self.log.entries().cloned().collect() });
        out.replace(records);
    }

    /// Starts with a snapshot from the disk, and an empty log after `base`.
    pub(super) fn begin_from(&mut self, base: Position, snapshot: Snapshot) {
        self.log = Log::new(base);
        self.commit = snapshot.last.index;
        self.configurations = vec![(snapshot.last.index, snapshot.configuration.clone())];
        self.snapshot = Some(snapshot);
    }

    // ---- the leader's side ----

    pub(super) fn begin_snapshot(&mut self, to: NodeId, out: &mut Out<Self>) {
        let Some(snapshot) = self.snapshot.clone() else { return };
        let Standing::Leader(leading) = &mut self.standing else { return };
        let Some(peer) = leading.peers.get_mut(&to) else { return };
        peer.mode = Mode::Snapshot(Outgoing { snapshot, offset: 0, sent: out.now() });
        self.send_part(to, out);
    }

    fn send_part(&self, to: NodeId, out: &mut Out<Self>) {
        let Standing::Leader(leading) = &self.standing else { return };
        let Some(Mode::Snapshot(outgoing)) = leading.peers.get(&to).map(|peer| &peer.mode) else { return };
        let Snapshot { last, configuration, data } = &outgoing.snapshot;
        let from = (outgoing.offset as usize).min(data.len());
        let until = (from + self.config.chunk_bytes).min(data.len());
        let message = Message::InstallSnapshot {
            term: self.term,
            last: *last,
            configuration: configuration.clone(),
            offset: from as u64,
            data: data[from..until].into(),
            done: until == data.len(),
            round: leading.round,
            sent: out.now(),
        };
        out.send_now(to, message);
    }

    /// Sends a part again that has not been answered for too long.
    pub(super) fn resend_snapshot(&mut self, to: NodeId, out: &mut Out<Self>) {
        let (now, after) = (out.now(), self.config.resend_after);
        let newest = self.snapshot.clone();
        let Standing::Leader(leading) = &mut self.standing else { return };
        let Some(Mode::Snapshot(outgoing)) = leading.peers.get_mut(&to).map(|peer| &mut peer.mode) else {
            return;
        };
        if now.since(outgoing.sent) >= after {
            outgoing.sent = now;
            // Whoever has nothing of it yet may as well get a newer one.
            if let Some(newest) = newest
                && outgoing.offset == 0
            {
                outgoing.snapshot = newest;
            }
            self.send_part(to, out);
        }
    }

    pub(super) fn on_snapshot_received(
        &mut self,
        from: NodeId,
        last: Position,
        offset: u64,
        round: u64,
        sent: Monotonic,
        out: &mut Out<Self>,
    ) {
        if !self.heard_from(from, round, sent, out) {
            return;
        }
        let Standing::Leader(leading) = &mut self.standing else { return };
        let Some(Mode::Snapshot(outgoing)) = leading.peers.get_mut(&from).map(|peer| &mut peer.mode) else {
            return;
        };
        if outgoing.last() == last && outgoing.offset != offset {
            outgoing.offset = offset;
            outgoing.sent = out.now();
            self.send_part(from, out);
        }
    }

    // ---- the follower's side ----

    /// A part has come; gives the answer.
    #[expect(clippy::too_many_arguments, reason = "the fields of the message")]
    pub(super) fn on_install_snapshot(
        &mut self,
        last: Position,
        configuration: Configuration,
        offset: u64,
        data: &Bytes,
        done: bool,
        (round, sent): (u64, Monotonic),
        out: &mut Out<Self>,
    ) -> Message {
        let term = self.term;
        if last.index <= self.commit {
            // Older than what is here: nothing to install, and all that is committed here is in the leader's log.
            self.incoming = None;
            let outcome = Outcome::Matched { index: self.commit };
            return Message::Appended { term, outcome, round, sent };
        }
        if self.incoming.as_ref().is_none_or(|incoming| incoming.last != last) {
            self.incoming = Some(Incoming { last, data: Vec::new() });
        }
        let incoming = self.incoming.as_mut().expect("it was just made");
        let fits = incoming.data.len() as u64 == offset;
        if fits {
            incoming.data.extend_from_slice(data);
        }
        if !(fits && done) {
            let offset = incoming.data.len() as u64;
            return Message::SnapshotReceived { term, last, offset, round, sent };
        }
        let data = self.incoming.take().map_or_else(Bytes::empty, |incoming| incoming.data.into());
        self.install(Snapshot { last, configuration, data }, out);
        Message::Appended { term, outcome: Outcome::Matched { index: last.index }, round, sent }
    }

    fn install(&mut self, snapshot: Snapshot, out: &mut Out<Self>) {
        let last = snapshot.last;
        if self.log.position(last.index) == Some(last) {
            // What comes after it in the log still holds.
            self.log.forget_through(last.index);
            self.configurations.retain(|(index, _)| *index > last.index);
            self.configurations.insert(0, (last.index, snapshot.configuration.clone()));
        } else {
            self.log = Log::new(last);
            self.configurations = vec![(last.index, snapshot.configuration.clone())];
        }
        self.commit = last.index;
        self.snapshot = Some(snapshot.clone());
        out.state(super::CONFIG, self.configuration().to_string());
        self.rewrite(out);
        out.announce_now(Event::Restored { snapshot });
    }
}
