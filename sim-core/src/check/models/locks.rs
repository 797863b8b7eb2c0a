//! Locks: a plain mutex, and a lock whose grants carry a fencing token.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::check::{
    history::Operation,
    model::{Misfit, Model},
};

/// Held or free: `acquire` needs it free, `release` needs it held. An answer of `false` says that it was not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mutex;

/// What is done to a mutex.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MutexAction {
    /// Whether it got the mutex, where that is known.
    Acquire(Option<bool>),
    /// Whether it gave it back, where that is known.
    Release(Option<bool>),
}

fn granted(operation: &Operation) -> Option<bool> {
    operation.output().map(|output| *output != Json::Bool(false))
}

impl Model for Mutex {
    type State = bool;
    type Action = MutexAction;

    fn name(&self) -> &'static str {
        "mutex"
    }
    fn initial(&self) -> bool {
        false
    }
    fn action(&self, operation: &Operation) -> Result<MutexAction, Misfit> {
        match &*operation.function {
            "acquire" | "lock" => Ok(MutexAction::Acquire(granted(operation))),
            "release" | "unlock" => Ok(MutexAction::Release(granted(operation))),
            _ => Err(Misfit::function(operation, self.name(), &["acquire", "release"])),
        }
    }
    fn step(&self, held: &bool, action: &MutexAction, next: &mut Vec<bool>) {
        let (possible, granted, after) = match action {
            MutexAction::Acquire(granted) => (!held, granted, true),
            MutexAction::Release(granted) => (*held, granted, false),
        };
        if granted.is_none_or(|granted| granted == possible) {
            next.push(if possible { after } else { *held });
        }
    }
    fn only_observes(&self, action: &MutexAction) -> bool {
        matches!(action, MutexAction::Acquire(Some(false)) | MutexAction::Release(Some(false)))
    }
}

/// A lock whose every grant carries a token greater than all before (Kleppmann 2016, "How to do distributed locking"),
/// and the resource behind it, which refuses a token smaller than one it has seen.
///
/// `acquire` gives the token; `release`; `write` with a token (a number, or `{"token": n}`) gives `false` where the
/// resource refused it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FencedLock {
    /// Whether a grant may run out by itself: then somebody else may get the lock without a release.
    pub leases: bool,
}

impl Default for FencedLock {
    fn default() -> Self {
        Self { leases: true }
    }
}

/// The lock and its resource.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct FencedLockState {
    holder: Option<Arc<str>>,
    /// The greatest token granted, as far as is certain.
    granted: i64,
    /// The greatest token that the resource has seen.
    seen: i64,
}

/// What is done to a lock with fencing tokens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum FencedLockAction {
    /// Who, and the token where it is known.
    Acquire(Arc<str>, Option<i64>),
    /// The lock was refused.
    Refused,
    /// Who.
    Release(Arc<str>),
    /// With which token, and whether the resource took it.
    Write(i64, Option<bool>),
}

impl Model for FencedLock {
    type State = FencedLockState;
    type Action = FencedLockAction;

    fn name(&self) -> &'static str {
        "fenced-lock"
    }
    fn initial(&self) -> FencedLockState {
        FencedLockState::default()
    }
    fn action(&self, operation: &Operation) -> Result<FencedLockAction, Misfit> {
        let client = || operation.client.clone();
        let token = |value: &Json| value.get("token").unwrap_or(value).as_i64();
        match &*operation.function {
            "acquire" => match operation.output() {
                None => Ok(FencedLockAction::Acquire(client(), None)),
                Some(Json::Bool(false)) => Ok(FencedLockAction::Refused),
                Some(output) => match token(output) {
                    Some(token) => Ok(FencedLockAction::Acquire(client(), Some(token))),
                    None => Err(Misfit::output(operation, "a token, a whole number, or false")),
                },
            },
            "release" => Ok(FencedLockAction::Release(client())),
            "write" => match token(&operation.input) {
                Some(token) => Ok(FencedLockAction::Write(token, granted(operation))),
                None => Err(Misfit::input(operation, "a token, a whole number")),
            },
            _ => Err(Misfit::function(operation, self.name(), &["acquire", "release", "write"])),
        }
    }
    fn step(&self, state: &FencedLockState, action: &FencedLockAction, next: &mut Vec<FencedLockState>) {
        match action {
            FencedLockAction::Acquire(client, token) => {
                // A grant whose token nobody knows took at least the next one.
                let token = token.unwrap_or(state.granted.saturating_add(1));
                let free = self.leases || state.holder.is_none();
                if free && token > state.granted {
                    next.push(FencedLockState {
                        holder: Some(client.clone()),
                        granted: token,
                        seen: state.seen,
                    });
                }
            }
            FencedLockAction::Refused => {
                if state.holder.is_some() {
                    next.push(state.clone());
                }
            }
            FencedLockAction::Release(client) => {
                if state.holder.as_ref() == Some(client) {
                    next.push(FencedLockState { holder: None, ..state.clone() });
                } else if self.leases {
                    next.push(state.clone()); // its lease had run out before
                }
            }
            FencedLockAction::Write(token, taken) => {
                let current = *token >= state.seen;
                if taken.is_none_or(|taken| taken == current) {
                    let seen = state.seen.max(*token);
                    next.push(FencedLockState { seen, ..state.clone() });
                }
            }
        }
    }
    fn only_observes(&self, action: &FencedLockAction) -> bool {
        matches!(action, FencedLockAction::Refused | FencedLockAction::Write(_, Some(false)))
    }
}
