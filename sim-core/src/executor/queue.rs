//! The event queue: a binary heap over (time, order), with events in a slab so that they can be withdrawn.
//!
//! Withdrawing is lazy: the event leaves the slab at once, its heap entry stays until it surfaces or until withdrawn
//! entries outnumber live ones; then the heap is rebuilt without them. So a dropped timer never fires, never prolongs a
//! run, and costs constant time on average.

use std::{cmp::Ordering, collections::BinaryHeap};

use crate::time::SimTime;

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

#[derive(Clone, Copy)]
struct Entry {
    time: u64,
    order: u64,
    slot: u32,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// Reversed: the standard heap gives the greatest first.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.order).cmp(&(self.time, self.order))
    }
}

struct Slot<E> {
    order: u64,
    event: Option<E>,
}

const USUAL: u64 = 1 << 63;

/// See the module.
pub(crate) struct EventQueue<E> {
    heap: BinaryHeap<Entry>,
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    sequence: u64,
    withdrawn: usize,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), sequence: 0, withdrawn: 0 }
    }

    /// How many events are still to happen.
    pub(crate) fn len(&self) -> usize {
        self.heap.len() - self.withdrawn
    }
    /// How many entries the heap holds, withdrawn ones included.
    #[cfg(test)]
    pub(crate) fn heap_len(&self) -> usize {
        self.heap.len()
    }

    #[inline]
    pub(crate) fn push(&mut self, time: SimTime, class: Class, event: E) -> EventKey {
        self.sequence += 1;
        let order = if class == Class::Usual { self.sequence | USUAL } else { self.sequence };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Slot { order, event: Some(event) };
            slot
        } else {
            self.slots.push(Slot { order, event: Some(event) });
            u32::try_from(self.slots.len() - 1).expect("fewer than four billion pending events")
        };
        self.heap.push(Entry { time: time.as_nanos(), order, slot });
        EventKey { slot, order }
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
        self.compact();
        Some(event)
    }

    /// Rebuilds the heap where more entries are withdrawn than live.
    #[inline]
    fn compact(&mut self) {
        if self.withdrawn * 2 > self.heap.len() {
            let slots = &self.slots;
            self.heap.retain(|entry| slots[entry.slot as usize].order == entry.order);
            self.withdrawn = 0;
        }
    }

    /// A pending event.
    #[inline]
    pub(crate) fn get(&self, key: EventKey) -> Option<&E> {
        let slot = self.slots.get(key.slot as usize)?;
        if slot.order == key.order { slot.event.as_ref() } else { None }
    }

    /// The earliest event at or before `end`.
    #[inline]
    pub(crate) fn pop(&mut self, end: SimTime) -> Option<(SimTime, E)> {
        while let Some(&entry) = self.heap.peek() {
            let slot = &mut self.slots[entry.slot as usize];
            if slot.order != entry.order {
                self.heap.pop();
                self.withdrawn -= 1;
                continue;
            }
            if entry.time > end.as_nanos() {
                return None;
            }
            let event = slot.event.take().expect("a live slot holds its event");
            slot.order = 0;
            self.free.push(entry.slot);
            self.heap.pop();
            self.compact();
            return Some((SimTime::from_nanos(entry.time), event));
        }
        None
    }

    /// Every pending event that `which` picks, with its time, in order of happening.
    pub(crate) fn find(&mut self, which: impl Fn(&E) -> bool) -> Vec<(SimTime, EventKey)> {
        let mut found: Vec<Entry> = self
            .heap
            .iter()
            .filter(|entry| {
                let slot = &self.slots[entry.slot as usize];
                slot.order == entry.order && slot.event.as_ref().is_some_and(&which)
            })
            .copied()
            .collect();
        found.sort_by_key(|entry| (entry.time, entry.order));
        found
            .into_iter()
            .map(|e| (SimTime::from_nanos(e.time), EventKey { slot: e.slot, order: e.order }))
            .collect()
    }

    /// Moves a pending event to another time; it keeps its place in the order of scheduling and its key.
    pub(crate) fn reschedule(&mut self, key: EventKey, time: SimTime) {
        let slot = &self.slots[key.slot as usize];
        if slot.order != key.order {
            return;
        }
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        for entry in &mut entries {
            if entry.order == key.order && entry.slot == key.slot {
                entry.time = time.as_nanos();
            }
        }
        self.heap = BinaryHeap::from(entries);
    }

    /// Forgets everything; gives the events back, so that the caller drops them where it is safe to.
    pub(crate) fn clear(&mut self) -> Vec<E> {
        self.heap.clear();
        self.free.clear();
        self.withdrawn = 0;
        self.slots.drain(..).filter_map(|slot| slot.event).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

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
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(SimTime::MAX)).map(|(_, e)| e).collect();
        assert_eq!(order, ["earlier", "fault", "first", "second"]);
    }

    #[test]
    fn withdrawn_events_never_outnumber_live_ones() {
        let mut queue = EventQueue::new();
        let keys: Vec<_> = (0..1_000).map(|n| queue.push(at(n), Class::Usual, n)).collect();
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(queue.withdraw(*key), Some(n as u64));
            assert!(
                queue.heap_len() <= 2 * queue.len(),
                "{} entries for {} events",
                queue.heap_len(),
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
        Pop(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..50_u64, any::<bool>()).prop_map(|(t, fault)| Step::Push(t, fault)),
            2 => any::<usize>().prop_map(Step::Withdraw),
            1 => (any::<usize>(), 0..50_u64).prop_map(|(i, t)| Step::Move(i, t)),
            3 => (0..60_u64).prop_map(Step::Pop),
        ]
    }

    proptest! {
        /// The queue against a sorted map that is obviously right.
        #[test]
        fn the_queue_does_what_a_sorted_map_does(steps in prop::collection::vec(step(), 1..200)) {
            let mut queue = EventQueue::new();
            let mut model: BTreeMap<(u64, bool, u64), u64> = BTreeMap::new();
            let mut keys: Vec<(EventKey, u64, u64, bool)> = Vec::new();
            for (n, step) in steps.into_iter().enumerate() {
                let n = n as u64;
                match step {
                    Step::Push(time, fault) => {
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
                        queue.reschedule(key, at(to));
                        if model.remove(&(time, usual, n)).is_some() {
                            model.insert((to, usual, n), n);
                            keys[i].1 = to;
                        }
                    }
                    Step::Pop(end) => {
                        let expected = model.first_key_value().map(|(k, v)| (*k, *v)).filter(|((t, _, _), _)| *t <= end);
                        if let Some((key, _)) = expected {
                            model.remove(&key);
                        }
                        prop_assert_eq!(queue.pop(at(end)), expected.map(|((t, _, _), v)| (at(t), v)));
                    }
                    _ => {}
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert!(queue.heap_len() <= 2 * queue.len());
            }
        }
    }
}
