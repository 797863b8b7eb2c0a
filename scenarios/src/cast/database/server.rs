//! The database's own side: connections, statements, transactions.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use sim_core::{
    Node,
    combine::{Either, race},
    net::{rpc::Call, stream::Stream},
    record::{Counter, Histogram},
    rng::Rng,
    sync::{Permit, Semaphore},
};

use super::{
    Answer, DatabaseError, DatabaseRequest, DatabaseResponse, Row, Settings, Statement, locks::Locks,
    messages::Greeting,
};
use crate::cast::{
    DurableLog, LogFile, LogSync,
    bytes::Bytes,
    level::{Inside, Level},
};

/// Where clients open connections that they keep.
pub(super) const CONNECTIONS: u16 = 1;

/// The rows that a transaction wrote; `None` is a row that it removed.
type Writes = Vec<(String, Option<Bytes>)>;

/// A transaction under way: what it has written and nobody else sees.
struct Open {
    id: u64,
    writes: BTreeMap<String, Option<Vec<u8>>>,
}

/// A connection that a client keeps.
struct Session {
    /// One message at a time, in order.
    turn: Semaphore,
    open: RefCell<Option<Open>>,
    fresh: Cell<bool>,
}

pub(super) struct Server {
    node: Node,
    settings: Settings,
    table: RefCell<BTreeMap<String, Row>>,
    locks: Locks,
    log: DurableLog,
    free: Semaphore,
    sessions: RefCell<BTreeMap<u64, Rc<Session>>>,
    next: Cell<u64>,
    times: RefCell<Rng>,
    connections: Level,
    active: Level,
    queue: Level,
    load: Level,
    received: Counter,
    completed: Counter,
    refused: Counter,
    abandoned: Counter,
    commits: Counter,
    aborts: Counter,
    deadlocks: Counter,
    wait: Histogram,
    time: Histogram,
}

impl Server {
    /// Reads the log, and is as it was before the crash.
    pub(super) async fn open(node: &Node, settings: &Settings) -> Rc<Self> {
        node.state("database", "recovering");
        let sync = if settings.group_commit { LogSync::Group } else { LogSync::Each };
        let log = LogFile::new("wal").sync(sync).batches_as("db.commit.batch", "{transaction}");
        let (log, committed) = log.open::<Writes>(node).await;
        let table = settings.rows.iter().map(|(key, value)| {
            let row = Row { value: value.clone(), version: 1 };
            (key.clone(), row)
        });
        let server = Self {
            table: RefCell::new(table.collect()),
            locks: Locks::new(node, settings.lock_timeout),
            log,
            free: Semaphore::new(settings.connections),
            sessions: RefCell::default(),
            // Numbers of an earlier incarnation mean nothing to this one.
            next: Cell::new((u64::from(node.incarnation()) << 32) + 1),
            times: RefCell::new(node.rng("query times")),
            connections: Level::new(node, "db.connections"),
            active: Level::new(node, "db.active"),
            queue: Level::new(node, "db.queue"),
            load: Level::new(node, "db.load"),
            received: node.counter("db.query"),
            completed: node.counter("db.completed"),
            refused: node.counter("db.refused"),
            abandoned: node.counter("db.abandoned"),
            commits: node.counter("db.commits"),
            aborts: node.counter("db.aborts"),
            deadlocks: node.counter("db.deadlocks"),
            wait: node.histogram("db.wait"),
            time: node.histogram("db.time"),
            settings: settings.clone(),
            node: node.clone(),
        };
        let replayed = node.counter("db.replayed");
        for writes in committed {
            server.apply(writes);
            replayed.increment();
        }
        Rc::new(server)
    }

    /// Serves for as long as the node is up.
    pub(super) async fn run(self: Rc<Self>) {
        self.node.state("database", "ready");
        let server = Rc::clone(&self);
        self.node.serve(async move |call: Call, request: DatabaseRequest| server.handle(call, request).await);
        let mut listener = self.node.listen(CONNECTIONS);
        loop {
            let stream = listener.accept().await;
            self.node.spawn_detached(Rc::clone(&self).keep(stream));
        }
    }

    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    // ---- connections ----

    /// Whether nobody may wait any more; counted.
    fn is_full(&self) -> bool {
        let full = self.free.available() == 0 && self.queue.count() >= self.settings.queue;
        if full {
            self.refused.increment();
        }
        full
    }

    /// Waits for a free connection.
    async fn connection(&self) -> (Permit, Inside) {
        let asked = self.node.monotonic();
        let permit = if self.free.available() == 0 {
            let _waiting = (self.queue.enter(), self.load.enter());
            self.node.span("db.queue").run(self.free.acquire()).await
        } else {
            self.free.acquire().await
        };
        self.wait.record(self.node.monotonic().since(asked));
        (permit, self.connections.enter())
    }

