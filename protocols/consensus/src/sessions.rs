//! Client sessions: a command that comes twice is applied once.
//!
//! A client that got no answer asks again, and its command may be in the log twice. So each client numbers its commands and
//! has one under way at a time; the state machine keeps the last number and answer of each client, and answers a number that
//! it knows without applying the command. The table is part of the state: it belongs into snapshots.
//!
//! Source: D. Ongaro, "Consensus: Bridging Theory and Practice", Stanford 2014, section 6.3.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What to do with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission<'a, A> {
    /// It is new: apply it, then [`Sessions::record`] the answer.
    New,
    /// It has been applied: this was the answer.
    Repeated(&'a A),
    /// It has been applied, and its client has had the answer: it has gone on to a later command since.
    Outdated,
}

/// The last command of each client, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sessions<A> {
    clients: BTreeMap<u64, (u64, A)>,
}

impl<A> Default for Sessions<A> {
    fn default() -> Self {
        Self { clients: BTreeMap::new() }
    }
}

impl<A> Sessions<A> {
    /// Nobody has asked for anything yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Whether a client's command is to be applied. Sequence numbers of a client rise; they need not be dense.
    pub fn admit(&self, client: u64, sequence: u64) -> Admission<'_, A> {
        match self.clients.get(&client) {
            Some((last, answer)) if *last == sequence => Admission::Repeated(answer),
            Some((last, _)) if *last > sequence => Admission::Outdated,
            _ => Admission::New,
        }
    }
    /// A client's command has been applied.
    pub fn record(&mut self, client: u64, sequence: u64, answer: A) {
        self.clients.insert(client, (sequence, answer));
    }
    /// How many clients it knows.
    pub fn len(&self) -> usize {
        self.clients.len()
    }
    /// Whether it knows nobody.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use sim_core::codec;

    use super::*;

    #[test]
    fn a_command_that_comes_twice_is_applied_once() {
        let mut sessions = Sessions::new();
        assert_eq!(sessions.admit(1, 0), Admission::New);
        sessions.record(1, 0, "first");
        assert_eq!(sessions.admit(1, 0), Admission::Repeated(&"first"));
        assert_eq!(sessions.admit(2, 0), Admission::New);
        assert_eq!(sessions.admit(1, 5), Admission::New);
        sessions.record(1, 5, "second");
        assert_eq!(sessions.admit(1, 0), Admission::Outdated);
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn the_table_outlives_a_snapshot() {
        let mut sessions = Sessions::new();
        sessions.record(7, 3, 40_u64);
        let restored: Sessions<u64> = codec::decode(&codec::encode(&sessions)).unwrap();
        assert_eq!(restored.admit(7, 3), Admission::Repeated(&40));
    }
}
