//! The world's state, and what happens when an event comes up.
//!
//! Everything of a run lives in one [`Core`] behind one cell: it is borrowed for a moment by each call of a node's handle
//! and by the dispatcher, never while a node's code runs. Futures and other things with a `Drop` of their own are thrown on
//! a graveyard and dropped by the main loop outside all borrows.

use std::{
    any::Any,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::{Deref, DerefMut},
    rc::Rc,
};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::{
    executor::{
        queue::{Class, EventQueue, Next},
        task::{TaskFuture, TaskId, Tasks, WakeTarget},
    },
    fault::engine::FaultEngine,
    machine::{clock::Clock, cpu::Cpu, drive::Drive, memory::Memory},
    net::{Network, Route, datagram::MailboxSlot, interface::Interface, rpc::Calls, stream::ListenerSlot},
    node::{Node, NodeId, NodeSpec},
    protocol::host::HostSlot,
    record::{Ending, Name, NodeIndex, Recorder, RunHash, SpanIndex},
    rng::Key,
    time::{Monotonic, SimTime},
};

/// The cell that all handles point to.
pub(crate) struct World {
    pub(crate) core: RefCell<Core>,
}

/// Something that will happen at a time.
pub(crate) enum Event {
    /// A sleeping task wakes. The reading is kept so that a change of the clock's drift can move the event.
    Wake { target: WakeTarget, node: NodeId, deadline: Monotonic },
    /// A packet reaches its receiver, late: it had to wait for its node to wake.
    Arrive { packet: u32 },
    /// A client's patience with a call ends.
    CallDeadline { call: u32, generation: u32, node: NodeId, deadline: Monotonic },
    /// A lost segment, or handshake packet, is sent again.
    Retransmit { packet: u32 },
    /// A job is done.
    CpuDone { node: NodeId, job: u32 },
    /// With processor sharing: the next job is done.
    CpuShare { node: NodeId },
    /// A disk operation is done.
    DiskDone { node: NodeId, incarnation: u32, operation: u32 },
    /// The operating system writes dirty pages back.
    WriteBack { node: NodeId },
    /// A protocol's timer.
    HostTimer { node: NodeId, incarnation: u32, host: u32, timer: u64, deadline: Monotonic },
    /// A fault takes hold, or is undone.
    Fault { fault: u32, begin: bool },
}

impl Event {
    /// The node that must be awake for it.
    fn owner(&self, core: &Core) -> Option<NodeId> {
        match self {
            Self::Wake { node, .. } | Self::CallDeadline { node, .. } | Self::HostTimer { node, .. } => {
                Some(*node)
            }
            Self::Arrive { packet } => Some(core.net.on_the_wire(*packet).to),
            Self::Retransmit { packet } => Some(core.net.on_the_wire(*packet).from),
            // The disk and the kernel go on while a process stands still; what they wake waits.
            Self::DiskDone { .. } | Self::WriteBack { .. } => None,
            Self::CpuDone { .. } | Self::CpuShare { .. } | Self::Fault { .. } => None,
        }
    }
    /// Timers follow the node's clock: the reading that they wait for.
    pub(crate) fn local_deadline(&self, of: NodeId) -> Option<Monotonic> {
        match self {
            Self::Wake { node, deadline, .. }
            | Self::CallDeadline { node, deadline, .. }
            | Self::HostTimer { node, deadline, .. }
                if *node == of =>
            {
                Some(*deadline)
            }
            _ => None,
        }
    }
}

/// What piles up while a node stands still.
#[derive(Default)]
pub(crate) struct Frozen {
    events: Vec<Event>,
    tasks: Vec<TaskId>,
    /// The faults that hold it: pauses may overlap.
    by: Vec<u32>,
}

/// The code that a node starts with.
pub(crate) type Factory = Rc<dyn Fn(Node) -> TaskFuture>;

/// Everything about one node: in one line of the processor's cache what each event looks at, behind a pointer what few do.
/// With thousands of nodes it is the memory that an event touches that takes the time.
#[repr(align(64))]
pub(crate) struct NodeState {
    pub(crate) up: bool,
    /// Whether its machine answers for it: refuses connections and resets streams while the process is down.
    pub(crate) powered: bool,
    /// Whether it has a bandwidth of its own: [`NodeRest::interface`].
    pub(crate) has_interface: bool,
    /// Whether it stands still: [`NodeRest::frozen`].
    is_frozen: bool,
    pub(crate) incarnation: u32,
    pub(crate) clock: Clock,
    pub(crate) hosts: Vec<HostSlot>,
    rest: Box<NodeRest>,
}

