//! The participant's half: it votes once, and does what the coordinator has decided.

use sim_core::{NodeId, protocol::Out};

use super::{
    Event, IN_DOUBT, Message, Outcome, Part, Record, Termination, Timer, Transaction, TwoPhase, Vote, Voting,
};

impl TwoPhase {
    /// The coordinator asks for a vote.
    pub(super) fn asked(&mut self, transaction: Transaction, participants: Vec<NodeId>, out: &mut Out<Self>) {
        let to = transaction.coordinator;
        match self.parts.get(&transaction) {
            None => {
                self.parts.insert(transaction, Part::Working { participants });
                out.announce(Event::Asked(transaction));
            }
            Some(Part::Prepared { .. }) => out.send(to, Message::Vote { transaction, vote: Vote::Yes }),
            Some(Part::Done(Outcome::Aborted)) => {
                out.send(to, Message::Vote { transaction, vote: Vote::No });
            }
            // The application is still thinking; or the question is older than the answer.
            Some(Part::Working { .. } | Part::Done(Outcome::Committed)) => {}
        }
    }

    pub(super) fn vote(&mut self, transaction: Transaction, vote: Vote, out: &mut Out<Self>) {
        let participants = match self.parts.get_mut(&transaction) {
            None if self.config.voting == Voting::Volunteered => Vec::new(),
            Some(Part::Working { participants }) => std::mem::take(participants),
            _ => return,
        };
        match vote {
            Vote::Yes => {
                out.append(Record::Prepared { transaction, participants: participants.clone() });
                self.parts.insert(transaction, Part::Prepared { participants });
                self.show_doubts(out);
                self.arm_doubt(transaction, out);
            }
            Vote::No => self.finish(transaction, Outcome::Aborted, out),
        }
        out.send(transaction.coordinator, Message::Vote { transaction, vote });
    }

    pub(super) fn abandon(&mut self, transaction: Transaction, out: &mut Out<Self>) {
        if matches!(self.parts.get(&transaction), None | Some(Part::Working { .. })) {
            self.finish(transaction, Outcome::Aborted, out);
        }
    }

    /// The part is over, which is on the disk before anybody hears of it.
    fn finish(&mut self, transaction: Transaction, outcome: Outcome, out: &mut Out<Self>) {
        let before = self.parts.insert(transaction, Part::Done(outcome));
        out.append(Record::Done(transaction, outcome));
        if matches!(before, Some(Part::Prepared { .. })) {
            if self.config.doubt.is_some() {
                out.disarm(Timer::Doubt(transaction));
            }
            self.show_doubts(out);
        }
        out.announce(Event::Outcome(transaction, outcome));
    }

    /// The coordinator has decided, or a peer says so.
    pub(super) fn decided(&mut self, transaction: Transaction, outcome: Outcome, out: &mut Out<Self>) {
        match self.parts.get(&transaction) {
            Some(Part::Prepared { .. }) => self.finish(transaction, outcome, out),
            // What overtook the question answers it.
            None | Some(Part::Working { .. }) if outcome == Outcome::Aborted => {
                self.finish(transaction, outcome, out);
            }
            // It cannot commit what it has not prepared, nor take back that it has aborted.
            None | Some(Part::Working { .. } | Part::Done(Outcome::Aborted))
                if outcome == Outcome::Committed =>
            {
                out.announce(Event::Contradiction(transaction));
            }
            // Known already; or the coordinator has forgotten the commit, and a late message made it presume an abort.
            _ => {}
        }
        // A presumed abort needs no answer.
        let is_done = matches!(self.parts.get(&transaction), Some(Part::Done(_)));
        if self.config.acknowledge && outcome == Outcome::Committed && is_done {
            out.send(transaction.coordinator, Message::Acknowledge { transaction });
        }
    }

    /// Another participant is in doubt.
    pub(super) fn asked_by_peer(&mut self, peer: NodeId, transaction: Transaction, out: &mut Out<Self>) {
        if matches!(self.parts.get(&transaction), None | Some(Part::Working { .. })) {
            // Without this vote nobody can have committed, and now nobody will.
            self.finish(transaction, Outcome::Aborted, out);
        }
        if let Some(&Part::Done(outcome)) = self.parts.get(&transaction) {
            out.send(peer, Message::Decide { transaction, outcome });
        }
    }

    /// It has been in doubt for long.
    pub(super) fn doubt(&mut self, transaction: Transaction, out: &mut Out<Self>) {
        let Some(Part::Prepared { .. }) = self.parts.get(&transaction) else { return };
        if self.config.termination == Termination::AbortAlone {
            self.finish(transaction, Outcome::Aborted, out);
        } else {
            self.inquire(transaction, out);
            self.arm_doubt(transaction, out);
        }
    }

    fn inquire(&self, transaction: Transaction, out: &mut Out<Self>) {
        let Some(Part::Prepared { participants }) = self.parts.get(&transaction) else { return };
        out.send(transaction.coordinator, Message::Inquire { transaction });
        if self.config.termination == Termination::AskPeers {
            let peers = participants
                .iter()
                .filter(|&&peer| peer != self.config.node && peer != transaction.coordinator);
            out.broadcast(peers, Message::Inquire { transaction });
        }
    }

    fn arm_doubt(&self, transaction: Transaction, out: &mut Out<Self>) {
        if let Some(doubt) = self.config.doubt {
            out.arm(Timer::Doubt(transaction), doubt);
        }
    }

    fn show_doubts(&self, out: &mut Out<Self>) {
        out.state(IN_DOUBT, self.in_doubt().count().to_string());
    }

    /// After a restart: what is in doubt is asked about at once.
    pub(super) fn resume_parts(&self, out: &mut Out<Self>) {
        let doubts: Vec<Transaction> = self.in_doubt().collect();
        if !doubts.is_empty() {
            self.show_doubts(out);
        }
        for transaction in doubts {
            out.announce(Event::InDoubt(transaction));
            if self.config.doubt.is_some() {
                self.inquire(transaction, out);
                self.arm_doubt(transaction, out);
            }
        }
    }
}
