//! A node's oscillator and its two clocks.
//!
//! The oscillator drifts; the monotonic clock counts it, the wall clock counts it from an offset that may jump. All
//! arithmetic is in whole nanoseconds, so that both directions agree on every platform.
//!
//! A clock knows which faults have changed it, so that a reading that came out differently is put down to them.

use smallvec::SmallVec;

use crate::{
    fault::Offset,
    node::NodeId,
    time::{Duration, Monotonic, SimTime, Wall},
    world::Core,
};

const BILLION: i128 = 1_000_000_000;

/// See the module. An exact clock is two numbers; what a drift or a fault needs lies elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// Local minus true time, while there is no drift.
    skew: i64,
    /// Wall clock minus what an exact one with this oscillator would show.
    offset: i64,
    apart: Option<Box<Apart>>,
}

/// What a clock has that drifts, or that a fault has changed.
#[derive(Clone, Debug, Default)]
struct Apart {
    drift: Option<Drift>,
    /// The node's own drift, to which those of faults are added, in parts in a billion.
    own_ppb: i64,
    faults: Vec<ClockFault>,
}

/// An oscillator that is too fast or too slow.
#[derive(Clone, Copy, Debug)]
struct Drift {
    /// When it began, in true and in local time.
    base_true: u64,
    base_local: u64,
    /// How much faster than true time, in parts in a billion.
    ppb: i64,
}

/// What one fault has done to a clock.
#[derive(Clone, Copy, Debug)]
struct ClockFault {
    fault: u32,
    /// How far the wall clock has jumped.
    jump: i64,
    /// How much faster the oscillator is, in parts in a billion, and since when.
    ppb: i64,
    since: SimTime,
    /// What the clocks have gained by a drift that is over: they keep it.
    kept: i64,
}

impl ClockFault {
    /// How far the monotonic clock is from what it would show without this fault, in nanoseconds.
    fn gained(&self, now: SimTime) -> i64 {
        self.kept.saturating_add(gain(now.since(self.since), self.ppb))
    }
}

/// What a clock gains in a time at a drift, in nanoseconds.
fn gain(time: Duration, ppb: i64) -> i64 {
    i64::try_from(i128::from(time.as_nanos()) * i128::from(ppb) / BILLION).unwrap_or(i64::MAX)
}

