//! A closed loop: a fixed number of users who think, ask, wait for the answer, and think again. One server.
//!
//! Such users slow down when the server does, so they can never show what happens to a server under more load than it
//! can carry.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
};

use sim_core::{Node, time::Monotonic};

use crate::{
    law::Law,
    run::{Notebook, world},
    tally::{Area, Window},
};

/// Users and their server.
#[derive(Clone, Debug)]
pub struct ClosedLoop {
    /// How many users.
    pub users: usize,
    /// How long they think.
    pub think: Law,
    /// How long the server works for each request.
    pub service: Law,
    /// When figures are taken.
    pub window: Window,
}

/// What was measured within the window.
#[derive(Clone, Copy, Debug)]
pub struct ClosedLoopRun {
    /// How many users think, as they say.
    pub thinking: Area,
    /// How many requests the server has, as its machine says.
    pub asking: Area,
    /// How many answers were given.
    pub answers: u64,
    users_thinking: usize,
}

impl ClosedLoop {
    /// One run.
    pub fn run(&self, seed: u64) -> ClosedLoopRun {
        let mut sim = world("closed-loop", seed);
        let notebook = Notebook::new();
        let (result, model) = (notebook.clone(), self.clone());
        sim.node("server", async move |node| {
            let figures = Rc::new(RefCell::new(ClosedLoopRun {
                thinking: Area::new(model.window),
                asking: Area::new(model.window),
                answers: 0,
                users_thinking: 0,
            }));
            for user in 0..model.users {
                node.spawn_detached(live(node.clone(), model.clone(), user, Rc::clone(&figures)));
            }
            node.sleep_until(Monotonic::from_nanos(model.window.to)).await;
            let mut figures = *figures.borrow();
            let (now, users_thinking) = (node.monotonic(), figures.users_thinking);
            figures.thinking.level(now, users_thinking);
            figures.asking.level(now, 0);
            result.write(figures);
            node.stop_run();
        });
        notebook.after(sim)
    }
}

async fn live(node: Node, model: ClosedLoop, user: usize, figures: Rc<RefCell<ClosedLoopRun>>) {
    let mut rng = node.rng(&format!("user {user}"));
    let note = |thinking_change: isize| {
        let (now, jobs) = (node.monotonic(), node.cores_busy() + node.run_queue());
        let mut figures = figures.borrow_mut();
        let thinking = figures.users_thinking.checked_add_signed(thinking_change).expect("at least nobody");
        figures.users_thinking = thinking;
        figures.thinking.level(now, thinking);
        figures.asking.level(now, jobs);
    };
    loop {
        note(1);
        node.sleep(model.think.draw(&mut rng)).await;
        let mut work = pin!(node.work(model.service.draw(&mut rng)));
        let mut known = false;
        poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            if !known {
                known = true;
                note(-1);
            }
            polled
        })
        .await;
        if model.window.contains(node.monotonic()) {
            figures.borrow_mut().answers += 1;
        }
    }
}

impl ClosedLoopRun {
    /// Answers a second.
    pub fn throughput(&self, window: Window) -> f64 {
        self.answers as f64 / window.secs()
    }
    /// Seconds from a request to its answer, on average.
    pub fn response(&self) -> f64 {
        self.asking.area() as f64 / self.answers as f64 / 1e9
    }
    /// Seconds of thought for each answer, on average.
    pub fn thought(&self) -> f64 {
        self.thinking.area() as f64 / self.answers as f64 / 1e9
    }
}
