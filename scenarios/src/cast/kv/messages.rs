//! What the replicated store and its clients say to each other, and what stands in the log.

use std::collections::BTreeSet;

use consensus::raft::{Position, Rejection};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sim_core::{
    NodeId,
    net::rpc::{CallError, Request},
};

use crate::cast::Failure;

/// A value of the store. As JSON it is the number, the list or the text itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KvValue {
    /// A whole number: registers and counters.
    Number(i64),
    /// What was appended, in order.
    List(Vec<i64>),
    /// Anything else.
    Text(String),
}

/// The same, for the wire.
#[derive(Serialize, Deserialize)]
enum Encoded {
    Number(i64),
    List(Vec<i64>),
    Text(String),
}

impl Serialize for KvValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return match self {
                Self::Number(number) => serializer.serialize_i64(*number),
                Self::List(list) => list.serialize(serializer),
                Self::Text(text) => serializer.serialize_str(text),
            };
        }
        match self.clone() {
            Self::Number(number) => Encoded::Number(number),
            Self::List(list) => Encoded::List(list),
            Self::Text(text) => Encoded::Text(text),
        }
        .serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for KvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Encoded::deserialize(deserializer)? {
            Encoded::Number(number) => Self::Number(number),
            Encoded::List(list) => Self::List(list),
            Encoded::Text(text) => Self::Text(text),
        })
    }
}

impl From<i64> for KvValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}
impl From<&str> for KvValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for KvValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KvOperation {
    /// The value of a key.
    Read {
        /// Which.
        key: String,
    },
    /// A new value.
    Write {
        /// Which.
        key: String,
        /// What.
        value: KvValue,
    },
    /// A new value, where the old one is what the client thinks.
    CompareAndSet {
        /// Which.
        key: String,
        /// What the client thinks it is; nothing where the key is absent.
        expected: Option<KvValue>,
        /// What it shall be.
        value: KvValue,
    },
    /// Adds to a number, which is 0 where there is none; gives the sum.
    Increment {
        /// Which.
        key: String,
        /// How much.
        by: i64,
    },
    /// Appends to a list, which is empty where there is none.
    Append {
        /// Which.
        key: String,
        /// What.
        value: i64,
    },
}

impl KvOperation {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Read { key }
            | Self::Write { key, .. }
            | Self::CompareAndSet { key, .. }
            | Self::Increment { key, .. }
            | Self::Append { key, .. } => key,
        }
    }
    /// Its name in histories: `read`, `write`, `cas`, `increment`, `append`.
    pub fn function(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::CompareAndSet { .. } => "cas",
            Self::Increment { .. } => "increment",
            Self::Append { .. } => "append",
        }
    }
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KvAnswer {
    /// What was read: nothing where the key is absent.
    Value(Option<KvValue>),
    /// It is written, appended.
    Done,
    /// Whether the old value was the expected one, so that the new one is set.
    Swapped(bool),
    /// The sum.
    Sum(i64),
    /// The value is none that this can be done with: nothing has changed.
    WrongType,
}

/// A message to a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvRequest {
    /// Who asks: the session.
    pub client: u64,
    /// Which of its operations this is. One that is asked again keeps its number.
    pub sequence: u64,
    /// What.
    pub operation: KvOperation,
}

/// The answer. The variant's name is the packet's kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvResponse {
    /// It is done.
    Answered {
        /// What came of it.
        answer: KvAnswer,
    },
    /// Nothing was done: ask the leader.
    NotLeader {
        /// Who that is, as far as the server knows.
        hint: Option<NodeId>,
    },
    /// The server has lost its leadership (or its place in the log) meanwhile: it may have been done, or may be yet.
    Unclear,
    /// The session has gone on to a later operation: this one is done, its answer forgotten.
    Outdated,
}

impl Request for KvRequest {
    type Response = KvResponse;
}

/// What an operator asks of a server. The variant's name is the packet's kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvAdmin {
    /// Who shall belong to the cluster.
    ChangeMembership {
        /// Who shall vote.
        voters: BTreeSet<NodeId>,
        /// Who shall get the log and not vote.
        learners: BTreeSet<NodeId>,
        /// By joint consensus.
        joint: bool,
    },
    /// Who shall lead.
    TransferLeadership {
        /// Who.
        target: NodeId,
    },
}

/// The answer to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvAdminResponse {
    /// The change has its place in this leader's log. It may yet be lost.
    Accepted {
        /// Its place.
        at: Position,
    },
    /// Nothing was done.
    Rejected {
        /// Why.
        reason: Rejection,
    },
    /// It is under way, and nobody will say when it is done.
    Asked,
}

impl Request for KvAdmin {
    type Response = KvAdminResponse;
}

/// What stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Logged {
    pub(super) client: u64,
    pub(super) sequence: u64,
    pub(super) operation: KvOperation,
}

/// Why an operation has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// No server has done it, and none will.
    #[error("no leader")]
    NoLeader,
    /// It may have been done, or may be yet.
    #[error("unknown: {0}")]
    Unknown(String),
}

impl KvError {
    /// Whether it was certainly not done.
    pub fn is_definite(&self) -> bool {
        *self == Self::NoLeader
    }
}

impl From<CallError> for KvError {
    fn from(error: CallError) -> Self {
        Self::Unknown(error.label().to_owned())
    }
}

impl From<KvError> for Failure {
    fn from(error: KvError) -> Self {
        Self::new(format!("kv {error}"))
    }
}
