//! Row locks: one holder per row, the others in line, and no circles.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
};

use sim_core::{
    Node,
    record::Histogram,
    sync::{OneshotSender, oneshot},
    time::Duration,
};

use super::DatabaseError;
use crate::cast::level::Level;

struct RowLock {
    holder: u64,
    waiting: VecDeque<(u64, OneshotSender<()>)>,
}

/// The locks of one database. Transactions are numbers; each waits for one row at most.
pub(super) struct Locks {
    node: Node,
    limit: Option<Duration>,
    rows: RefCell<BTreeMap<String, RowLock>>,
    held: RefCell<BTreeMap<u64, Vec<String>>>,
    waits_for: RefCell<BTreeMap<u64, String>>,
    waiting: Level,
    wait: Histogram,
}

impl Locks {
    pub(super) fn new(node: &Node, limit: Option<Duration>) -> Self {
        Self {
            limit,
            rows: RefCell::default(),
            held: RefCell::default(),
            waits_for: RefCell::default(),
            waiting: Level::new(node, "db.locks.waiting"),
            wait: node.histogram("db.lock.wait"),
            node: node.clone(),
        }
    }

    /// Waits for a row, in order of asking. Who holds it already has it.
    pub(super) async fn acquire(&self, transaction: u64, key: &str) -> Result<(), DatabaseError> {
        let turn = {
            let mut rows = self.rows.borrow_mut();
            match rows.get_mut(key) {
                None => {
                    rows.insert(key.to_owned(), RowLock { holder: transaction, waiting: VecDeque::new() });
                    self.hold(transaction, key);
                    return Ok(());
                }
                Some(row) if row.holder == transaction => return Ok(()),
                Some(row) => {
                    let (sender, receiver) = oneshot();
                    row.waiting.push_back((transaction, sender));
                    receiver
                }
            }
        };
        self.waits_for.borrow_mut().insert(transaction, key.to_owned());
        if self.is_circle(transaction) {
            self.give_up(transaction, key);
            return Err(DatabaseError::Deadlock);
        }
        let asked = self.node.monotonic();
        let _waiting = self.waiting.enter();
        let granted = self.node.span("db.lock").run(async {
            match self.limit {
                Some(limit) => self.node.timeout(limit, turn).await,
                None => Some(turn.await),
            }
        });
        let granted = granted.await;
        self.wait.record(self.node.monotonic().since(asked));
        if granted.is_none() {
            self.give_up(transaction, key);
            return Err(DatabaseError::LockTimedOut);
        }
        Ok(())
    }

    /// Whether this transaction waits, through the holders of rows, for itself. (Those who stand in line before it wait for the
    /// same holder, so each circle leads through holders.)
    fn is_circle(&self, transaction: u64) -> bool {
        let (rows, waits_for) = (self.rows.borrow(), self.waits_for.borrow());
        let mut next = transaction;
        // A circle that does not lead back here was refused when it closed, so this walk ends.
        for _ in 0..=waits_for.len() {
            let Some(row) = waits_for.get(&next).and_then(|key| rows.get(key)) else { return false };
            next = row.holder;
            if next == transaction {
                return true;
            }
        }
        false
    }

    fn give_up(&self, transaction: u64, key: &str) {
        self.waits_for.borrow_mut().remove(&transaction);
        if let Some(row) = self.rows.borrow_mut().get_mut(key) {
            row.waiting.retain(|(waiting, _)| *waiting != transaction);
        }
    }

    fn hold(&self, transaction: u64, key: &str) {
        self.held.borrow_mut().entry(transaction).or_default().push(key.to_owned());
    }

    /// Gives all rows of a transaction to those who are next.
    pub(super) fn release(&self, transaction: u64) {
        let keys = self.held.borrow_mut().remove(&transaction).unwrap_or_default();
        for key in keys {
            let mut rows = self.rows.borrow_mut();
            let Some(row) = rows.get_mut(&key) else { continue };
            match row.waiting.pop_front() {
                None => {
                    rows.remove(&key);
                }
                Some((next, turn)) => {
                    row.holder = next;
                    drop(rows);
                    self.waits_for.borrow_mut().remove(&next);
                    self.hold(next, &key);
                    turn.send(());
                }
            }
        }
    }
}
