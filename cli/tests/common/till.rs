//! # The till and its queue
//!
//! One till serves a hundred customers a second, **sixty** come. At 2 s the till stands still for a second. Whoever comes
//! is let in, so everybody waits behind the queue of that second, long after it is over.
//!
//! A till that turns customers away while too many wait disappoints some, for a short time, and serves the others at once.
//!
//! ## How it is modelled
//! - The till is a node with one core; each customer is a call.
//! - Customers come at random:
//!   the times between them are exponential.
//!
//! ## Predict
//! - The till stands still for 1 s. For how long do customers notice? About two and a half seconds: sixty wait, and the
//!   queue shrinks by forty a second.
//! - How many are turned away?
//!
//! ## Watch
//! - The longest `buy` trace: nearly all of it is waiting.
//!
//! ## Try next
//! - Set `rate=99`: does the queue ever go away?

use scenarios::prelude::*;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct Till {
    /// Customers a second.
    #[schemars(range(min = 1, max = 1_000), extend("x-unit" = "1/s"))]
    pub rate: f64,
    /// How long one customer takes.
    #[schemars(extend("x-range" = ["1ms", "1s"]))]
    pub work: Duration,
    /// Who is let in: the lesson.
    pub door: Door,
    /// Whether a customer makes the till panic.
    pub panics: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// Everybody.
    Open,
    /// Nobody, while so many wait.
    Guarded {
        /// How many.
        waiting: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Buy {}
impl Request for Buy {
    /// Whether it was served.
    type Response = bool;
}

impl Lab for Till {
    const ABOUT: About = About { weeks: &[3, 4], modules: &[2], path: "AB", until: secs(6) };

    fn variants() -> Variants<Self> {
        let open = Self { rate: 60.0, work: ms(10), door: Door::Open, panics: false };
        Variants::broken("open", open, misses("nobody waits long after the pause"))
            .fixed("guarded", Self { door: Door::Guarded { waiting: 5 }, ..open })
            .control("half-guarded", Self { door: Door::Guarded { waiting: 40 }, ..open })
    }

    fn faults(self) -> FaultPlan {
        FaultPlan::none()
            .with(Fault::at(secs(2), "the till stands still", FaultKind::Pause).on("till").lasting(secs(1)))
    }

    fn build(self, sim: &mut Sim) {
        let till = sim.node("till", async move |node| {
            let counter = node.clone();
            node.serve(async move |_call, _: Buy| {
                assert!(!self.panics, "the till is on fire");
                let queue = counter.run_queue();
                counter.always("the queue fits into the shop", queue < 1_000, || format!("{queue} wait"));
                if let Door::Guarded { waiting } = self.door
                    && queue > waiting as usize
                {
                    counter.counter("turned_away").increment();
                    return false;
                }
                counter.work(self.work).await;
                counter.counter("served").increment();
                true
            });
            std::future::pending::<()>().await;
        });
        sim.node("customers", async move |node| {
            let mut rng = node.rng("arrivals");
            let between = Delay::exponential(Duration::from_secs_f64(1.0 / self.rate));
            loop {
                node.sleep(rng.duration(&between)).await;
                let customer = node.clone();
                let buy = async move {
                    match customer.call(till, &Buy {}).await {
                        Ok(true) => {}
                        Ok(false) => customer.fail("turned away"),
                        Err(error) => customer.fail(error.label()),
                    }
                };
                node.spawn_detached(node.trace("buy").run(buy));
            }
        });
    }

    fn expect() -> Expectations {
        let late = |run: &Run<'_>| run.between(ms(3_100), secs(6)).spans("buy").roots().succeeded().p99();
        Expectations::new()
            // 5 wait, 10 ms each, and one is served
            .goal("nobody waits long after the pause", move |run| late(run).at_most(ms(100)))
            .goal("half of the customers are served", |run| run.count("served").at_least(150))
            .claim("open", "the queue outlives the pause", |run| {
                run.between(ms(3_200), secs(4)).spans("buy").roots().max().above(ms(200))
            })
            .compare("guarded", "open", "waits a fifth of the time", move |guarded, open| {
                late(guarded).at_most(late(open) / 5)
            })
            .show("nobody waits long after the pause", |run| {
                let late = run.between(ms(3_100), secs(6)).spans("buy").roots().succeeded();
                late.shown(format!("who waits longest of {} that come after the pause", late.count()))
            })
            .figure("p99 of a purchase after the pause", late)
            .figure("served", |run| run.count("served"))
            .figure("turned away", |run| run.count("turned_away").or_zero())
    }
}