    /// A connection that a client keeps, from its opening until either side has closed it.
    async fn keep(self: Rc<Self>, mut stream: Stream) {
        if self.is_full() {
            // A stream that is no more cannot be told.
            let _ = stream.send(&Greeting::Full);
            return;
        }
        let place = {
            // Nothing is expected from the client here: whatever comes is the end of the stream.
            match race(self.connection(), stream.recv::<()>()).await {
                Either::First(place) => place,
                Either::Second(_) => return,
            }
        };
        let id = self.number();
        let session =
            Rc::new(Session { turn: Semaphore::new(1), open: RefCell::new(None), fresh: Cell::new(true) });
        self.sessions.borrow_mut().insert(id, Rc::clone(&session));
        let _ = stream.send(&Greeting::Welcome(id));
        while let Ok(Some(())) = stream.recv::<()>().await {}
        // What it has under way is carried out to its end, although nobody waits for it.
        let _turn = session.turn.acquire().await;
        self.sessions.borrow_mut().remove(&id);
        let open = session.open.borrow_mut().take();
        if let Some(open) = open {
            self.abort(open.id);
        }
        drop(place);
    }

    // ---- requests ----

    async fn handle(&self, call: Call, request: DatabaseRequest) -> DatabaseResponse {
        let arrived = self.node.monotonic();
        let result = self.answer(&call, request).await;
        self.time.record(self.node.monotonic().since(arrived));
        result.unwrap_or_else(|error| {
            self.node.fail(&error.to_string());
            if error == DatabaseError::Deadlock {
                self.deadlocks.increment();
            }
            DatabaseResponse::Failed(error)
        })
    }

    async fn answer(&self, call: &Call, request: DatabaseRequest) -> Result<DatabaseResponse, DatabaseError> {
        match request {
            DatabaseRequest::Execute { connection: None, statements } => {
                if self.is_full() {
                    return Err(DatabaseError::TooManyConnections);
                }
                self.received.add(statements.len() as f64);
                let _place = self.connection().await;
                let over = call.is_cancelled() || call.time_left().is_some_and(|left| left.is_zero());
                if self.settings.skip_abandoned && over {
                    self.abandoned.increment();
                    return Err(DatabaseError::NoTransaction);
                }
                let _active = (self.active.enter(), self.load.enter());
                self.transaction(&statements).await
            }
            DatabaseRequest::Execute { connection: Some(id), statements } => {
                let session = self.session(id)?;
                self.received.add(statements.len() as f64);
                let _turn = session.turn.acquire().await;
                let _active = (self.active.enter(), self.load.enter());
                self.warm_up(&session).await;
                self.transaction(&statements).await
            }
            DatabaseRequest::Begin { connection } => {
                let session = self.session(connection)?;
                let _turn = session.turn.acquire().await;
                let id = self.number();
                let before = session.open.borrow_mut().replace(Open { id, writes: BTreeMap::new() });
                if let Some(before) = before {
                    self.abort(before.id);
                }
                Ok(DatabaseResponse::Begun(id))
            }
            DatabaseRequest::Continue { connection, transaction, statements } => {
                let session = self.session(connection)?;
                self.received.add(statements.len() as f64);
                let _turn = session.turn.acquire().await;
                let mut open = take(&session, transaction)?;
                let _active = (self.active.enter(), self.load.enter());
                self.warm_up(&session).await;
                let answers = self.statements(&mut open, &statements).await?;
                *session.open.borrow_mut() = Some(open);
                Ok(DatabaseResponse::Answers(answers))
            }
            DatabaseRequest::Commit { connection, transaction } => {
                let session = self.session(connection)?;
                let _turn = session.turn.acquire().await;
                let open = take(&session, transaction)?;
                let _active = (self.active.enter(), self.load.enter());
                self.commit(open).await;
                Ok(DatabaseResponse::Answers(Vec::new()))
            }
            DatabaseRequest::Rollback { connection, transaction } => {
                let session = self.session(connection)?;
                let _turn = session.turn.acquire().await;
                // One that is over already needs no undoing.
                if let Ok(open) = take(&session, transaction) {
                    self.abort(open.id);
                }
                Ok(DatabaseResponse::Answers(Vec::new()))
            }
        }
    }

    fn session(&self, id: u64) -> Result<Rc<Session>, DatabaseError> {
        self.sessions.borrow().get(&id).cloned().ok_or(DatabaseError::NoTransaction)
    }

    /// What the first statement on a new connection costs more.
    async fn warm_up(&self, session: &Session) {
        if session.fresh.replace(false) {
            let first = self.times.borrow_mut().duration(&self.settings.first_query);
            self.node.work(first).await;
        }
    }

    // ---- transactions ----

    /// A whole transaction in one message.
    async fn transaction(&self, statements: &[Statement]) -> Result<DatabaseResponse, DatabaseError> {
        let mut open = Open { id: self.number(), writes: BTreeMap::new() };
        let answers = self.statements(&mut open, statements).await?;
        self.commit(open).await;
        Ok(DatabaseResponse::Answers(answers))
    }