/// See [`NodeState`], which lends it.
pub(crate) struct NodeRest {
    pub(crate) name: Rc<str>,
    pub(crate) service: Rc<str>,
    pub(crate) region: Rc<str>,
    pub(crate) interface: Option<Box<Interface>>,
    pub(crate) frozen: Option<Box<Frozen>>,
    pub(crate) key: Key,
    pub(crate) streams: Vec<Name>,
    pub(crate) factory: Option<Factory>,
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
    pub(crate) drive: Drive,
    pub(crate) mailboxes: Vec<MailboxSlot>,
    pub(crate) services: Vec<(u16, Rc<dyn crate::net::rpc::Service>)>,
    pub(crate) listeners: Vec<ListenerSlot>,
    pub(crate) load: f64,
    /// Whether load faults have hold of it: those that cancel each other out have an effect each.
    pub(crate) load_faults: bool,
}

impl Deref for NodeState {
    type Target = NodeRest;
    #[inline]
    fn deref(&self) -> &NodeRest {
        &self.rest
    }
}
impl DerefMut for NodeState {
    #[inline]
    fn deref_mut(&mut self) -> &mut NodeRest {
        &mut self.rest
    }
}

/// See the module.
pub(crate) struct Core {
    pub(crate) now: SimTime,
    pub(crate) queue: EventQueue<Event>,
    pub(crate) tasks: Tasks,
    pub(crate) nodes: Vec<NodeState>,
    names: FxHashMap<Rc<str>, NodeId>,
    pub(crate) net: Network,
    pub(crate) calls: Calls,
    pub(crate) recorder: Recorder,
    pub(crate) faults: FaultEngine,
    pub(crate) root: Key,
    pub(crate) run_hash: RunHash,
    pub(crate) dispatched: u64,
    pub(crate) current_span: SpanIndex,
    pub(crate) graveyard: Vec<Box<dyn Any>>,
    pub(crate) doomed: Vec<TaskFuture>,
    pub(crate) starts: Vec<NodeId>,
    pub(crate) stop: Option<Ending>,
    /// The first check of an `always` property that fails ends the run.
    pub(crate) stop_at_violation: bool,
    /// Which operations of clients the plan lets them make, and how many they have asked for.
    pub(crate) operations: Option<BTreeMap<NodeId, BTreeSet<u64>>>,
    pub(crate) asked_operations: BTreeMap<NodeId, u64>,
    frozen_nodes: u32,
}

impl Core {
    pub(crate) fn new(root: Key, recorder: Recorder, faults: FaultEngine) -> Self {
        Self {
            now: SimTime::ZERO,
            queue: EventQueue::new(),
            tasks: Tasks::new(),
            nodes: Vec::new(),
            names: FxHashMap::default(),
            net: Network::new(&root),
            calls: Calls::default(),
            recorder,
            faults,
            root,
            run_hash: RunHash::default(),
            dispatched: 0,
            current_span: SpanIndex::NONE,
            graveyard: Vec::new(),
            doomed: Vec::new(),
            starts: Vec::new(),
            stop: None,
            stop_at_violation: false,
            operations: None,
            asked_operations: BTreeMap::new(),
            frozen_nodes: 0,
        }
    }

    // ---- nodes ----

    pub(crate) fn find(&self, name: &str) -> Option<NodeId> {
        self.names.get(name).copied()
    }
    pub(crate) fn nodes_of_service(&self, service: &str) -> Vec<NodeId> {
        (0..self.nodes.len())
            .filter(|&i| &*self.nodes[i].service == service)
            .map(|i| NodeId(i as u32))
            .collect()
    }

