//! Web servers: a bounded number of workers, a queue in front of them, and what the lab says each request does.
//!
//! A server takes a request when a worker is free; until then it waits in line, first come, first served, and when the line is
//! full too it is refused at once with 503. A worker is a thread: it is held while the handler waits for others, which is how
//! one silent back end takes a whole server with it. What costs processor time is [`Node::work`], what only waits is
//! [`Node::sleep`].
//!
//! The client that gives up does not stop the server, unless [`WebService::skip_abandoned`] says so.

use std::{cell::Cell, fmt, future::Future, ops::Deref, pin::Pin, rc::Rc, sync::Arc};

use serde::{Deserialize, Serialize};
use sim_core::{
    Node, NodeId, NodeSpec, Sim,
    net::rpc::{Call, CallError, Request},
    rng::{Delay, Key, Rng},
    sync::Semaphore,
    time::Duration,
};

use super::{Failure, Machine, level::Level};

/// What a web request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Read.
    Get,
    /// Make something new.
    Post,
    /// Replace something.
    Put,
    /// Remove something.
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        })
    }
}

/// A web request on the wire. The variant's name is the packet's kind: a rule can hold up each `Post`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Http {
    /// See [`Method::Get`].
    Get(Content),
    /// See [`Method::Post`].
    Post(Content),
    /// See [`Method::Put`].
    Put(Content),
    /// See [`Method::Delete`].
    Delete(Content),
}

/// What a web request carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The page, such as `/product`: one of few.
    pub path: String,
    /// Which product: one of many, kept apart from the path so that names of spans and metrics stay few.
    pub key: String,
    /// Names and values that go along: a customer, an idempotency key.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    #[serde(with = "crate::cast::bytes")]
    pub body: Vec<u8>,
}

impl Content {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Request for Http {
    type Response = Reply;
}

/// The answer to a web request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// As HTTP has them: 200 fine, 404 not there, 429 too many, 503 not now.
    pub status: u16,
    /// Names and values that go along: `retry-after`, `stale`.
    pub headers: Vec<(String, String)>,
    /// The page.
    #[serde(with = "crate::cast::bytes")]
    pub body: Vec<u8>,
}

impl Reply {
    /// 200 with a page.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(200) }
    }
    /// An answer without a page.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }
    /// With a header.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    /// Whether it is 2xx.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// From a handler's result: what fails is 500, a time-out on the way 504, no connection 502.
impl From<Result<Self, Failure>> for Reply {
    fn from(result: Result<Self, Failure>) -> Self {
        result.unwrap_or_else(|failure| {
            let status = match failure.reason() {
                "timed out" => 504,
                "refused" | "reset" => 502,
                _ => 500,
            };
            Self::status(status).with_header("reason", failure.reason())
        })
    }
}

/// A web request to be sent: `WebRequest::get("/price").key("price:7").deadline(ms(200)).fetch(&node, to).await`.
#[derive(Clone, Debug)]
pub struct WebRequest {
    method: Method,
    content: Content,
    deadline: Option<Duration>,
}

impl WebRequest {
    /// A request for a page.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, content: Content { path: path.into(), ..Content::default() }, deadline: None }
    }
    /// `GET path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::Get, path)
    }
    /// `POST path`.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::Post, path)
    }
    /// Which of the things on that page.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.content.key = key.into();
        self
    }
    /// A header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.content.headers.push((name.into(), value.into()));
        self
    }
    /// What is sent.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.content.body = body.into();
        self
    }
    /// How long to wait; the server is told.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
    /// Sends it and waits for the reply, whatever its status.
    ///
    /// # Errors
    /// When there is no reply; what that says about the request, see [`CallError`].
    pub async fn send(self, node: &Node, to: NodeId) -> Result<Reply, CallError> {
        let message = match self.method {
            Method::Get => Http::Get(self.content),
            Method::Post => Http::Post(self.content),
            Method::Put => Http::Put(self.content),
            Method::Delete => Http::Delete(self.content),
        };
        let call = node.call(to, &message);
        match self.deadline {
            Some(deadline) => call.deadline(deadline).await,
            None => call.await,
        }
    }
    /// Sends it and waits for a good reply.
    ///
    /// # Errors
    /// As [`WebRequest::send`]; and a reply that is not 2xx is a failure, such as `status 503`.
    pub async fn fetch(self, node: &Node, to: NodeId) -> Result<Reply, Failure> {
        let reply = self.send(node, to).await?;
        if reply.is_ok() { Ok(reply) } else { Err(format!("status {}", reply.status).into()) }
    }
}

