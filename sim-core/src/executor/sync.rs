//! Synchronisation between the tasks of one node: FIFO and deterministic.
//!
//! Who waits first is served first; a waiter that is dropped leaves the queue; nothing is decided by chance. None of these
//! may be shared by two nodes: they are not `Send`, and what a node's closure captures must be.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    ops::{Deref, DerefMut},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

// ---- semaphore ----

struct Waiter {
    id: u64,
    wanted: usize,
    waker: Waker,
    granted: bool,
}

struct SemaphoreState {
    free: usize,
    waiters: VecDeque<Waiter>,
    next_id: u64,
}

impl SemaphoreState {
    /// Serves waiters in order, as far as the permits go. A large request at the front is not overtaken.
    fn serve(&mut self) {
        for waiter in &mut self.waiters {
            if waiter.granted {
                continue;
            }
            if waiter.wanted > self.free {
                break;
            }
            self.free -= waiter.wanted;
            waiter.granted = true;
            waiter.waker.wake_by_ref();
        }
    }
}

/// A counting semaphore with a FIFO queue. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct Semaphore {
    state: Rc<RefCell<SemaphoreState>>,
}

impl Semaphore {
    /// A semaphore with that many permits.
    pub fn new(permits: usize) -> Self {
        let state = SemaphoreState { free: permits, waiters: VecDeque::new(), next_id: 0 };
        Self { state: Rc::new(RefCell::new(state)) }
    }
    /// Waits for a permit, in order of asking. Dropping the future leaves the queue; dropping the permit gives it back.
    pub fn acquire(&self) -> Acquire {
        self.acquire_many(1)
    }
    /// Waits for several permits at once.
    pub fn acquire_many(&self, wanted: usize) -> Acquire {
        Acquire { semaphore: self.clone(), wanted, id: None }
    }
    /// A permit, if one is free and nobody waits.
    pub fn try_acquire(&self) -> Option<Permit> {
        let mut state = self.state.borrow_mut();
        if state.free == 0 || state.waiters.iter().any(|w| !w.granted) {
            return None;
        }
        state.free -= 1;
        Some(Permit { semaphore: self.clone(), permits: 1 })
    }
    /// Permits that nobody holds.
    pub fn available(&self) -> usize {
        self.state.borrow().free
    }
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.state.borrow().waiters.iter().filter(|w| !w.granted).count()
    }
    /// Adds permits.
    pub fn add(&self, permits: usize) {
        let mut state = self.state.borrow_mut();
        state.free += permits;
        state.serve();
    }
}

/// See [`Semaphore::acquire`].
pub struct Acquire {
    semaphore: Semaphore,
    wanted: usize,
    id: Option<u64>,
}

impl Future for Acquire {
    type Output = Permit;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let semaphore = self.semaphore.clone();
        let mut state = semaphore.state.borrow_mut();
        let wanted = self.wanted;
        match self.id {
            None => {
                if state.waiters.is_empty() && state.free >= wanted {
                    state.free -= wanted;
                    return Poll::Ready(Permit { semaphore: self.semaphore.clone(), permits: wanted });
                }
                let id = state.next_id;
                state.next_id += 1;
                state.waiters.push_back(Waiter { id, wanted, waker: cx.waker().clone(), granted: false });
                self.id = Some(id);
                state.serve();
            }
            Some(id) => {
                let index =
                    state.waiters.iter().position(|w| w.id == id).expect("a waiter stays until it is served");
                if state.waiters[index].granted {
                    state.waiters.remove(index);
                    self.id = None;
                    return Poll::Ready(Permit { semaphore: self.semaphore.clone(), permits: wanted });
                }
                state.waiters[index].waker.clone_from(cx.waker());
            }
        }
        // A waiter that was granted at once is woken again and collects its permit then.
        Poll::Pending
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let mut state = self.semaphore.state.borrow_mut();
            if let Some(index) = state.waiters.iter().position(|w| w.id == id) {
                let waiter = state.waiters.remove(index).expect("it is there");
                if waiter.granted {
                    state.free += waiter.wanted;
                }
                state.serve();
            }
        }
    }
}

/// The right to go on; given back when dropped.
pub struct Permit {
    semaphore: Semaphore,
    permits: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.add(self.permits);
    }
}

// ---- mutex ----

/// A lock that may be held across an await. FIFO.
#[derive(Clone)]
pub struct Mutex<T> {
    semaphore: Semaphore,
    value: Rc<RefCell<T>>,
}

impl<T> Mutex<T> {
    /// An open lock around a value.
    pub fn new(value: T) -> Self {
        Self { semaphore: Semaphore::new(1), value: Rc::new(RefCell::new(value)) }
    }
    /// Waits for the lock.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        let permit = self.semaphore.acquire().await;
        MutexGuard { value: self.value.borrow_mut(), _permit: permit }
    }
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.semaphore.waiting()
    }
}

/// The held lock.
pub struct MutexGuard<'a, T> {
    value: std::cell::RefMut<'a, T>,
    _permit: Permit,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

// ---- channel ----

struct ChannelState<T> {
    items: VecDeque<T>,
    receivers: VecDeque<(u64, Waker)>,
    next_id: u64,
    senders: usize,
    closed: bool,
}

