//! The objects that are checked most often, as sequential specifications.
//!
//! | name | functions |
//! |---|---|
//! | `register` | `read`, `write` |
//! | `cas-register` | `read`, `write`, `cas` with `[from, to]` |
//! | `multi-register` | `txn` with `[["r", key, value], ["w", key, value]]`; `read` and `write` with a map |
//! | `kv` | `get`, `put`, `append`, on texts |
//! | `queue` | `enqueue`, `dequeue`, first in, first out |
//! | `set` | `add`, `remove`, `contains`, `read` |
//! | `counter` | `add`, `increment`, `decrement`, `read` |
//! | `mutex` | `acquire`, `release` |
//! | `fenced-lock` | `acquire` gives a token, `release`, `write` with a token |

mod collections;
mod counter;
mod kv;
mod locks;
mod register;

pub use collections::{Queue, QueueAction, Set, SetAction};
pub use counter::{Counter, CounterAction};
pub use kv::{KeyValue, KeyValueAction};
pub use locks::{FencedLock, FencedLockAction, FencedLockState, Mutex, MutexAction};
pub use register::{Access, MultiRegister, Register, RegisterAction};

use super::{Budget, History, Misfit, Report, fits, linearizable, sequential};

/// A model by its name, for the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KnownModel {
    /// [`Register`] without compare-and-set.
    Register,
    /// [`Register`] with compare-and-set.
    CasRegister,
    /// [`MultiRegister`].
    MultiRegister,
    /// [`KeyValue`].
    KeyValue,
    /// [`Queue`].
    Queue,
    /// [`Set`].
    Set,
    /// [`Counter`].
    Counter,
    /// [`Mutex`].
    Mutex,
    /// [`FencedLock`].
    FencedLock,
}

/// Does the same with whatever model the name stands for.
macro_rules! with_model {
    ($known:expr, $model:ident => $do:expr) => {
        match $known {
            KnownModel::Register => {
                let $model = &Register::default();
                $do
            }
            KnownModel::CasRegister => {
                let $model = &Register::with_cas();
                $do
            }
            KnownModel::MultiRegister => {
                let $model = &MultiRegister;
                $do
            }
            KnownModel::KeyValue => {
                let $model = &KeyValue;
                $do
            }
            KnownModel::Queue => {
                let $model = &Queue;
                $do
            }
            KnownModel::Set => {
                let $model = &Set;
                $do
            }
            KnownModel::Counter => {
                let $model = &Counter;
                $do
            }
            KnownModel::Mutex => {
                let $model = &Mutex;
                $do
            }
            KnownModel::FencedLock => {
                let $model = &FencedLock::default();
                $do
            }
        }
    };
}

impl KnownModel {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Register,
        Self::CasRegister,
        Self::MultiRegister,
        Self::KeyValue,
        Self::Queue,
        Self::Set,
        Self::Counter,
        Self::Mutex,
        Self::FencedLock,
    ];
    /// The name, as written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::CasRegister => "cas-register",
            Self::MultiRegister => "multi-register",
            Self::KeyValue => "kv",
            Self::Queue => "queue",
            Self::Set => "set",
            Self::Counter => "counter",
            Self::Mutex => "mutex",
            Self::FencedLock => "fenced-lock",
        }
    }
    /// Whether the model understands every operation.
    pub fn fits(self, history: &History) -> Result<(), Misfit> {
        with_model!(self, model => fits(history, model))
    }
    /// See [`linearizable`].
    pub fn linearizable(self, history: &History, budget: Budget) -> Report {
        with_model!(self, model => linearizable(history, model, budget))
    }
    /// See [`sequential`].
    pub fn sequential(self, history: &History, budget: Budget) -> Report {
        with_model!(self, model => sequential(history, model, budget))
    }
}