/// A web request as its handler sees it; the fields of [`Content`] are its own.
pub struct Incoming {
    /// What it wants to do.
    pub method: Method,
    content: Content,
    call: Call,
    chance: Key,
    number: u64,
}

impl Deref for Incoming {
    type Target = Content;
    fn deref(&self) -> &Content {
        &self.content
    }
}

impl Incoming {
    /// Who asks.
    pub fn from(&self) -> NodeId {
        self.call.from()
    }
    /// How long the caller will still wait, as far as it said: zero where it has given up.
    pub fn time_left(&self) -> Option<Duration> {
        self.call.time_left()
    }
    /// Whether nobody waits for the reply any more: the caller has said so, or its deadline has passed.
    pub fn is_abandoned(&self) -> bool {
        self.call.is_cancelled() || self.call.time_left().is_some_and(Duration::is_zero)
    }
    /// Waits until the caller says that it does not wait any more.
    pub async fn cancelled(&self) {
        self.call.cancelled().await;
    }
    /// A stream of chance for this request (the n-th that this server has received), whatever the others draw.
    pub fn rng(&self, name: &str) -> Rng {
        Rng::new(&self.chance.fork_u64(self.number).fork(name))
    }
}

type Handling = Pin<Box<dyn Future<Output = Reply>>>;
type Handler = Rc<dyn Fn(Node, Incoming) -> Handling>;

/// A web service: see the module. 64 workers, an unbounded queue and 8 cores, unless said otherwise.
///
/// ```
/// # use sim_core::{Sim, plan::Plan, record::RecordingLevel, rng::Delay, time::{ms, secs}};
/// # use scenarios::cast::{OpenLoop, Reply, WebRequest, WebService};
/// # let mut sim = Sim::new(&Plan::new("two services", 42, secs(2)), RecordingLevel::Essential);
/// // 3 ms of work with 10 % noise, then one call downstream.
/// let currency = WebService::calling(Delay::constant(ms(1)), []).add_to(&mut sim, "currency");
/// let pricing = WebService::calling(Delay::normal(ms(3), ms(3) / 10), [currency]).add_to(&mut sim, "pricing");
/// WebService::new(async move |node, request| {
///     node.work(ms(2)).await;
///     WebRequest::get("/price").key(&request.key).fetch(node, pricing).await
/// })
/// .workers(16)
/// .queue(32)
/// .add_many(&mut sim, "web", 4);
/// # OpenLoop::poisson(50.0).get("/product").add_to(&mut sim, "clients");
/// # assert!(sim.run().unwrap().events > 100);
/// ```
pub struct WebService {
    handler: Arc<dyn Fn(&Node) -> Handler + Send + Sync>,
    workers: usize,
    queue: usize,
    skip_abandoned: bool,
    machine: Machine,
}

