//! # Simulating network trouble: latency, loss, duplication, reordering, partitions
//!
//! One node appends 100 numbered readings a second to a list on another node, over plain datagrams. Five kinds of trouble
//! come one after the other, always on the way there and on the way back:
//!
//! | seconds | trouble | its mark on a list that takes what comes |
//! |---|---|---|
//! | 0 to 8 | none | none |
//! | 8 to 16 | 100 ms more latency | none: only the readings are older |
//! | 16 to 24 | jitter: 0 to 50 ms a packet, instead of 5 ms | readings behind later ones |
//! | 24 to 32 | one packet in ten is lost | readings missing |
//! | 32 to 40 | one packet in ten comes twice | readings twice |
//! | 42 to 46 | a partition | 4 seconds missing |
//!
//! **What breaks.** A datagram is sent once and appended on arrival: whatever the network does is in the list.
//!
//! **What fixes it.** Each step of the repair removes other marks. Sequence numbers cure duplicates and order: the store
//! drops what it has, and holds what came too early. Only acknowledging and sending again cures loss. Nothing cures the
//! wait: a list without gaps waits for the slowest reading.
//!
//! The code of both repairs is `Sequencer` in `protocols/delivery`, and `Courier` in `scenarios/src/cast/courier.rs`.
//!
//! ## Predict
//! - Which of the five faults leaves no mark on the list at all? Latency: each reading is 105 ms old, none is lost or late.
//! - After numbering the readings, which faults can still be seen? Loss and the partition: a number that never came cannot
//!   be invented. And a reading behind a lost one now waits up to 200 ms for it.
//!
//! ## Watch
//! - `store.age`: from taking a reading to appending it.
//! - Missing, twice, behind a later one: in each window.
//! - A reading's trace: each sending, each drop with its reason, and how long the store held it.
//!
//! ## Try next
//! Make the partition one-way, store to writer only. Which variant notices, and what does it send?

use crate::prelude::*;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct NetworkFaults {
    /// Whether the store looks at the numbers: drops what it has, holds what came too early.
    pub numbered: bool,
    /// Whether the store acknowledges, and the writer sends again what was not; then the store holds until a gap is filled.
    pub ack: bool,
    /// How long the writer waits for an acknowledgement, and the longest hold of a store that does not acknowledge.
    #[schemars(extend("x-range" = ["10ms", "10s"]))]
    pub resend_after: Duration,
    /// From 16 to 24 s a packet takes between nothing and this.
    #[schemars(extend("x-range" = ["0s", "1s"]))]
    pub jitter: Duration,
    /// The share of packets that are lost from 24 to 32 s.
    #[schemars(range(min = 0, max = 1))]
    pub loss: f64,
    /// The share of packets that come twice from 32 to 40 s.
    #[schemars(range(min = 0, max = 1))]
    pub duplicates: f64,
}

const MISSING: &str = "nothing is missing";
const TWICE: &str = "nothing is there twice";
const BEHIND: &str = "nothing stands behind a later reading";
const ONCE: &str = "no reading is appended twice";
const IN_ORDER: &str = "no reading is appended behind a later one";

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Reading {
    number: u64,
    taken: Wall,
}
impl Numbered for Reading {
    fn number(&self) -> u64 {
        self.number
    }
}

impl Lab for NetworkFaults {
    const ABOUT: About = About { weeks: &[3], until: secs(50), ..About::NONE };

    fn variants() -> Variants<Self> {
        let resend_after = ms(200);
        let naive =
            Self { numbered: false, ack: false, resend_after, jitter: ms(50), loss: 0.1, duplicates: 0.1 };
        let numbered = Self { numbered: true, ..naive };
        Variants::broken(
            "fire-and-forget",
            naive,
            misses(MISSING).and(TWICE).and(BEHIND).violates(ONCE).violates(IN_ORDER),
        )
        .fixed("numbered", numbered)
        .fixed("numbered-acked", Self { ack: true, ..numbered })
    }

