//! A node's disk: the pure state of [`disk`](super::disk), and how long its operations take.
//!
//! A write goes to the page cache and costs the time of a system call; reads and syncs queue for the device, one at a time,
//! so that a disk with a sync of 5 ms syncs at most 200 times a second. What is dirty when a sync reaches the device is
//! durable when it is done; a crash in between leaves what the disk's crash policy says.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::disk::{CrashPolicy, CrashReport, DiskError, DiskState, FailingSyncs, SyncTicket};
use crate::{
    executor::queue::Class,
    fault::DiskFault,
    node::{Node, NodeId},
    rng::Rng,
    time::{Duration, SimTime, ms, us},
    world::{Core, Event},
};

/// How a disk behaves. The default is a good solid-state drive without a write cache of its own: 20 us a write (into the
/// page cache), 100 us a read, 1 ms a sync, 500 MB/s, sectors of 512 bytes, no write-back by the operating system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiskSpec {
    /// A write into the page cache.
    pub write: Duration,
    /// A read from the device.
    pub read: Duration,
    /// A sync, the transfer of its data aside.
    pub fsync: Duration,
    /// Bytes a second between memory and device.
    pub bandwidth: u64,
    /// Bytes in a sector: the unit that is written whole or not at all.
    pub sector: u32,
    /// Every so often the operating system writes all dirty pages back, by itself.
    pub write_back: Option<Duration>,
    /// What a crash leaves of what was not synced.
    pub crash: CrashPolicy,
    /// How many bytes fit.
    pub capacity: Option<u64>,
}

impl Default for DiskSpec {
    fn default() -> Self {
        Self {
            write: us(20),
            read: us(100),
            fsync: ms(1),
            bandwidth: 500_000_000,
            sector: 512,
            write_back: None,
            crash: CrashPolicy::default(),
            capacity: None,
        }
    }
}

enum Request {
    Write { file: String, offset: Option<u64>, bytes: Vec<u8> },
    Read { file: String, offset: u64, len: u64 },
    Sync { file: String },
    SyncDirectory,
}

enum Answer {
    Nothing,
    Offset(u64),
    Bytes(Vec<u8>),
}

struct Operation {
    request: Option<Request>,
    ticket: Option<SyncTicket>,
    waker: Option<Waker>,
    done: Option<Result<Answer, DiskError>>,
    abandoned: bool,
}

/// The disk of one node, made at its first use.
pub(crate) struct Drive {
    pub(crate) spec: DiskSpec,
    inner: Option<Box<Inner>>,
}

struct Inner {
    state: DiskState,
    rng: Rng,
    operations: Vec<Operation>,
    free: Vec<u32>,
    /// What waits for the device; the first is on it.
    device: VecDeque<u32>,
    writes_until: SimTime,
    slow: f64,
    /// The faults that make operations fail.
    io_fault: Option<u32>,
    sync_fault: Option<u32>,
    full_fault: Option<u32>,
    slow_fault: Option<u32>,
    policy: CrashPolicy,
    policy_fault: Option<u32>,
}

impl Inner {
    /// The fault by which a file cannot have that length, in bytes; none where it would not fit on the disk anyway.
    fn fault_without_room(&self, file: &str, length: u64, spec: DiskSpec) -> Option<u32> {
        self.full_fault.filter(|_| self.state.would_fit(file, length, spec.capacity))
    }
}

impl Drive {
    pub(crate) fn new(spec: DiskSpec) -> Self {
        Self { spec, inner: None }
    }
}

