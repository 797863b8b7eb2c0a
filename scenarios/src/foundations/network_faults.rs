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

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Reading {
    number: u64,
    taken: Wall,
}

#[derive(Serialize, Deserialize)]
struct Ack {
    number: u64,
}

/// The store's list, and what came too early for it.
struct List {
    node: Node,
    numbers: Histogram,
    age: Histogram,
    next: u64,
    early: BTreeMap<u64, (Reading, SpanIndex)>,
}

impl List {
    fn append(&mut self, reading: Reading, span: SpanIndex) {
        self.numbers.observe(reading.number as f64);
        self.age.record(self.node.wall().since(reading.taken));
        self.next = reading.number + 1;
        self.node.end_span(span);
    }
    /// Appends what is next, and whatever else came no later than a reading that was held for too long.
    fn release(&mut self, held_too_long: Option<u64>) {
        while let Some((&number, &(reading, span))) = self.early.first_key_value()
            && (number == self.next || Some(number) <= held_too_long)
        {
            self.early.remove(&number);
            self.append(reading, span);
        }
    }
}

impl Lab for NetworkFaults {
    const ABOUT: About = About { weeks: &[3], until: secs(50), ..About::NONE };

    fn variants() -> Variants<Self> {
        let resend_after = ms(200);
        let naive =
            Self { numbered: false, ack: false, resend_after, jitter: ms(50), loss: 0.1, duplicates: 0.1 };
        let numbered = Self { numbered: true, ..naive };
        Variants::broken("fire-and-forget", naive, misses(MISSING).and(TWICE).and(BEHIND))
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
        let store = sim.node("store", async move |node| {
            let mut mailbox = node.mailbox::<Reading>();
            let (numbers, age) = (node.distribution("store.list", "{reading}"), node.histogram("store.age"));
            let list = List { node: node.clone(), numbers, age, next: 0, early: BTreeMap::new() };
            let list = Rc::new(RefCell::new(list));
            loop {
                let received = mailbox.recv().await;
                let (reading, span) = (received.message, received.span(&node, "append").start());
                let number = reading.number;
                if self.ack {
                    node.inside(span, || node.send(received.from, &Ack { number }));
                }
                let mut store = list.borrow_mut();
                if !self.numbered {
                    store.append(reading, span);
                } else if number < store.next || store.early.contains_key(&number) {
                    node.inside(span, || node.event("ignored", "it came before"));
                    node.end_span(span);
                } else {
                    store.early.insert(number, (reading, span));
                    store.release(None);
                    if !self.ack && store.early.contains_key(&number) {
                        let (node, list) = (node.clone(), Rc::clone(&list));
                        node.clone().spawn_detached(async move {
                            node.sleep(self.resend_after).await;
                            list.borrow_mut().release(Some(number));
                        });
                    }
                }
            }
        });
        sim.node("writer", async move |node| {
            let unacknowledged = Rc::new(RefCell::new(BTreeSet::new()));
            let (waiting, mut acks) = (Rc::clone(&unacknowledged), node.mailbox::<Ack>());
            node.spawn_detached(async move {
                loop {
                    let Ack { number } = acks.recv().await.message;
                    waiting.borrow_mut().remove(&number);
                }
            });
            let mut ticks = node.ticks(ms(10));
            for number in 0..4_800 {
                unacknowledged.borrow_mut().insert(number);
                let (waiting, sender, sent) =
                    (Rc::clone(&unacknowledged), node.clone(), node.counter("writer.sent"));
                let reading = Reading { number, taken: node.wall() };
                node.spawn_detached(node.trace("reading").attribute("number", number).run(async move {
                    while waiting.borrow().contains(&number) {
                        sender.send(store, &reading);
                        sent.increment();
                        if !self.ack {
                            break;
                        }
                        sender.sleep(self.resend_after).await;
                    }
                }));
                ticks.tick().await;
            }
        });
    }

