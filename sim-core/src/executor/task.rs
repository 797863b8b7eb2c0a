//! Tasks: boxed futures in a slab, woken through a FIFO ready queue.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use crate::{node::NodeId, record::SpanIndex};

/// What a task runs.
pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Names a task; never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskId {
    slot: u32,
    generation: u32,
}

/// Tasks that wakers have woken, in order. A waker must be `Send`, so safe code needs a lock here although there is only
/// one thread; it is never contended. Most wake-ups do not come this way: see [`WakeTarget`].
#[derive(Default)]
pub(crate) struct SharedReady {
    queue: Mutex<VecDeque<TaskId>>,
    waiting: AtomicBool,
}

impl SharedReady {
    fn push(&self, task: TaskId) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
        self.waiting.store(true, Ordering::Relaxed);
    }
}

struct TaskWaker {
    id: TaskId,
    ready: Arc<SharedReady>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.push(self.id);
    }
}

/// Whom to wake: a task of this run, named, or a waker that some combinator has made. Naming the task costs nothing,
/// where a waker costs two atomic operations and a lock.
pub(crate) enum WakeTarget {
    Task(TaskId),
    Waker(Waker),
}

#[repr(align(64))]
struct TaskSlot {
    generation: u32,
    /// `None` while the task is polled.
    future: Option<TaskFuture>,
    /// `None` while the task is polled.
    waker: Option<Waker>,
    node: NodeId,
    incarnation: u32,
    span: SpanIndex,
    live: bool,
    /// Woken and not yet polled: it is in the ready queue, or parked.
    queued: bool,
}

/// A task on its way to a poll.
pub(crate) struct Running {
    pub(crate) future: TaskFuture,
    pub(crate) waker: Waker,
    pub(crate) node: NodeId,
    pub(crate) span: SpanIndex,
}

/// What the ready queue gave.
pub(crate) enum Fetched {
    /// Poll it.
    Run(Running),
    /// It has ended in the meantime.
    Gone,
}