    /// An error ends the transaction.
    async fn statements(
        &self,
        open: &mut Open,
        statements: &[Statement],
    ) -> Result<Vec<Answer>, DatabaseError> {
        let mut answers = Vec::with_capacity(statements.len());
        for statement in statements {
            match self.statement(open, statement).await {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    self.abort(open.id);
                    return Err(error);
                }
            }
        }
        Ok(answers)
    }

    /// The row lock comes first, then the work, as a row is held while it is changed.
    async fn statement(&self, open: &mut Open, statement: &Statement) -> Result<Answer, DatabaseError> {
        let name = statement.name();
        let span = self.node.span(&format!("db.{name}"));
        span.run(async {
            if let Some(key) = statement.locks() {
                self.locks.acquire(open.id, key).await?;
            }
            let delay = self.settings.times.get(name).unwrap_or(&self.settings.query_time);
            let work = self.times.borrow_mut().duration(delay);
            self.node.work(work).await;
            let answer = self.carry_out(open, statement)?;
            if let Answer::Rows(rows) = &answer {
                self.node.work(self.settings.row_time * rows.len() as u64).await;
            }
            self.completed.increment();
            Ok(answer)
        })
        .await
    }

    /// The row as this transaction sees it.
    fn read(&self, open: &Open, key: &str) -> Option<Row> {
        let table = self.table.borrow();
        let committed = table.get(key);
        match open.writes.get(key) {
            None => committed.cloned(),
            Some(None) => None,
            Some(Some(value)) => {
                let version = committed.map_or(0, |row| row.version) + 1;
                Some(Row { value: value.clone(), version })
            }
        }
    }

    fn carry_out(&self, open: &mut Open, statement: &Statement) -> Result<Answer, DatabaseError> {
        Ok(match statement {
            Statement::Query { .. } => Answer::Done,
            Statement::Get { key } | Statement::GetForUpdate { key } => Answer::Row(self.read(open, key)),
            Statement::Put { key, value } => {
                open.writes.insert(key.clone(), Some(value.clone()));
                Answer::Done
            }
            Statement::Insert { key, value } => {
                if self.read(open, key).is_some() {
                    return Err(DatabaseError::Duplicate);
                }
                open.writes.insert(key.clone(), Some(value.clone()));
                Answer::Done
            }
            Statement::Delete { key } => {
                let there = self.read(open, key).is_some();
                if there {
                    open.writes.insert(key.clone(), None);
                }
                Answer::Removed(there)
            }
            Statement::Increment { key, by } => {
                let number = match self.read(open, key) {
                    None => Some(0),
                    Some(row) => row.text().parse::<i64>().ok(),
                };
                let sum = number.and_then(|n| n.checked_add(*by)).ok_or(DatabaseError::NotANumber)?;
                open.writes.insert(key.clone(), Some(sum.to_string().into_bytes()));
                Answer::Number(sum)
            }
            Statement::Scan { prefix, limit } => Answer::Rows(self.scan(open, prefix, *limit)),
        })
    }

    fn scan(&self, open: &Open, prefix: &str, limit: u64) -> Vec<(String, Row)> {
        let mut keys: Vec<String> = {
            let table = self.table.borrow();
            let own = open.writes.keys().filter(|key| key.starts_with(prefix));
            let rows = table.range(prefix.to_owned()..).map(|(key, _)| key);
            rows.take_while(|key| key.starts_with(prefix)).chain(own).cloned().collect()
        };
        keys.sort_unstable();
        keys.dedup();
        let rows = keys.into_iter().filter_map(|key| self.read(open, &key).map(|row| (key, row)));
        rows.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
    }

    /// Durable first, then visible, then the rows are free.
    async fn commit(&self, open: Open) {
        if !open.writes.is_empty() {
            let writes: Writes =
                open.writes.into_iter().map(|(key, value)| (key, value.map(Bytes))).collect();
            self.node.span("db.commit").run(self.log.append(&writes)).await;
            self.apply(writes);
            self.commits.increment();
        }
        self.locks.release(open.id);
    }

    fn abort(&self, transaction: u64) {
        self.aborts.increment();
        self.locks.release(transaction);
    }

    fn apply(&self, writes: Writes) {
        let mut table = self.table.borrow_mut();
        for (key, value) in writes {
            match value {
                None => {
                    table.remove(&key);
                }
                Some(Bytes(value)) => {
                    let row = table.entry(key).or_default();
                    row.value = value;
                    row.version += 1;
                }
            }
        }
    }
}

/// The open transaction of a connection, if it is that one.
fn take(session: &Session, transaction: u64) -> Result<Open, DatabaseError> {
    let mut open = session.open.borrow_mut();
    if open.as_ref().is_some_and(|open| open.id == transaction) {
        open.take().ok_or(DatabaseError::NoTransaction)
    } else {
        Err(DatabaseError::NoTransaction)
    }
}
