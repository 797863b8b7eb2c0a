//! The coordinator's half: it collects votes, decides, and tells the decision until all have acknowledged it.

use std::collections::BTreeSet;

use sim_core::{NodeId, protocol::Out};

use super::{
    Coordinated, Deciding, Event, Message, Outcome, Record, Timer, Transaction, TwoPhase, Vote, Voting,
};

impl Coordinated {
    fn new(participants: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            participants: participants.into_iter().collect(),
            yes: BTreeSet::new(),
            decision: None,
            acknowledged: BTreeSet::new(),
        }
    }
    /// From the record of a commit: all had voted yes.
    pub(super) fn committed(participants: Vec<NodeId>) -> Self {
        let new = Self::new(participants);
        Self { yes: new.participants.clone(), decision: Some(Outcome::Committed), ..new }
    }
}

impl TwoPhase {
    fn own(&self, number: u64) -> Transaction {
        Transaction { coordinator: self.config.node, number }
    }

    pub(super) fn begin(&mut self, number: u64, participants: Vec<NodeId>, out: &mut Out<Self>) {
        if self.coordinated.contains_key(&number) {
            return;
        }
        let transaction = Coordinated::new(participants);
        let participants = transaction.participants.clone();
        self.coordinated.insert(number, transaction);
        if self.config.voting == Voting::Asked {
            self.prepare(number, &participants, out);
        }
        if let Some(patience) = self.config.patience {
            out.arm(Timer::Patience(number), patience);
        }
        if let Some(repeat) = self.config.repeat {
            out.arm(Timer::Repeat(number), repeat);
        }
        if participants.is_empty() {
            self.complete(number, out); // nobody to wait for
        }
    }

    fn prepare<'a>(&self, number: u64, to: impl IntoIterator<Item = &'a NodeId>, out: &mut Out<Self>) {
        let Some(transaction) = self.coordinated.get(&number) else { return };
        let participants = transaction.participants.iter().copied().collect();
        out.broadcast(to, Message::Prepare { transaction: self.own(number), participants });
    }

    pub(super) fn voted(&mut self, from: NodeId, number: u64, vote: Vote, out: &mut Out<Self>) {
        let votes_missing = self.config.votes_missing as usize;
        match self.coordinated.get_mut(&number) {
            Some(transaction) if transaction.decision.is_none() => {
                if !transaction.participants.contains(&from) {
                    return;
                }
                match vote {
                    Vote::No => self.decide(number, Outcome::Aborted, Some(from), out),
                    Vote::Yes => {
                        let is_new = transaction.yes.insert(from);
                        if is_new && transaction.yes.len() + votes_missing >= transaction.participants.len() {
                            self.complete(number, out);
                        }
                    }
                }
            }
            // Too late. Whoever says no knows the outcome.
            _ if vote == Vote::Yes => self.tell(from, number, out),
            _ => {}
        }
    }

    fn complete(&mut self, number: u64, out: &mut Out<Self>) {
        match self.config.deciding {
            Deciding::AtOnce => self.decide(number, Outcome::Committed, None, out),
            Deciding::OnCommand => out.announce(Event::Ready(self.own(number))),
        }
    }

    pub(super) fn commit_if_ready(&mut self, number: u64, out: &mut Out<Self>) {
        let Some(transaction) = self.coordinated.get(&number) else { return };
        if transaction.yes.len() + self.config.votes_missing as usize >= transaction.participants.len() {
            self.decide(number, Outcome::Committed, None, out);
        }
    }

    /// Decides, unless it has. Whoever has voted no knows already.
    pub(super) fn decide(
        &mut self,
        number: u64,
        outcome: Outcome,
        knows: Option<NodeId>,
        out: &mut Out<Self>,
    ) {
        let own = self.own(number);
        let Some(transaction) = self.coordinated.get_mut(&number) else { return };
        if transaction.decision.is_some() {
            return;
        }
        transaction.decision = Some(outcome);
        let participants = transaction.participants.clone();
        if outcome == Outcome::Committed {
            if !self.ended.is_empty() {
                out.append(Record::Ended(std::mem::take(&mut self.ended)));
            }
            out.append(Record::Committed { number, participants: participants.iter().copied().collect() });
        }
        let others = participants.iter().filter(|&&node| Some(node) != knows);
        out.broadcast(others, Message::Decide { transaction: own, outcome });
        out.announce(Event::Decided(own, outcome));
        if self.config.patience.is_some() {
            out.disarm(Timer::Patience(number));
        }
        if self.config.repeat.is_some() {
            out.disarm(Timer::Repeat(number));
        }
        if self.config.acknowledge {
            match outcome {
                // Presumed: nothing to remember.
                Outcome::Aborted => drop(self.coordinated.remove(&number)),
                Outcome::Committed => self.await_acknowledgements(number, out),
            }
        }
    }

    fn await_acknowledgements(&mut self, number: u64, out: &mut Out<Self>) {
        let Some(transaction) = self.coordinated.get(&number) else { return };
        if transaction.acknowledged.is_superset(&transaction.participants) {
            self.coordinated.remove(&number);
            self.ended.push(number);
            if self.config.repeat.is_some() {
                out.disarm(Timer::Repeat(number));
            }
        } else if let Some(repeat) = self.config.repeat {
            out.arm(Timer::Repeat(number), repeat);
        }
    }

    pub(super) fn acknowledged(&mut self, from: NodeId, number: u64, out: &mut Out<Self>) {
        let Some(transaction) = self.coordinated.get_mut(&number) else { return };
        let is_news = transaction.decision == Some(Outcome::Committed)
            && transaction.participants.contains(&from)
            && transaction.acknowledged.insert(from);
        if is_news && transaction.acknowledged.is_superset(&transaction.participants) {
            self.await_acknowledgements(number, out);
        }
    }

    /// Answers whoever does not know the outcome, if there is one. What is unknown was aborted.
    pub(super) fn tell(&self, to: NodeId, number: u64, out: &mut Out<Self>) {
        let decision = self.coordinated.get(&number).map_or(Some(Outcome::Aborted), |known| known.decision);
        if let Some(outcome) = decision {
            out.send(to, Message::Decide { transaction: self.own(number), outcome });
        }
    }

    pub(super) fn repeat(&mut self, number: u64, out: &mut Out<Self>) {
        let Some(transaction) = self.coordinated.get(&number) else { return };
        match transaction.decision {
            None if self.config.voting == Voting::Asked => {
                self.prepare(number, transaction.participants.difference(&transaction.yes), out);
            }
            None => {}
            Some(outcome) => {
                let silent = transaction.participants.difference(&transaction.acknowledged);
                out.broadcast(silent, Message::Decide { transaction: self.own(number), outcome });
            }
        }
        if let Some(repeat) = self.config.repeat {
            out.arm(Timer::Repeat(number), repeat);
        }
    }

    /// After a restart: commits that are not known to be over are told again.
    pub(super) fn resume_coordinated(&self, out: &mut Out<Self>) {
        for (&number, transaction) in &self.coordinated {
            let own = self.own(number);
            out.announce(Event::Decided(own, Outcome::Committed));
            out.broadcast(
                &transaction.participants,
                Message::Decide { transaction: own, outcome: Outcome::Committed },
            );
            if let Some(repeat) = self.config.repeat.filter(|_| self.config.acknowledge) {
                out.arm(Timer::Repeat(number), repeat);
            }
        }
    }
}
