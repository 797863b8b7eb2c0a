//! A service station: customers arrive at a node, wait for a core, are served and leave.
//!
//! Customers come on their own clock, whether or not earlier ones are done (an open loop). Each is a task of the node that
//! occupies a core for its service time. How many are there is read from the machine (cores and run queue); how long each
//! stays is read from the clock: two measurements that know nothing of each other.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
};

use sim_core::{
    Node, NodeSpec,
    combine::{Either, race},
    machine::Discipline,
    time::{Duration, Monotonic},
};

use crate::{
    law::Law,
    run::{Notebook, world},
    tally::{Area, Histogram, Sum, Window},
};

/// How customers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// On their own clock.
    Open,
    /// The classic mistake: the next one sets out only when the last one is done.
    Closed,
}

/// A station under construction: by default one core, first come first served, nobody turned away.
#[derive(Clone, Debug)]
pub struct Station {
    arrivals: Law,
    service: Law,
    window: Window,
    cores: u32,
    discipline: Discipline,
    room: Option<usize>,
    patience: Option<Law>,
    deadline: Duration,
    long_job: Duration,
    driver: Loop,
    drain: bool,
}

/// What was measured of the customers that arrived within the window.
#[derive(Clone, Debug)]
pub struct StationRun {
    /// How many were in the station, as the machine says, over the window.
    pub number: Area,
    /// How many came.
    pub arrived: u64,
    /// How many were turned away at the door.
    pub refused: u64,
    /// How many gave up.
    pub gave_up: u64,
    /// How long each was there, those that gave up included.
    pub sojourn: Sum,
    /// How long each waited for a core (first come, first served only).
    pub wait: Sum,
    /// How many waited at all.
    pub waited: u64,
    /// How many were there for longer than the deadline.
    pub late: u64,
    /// The stay of short and of long jobs.
    pub by_length: [Sum; 2],
    /// The stay of all who were served.
    pub histogram: Histogram,
    outstanding: u64,
}

impl Station {
    /// One core; figures are taken in `window`.
    pub fn new(arrivals: Law, service: Law, window: Window) -> Self {
        Self {
            arrivals,
            service,
            window,
            cores: 1,
            discipline: Discipline::Fifo,
            room: None,
            patience: None,
            deadline: Duration::MAX,
            long_job: Duration::MAX,
            driver: Loop::Open,
            drain: false,
        }
    }
    /// Poisson arrivals at that rate, exponential service of mean one second.
    pub fn markov(rate: f64, window: Window) -> Self {
        Self::new(Law::exponential(1.0 / rate), Law::exponential(1.0), window)
    }
    /// So many cores.
    pub fn cores(mut self, cores: u32) -> Self {
        self.cores = cores;
        self
    }
    /// How jobs share the cores.
    pub fn discipline(mut self, discipline: Discipline) -> Self {
        self.discipline = discipline;
        self
    }
    /// Turns customers away when so many are there, those in service included.
    pub fn room(mut self, room: usize) -> Self {
        self.room = Some(room);
        self
    }
    /// Customers leave after that long, served or not.
    pub fn patience(mut self, patience: Law) -> Self {
        self.patience = Some(patience);
        self
    }
    /// Counts customers that are there for longer than this, in seconds.
    pub fn deadline(mut self, deadline: f64) -> Self {
        self.deadline = Duration::from_secs_f64(deadline);
        self
    }
    /// Keeps apart jobs of at least this service time.
    pub fn long_job(mut self, at_least: Duration) -> Self {
        self.long_job = at_least;
        self
    }
    /// Another way of coming.
    pub fn driver(mut self, driver: Loop) -> Self {
        self.driver = driver;
        self
    }
    /// Nobody comes after the window, and the run ends when the station is empty.
    pub fn drain(mut self) -> Self {
        self.drain = true;
        self
    }

    /// One run.
    pub fn run(&self, seed: u64) -> StationRun {
        let mut sim = world("station", seed);
        let notebook = Notebook::new();
        let (result, station) = (notebook.clone(), self.clone());
        let spec = NodeSpec::new("station").cores(self.cores).discipline(self.discipline);
        sim.node(spec, async move |node| {
            let figures = station.open(&node).await;
            result.write(figures);
            node.stop_run();
        });
        notebook.after(sim)
    }