    fn faults(self) -> FaultPlan {
        let jitter = LinkChange::delay(Delay::uniform(Duration::ZERO, self.jitter));
        let twice = LinkChange::duplication(self.duplicates);
        FaultPlan::none()
            .with(Fault::at(secs(8), "latency", LinkChange::slower_by(ms(100))).until(secs(16)))
            .with(Fault::at(secs(16), "jitter", jitter).until(secs(24)))
            .with(Fault::at(secs(24), "loss", LinkChange::loss(self.loss)).until(secs(32)))
            .with(Fault::at(secs(32), "duplication", twice).until(secs(40)))
            .with(Fault::at(secs(42), "partition", Partition::Isolate).on("store").until(secs(46)))
    }

    fn build(self, sim: &mut Sim) {
        sim.default_link(Link::constant(ms(5)));
        let order = match (self.numbered, self.ack) {
            (false, _) => Order::AsItComes,
            (true, false) => Order::HoldAtMost(self.resend_after),
            (true, true) => Order::Complete,
        };
        let store = sim.node("store", async move |node| {
            let (list, ages) = (node.distribution("store.list", "{reading}"), node.histogram("store.age"));
            let (store, mut seen, mut last) = (node.clone(), BTreeSet::new(), 0);
            let append = move |Reading { number, taken }| {
                let age = store.wall().since(taken);
                list.observe(number as f64);
                ages.record(age);
                store.always(ONCE, seen.insert(number), || format!("{number} again"));
                store.always(IN_ORDER, number >= last, || format!("{number} behind {last}"));
                store.eventually("readings are fresh again", age <= ms(5), || format!("{age} old"));
                last = last.max(number);
            };
            Recipient { acknowledges: self.ack, order }.receive(&node, append).await;
        });
        sim.node("writer", async move |node| {
            let courier = Courier::new(&node, store, self.ack.then_some(self.resend_after));
            let mut ticks = node.ticks(ms(10));
            for number in 0..4_800 {
                courier.send("reading", Reading { number, taken: node.wall() });
                ticks.tick().await;
            }
        });
    }