    pub(crate) fn add_node(&mut self, spec: NodeSpec, factory: Factory) -> NodeId {
        let name: Rc<str> = spec.name.as_str().into();
        assert!(!self.names.contains_key(&name), "the name `{name}` is used twice: two nodes would be twins");
        let id = NodeId(u32::try_from(self.nodes.len()).expect("fewer than four billion nodes"));
        let index = self.recorder.node(&spec.name, &spec.service, &spec.region);
        debug_assert_eq!(index, NodeIndex(id.0));
        self.names.insert(Rc::clone(&name), id);
        let key = self.root.fork("node").fork(&name);
        // Nodes of a service share the text of its name.
        let service: Rc<str> = match self.nodes.last() {
            Some(last) if *last.service == *spec.service => Rc::clone(&last.service),
            _ if *spec.service == *name => Rc::clone(&name),
            _ => spec.service.as_str().into(),
        };
        let region: Rc<str> = match self.nodes.last() {
            Some(last) if *last.region == *spec.region => Rc::clone(&last.region),
            _ => spec.region.as_str().into(),
        };
        self.nodes.push(NodeState {
            up: false,
            powered: true,
            has_interface: spec.bandwidth.is_some(),
            is_frozen: false,
            incarnation: 0,
            clock: Clock::new(spec.clock_offset, spec.clock_drift),
            hosts: Vec::new(),
            rest: Box::new(NodeRest {
                name,
                service,
                region,
                interface: Interface::new(spec.bandwidth, spec.send_queue),
                frozen: None,
                key,
                streams: Vec::new(),
                factory: Some(factory),
                cpu: Cpu::new(spec.cores, spec.discipline),
                memory: Memory::new(spec.memory_limit),
                drive: Drive::new(spec.disk),
                mailboxes: Vec::new(),
                services: Vec::new(),
                listeners: Vec::new(),
                load: 1.0,
                load_faults: false,
            }),
        });
        self.starts.push(id);
        id
    }

    /// The process of a node dies. `power`: its machine goes dark with it.
    pub(crate) fn crash(&mut self, node: NodeId, power: bool, reason: &str) {
        let state = &mut self.nodes[node.index()];
        if !state.up {
            if power {
                state.powered = false;
            }
            // It was about to start, and does not.
            let waiting = self.starts.len();
            self.starts.retain(|starting| *starting != node);
            if self.starts.len() < waiting {
                let process = if power { "dark" } else { "down" };
                self.recorder.state(self.now, NodeIndex(node.0), "process", process);
            }
            return;
        }
        state.up = false;
        state.powered = !power;
        state.incarnation += 1;
        let incarnation = state.incarnation;
        state.streams.clear();
        let jobs = state.cpu.crash();
        state.memory.used = 0;
        if let Some(interface) = &mut state.interface {
            interface.reset(self.now);
        }
        let mut dead: Vec<Box<dyn Any>> = vec![
            Box::new(std::mem::take(&mut state.mailboxes)),
            Box::new(std::mem::take(&mut state.services)),
            Box::new(std::mem::take(&mut state.listeners)),
            Box::new(std::mem::take(&mut state.hosts)),
        ];
        if let Some(frozen) = &mut state.frozen {
            // What waited for the old process finds a new one or none; the pause itself goes on.
            dead.push(Box::new(std::mem::take(&mut frozen.tasks)));
            let events = std::mem::take(&mut frozen.events);
            let (packets, rest): (Vec<Event>, Vec<Event>) =
                events.into_iter().partition(|event| matches!(event, Event::Arrive { .. }));
            dead.push(Box::new(rest));
            self.nodes[node.index()].frozen.as_mut().expect("it is frozen").events = packets;
        }
        self.graveyard.append(&mut dead);
        for job in jobs {
            self.queue.withdraw(job);
        }
        let futures = self.tasks.end_of_node(node, incarnation);
        self.doomed.extend(futures);
        self.crash_connections(node, power);
        self.cancel_host_timers(node);
        let index = NodeIndex(node.0);
        self.recorder.states_end(self.now, index);
        self.crash_drive(node); // after the end of the states: what it took is a state of the dark node
        self.recorder.state(self.now, index, "process", if power { "dark" } else { "down" });
        if reason == "out of memory" {
            self.recorder.state(self.now, index, "killed", reason);
        }
    }

    /// Whether the main loop has more to do than to poll and dispatch.
    #[inline]
    pub(crate) fn needs_care(&self) -> bool {
        !(self.graveyard.is_empty()
            && self.doomed.is_empty()
            && self.starts.is_empty()
            && self.stop.is_none())
    }

