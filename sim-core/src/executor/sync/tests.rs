//! Semaphore and channel against models that are obviously right, and the rest case by case. Futures are polled by hand,
//! each with a waker that counts, so that a wake-up that is lost or given to the wrong one is seen.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::*;

use super::*;

/// A task that counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);
impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future with a waker of its own.
struct Waiting<F> {
    future: Pin<Box<F>>,
    count: Arc<Count>,
}
impl<F: Future> Waiting<F> {
    fn new(future: F) -> Self {
        Self { future: Box::pin(future), count: Arc::default() }
    }
    fn poll(&mut self) -> Poll<F::Output> {
        self.count.0.store(0, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.count));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
    fn woken(&self) -> bool {
        self.count.0.load(Ordering::Relaxed) > 0
    }
}

#[derive(Clone, Debug)]
enum Step {
    Acquire(usize),
    TryAcquire,
    Poll(usize),
    Abandon(usize),
    Release(usize),
    Add(usize),
}
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4_usize).prop_map(Step::Acquire),
        1 => Just(Step::TryAcquire),
        3 => any::<usize>().prop_map(Step::Poll),
        2 => any::<usize>().prop_map(Step::Abandon),
        4 => any::<usize>().prop_map(Step::Release),
        1 => (1..3_usize).prop_map(Step::Add),
    ]
}

/// The obvious semaphore: a number and a queue of (who, how many).
#[derive(Default)]
struct Model {
    free: usize,
    queue: VecDeque<(usize, usize)>,
    granted: Vec<(usize, usize)>,
}
impl Model {
    fn serve(&mut self) {
        while let Some(&(who, wanted)) = self.queue.front()
            && wanted <= self.free
        {
            self.free -= wanted;
            self.queue.pop_front();
            self.granted.push((who, wanted));
        }
    }
    fn wanted(&self, who: usize) -> Option<usize> {
        self.granted.iter().find(|(id, _)| *id == who).map(|(_, wanted)| *wanted)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// First come, first served, whoever gives up in between; and whoever is served has been woken.
    #[test]
    fn a_semaphore_does_what_a_queue_and_a_number_do(permits in 0..4_usize, steps in prop::collection::vec(step(), 1..60)) {
        let semaphore = Semaphore::new(permits);
        let mut model = Model { free: permits, ..Model::default() };
        let mut waiting: Vec<(usize, Waiting<Acquire>)> = Vec::new();
        let mut held: Vec<Permit> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Acquire(wanted) => {
                    let mut future = Waiting::new(semaphore.acquire_many(wanted));
                    model.queue.push_back((id, wanted));
                    model.serve();
                    match future.poll() {
                        Poll::Ready(permit) => {
                            prop_assert_eq!(model.wanted(id), Some(wanted));
                            model.granted.retain(|(who, _)| *who != id);
                            held.push(permit);
                        }
                        Poll::Pending => waiting.push((id, future)),
                    }
                }
                Step::TryAcquire => {
                    let expected = model.free > 0 && model.queue.is_empty();
                    let permit = semaphore.try_acquire();
                    prop_assert_eq!(permit.is_some(), expected);
                    model.free -= usize::from(expected);
                    held.extend(permit);
                }
                Step::Poll(n) if !waiting.is_empty() => {
                    let index = n % waiting.len();
                    let id = waiting[index].0;
                    match waiting[index].1.poll() {
                        Poll::Ready(permit) => {
                            prop_assert!(model.wanted(id).is_some(), "{} was not served yet", id);
                            model.granted.retain(|(who, _)| *who != id);
                            held.push(permit);
                            waiting.remove(index);
                        }
                        Poll::Pending => prop_assert!(model.wanted(id).is_none(), "{} was served", id),
                    }
                }
                Step::Abandon(n) if !waiting.is_empty() => {
                    let (id, future) = waiting.remove(n % waiting.len());
                    drop(future);
                    model.free += model.wanted(id).unwrap_or(0);
                    model.granted.retain(|(who, _)| *who != id);
                    model.queue.retain(|(who, _)| *who != id);
                    model.serve();
                }
                Step::Release(n) if !held.is_empty() => {
                    let permit = held.remove(n % held.len());
                    model.free += permit.permits;
                    drop(permit);
                    model.serve();
                }
                Step::Add(permits) => {
                    semaphore.add(permits);
                    model.free += permits;
                    model.serve();
                }
                _ => {}
            }
            prop_assert_eq!(semaphore.available(), model.free);
            prop_assert_eq!(semaphore.waiting(), model.queue.len());
            for (id, future) in &waiting {
                prop_assert_eq!(future.woken(), model.wanted(*id).is_some(), "waiter {}", id);
            }
        }
    }

    /// Items come out in order, none is lost with a receiver that gave up, and while items wait somebody was woken.
    #[test]
    fn a_channel_loses_neither_items_nor_wake_ups(steps in prop::collection::vec((0..5_u8, any::<usize>()), 1..80)) {
        let (sender, receiver) = channel();
        let mut waiting: Vec<Waiting<Recv<'_, u64>>> = Vec::new();
        let (mut sent, mut received) = (0, 0);
        for (kind, n) in steps {
            match kind {
                0 | 1 => {
                    sender.send(sent).unwrap();
                    sent += 1;
                }
                2 => {
                    let mut future = Waiting::new(receiver.recv());
                    match future.poll() {
                        Poll::Ready(item) => {
                            prop_assert_eq!(item, Some(received));
                            received += 1;
                        }
                        Poll::Pending => waiting.push(future),
                    }
                }
                3 if !waiting.is_empty() => {
                    let index = n % waiting.len();
                    if let Poll::Ready(item) = waiting[index].poll() {
                        prop_assert_eq!(item, Some(received));
                        received += 1;
                        waiting.remove(index);
                    }
                }
                4 if !waiting.is_empty() => drop(waiting.remove(n % waiting.len())),
                _ => {}
            }
            prop_assert_eq!(receiver.len() as u64, sent - received);
            let woken = waiting.iter().filter(|future| future.woken()).count();
            prop_assert!(woken >= waiting.len().min(receiver.len()), "{} woken of {}", woken, waiting.len());
        }
        drop(sender);
        for future in &mut waiting {
            prop_assert!(future.woken() || receiver.is_empty());
        }
    }
}