    fn expect() -> Expectations {
        Expectations::new()
            // Numbers alone cannot invent what was lost: that is asked only of the variant that sends again.
            .goal_for(["fire-and-forget", "numbered-acked"], MISSING, |run| missing(run, 0, 48).equals(0))
            .goal(TWICE, |run| twice(run, 0, 48).equals(0))
            .goal(BEHIND, |run| behind(run, 0, 48).equals(0))
            .claim_all("a calm network leaves no mark", |run| {
                let marks = missing(run, 0, 8).equals(0).and(twice(run, 0, 8).equals(0));
                marks.and(behind(run, 0, 8).equals(0)).and(age(run, 0, 8).each().equals(ms(5)))
            })
            // 5 + 100 ms. What was sent once arrives once; copies that were sent for nothing are dropped.
            .claim_all("latency only makes them old", |run| {
                let marks = missing(run, 8, 16).equals(0).and(twice(run, 8, 16).equals(0));
                marks.and(age(run, 8, 16).each().equals(ms(105)))
            })
            // The latency acts in both directions: the acknowledgement is back after 210 ms, the reading was sent again after
            // 200. Of the 800 those up to 15.79 s are sent again before 16 s: 800 + 780.
            .claim("numbered-acked", "too much latency doubles the traffic", |run| {
                run.between(secs(8), secs(16)).count("courier.sent").equals(1_580)
            })
            // The first to arrive from the jitter does so between 16.000 and 16.050 s, before those that arrive from 16.005
            // (sent at 15.90 s) to 16.095 s in steps of 10 ms: 10 if it needs less than 5 ms, 5 if it needs 50.
            .claim(NAIVE, "the end of the latency lets some overtake", |run| {
                behind(run, 8, 16).within(5..=10)
            })
            // The next one, sent 10 ms later, overtakes a reading that takes u with chance (u - 10) / 50, the one after it
            // with (u - 20) / 50, and so on: one of them does in 0.4087 of the cases, which makes 327 of 800. The root of
            // 800 x 0.4087 x 0.5913 is 13.9; of the mean of 16 seeds that is four standard errors.
            .claim(NAIVE, "jitter lets two in five be overtaken", |run| behind(run, 16, 24).within(250..=400))
            .average(16, NAIVE, "327 are overtaken on average", |run| behind(run, 16, 24), 313..=341)
            .claim("numbered", "jitter is sorted out within 50 ms", |run| {
                age(run, 17, 24).each().at_most(ms(50)).and(missing(run, 16, 24).equals(0))
            })
            // 800 x 0.1 = 80, with a deviation of the square root of 800 x 0.1 x 0.9 = 8.5: four of them to each side, and
            // four standard errors, 4 x 8.5 / 4, of the mean of 16 seeds. So many are lost, and so many are doubled.
            .claim(ONCE_SENT, "one in ten is lost", |run| missing(run, 24, 32).within(45..=115))
            .average(16, ONCE_SENT, "80 are lost on average", |run| missing(run, 24, 32), 71.5..=88.5)
            .compare("numbered", NAIVE, "a number does not bring back what is lost", |numbered, naive| {
                missing(numbered, 24, 32).equals(missing(naive, 24, 32))
            })
            .claim(NAIVE, "one in ten is there twice", |run| twice(run, 32, 40).within(45..=115))
            .average(16, NAIVE, "80 are there twice on average", |run| twice(run, 32, 40), 71.5..=88.5)
            // The writer's clock ticks at 42.00, 42.01, ..., 45.99 s: 400 readings are sent into the partition.
            .claim(ONCE_SENT, "a partition loses what is sent into it", |run| {
                let around = (missing(run, 40, 42) + missing(run, 46, 48)).named("around it").equals(0);
                missing(run, 42, 46).equals(400).and(around)
            })
            // The reading of 42.00 s is sent for the 21st time at 46.00 s, when the partition is over: 4 s + 5 ms.
            .claim("numbered-acked", "the wait cannot be cured", |run| {
                age(run, 0, 48).max().equals(ms(4_005))
            })
            .show(MISSING, |run| {
                let lost = run.spans("reading").only(|reading| reading.children().is_empty());
                lost.shown(format!("the first of {} readings that never came", lost.count()))
            })
            .show(TWICE, |run| {
                let twice = run.spans("reading").only(|reading| reading.children().len() > 1);
                twice.shown(format!("the first of {} readings that were appended twice", twice.count()))
            })
            .show(BEHIND, |run| {
                // From the last reading to the first: behind is what is appended when a later one has been.
                let came = |reading: &SpanView<'_>| reading.children().first().map(SpanView::start);
                let mut soonest = SimTime::MAX;
                let mut behind = run.spans("reading").list().ok()?;
                behind.reverse();
                behind.retain(|reading| {
                    let Some(at) = came(reading) else { return false };
                    let overtaken = at > soonest;
                    soonest = soonest.min(at);
                    overtaken
                });
                let all = behind.len();
                let latest = behind
                    .into_iter()
                    .max_by_key(|reading| came(reading).map(|at| at.since(reading.start())));
                latest
                    .map(|one| one.shown(format!("the latest of {all} readings that others have overtaken")))
            })
            .figure("missing", |run| missing(run, 0, 48))
            .figure("twice", |run| twice(run, 0, 48))
            .figure("behind a later one", |run| behind(run, 0, 48))
            .figure("sent", |run| run.count("courier.sent"))
            .figure("oldest reading on arrival", |run| age(run, 0, 48).max())
    }
}

const NAIVE: &str = "fire-and-forget";
const ONCE_SENT: [&str; 2] = ["fire-and-forget", "numbered"];

// Of the readings taken from one second to another, a hundred each.
fn missing(run: &Run, from: u32, to: u32) -> Measure {
    run.sequence("store.list").missing(from * 100..to * 100)
}
fn twice(run: &Run, from: u32, to: u32) -> Measure {
    run.sequence("store.list").twice(from * 100..to * 100)
}
fn behind(run: &Run, from: u32, to: u32) -> Measure {
    run.sequence("store.list").behind(from * 100..to * 100)
}
fn age(run: &Run, from: u64, to: u64) -> Measures {
    run.histogram("store.age").started_between(secs(from), secs(to)).named("age")
}