impl Core {
    fn drive(&mut self, node: NodeId) -> &mut Inner {
        let state = &mut self.nodes[node.index()];
        let spec = state.drive.spec;
        if state.drive.inner.is_none() {
            let key = state.key.fork("disk");
            let mut disk = DiskState::new(spec.sector);
            disk.set_capacity(spec.capacity);
            state.drive.inner = Some(Box::new(Inner {
                state: disk,
                rng: Rng::new(&key),
                operations: Vec::new(),
                free: Vec::new(),
                device: VecDeque::new(),
                writes_until: SimTime::ZERO,
                slow: 1.0,
                io_fault: None,
                sync_fault: None,
                full_fault: None,
                slow_fault: None,
                policy: spec.crash,
                policy_fault: None,
            }));
            if let Some(period) = spec.write_back {
                // On whole multiples of the period, since the system booted with the run.
                let next = period * (self.now.as_nanos() / period.as_nanos().max(1) + 1);
                self.queue.push(SimTime::ZERO + next, Class::Usual, Event::WriteBack { node });
            }
        }
        self.nodes[node.index()].drive.inner.as_mut().expect("made above")
    }

    /// The operating system's own write-back of everything dirty.
    pub(crate) fn write_back(&mut self, node: NodeId) {
        let Some(period) = self.nodes[node.index()].drive.spec.write_back else { return };
        let powered = self.nodes[node.index()].powered;
        let inner = self.drive(node);
        if powered {
            // It competes for nothing here: its share of the device is small, and nobody waits for it.
            let failed = inner.state.sync_all().is_err();
            if failed && let Some(fault) = inner.io_fault.or(inner.sync_fault) {
                self.faults_touch(fault);
            }
        }
        self.queue.push(self.now + period, Class::Usual, Event::WriteBack { node });
    }

    fn disk_submit(&mut self, node: NodeId, incarnation: u32, request: Request, waker: Waker) -> u32 {
        let spec = self.nodes[node.index()].drive.spec;
        let now = self.now;
        let inner = self.drive(node);
        let is_write = matches!(request, Request::Write { .. });
        let operation = Operation {
            request: Some(request),
            ticket: None,
            waker: Some(waker),
            done: None,
            abandoned: false,
        };
        let slot = if let Some(slot) = inner.free.pop() {
            inner.operations[slot as usize] = operation;
            slot
        } else {
            inner.operations.push(operation);
            inner.operations.len() as u32 - 1
        };
        if is_write {
            let cost = spec.write.mul_f64(inner.slow);
            inner.writes_until = inner.writes_until.max(now) + cost;
            let at = inner.writes_until;
            let slowed_by = inner.slow_fault.filter(|_| cost != spec.write);
            self.queue.push(at, Class::Usual, Event::DiskDone { node, incarnation, operation: slot });
            if let Some(fault) = slowed_by {
                self.faults_touch(fault);
            }
        } else {
            inner.device.push_back(slot);
            if inner.device.len() == 1 {
                self.device_start(node, incarnation);
            }
        }
        slot
    }

    /// The operation at the head of the queue reaches the device.
    fn device_start(&mut self, node: NodeId, incarnation: u32) {
        let spec = self.nodes[node.index()].drive.spec;
        let now = self.now;
        let inner = self.drive(node);
        let Some(&slot) = inner.device.front() else { return };
        let operation = &mut inner.operations[slot as usize];
        let (base, bytes) = match operation.request.as_ref().expect("it was not answered") {
            Request::Read { len, .. } => (spec.read, *len),
            Request::Sync { file } => match inner.state.begin_sync(file) {
                Ok(ticket) => {
                    let bytes = ticket.bytes();
                    operation.ticket = Some(ticket);
                    (spec.fsync, bytes)
                }
                Err(_) => (spec.fsync, 0),
            },
            Request::SyncDirectory | Request::Write { .. } => (spec.fsync, 0),
        };
        let transfer = Duration::from_nanos(
            (u128::from(bytes) * 1_000_000_000 / u128::from(spec.bandwidth.max(1))) as u64,
        );
        let cost = (base + transfer).mul_f64(inner.slow);
        let slowed_by = inner.slow_fault.filter(|_| cost != base + transfer);
        let at = now + cost;
        self.queue.push(at, Class::Usual, Event::DiskDone { node, incarnation, operation: slot });
        if let Some(fault) = slowed_by {
            self.faults_touch(fault);
        }
    }