    fn expect() -> Expectations {
        // Of the readings taken from one second to another (100 each): how many are not in the list, how often one is there
        // again, and how many stand behind a later one.
        let taken = |list: Measures, from: u32, to: u32| {
            let numbers = f64::from(from * 100)..f64::from(to * 100);
            list.only(|one| numbers.contains(&one.value)).count()
        };
        let list = |run: &Run<'_>| run.histogram("store.list");
        let missing = move |run: &Run<'_>, from: u32, to: u32| {
            (Measure::from((to - from) * 100) - taken(list(run).distinct(), from, to)).named("missing")
        };
        let twice = move |run: &Run<'_>, from, to| taken(list(run).repeated(), from, to).named("twice");
        let behind = move |run: &Run<'_>, from, to| taken(list(run).overtaken(), from, to).named("behind");
        let age = |run: &Run<'_>, from, to| {
            run.histogram("store.age").started_between(secs(from), secs(to)).named("age")
        };
        Expectations::new()
            // Numbers alone cannot invent what was lost: that is asked only of the variant that sends again.
            .goal_for(["fire-and-forget", "numbered-acked"], MISSING, move |run| {
                missing(run, 0, 48).equals(0)
            })
            .goal(TWICE, move |run| twice(run, 0, 48).equals(0))
            .goal(BEHIND, move |run| behind(run, 0, 48).equals(0))
            .claim_all("a calm network leaves no mark", move |run| {
                let marks = missing(run, 0, 8).equals(0).and(twice(run, 0, 8).equals(0));
                marks.and(behind(run, 0, 8).equals(0)).and(age(run, 0, 8).each().equals(ms(5)))
            })
            .claim_all("latency only makes them old", move |run| {
                // 5 + 100 ms. What was sent once arrives once; copies that were sent for nothing are dropped.
                let marks = missing(run, 8, 16).equals(0).and(twice(run, 8, 16).equals(0));
                marks.and(age(run, 8, 16).each().equals(ms(105)))
            })
            // The latency acts in both directions: the acknowledgement is back after 210 ms, the reading was sent again after
            // 200. Of the 800 those up to 15.79 s are sent again before 16 s: 800 + 780.
            .claim("numbered-acked", "too much latency doubles the traffic", |run| {
                run.between(secs(8), secs(16)).count("writer.sent").equals(1_580)
            })
            // The first to arrive from the jitter does so between 16.000 and 16.050 s, before those that arrive from 16.005
            // (sent at 15.90 s) to 16.095 s in steps of 10 ms: 10 if it needs less than 5 ms, 5 if it needs 50.
            .claim("fire-and-forget", "the end of the latency lets some overtake", move |run| {
                behind(run, 8, 16).within(5..=10)
            })
            // The next one, sent 10 ms later, overtakes a reading that takes u with chance (u - 10) / 50, the one after it
            // with (u - 20) / 50, and so on: one of them does in 0.4087 of the cases, which makes 327 of 800.
            .claim("fire-and-forget", "jitter lets two in five be overtaken", move |run| {
                behind(run, 16, 24).within(250..=400)
            })
            .over_seeds(
                16,
                "fire-and-forget",
                "327 are overtaken on average",
                move |run| behind(run, 16, 24),
                |all| all.mean().within(313..=341),
            )
            .claim("numbered", "jitter is sorted out within 50 ms", move |run| {
                let held = age(run, 17, 24).each().at_most(ms(50));
                held.and(missing(run, 16, 24).equals(0))
            })
            // 800 x 0.1 = 80, with a deviation of the square root of 800 x 0.1 x 0.9 = 8.5: four of them to each side.
            .claim(["fire-and-forget", "numbered"], "one in ten is lost", move |run| {
                missing(run, 24, 32).within(45..=115)
            })
            .compare(
                "numbered",
                "fire-and-forget",
                "a number does not bring back what is lost",
                move |a, b| missing(a, 24, 32).equals(missing(b, 24, 32)),
            )
            .claim("fire-and-forget", "one in ten is there twice", move |run| {
                twice(run, 32, 40).within(45..=115)
            })
            // The writer's clock ticks at 42.00, 42.01, ..., 45.99 s: 400 readings are sent into the partition.
            .claim(["fire-and-forget", "numbered"], "a partition loses what is sent into it", move |run| {
                let around = (missing(run, 40, 42) + missing(run, 46, 48)).named("around it").equals(0);
                missing(run, 42, 46).equals(400).and(around)
            })
            // The reading of 42.00 s is sent for the 21st time at 46.00 s, when the partition is over: 4 s + 5 ms.
            .claim("numbered-acked", "the wait cannot be cured", move |run| {
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
            .figure("missing", move |run| missing(run, 0, 48))
            .figure("twice", move |run| twice(run, 0, 48))
            .figure("behind a later one", move |run| behind(run, 0, 48))
            .figure("sent", |run| run.count("writer.sent"))
            .figure("oldest reading on arrival", move |run| age(run, 0, 48).max())
    }
}