impl Drift {
    fn monotonic(&self, now: SimTime) -> u64 {
        let elapsed = now.as_nanos() - self.base_true;
        let local = i128::from(elapsed) * (BILLION + i128::from(self.ppb)) / BILLION;
        self.base_local + u64::try_from(local).unwrap_or(u64::MAX)
    }
    fn when(&self, reading: u64) -> u64 {
        let local = reading.saturating_sub(self.base_local);
        let rate = BILLION + i128::from(self.ppb);
        let elapsed = (i128::from(local) * BILLION + rate - 1) / rate;
        self.base_true.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

impl Clock {
    pub(crate) fn new(offset: Offset, drift_ppm: f64) -> Self {
        let mut clock = Self { skew: 0, offset: offset.as_nanos(), apart: None };
        let own_ppb = ppm_to_ppb(drift_ppm).max(SLOWEST);
        if own_ppb != 0 {
            clock.apart().own_ppb = own_ppb;
            clock.set_drift(SimTime::ZERO);
        }
        clock
    }

    fn drift(&self) -> Option<&Drift> {
        self.apart.as_ref()?.drift.as_ref()
    }
    fn apart(&mut self) -> &mut Apart {
        self.apart.get_or_insert_default()
    }

    /// The monotonic clock at a true time that is not before the last change.
    #[inline]
    pub(crate) fn monotonic(&self, now: SimTime) -> Monotonic {
        Monotonic::from_nanos(match self.drift() {
            None => now.as_nanos().saturating_add_signed(self.skew),
            Some(drift) => drift.monotonic(now),
        })
    }

    /// The wall clock at a true time.
    #[inline]
    pub(crate) fn wall(&self, now: SimTime) -> Wall {
        let exact = self.monotonic(now).as_nanos().saturating_add(Wall::START.as_nanos());
        Wall::from_nanos(exact.saturating_add_signed(self.offset))
    }

    /// Wall clock minus true time, in nanoseconds: what the observer sees of its error.
    #[inline]
    pub(crate) fn error(&self, now: SimTime) -> i64 {
        match self.drift() {
            None => self.offset + self.skew,
            Some(_) => self.wall(now).since_run_start() - now.as_nanos() as i64,
        }
    }

    /// The first true time at which the monotonic clock shows at least `reading`.
    #[inline]
    pub(crate) fn when(&self, reading: Monotonic) -> SimTime {
        SimTime::from_nanos(match self.drift() {
            None => reading.as_nanos().saturating_add_signed(-self.skew),
            Some(drift) => drift.when(reading.as_nanos()),
        })
    }

    /// From now on the drift that the node and its faults make together; both clocks go on from what they show.
    fn set_drift(&mut self, now: SimTime) {
        let local = self.monotonic(now).as_nanos();
        let ppb = self.ppb();
        let drift = Drift { base_true: now.as_nanos(), base_local: local, ppb };
        self.apart().drift = (ppb != 0).then_some(drift);
        if ppb == 0 {
            self.skew = local as i64 - now.as_nanos() as i64;
        }
    }
    /// The drift that is to be: the node's own and those of its faults.
    fn ppb(&self) -> i64 {
        let Some(apart) = &self.apart else { return 0 };
        apart.faults.iter().fold(apart.own_ppb, |sum, fault| sum.saturating_add(fault.ppb)).max(SLOWEST)
    }

    /// A fault lets both clocks drift from now on.
    pub(crate) fn begin_drift(&mut self, now: SimTime, fault: u32, ppm: f64) {
        let ppb = ppm_to_ppb(ppm);
        self.apart().faults.push(ClockFault { fault, jump: 0, ppb, since: now, kept: 0 });
        self.set_drift(now);
    }
    /// The drift of a fault is over. What the clocks have gained they keep.
    pub(crate) fn end_drift(&mut self, now: SimTime, fault: u32) {
        for one in self.apart().faults.iter_mut().filter(|one| one.fault == fault) {
            (one.kept, one.ppb) = (one.gained(now), 0);
        }
        self.set_drift(now);
        self.apart().faults.retain(|one| one.fault != fault || one.kept != 0);
    }
    /// A fault makes the wall clock jump.
    pub(crate) fn begin_jump(&mut self, now: SimTime, fault: u32, by: Offset) {
        let jump = by.as_nanos();
        self.offset = self.offset.saturating_add(jump);
        self.apart().faults.push(ClockFault { fault, jump, ppb: 0, since: now, kept: 0 });
    }
    /// The wall clock jumps back.
    pub(crate) fn end_jump(&mut self, fault: u32, by: Offset) {
        self.offset = self.offset.saturating_sub(by.as_nanos());
        self.apart().faults.retain(|one| one.fault != fault);
    }

    /// Whether faults have changed it.
    #[inline]
    fn has_faults(&self) -> bool {
        self.apart.as_ref().is_some_and(|apart| !apart.faults.is_empty())
    }
    fn faults_that(&self, changed: impl Fn(&ClockFault) -> bool) -> SmallVec<[u32; 4]> {
        let faults = self.apart.iter().flat_map(|apart| &apart.faults);
        faults.filter(|fault| changed(fault)).map(|fault| fault.fault).collect()
    }
}

/// The slowest that an oscillator gets, in parts in a billion: a tenth of its speed.
const SLOWEST: i64 = -900_000_000;

fn ppm_to_ppb(ppm: f64) -> i64 {
    (ppm * 1_000.0).round() as i64
}

impl Core {
    /// A node's code reads its monotonic clock: faults by which it came out differently have touched something.
    #[inline]
    pub(crate) fn monotonic_is_read(&mut self, node: NodeId) {
        if self.nodes[node.index()].clock.has_faults() {
            let now = self.now;
            self.clock_faults_touch(node, |fault| fault.gained(now) != 0);
        }
    }
    /// A node's code reads its wall clock.
    #[inline]
    pub(crate) fn wall_is_read(&mut self, node: NodeId) {
        if self.nodes[node.index()].clock.has_faults() {
            let now = self.now;
            self.clock_faults_touch(node, |fault| fault.gained(now).saturating_add(fault.jump) != 0);
        }
    }
    /// A protocol on a node has looked at its monotonic and its wall clock, or at one, or at none.
    #[inline]
    pub(crate) fn clocks_are_read(&mut self, node: NodeId, (monotonic, wall): (bool, bool)) {
        if monotonic {
            self.monotonic_is_read(node);
        }
        if wall {
            self.wall_is_read(node);
        }
    }
    /// A timer of a node will fire at that time: faults by which it runs faster or slower have touched it.
    #[inline]
    pub(crate) fn timer_is_set(&mut self, node: NodeId, at: SimTime) {
        if self.nodes[node.index()].clock.has_faults() {
            let now = self.now;
            self.clock_faults_touch(node, |fault| gain(at.since(now), fault.ppb) != 0);
        }
    }

    #[cold]
    fn clock_faults_touch(&mut self, node: NodeId, changed: impl Fn(&ClockFault) -> bool) {
        for fault in self.nodes[node.index()].clock.faults_that(changed) {
            self.faults_touch(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{ms, secs};

    #[test]
    fn a_clock_that_drifts_by_100_ppm_gains_360_ms_an_hour() {
        let clock = Clock::new(Offset::default(), 100.0);
        let hour = SimTime::ZERO + secs(3_600);
        assert_eq!(clock.monotonic(hour).as_nanos(), secs(3_600).as_nanos() + ms(360).as_nanos());
    }

    #[test]
    fn a_jump_moves_the_wall_clock_and_not_the_monotonic_one() {
        let mut clock = Clock::new(Offset::behind(secs(3)), 0.0);
        let now = SimTime::ZERO + secs(1);
        assert_eq!(clock.wall(now).since_run_start(), -2_000_000_000);
        let before = clock.monotonic(now);
        clock.begin_jump(now, 0, Offset::ahead(secs(10)));
        assert_eq!(clock.monotonic(now), before);
        assert_eq!(clock.wall(now).since_run_start(), 8_000_000_000);
        assert_eq!(clock.error(now), 7_000_000_000);
    }

    #[test]
    fn a_drift_that_is_over_leaves_what_it_has_gained_and_the_drift_that_was_there() {
        let mut clock = Clock::new(Offset::default(), 100.0);
        let at = |seconds| SimTime::ZERO + secs(seconds);
        clock.begin_drift(at(10), 0, 1_000.0);
        clock.begin_drift(at(20), 1, -500.0);
        clock.end_drift(at(30), 0);
        clock.end_drift(at(40), 1);
        // 100 us a second for 50 s, 1 ms a second for 20 s, 0.5 ms a second lost for 20 s.
        assert_eq!(clock.error(at(50)), 5_000_000 + 20_000_000 - 10_000_000);
        assert_eq!(clock.faults_that(|fault| fault.gained(at(50)) == 20_000_000).to_vec(), [0]);
        assert_eq!(clock.faults_that(|fault| fault.gained(at(50)) == -10_000_000).to_vec(), [1]);
    }

    #[test]
    fn a_fault_that_has_left_no_trace_is_forgotten() {
        let mut clock = Clock::new(Offset::default(), 0.0);
        let now = SimTime::ZERO + secs(1);
        clock.begin_jump(now, 0, Offset::ahead(secs(10)));
        clock.begin_drift(now, 1, 500.0);
        assert!(clock.has_faults());
        clock.end_jump(0, Offset::ahead(secs(10)));
        clock.end_drift(now, 1);
        assert!(!clock.has_faults());
        assert_eq!(clock.error(now), 0);
    }

    proptest! {
        #[test]
        fn when_is_the_first_instant_that_shows_the_reading(
            drift in -500_000.0..500_000.0_f64, change in 0..1_000_000_000_u64, wait in 0..10_000_000_000_u64,
        ) {
            let mut clock = Clock::new(Offset::default(), 0.0);
            clock.begin_drift(SimTime::from_nanos(change), 0, drift);
            let reading = Monotonic::from_nanos(change + wait);
            let when = clock.when(reading);
            prop_assert!(clock.monotonic(when) >= reading);
            if when.as_nanos() > change {
                prop_assert!(clock.monotonic(when - Duration::from_nanos(1)) < reading);
            }
        }
    }
}
