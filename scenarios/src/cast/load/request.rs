//! One request of a load generator: what it asks for, who carries it out, and what is measured.

use std::{cell::Cell, future::Future, pin::Pin, rc::Rc, sync::Arc};

use sim_core::{
    Node, NodeId,
    record::{Counter, Histogram, SpanKind},
    rng::{Key, Rng},
    time::{Duration, Monotonic},
};

use crate::cast::{Failure, Method, WebRequest, level::Level};

/// What a request of a load generator knows about itself.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// Counted from 0 on its node, in order of the intended starts.
    pub number: u64,
    /// Which user of a closed loop asks; 0 in an open loop.
    pub user: u64,
    /// The key that it asks for, such as `key:17`.
    pub key: String,
    /// The number of that key.
    pub key_number: u64,
    /// When it was due, on the client's clock. Latency counts from here.
    pub intended: Monotonic,
    /// When the client gives up.
    pub deadline: Option<Monotonic>,
    chance: Key,
}

impl RequestInfo {
    /// How long the client will still wait: zero where the deadline has passed, `None` where there is none.
    pub fn time_left(&self, client: &Node) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.since(client.monotonic()))
    }
    /// A stream of chance of this request's own: the same in every variant, whatever the other requests draw.
    pub fn rng(&self, name: &str) -> Rng {
        Rng::new(&self.chance.fork_u64(self.number).fork(name))
    }
}

/// A request under way.
pub(super) type Running = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;
/// What a node does for each request.
pub(super) type Action = Rc<dyn Fn(Node, RequestInfo) -> Running>;
/// Makes a node's action, at each of its starts.
pub(super) type Prepare = Arc<dyn Fn(&Node) -> Action + Send + Sync>;

/// Who is asked. Made from the name of a service or a node, from a [`NodeId`], or from several.
#[derive(Clone, Debug)]
pub enum Destination {
    /// All nodes of the service of that name, or else the node of that name.
    Named(String),
    /// These nodes.
    Nodes(Vec<NodeId>),
}

impl Destination {
    /// The nodes; panics where there is nobody of that name, which is an error of the scenario.
    pub fn resolve(&self, node: &Node) -> Vec<NodeId> {
        match self {
            Self::Nodes(nodes) => nodes.clone(),
            Self::Named(name) => {
                let nodes = node.service(name);
                if nodes.is_empty() { vec![node.find(name)] } else { nodes }
            }
        }
    }
}

impl From<&str> for Destination {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}
impl From<NodeId> for Destination {
    fn from(node: NodeId) -> Self {
        Self::Nodes(vec![node])
    }
}
impl From<Vec<NodeId>> for Destination {
    fn from(nodes: Vec<NodeId>) -> Self {
        Self::Nodes(nodes)
    }
}

/// How requests are spread over the nodes of a destination. Nobody looks whether a node is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any, by chance (a stream of its own).
    Random,
    /// User i of a closed loop always asks node i mod n.
    ByUser,
}

/// Asks a web service.
pub(super) fn web_action(
    node: &Node,
    method: Method,
    path: String,
    to: &Destination,
    spread: Spread,
) -> Action {
    let nodes = to.resolve(node);
    let turn = Rc::new(Cell::new(0));
    Rc::new(move |node: Node, info: RequestInfo| {
        let index = match spread {
            Spread::RoundRobin => turn.replace(turn.get() + 1),
            Spread::Random => info.rng("spread").below(nodes.len() as u64),
            Spread::ByUser => info.user,
        };
        let to = nodes.get((index % nodes.len().max(1) as u64) as usize).copied();
        let mut request = WebRequest::new(method, path.clone()).key(info.key.clone());
        if let Some(left) = info.time_left(&node) {
            request = request.deadline(left);
        }
        Box::pin(async move {
            let to = to.ok_or("nobody to ask")?;
            request.fetch(&node, to).await.map(drop)
        })
    })
}

/// What is stated of a load's requests: the statement, and how long each may take.
#[derive(Clone, Copy, Default)]
pub(super) struct Promises {
    pub(super) always: Option<(&'static str, Duration)>,
    pub(super) eventually: Option<(&'static str, Duration)>,
}

/// What one client node measures.
pub(super) struct Meter {
    node: Node,
    action: Action,
    trace: String,
    deadline: Option<Duration>,
    promises: Promises,
    latency: Histogram,
    latency_ok: Histogram,
    started: Counter,
    ok: Counter,
    failed: Counter,
    in_flight: Level,
    chance: Key,
    next: Cell<u64>,
}

impl Meter {
    pub(super) fn new(
        node: &Node,
        prepare: &Prepare,
        trace: &str,
        deadline: Option<Duration>,
        promises: Promises,
    ) -> Rc<Self> {
        Rc::new(Self {
            action: prepare(node),
            trace: trace.to_owned(),
            deadline,
            promises,
            latency: node.histogram("request"),
            latency_ok: node.histogram("request.ok"),
            started: node.counter("requests.started"),
            ok: node.counter("requests.ok"),
            failed: node.counter("requests.failed"),
            in_flight: Level::new(node, "requests.in_flight"),
            chance: *node.rng("requests").key(),
            next: Cell::new(0),
            node: node.clone(),
        })
    }

    /// A request that was due at `intended`.
    pub(super) fn info(&self, user: u64, picked: super::keys::Picked, intended: Monotonic) -> RequestInfo {
        let number = self.next.replace(self.next.get() + 1);
        RequestInfo {
            number,
            user,
            key: picked.key,
            key_number: picked.number,
            intended,
            deadline: self.deadline.map(|d| intended + d),
            chance: self.chance,
        }
    }

    /// Whether the request kept what was stated of all.
    fn check(&self, latency: Duration, result: &Result<(), Failure>) {
        let told = || match result {
            Ok(()) => format!("one took {latency}"),
            Err(failure) => format!("one failed after {latency}: {failure}"),
        };
        if let Some((statement, limit)) = self.promises.always {
            self.node.always(statement, result.is_ok() && latency <= limit, told);
        }
        if let Some((statement, limit)) = self.promises.eventually {
            self.node.eventually(statement, result.is_ok() && latency <= limit, told);
        }
    }

    /// Carries a request out and measures it. Latency counts from the intended start, also where the client was late.
    pub(super) async fn perform(self: Rc<Self>, info: RequestInfo) {
        self.started.increment();
        let _inside = self.in_flight.enter();
        let intended = info.intended;
        let trace = self.node.trace(&self.trace).kind(SpanKind::Client).attribute("key", info.key.as_str());
        let result = trace
            .run(async {
                let left = info.time_left(&self.node);
                let running = (self.action)(self.node.clone(), info);
                let result = match left {
                    Some(left) => self.node.timeout(left, running).await.unwrap_or(Err(Failure::TIMED_OUT)),
                    None => running.await,
                };
                if let Err(failure) = &result {
                    self.node.fail(failure.reason());
                }
                result
            })
            .await;
        let latency = self.node.monotonic().since(intended);
        self.latency.record(latency);
        self.check(latency, &result);
        match result {
            Ok(()) => {
                self.ok.increment();
                self.latency_ok.record(latency);
            }
            Err(failure) => {
                self.failed.increment();
                self.node.counter(&format!("requests.failed.{}", failure.metric())).increment();
            }
        }
    }
}
