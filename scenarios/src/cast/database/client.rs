//! A database as its clients see it: one statement at a time, or a connection that is kept, with transactions.

use sim_core::{
    Node, NodeId,
    net::{
        rpc::CallError,
        stream::{RecvError, Stream, StreamError},
    },
    time::Duration,
};

use super::{
    Answer, DatabaseError, DatabaseRequest, DatabaseResponse, Row, Statement, messages::Greeting,
    server::CONNECTIONS,
};
use crate::cast::{ConnectionPool, caller::Caller};

/// A handle to a database, for one node. Statements on it are transactions of their own, on whichever of the server's
/// connections is free, as through a pooler; they wait for one there. Cloning is cheap.
#[derive(Clone)]
pub struct DatabaseClient(Caller);

impl DatabaseClient {
    /// A handle to a database.
    pub fn new(node: &Node, server: NodeId) -> Self {
        Self(Caller::new(node, server))
    }
    /// How long each message may take, opening a connection among them. Without it a client waits for as long as the
    /// connection lives.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self(self.0.deadline(deadline))
    }
    /// Which database.
    pub fn server(&self) -> NodeId {
        self.0.server()
    }
    /// A pool of at most that many connections to this database.
    pub fn pool(&self, connections: usize) -> ConnectionPool<Connection> {
        let client = self.clone();
        ConnectionPool::new(self.0.node(), connections, move || {
            let client = client.clone();
            async move { client.connect().await }
        })
    }

    /// Opens a connection and keeps it until it is dropped. One round trip, and the wait for a free connection at the server.
    ///
    /// # Errors
    /// [`DatabaseError::TooManyConnections`], [`DatabaseError::Call`].
    pub async fn connect(&self) -> Result<Connection, DatabaseError> {
        self.0.in_time(self.open()).await
    }
    async fn open(&self) -> Result<Connection, DatabaseError> {
        // In a task of its own, so that a caller who gives up half way leaves no connection half open.
        let (node, server) = (self.0.node().clone(), self.0.server());
        let opening = self.0.node().spawn(async move { node.connect(server, CONNECTIONS).await });
        let mut stream = match opening.await {
            Some(opened) => opened.map_err(stream_error)?,
            None => return Err(DatabaseError::Call(CallError::Reset)),
        };
        match stream.recv::<Greeting>().await {
            Ok(Some(Greeting::Welcome(id))) => Ok(Connection { client: self.clone(), id, _stream: stream }),
            Ok(Some(Greeting::Full)) => Err(DatabaseError::TooManyConnections),
            Ok(None) => Err(DatabaseError::Call(CallError::Reset)),
            Err(RecvError::Closed(error)) => Err(stream_error(error)),
            Err(RecvError::Undecodable(error)) => {
                Err(DatabaseError::Call(CallError::Undecodable(error.to_string())))
            }
        }
    }

    async fn send(&self, request: &DatabaseRequest) -> Result<DatabaseResponse, DatabaseError> {
        match self.0.ask(request).await? {
            DatabaseResponse::Failed(error) => Err(error),
            response => Ok(response),
        }
    }
    async fn answers(&self, request: &DatabaseRequest) -> Result<Vec<Answer>, DatabaseError> {
        match self.send(request).await? {
            DatabaseResponse::Answers(answers) => Ok(answers),
            _ => Err(DatabaseError::Confused),
        }
    }

    /// Carries out statements as one transaction in one message: all of them, durably, or none.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn execute(&self, statements: Vec<Statement>) -> Result<Vec<Answer>, DatabaseError> {
        self.answers(&DatabaseRequest::Execute { connection: None, statements }).await
    }
}

fn stream_error(error: StreamError) -> DatabaseError {
    DatabaseError::Call(match error {
        StreamError::Refused => CallError::Refused,
        StreamError::Reset => CallError::Reset,
        StreamError::TimedOut => CallError::TimedOut,
    })
}

/// A connection that is kept: it takes one of the server's places, busy or idle, until it is dropped (or its client crashes).
/// Statements on it are transactions of their own, unless they come through [`Connection::begin`].
pub struct Connection {
    client: DatabaseClient,
    id: u64,
    /// While it is open, so is the connection.
    _stream: Stream,
}

impl Connection {
    /// Carries out statements as one transaction in one message.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn execute(&self, statements: Vec<Statement>) -> Result<Vec<Answer>, DatabaseError> {
        self.client.answers(&DatabaseRequest::Execute { connection: Some(self.id), statements }).await
    }
    /// Begins a transaction. What it reads is what others have committed by then; what it writes nobody sees until it
    /// commits, and the rows are locked until then. Dropped without a commit, it is rolled back.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn begin(&mut self) -> Result<Transaction<'_>, DatabaseError> {
        match self.client.send(&DatabaseRequest::Begin { connection: self.id }).await? {
            DatabaseResponse::Begun(id) => Ok(Transaction { connection: self, id, open: true }),
            _ => Err(DatabaseError::Confused),
        }
    }
}

