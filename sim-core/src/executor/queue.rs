//! The event queue: events in order of (time, order), in a wheel of buckets, withdrawn in constant time.
//!
//! Virtual time only moves forward, so the queue is a hierarchical wheel (Varghese and Lauck 1987): eleven levels of 64
//! buckets, an event in the level of the highest digit in which its time differs from the wheel's. Adding is an append.
//! The earliest bucket is sorted into a short run, from which events are taken; a bucket that is too full for that is
//! spread over the level below first. All memory is walked in order, which is what a heap of many events cannot do.
//!
//! Withdrawing is lazy: the event leaves its slot at once, its entry stays until it surfaces or until withdrawn entries
//! outnumber live ones; then they are swept out. So a dropped timer never fires, never prolongs a run, and costs constant
//! time on average.

use std::cmp::Reverse;

use crate::{record::hash::mix, time::SimTime};

/// Names a scheduled event, to withdraw it. Keys are never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EventKey {
    slot: u32,
    order: u64,
}

/// Which events come first at one instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// Planned faults, before everything else.
    Fault,
    /// All other events, in order of scheduling.
    Usual,
}

/// What comes up: an event, or the number of something that is kept elsewhere and never withdrawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next<E> {
    Event(E),
    Number(u32),
}

#[derive(Clone, Copy)]
struct Entry {
    time: u64,
    order: u64,
    /// The slot of an event, or with the highest bit set a number.
    what: u32,
}

impl Entry {
    #[inline]
    fn rank(&self) -> u128 {
        u128::from(self.time) << 64 | u128::from(self.order)
    }
}

struct Slot<E> {
    order: u64,
    event: Option<E>,
}

const USUAL: u64 = 1 << 63;
const NUMBER: u32 = 1 << 31;
const LEVELS: usize = 11;
const DIGIT: u32 = 6;
/// A bucket with at most so many entries is sorted at once; a run with more gives its later half back to the wheel.
const RUN: usize = 64;

