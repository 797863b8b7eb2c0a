//! A node's handle: what the code of a node can do.
//!
//! A handle belongs to one incarnation of one node. When the node crashes, its old handles go dead: nothing they do has an
//! effect any more, and futures made from them never end.

use std::{
    cell::RefMut,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use serde::{Deserialize, Serialize};

use crate::{
    executor::{
        combine::{Either, race},
        queue::{Class, EventKey},
        sync::{OneshotReceiver, oneshot},
    },
    fault::Offset,
    machine::{Discipline, DiskSpec},
    rng::Rng,
    time::{Duration, Monotonic, SimTime, Wall},
    world::{Core, Event, World},
};

/// The index of a node: cheap to copy, encode and compare. Nodes are numbered in order of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl NodeId {
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What a node is made of. A plain name is enough: `"web-0"` is node 0 of the service `web`, with one core, no memory
/// limit, an ordinary disk, and exact clocks.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) region: String,
    pub(crate) cores: u32,
    pub(crate) discipline: Discipline,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) disk: DiskSpec,
    pub(crate) clock_offset: Offset,
    pub(crate) clock_drift: f64,
    pub(crate) bandwidth: Option<u64>,
    pub(crate) send_queue: Option<u64>,
}

impl NodeSpec {
    /// A node of that name. Its service is the name without a trailing number: `web-2` belongs to `web`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let service = match name.rsplit_once('-') {
            Some((service, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
                service
            }
            _ => &name,
        };
        Self {
            service: service.to_owned(),
            name,
            region: String::new(),
            cores: 1,
            discipline: Discipline::default(),
            memory_limit: None,
            disk: DiskSpec::default(),
            clock_offset: Offset::default(),
            clock_drift: 0.0,
            bandwidth: None,
            send_queue: None,
        }
    }
    /// Another service than the name says.
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = service.into();
        self
    }
    /// The region, for region latencies and partitions.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }
    /// How many cores; at least one.
    pub fn cores(mut self, cores: u32) -> Self {
        self.cores = cores.max(1);
        self
    }
    /// How work shares them.
    pub fn discipline(mut self, discipline: Discipline) -> Self {
        self.discipline = discipline;
        self
    }
    /// Past that many bytes the node is killed.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }
    /// The disk.
    pub fn disk(mut self, disk: DiskSpec) -> Self {
        self.disk = disk;
        self
    }
    /// How far the wall clock is off at the start.
    pub fn clock_offset(mut self, offset: Offset) -> Self {
        self.clock_offset = offset;
        self
    }
    /// How fast both clocks run, in parts in a million (negative: slow).
    pub fn clock_drift(mut self, ppm: f64) -> Self {
        self.clock_drift = ppm;
        self
    }
    /// Bytes a second that its network interface sends, with a queue of `queue` bytes, beyond which packets are dropped.
    pub fn bandwidth(mut self, bytes_per_second: u64, queue: u64) -> Self {
        self.bandwidth = Some(bytes_per_second.max(1));
        self.send_queue = Some(queue);
        self
    }
}

impl From<&str> for NodeSpec {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
impl From<String> for NodeSpec {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// See the module. Cloning gives another handle to the same incarnation.
#[derive(Clone)]
pub struct Node {
    world: Rc<World>,
    id: NodeId,
    incarnation: u32,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({:?}, incarnation {})", self.id, self.incarnation)
    }
}

impl Node {
    pub(crate) fn new(world: Rc<World>, id: NodeId, incarnation: u32) -> Self {
        Self { world, id, incarnation }
    }
    #[inline]
    pub(crate) fn core(&self) -> RefMut<'_, Core> {
        self.world.core.borrow_mut()
    }
    /// Whether this handle's incarnation is the one that runs.
    #[inline]
    pub(crate) fn is_current(&self, core: &Core) -> bool {
        let state = &core.nodes[self.id.index()];
        state.incarnation == self.incarnation && state.up
    }
    pub(crate) fn incarnation_number(&self) -> u32 {
        self.incarnation
    }

