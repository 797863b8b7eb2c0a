//! What a database and its clients say to each other.

use serde::{Deserialize, Serialize};
use sim_core::net::rpc::{CallError, Request};

use crate::cast::Failure;

/// A row: a value, and how often it has been written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The value.
    #[serde(with = "crate::cast::bytes")]
    pub value: Vec<u8>,
    /// 1 for the first value of a key, one more for each that replaced it.
    pub version: u64,
}

impl Row {
    /// The value as text; what is no text is shown as far as it is.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statement {
    /// Takes the time of that name and touches no row: a report, an unindexed scan.
    Query {
        /// Which: the name that [`Database::time_for`](super::Database::time_for) knows; the usual time for others.
        name: String,
    },
    /// Reads a row as it was last committed (or written by this transaction).
    Get {
        /// Which.
        key: String,
    },
    /// The same, and locks the row until the end of the transaction.
    GetForUpdate {
        /// Which.
        key: String,
    },
    /// Writes a row.
    Put {
        /// Which.
        key: String,
        /// What.
        #[serde(with = "crate::cast::bytes")]
        value: Vec<u8>,
    },
    /// Writes a row that must not be there: the key is unique.
    Insert {
        /// Which.
        key: String,
        /// What.
        #[serde(with = "crate::cast::bytes")]
        value: Vec<u8>,
    },
    /// Removes a row.
    Delete {
        /// Which.
        key: String,
    },
    /// Adds to a whole number, which is 0 where there is no row.
    Increment {
        /// Which.
        key: String,
        /// How much.
        by: i64,
    },
    /// Reads rows whose keys begin alike, in order of their keys.
    Scan {
        /// How they begin.
        prefix: String,
        /// How many at most.
        limit: u64,
    },
}

impl Statement {
    /// A short name, for spans and for [`Database::time_for`](super::Database::time_for).
    pub fn name(&self) -> &str {
        match self {
            Self::Query { name } => name,
            Self::Get { .. } => "get",
            Self::GetForUpdate { .. } => "get for update",
            Self::Put { .. } => "put",
            Self::Insert { .. } => "insert",
            Self::Delete { .. } => "delete",
            Self::Increment { .. } => "increment",
            Self::Scan { .. } => "scan",
        }
    }
    /// The row that it locks, if it locks one.
    pub(super) fn locks(&self) -> Option<&str> {
        match self {
            Self::Query { .. } | Self::Get { .. } | Self::Scan { .. } => None,
            Self::GetForUpdate { key }
            | Self::Put { key, .. }
            | Self::Insert { key, .. }
            | Self::Delete { key }
            | Self::Increment { key, .. } => Some(key),
        }
    }
}

/// What a statement gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Nothing to say: done.
    Done,
    /// Whether there was something to remove.
    Removed(bool),
    /// The row, if there is one.
    Row(Option<Row>),
    /// The rows.
    Rows(Vec<(String, Row)>),
    /// The sum.
    Number(i64),
}

/// A message to a database. The variant's name is the packet's kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DatabaseRequest {
    /// Statements that are one transaction: all of them or none. On a connection, or on one of the server's choice.
    Execute {
        /// The connection, where the client holds one.
        connection: Option<u64>,
        /// In order.
        statements: Vec<Statement>,
    },
    /// Begins a transaction on a connection; one that is open there is rolled back.
    Begin {
        /// The connection.
        connection: u64,
    },
    /// Statements of a transaction.
    Continue {
        /// The connection.
        connection: u64,
        /// The transaction.
        transaction: u64,
        /// In order.
        statements: Vec<Statement>,
    },
    /// Makes a transaction durable and visible.
    Commit {
        /// The connection.
        connection: u64,
        /// The transaction.
        transaction: u64,
    },
    /// Undoes a transaction.
    Rollback {
        /// The connection.
        connection: u64,
        /// The transaction.
        transaction: u64,
    },
}

/// The answer to a [`DatabaseRequest`]. The variant's name is the packet's kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DatabaseResponse {
    /// The statements' answers, in order.
    Answers(Vec<Answer>),
    /// The transaction that has begun.
    Begun(u64),
    /// It was not done.
    Failed(DatabaseError),
}

impl Request for DatabaseRequest {
    type Response = DatabaseResponse;
}

/// What the server says on a new connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Greeting {
    /// The connection's number.
    Welcome(u64),
    /// Too many connections.
    Full,
}

/// Why a database did not do what it was asked. Each of them, but [`DatabaseError::Call`], means that it was not done, and
/// that the transaction is rolled back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum DatabaseError {
    /// All connections are in use, and as many as may wait do.
    #[error("too many connections")]
    TooManyConnections,
    /// A row was locked for too long.
    #[error("lock timed out")]
    LockTimedOut,
    /// Transactions waited for each other in a circle; this one was given up for the others.
    #[error("deadlock")]
    Deadlock,
    /// A row of that key is there already.
    #[error("duplicate key")]
    Duplicate,
    /// The row is no whole number, or became too large for one.
    #[error("not a number")]
    NotANumber,
    /// The connection or the transaction is not there any more (the database has restarted, or an error ended it).
    #[error("no such transaction")]
    NoTransaction,
    /// The statement is not one that gives such an answer.
    #[error("an answer to another question")]
    Confused,
    /// There is no answer; what that says about the statement, see [`CallError`]. A commit without an answer may have happened.
    #[error(transparent)]
    #[serde(skip)]
    Call(#[from] CallError),
}

impl DatabaseError {
    /// Whether it was certainly not done.
    pub fn is_definite(&self) -> bool {
        match self {
            Self::Call(error) => error.is_definite(),
            _ => true,
        }
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Call(error) => Self::new(format!("db {}", error.label())),
            other => Self::new(format!("db {other}")),
        }
    }
}
