//! # The ledger and its copy
//!
//! A ledger takes a number ten times a second and copies it to a second one. The first crashes at 2 s, and whoever cannot
//! reach it reads the copy. The eager ledger answers before the copy is made.
//!
//! ## Predict
//! - Is a number ever lost? In some runs: when the crash comes between the answer and the copy.
//!
//! ## Watch
//! - What is read from the copy right after the crash.
//!
//! ## Try next
//! - Set `lag=200ms`.

use scenarios::prelude::*;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// How long the copy takes to begin.
    #[schemars(extend("x-range" = ["0s", "1s"]))]
    pub lag: Duration,
    /// Whether the answer waits for the copy: the lesson.
    pub waits: bool,
    /// Whether each node watches what must hold.
    pub strict: bool,
}

pub const KEPT: &str = "an answered number is in the copy";

#[derive(Serialize, Deserialize, Debug)]
enum Ask {
    Write(u64),
    Copy(u64),
    Read,
}
impl Request for Ask {
    type Response = u64;
}

impl Lab for Ledger {
    const ABOUT: About = About { until: secs(4), ..About::NONE };

    fn variants() -> Variants<Self> {
        let eager = Self { lag: ms(30), waits: false, strict: false };
        Variants::broken("eager", eager, misses_in(1, 10, "nothing is lost"))
            .fixed("patient", Self { waits: true, ..eager })
    }
    fn faults(self) -> FaultPlan {
        let crash = Fault::at(ms(2_020), "the ledger crashes", FaultKind::Crash);
        FaultPlan::none().with(crash.on("ledger-1").lasting(secs(1)))
    }
    fn build(self, sim: &mut Sim) {
        sim.default_link(Link::new(Delay::uniform(ms(1), ms(15))));
        let copy = sim.node(NodeSpec::new("ledger-2").service("ledger"), async |node: Node| {
            let value = Rc::new(Cell::new(0));
            node.serve(async move |_call, ask: Ask| {
                if let Ask::Copy(number) = ask {
                    value.set(value.get().max(number));
                }
                value.get()
            });
            std::future::pending::<()>().await;
        });
        let first = sim.node(NodeSpec::new("ledger-1").service("ledger"), async move |node: Node| {
            let own = node.clone();
            node.serve(async move |_call, ask: Ask| {
                let Ask::Write(number) = ask else { return 0 };
                let (copier, lag) = (own.clone(), self.lag);
                let making = async move {
                    copier.sleep(lag).await;
                    let _ = copier.call(copy, &Ask::Copy(number)).await;
                };
                if self.waits {
                    making.await;
                } else {
                    own.spawn_detached(making);
                }
                number
            });
            std::future::pending::<()>().await;
        });
        sim.node("clerk", async move |node: Node| {
            let lost = node.counter("lost");
            let mut answered = 0;
            for number in 1..=30 {
                node.sleep(ms(100)).await;
                if !node.next_operation() {
                    continue;
                }
                let write = node.invoke(0, "write", "", &number);
                let answer = node.call(first, &Ask::Write(number)).deadline(ms(150)).await;
                write.end_with(&answer);
                node.state("reach", if answer.is_ok() { "first" } else { "copy" });
                if answer.is_ok() {
                    answered = number;
                    continue;
                }
                let read = node.invoke(0, "read", "", &());
                let answer = node.call(copy, &Ask::Read).deadline(ms(60)).await;
                read.end_with(&answer);
                let answer = answer.ok();
                node.sometimes("the copy is read", answer.is_some());
                node.sometimes("the copy is ahead", answer.is_some_and(|value| value > number));
                if let Some(value) = answer
                    && value < answered
                {
                    lost.increment();
                    if self.strict {
                        node.always(KEPT, false, || format!("read {value}, answered {answered}"));
                    }
                }
            }
        });
    }
    fn expect() -> Expectations {
        Expectations::new()
            .goal("nothing is lost", |run| run.count("lost").or_zero().equals(0))
            .figure("lost", |run| run.count("lost").or_zero())
            .figure("answered", |run| run.operations("write").ok().count())
            .figure("time of a write", |run| run.operations("write").ok().latencies().mean())
    }
}
