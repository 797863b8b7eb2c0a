//! Load: who asks, how often, and what it costs them.
//!
//! An [`OpenLoop`] is the public: requests come when they come, on the generator's own clock, whether or not the earlier ones
//! have been answered. A [`ClosedLoop`] is a fixed number of users who wait for an answer, think, and ask again. The
//! difference decides what a slow server looks like: the open loop's queue grows, the closed loop politely asks less.
//!
//! Latency is measured from the *intended* start, so a client that is late itself (a pause, a full queue of its own) does not
//! forget the time that its users waited. Leaving that out is called coordinated omission (Tene, "How NOT to Measure
//! Latency", 2013).
//!
//! Chance comes from streams of their own: `arrivals`, `keys`, `think`, and one per request for everything else. Changing
//! the keys leaves the arrivals where they were. A `load` fault multiplies the rate; it is noticed within 10 ms.

mod keys;
mod request;
mod schedule;

use std::{future::Future, pin::Pin, rc::Rc, sync::Arc};

use sim_core::{
    Node, NodeId, NodeSpec, Sim,
    rng::{Delay, Distribution},
    time::{Duration, Monotonic, ms},
};

pub use keys::Keys;
pub use request::{Destination, RequestInfo, Spread};

use request::{Action, Meter, Prepare, Running, web_action};
use schedule::{Pace, Rate};

use super::{Failure, Machine, Method};

/// How often an open loop looks whether a fault has changed its rate.
const NOTICE: Duration = ms(10);

/// A load generator, made by [`OpenLoop`] or [`ClosedLoop`]. It begins at once and never ends, and asks the service `web` for
/// `GET /`, unless said otherwise.
pub struct Load {
    arrivals: Arrivals,
    what: What,
    to: Destination,
    spread: Spread,
    trace: Option<String>,
    keys: Keys,
    deadline: Option<Duration>,
    start: Duration,
    stop: Duration,
    most: u64,
    front_ends: u64,
    machine: Machine,
}

enum What {
    Web(Method, String),
    Custom(Prepare),
}

/// Requests that come on their own clock.
///
/// ```
/// # use sim_core::{Sim, plan::Plan, record::RecordingLevel, time::{ms, secs}};
/// # use scenarios::cast::{OpenLoop, Reply, WebService};
/// # let mut sim = Sim::new(&Plan::new("hot page", 42, secs(10)), RecordingLevel::Essential);
/// WebService::new(async |node, _request| {
///     node.sleep(ms(5)).await;
///     Reply::ok("hello")
/// })
/// .add_many(&mut sim, "web", 4);
/// OpenLoop::poisson(200.0).get("/hot").deadline(secs(1)).add_to(&mut sim, "clients");
/// # assert!(sim.run().unwrap().events > 5_000);
/// ```
pub struct OpenLoop;

/// Users who wait for each answer, think, and ask again. Each thinks first, so that they do not begin all at once.
///
/// ```
/// # use sim_core::{Sim, plan::Plan, record::RecordingLevel, rng::Delay, time::{ms, secs}};
/// # use scenarios::cast::{ClosedLoop, Reply, WebService};
/// # let mut sim = Sim::new(&Plan::new("users", 42, secs(10)), RecordingLevel::Essential);
/// # WebService::new(async |_, _| Reply::ok("")).add_to(&mut sim, "web");
/// ClosedLoop::users(20, Delay::exponential(ms(500))).get("/hot").add_to(&mut sim, "users");
/// # assert!(sim.run().unwrap().events > 100);
/// ```
pub struct ClosedLoop;

/// When requests are due.
enum Arrivals {
    /// They follow a rate: as a Poisson process, or evenly spaced.
    Rate { rate: Rate, evenly: bool },
    /// At given times.
    At(Vec<Duration>),
    /// When users have done thinking.
    Users { users: u64, think: Delay },
}

