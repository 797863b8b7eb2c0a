//! The state machine behind the log: a table, and the sessions of the clients.

use std::collections::BTreeMap;

use consensus::{Bytes, Sessions, sessions::Admission};
use serde::{Deserialize, Serialize};
use sim_core::codec;

use super::messages::{KvAnswer, KvOperation, KvValue, Logged};

/// The whole state of a server; a snapshot is its encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Store {
    table: BTreeMap<String, KvValue>,
    sessions: Sessions<KvAnswer>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Effect {
    /// None where the session has gone on.
    pub(super) answer: Option<KvAnswer>,
    /// Whether the table was asked, and not the session.
    pub(super) applied: bool,
}

impl Store {
    pub(super) fn from_snapshot(data: &Bytes) -> Option<Self> {
        codec::decode(data).ok()
    }
    pub(super) fn to_snapshot(&self) -> Bytes {
        codec::encode(self).into()
    }

    /// Applies a command of the log; one that its session knows is not applied again.
    pub(super) fn apply(&mut self, command: &Logged, sessions: bool) -> Effect {
        let Logged { client, sequence, operation } = command;
        if sessions {
            match self.sessions.admit(*client, *sequence) {
                Admission::New => {}
                Admission::Repeated(answer) => {
                    return Effect { answer: Some(answer.clone()), applied: false };
                }
                Admission::Outdated => return Effect { answer: None, applied: false },
            }
        }
        let answer = self.execute(operation);
        if sessions {
            self.sessions.record(*client, *sequence, answer.clone());
        }
        Effect { answer: Some(answer), applied: true }
    }

    /// Carries out an operation on the table.
    pub(super) fn execute(&mut self, operation: &KvOperation) -> KvAnswer {
        let table = &mut self.table;
        match operation {
            KvOperation::Read { key } => KvAnswer::Value(table.get(key).cloned()),
            KvOperation::Write { key, value } => {
                table.insert(key.clone(), value.clone());
                KvAnswer::Done
            }
            KvOperation::CompareAndSet { key, expected, value } => {
                let swaps = table.get(key) == expected.as_ref();
                if swaps {
                    table.insert(key.clone(), value.clone());
                }
                KvAnswer::Swapped(swaps)
            }
            KvOperation::Increment { key, by } => {
                match table.entry(key.clone()).or_insert(KvValue::Number(0)) {
                    KvValue::Number(number) => match number.checked_add(*by) {
                        Some(sum) => {
                            *number = sum;
                            KvAnswer::Sum(sum)
                        }
                        None => KvAnswer::WrongType,
                    },
                    _ => KvAnswer::WrongType,
                }
            }
            KvOperation::Append { key, value } => {
                match table.entry(key.clone()).or_insert_with(|| KvValue::List(Vec::new())) {
                    KvValue::List(list) => {
                        list.push(*value);
                        KvAnswer::Done
                    }
                    _ => KvAnswer::WrongType,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn increment(sequence: u64) -> Logged {
        Logged { client: 1, sequence, operation: KvOperation::Increment { key: "a".to_owned(), by: 2 } }
    }

    #[test]
    fn a_retry_gets_the_first_answer_and_changes_nothing() {
        let mut store = Store::default();
        let first = store.apply(&increment(0), true);
        assert_eq!(first, Effect { answer: Some(KvAnswer::Sum(2)), applied: true });
        let again = store.apply(&increment(0), true);
        assert_eq!(again, Effect { answer: Some(KvAnswer::Sum(2)), applied: false });
        assert_eq!(store.apply(&increment(1), true).answer, Some(KvAnswer::Sum(4)));
        assert_eq!(store.apply(&increment(0), true).answer, None);
        // Without sessions each copy counts.
        assert_eq!(store.apply(&increment(1), false).answer, Some(KvAnswer::Sum(6)));
    }

    #[test]
    fn a_snapshot_brings_table_and_sessions_back() {
        let mut store = Store::default();
        store.apply(&increment(3), true);
        let mut restored = Store::from_snapshot(&store.to_snapshot()).unwrap();
        assert_eq!(restored, store);
        assert!(!restored.apply(&increment(3), true).applied);
        assert_eq!(Store::from_snapshot(&Bytes::from("no snapshot")), None);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut store = Store::default();
        let key = || "a".to_owned();
        store.execute(&KvOperation::Append { key: key(), value: 1 });
        assert_eq!(store.execute(&KvOperation::Increment { key: key(), by: 1 }), KvAnswer::WrongType);
        let swap = |expected| KvOperation::CompareAndSet { key: key(), expected, value: KvValue::Number(5) };
        assert_eq!(store.execute(&swap(None)), KvAnswer::Swapped(false));
        assert_eq!(store.execute(&swap(Some(KvValue::List(vec![1])))), KvAnswer::Swapped(true));
        let limit = KvOperation::Increment { key: key(), by: i64::MAX };
        assert_eq!(store.execute(&limit), KvAnswer::WrongType);
        assert_eq!(
            store.execute(&KvOperation::Read { key: key() }),
            KvAnswer::Value(Some(KvValue::Number(5)))
        );
    }
}
