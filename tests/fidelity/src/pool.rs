//! The cast's pool under load: a bulkhead, a connection pool. Who gets a slot holds it for a while; who gets none is turned
//! away, or waits in line. The slots and the line are the [`ConnectionPool`]'s; here are only its customers.

use std::{cell::RefCell, rc::Rc};

use scenarios::cast::ConnectionPool;
use sim_core::time::Duration;

use crate::{
    law::Law,
    run::{Notebook, world},
    tally::{Sum, Window},
};

/// A pool of `slots` with its customers.
#[derive(Clone, Debug)]
pub struct Pool {
    /// How many slots.
    pub slots: usize,
    /// The times between arrivals.
    pub arrivals: Law,
    /// How long a slot is held.
    pub hold: Law,
    /// Whether customers wait for a slot.
    pub queue: bool,
    /// When figures are taken.
    pub window: Window,
}

/// What was measured of the arrivals within the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolRun {
    /// How many came.
    pub arrived: u64,
    /// How many found no slot and left.
    pub refused: u64,
    /// How long each waited for its slot.
    pub wait: Sum,
    /// How many waited at all.
    pub waited: u64,
}

impl Pool {
    /// One run.
    pub fn run(&self, seed: u64) -> PoolRun {
        let mut sim = world("pool", seed);
        let notebook = Notebook::new();
        let (result, pool) = (notebook.clone(), self.clone());
        sim.node("pool", async move |node| {
            let (mut gaps, mut holds) = (node.rng("arrivals"), node.rng("holds"));
            let mut slots = ConnectionPool::slots(&node, pool.slots);
            if !pool.queue {
                slots = slots.wait_at_most(Duration::ZERO);
            }
            let figures = Rc::new(RefCell::new(PoolRun::default()));
            loop {
                node.sleep(pool.arrivals.draw(&mut gaps)).await;
                let now = node.monotonic();
                if now.as_nanos() >= pool.window.to {
                    break;
                }
                let hold = pool.hold.draw(&mut holds);
                let counted = pool.window.contains(now);
                figures.borrow_mut().arrived += u64::from(counted);
                let (node, slots, figures) = (node.clone(), slots.clone(), Rc::clone(&figures));
                node.clone().spawn_detached(async move {
                    let Ok(slot) = slots.get().await else {
                        figures.borrow_mut().refused += u64::from(counted);
                        return;
                    };
                    if counted {
                        let wait = node.monotonic().since(now);
                        let mut figures = figures.borrow_mut();
                        figures.wait.add(wait);
                        figures.waited += u64::from(!wait.is_zero());
                    }
                    node.sleep(hold).await;
                    drop(slot);
                });
            }
            // Those in line get their turn before the books are closed.
            while slots.in_use() > 0 || slots.waiting() > 0 {
                node.sleep(Duration::from_secs_f64(1.0)).await;
            }
            result.write(*figures.borrow());
            node.stop_run();
        });
        notebook.after(sim)
    }
}

impl PoolRun {
    /// The share of arrivals that were turned away.
    pub fn share_refused(&self) -> f64 {
        self.refused as f64 / self.arrived as f64
    }
    /// The share of arrivals that waited.
    pub fn share_waiting(&self) -> f64 {
        self.waited as f64 / self.wait.count as f64
    }
}