impl OpenLoop {
    fn at_rate(rate: Rate) -> Load {
        Load::new(Arrivals::Rate { rate, evenly: false })
    }
    /// A Poisson process of that many requests a second: many users who know nothing of each other.
    pub fn poisson(rate: f64) -> Load {
        Self::at_rate(Rate::flat(rate))
    }
    /// That many requests a second, evenly spaced; the first at the start.
    pub fn constant(rate: f64) -> Load {
        Self::poisson(rate).evenly()
    }
    /// A Poisson process whose rate goes from one value to another in a straight line, and stays there.
    pub fn ramp(from: f64, to: f64, over: Duration) -> Load {
        Self::at_rate(Rate::ramp(from, to, over))
    }
    /// A Poisson process of one rate, but of another from `at` for as long as it `lasts`. Counted from the start of the load.
    pub fn burst(rate: f64, burst: f64, at: Duration, lasts: Duration) -> Load {
        Self::steps([(Duration::ZERO, rate), (at, burst), (at + lasts, rate)])
    }
    /// A Poisson process with a new rate at each of these times, counted from the start of the load and in order; before the
    /// first nothing comes.
    pub fn steps(steps: impl IntoIterator<Item = (Duration, f64)>) -> Load {
        Self::at_rate(Rate::steps(steps))
    }
    /// One request at each of these times, counted from the start of the load; several at one time come together. A `load`
    /// fault does not change them.
    pub fn at(times: impl IntoIterator<Item = Duration>) -> Load {
        let mut times: Vec<Duration> = times.into_iter().collect();
        times.sort_unstable();
        Load::new(Arrivals::At(times))
    }
}

impl ClosedLoop {
    /// So many users, who think for that long between an answer and the next request. A `load` fault divides the thinking.
    pub fn users(users: u64, think: Delay) -> Load {
        Load::new(Arrivals::Users { users, think })
    }
}

impl Load {
    fn new(arrivals: Arrivals) -> Self {
        Self {
            arrivals,
            what: What::Web(Method::Get, "/".to_owned()),
            to: "web".into(),
            spread: Spread::default(),
            trace: None,
            keys: Keys::one(""),
            deadline: None,
            start: Duration::ZERO,
            stop: Duration::MAX,
            most: u64::MAX,
            front_ends: 1,
            machine: Machine::default(),
        }
    }

    // ---- what is asked ----

