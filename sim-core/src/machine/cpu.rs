//! Processors: cores with a run queue.
//!
//! `node.work(d)` occupies one core for `d`. With all cores busy it waits: first come, first served, or sharing the cores
//! equally ([`Discipline`]). A pause stops all work where it is; a slow factor stretches what is left of it.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use serde::{Deserialize, Serialize};

use crate::{
    executor::{
        queue::{Class, EventKey},
        task::WakeTarget,
    },
    node::{Node, NodeId},
    time::{Duration, SimTime},
    world::{Core, Event},
};

/// How work shares the cores of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discipline {
    /// First come, first served: each job has a core to itself until it is done.
    #[default]
    Fifo,
    /// Processor sharing: all jobs advance at the same rate, each at most as fast as one core.
    Sharing,
}

#[derive(Default)]
struct Job {
    waker: Option<WakeTarget>,
    phase: Phase,
    /// The latest of the slow faults that have been told of it: see [`Cpu::slow_faults`].
    told: u32,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Phase {
    #[default]
    Free,
    /// In the run queue, with that much to do.
    Queued(u64),
    /// On a core: had that much to do at that time, and is done at the event.
    Running {
        left: u64,
        since: SimTime,
        event: Option<EventKey>,
    },
    /// Sharing: done when the attained service reaches this.
    Sharing {
        finish: f64,
    },
    Done,
}

/// The processor of one node.
pub(crate) struct Cpu {
    cores: u32,
    discipline: Discipline,
    slow: f64,
    /// The faults that make it slow (or fast), each with its number on this processor, so that each counts each job once.
    slow_faults: Vec<(u32, u32)>,
    slow_faults_seen: u32,
    paused: bool,
    busy: u32,
    jobs: Vec<Job>,
    free: Vec<u32>,
    queue: VecDeque<u32>,
    /// Withdrawn jobs that are still in `queue`.
    withdrawn: usize,
    sharing: Option<Box<Sharing>>,
}

#[derive(Default)]
struct Sharing {
    /// Service attained by a job that has been there since the beginning, in nanoseconds of work.
    attained: f64,
    since: SimTime,
    /// By (bits of the finish, job): the bits of non-negative doubles sort as the doubles do.
    order: BTreeMap<(u64, u32), ()>,
    event: Option<EventKey>,
}

impl Cpu {
    pub(crate) fn new(cores: u32, discipline: Discipline) -> Self {
        Self {
            cores,
            discipline,
            slow: 1.0,
            slow_faults: Vec::new(),
            slow_faults_seen: 0,
            paused: false,
            busy: 0,
            jobs: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            withdrawn: 0,
            sharing: None,
        }
    }
    fn slot(&mut self, waker: WakeTarget, phase: Phase) -> u32 {
        let job = Job { waker: Some(waker), phase, told: 0 };
        if let Some(slot) = self.free.pop() {
            self.jobs[slot as usize] = job;
            slot
        } else {
            self.jobs.push(job);
            self.jobs.len() as u32 - 1
        }
    }
    /// Jobs on cores.
    pub(crate) fn running(&self) -> usize {
        self.sharing.as_ref().map_or(self.busy as usize, |s| s.order.len())
    }
    /// Jobs that wait for a core.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len() - self.withdrawn
    }
    /// Forgets all jobs: their node has crashed. Gives their events, which must not find the jobs of the next process.
    #[must_use = "the events are to be withdrawn"]
    pub(crate) fn crash(&mut self) -> Vec<EventKey> {
        let mut next = Self::new(self.cores, self.discipline);
        (next.slow, next.paused) = (self.slow, self.paused);
        next.slow_faults = std::mem::take(&mut self.slow_faults);
        next.slow_faults_seen = self.slow_faults_seen;
        let old = std::mem::replace(self, next);
        let running = old.jobs.iter().filter_map(|job| match job.phase {
            Phase::Running { event, .. } => event,
            _ => None,
        });
        running.chain(old.sharing.and_then(|sharing| sharing.event)).collect()
    }
}

