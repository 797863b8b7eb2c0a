//! A client of the replicated store: it finds the leader, asks again with the same number, and writes its operations down.

use std::cell::Cell;

use sim_core::{
    Node, NodeId,
    net::rpc::CallError,
    rng::Rng,
    time::{Duration, ms},
};

use super::{
    PROGRESS,
    messages::{KvAnswer, KvError, KvOperation, KvRequest, KvResponse, KvValue},
};

/// A client of a [`KvStore`](super::KvStore). One operation at a time: for more, make more clients.
///
/// Each operation is a trace (`kv.read`, `kv.write`, ...) and an operation of the recording (`read`, `write`, `cas`,
/// `increment`, `append`), with the client's number as the process. Values in histories are the JSON of [`KvValue`]; a `cas` has
/// `[expected, value]` as its input and whether it swapped as its output, an `increment` the sum.
pub struct KvClient {
    node: Node,
    servers: Vec<NodeId>,
    client: u64,
    sequence: Cell<u64>,
    leader: Cell<Option<NodeId>>,
    timeout: Duration,
    patience: Duration,
    only: Option<NodeId>,
    progress: bool,
    rng: std::cell::RefCell<Rng>,
}

impl KvClient {
    /// The client of that number, which no other client of the run may have. It asks the servers in turn until one leads.
    pub fn new(node: &Node, servers: &[NodeId], number: u32) -> Self {
        Self {
            node: node.clone(),
            servers: servers.to_vec(),
            client: u64::from(number),
            // A client that has restarted does not know how far it was.
            sequence: Cell::new(u64::from(node.incarnation()) << 32),
            leader: Cell::new(None),
            timeout: ms(500),
            patience: Duration::MAX,
            only: None,
            progress: false,
            rng: std::cell::RefCell::new(node.rng(&format!("kv client {number}"))),
        }
    }
    /// After how long without an answer it asks another server; 500 ms unless said.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
    /// After how long it gives an operation up; never, unless said.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
    /// It asks this server and no other, whoever leads.
    #[must_use]
    pub fn only(mut self, server: NodeId) -> Self {
        self.only = Some(server);
        self
    }
    /// It records whether its operations get through, as the property [`PROGRESS`].
    #[must_use]
    pub fn check_progress(mut self) -> Self {
        self.progress = true;
        self
    }
    /// Its number.
    pub fn number(&self) -> u32 {
        self.client as u32
    }