    /// Asks a web service for a page; each request carries its key. A reply that is not 2xx is a failure `status 503`.
    pub fn get(self, path: impl Into<String>) -> Self {
        self.web(Method::Get, path)
    }
    /// The same with another method.
    pub fn web(mut self, method: Method, path: impl Into<String>) -> Self {
        self.what = What::Web(method, path.into());
        self
    }
    /// Whom [`Load::get`] asks: a service, a node, or several. The service `web` unless said.
    pub fn to(mut self, destination: impl Into<Destination>) -> Self {
        self.to = destination.into();
        self
    }
    /// How requests are spread over several nodes; in turn unless said.
    pub fn spread(mut self, spread: Spread) -> Self {
        self.spread = spread;
        self
    }
    /// What is done for each request, in a task of its own: `async |client, request| { ...; Ok(()) }`.
    pub fn run(
        self,
        request: impl AsyncFn(&Node, RequestInfo) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        self.run_with(|_| (), async move |node, (), info| request(node, info).await)
    }
    /// The same with something that all requests of a client node share (a pool, a breaker), made at each start of the node.
    pub fn run_with<S: 'static>(
        mut self,
        state: impl Fn(&Node) -> S + Send + Sync + 'static,
        request: impl AsyncFn(&Node, &S, RequestInfo) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        let request = Arc::new(request);
        self.what = What::Custom(Arc::new(move |node: &Node| -> Action {
            let (state, request) = (Rc::new(state(node)), Arc::clone(&request));
            Rc::new(move |node: Node, info: RequestInfo| -> Running {
                let (state, request) = (Rc::clone(&state), Arc::clone(&request));
                Box::pin(async move { request(&node, &state, info).await })
            })
        }));
        self
    }
    /// The keys; the empty key unless said.
    pub fn keys(mut self, keys: impl Into<Keys>) -> Self {
        self.keys = keys.into();
        self
    }
    /// The name of each request's trace: few different ones, no ids. `GET /path`, or `request`, unless said.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.trace = Some(name.into());
        self
    }

    // ---- how often, how long ----

    /// Evenly spaced arrivals at the same rate, instead of chance ones.
    pub fn evenly(mut self) -> Self {
        if let Arrivals::Rate { evenly, .. } = &mut self.arrivals {
            *evenly = true;
        }
        self
    }
    /// A request that has no answer by then, counted from its intended start, has failed: `timed out`. Its server is told, and
    /// may or may not listen.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
    /// When the load begins, on the client's clock.
    pub fn from(mut self, start: Duration) -> Self {
        self.start = start;
        self
    }
    /// From that time on no request begins.
    pub fn until(mut self, stop: Duration) -> Self {
        self.stop = stop;
        self
    }
    /// No more requests than that, over all front ends.
    pub fn at_most(mut self, requests: u64) -> Self {
        self.most = requests;
        self
    }

    // ---- from where ----

    /// How many nodes share the work: `clients-0` and so on. A rate, users and limits are divided among them.
    pub fn front_ends(mut self, nodes: u64) -> Self {
        self.front_ends = nodes.max(1);
        self
    }
    /// What the client nodes are made of: `.machine(|m| m.region("eu"))`.
    pub fn machine(mut self, change: impl Fn(NodeSpec) -> NodeSpec + 'static) -> Self {
        self.machine.change(change);
        self
    }
    /// Adds the client node, or the nodes `name-0`, `name-1`, ... where there are several; gives the first.
    pub fn add_to(self, sim: &mut Sim, name: &str) -> NodeId {
        let prepare = match &self.what {
            What::Custom(prepare) => Arc::clone(prepare),
            What::Web(method, path) => {
                let (method, path, to, spread) = (*method, path.clone(), self.to.clone(), self.spread);
                Arc::new(move |node: &Node| web_action(node, method, path.clone(), &to, spread))
            }
        };
        let trace = self.trace.clone().unwrap_or_else(|| match &self.what {
            What::Web(method, path) => format!("{method} {path}"),
            What::Custom(_) => "request".to_owned(),
        });
        let mut first = None;
        for index in 0..self.front_ends {
            let name = if self.front_ends == 1 { name.to_owned() } else { format!("{name}-{index}") };
            let share = Share { index, of: self.front_ends };
            let drive = self.arrivals.share(share);
            let (prepare, trace, deadline) = (Arc::clone(&prepare), trace.clone(), self.deadline);
            let span = Span {
                start: self.start,
                stop: self.stop,
                most: share.of_whole(self.most),
                share,
                keys: self.keys.clone(),
            };
            let id = sim.node(self.machine.spec(name), async move |node| {
                let meter = Meter::new(&node, &prepare, &trace, deadline);
                drive(node, meter, span.clone()).await;
            });
            first = first.or(Some(id));
        }
        first.expect("there is at least one front end")
    }
}

/// Which part of a generator a front end is.
#[derive(Clone, Copy, Debug)]
struct Share {
    index: u64,
    of: u64,
}

impl Share {
    /// This front end's part of a whole number: 10 over 3 is 4, 3 and 3.
    fn of_whole(self, n: u64) -> u64 {
        if n == u64::MAX { n } else { n / self.of + u64::from(self.index < n % self.of) }
    }
}

/// What all kinds of load know.
#[derive(Clone)]
struct Span {
    start: Duration,
    stop: Duration,
    most: u64,
    share: Share,
    keys: Keys,
}

type Drive = Box<dyn Fn(Node, Rc<Meter>, Span) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;

impl Arrivals {
    /// What one front end does.
    fn share(&self, share: Share) -> Drive {
        match self {
            Self::At(times) => {
                let own = times.iter().enumerate().filter(|(i, _)| *i as u64 % share.of == share.index);
                let own: Arc<[Duration]> = own.map(|(_, time)| *time).collect();
                Box::new(move |node, meter, span| Box::pin(run_times(node, meter, span, Arc::clone(&own))))
            }
            Self::Rate { rate, evenly } => {
                // Evenly spaced, all front ends count the same arrivals and take turns, so that the whole stays even.
                let evenly = *evenly;
                let rate = if evenly { rate.clone() } else { rate.divided_by(share.of) };
                Box::new(move |node, meter, span| Box::pin(run_rate(node, meter, span, rate.clone(), evenly)))
            }
            Self::Users { users, think } => {
                let (users, think) = (*users, think.clone());
                Box::new(move |node, meter, span| {
                    Box::pin(run_users(node, meter, span, users, think.clone()))
                })
            }
        }
    }
}