    /// This node.
    #[inline]
    pub fn id(&self) -> NodeId {
        self.id
    }
    /// Its name.
    pub fn name(&self) -> String {
        self.core().nodes[self.id.index()].name.to_string()
    }
    /// How often it has started before: 0 the first time.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }
    /// The node of that name.
    ///
    /// # Panics
    /// When there is none: a program error of the scenario.
    pub fn find(&self, name: &str) -> NodeId {
        let core = self.core();
        core.find(name).unwrap_or_else(|| panic!("there is no node `{name}`"))
    }
    /// All nodes of a service, in order of creation.
    pub fn service(&self, service: &str) -> Vec<NodeId> {
        self.core().nodes_of_service(service)
    }
    /// The name of another node.
    pub fn name_of(&self, node: NodeId) -> String {
        self.core().nodes[node.index()].name.to_string()
    }

    // ---- time ----

    /// The monotonic clock: for time-outs.
    #[inline]
    pub fn monotonic(&self) -> Monotonic {
        let mut core = self.core();
        core.monotonic_is_read(self.id);
        core.nodes[self.id.index()].clock.monotonic(core.now)
    }
    /// The wall clock: for time stamps, and leases between machines.
    pub fn wall(&self) -> Wall {
        let mut core = self.core();
        core.wall_is_read(self.id);
        core.nodes[self.id.index()].clock.wall(core.now)
    }
    /// Waits that long on this node's monotonic clock.
    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep { node: self.clone(), target: Target::Span(time), timer: None }
    }
    /// Waits until this node's monotonic clock shows `when`.
    pub fn sleep_until(&self, when: Monotonic) -> Sleep {
        Sleep { node: self.clone(), target: Target::Reading(when), timer: None }
    }
    /// A future, or `None` when that much time passes first; then it is dropped. The future wins a tie.
    pub async fn timeout<T>(&self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        match race(future, self.sleep(time)).await {
            Either::First(value) => Some(value),
            Either::Second(()) => None,
        }
    }
    /// A ticker: its first tick after one period.
    pub fn ticks(&self, period: Duration) -> Ticks {
        let core = self.core();
        // Nobody sees this reading: what a fault of the clock changes about it, it changes about the ticks.
        let next = core.nodes[self.id.index()].clock.monotonic(core.now) + period;
        drop(core);
        Ticks { next, period, node: self.clone() }
    }

    // ---- chance ----

    /// The stream of chance of that name, which belongs to this node and incarnation and to nothing else: other streams,
    /// nodes and variants leave it alone.
    ///
    /// # Panics
    /// When the name was used before in this incarnation: two streams would be twins.
    pub fn rng(&self, name: &str) -> Rng {
        let mut core = self.core();
        let interned = core.recorder.name(name);
        let incarnation = self.incarnation;
        let state = &mut core.nodes[self.id.index()];
        if state.incarnation == incarnation {
            assert!(
                !state.streams.contains(&interned),
                "the random stream `{name}` of node `{}` exists already: two streams would be twins",
                state.name
            );
            state.streams.push(interned);
        }
        Rng::new(&state.key.fork_u64(u64::from(incarnation)).fork(name))
    }

    // ---- tasks ----

    /// Starts a task on this node. It ends with the node's incarnation. Dropping the handle lets it run on.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        let (sender, receiver) = oneshot();
        let mut core = self.core();
        if self.is_current(&core) {
            let span = core.current_span;
            let future = async move { sender.send(future.await) };
            core.tasks.spawn(Box::pin(future), self.id, self.incarnation, span);
        } else {
            core.graveyard.push(Box::new((future, sender)));
        }
        Task { receiver }
    }
    /// Starts a task whose result nobody waits for; cheaper than [`Node::spawn`].
    pub fn spawn_detached(&self, future: impl Future<Output = ()> + 'static) {
        let mut core = self.core();
        if self.is_current(&core) {
            let span = core.current_span;
            core.tasks.spawn(Box::pin(future), self.id, self.incarnation, span);
        } else {
            core.graveyard.push(Box::new(future));
        }
    }
    /// Kills this node here and now, as a crash of its process: the caller's future never goes on.
    pub fn crash(&self, reason: &str) {
        let mut core = self.core();
        if self.is_current(&core) {
            core.crash(self.id, false, reason);
        }
    }
    /// Ends the run: the scenario has seen what it wanted to see.
    pub fn stop_run(&self) {
        let mut core = self.core();
        if self.is_current(&core) {
            core.stop = Some(crate::record::Ending::Stopped);
        }
    }
    /// How many times its usual rate a load generator on this node shall send: 1 unless a fault says otherwise. Asked once
    /// for each request: a load fault has touched the requests that asked while it was in force.
    pub fn load_factor(&self) -> f64 {
        let mut core = self.core();
        core.load_is_asked(self.id);
        core.nodes[self.id.index()].load
    }
    /// The same for a generator that only looks whether its rate has changed, with no request at hand: faults have touched
    /// nothing by it.
    pub fn load_factor_ahead(&self) -> f64 {
        self.core().nodes[self.id.index()].load
    }
}