    /// Starts a node that is down. The main loop runs its code.
    pub(crate) fn start(&mut self, node: NodeId) {
        let state = &mut self.nodes[node.index()];
        if state.up {
            return;
        }
        state.powered = true;
        let index = NodeIndex(node.0);
        self.recorder.states_end(self.now, index);
        if !self.starts.contains(&node) {
            self.starts.push(node);
        }
    }

    fn cancel_host_timers(&mut self, node: NodeId) {
        let keys = self.queue.find(|event| matches!(event, Event::HostTimer { node: of, .. } if *of == node));
        for (_, key) in keys {
            self.queue.withdraw(key);
        }
    }

    // ---- pauses ----

    pub(crate) fn freeze(&mut self, node: NodeId, fault: u32) {
        let frozen = self.nodes[node.index()].frozen.get_or_insert_default();
        frozen.by.push(fault);
        let first = frozen.by.len() == 1;
        // What is on a core is held up at once, everything else when it comes.
        for _ in 0..self.nodes[node.index()].cpu.running() {
            self.faults_touch(fault);
        }
        if first {
            self.nodes[node.index()].is_frozen = true;
            self.frozen_nodes += 1;
            self.cpu_retime(node, None, Some(true));
        }
    }
    pub(crate) fn thaw(&mut self, node: NodeId, fault: u32) {
        let Some(frozen) = &mut self.nodes[node.index()].frozen else { return };
        frozen.by.retain(|by| *by != fault);
        if !frozen.by.is_empty() {
            return;
        }
        let frozen = self.nodes[node.index()].frozen.take().expect("it was frozen");
        self.nodes[node.index()].is_frozen = false;
        self.frozen_nodes -= 1;
        self.cpu_retime(node, None, Some(false));
        // In the order in which they came, now.
        for event in frozen.events {
            self.queue.push(self.now, Class::Usual, event);
        }
        for task in frozen.tasks {
            self.tasks.unpark(task);
        }
    }
    /// The pauses of a node have held something up.
    fn pause_touches(&mut self, node: NodeId) {
        let by = self.nodes[node.index()]
            .frozen
            .as_ref()
            .map_or_else(SmallVec::new, |frozen| SmallVec::<[u32; 4]>::from_slice(&frozen.by));
        for fault in by {
            self.faults_touch(fault);
        }
    }
    /// Whether it makes a difference to anybody that an event waits: to a node that is down it does if it is refused there.
    fn matters(&self, event: &Event, owner: NodeId) -> bool {
        let state = &self.nodes[owner.index()];
        match event {
            Event::Arrive { packet } if !state.up => {
                state.powered && !matches!(self.net.on_the_wire(*packet).route, Route::Datagram { .. })
            }
            _ => true,
        }
    }
    /// Keeps a woken task for later if its node stands still.
    #[inline]
    pub(crate) fn park(&mut self, task: TaskId) -> bool {
        if self.frozen_nodes == 0 {
            return false;
        }
        let Some(node) = self.tasks.node_of(task) else { return false };
        if let Some(frozen) = &mut self.nodes[node.index()].frozen {
            frozen.tasks.push(task);
            self.pause_touches(node);
            return true;
        }
        false
    }

    /// After a change of a node's clock, its timers fire when the clock shows what they wait for. Gives how many moved.
    pub(crate) fn retime_timers(&mut self, node: NodeId) -> u64 {
        let keys = self.queue.find(|event| event.local_deadline(node).is_some());
        let mut moved = 0;
        for (time, key) in keys {
            let Some(deadline) = self.queue.get(key).and_then(|event| event.local_deadline(node)) else {
                continue;
            };
            let at = self.nodes[node.index()].clock.when(deadline).max(self.now);
            moved += u64::from(at != time);
            self.queue.reschedule(key, at);
        }
        moved
    }

    // ---- dispatch ----

