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
mod tests;
