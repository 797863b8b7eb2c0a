//! # Heartbeats, time-outs, phi accrual: false alarms against detection time
//!
//! A monitor hears a heartbeat from each of ten nodes every 100 ms and must say who is dead. A time-out of 200 ms was chosen
//! on a calm network. Then the network gets noisy for twenty seconds, and healthy nodes are called dead a hundred times. A
//! time-out of one second is never wrong, and six times slower when nodes really crash. The phi accrual detector learns
//! the spread of the gaps and moves its own limit.
//!
//! **What breaks.** A fixed limit is a bet on one network. A heartbeat takes 5 ms and an exponential time: 10 ms on average,
//! from 20 to 40 s 60 ms. Nodes 6 to 10 crash at 50, 51, 52, 53 and 54 s, when all is calm again.
//!
//! **What fixes it.** Suspicion from a bell curve through the last 50 gaps (deviation at least 10 ms): a node is dead when
//! its silence would be one gap in 10^8 (phi 8).
//!
//! ## Predict
//! - How many healthy nodes does the 200 ms detector bury in the noisy twenty seconds? About 125: one heartbeat in 16 is
//!   followed by 200 ms of silence.
//! - Phi 8 promises one false alarm in 10^8 gaps: how many does it make here, and why? About ten in 5,700. It holds for gaps
//!   like the last 50; eight of the ten come in the first five seconds of noise, while the window still remembers the calm.
//!
//! ## Watch
//! - The monitor's states `node-1` to `node-10`: alive or dead.
//! - `phi` of node 1, and the `limit` of its silence.
//! - From crash to alarm, for each variant.
//!
//! ## Try next
//! Lower the threshold to 3 and then raise it to 12 (`--set threshold=3`): draw the curve of false
//! alarms against detection time.

use membership::{Detector, Heartbeat, PhiAccrual, heartbeat::Config};

use crate::prelude::*;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct FailureDetector {
    /// How the monitor knows that a silence lasts too long: the lesson.
    pub detector: Policy,
    /// The limit of a time-out.
    #[schemars(extend("x-range" = ["10ms", "10s"]))]
    pub timeout: Duration,
    /// The phi at which a node is dead.
    #[schemars(range(min = 0.1, max = 300.0))]
    pub threshold: f64,
    /// How many of the latest gaps phi accrual looks at.
    #[schemars(range(min = 2, max = 1_000))]
    pub window: usize,
    /// From one heartbeat of a node to the next.
    #[schemars(extend("x-range" = ["10ms", "5s"]))]
    pub period: Duration,
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// A fixed limit.
    Timeout,
    /// A limit from the latest gaps.
    PhiAccrual,
}

const FEW: &str = "few false alarms";
const QUICK: &str = "each crash is found within 350 ms";
const RARELY: &str = "no node is called dead more than eight times";

/// The nodes that crash, and when, in seconds.
const CRASHES: [(u32, u64); 5] = [(6, 50), (7, 51), (8, 52), (9, 53), (10, 54)];

impl Lab for FailureDetector {
    const ABOUT: About = About { weeks: &[5], until: secs(60), ..About::NONE };

    fn variants() -> Variants<Self> {
        let detector = Policy::Timeout;
        let short = Self { detector, timeout: ms(200), threshold: 8.0, window: 50, period: ms(100) };
        Variants::broken("timeout-200", short, misses(FEW).violates(RARELY))
            .fixed("timeout-1000", Self { timeout: secs(1), ..short })
            .fixed("phi", Self { detector: Policy::PhiAccrual, ..short })
    }

    fn faults(self) -> FaultPlan {
        let noise = LinkChange::delay(Delay::exponential(ms(60)).plus(ms(5)));
        let crash = |(node, at)| {
            let name = format!("node-{node}");
            Fault::at(secs(at), format!("{name} crashes"), FaultKind::Crash).on(&*name)
        };
        [Fault::at(secs(20), "noise", noise).until(secs(40))].into_iter().chain(CRASHES.map(crash)).collect()
    }

    fn build(self, sim: &mut Sim) {
        let (threshold, window, first_estimate) = (self.threshold, self.window, self.period);
        let detector = match self.detector {
            Policy::Timeout => Detector::Timeout(self.timeout),
            Policy::PhiAccrual => Detector::PhiAccrual(PhiAccrual {
                threshold,
                window,
                first_estimate,
                ..PhiAccrual::default()
            }),
        };
        sim.default_link(Link::new(Delay::exponential(ms(10)).plus(ms(5))));
        // With some ten false alarms in ten nodes' noise, nine of one node have a chance of 1 in 100,000 (Poisson, mean 1); with
        // 125 of them one node has nearly always more than eight: that ten nodes have not, of 12.5 each, 1 in 10^9.
        let monitor = Monitor::new(detector)
            .always_at_most(RARELY, 8)
            .eventually_dead("in the end those who crashed are dead, and nobody else", CRASHES.len())
            .add_to(sim, "monitor", "node");
        for number in 1..=10 {
            sim.protocol::<Heartbeat>(format!("node-{number}"), move |_| {
                Config::sender([monitor], self.period)
            });
        }
    }