/// The result of a spawned task.
pub struct Task<T> {
    receiver: OneshotReceiver<T>,
}

impl<T> Future for Task<T> {
    /// `None` where the task was dropped before its end.
    type Output = Option<T>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.receiver).poll(cx)
    }
}

enum Target {
    Span(Duration),
    Reading(Monotonic),
}

/// See [`Node::sleep`]. Dropping it takes its event out of the queue.
pub struct Sleep {
    node: Node,
    target: Target,
    timer: Option<EventKey>,
}

impl Future for Sleep {
    type Output = ();
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let id = self.node.id;
        let mut core = self.node.core();
        if !self.node.is_current(&core) {
            return Poll::Pending;
        }
        let now = core.now;
        let clock = &core.nodes[id.index()].clock;
        let deadline = match self.target {
            Target::Reading(reading) => reading,
            Target::Span(span) => clock.monotonic(now) + span,
        };
        let at = clock.when(deadline);
        let old = self.timer;
        if at <= now {
            if let Some(key) = old {
                core.queue.withdraw(key);
            }
            drop(core);
            self.timer = None;
            return Poll::Ready(());
        }
        if let Some(key) = old {
            if let Some(Event::Wake { target, .. }) = core.queue.get(key)
                && core.tasks.is_target(target, cx.waker())
            {
                return Poll::Pending;
            }
            core.queue.withdraw(key);
        } else {
            core.timer_is_set(id, at);
        }
        let event = Event::Wake { target: core.tasks.target(cx.waker()), node: id, deadline };
        let key = core.queue.push(at, Class::Usual, event);
        drop(core);
        self.timer = Some(key);
        self.target = Target::Reading(deadline);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer {
            self.node.core().queue.withdraw(key);
        }
    }
}

/// See [`Node::ticks`].
pub struct Ticks {
    node: Node,
    next: Monotonic,
    period: Duration,
}

impl Ticks {
    /// Waits for the next tick. Ticks that were missed (the node was paused, the caller was slow) come at once, one by one.
    pub async fn tick(&mut self) {
        self.node.sleep_until(self.next).await;
        self.next += self.period;
    }
}

/// What the observer may ask: true time. For figures, never for decisions of a node.
#[derive(Clone, Debug)]
pub struct Observer {
    node: Node,
}

impl Node {
    /// The observer's view, which knows the true time.
    pub fn observer(&self) -> Observer {
        Observer { node: self.clone() }
    }
}

impl Observer {
    /// True time since the start of the run.
    pub fn now(&self) -> SimTime {
        self.node.core().now
    }
}
