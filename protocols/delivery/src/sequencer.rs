//! The receiver's side of numbered messages: what to do with one that came twice, or before its turn.
//!
//! The sender numbers its messages 0, 1, 2, ... The receiver knows which one is next. One with a smaller number, or one that it
//! holds already, is a copy. One with a larger number came too early: something before it is late or lost, and nobody can know
//! which. An [`Order`] says how long to hold it.
//!
//! | order | twice | behind a later one | missing |
//! |---|---|---|---|
//! | [`Order::AsItComes`] | yes | yes | what is lost |
//! | [`Order::HoldAtMost`] | never | never | what is lost, and what comes later than the hold |
//! | [`Order::Complete`] | never | never | nothing, if the sender sends again until it is told |
//!
//! This is the sliding window of TCP (RFC 9293, section 3.4) without a bound on the window: it holds as much as comes early.

use std::collections::{BTreeMap, VecDeque};

use sim_core::time::Duration;

/// What is done with a message that came before its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Nobody looks at the numbers: all are passed on as they come.
    AsItComes,
    /// It is held for that long at most; then those before it are given up.
    HoldAtMost(Duration),
    /// It is held until all before it are there.
    Complete,
}

/// What became of a message that had not come before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It is among those that [`Sequencer::next`] gives.
    Ready,
    /// It came too early. After that time, if there is one, it is due: see [`Sequencer::held_too_long`].
    Held(Option<Duration>),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Sequencer<T> {
    order: Order,
    /// The number that is next.
    next: u64,
    early: BTreeMap<u64, T>,
    ready: VecDeque<T>,
}

impl<T> Sequencer<T> {
    /// Nothing has come yet; 0 is next.
    pub fn new(order: Order) -> Self {
        Self { order, next: 0, early: BTreeMap::new(), ready: VecDeque::new() }
    }

    /// A message has come.
    ///
    /// # Errors
    /// Gives the message back where it came before, or where its turn is over.
    pub fn arrive(&mut self, number: u64, message: T) -> Result<Arrival, T> {
        if self.order == Order::AsItComes {
            self.ready.push_back(message);
            return Ok(Arrival::Ready);
        }
        if number < self.next || self.early.contains_key(&number) {
            return Err(message);
        }
        self.early.insert(number, message);
        self.release(None);
        Ok(match (self.early.contains_key(&number), self.order) {
            (false, _) => Arrival::Ready,
            (true, Order::HoldAtMost(time)) => Arrival::Held(Some(time)),
            (true, _) => Arrival::Held(None),
        })
    }

    /// The next message whose turn has come.
    #[expect(clippy::should_implement_trait, reason = "it is no iterator: more may come after none")]
    pub fn next(&mut self) -> Option<T> {
        self.ready.pop_front()
    }

    /// The message of that number has been held for as long as may be: what is missing before it is given up.
    pub fn held_too_long(&mut self, number: u64) {
        self.release(Some(number));
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.early.len()
    }

    /// What is next, and whatever else came no later than a message that was held for too long.
    fn release(&mut self, held_too_long: Option<u64>) {
        while let Some((&number, _)) = self.early.first_key_value()
            && (number == self.next || Some(number) <= held_too_long)
            && let Some(message) = self.early.remove(&number)
        {
            self.ready.push_back(message);
            self.next = number.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sim_core::time::ms;

    use super::*;

    fn all<T>(sequencer: &mut Sequencer<T>) -> Vec<T> {
        std::iter::from_fn(|| sequencer.next()).collect()
    }
    fn come(sequencer: &mut Sequencer<u64>, numbers: &[u64]) -> Vec<u64> {
        for &number in numbers {
            let _ = sequencer.arrive(number, number);
        }
        all(sequencer)
    }

    #[test]
    fn who_looks_at_no_number_passes_on_what_comes() {
        let mut list = Sequencer::new(Order::AsItComes);
        assert_eq!(list.arrive(3, 3), Ok(Arrival::Ready));
        assert_eq!(come(&mut list, &[3, 0, 0]), [3, 3, 0, 0]);
    }

    #[test]
    fn what_comes_early_waits_for_what_is_before_it_and_copies_are_dropped() {
        let mut list = Sequencer::new(Order::Complete);
        assert_eq!(list.arrive(2, 2), Ok(Arrival::Held(None)));
        assert_eq!(list.arrive(2, 2), Err(2));
        assert_eq!(come(&mut list, &[1]), [0; 0]);
        assert_eq!(list.held(), 2);
        assert_eq!(list.arrive(0, 0), Ok(Arrival::Ready));
        assert_eq!(all(&mut list), [0, 1, 2]);
        assert_eq!(list.arrive(1, 1), Err(1));
        assert_eq!(list.held(), 0);
    }

    #[test]
    fn what_is_held_for_too_long_gives_up_what_is_missing_before_it() {
        let mut list = Sequencer::new(Order::HoldAtMost(ms(200)));
        assert_eq!(come(&mut list, &[0]), [0]);
        assert_eq!(list.arrive(2, 2), Ok(Arrival::Held(Some(ms(200)))));
        assert_eq!(list.arrive(4, 4), Ok(Arrival::Held(Some(ms(200)))));
        list.held_too_long(2);
        assert_eq!(all(&mut list), [2]);
        // 1 comes after all, and is too late; 3 is not.
        assert_eq!(list.arrive(1, 1), Err(1));
        assert_eq!(come(&mut list, &[3]), [3, 4]);
        list.held_too_long(4);
        assert_eq!(all(&mut list), [0; 0]);
    }

    #[test]
    fn the_largest_number_is_no_trap() {
        let mut list = Sequencer::new(Order::HoldAtMost(ms(1)));
        assert_eq!(list.arrive(u64::MAX, 7), Ok(Arrival::Held(Some(ms(1)))));
        list.held_too_long(u64::MAX);
        assert_eq!(all(&mut list), [7]);
        assert_eq!(list.arrive(5, 5), Err(5));
    }

    /// What comes: each number from 0 to n-1 some times, in any order.
    fn arrivals() -> impl Strategy<Value = (u64, Vec<u64>)> {
        (1_u64..30).prop_flat_map(|n| {
            let copies = prop::collection::vec(0..n, 0..30);
            copies.prop_flat_map(move |copies| {
                let numbers: Vec<u64> = (0..n).chain(copies).collect();
                (Just(n), Just(numbers).prop_shuffle())
            })
        })
    }

    proptest! {
        #[test]
        fn the_complete_order_gives_everything_once_and_in_order((n, numbers) in arrivals()) {
            let mut list = Sequencer::new(Order::Complete);
            prop_assert_eq!(come(&mut list, &numbers), (0..n).collect::<Vec<_>>());
            prop_assert_eq!(list.held(), 0);
        }

        #[test]
        fn whoever_is_held_too_long_nothing_comes_twice_or_behind_a_later_one(
            (n, numbers) in arrivals(), late in prop::collection::vec(0_u64..30, 0..10), lost in 0_u64..30,
        ) {
            let mut list = Sequencer::new(Order::HoldAtMost(ms(1)));
            let (mut given, mut late) = (Vec::new(), late.into_iter());
            for number in numbers.into_iter().filter(|&number| number != lost) {
                let _ = list.arrive(number, number);
                given.extend(all(&mut list));
                if let Some(late) = late.next() {
                    list.held_too_long(late);
                    given.extend(all(&mut list));
                }
            }
            list.held_too_long(n);
            given.extend(all(&mut list));
            prop_assert!(given.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", given);
            prop_assert_eq!(list.held(), 0);
        }
    }
}