/// A transaction under way; see [`Connection::begin`]. An error ends it.
pub struct Transaction<'a> {
    connection: &'a Connection,
    id: u64,
    open: bool,
}

impl Transaction<'_> {
    /// Carries out statements of this transaction in one message.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn execute(&self, statements: Vec<Statement>) -> Result<Vec<Answer>, DatabaseError> {
        let (connection, transaction) = (self.connection.id, self.id);
        let request = DatabaseRequest::Continue { connection, transaction, statements };
        self.connection.client.answers(&request).await
    }
    /// Reads a row and locks it.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn get_for_update(&self, key: &str) -> Result<Option<Row>, DatabaseError> {
        row(self.execute(vec![Statement::GetForUpdate { key: key.to_owned() }]).await?)
    }
    /// Makes it durable and visible.
    ///
    /// # Errors
    /// [`DatabaseError::Call`] (it may have happened), [`DatabaseError::NoTransaction`] (it has not).
    pub async fn commit(mut self) -> Result<(), DatabaseError> {
        self.open = false;
        let (connection, transaction) = (self.connection.id, self.id);
        self.connection.client.answers(&DatabaseRequest::Commit { connection, transaction }).await.map(drop)
    }
    /// Undoes it.
    ///
    /// # Errors
    /// [`DatabaseError::Call`]; then it is undone when the connection is dropped, at the latest.
    pub async fn rollback(mut self) -> Result<(), DatabaseError> {
        self.open = false;
        let (connection, transaction) = (self.connection.id, self.id);
        self.connection.client.answers(&DatabaseRequest::Rollback { connection, transaction }).await.map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            let (connection, transaction) = (self.connection.id, self.id);
            let client = self.connection.client.clone();
            self.connection.client.0.node().spawn_detached(async move {
                // Without an answer it is undone when the connection is dropped, or the next transaction begins.
                let _ = client.answers(&DatabaseRequest::Rollback { connection, transaction }).await;
            });
        }
    }
}

fn only(answers: Vec<Answer>) -> Result<Answer, DatabaseError> {
    answers.into_iter().next().ok_or(DatabaseError::Confused)
}
fn row(answers: Vec<Answer>) -> Result<Option<Row>, DatabaseError> {
    match only(answers)? {
        Answer::Row(row) => Ok(row),
        _ => Err(DatabaseError::Confused),
    }
}

/// The statements, one by one, for whatever has `execute`.
macro_rules! statements {
    ($($type:ty),*) => {$(
        /// One statement in one message. Errors: see [`DatabaseError`].
        impl $type {
            /// Takes the time of that name and touches no row.
            pub async fn query(&self, name: &str) -> Result<(), DatabaseError> {
                self.execute(vec![Statement::Query { name: name.to_owned() }]).await.map(drop)
            }
            /// The row, if there is one.
            pub async fn get(&self, key: &str) -> Result<Option<Row>, DatabaseError> {
                row(self.execute(vec![Statement::Get { key: key.to_owned() }]).await?)
            }
            /// Writes a row.
            pub async fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<(), DatabaseError> {
                let value = value.into();
                self.execute(vec![Statement::Put { key: key.to_owned(), value }]).await.map(drop)
            }
            /// Writes a row that must not be there: [`DatabaseError::Duplicate`] where it is.
            pub async fn insert(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<(), DatabaseError> {
                let value = value.into();
                self.execute(vec![Statement::Insert { key: key.to_owned(), value }]).await.map(drop)
            }
            /// Removes a row; gives whether there was one.
            pub async fn delete(&self, key: &str) -> Result<bool, DatabaseError> {
                match only(self.execute(vec![Statement::Delete { key: key.to_owned() }]).await?)? {
                    Answer::Removed(there) => Ok(there),
                    _ => Err(DatabaseError::Confused),
                }
            }
            /// Adds to a whole number and gives the sum: [`DatabaseError::NotANumber`] where the row is none.
            pub async fn increment(&self, key: &str, by: i64) -> Result<i64, DatabaseError> {
                match only(self.execute(vec![Statement::Increment { key: key.to_owned(), by }]).await?)? {
                    Answer::Number(sum) => Ok(sum),
                    _ => Err(DatabaseError::Confused),
                }
            }
            /// The rows whose keys begin with `prefix`, in order of their keys, `limit` at most.
            pub async fn scan(&self, prefix: &str, limit: u64) -> Result<Vec<(String, Row)>, DatabaseError> {
                match only(self.execute(vec![Statement::Scan { prefix: prefix.to_owned(), limit }]).await?)? {
                    Answer::Rows(rows) => Ok(rows),
                    _ => Err(DatabaseError::Confused),
                }
            }
        }
    )*};
}
statements! { DatabaseClient, Connection, Transaction<'_> }
