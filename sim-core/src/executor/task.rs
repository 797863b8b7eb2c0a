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

/// Tasks that were woken, in order.
#[derive(Default)]
pub(crate) struct ReadyQueue {
    // A waker must be `Send`, so safe code needs a lock here although there is only one thread; it is never contended.
    queue: Mutex<VecDeque<TaskId>>,
}

impl ReadyQueue {
    fn push(&self, task: TaskId) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
    }
    pub(crate) fn pop(&self) -> Option<TaskId> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    ready: Arc<ReadyQueue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.push(self.id);
        }
    }
}

struct TaskSlot {
    generation: u32,
    /// `None` while the task is polled.
    future: Option<TaskFuture>,
    /// The waker, and the same thing typed, to clear its mark.
    waker: Option<(Arc<TaskWaker>, Waker)>,
    node: NodeId,
    incarnation: u32,
    span: SpanIndex,
    live: bool,
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
    pub(crate) ready: Arc<ReadyQueue>,
    live: usize,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), ready: Arc::default(), live: 0 }
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
            });
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        let id = TaskId { slot, generation: entry.generation };
        entry.future = Some(future);
        (entry.node, entry.incarnation, entry.span, entry.live) = (node, incarnation, span, true);
        // The waker of the slot's last task serves again, unless somebody still holds it.
        let reused = entry.waker.take().and_then(|(typed, waker)| {
            drop(waker);
            let mut typed = typed;
            let inner = Arc::get_mut(&mut typed)?;
            inner.id = id;
            *inner.queued.get_mut() = true;
            Some(typed)
        });
        let typed = reused.unwrap_or_else(|| {
            Arc::new(TaskWaker { id, queued: AtomicBool::new(true), ready: Arc::clone(&self.ready) })
        });
        let waker = Waker::from(Arc::clone(&typed));
        entry.waker = Some((typed, waker));
        self.ready.push(id);
        id
    }

    /// Takes a woken task out for a poll.
    #[inline]
    pub(crate) fn fetch(&mut self, id: TaskId) -> Fetched {
        let slot = &mut self.slots[id.slot as usize];
        if slot.generation != id.generation || !slot.live {
            return Fetched::Gone;
        }
        let (typed, waker) = slot.waker.as_ref().expect("a live task has a waker");
        typed.queued.store(false, Ordering::Relaxed);
        let waker = waker.clone();
        match slot.future.take() {
            Some(future) => Fetched::Run(Running { future, waker, node: slot.node, span: slot.span }),
            None => Fetched::Gone,
        }
    }

    /// Puts a task at the end of the ready queue.
    pub(crate) fn wake(&mut self, id: TaskId) {
        let slot = &self.slots[id.slot as usize];
        if slot.generation == id.generation && slot.live {
            // Its waker's mark is still set from the wake that was parked, so it is in no queue yet.
            self.ready.push(id);
        }
    }

    /// The node that a task belongs to, while it lives.
    pub(crate) fn node_of(&self, id: TaskId) -> Option<NodeId> {
        let slot = &self.slots[id.slot as usize];
        (slot.generation == id.generation && slot.live).then_some(slot.node)
    }

    /// Puts a task back after a poll that left it pending; gives the future back where the task was killed meanwhile.
    #[inline]
    pub(crate) fn put_back(&mut self, id: TaskId, future: TaskFuture) -> Option<TaskFuture> {
        let slot = &mut self.slots[id.slot as usize];
        if slot.generation == id.generation && slot.live {
            slot.future = Some(future);
            None
        } else {
            Some(future)
        }
    }

    /// Ends a task; gives its future, to be dropped outside all borrows.
    pub(crate) fn end(&mut self, id: TaskId) -> Option<TaskFuture> {
        let slot = &mut self.slots[id.slot as usize];
        if slot.generation != id.generation || !slot.live {
            return None;
        }
        slot.live = false;
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
        assert!(tasks.put_back(id, running.future).is_none());
        running.waker
    }
    fn ready(tasks: &Tasks) -> Vec<TaskId> {
        std::iter::from_fn(|| tasks.ready.pop()).collect()
    }

    #[test]
    fn tasks_become_ready_in_order_and_each_once_however_often_it_is_woken() {
        let mut tasks = Tasks::new();
        let (a, b) = (spawn(&mut tasks, 0, 0), spawn(&mut tasks, 0, 0));
        assert_eq!(ready(&tasks), [a, b]);
        let (wake_a, wake_b) = (run(&mut tasks, a), run(&mut tasks, b));
        wake_b.wake_by_ref();
        wake_a.wake_by_ref();
        wake_b.wake_by_ref();
        assert_eq!(ready(&tasks), [b, a]);
        run(&mut tasks, b);
        wake_b.wake();
        assert_eq!(ready(&tasks), [b], "a poll clears the mark");
    }

    #[test]
    fn a_waker_that_outlives_its_task_wakes_nobody_in_its_place() {
        let mut tasks = Tasks::new();
        let old = spawn(&mut tasks, 0, 0);
        let waker = run(&mut tasks, old);
        drop(tasks.end(old));
        let new = spawn(&mut tasks, 0, 0);
        assert_eq!((new.slot, new != old), (old.slot, true), "the slot is used again");
        assert_eq!(ready(&tasks), [old, new]);
        assert!(matches!(tasks.fetch(old), Fetched::Gone));
        let _own = run(&mut tasks, new);
        waker.wake();
        assert!(!ready(&tasks).contains(&new));
    }

    #[test]
    fn a_slot_whose_waker_nobody_holds_uses_it_again() {
        let mut tasks = Tasks::new();
        let old = spawn(&mut tasks, 0, 0);
        drop(run(&mut tasks, old));
        drop(tasks.end(old));
        ready(&tasks);
        let new = spawn(&mut tasks, 0, 0);
        assert_eq!(ready(&tasks), [new], "it is in the queue from its start");
        let waker = run(&mut tasks, new);
        waker.wake();
        assert_eq!(ready(&tasks), [new]);
    }

    #[test]
    fn a_task_that_is_killed_while_it_is_polled_gives_its_future_back() {
        let mut tasks = Tasks::new();
        let id = spawn(&mut tasks, 3, 0);
        let Fetched::Run(running) = tasks.fetch(id) else { panic!("it lives") };
        assert_eq!(tasks.end_of_node(NodeId(3), 1).len(), 0, "its future is elsewhere");
        assert!(tasks.put_back(id, running.future).is_some());
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