    /// Looks at the packets that arrive next, all at once, so that the processor fetches their memory side by side instead
    /// of one after the other when each arrives. Changes nothing.
    fn warm(&mut self) {
        let Self { queue, net, nodes, .. } = self;
        let Some(numbers) = queue.fresh() else { return };
        let mut receivers = [0_u32; 128];
        let (mut count, mut seen) = (0, 0);
        for (packet, receiver) in numbers.zip(&mut receivers) {
            let packet = net.on_the_wire(packet);
            *receiver = packet.to.0;
            seen ^= packet.touch();
            count += 1;
        }
        let receivers = &receivers[..count];
        seen ^= receivers.iter().fold(0, |seen, &to| seen ^ nodes[to as usize].incarnation);
        let hosts = |to: &u32| nodes[*to as usize].hosts.first();
        seen ^= receivers.iter().filter_map(hosts).fold(0, |seen, host| seen ^ u32::from(host.port()));
        seen ^= receivers.iter().filter_map(hosts).fold(0, |seen, host| seen ^ host.touch());
        std::hint::black_box(seen);
    }

    /// Makes what has come up happen.
    #[inline]
    pub(crate) fn step(&mut self, time: SimTime, next: Next<Event>) {
        assert!(time >= self.now, "time moves forward: {time} came up after {}", self.now);
        self.now = time;
        self.warm();
        match next {
            Next::Event(event) => self.dispatch(event),
            // Packets on the wire are numbers: most events are theirs, and none is ever withdrawn.
            Next::Number(packet) if self.frozen_nodes > 0 => self.dispatch(Event::Arrive { packet }),
            Next::Number(packet) => {
                self.dispatched += 1;
                let packet = self.net.take(packet);
                self.run_hash.add(time.as_nanos(), u64::from(packet.to.0), packet.hash());
                self.arrive(packet);
            }
        }
    }

    /// Makes an event happen.
    fn dispatch(&mut self, event: Event) {
        if self.frozen_nodes > 0
            && let Some(owner) = event.owner(self)
            && self.nodes[owner.index()].is_frozen
        {
            if self.matters(&event, owner) {
                self.pause_touches(owner);
            }
            let frozen = self.nodes[owner.index()].frozen.get_or_insert_default();
            return frozen.events.push(event);
        }
        self.dispatched += 1;
        let now = self.now.as_nanos();
        match event {
            Event::Wake { target, node, .. } => {
                self.run_hash.add(now, u64::from(node.0), 1);
                self.tasks.wake_target(target);
            }
            Event::Arrive { packet } => {
                let packet = self.net.take(packet);
                self.run_hash.add(now, u64::from(packet.to.0), packet.hash());
                self.arrive(packet);
            }
            Event::Retransmit { packet } => {
                let packet = self.net.take(packet);
                self.run_hash.add(now, u64::from(packet.from.0), 2);
                self.retransmit(packet);
            }
            Event::CallDeadline { call, generation, node, .. } => {
                self.run_hash.add(now, u64::from(node.0), 3);
                self.call_deadline(call, generation);
            }
            Event::CpuDone { node, job } => {
                self.run_hash.add(now, u64::from(node.0), 4);
                self.cpu_done(node, job);
            }
            Event::CpuShare { node } => {
                self.run_hash.add(now, u64::from(node.0), 5);
                self.cpu_share_done(node);
            }
            Event::DiskDone { node, incarnation, operation } => {
                self.run_hash.add(now, u64::from(node.0), 6);
                self.disk_done(node, incarnation, operation);
            }
            Event::WriteBack { node } => {
                self.run_hash.add(now, u64::from(node.0), 7);
                self.write_back(node);
            }
            Event::HostTimer { node, incarnation, host, timer, .. } => {
                self.run_hash.add(now, u64::from(node.0), 8);
                self.host_timer(node, incarnation, host, timer);
            }
            Event::Fault { fault, begin } => {
                self.run_hash.add(now, u64::from(fault), if begin { 9 } else { 10 });
                if begin {
                    self.fault_begin(fault);
                } else {
                    self.fault_end(fault);
                }
            }
        }
    }

    /// The true error of a node's wall clock, for spans.
    #[inline]
    pub(crate) fn clock_error(&self, node: NodeId) -> i64 {
        self.nodes[node.index()].clock.error(self.now)
    }
}

/// What an event touches is kept to few cache lines; these sizes are what the speed of large worlds rests on.
const _: () = {
    assert!(size_of::<NodeState>() == 64);
    assert!(size_of::<Event>() <= 40);
};