    async fn open(&self, node: &Node) -> StationRun {
        let (mut gaps, mut services, mut patience) =
            (node.rng("arrivals"), node.rng("services"), node.rng("patience"));
        let figures = Rc::new(RefCell::new(StationRun {
            number: Area::new(if self.drain { self.window.without_end() } else { self.window }),
            arrived: 0,
            refused: 0,
            gave_up: 0,
            sojourn: Sum::default(),
            wait: Sum::default(),
            waited: 0,
            late: 0,
            by_length: [Sum::default(); 2],
            histogram: Histogram::default(),
            outstanding: 0,
        }));
        let station = Rc::new(self.clone());
        loop {
            node.sleep(self.arrivals.draw(&mut gaps)).await;
            let now = node.monotonic();
            let over = now.as_nanos() >= self.window.to;
            // Later customers still hinder those of the window, so they keep coming until the last of these has left.
            if over && (self.drain || figures.borrow().outstanding == 0) {
                break;
            }
            let service = self.service.draw(&mut services);
            let counted = self.window.contains(now);
            if counted {
                figures.borrow_mut().arrived += 1;
            }
            if self.room.is_some_and(|room| node.cores_busy() + node.run_queue() >= room) {
                if counted {
                    figures.borrow_mut().refused += 1;
                }
                continue;
            }
            if counted {
                figures.borrow_mut().outstanding += 1;
            }
            let customer = Customer {
                node: node.clone(),
                station: Rc::clone(&station),
                figures: Rc::clone(&figures),
                arrival: now,
                service,
                patience: self.patience.as_ref().map(|law| law.draw(&mut patience)),
                counted,
            };
            match self.driver {
                Loop::Open => node.spawn_detached(customer.visit()),
                Loop::Closed => customer.visit().await,
            }
        }
        while figures.borrow().outstanding > 0 {
            node.sleep(Duration::from_secs_f64(1.0)).await;
        }
        figures.borrow().clone()
    }
}

struct Customer {
    node: Node,
    station: Rc<Station>,
    figures: Rc<RefCell<StationRun>>,
    arrival: Monotonic,
    service: Duration,
    patience: Option<Duration>,
    counted: bool,
}

impl Customer {
    async fn visit(self) {
        let served = match self.patience {
            None => {
                self.serve().await;
                true
            }
            Some(patience) => {
                matches!(race(self.serve(), self.node.sleep(patience)).await, Either::First(()))
            }
        };
        let now = self.look();
        if !self.counted {
            return;
        }
        let sojourn = now.since(self.arrival);
        let mut figures = self.figures.borrow_mut();
        figures.outstanding -= 1;
        figures.sojourn.add(sojourn);
        if !served {
            figures.gave_up += 1;
            return;
        }
        let wait = sojourn.saturating_sub(self.service);
        figures.wait.add(wait);
        figures.waited += u64::from(!wait.is_zero());
        figures.late += u64::from(sojourn > self.station.deadline);
        figures.by_length[usize::from(self.service >= self.station.long_job)].add(sojourn);
        figures.histogram.add(sojourn);
    }
    /// Occupies a core, and looks at the machine as soon as it knows of this job.
    async fn serve(&self) {
        let mut work = pin!(self.node.work(self.service));
        let mut known = false;
        poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            if !known {
                known = true;
                self.look();
            }
            polled
        })
        .await;
    }
    /// Notes how many jobs the machine has from now on.
    fn look(&self) -> Monotonic {
        let now = self.node.monotonic();
        let jobs = self.node.cores_busy() + self.node.run_queue();
        self.figures.borrow_mut().number.level(now, jobs);
        now
    }
}

impl StationRun {
    /// The share of arrivals that were turned away.
    pub fn share_refused(&self) -> f64 {
        self.refused as f64 / self.arrived as f64
    }
    /// The share of customers that waited.
    pub fn share_waiting(&self) -> f64 {
        self.waited as f64 / self.wait.count as f64
    }
    /// The share of customers that were late.
    pub fn share_late(&self) -> f64 {
        self.late as f64 / self.sojourn.count as f64
    }
}