/// The sending half of a channel. Cloning gives another.
pub struct Sender<T> {
    state: Rc<RefCell<ChannelState<T>>>,
}

/// The receiving half of a channel.
pub struct Receiver<T> {
    state: Rc<RefCell<ChannelState<T>>>,
}

/// An unbounded FIFO channel.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let state = Rc::new(RefCell::new(ChannelState {
        items: VecDeque::new(),
        receivers: VecDeque::new(),
        next_id: 0,
        senders: 1,
        closed: false,
    }));
    (Sender { state: Rc::clone(&state) }, Receiver { state })
}

impl<T> Sender<T> {
    /// Puts an item at the end; gives it back where the receiver is gone.
    pub fn send(&self, item: T) -> Result<(), T> {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Err(item);
        }
        state.items.push_back(item);
        if let Some((_, waker)) = state.receivers.pop_front() {
            waker.wake();
        }
        Ok(())
    }
    /// How many items wait.
    pub fn len(&self) -> usize {
        self.state.borrow().items.len()
    }
    /// Whether no item waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.state.borrow_mut().senders += 1;
        Self { state: Rc::clone(&self.state) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.senders -= 1;
        if state.senders == 0 {
            for (_, waker) in state.receivers.drain(..) {
                waker.wake();
            }
        }
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` when all senders are gone and nothing is left.
    pub fn recv(&self) -> Recv<'_, T> {
        Recv { receiver: self, id: None }
    }
    /// The next item, if one waits.
    pub fn try_recv(&self) -> Option<T> {
        self.state.borrow_mut().items.pop_front()
    }
    /// How many items wait.
    pub fn len(&self) -> usize {
        self.state.borrow().items.len()
    }
    /// Whether no item waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let items = {
            let mut state = self.state.borrow_mut();
            state.closed = true;
            std::mem::take(&mut state.items)
        };
        drop(items); // outside the borrow: an item may hold a sender of this channel
    }
}

/// See [`Receiver::recv`].
pub struct Recv<'a, T> {
    receiver: &'a Receiver<T>,
    id: Option<u64>,
}

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let receiver = self.receiver;
        let mut state = receiver.state.borrow_mut();
        let place = self.id.and_then(|id| state.receivers.iter().position(|(other, _)| *other == id));
        if !state.items.is_empty() || state.senders == 0 {
            if let Some(place) = place {
                state.receivers.remove(place);
            }
            self.id = None;
            return Poll::Ready(state.items.pop_front());
        }
        if let Some(place) = place {
            // Polled in vain, as in a race where the other side woke the task: it keeps its place.
            state.receivers[place].1.clone_from(cx.waker());
            return Poll::Pending;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.receivers.push_back((id, cx.waker().clone()));
        self.id = Some(id);
        Poll::Pending
    }
}

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut state = self.receiver.state.borrow_mut();
        let before = state.receivers.len();
        state.receivers.retain(|(other, _)| *other != id);
        // This waiter was woken for an item that it will not take: the next one takes it.
        if state.receivers.len() == before
            && !state.items.is_empty()
            && let Some((_, waker)) = state.receivers.pop_front()
        {
            waker.wake();
        }
    }
}

// ---- oneshot ----

struct OneshotState<T> {
    value: Option<T>,
    waker: Option<Waker>,
    sender_gone: bool,
}

/// The sending half of a oneshot.
pub struct OneshotSender<T> {
    state: Rc<RefCell<OneshotState<T>>>,
}

/// The receiving half of a oneshot: a future of the value, `None` where the sender was dropped.
pub struct OneshotReceiver<T> {
    state: Rc<RefCell<OneshotState<T>>>,
}

/// A channel for one value.
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let state = Rc::new(RefCell::new(OneshotState { value: None, waker: None, sender_gone: false }));
    (OneshotSender { state: Rc::clone(&state) }, OneshotReceiver { state })
}

impl<T> OneshotSender<T> {
    /// Hands the value over.
    pub fn send(self, value: T) {
        self.state.borrow_mut().value = Some(value);
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.sender_gone = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Option<T>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.state.borrow_mut();
        if let Some(value) = state.value.take() {
            return Poll::Ready(Some(value));
        }
        if state.sender_gone {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

// ---- notify ----

/// A bell: wakes all who wait at the moment it rings.
#[derive(Clone, Default)]
pub struct Notify {
    state: Rc<NotifyState>,
}

#[derive(Default)]
struct NotifyState {
    rounds: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Notify {
    /// A bell.
    pub fn new() -> Self {
        Self::default()
    }
    /// Wakes all who wait now.
    pub fn notify_all(&self) {
        self.state.rounds.set(self.state.rounds.get() + 1);
        for waker in self.state.waiting.take() {
            waker.wake();
        }
    }
    /// Waits for the next ring after this call.
    pub fn notified(&self) -> Notified {
        Notified { state: Rc::clone(&self.state), round: self.state.rounds.get() }
    }
}

/// See [`Notify::notified`].
pub struct Notified {
    state: Rc<NotifyState>,
    round: u64,
}

impl Future for Notified {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.rounds.get() != self.round {
            return Poll::Ready(());
        }
        let mut waiting = self.state.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
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
}