    pub(crate) fn disk_done(&mut self, node: NodeId, incarnation: u32, slot: u32) {
        if self.nodes[node.index()].incarnation != incarnation {
            return; // the process that asked is no more, and its operations with it
        }
        let spec = self.nodes[node.index()].drive.spec;
        let inner = self.drive(node);
        let operation = &mut inner.operations[slot as usize];
        let request = operation.request.take().expect("it was not answered");
        let ticket = operation.ticket.take();
        let on_device = !matches!(request, Request::Write { .. });
        let mut fault = None;
        let answer = match request {
            Request::Write { file, offset, bytes } => {
                let written = match offset {
                    Some(offset) => inner.state.write_at(&file, offset, &bytes).map(|()| offset),
                    None => inner.state.append(&file, &bytes),
                };
                if written == Err(DiskError::NoSpace) {
                    let offset = offset.unwrap_or_else(|| inner.state.len(&file).unwrap_or(0));
                    fault = inner.fault_without_room(&file, offset.saturating_add(bytes.len() as u64), spec);
                }
                written.map(Answer::Offset)
            }
            Request::Read { file, offset, len } => {
                inner.state.read(&file, offset, len).map(|bytes| Answer::Bytes(bytes.to_vec()))
            }
            Request::Sync { file } => match ticket {
                Some(ticket) => inner.state.complete_sync(ticket).map(|()| Answer::Nothing),
                None => inner.state.fsync(&file).map(|()| Answer::Nothing),
            },
            Request::SyncDirectory => inner.state.sync_directory().map(|()| Answer::Nothing),
        };
        if matches!(answer, Err(DiskError::Io)) {
            fault = inner.io_fault.or(inner.sync_fault);
        }
        let operation = &mut inner.operations[slot as usize];
        operation.done = Some(answer);
        if let Some(waker) = operation.waker.take() {
            waker.wake();
        }
        if operation.abandoned {
            inner.free.push(slot);
        }
        if on_device {
            inner.device.pop_front();
            self.device_start(node, incarnation);
        }
        if let Some(fault) = fault {
            self.faults_touch(fault);
        }
    }

    /// What a crash does to the disk.
    pub(crate) fn crash_drive(&mut self, node: NodeId) {
        let now = self.now;
        let spec = self.nodes[node.index()].drive.spec;
        let Some(inner) = &mut self.nodes[node.index()].drive.inner else { return };
        inner.operations.clear();
        inner.free.clear();
        inner.device.clear();
        inner.writes_until = now;
        let policy = inner.policy;
        // What the disk's own policy would have left, where a fault has set another: the same chance, asked on a copy.
        let own = inner.policy_fault.filter(|_| policy != spec.crash).map(|fault| {
            let (mut state, mut rng) = (inner.state.clone(), inner.rng.clone());
            state.crash(spec.crash, &mut || rng.next_u64());
            (fault, state)
        });
        let rng = &mut inner.rng;
        let report: CrashReport = inner.state.crash(policy, &mut || rng.next_u64());
        let fault = own.filter(|(_, own)| !inner.state.reads_as(own)).map(|(fault, _)| fault);
        if report.writes_lost + report.writes_torn + report.writes_kept > 0 {
            let text = format!(
                "{} writes lost, {} torn, {} kept",
                report.writes_lost, report.writes_torn, report.writes_kept
            );
            self.recorder.state(now, crate::record::NodeIndex(node.0), "disk after crash", &text);
        }
        if let Some(fault) = fault {
            self.faults_touch(fault);
        }
    }

