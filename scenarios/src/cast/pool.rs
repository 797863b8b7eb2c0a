//! A pool: a limited number of things that are expensive to make, lent to whoever asks, in order of asking.
//!
//! With the pool empty, callers wait; with a limit on the wait, they fail after it. What is lent comes back when its guard is
//! dropped, on every path, which is what guards are for. [`Pooled::leak`] is the bug of code without guards: the place is
//! gone for good, and nobody else notices until all are.

use std::{
    cell::RefCell,
    future::Future,
    ops::{Deref, DerefMut},
    pin::Pin,
    rc::Rc,
};

use sim_core::{
    Node,
    record::{Counter, Histogram},
    sync::{Permit, Semaphore},
    time::{Duration, Monotonic},
};

use super::{Failure, level::Level};

/// Why a pool lent nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Nothing came back in time.
    #[error("no connection free")]
    TimedOut,
    /// A place was free, but nothing could be made to fill it.
    #[error(transparent)]
    Make(#[from] Failure),
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::TimedOut => Self::new("pool timed out"),
            PoolError::Make(failure) => failure,
        }
    }
}

type Making<T> = Pin<Box<dyn Future<Output = Result<T, Failure>>>>;

/// A pool on one node. Cloning gives another handle to the same.
///
/// Metrics of its node: gauges `pool.in_use`, `pool.idle`, `pool.waiting`; histograms `pool.wait` (of those that were served)
/// and `pool.held`; counters `pool.timed_out`, `pool.leaked`, `pool.reclaimed`.
///
/// ```
/// # use sim_core::{Sim, plan::Plan, record::RecordingLevel, time::{ms, secs}};
/// # use scenarios::cast::ConnectionPool;
/// # let mut sim = Sim::new(&Plan::new("pool", 42, secs(1)), RecordingLevel::Essential);
/// sim.node("web", async |node| {
///     let slots = ConnectionPool::slots(&node, 2).wait_at_most(ms(100));
///     let (_one, _two) = (slots.get().await.unwrap(), slots.get().await.unwrap());
///     assert!(slots.get().await.is_err());
/// });
/// # sim.run().unwrap();
/// ```
pub struct ConnectionPool<T: 'static> {
    shared: Rc<Shared<T>>,
}

impl<T> Clone for ConnectionPool<T> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

#[derive(Clone, Copy, Default)]
struct Limits {
    wait: Option<Duration>,
    reclaim: Option<Duration>,
}

struct Shared<T> {
    node: Node,
    places: Semaphore,
    make: Box<dyn Fn() -> Making<T>>,
    limits: RefCell<Limits>,
    idle: RefCell<Vec<T>>,
    /// What leaked stays here, as it would stay open in a real process.
    leaked: RefCell<Vec<Held<T>>>,
    in_use: Level,
    idle_level: Level,
    waiting: Level,
    wait: Histogram,
    held: Histogram,
    timed_out: Counter,
    leaks: Counter,
    reclaimed: Counter,
}

struct Held<T> {
    item: T,
    since: Monotonic,
    // In this order: the place is free only when the gauge says so.
    _in_use: super::level::Inside,
    _place: Permit,
}

impl ConnectionPool<()> {
    /// A pool of nothing but places: a bulkhead.
    pub fn slots(node: &Node, places: usize) -> Self {
        Self::new(node, places, || async { Ok::<(), Failure>(()) })
    }
}