/// Elapsed time as work done at a slow factor.
fn work_done(elapsed: Duration, slow: f64) -> u64 {
    if slow == 1.0 {
        elapsed.as_nanos()
    } else {
        Duration::from_nanos_f64(elapsed.as_nanos() as f64 / slow).as_nanos()
    }
}
fn time_for(work: u64, slow: f64) -> Duration {
    let work = Duration::from_nanos(work);
    if slow == 1.0 { work } else { work.mul_f64(slow) }
}

impl Core {
    fn cpu_start(&mut self, node: NodeId, job: u32, work: u64) {
        let now = self.now;
        let cpu = &mut self.nodes[node.index()].cpu;
        cpu.busy += 1;
        let event = if cpu.paused {
            None
        } else {
            let at = now + time_for(work, cpu.slow);
            Some(self.queue.push(at, Class::Usual, Event::CpuDone { node, job }))
        };
        cpu.jobs[job as usize].phase = Phase::Running { left: work, since: now, event };
        if !cpu.slow_faults.is_empty() {
            self.cpu_slowed(node, job as usize..job as usize + 1);
        }
    }

    /// Faults that make a processor slow have touched the jobs that it works at, each once.
    #[cold]
    fn cpu_slowed(&mut self, node: NodeId, jobs: Range<usize>) {
        let cpu = &mut self.nodes[node.index()].cpu;
        if cpu.paused {
            return; // when it goes on, if they are still in force
        }
        let attained = cpu.sharing.as_ref().map_or(0.0, |sharing| sharing.attained);
        let mut touched = Vec::new();
        for job in &mut cpu.jobs[jobs] {
            let at_work = match job.phase {
                Phase::Running { left, .. } => left > 0,
                Phase::Sharing { finish } => finish > attained + 0.5,
                Phase::Free | Phase::Queued(_) | Phase::Done => false,
            };
            if at_work && job.told < cpu.slow_faults_seen {
                let new = cpu.slow_faults.iter().filter(|(_, number)| *number > job.told);
                touched.extend(new.map(|(fault, _)| *fault));
                job.told = cpu.slow_faults_seen;
            }
        }
        for fault in touched {
            self.faults_touch(fault);
        }
    }

    /// A fault makes a processor slow from now on, or does so no more; `slow` is what all of them together make of it.
    pub(crate) fn cpu_slow(&mut self, node: NodeId, fault: u32, begins: bool, slow: f64) {
        let cpu = &mut self.nodes[node.index()].cpu;
        if begins {
            cpu.slow_faults_seen += 1;
            cpu.slow_faults.push((fault, cpu.slow_faults_seen));
        } else {
            cpu.slow_faults.retain(|(of, _)| *of != fault);
        }
        self.cpu_retime(node, Some(slow), None);
    }

    pub(crate) fn cpu_submit(&mut self, node: NodeId, work: Duration, waker: WakeTarget) -> u32 {
        let cpu = &mut self.nodes[node.index()].cpu;
        if cpu.discipline == Discipline::Sharing {
            return self.cpu_share_submit(node, work, waker);
        }
        let work = work.as_nanos();
        let job = cpu.slot(waker, Phase::Queued(work));
        if cpu.busy < cpu.cores {
            self.cpu_start(node, job, work);
        } else {
            cpu.queue.push_back(job);
        }
        job
    }

    fn cpu_next(&mut self, node: NodeId) {
        let cpu = &mut self.nodes[node.index()].cpu;
        while let Some(job) = cpu.queue.pop_front() {
            match cpu.jobs[job as usize].phase {
                Phase::Queued(work) => {
                    self.cpu_start(node, job, work);
                    return;
                }
                _ => {
                    // Withdrawn while it waited; its slot was kept until now.
                    cpu.withdrawn -= 1;
                    cpu.free.push(job);
                }
            }
        }
    }