    /// Sets or ends a disk fault; gives whether that alone has changed something (a bit has rotted).
    pub(crate) fn disk_fault(&mut self, node: NodeId, fault: u32, kind: &DiskFault, on: bool) -> bool {
        let spec = self.nodes[node.index()].drive.spec;
        let marker = on.then_some(fault);
        let inner = self.drive(node);
        match kind {
            DiskFault::Rot(file) => {
                if on {
                    let file = (!file.is_empty()).then_some(file.as_str());
                    let rng = &mut inner.rng;
                    return inner.state.rot(file, &mut || rng.next_u64()).is_some();
                }
            }
            DiskFault::IoError => {
                inner.state.fail_io(on);
                inner.io_fault = marker;
            }
            DiskFault::FailSync => {
                inner.state.fail_syncs(if on { FailingSyncs::All } else { FailingSyncs::None });
                inner.sync_fault = marker;
            }
            DiskFault::Full => {
                let used = inner.state.used_bytes();
                inner.state.set_capacity(if on { Some(used) } else { spec.capacity });
                inner.full_fault = marker;
            }
            DiskFault::Slow(factor) => {
                inner.slow = if on { *factor } else { 1.0 };
                inner.slow_fault = marker;
            }
            DiskFault::CrashPolicy(policy) => {
                inner.policy = if on { *policy } else { spec.crash };
                inner.policy_fault = marker;
            }
        }
        false
    }

    pub(crate) fn disk_state(&mut self, node: NodeId) -> &mut DiskState {
        &mut self.drive(node).state
    }
}

/// The disk of a node, as its code sees it.
#[derive(Clone)]
pub struct Disk {
    node: Node,
}

/// A file of a node's disk.
#[derive(Clone)]
pub struct File {
    node: Node,
    name: String,
}

impl Node {
    /// This node's disk. What is written and synced outlives a crash, nothing else does.
    pub fn disk(&self) -> Disk {
        Disk { node: self.clone() }
    }
    /// A file of this node's disk; it exists from its first write on.
    pub fn file(&self, name: impl Into<String>) -> File {
        File { node: self.clone(), name: name.into() }
    }
}

impl Disk {
    fn state<T>(&self, act: impl FnOnce(&mut DiskState) -> T) -> Option<T> {
        let mut core = self.node.core();
        if !self.node.is_current(&core) {
            return None;
        }
        Some(act(core.disk_state(self.node.id())))
    }
    /// A change that takes no time and may fail; `length`: of which file it sets the length, and to what.
    fn change(
        &self,
        length: Option<(&str, u64)>,
        act: impl FnOnce(&mut DiskState) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let mut core = self.node.core();
        if !self.node.is_current(&core) {
            return Ok(());
        }
        let id = self.node.id();
        let spec = core.nodes[id.index()].drive.spec;
        let inner = core.drive(id);
        let result = act(&mut inner.state);
        let fault = match (result, length) {
            (Err(DiskError::Io), _) => inner.io_fault,
            (Err(DiskError::NoSpace), Some((file, length))) => inner.fault_without_room(file, length, spec),
            _ => None,
        };
        if let Some(fault) = fault {
            core.faults_touch(fault);
        }
        result
    }
    /// The files whose names begin with `prefix`, sorted. Directories are cached: it takes no time.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        self.state(|d| d.list(prefix).into_iter().map(str::to_owned).collect()).unwrap_or_default()
    }
    /// Renames a file, replacing what has that name: atomic, durable after [`Disk::sync_directory`].
    ///
    /// # Errors
    /// When there is no such file, or the disk fails.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.change(None, |d| d.rename(from, to))
    }
    /// Deletes a file; durable after [`Disk::sync_directory`].
    ///
    /// # Errors
    /// When there is no such file, or the disk fails.
    pub fn delete(&self, name: &str) -> Result<(), DiskError> {
        self.change(None, |d| d.delete(name))
    }
    /// Makes renames and deletes durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn sync_directory(&self) -> Result<(), DiskError> {
        operate(&self.node, Request::SyncDirectory).await.map(drop)
    }
    /// Bytes that are not durable yet.
    pub fn dirty_bytes(&self) -> u64 {
        self.state(|d| d.dirty_bytes()).unwrap_or(0)
    }
}