/// All tasks of a run.
pub(crate) struct Tasks {
    slots: Vec<TaskSlot>,
    free: Vec<u32>,
    /// Woken tasks, in order; those of `shared` that came earlier are taken in before each push.
    ready: VecDeque<TaskId>,
    shared: Arc<SharedReady>,
    /// The task that is polled, and what its own waker points to.
    current: Option<(TaskId, *const ())>,
    live: usize,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            shared: Arc::default(),
            current: None,
            live: 0,
        }
    }

    /// Adds a task and puts it at the end of the ready queue.
    pub(crate) fn spawn(
        &mut self,
        future: TaskFuture,
        node: NodeId,
        incarnation: u32,
        span: SpanIndex,
    ) -> TaskId {
        self.live += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(TaskSlot {
                generation: 0,
                future: None,
                waker: None,
                node,
                incarnation,
                span,
                live: false,
                queued: false,
            });
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        let id = TaskId { slot, generation: entry.generation };
        entry.future = Some(future);
        (entry.node, entry.incarnation, entry.span, entry.live) = (node, incarnation, span, true);
        entry.waker = Some(Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.shared) })));
        self.push_ready(id);
        id
    }

    /// Takes in what wakers have woken.
    #[cold]
    fn take_shared(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        shared.waiting.store(false, Ordering::Relaxed);
        for id in queue.drain(..) {
            self.mark_ready(id);
        }
    }
    /// Puts a task at the end of the ready queue, unless it is there already or is no more.
    #[inline]
    fn mark_ready(&mut self, id: TaskId) {
        let slot = &mut self.slots[id.slot as usize];
        if slot.generation == id.generation && slot.live && !slot.queued {
            slot.queued = true;
            self.ready.push_back(id);
        }
    }
    #[inline]
    fn push_ready(&mut self, id: TaskId) {
        if self.shared.waiting.load(Ordering::Relaxed) {
            self.take_shared();
        }
        self.mark_ready(id);
    }
    /// The task that was woken first.
    #[inline]
    pub(crate) fn pop_ready(&mut self) -> Option<TaskId> {
        if self.shared.waiting.load(Ordering::Relaxed) {
            self.take_shared();
        }
        self.ready.pop_front()
    }

    /// Whom to wake for this waker: the task that is polled now, if the waker is its own.
    #[inline]
    pub(crate) fn target(&self, waker: &Waker) -> WakeTarget {
        match self.current {
            // Only compared: which task is woken does not depend on where it lies.
            Some((id, data)) if std::ptr::eq(waker.data(), data) => WakeTarget::Task(id),
            _ => WakeTarget::Waker(waker.clone()),
        }
    }
    /// Whether the target is what this waker wakes.
    #[inline]
    pub(crate) fn is_target(&self, target: &WakeTarget, waker: &Waker) -> bool {
        match target {
            WakeTarget::Task(id) => {
                self.current.is_some_and(|(c, data)| c == *id && std::ptr::eq(waker.data(), data))
            }
            WakeTarget::Waker(other) => other.will_wake(waker),
        }
    }
    #[inline]
    pub(crate) fn wake_target(&mut self, target: WakeTarget) {
        match target {
            WakeTarget::Task(id) => self.push_ready(id),
            WakeTarget::Waker(waker) => waker.wake(),
        }
    }

    /// Takes a woken task out for a poll.
    #[inline]
    pub(crate) fn fetch(&mut self, id: TaskId) -> Fetched {
        let slot = &mut self.slots[id.slot as usize];
        if slot.generation != id.generation || !slot.live {
            return Fetched::Gone;
        }
        slot.queued = false;
        match (slot.future.take(), slot.waker.take()) {
            (Some(future), Some(waker)) => {
                self.current = Some((id, waker.data()));
                Fetched::Run(Running { future, waker, node: slot.node, span: slot.span })
            }
            _ => Fetched::Gone,
        }
    }

    /// Puts a parked task back at the end of the ready queue.
    pub(crate) fn unpark(&mut self, id: TaskId) {
        let slot = &mut self.slots[id.slot as usize];
        if slot.generation == id.generation {
            slot.queued = false;
        }
        self.push_ready(id);
    }

    /// The node that a task belongs to, while it lives.
    pub(crate) fn node_of(&self, id: TaskId) -> Option<NodeId> {
        let slot = &self.slots[id.slot as usize];
        (slot.generation == id.generation && slot.live).then_some(slot.node)
    }

    /// Puts a task back after a poll that left it pending; gives the future back where the task was killed meanwhile.
    #[inline]
    pub(crate) fn put_back(&mut self, id: TaskId, running: Running) -> Option<Running> {
        self.current = None;
        let slot = &mut self.slots[id.slot as usize];
        if slot.generation == id.generation && slot.live {
            slot.future = Some(running.future);
            slot.waker = Some(running.waker);
            None
        } else {
            Some(running)
        }
    }
    /// After the last poll of a task.
    pub(crate) fn finished(&mut self, id: TaskId) {
        self.current = None;
        self.end(id);
    }

    /// Ends a task; gives its future, to be dropped outside all borrows.
    pub(crate) fn end(&mut self, id: TaskId) -> Option<TaskFuture> {
        let slot = &mut self.slots[id.slot as usize];
        if slot.generation != id.generation || !slot.live {
            return None;
        }
        slot.live = false;
        slot.queued = false;
        slot.waker = None;
        self.live -= 1;
        self.free.push(id.slot);
        slot.future.take()
    }

    /// Ends all tasks of a node that belong to an incarnation before `incarnation`.
    pub(crate) fn end_of_node(&mut self, node: NodeId, incarnation: u32) -> Vec<TaskFuture> {
        let doomed: Vec<TaskId> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.live && slot.node == node && slot.incarnation < incarnation)
            .map(|(index, slot)| TaskId { slot: index as u32, generation: slot.generation })
            .collect();
        doomed.into_iter().filter_map(|id| self.end(id)).collect()
    }

    /// Ends everything.
    pub(crate) fn clear(&mut self) -> Vec<TaskFuture> {
        self.live = 0;
        self.ready.clear();
        self.slots.drain(..).filter_map(|slot| slot.future).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> TaskFuture {
        Box::pin(std::future::pending())
    }
    fn spawn(tasks: &mut Tasks, node: u32, incarnation: u32) -> TaskId {
        tasks.spawn(idle(), NodeId(node), incarnation, SpanIndex::NONE)
    }
    fn run(tasks: &mut Tasks, id: TaskId) -> Waker {
        let Fetched::Run(running) = tasks.fetch(id) else { panic!("it lives") };
        let waker = running.waker.clone();
        assert!(tasks.put_back(id, running).is_none());
        waker
    }
    fn ready(tasks: &mut Tasks) -> Vec<TaskId> {
        std::iter::from_fn(|| tasks.pop_ready()).collect()
    }

    #[test]
    fn tasks_become_ready_in_order_and_each_once_however_often_it_is_woken() {
        let mut tasks = Tasks::new();
        let (a, b) = (spawn(&mut tasks, 0, 0), spawn(&mut tasks, 0, 0));
        assert_eq!(ready(&mut tasks), [a, b]);
        let (wake_a, wake_b) = (run(&mut tasks, a), run(&mut tasks, b));
        wake_b.wake_by_ref();
        wake_a.wake_by_ref();
        wake_b.wake_by_ref();
        assert_eq!(ready(&mut tasks), [b, a]);
        run(&mut tasks, b);
        wake_b.wake();
        assert_eq!(ready(&mut tasks), [b], "a poll clears the mark");
    }

    #[test]
    fn a_task_woken_by_its_name_and_one_woken_by_its_waker_keep_their_order() {
        let mut tasks = Tasks::new();
        let ids: Vec<TaskId> = (0..3).map(|_| spawn(&mut tasks, 0, 0)).collect();
        ready(&mut tasks);
        let mut wake = Vec::new();
        for &id in &ids {
            let Fetched::Run(running) = tasks.fetch(id) else { panic!("it lives") };
            let target = tasks.target(&running.waker);
            assert!(matches!(target, WakeTarget::Task(_)) && tasks.is_target(&target, &running.waker));
            assert!(!tasks.is_target(&target, Waker::noop()));
            assert!(matches!(tasks.target(Waker::noop()), WakeTarget::Waker(_)));
            wake.push((target, running.waker.clone()));
            tasks.put_back(id, running);
        }
        let (name_of_1, waker_of_1) = wake.remove(1);
        let [(name_of_0, _), (name_of_2, waker_of_2)] = wake.try_into().ok().expect("two are left");
        waker_of_2.wake_by_ref();
        tasks.wake_target(name_of_1);
        waker_of_1.wake();
        tasks.wake_target(name_of_2);
        tasks.wake_target(name_of_0);
        assert_eq!(ready(&mut tasks), [ids[2], ids[1], ids[0]]);
    }

    #[test]
    fn a_waker_that_outlives_its_task_wakes_nobody_in_its_place() {
        let mut tasks = Tasks::new();
        let old = spawn(&mut tasks, 0, 0);
        let waker = run(&mut tasks, old);
        drop(tasks.end(old));
        let new = spawn(&mut tasks, 0, 0);
        assert_eq!((new.slot, new != old), (old.slot, true), "the slot is used again");
        assert_eq!(ready(&mut tasks), [old, new]);
        assert!(matches!(tasks.fetch(old), Fetched::Gone));
        let _own = run(&mut tasks, new);
        waker.wake();
        assert!(!ready(&mut tasks).contains(&new));
    }

    #[test]
    fn a_slot_whose_waker_nobody_holds_uses_it_again() {
        let mut tasks = Tasks::new();
        let old = spawn(&mut tasks, 0, 0);
        drop(run(&mut tasks, old));
        drop(tasks.end(old));
        ready(&mut tasks);
        let new = spawn(&mut tasks, 0, 0);
        assert_eq!(ready(&mut tasks), [new], "it is in the queue from its start");
        let waker = run(&mut tasks, new);
        waker.wake();
        assert_eq!(ready(&mut tasks), [new]);
    }

    #[test]
    fn a_task_that_is_killed_while_it_is_polled_gives_its_future_back() {
        let mut tasks = Tasks::new();
        let id = spawn(&mut tasks, 3, 0);
        let Fetched::Run(running) = tasks.fetch(id) else { panic!("it lives") };
        assert_eq!(tasks.end_of_node(NodeId(3), 1).len(), 0, "its future is elsewhere");
        assert!(tasks.put_back(id, running).is_some());
        assert!(matches!(tasks.fetch(id), Fetched::Gone));
    }

    #[test]
    fn the_end_of_a_node_takes_the_tasks_of_its_old_incarnations_alone() {
        let mut tasks = Tasks::new();
        let old = spawn(&mut tasks, 3, 0);
        let new = spawn(&mut tasks, 3, 1);
        let other = spawn(&mut tasks, 4, 0);
        assert_eq!(tasks.end_of_node(NodeId(3), 1).len(), 1);
        assert_eq!(tasks.node_of(old), None);
        assert_eq!((tasks.node_of(new), tasks.node_of(other)), (Some(NodeId(3)), Some(NodeId(4))));
        assert_eq!(tasks.live, 2);
        assert_eq!(tasks.clear().len(), 2);
    }
}