/// See the module.
pub(crate) struct EventQueue<E> {
    /// The earliest entries, the first of them last: everything before `horizon`.
    run: Vec<Entry>,
    horizon: u64,
    /// The wheel's time: no entry in it is earlier, nor earlier than `horizon`.
    base: u64,
    buckets: Vec<Vec<Entry>>,
    /// Which buckets of a level have entries.
    occupied: [u64; LEVELS],
    /// Empty buckets with capacity, for buckets that get their first entry.
    spare: Vec<Vec<Entry>>,
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    sequence: u64,
    /// Permutes what happens at one instant.
    ties: Option<u64>,
    entries: usize,
    withdrawn: usize,
    /// The run is new since [`EventQueue::fresh`] was asked.
    fresh: bool,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self {
            run: Vec::new(),
            horizon: 0,
            base: 0,
            buckets: (0..LEVELS * 64).map(|_| Vec::new()).collect(),
            occupied: [0; LEVELS],
            spare: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            ties: None,
            entries: 0,
            withdrawn: 0,
            fresh: false,
        }
    }

    /// How many events are still to happen.
    pub(crate) fn len(&self) -> usize {
        self.entries - self.withdrawn
    }
    /// How many entries there are, withdrawn ones included.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    #[inline]
    fn order(&mut self, class: Class) -> u64 {
        self.sequence += 1;
        if class != Class::Usual {
            return self.sequence;
        }
        match self.ties {
            None => self.sequence | USUAL,
            // Half a word of chance, then half a word that keeps orders apart.
            Some(key) => mix(key, self.sequence, 0) << 32 | (self.sequence & 0xffff_ffff) | USUAL,
        }
    }
    /// From now on events of one instant come in an order drawn from this key, instead of the order of scheduling.
    pub(crate) fn permute_ties(&mut self, key: u64) {
        self.ties = Some(key);
    }

    #[inline]
    pub(crate) fn push(&mut self, time: SimTime, class: Class, event: E) -> EventKey {
        let order = self.order(class);
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Slot { order, event: Some(event) };
            slot
        } else {
            self.slots.push(Slot { order, event: Some(event) });
            let slot = self.slots.len() as u32 - 1;
            assert!(slot < NUMBER, "fewer than two billion pending events");
            slot
        };
        self.insert(Entry { time: time.as_nanos(), order, what: slot });
        EventKey { slot, order }
    }

    /// Schedules a number (below two billion) that cannot be withdrawn: cheaper than an event.
    #[inline]
    pub(crate) fn push_number(&mut self, time: SimTime, number: u32) {
        let order = self.order(Class::Usual);
        self.insert(Entry { time: time.as_nanos(), order, what: number | NUMBER });
    }

    #[inline]
    fn insert(&mut self, entry: Entry) {
        self.entries += 1;
        // What is earlier than the wheel's own time (somebody asked for what is due, and got nothing) belongs to the run.
        if entry.time >= self.horizon && entry.time >= self.base {
            self.insert_in_wheel(entry);
        } else {
            self.insert_in_run(entry);
        }
    }

    #[inline]
    fn insert_in_wheel(&mut self, entry: Entry) {
        let differs = entry.time ^ self.base;
        let level = if differs == 0 { 0 } else { (63 - differs.leading_zeros()) / DIGIT };
        let digit = (entry.time >> (level * DIGIT)) & 63;
        self.occupied[level as usize] |= 1 << digit;
        let bucket = &mut self.buckets[level as usize * 64 + digit as usize];
        if bucket.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            *bucket = spare;
        }
        bucket.push(entry);
    }

    fn insert_in_run(&mut self, entry: Entry) {
        let rank = entry.rank();
        let at = self.run.partition_point(|other| other.rank() > rank);
        self.run.insert(at, entry);
        if self.run.len() > 2 * RUN {
            // Too long for insertion: the later half goes back, unless it all happens at one instant. Nothing that is
            // earlier than the wheel's own time may go there.
            let keep = self.run[RUN].time.max(self.base);
            let split = self.run.partition_point(|other| other.time > keep);
            if split > 0 {
                self.horizon = keep + 1;
                for entry in self.run.drain(..split).rev().collect::<Vec<_>>() {
                    self.insert_in_wheel(entry);
                }
            }
        }
    }

    /// Fills the run from the earliest bucket. Gives whether there was one that begins at or before `end`: the wheel must not
    /// run ahead of what the caller takes, or what he then schedules would lie before the wheel's own time.
    fn refill(&mut self, end: u64) -> bool {
        loop {
            let Some(level) = self.occupied.iter().position(|&bits| bits != 0) else { return false };
            let digit = self.occupied[level].trailing_zeros();
            let index = level * 64 + digit as usize;
            let shift = level as u32 * DIGIT;
            // The bucket's own time: the base's higher digits, its digit, zeros.
            let above = shift + DIGIT;
            let high = if above >= 64 { 0 } else { self.base >> above << above };
            let start = high | (u64::from(digit) << shift);
            if start > end {
                return false;
            }
            self.base = self.base.max(start);
            self.occupied[level] &= !(1 << digit);
            let mut bucket = std::mem::take(&mut self.buckets[index]);
            if level == 0 || bucket.len() <= RUN {
                self.horizon = start.saturating_add(1 << shift);
                std::mem::swap(&mut self.run, &mut bucket);
                if self.run.len() > 1 {
                    self.run.sort_unstable_by_key(|entry| Reverse(entry.rank()));
                }
                bucket.clear();
                self.spare.push(bucket);
                self.fresh = self.run.len() > 4;
                return true;
            }
            for entry in bucket.drain(..) {
                self.insert_in_wheel(entry);
            }
            self.spare.push(bucket);
        }
    }

    /// Once after each filling of the run: the numbers in it, whose turn comes soon.
    #[inline]
    pub(crate) fn fresh(&mut self) -> Option<impl Iterator<Item = u32> + '_> {
        if !self.fresh {
            return None;
        }
        self.fresh = false;
        Some(self.run.iter().filter(|entry| entry.what & NUMBER != 0).map(|entry| entry.what & !NUMBER))
    }

    /// A pending event.
    #[inline]
    pub(crate) fn get(&self, key: EventKey) -> Option<&E> {
        let slot = self.slots.get(key.slot as usize)?;
        if slot.order == key.order { slot.event.as_ref() } else { None }
    }

    /// Withdraws an event; `None` where it has happened or was withdrawn before.
    #[inline]
    pub(crate) fn withdraw(&mut self, key: EventKey) -> Option<E> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.order != key.order {
            return None;
        }
        let event = slot.event.take()?;
        slot.order = 0;
        self.free.push(key.slot);
        self.withdrawn += 1;
        // Often it is the next one: a deadline that was met, in an otherwise quiet world.
        if let Some(last) = self.run.last()
            && last.order == key.order
        {
            self.run.pop();
            self.entries -= 1;
            self.withdrawn -= 1;
        }
        if self.withdrawn > self.entries / 2 {
            self.sweep();
        }
        Some(event)
    }

    /// Throws the entries of withdrawn events out.
    fn sweep(&mut self) {
        let slots = &self.slots;
        let live =
            |entry: &Entry| entry.what & NUMBER != 0 || slots[entry.what as usize].order == entry.order;
        self.run.retain(live);
        let mut entries = self.run.len();
        for level in 0..LEVELS {
            let mut bits = self.occupied[level];
            while bits != 0 {
                let digit = bits.trailing_zeros();
                bits &= bits - 1;
                let bucket = &mut self.buckets[level * 64 + digit as usize];
                bucket.retain(live);
                entries += bucket.len();
                if bucket.is_empty() {
                    self.occupied[level] &= !(1 << digit);
                }
            }
        }
        self.entries = entries;
        self.withdrawn = 0;
    }

    /// What comes first, at or before `end`.
    #[inline]
    pub(crate) fn pop(&mut self, end: SimTime) -> Option<(SimTime, Next<E>)> {
        loop {
            let Some(&entry) = self.run.last() else {
                if self.refill(end.as_nanos()) {
                    continue;
                }
                return None;
            };
            if entry.what & NUMBER != 0 {
                if entry.time > end.as_nanos() {
                    return None;
                }
                self.run.pop();
                self.entries -= 1;
                if self.withdrawn > self.entries / 2 {
                    self.sweep();
                }
                return Some((SimTime::from_nanos(entry.time), Next::Number(entry.what & !NUMBER)));
            }
            let slot = &mut self.slots[entry.what as usize];
            if slot.order != entry.order {
                self.run.pop();
                self.entries -= 1;
                self.withdrawn -= 1;
                continue;
            }
            if entry.time > end.as_nanos() {
                return None;
            }
            let event = slot.event.take().expect("a live slot holds its event");
            slot.order = 0;
            self.free.push(entry.what);
            self.run.pop();
            self.entries -= 1;
            if self.withdrawn > self.entries / 2 {
                self.sweep();
            }
            return Some((SimTime::from_nanos(entry.time), Next::Event(event)));
        }
    }

    /// Every pending event that `which` picks, with its time, in order of happening. Walks over everything.
    pub(crate) fn find(&self, which: impl Fn(&E) -> bool) -> Vec<(SimTime, EventKey)> {
        let mut found: Vec<Entry> = self
            .run
            .iter()
            .chain(self.buckets.iter().flatten())
            .filter(|entry| {
                entry.what & NUMBER == 0 && {
                    let slot = &self.slots[entry.what as usize];
                    slot.order == entry.order && slot.event.as_ref().is_some_and(&which)
                }
            })
            .copied()
            .collect();
        found.sort_by_key(Entry::rank);
        found
            .into_iter()
            .map(|e| (SimTime::from_nanos(e.time), EventKey { slot: e.what, order: e.order }))
            .collect()
    }

    /// Moves a pending event to another time, not before now; it keeps its place in the order of scheduling and its key.
    /// Walks over everything.
    pub(crate) fn reschedule(&mut self, key: EventKey, time: SimTime) {
        if self.get(key).is_none() {
            return;
        }
        let other = |entry: &Entry| entry.order != key.order;
        self.run.retain(other);
        for (index, bucket) in self.buckets.iter_mut().enumerate() {
            bucket.retain(other);
            if bucket.is_empty() {
                self.occupied[index / 64] &= !(1 << (index % 64));
            }
        }
        self.entries -= 1;
        self.insert(Entry { time: time.as_nanos(), order: key.order, what: key.slot });
    }

    /// Forgets everything; gives the events back, so that the caller drops them where it is safe to.
    pub(crate) fn clear(&mut self) -> Vec<E> {
        let events = self.slots.drain(..).filter_map(|slot| slot.event).collect();
        *self = Self::new();
        events
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn event<E>(next: Next<E>) -> E {
        match next {
            Next::Event(event) => event,
            Next::Number(n) => panic!("nobody scheduled the number {n}"),
        }
    }

    fn at(nanos: u64) -> SimTime {
        SimTime::from_nanos(nanos)
    }

    #[test]
    fn at_one_instant_faults_come_first_then_order_of_scheduling() {
        let mut queue = EventQueue::new();
        queue.push(at(5), Class::Usual, "first");
        queue.push(at(5), Class::Usual, "second");
        queue.push(at(5), Class::Fault, "fault");
        queue.push(at(4), Class::Usual, "earlier");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(SimTime::MAX)).map(|(_, e)| event(e)).collect();
        assert_eq!(order, ["earlier", "fault", "first", "second"]);
    }

    #[test]
    fn withdrawn_events_never_outnumber_live_ones() {
        let mut queue = EventQueue::new();
        let keys: Vec<_> = (0..1_000).map(|n| queue.push(at(n), Class::Usual, n)).collect();
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(queue.withdraw(*key), Some(n as u64));
            assert!(
                queue.entries() <= 2 * queue.len(),
                "{} entries for {} events",
                queue.entries(),
                queue.len()
            );
        }
        assert_eq!(queue.pop(SimTime::MAX), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u64, bool),
        Withdraw(usize),
        Move(usize, u64),
        Number(u64),
        Pop(u64),
        /// Many at once, spread over some time.
        Burst(u64, u64, u8),
        /// Takes all that is due within a time: the last attempt finds nothing.
        Drain(u64),
    }

    /// Now, soon, and at every scale of time up to hours: every level of the wheel.
    fn wait() -> impl Strategy<Value = u64> {
        prop_oneof![2 => 0..4_u64, 2 => 0..100_u64, 3 => (0..43_u32, 0..1_000_u64).prop_map(|(bits, more)| (1 << bits) + more)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (wait(), any::<bool>()).prop_map(|(t, fault)| Step::Push(t, fault)),
            3 => wait().prop_map(Step::Number),
            2 => any::<usize>().prop_map(Step::Withdraw),
            1 => (any::<usize>(), wait()).prop_map(|(i, t)| Step::Move(i, t)),
            1 => (wait(), wait(), 1..200_u8).prop_map(|(after, spread, count)| Step::Burst(after, spread, count)),
            2 => wait().prop_map(Step::Drain),
            4 => wait().prop_map(Step::Pop),
        ]
    }

    type Model = BTreeMap<(u64, bool, u64), u64>;

    fn first(model: &Model, end: u64) -> Option<((u64, bool, u64), u64)> {
        model.first_key_value().map(|(k, v)| (*k, *v)).filter(|((time, _, _), _)| *time <= end)
    }

    fn value(next: Next<u64>) -> u64 {
        match next {
            Next::Event(event) => event,
            Next::Number(number) => u64::from(number),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
        /// The queue against a sorted map that is obviously right.
        #[test]
        fn the_queue_does_what_a_sorted_map_does(steps in prop::collection::vec(step(), 1..150)) {
            let mut queue = EventQueue::new();
            let mut model = Model::new();
            let mut keys: Vec<(EventKey, u64, u64, bool)> = Vec::new();
            let mut now = 0;
            let mut n = 0;
            for step in steps {
                n += 1;
                match step {
                    Step::Push(after, fault) => {
                        let time = now + after;
                        let class = if fault { Class::Fault } else { Class::Usual };
                        let key = queue.push(at(time), class, n);
                        model.insert((time, !fault, n), n);
                        keys.push((key, time, n, !fault));
                    }
                    Step::Withdraw(i) if !keys.is_empty() => {
                        let (key, time, n, usual) = keys[i % keys.len()];
                        prop_assert_eq!(queue.withdraw(key), model.remove(&(time, usual, n)));
                    }
                    Step::Move(i, to) if !keys.is_empty() => {
                        let i = i % keys.len();
                        let (key, time, n, usual) = keys[i];
                        let to = now + to;
                        queue.reschedule(key, at(to));
                        if model.remove(&(time, usual, n)).is_some() {
                            model.insert((to, usual, n), n);
                            keys[i].1 = to;
                        }
                    }
                    Step::Number(after) => {
                        let time = now + after;
                        queue.push_number(at(time), n as u32);
                        model.insert((time, true, n), n);
                    }
                    Step::Burst(after, spread, count) => {
                        for i in 0..u64::from(count) {
                            // Not in order of time, and many at one instant.
                            let time = now + after + spread / 7 * (i * 5 % 8);
                            queue.push_number(at(time), n as u32);
                            model.insert((time, true, n), n);
                            n += 1;
                        }
                    }
                    Step::Pop(after) => {
                        let end = now.saturating_add(after);
                        let expected = first(&model, end);
                        let popped = queue.pop(at(end)).map(|(time, next)| (time, value(next)));
                        prop_assert_eq!(popped, expected.map(|((time, _, _), v)| (at(time), v)));
                        if let Some((key, _)) = expected {
                            model.remove(&key);
                            now = key.0;
                        }
                    }
                    Step::Drain(after) => {
                        let end = now.saturating_add(after);
                        loop {
                            let expected = first(&model, end);
                            let popped = queue.pop(at(end)).map(|(time, next)| (time, value(next)));
                            prop_assert_eq!(popped, expected.map(|((time, _, _), v)| (at(time), v)));
                            let Some((key, _)) = expected else { break };
                            model.remove(&key);
                            now = key.0;
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert!(queue.entries() <= 2 * queue.len());
            }
        }
    }

    /// What the world does before its first line of code runs: it asks for what is due at time zero while a fault is planned
    /// for later. The wheel must not run ahead to that fault.
    #[test]
    fn asking_too_early_leaves_room_for_what_is_scheduled_afterwards() {
        let mut queue = EventQueue::new();
        queue.push(at(9_000_000_000), Class::Fault, 0_u64);
        assert_eq!(queue.pop(SimTime::ZERO), None);
        for n in 0..1_000 {
            queue.push_number(at(1_000 + n * 7_919 % 5_000_000), n as u32);
        }
        let mut last = SimTime::ZERO;
        let mut count = 0;
        while let Some((time, _)) = queue.pop(SimTime::MAX) {
            assert!(time >= last, "{time} after {last}");
            last = time;
            count += 1;
        }
        assert_eq!((count, last), (1_001, at(9_000_000_000)));
    }
}
