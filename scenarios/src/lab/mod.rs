//! How to write a lab.
//!
//! A lab is one file on a shelf and one line in that shelf's `mod.rs`. The file holds, in this order:
//!
//! 1. **The story**, as its `//!` text: `# Title`, what happens, and the sections `## Predict` (questions to answer before
//!    running, each with its answer after the question mark), `## Watch` (what to look at) and `## Try next`. It is what `explain` prints; see [`story`].
//! 2. **The struct**, a `Copy` value whose fields are the knobs. Doc comments are their help, `#[schemars(range(..))]` their
//!    ranges; see [`knobs`].
//! 3. **The lab itself**: [`Lab`].
//!
//! ```
//! use scenarios::prelude::*;
//!
//! #[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
//! pub struct ThunderingHerd {
//!     /// Requests per second for the hot page.
//!     #[schemars(range(min = 1, max = 100_000))]
//!     pub rate: f64,
//!     /// How long a cached page lives.
//!     #[schemars(extend("x-range" = ["1ms", "1min"]))]
//!     pub ttl: Duration,
//!     /// How a miss is filled: the lesson.
//!     pub fill: Fill,
//! }
//!
//! #[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Fill {
//!     /// Every miss asks the database.
//!     EveryMiss,
//!     /// Misses that are under way share one query.
//!     SingleFlight,
//!     /// A reader refreshes early, with a chance that grows towards the expiry.
//!     EarlyRefresh {
//!         /// How eagerly.
//!         beta: f64,
//!     },
//! }
//!
//! impl Lab for ThunderingHerd {
//!     const ABOUT: About = About { weeks: &[12], modules: &[10], path: "A", until: secs(10) };
//!
//!     fn variants() -> Variants<Self> {
//!         let naive = Self { rate: 2_000.0, ttl: secs(4), fill: Fill::EveryMiss };
//!         Variants::broken("naive", naive, misses("few queries per expiry"))
//!             .fixed("single-flight", Self { fill: Fill::SingleFlight, ..naive })
//!             .control("early-refresh", Self { fill: Fill::EarlyRefresh { beta: 1.0 }, ..naive })
//!     }
//!
//!     fn build(self, sim: &mut Sim) {
//!         // Nodes, services, clients: the cast. The seed, the faults and the end come from the plan.
//!         # let _ = sim;
//!     }
//!
//!     fn expect() -> Expectations {
//!         Expectations::new()
//!             .goal("few queries per expiry", |run| run.gauge("db.load").peaks().each().at_most(40))
//!             // 1 + 2,000/s x 52.2 ms = 105
//!             .claim("naive", "each expiry sends a herd", |run| run.gauge("db.load").peaks().each().within(60..=150))
//!             .compare("single-flight", "naive", "a tenth of the queries", |fixed, naive| {
//!                 fixed.count("db.query").at_most(naive.count("db.query") / 10)
//!             })
//!             .over_seeds(64, "early-refresh", "2.8 queries a cycle", |run| run.gauge("db.load").peaks().count() / 2, |all| {
//!                 all.mean().within(2.7..=2.9)
//!             })
//!             .figure("p99 of a page", |run| run.spans("GET /hot").roots().p99())
//!     }
//! }
//! ```
//!
//! and in `caching/mod.rs`, in teaching order, `thundering_herd::ThunderingHerd,` (see [`shelf!`](crate::shelf)). The lab's
//! name is the module's with dashes.
//!
//! **Expectations** ([`expectations`]) are chains that begin at a [`Run`](crate::measure::Run) and end with a bound. Bounds
//! are numbers, durations (`ms(40)`), `percent(98)`, or other measures. What a run never recorded is an error: a metric that
//! a good variant leaves untouched is asked for with `.or_zero()`. What is not a number is said with `check(..)`, inside
//! `attempt(|| ..)` where lists are read; ask for messages and spans before the first `?`, or say [`Expectations::needs`].
//! `run.between(secs(7), secs(12))`, `.node("web-1")` and `.service("web")` narrow the view, `.every(secs(1), |window| ..)`
//! and `.over_nodes("web", |node| ..)` repeat a measure, and `.counter("db.query").bursts(ms(100))` adds up what comes
//! together.
//!
//! `.show(goal, |run| run.spans("page").roots().shown("the slowest page"))` says which trace a reader should open when that
//! goal is missed; without it, it is the longest one.
//!
//! **The diff is the lesson**: write variants as `Self { fill: .., ..naive }`. All variants run under the same faults, which
//! a test checks ([`LabEntry::same_faults`]).

pub mod expectations;
pub mod experiment;
mod judge;
pub mod knobs;
pub mod nearest;
mod registry;
pub mod story;
pub mod variants;
pub mod verdict;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use sim_core::{
    Sim,
    fault::FaultPlan,
    time::{Duration, secs},
};

pub use expectations::Expectations;
pub use registry::{CaseEntry, LabEntry, LabError, UnknownLab, VariantEntry, find_in};
pub use variants::{Misses, Variants, misses, misses_in};
pub use verdict::{Judgement, Verdict};

/// What the catalogue says of a lab beside its story.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct About {
    /// The weeks of the curriculum that it belongs to.
    pub weeks: &'static [u8],
    /// The modules of the workshop that it belongs to.
    pub modules: &'static [u8],
    /// The learning paths that it lies on: a letter each, `"AC"` for two.
    pub path: &'static str,
    /// How long it runs, in virtual time.
    pub until: Duration,
}

impl About {
    /// On no path, in no week, 30 s long: `About { weeks: &[12], ..About::NONE }`.
    pub const NONE: Self = Self { weeks: &[], modules: &[], path: "", until: secs(30) };
}

/// A lab: see the module for how to write one.
pub trait Lab: Copy + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Weeks, modules, path, length.
    const ABOUT: About;
    /// The variants; the first one is the reference.
    fn variants() -> Variants<Self>;
    /// What goes wrong, and when: the same for all variants.
    fn faults(self) -> FaultPlan {
        FaultPlan::none()
    }
    /// Sets up the world.
    fn build(self, sim: &mut Sim);
    /// What is expected.
    fn expect() -> Expectations;
}