    pub(crate) fn cpu_done(&mut self, node: NodeId, job: u32) {
        let cpu = &mut self.nodes[node.index()].cpu;
        cpu.busy -= 1;
        let slot = &mut cpu.jobs[job as usize];
        slot.phase = Phase::Done;
        if let Some(target) = slot.waker.take() {
            self.tasks.wake_target(target);
        }
        self.cpu_next(node);
    }

    /// Whether a job is done; if so its slot is free again.
    fn cpu_collect(&mut self, node: NodeId, job: u32) -> bool {
        let cpu = &mut self.nodes[node.index()].cpu;
        if cpu.jobs[job as usize].phase == Phase::Done {
            cpu.jobs[job as usize].phase = Phase::Free;
            cpu.free.push(job);
            true
        } else {
            false
        }
    }

    fn cpu_withdraw(&mut self, node: NodeId, job: u32) {
        let cpu = &mut self.nodes[node.index()].cpu;
        let slot = &mut cpu.jobs[job as usize];
        slot.waker = None;
        match std::mem::take(&mut slot.phase) {
            Phase::Queued(_) => cpu.withdrawn += 1,
            Phase::Running { event, .. } => {
                cpu.busy -= 1;
                cpu.free.push(job);
                if let Some(event) = event {
                    self.queue.withdraw(event);
                }
                self.cpu_next(node);
            }
            Phase::Sharing { finish } => {
                cpu.free.push(job);
                self.cpu_share_advance(node);
                let cpu = &mut self.nodes[node.index()].cpu;
                cpu.sharing.as_mut().expect("it shares").order.remove(&(finish.to_bits(), job));
                self.cpu_share_schedule(node);
            }
            Phase::Done | Phase::Free => cpu.free.push(job),
        }
    }

    /// Another slow factor, or a pause, from now on.
    pub(crate) fn cpu_retime(&mut self, node: NodeId, slow: Option<f64>, paused: Option<bool>) {
        let now = self.now;
        self.cpu_share_advance(node);
        let cpu = &mut self.nodes[node.index()].cpu;
        let (old_slow, old_paused) = (cpu.slow, cpu.paused);
        cpu.slow = slow.unwrap_or(old_slow);
        cpu.paused = paused.unwrap_or(old_paused);
        for index in 0..cpu.jobs.len() {
            let Phase::Running { left, since, event } = cpu.jobs[index].phase else { continue };
            let left =
                if old_paused { left } else { left.saturating_sub(work_done(now.since(since), old_slow)) };
            if let Some(event) = event {
                self.queue.withdraw(event);
            }
            let event = (!cpu.paused).then(|| {
                let at = now + time_for(left, cpu.slow);
                self.queue.push(at, Class::Usual, Event::CpuDone { node, job: index as u32 })
            });
            cpu.jobs[index].phase = Phase::Running { left, since: now, event };
        }
        self.cpu_share_schedule(node);
        let cpu = &self.nodes[node.index()].cpu;
        if !cpu.slow_faults.is_empty() {
            self.cpu_slowed(node, 0..cpu.jobs.len());
        }
    }

    // ---- processor sharing ----

    fn cpu_share_submit(&mut self, node: NodeId, work: Duration, waker: WakeTarget) -> u32 {
        self.nodes[node.index()].cpu.sharing.get_or_insert_default();
        self.cpu_share_advance(node);
        let cpu = &mut self.nodes[node.index()].cpu;
        let sharing = cpu.sharing.as_ref().expect("made above");
        let finish = sharing.attained + work.as_nanos() as f64;
        let job = cpu.slot(waker, Phase::Sharing { finish });
        cpu.sharing.as_mut().expect("made above").order.insert((finish.to_bits(), job), ());
        self.cpu_share_schedule(node);
        if !self.nodes[node.index()].cpu.slow_faults.is_empty() {
            self.cpu_slowed(node, job as usize..job as usize + 1);
        }
        job
    }