    fn expect() -> Expectations {
        Expectations::new()
            // What phi has at most; see the claims for what each has.
            .goal(FEW, |run| false_alarms(run, 0, 60).at_most(30))
            // All crashes: one that is never found takes for ever. A second of silence is never wrong and never quick.
            .goal_for(["timeout-200", "phi"], QUICK, |run| detection(run).each().at_most(ms(350)))
            // A heartbeat that takes 5 + x ms is followed by 200 ms of silence if none of the next has come by then: the next
            // one takes 100 + x or more, the second x or more; the third matters only from x = 100 on. With exponential
            // delays of 60 ms that is e^(-100/60) times the mean of e^(-2x/60), 1/3: 0.0630 of 2,000 noisy heartbeats, 126;
            // the third and later ones leave 125. (A heartbeat that was overtaken is ignored: it ends no silence.)
            // In calm, e^(-10)/3 of 3,600: one run in 18 has one. The root of 125 is 11.2: of the mean of 16 seeds that is
            // four standard errors.
            .claim("timeout-200", "a noisy network buries the healthy", |run| {
                let noisy = false_alarms(run, 20, 41);
                noisy.clone().at_least(60).and(noisy.share_of(false_alarms(run, 0, 60)).at_least(percent(95)))
            })
            .average(
                16,
                "timeout-200",
                "125 false alarms on average",
                |run| false_alarms(run, 0, 60),
                115..=135,
            )
            // The last heartbeat left 0 to 100 ms before the crash, and took 5 ms and 10 on average: 200 - 50 + 15 = 165. The
            // deviation is the root of 28.9^2 + 10^2, 30.6; of 80 crashes four standard errors are 13.7.
            .claim("timeout-200", "a crash is found after the time-out, less a part of a period", |run| {
                detection(run).each().within(ms(100)..=ms(350))
            })
            .average(16, "timeout-200", "165 ms on average", detection, ms(151)..=ms(179))
            // 1,000 ms of silence are ten noisy heartbeats in a row that take too long: e^(-(900 + 800 + ... + 100)/60).
            .claim("timeout-1000", "a long time-out is never wrong", |run| false_alarms(run, 0, 60).equals(0))
            .claim("timeout-1000", "and slow: 1,000 - 50 + 15 ms", |run| {
                detection(run).each().within(ms(900)..=ms(1_200))
            })
            .average(16, "timeout-1000", "965 ms on average", detection, ms(951)..=ms(979))
            .compare("phi", "timeout-200", "what learns is wrong less than half as often", |phi, fixed| {
                false_alarms(phi, 0, 60).below(false_alarms(fixed, 0, 60) / 2)
            })
            // The window holds 50 gaps of 100 ms: after 5 s it has forgotten the calm. Of about eight a run four standard errors
            // of the mean of 16 are 2.8.
            .average(
                16,
                "phi",
                "it errs while it remembers the calm",
                |run| false_alarms(run, 20, 25),
                6..=11,
            )
            .average(16, "phi", "and hardly afterwards", |run| false_alarms(run, 25, 60), 0..=3)
            // The silence begins when the last heartbeat comes, at most one delay after the crash, and ends at the limit.
            .claim_all("found within the limit in force and one delay", |run| {
                let slack = "limit and delay, less the time to the alarm";
                let slack = run.alarms("dead").crashes(slack, |node, crash, alarm| {
                    let limit = run.histogram("limit.at_alarm").at(alarm.unwrap_or(crash));
                    let delay = run.node(node).messages("Heartbeat").delays().last();
                    limit + delay - alarm.unwrap_or(SimTime::MAX).since(crash)
                });
                slack.each().at_least(Duration::ZERO)
            })
            .show(FEW, |run| {
                let names = (1..=10).map(|node| format!("node-{node}"));
                let alarms: BTreeMap<String, Vec<SimTime>> = names
                    .map(|name| Some((name.clone(), run.alarms("dead").of(&name).list().ok()?)))
                    .collect::<Option<_>>()?;
                // When the sender of a heartbeat was called dead, which was on its way.
                let called_dead = |beat: &SpanView<'_>| {
                    let heard = beat.children().first()?.start();
                    alarms.get(beat.node())?.iter().find(|at| (beat.start()..heard).contains(at)).copied()
                };
                let late = run.spans("monitor.Heartbeat").roots().only(|beat| called_dead(beat).is_some());
                let on_the_way = |beat: &SpanView<'_>| beat.children().first().map(|heard| heard.start().since(beat.start()));
                let slowest = late.list().ok()?.into_iter().max_by_key(on_the_way)?;
                let (node, at) = (slowest.node().to_owned(), called_dead(&slowest)?);
                let count = false_alarms(run, 0, 60);
                Some(slowest.shown(format!(
                    "one of {count} false alarms: {node} is called dead at {at}, while this heartbeat of it is on its way"
                )))
            })
            .figure("false alarms", |run| false_alarms(run, 0, 60))
            .figure("mean time from crash to alarm", |run| detection(run).mean())
            .figure("longest time from crash to alarm", |run| detection(run).max())
    }
}

/// Alarms of nodes that were up, in a part of the run, in seconds.
fn false_alarms(run: &Run, from: u64, to: u64) -> Measure {
    run.alarms("dead").false_ones().between(secs(from), secs(to)).count().named("false alarms")
}
/// From each crash to the alarm.
fn detection(run: &Run) -> Measures {
    run.alarms("dead").detections()
}
