//! # Wishful thinking
//!
//! A lab whose author expects the wrong things.
//!
//! ## Predict
//! - Will it hold?
//!
//! ## Watch
//! - Nothing.
//!
//! ## Try next
//! - Another lab.

use scenarios::prelude::*;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct Wishful {
    /// How many ticks.
    pub ticks: u32,
}

impl Lab for Wishful {
    const ABOUT: About = About { until: secs(1), ..About::NONE };

    fn variants() -> Variants<Self> {
        Variants::broken("wrong", Self { ticks: 3 }, misses("nothing happens at all"))
            .control("unknown", Self { ticks: 4 })
    }
    fn build(self, sim: &mut Sim) {
        sim.node("clock", async move |node| {
            for _ in 0..self.ticks {
                node.counter("ticks").increment();
                node.sleep(ms(10)).await;
            }
        });
    }
    fn expect() -> Expectations {
        Expectations::new()
            .goal_for(["wrong"], "nothing happens at all", |run| run.count("ticks").equals(0))
            .claim("wrong", "nothing happens", |run| run.count("ticks").equals(0))
            .claim("unknown", "the tocks are counted", |run| run.count("tocks").equals(4))
    }
}