    /// Brings the attained service up to now.
    fn cpu_share_advance(&mut self, node: NodeId) {
        let now = self.now;
        let cpu = &mut self.nodes[node.index()].cpu;
        let (cores, slow, paused) = (cpu.cores, cpu.slow, cpu.paused);
        let Some(sharing) = &mut cpu.sharing else { return };
        let jobs = sharing.order.len();
        if jobs == 0 {
            sharing.attained = 0.0; // nobody is there to compare with, and small numbers are exact
        } else if !paused {
            let rate = (f64::from(cores) / jobs as f64).min(1.0) / slow;
            sharing.attained += now.since(sharing.since).as_nanos() as f64 * rate;
        }
        sharing.since = now;
    }

    fn cpu_share_schedule(&mut self, node: NodeId) {
        let now = self.now;
        let cpu = &mut self.nodes[node.index()].cpu;
        let (cores, slow, paused) = (cpu.cores, cpu.slow, cpu.paused);
        let Some(sharing) = &mut cpu.sharing else { return };
        if let Some(event) = sharing.event.take() {
            self.queue.withdraw(event);
        }
        let Some((&(finish, _), ())) = sharing.order.first_key_value() else { return };
        if paused {
            return;
        }
        let rate = (f64::from(cores) / sharing.order.len() as f64).min(1.0) / slow;
        let wait = ((f64::from_bits(finish) - sharing.attained).max(0.0) / rate).ceil();
        let at = now + Duration::from_nanos(wait as u64);
        sharing.event = Some(self.queue.push(at, Class::Usual, Event::CpuShare { node }));
    }

    pub(crate) fn cpu_share_done(&mut self, node: NodeId) {
        self.cpu_share_advance(node);
        let cpu = &mut self.nodes[node.index()].cpu;
        let Some(sharing) = &mut cpu.sharing else { return };
        sharing.event = None;
        // Whoever is within a nanosecond of the end is done: the event was rounded up to a whole one.
        while let Some((&(finish, job), ())) = sharing.order.first_key_value()
            && f64::from_bits(finish) <= sharing.attained + 0.5
        {
            sharing.order.remove(&(finish, job));
            let slot = &mut cpu.jobs[job as usize];
            slot.phase = Phase::Done;
            if let Some(target) = slot.waker.take() {
                self.tasks.wake_target(target);
            }
        }
        self.cpu_share_schedule(node);
    }
}

/// Occupies a core; see [`Node::work`].
pub struct Work {
    node: Node,
    work: Duration,
    job: Option<u32>,
    done: bool,
}

impl Node {
    /// Occupies a core of this node for `work`, after waiting for one if all are busy. Pauses and slow factors stretch it.
    /// Dropping the future gives the core up. No work at all takes no time and no turn.
    pub fn work(&self, work: Duration) -> Work {
        Work { node: self.clone(), work, job: None, done: work.is_zero() }
    }
    /// How many jobs are on a core now.
    pub fn cores_busy(&self) -> usize {
        self.core().nodes[self.id().index()].cpu.running()
    }
    /// How many jobs wait for a core now.
    pub fn run_queue(&self) -> usize {
        self.core().nodes[self.id().index()].cpu.queued()
    }
}

impl Future for Work {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.done {
            return Poll::Ready(());
        }
        let id = self.node.id();
        let finished = {
            let mut core = self.node.core();
            if !self.node.is_current(&core) {
                return Poll::Pending;
            }
            match self.job {
                None => {
                    let target = core.tasks.target(cx.waker());
                    let job = core.cpu_submit(id, self.work, target);
                    drop(core);
                    self.job = Some(job);
                    return Poll::Pending;
                }
                Some(job) => {
                    let done = core.cpu_collect(id, job);
                    if !done {
                        let target = core.tasks.target(cx.waker());
                        core.nodes[id.index()].cpu.jobs[job as usize].waker = Some(target);
                    }
                    done
                }
            }
        };
        if finished {
            self.job = None;
            self.done = true;
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            let id = self.node.id();
            let mut core = self.node.core();
            if self.node.is_current(&core) {
                core.cpu_withdraw(id, job);
            }
        }
    }
}