impl<T: 'static> ConnectionPool<T> {
    /// A pool of at most `places`, each filled by `make` when it is first needed.
    pub fn new<F, E>(node: &Node, places: usize, make: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = Result<T, E>> + 'static,
        E: Into<Failure>,
    {
        let make = move || -> Making<T> {
            let making = make();
            Box::pin(async move { making.await.map_err(Into::into) })
        };
        let shared = Shared {
            places: Semaphore::new(places),
            make: Box::new(make),
            limits: RefCell::default(),
            idle: RefCell::default(),
            leaked: RefCell::default(),
            in_use: Level::new(node, "pool.in_use"),
            idle_level: Level::new(node, "pool.idle"),
            waiting: Level::new(node, "pool.waiting"),
            wait: node.histogram("pool.wait"),
            held: node.histogram("pool.held"),
            timed_out: node.counter("pool.timed_out"),
            leaks: node.counter("pool.leaked"),
            reclaimed: node.counter("pool.reclaimed"),
            node: node.clone(),
        };
        Self { shared: Rc::new(shared) }
    }
    /// Who waits longer than that gets nothing. Without it callers wait for ever.
    pub fn wait_at_most(self, limit: Duration) -> Self {
        self.shared.limits.borrow_mut().wait = Some(limit);
        self
    }
    /// What has leaked is found and taken back that long after it was lent.
    pub fn reclaim_after(self, age: Duration) -> Self {
        self.shared.limits.borrow_mut().reclaim = Some(age);
        self
    }
    /// How many are lent now.
    pub fn in_use(&self) -> usize {
        self.shared.in_use.count()
    }
    /// How many callers wait now.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.count()
    }

    /// Waits for a place and for what fills it. First come, first served.
    ///
    /// # Errors
    /// [`PoolError::TimedOut`] after the limit on the wait; [`PoolError::Make`] where the thing could not be made, and then the
    /// place is free again.
    pub async fn get(&self) -> Result<Pooled<T>, PoolError> {
        let shared = &self.shared;
        let node = &shared.node;
        let asked = node.monotonic();
        let place = if shared.places.available() > 0 {
            shared.places.acquire().await
        } else {
            let _waiting = shared.waiting.enter();
            let limit = shared.limits.borrow().wait;
            let place = node.span("pool.wait").run(async {
                match limit {
                    Some(limit) => node.timeout(limit, shared.places.acquire()).await,
                    None => Some(shared.places.acquire().await),
                }
            });
            place.await.ok_or_else(|| {
                shared.timed_out.increment();
                PoolError::TimedOut
            })?
        };
        shared.wait.record(node.monotonic().since(asked));
        let in_use = shared.in_use.enter();
        // The one that came back last: it is the warmest.
        let idle = shared.idle.borrow_mut().pop();
        shared.show_idle();
        let item = match idle {
            Some(item) => item,
            None => (shared.make)().await?,
        };
        let since = node.monotonic();
        let held = Held { item, since, _in_use: in_use, _place: place };
        Ok(Pooled { held: Some(held), shared: Rc::clone(shared) })
    }
}

impl<T> Shared<T> {
    fn show_idle(&self) {
        let idle = self.idle.borrow().len();
        if idle != self.idle_level.count() {
            self.idle_level.set(idle as f64);
        }
    }
}

/// What a pool has lent; it goes back when this is dropped.
pub struct Pooled<T: 'static> {
    held: Option<Held<T>>,
    shared: Rc<Shared<T>>,
}

impl<T> Pooled<T> {
    fn held(&self) -> &Held<T> {
        self.held.as_ref().expect("it is held until it is dropped")
    }
    /// How long it has been lent.
    pub fn age(&self) -> Duration {
        self.shared.node.monotonic().since(self.held().since)
    }
    /// Gives the place back, but not the thing: it is broken, and the next caller makes a new one.
    pub fn discard(mut self) {
        if let Some(held) = self.held.take() {
            self.shared.held.record(self.shared.node.monotonic().since(held.since));
            drop(held);
        }
    }
    /// Forgets to give it back, as a path without a guard does: the place is taken for good, unless the pool reclaims it.
    pub fn leak(mut self) {
        let Some(held) = self.held.take() else { return };
        let shared = Rc::clone(&self.shared);
        shared.leaks.increment();
        let since = held.since;
        shared.leaked.borrow_mut().push(held);
        let reclaim = shared.limits.borrow().reclaim;
        if let Some(age) = reclaim {
            let node = shared.node.clone();
            node.clone().spawn_detached(async move {
                node.sleep_until(since + age).await;
                let mut leaked = shared.leaked.borrow_mut();
                let found = leaked.iter().position(|h| h.since == since).map(|index| leaked.remove(index));
                drop(leaked);
                shared.reclaimed.increment();
                drop(found); // outside the borrow: closing it may run code of its own
            });
        }
    }
}

impl<T> Deref for Pooled<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.held().item
    }
}
impl<T> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held.as_mut().expect("it is held until it is dropped").item
    }
}

impl<T> Drop for Pooled<T> {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let shared = &self.shared;
        shared.held.record(shared.node.monotonic().since(held.since));
        let Held { item, .. } = held;
        shared.idle.borrow_mut().push(item);
        shared.show_idle();
    }
}