    /// The value of a key; nothing where there is none.
    ///
    /// # Errors
    /// See [`KvError`].
    pub async fn read(&self, key: &str) -> Result<Option<KvValue>, KvError> {
        match self.execute(KvOperation::Read { key: key.to_owned() }).await? {
            KvAnswer::Value(value) => Ok(value),
            other => Err(confused(&other)),
        }
    }
    /// Writes a value.
    ///
    /// # Errors
    /// See [`KvError`].
    pub async fn write(&self, key: &str, value: impl Into<KvValue>) -> Result<(), KvError> {
        let value = value.into();
        self.execute(KvOperation::Write { key: key.to_owned(), value }).await.map(drop)
    }
    /// Writes a value where the old one is the expected one; gives whether it was.
    ///
    /// # Errors
    /// See [`KvError`].
    pub async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<KvValue>,
        value: impl Into<KvValue>,
    ) -> Result<bool, KvError> {
        let value = value.into();
        match self.execute(KvOperation::CompareAndSet { key: key.to_owned(), expected, value }).await? {
            KvAnswer::Swapped(swapped) => Ok(swapped),
            other => Err(confused(&other)),
        }
    }
    /// Adds to a number; gives the sum.
    ///
    /// # Errors
    /// See [`KvError`].
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64, KvError> {
        match self.execute(KvOperation::Increment { key: key.to_owned(), by }).await? {
            KvAnswer::Sum(sum) => Ok(sum),
            other => Err(confused(&other)),
        }
    }
    /// Appends to a list.
    ///
    /// # Errors
    /// See [`KvError`].
    pub async fn append(&self, key: &str, value: i64) -> Result<(), KvError> {
        self.execute(KvOperation::Append { key: key.to_owned(), value }).await.map(drop)
    }

    /// Any operation.
    ///
    /// # Errors
    /// See [`KvError`].
    pub async fn execute(&self, operation: KvOperation) -> Result<KvAnswer, KvError> {
        let name = format!("kv.{}", operation.function());
        let sequence = self.sequence.replace(self.sequence.get() + 1);
        let (process, function, key) = (self.number(), operation.function(), operation.key().to_owned());
        let asked = self.ask(sequence, operation.clone());
        let traced = async {
            let handle = match &operation {
                KvOperation::Read { .. } => self.node.invoke(process, function, &key, &()),
                KvOperation::Write { value, .. } => self.node.invoke(process, function, &key, value),
                KvOperation::CompareAndSet { expected, value, .. } => {
                    self.node.invoke(process, function, &key, &(expected, value))
                }
                KvOperation::Increment { by, .. } => self.node.invoke(process, function, &key, by),
                KvOperation::Append { value, .. } => self.node.invoke(process, function, &key, value),
            };
            let result = asked.await;
            match &result {
                Ok(KvAnswer::Value(value)) => handle.ok(value),
                Ok(KvAnswer::Done) => handle.ok(&()),
                Ok(KvAnswer::Swapped(swapped)) => handle.ok(swapped),
                Ok(KvAnswer::Sum(sum)) => handle.ok(sum),
                Ok(KvAnswer::WrongType) => handle.failed("wrong type"),
                Err(error) if error.is_definite() => handle.failed(&error.to_string()),
                Err(error) => handle.unknown(&error.to_string()),
            }
            if let Err(error) = &result {
                self.node.fail(&error.to_string());
            }
            result
        };
        let result = self.node.trace(&name).attribute("key", operation.key()).run(traced).await;
        if self.progress {
            self.node.eventually(PROGRESS, result.is_ok(), || format!("{name}: {result:?}"));
        }
        result
    }

    /// Asks one server after the other until one has an answer.
    async fn ask(&self, sequence: u64, operation: KvOperation) -> Result<KvAnswer, KvError> {
        let request = KvRequest { client: self.client, sequence, operation };
        let began = self.node.monotonic();
        // Whether every server so far has certainly not done it.
        let mut definite = true;
        let mut reason = "no leader".to_owned();
        loop {
            let left = self.patience.saturating_sub(self.node.monotonic().since(began));
            if left.is_zero() {
                return Err(if definite { KvError::NoLeader } else { KvError::Unknown(reason) });
            }
            let server = self.only.or(self.leader.get()).unwrap_or_else(|| self.any());
            let answer = self.node.call(server, &request).deadline(self.timeout.min(left)).await;
            let mut hint = None;
            match answer {
                Ok(KvResponse::Answered { answer }) => {
                    self.leader.set(Some(server));
                    return Ok(answer);
                }
                Ok(KvResponse::NotLeader { hint: other }) => hint = other.filter(|other| *other != server),
                Ok(KvResponse::Unclear) => (definite, reason) = (false, "leadership lost".to_owned()),
                Ok(KvResponse::Outdated) => return Err(KvError::Unknown("outdated".to_owned())),
                Err(error) => {
                    definite &= error.is_definite();
                    error.label().clone_into(&mut reason);
                    if error != CallError::TimedOut {
                        self.rest().await;
                    }
                }
            }
            if hint.is_none() || self.only.is_some() {
                self.rest().await;
            }
            self.leader.set(hint);
        }
    }

    /// Any server: the clients do not all ask the same one.
    fn any(&self) -> NodeId {
        *self.rng.borrow_mut().pick(&self.servers).expect("a store has servers")
    }
    /// Nobody leads: it does not ask again at once.
    async fn rest(&self) {
        let pause = self.rng.borrow_mut().range(10_000_000..=30_000_000);
        self.node.sleep(Duration::from_nanos(pause)).await;
    }
}

fn confused(answer: &KvAnswer) -> KvError {
    KvError::Unknown(format!("an answer to another question: {answer:?}"))
}