#[test]
fn who_waits_first_receives_first_even_if_polled_in_vain_meanwhile() {
    let (sender, receiver) = channel();
    let (mut first, mut second) = (Waiting::new(receiver.recv()), Waiting::new(receiver.recv()));
    assert!(first.poll().is_pending() && second.poll().is_pending());
    assert!(first.poll().is_pending(), "as in a race, where the other side woke the task");
    sender.send(1).unwrap();
    assert!(first.woken() && !second.woken());
    assert_eq!(first.poll(), Poll::Ready(Some(1)));
}

#[test]
fn a_channel_ends_when_its_senders_or_its_receiver_are_gone() {
    let (sender, receiver) = channel();
    let other = sender.clone();
    let mut waiting = Waiting::new(receiver.recv());
    assert!(waiting.poll().is_pending());
    drop(sender);
    assert!(!waiting.woken(), "another sender is left");
    other.send(5).unwrap();
    drop(other);
    assert_eq!(waiting.poll(), Poll::Ready(Some(5)));
    drop(waiting);
    assert_eq!(Waiting::new(receiver.recv()).poll(), Poll::Ready(None));
    let (sender, receiver) = channel();
    drop(receiver);
    assert_eq!(sender.send(6), Err(6));
}

#[test]
fn an_item_that_holds_a_sender_of_its_own_channel_is_dropped_in_peace() {
    struct Loop(#[allow(dead_code, reason = "held to be dropped")] Sender<Loop>);
    let (sender, receiver) = channel();
    assert!(sender.send(Loop(sender.clone())).is_ok());
    drop(receiver);
    drop(sender);
}

#[test]
fn a_lock_goes_to_who_waits_longest_and_a_waiter_that_gives_up_is_skipped() {
    let lock = Mutex::new(0);
    let mut first = Box::pin(lock.lock());
    let Poll::Ready(mut guard) = first.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("nobody holds it")
    };
    *guard += 1;
    let (mut second, mut third) = (Waiting::new(lock.lock()), Waiting::new(lock.lock()));
    assert!(second.poll().is_pending() && third.poll().is_pending());
    assert_eq!(lock.waiting(), 2);
    drop(guard);
    assert!(second.woken() && !third.woken());
    drop(second); // it was served and never came
    assert!(third.woken());
    let Poll::Ready(guard) = third.poll() else { panic!("it is free") };
    assert_eq!(*guard, 1);
}

#[test]
fn a_oneshot_gives_its_value_or_says_that_there_will_be_none() {
    let (sender, receiver) = oneshot();
    let mut receiver = Waiting::new(receiver);
    assert!(receiver.poll().is_pending());
    sender.send(3);
    assert!(receiver.woken());
    assert_eq!(receiver.poll(), Poll::Ready(Some(3)));
    let (sender, receiver) = oneshot::<u8>();
    let mut receiver = Waiting::new(receiver);
    assert!(receiver.poll().is_pending());
    drop(sender);
    assert!(receiver.woken());
    assert_eq!(receiver.poll(), Poll::Ready(None));
}

#[test]
fn a_bell_wakes_all_who_asked_before_it_rang_and_nobody_else() {
    let bell = Notify::new();
    let mut early: Vec<_> = (0..3).map(|_| Waiting::new(bell.notified())).collect();
    assert!(early[..2].iter_mut().all(|waiting| waiting.poll().is_pending()));
    drop(early.remove(0));
    bell.notify_all();
    assert!(early[0].woken());
    assert!(early.iter_mut().all(|waiting| waiting.poll().is_ready()), "polled before the ring or not");
    let mut late = Waiting::new(bell.notified());
    assert!(late.poll().is_pending() && !late.woken());
    bell.notify_all();
    assert!(late.woken() && late.poll().is_ready());
}