impl WebService {
    /// A service that handles each request with `handler`, in a worker of its own.
    pub fn new<R: Into<Reply>>(handler: impl AsyncFn(&Node, Incoming) -> R + Send + Sync + 'static) -> Self {
        Self::with_state(|_| (), async move |node, (), request| handler(node, request).await)
    }
    /// The same with something that all requests of one server share (a pool, a local cache, a breaker, clients), made at
    /// each start of the server, where it may start tasks too.
    pub fn with_state<S: 'static, R: Into<Reply>>(
        state: impl Fn(&Node) -> S + Send + Sync + 'static,
        handler: impl AsyncFn(&Node, &S, Incoming) -> R + Send + Sync + 'static,
    ) -> Self {
        let handler = Arc::new(handler);
        let make = move |node: &Node| -> Handler {
            let (state, handler) = (Rc::new(state(node)), Arc::clone(&handler));
            Rc::new(move |node: Node, request: Incoming| -> Handling {
                let (state, handler) = (Rc::clone(&state), Arc::clone(&handler));
                Box::pin(async move { handler(&node, &state, request).await.into() })
            })
        };
        let machine = Machine::cores(8);
        Self { handler: Arc::new(make), workers: 64, queue: usize::MAX, skip_abandoned: false, machine }
    }
    /// A service that works for some time on a core, and then calls others, one after the other, for the same page and key,
    /// with what is left of its caller's patience. It answers 200, or what went wrong downstream.
    pub fn calling(work: Delay, downstream: impl IntoIterator<Item = NodeId>) -> Self {
        let downstream: Vec<NodeId> = downstream.into_iter().collect();
        Self::new(async move |node: &Node, request: Incoming| -> Result<Reply, Failure> {
            let work = request.rng("work").duration(&work);
            node.work(work).await;
            for to in &downstream {
                let mut call = WebRequest::new(request.method, &request.path).key(&request.key);
                if let Some(left) = request.time_left() {
                    call = call.deadline(left);
                }
                call.fetch(node, *to).await?;
            }
            Ok(Reply::ok(""))
        })
    }
    /// A service without work of its own, such as a gateway: see [`WebService::calling`].
    pub fn passing_on(downstream: impl IntoIterator<Item = NodeId>) -> Self {
        Self::calling(Delay::constant(Duration::ZERO), downstream)
    }
    /// How many requests are handled at a time; at least one.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }
    /// How many may wait for a worker; the next is refused with 503 at once.
    pub fn queue(mut self, queue: usize) -> Self {
        self.queue = queue;
        self
    }
    /// A request that nobody waits for any more is dropped when its turn comes, and counted in `web.abandoned`.
    pub fn skip_abandoned(mut self) -> Self {
        self.skip_abandoned = true;
        self
    }
    /// How many cores.
    pub fn cores(self, cores: u32) -> Self {
        self.machine(move |m| m.cores(cores))
    }
    /// What the servers are made of: `.machine(|m| m.memory_limit(400_000_000).region("eu"))`.
    pub fn machine(mut self, change: impl Fn(NodeSpec) -> NodeSpec + 'static) -> Self {
        self.machine.change(change);
        self
    }
    /// Adds one server.
    pub fn add_to(self, sim: &mut Sim, name: &str) -> NodeId {
        self.add_node(sim, name)
    }
    /// Adds so many servers: `web-0`, `web-1`, ...
    pub fn add_many(self, sim: &mut Sim, name: &str, servers: u32) -> Vec<NodeId> {
        (0..servers).map(|server| self.add_node(sim, &format!("{name}-{server}"))).collect()
    }

    fn add_node(&self, sim: &mut Sim, name: &str) -> NodeId {
        let (make, workers, queue) = (Arc::clone(&self.handler), self.workers, self.queue);
        let skip_abandoned = self.skip_abandoned;
        sim.node(self.machine.spec(name), async move |node| {
            let handler = make(&node);
            let server = Server::new(node.clone(), handler, workers, queue, skip_abandoned);
            node.serve(async move |call: Call, message: Http| server.handle(call, message).await);
            std::future::pending::<()>().await;
        })
    }
}

struct Server {
    node: Node,
    handler: Handler,
    free: Semaphore,
    queue: usize,
    skip_abandoned: bool,
    active: Level,
    waiting: Level,
    received: sim_core::record::Counter,
    refused: sim_core::record::Counter,
    abandoned: sim_core::record::Counter,
    wait: sim_core::record::Histogram,
    time: sim_core::record::Histogram,
    chance: Key,
    next: Cell<u64>,
}

impl Server {
    fn new(node: Node, handler: Handler, workers: usize, queue: usize, skip_abandoned: bool) -> Self {
        Self {
            handler,
            free: Semaphore::new(workers),
            queue,
            skip_abandoned,
            active: Level::new(&node, "web.active"),
            waiting: Level::new(&node, "web.queue"),
            received: node.counter("web.requests"),
            refused: node.counter("web.refused"),
            abandoned: node.counter("web.abandoned"),
            wait: node.histogram("web.wait"),
            time: node.histogram("web.time"),
            chance: *node.rng("web requests").key(),
            next: Cell::new(0),
            node,
        }
    }

    async fn handle(&self, call: Call, message: Http) -> Reply {
        let arrived = self.node.monotonic();
        self.received.increment();
        let number = self.next.replace(self.next.get() + 1);
        let (method, content) = match message {
            Http::Get(content) => (Method::Get, content),
            Http::Post(content) => (Method::Post, content),
            Http::Put(content) => (Method::Put, content),
            Http::Delete(content) => (Method::Delete, content),
        };
        let request = Incoming { method, content, call, chance: self.chance, number };
        let must_wait = self.free.available() == 0;
        if must_wait && self.waiting.count() >= self.queue {
            self.refused.increment();
            self.node.fail("refused: the queue is full");
            return Reply::status(503);
        }
        let worker = if must_wait {
            let _waiting = self.waiting.enter();
            self.node.span("web.queue").run(self.free.acquire()).await
        } else {
            self.free.acquire().await
        };
        self.wait.record(self.node.monotonic().since(arrived));
        if self.skip_abandoned && request.is_abandoned() {
            self.abandoned.increment();
            self.node.fail("abandoned by its caller");
            return Reply::status(503);
        }
        let active = self.active.enter();
        let reply = (self.handler)(self.node.clone(), request).await;
        drop((active, worker));
        self.time.record(self.node.monotonic().since(arrived));
        if reply.status >= 500 {
            self.node.fail(&format!("status {}", reply.status));
        }
        reply
    }
}