async fn run_times(node: Node, meter: Rc<Meter>, span: Span, times: Arc<[Duration]>) {
    let mut keys = node.rng("keys");
    let begun = node.monotonic();
    for (ordinal, time) in (0..span.most).zip(times.iter()) {
        let intended = Monotonic::ZERO + span.start + *time;
        if intended >= Monotonic::ZERO + span.stop {
            return;
        }
        let picked = span.keys.pick(&mut keys, ordinal * span.share.of + span.share.index);
        if intended < begun {
            continue; // before this incarnation: the node was down
        }
        node.sleep_until(intended).await;
        let info = meter.info(0, picked, intended);
        node.spawn_detached(Rc::clone(&meter).perform(info));
    }
}

async fn run_rate(node: Node, meter: Rc<Meter>, span: Span, rate: Rate, evenly: bool) {
    let (mut arrivals, mut keys) = (node.rng("arrivals"), node.rng("keys"));
    let exponential = Distribution::<f64>::exponential(1.0);
    let mut pace = Pace::new(rate);
    let origin = Monotonic::ZERO + span.start;
    let stop = Monotonic::ZERO + span.stop;
    // After a restart the load goes on from now: what was due while the client was down is nobody's.
    let mut due = pace.exposure(node.monotonic().since(origin).as_secs_f64());
    let mut turn = due.ceil() as u64;
    for ordinal in 0..span.most {
        if evenly {
            while turn % span.share.of != span.share.index {
                turn += 1;
            }
            due = turn as f64;
            turn += 1;
        } else {
            due += arrivals.sample(&exponential);
        }
        // A load fault has touched this request when it is sent under it, or when it has held it back.
        let mut usual = None;
        let mut told = false;
        let intended = loop {
            let now = node.monotonic();
            let seconds = now.since(origin).as_secs_f64();
            pace.set_factor(seconds, node.load_factor_ahead());
            let at = origin + Duration::from_secs_f64(pace.when(due));
            let held_back = node.load_factor_ahead() < 1.0
                && now >= *usual.get_or_insert(origin + Duration::from_secs_f64(pace.usual(seconds, due)));
            if (at <= now || held_back) && !told {
                node.load_factor();
                told = true;
            }
            if at <= now {
                break at;
            }
            if now >= stop {
                return;
            }
            // At least so often it looks again whether a fault has changed the rate.
            let look = Monotonic::ZERO + NOTICE * (now.as_nanos() / NOTICE.as_nanos() + 1);
            node.sleep_until(at.min(look).min(stop)).await;
        };
        if intended >= stop {
            return;
        }
        let picked = span.keys.pick(&mut keys, ordinal * span.share.of + span.share.index);
        let info = meter.info(0, picked, intended);
        node.spawn_detached(Rc::clone(&meter).perform(info));
    }
}

async fn run_users(node: Node, meter: Rc<Meter>, span: Span, users: u64, think: Delay) {
    let (keys, thinking) = (node.rng("keys"), node.rng("think"));
    let left = Rc::new(std::cell::Cell::new(span.most));
    node.sleep_until(Monotonic::ZERO + span.start).await;
    // Users keep their numbers whatever the number of front ends: user i is at front end i mod n.
    for user in (0..users).filter(|user| user % span.share.of == span.share.index) {
        let (mut keys, mut thinking) = (keys.fork_u64(user), thinking.fork_u64(user));
        let (node_, meter, span) = (node.clone(), Rc::clone(&meter), span.clone());
        let (think, left) = (think.clone(), Rc::clone(&left));
        node.spawn_detached(async move {
            let stop = Monotonic::ZERO + span.stop;
            loop {
                let think = thinking.duration(&think).mul_f64(1.0 / node_.load_factor().max(1e-9));
                let intended = node_.monotonic() + think;
                if intended >= stop || left.get() == 0 {
                    return;
                }
                node_.sleep(think).await;
                if left.get() == 0 {
                    return;
                }
                left.set(left.get() - 1);
                let ordinal = span.most - left.get() - 1;
                let picked = span.keys.pick(&mut keys, ordinal * span.share.of + span.share.index);
                let info = meter.info(user, picked, intended);
                Rc::clone(&meter).perform(info).await;
            }
        });
    }
    std::future::pending::<()>().await;
}