impl File {
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Adds bytes at the end, in the page cache; gives where they begin.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub async fn append(&self, bytes: &[u8]) -> Result<u64, DiskError> {
        let request = Request::Write { file: self.name.clone(), offset: None, bytes: bytes.to_vec() };
        match operate(&self.node, request).await? {
            Answer::Offset(offset) => Ok(offset),
            Answer::Nothing | Answer::Bytes(_) => unreachable!("an append answers with its offset"),
        }
    }
    /// Writes bytes at an offset, in the page cache; a gap before it is zeros.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub async fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let request = Request::Write { file: self.name.clone(), offset: Some(offset), bytes: bytes.to_vec() };
        operate(&self.node, request).await.map(drop)
    }
    /// Reads bytes; fewer at the end of the file.
    ///
    /// # Errors
    /// When there is no such file, or the disk fails.
    pub async fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, DiskError> {
        let request = Request::Read { file: self.name.clone(), offset, len };
        match operate(&self.node, request).await? {
            Answer::Bytes(bytes) => Ok(bytes),
            Answer::Nothing | Answer::Offset(_) => unreachable!("a read answers with bytes"),
        }
    }
    /// Reads all of it; empty where it does not exist.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn read_all(&self) -> Result<Vec<u8>, DiskError> {
        let len = self.len();
        if len == 0 { Ok(Vec::new()) } else { self.read(0, len).await }
    }
    /// Makes what was written before durable.
    ///
    /// # Errors
    /// When the disk fails: then what was written may be lost for good, whatever a later sync says.
    pub async fn sync(&self) -> Result<(), DiskError> {
        operate(&self.node, Request::Sync { file: self.name.clone() }).await.map(drop)
    }
    /// Its length; 0 where it does not exist. Cached: it takes no time.
    pub fn len(&self) -> u64 {
        Disk { node: self.node.clone() }.state(|d| d.len(&self.name).unwrap_or(0)).unwrap_or(0)
    }
    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether it exists.
    pub fn exists(&self) -> bool {
        Disk { node: self.node.clone() }.state(|d| d.exists(&self.name)).unwrap_or(false)
    }
    /// Cuts it to a length; durable with the next sync.
    ///
    /// # Errors
    /// When there is no such file, or the disk fails.
    pub fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.node.disk().change(Some((&self.name, len)), |d| d.truncate(&self.name, len))
    }
    /// Fills it with zeros up to a length, durably: as a database does when it is installed, before the run.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn preallocate(&self, len: u64) -> Result<(), DiskError> {
        self.node.disk().change(Some((&self.name, len)), |d| d.preallocate(&self.name, len))
    }
}

fn operate(node: &Node, request: Request) -> Operate {
    Operate { node: node.clone(), request: Some(request), slot: None }
}

struct Operate {
    node: Node,
    request: Option<Request>,
    slot: Option<u32>,
}

impl Future for Operate {
    type Output = Result<Answer, DiskError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (id, incarnation) = (this.node.id(), this.node.incarnation_number());
        let mut core = this.node.core();
        if !this.node.is_current(&core) {
            return Poll::Pending;
        }
        let Some(slot) = this.slot else {
            let request = this.request.take().expect("an operation is submitted once");
            this.slot = Some(core.disk_submit(id, incarnation, request, cx.waker().clone()));
            return Poll::Pending;
        };
        let inner = core.drive(id);
        let operation = &mut inner.operations[slot as usize];
        match operation.done.take() {
            Some(answer) => {
                inner.free.push(slot);
                this.slot = None;
                Poll::Ready(answer)
            }
            None => {
                operation.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Operate {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let id = self.node.id();
        let mut core = self.node.core();
        if self.node.is_current(&core) {
            // The device goes on: what was asked for happens, and nobody hears of it.
            let inner = core.drive(id);
            let operation = &mut inner.operations[slot as usize];
            if operation.done.take().is_some() {
                inner.free.push(slot);
            } else {
                operation.abandoned = true;
                operation.waker = None;
            }
        }
    }
}
