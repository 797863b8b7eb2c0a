//! Carries out the plan's faults: when, on whom, for how long, and what they touched.

use super::{
    Fault, FaultKind, FaultPlan, MessageTrigger, Partition, Target, When,
    packets::{ActiveLink, ActivePartition, ActiveRule},
};
use crate::{
    executor::queue::Class,
    node::NodeId,
    plan::PlanError,
    record::{FaultRecord, Name, NodeIndex},
    rng::Rng,
    time::{Duration, SimTime},
    world::{Core, Event},
};

/// The faults of a run.
#[derive(Default)]
pub(crate) struct FaultEngine {
    faults: Vec<Fault>,
    /// Which node each fault has hold of.
    held: Vec<Vec<NodeId>>,
    pub(super) partitions: Vec<ActivePartition>,
    pub(super) links: Vec<ActiveLink>,
    pub(super) rules: Vec<ActiveRule>,
    triggers: Vec<Armed>,
    /// Faults whose role nobody holds yet.
    waiting: Vec<u32>,
}

struct Armed {
    fault: u32,
    seen: u64,
}

impl FaultEngine {
    pub(crate) fn new(plan: &FaultPlan) -> Self {
        let faults = plan.faults().to_vec();
        Self { held: vec![Vec::new(); faults.len()], faults, ..Self::default() }
    }
    #[inline]
    pub(crate) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }
    #[inline]
    pub(crate) fn has_triggers(&self) -> bool {
        !self.triggers.is_empty()
    }
}

impl Core {
    /// Checks that everybody whom the plan names exists, and schedules what has a time.
    pub(crate) fn plan_faults(&mut self) -> Result<(), PlanError> {
        for index in 0..self.faults.faults.len() {
            let fault = self.faults.faults[index].clone();
            self.check_fault(&fault)?;
            let record = FaultRecord {
                name: fault.name.clone(),
                what: fault.what_in_words(),
                on: fault.on_in_words(),
                nodes: Vec::new(),
                began: Vec::new(),
                ended: Vec::new(),
                touched: 0,
            };
            let recorded = self.recorder.fault(record);
            debug_assert_eq!(recorded as usize, index);
            let number = index as u32;
            match fault.when {
                When::At(time) => {
                    let event = Event::Fault { fault: number, begin: true };
                    self.queue.push(SimTime::ZERO + time, Class::Fault, event);
                }
                When::Sent(_) | When::Delivered(_) | When::State(_) => {
                    self.faults.triggers.push(Armed { fault: number, seen: 0 });
                }
            }
        }
        Ok(())
    }

    fn check_fault(&self, fault: &Fault) -> Result<(), PlanError> {
        let node =
            |name: &str| self.find(name).map(drop).ok_or_else(|| self.unknown(&fault.name, name, false));
        let group = |name: &str| {
            if self.nodes_of_service(name).is_empty() {
                Err(self.unknown(&fault.name, name, true))
            } else {
                Ok(())
            }
        };
        let either = |name: &str| if self.named(name).is_empty() { node(name) } else { Ok(()) };
        match &fault.on {
            Target::Node(name) => node(name)?,
            Target::Nodes(names) => names.iter().try_for_each(|name| node(name))?,
            Target::Group(name) | Target::Minority(name) | Target::Any { group: name, .. } => group(name)?,
            Target::Everybody | Target::State { .. } => {}
        }
        match &fault.when {
            When::Sent(m) | When::Delivered(m) => {
                m.from.iter().chain(&m.to).try_for_each(|name| either(name))?;
            }
            When::State(s) => s.node.iter().try_for_each(|name| either(name))?,
            When::At(_) => {}
        }
        match &fault.what {
            FaultKind::Partition(Partition::Split(groups)) => {
                groups.iter().flatten().try_for_each(|n| either(n))
            }
            FaultKind::Partition(
                Partition::OneWay { from: a, to: b } | Partition::Bridge { left: a, right: b },
            ) => a.iter().chain(b).try_for_each(|n| either(n)),
            FaultKind::Partition(Partition::Regions(groups)) => {
                groups.iter().flatten().try_for_each(|region| {
                    if self.nodes.iter().any(|n| &*n.region == region.as_str()) {
                        return Ok(());
                    }
                    let mut known: Vec<String> = self.nodes.iter().map(|n| n.region.to_string()).collect();
                    known.sort();
                    known.dedup();
                    Err(PlanError::unknown("region", region, format!("fault `{}`", fault.name), known))
                })
            }
            FaultKind::Link(change) => change.from.iter().chain(&change.to).try_for_each(|n| either(n)),
            FaultKind::Packets(rule) => rule.from.iter().chain(&rule.to).try_for_each(|n| either(n)),
            _ => Ok(()),
        }
    }

    fn unknown(&self, fault: &str, name: &str, service: bool) -> PlanError {
        let mut known: Vec<String> = self
            .nodes
            .iter()
            .map(|n| if service { n.service.to_string() } else { n.name.to_string() })
            .collect();
        known.dedup();
        PlanError::unknown(if service { "service" } else { "node" }, name, format!("fault `{fault}`"), known)
    }

    /// A node's name, or else a service's.
    fn named(&self, name: &str) -> Vec<NodeId> {
        self.find(name).map_or_else(|| self.nodes_of_service(name), |node| vec![node])
    }
    pub(super) fn all_named(&self, names: &[String]) -> Vec<NodeId> {
        names.iter().flat_map(|name| self.named(name)).collect()
    }

    /// On whom, now; `None` while nobody holds the role.
    fn resolve(&self, target: &Target, fault: &str) -> Option<Vec<NodeId>> {
        let choose = |group: &str, count: usize| {
            let mut nodes = self.nodes_of_service(group);
            // Whom it falls on depends on the seed and the fault's name alone.
            Rng::new(&self.root.fork("fault").fork(fault)).shuffle(&mut nodes);
            nodes.truncate(count);
            nodes.sort();
            nodes
        };
        Some(match target {
            Target::Everybody => (0..self.nodes.len() as u32).map(NodeId).collect(),
            Target::Node(name) => self.find(name).into_iter().collect(),
            Target::Nodes(names) => {
                let mut nodes = Vec::new();
                for node in self.all_named(names) {
                    if !nodes.contains(&node) {
                        nodes.push(node);
                    }
                }
                nodes
            }
            Target::Group(group) => self.nodes_of_service(group),
            Target::State { key, value } => vec![NodeId(self.recorder.role_holder(key, value)?.0)],
            Target::Minority(group) => {
                choose(group, self.nodes_of_service(group).len().saturating_sub(1) / 2)
            }
            Target::Any { group, count } => choose(group, *count),
        })
    }

    /// A fault changed something. What that means for each kind is said at [`FaultKind`].
    pub(crate) fn faults_touch(&mut self, fault: u32) {
        self.faults_touch_times(fault, 1);
    }
    /// A fault changed so many things.
    pub(crate) fn faults_touch_times(&mut self, fault: u32, things: u64) {
        self.recorder.fault_mut(fault).touched += things;
    }

    // ---- when ----

    pub(crate) fn fault_begin(&mut self, number: u32) {
        let fault = self.faults.faults[number as usize].clone();
        let Some(nodes) = self.resolve(&fault.on, &fault.name) else {
            if !self.faults.waiting.contains(&number) {
                self.faults.waiting.push(number);
            }
            return;
        };
        let now = self.now;
        let record = self.recorder.fault_mut(number);
        record.began.push(now);
        let meant = matches!(fault.on, Target::Everybody);
        if !meant {
            for node in &nodes {
                let index = NodeIndex(node.0);
                if !record.nodes.contains(&index) {
                    record.nodes.push(index);
                }
            }
        }
        self.faults.held[number as usize].clone_from(&nodes);
        self.apply(number, &fault, &nodes, true);
        if let Some(lasts) = fault.lasts {
            self.queue.push(now + lasts, Class::Fault, Event::Fault { fault: number, begin: false });
        }
    }

    pub(crate) fn fault_end(&mut self, number: u32) {
        let fault = self.faults.faults[number as usize].clone();
        let nodes = std::mem::take(&mut self.faults.held[number as usize]);
        let now = self.now;
        self.recorder.fault_mut(number).ended.push(now);
        self.apply(number, &fault, &nodes, false);
    }

    fn matches(&self, names: &Option<String>, node: NodeId) -> bool {
        names.as_ref().is_none_or(|name| {
            let state = &self.nodes[node.index()];
            *state.name == **name || *state.service == **name
        })
    }

    fn message_matches(&self, trigger: &MessageTrigger, kind: Name, from: NodeId, to: NodeId) -> bool {
        trigger.kind.as_ref().is_none_or(|k| *k == self.recorder.recording().names[kind.0 as usize])
            && self.matches(&trigger.from, from)
            && self.matches(&trigger.to, to)
    }

    fn trigger(&mut self, hit: impl Fn(&Self, &When) -> Option<(u64, Duration)>) {
        let mut fired = Vec::new();
        for index in 0..self.faults.triggers.len() {
            let fault = self.faults.triggers[index].fault;
            let when = &self.faults.faults[fault as usize].when;
            if let Some((count, then)) = hit(self, when) {
                let armed = &mut self.faults.triggers[index];
                armed.seen += 1;
                if armed.seen == count {
                    fired.push((fault, then));
                }
            }
        }
        self.faults.triggers.retain(|armed| !fired.iter().any(|(fault, _)| *fault == armed.fault));
        for (fault, then) in fired {
            if then.is_zero() {
                self.fault_begin(fault);
            } else {
                self.queue.push(self.now + then, Class::Fault, Event::Fault { fault, begin: true });
            }
        }
    }

    pub(crate) fn trigger_sent(&mut self, kind: Name, from: NodeId, to: NodeId) {
        self.trigger(|core, when| match when {
            When::Sent(m) if core.message_matches(m, kind, from, to) => Some((m.count, m.then)),
            _ => None,
        });
    }
    pub(crate) fn trigger_delivered(&mut self, kind: Name, from: NodeId, to: NodeId) {
        self.trigger(|core, when| match when {
            When::Delivered(m) if core.message_matches(m, kind, from, to) => Some((m.count, m.then)),
            _ => None,
        });
    }
    /// A node's state took a value: triggers and waiting roles look at it.
    pub(crate) fn trigger_state(&mut self, node: NodeId, key: &str, value: &str) {
        if self.faults.has_triggers() {
            self.trigger(|core, when| match when {
                When::State(s) if s.key == key && s.value == value && core.matches(&s.node, node) => {
                    Some((s.count, s.then))
                }
                _ => None,
            });
        }
        if !self.faults.waiting.is_empty() {
            for fault in std::mem::take(&mut self.faults.waiting) {
                self.fault_begin(fault); // waits on if its role is not this one
            }
        }
    }

    // ---- what ----

    fn apply(&mut self, number: u32, fault: &Fault, nodes: &[NodeId], begin: bool) {
        match &fault.what {
            FaultKind::Crash | FaultKind::PowerFailure => {
                for &node in nodes {
                    if begin {
                        if self.nodes[node.index()].up || self.starts.contains(&node) {
                            self.faults_touch(number);
                        }
                        self.crash(node, fault.what == FaultKind::PowerFailure, "fault");
                    } else {
                        self.start(node);
                    }
                }
            }
            FaultKind::Restart if begin => {
                for &node in nodes {
                    // Who is about to start would do so anyway.
                    if self.nodes[node.index()].up || !self.starts.contains(&node) {
                        self.faults_touch(number);
                    }
                    self.crash(node, false, "fault");
                    self.start(node);
                }
            }
            FaultKind::Restart => {}
            FaultKind::Pause => {
                for &node in nodes {
                    if begin && !fault.is_over_at_once() {
                        self.freeze(node, number);
                    } else {
                        self.thaw(node, number);
                    }
                    let pauses = self.in_force(node, |kind| matches!(kind, FaultKind::Pause).then_some(()));
                    self.mark(node, "paused", !pauses.is_empty());
                }
            }
            FaultKind::Slow(own) => {
                for &node in nodes {
                    // What overlaps multiplies, and the end of one leaves the others in force.
                    let slow = self.in_force(node, |kind| match kind {
                        FaultKind::Slow(factor) => Some(*factor),
                        _ => None,
                    });
                    let bites = begin && *own != 1.0 && !fault.is_over_at_once();
                    self.cpu_slow(node, number, bites, slow.iter().product());
                    self.mark(node, "slow", !slow.is_empty());
                }
            }
            FaultKind::MemoryLimit(_) => {
                for &node in nodes {
                    let limits = self.in_force(node, |kind| match kind {
                        FaultKind::MemoryLimit(bytes) => Some(*bytes),
                        _ => None,
                    });
                    let memory = &mut self.nodes[node.index()].memory;
                    memory.limit = limits.into_iter().min().or(memory.own_limit);
                    if begin {
                        self.memory_check(node);
                    }
                }
            }
            FaultKind::Partition(partition) => {
                self.net.epoch += 1;
                if begin {
                    let shape = self.resolve_partition(partition, nodes);
                    self.faults.partitions.push(ActivePartition { fault: number, shape });
                } else {
                    self.faults.partitions.retain(|p| p.fault != number);
                }
            }
            FaultKind::Link(change) => {
                self.net.epoch += 1;
                if begin {
                    let side = |names: &[String]| (!names.is_empty()).then(|| self.all_named(names));
                    let active = ActiveLink {
                        fault: number,
                        change: change.clone(),
                        on: (fault.on != Target::Everybody).then(|| nodes.to_vec()),
                        from: side(&change.from),
                        to: side(&change.to),
                    };
                    self.faults.links.push(active);
                } else {
                    self.faults.links.retain(|l| l.fault != number);
                }
            }
            FaultKind::Packets(rule) => {
                if begin {
                    let side = |name: &Option<String>| name.as_ref().map(|name| self.named(name));
                    let active = ActiveRule {
                        fault: number,
                        on: (fault.on != Target::Everybody).then(|| nodes.to_vec()),
                        from: side(&rule.from),
                        to: side(&rule.to),
                        rule: rule.clone(),
                        seen: 0,
                    };
                    self.faults.rules.push(active);
                } else {
                    self.faults.rules.retain(|r| r.fault != number);
                }
            }
            FaultKind::ClockJump(by) => {
                for &node in nodes {
                    let clock = &mut self.nodes[node.index()].clock;
                    if begin {
                        clock.begin_jump(self.now, number, *by);
                    } else {
                        clock.end_jump(number, *by);
                    }
                }
            }
            FaultKind::ClockDrift(ppm) => {
                for &node in nodes {
                    let clock = &mut self.nodes[node.index()].clock;
                    if begin {
                        clock.begin_drift(self.now, number, *ppm);
                    } else {
                        clock.end_drift(self.now, number);
                    }
                    let moved = self.retime_timers(node);
                    // At the end those go on that it has touched before.
                    if begin && !fault.is_over_at_once() {
                        self.faults_touch_times(number, moved);
                    }
                }
            }
            FaultKind::Disk(kind) => {
                for &node in nodes {
                    // At the end of one, another of its kind may still be in force.
                    let still = if begin { None } else { self.disk_fault_in_force(node, kind) };
                    let (number, kind, on) = match &still {
                        Some((number, kind)) => (*number, kind, true),
                        None => (number, kind, begin),
                    };
                    if self.disk_fault(node, number, kind, on) {
                        self.faults_touch(number);
                    }
                }
            }
            FaultKind::Load(_) => {
                for &node in nodes {
                    let load = self.in_force(node, |kind| match kind {
                        FaultKind::Load(factor) => Some(*factor),
                        _ => None,
                    });
                    let state = &mut self.nodes[node.index()];
                    state.load = load.iter().product();
                    state.load_faults = !load.is_empty();
                }
            }
        }
    }

    /// What `pick` takes of each fault that has hold of a node now, in the order of the plan.
    fn in_force<T>(&self, node: NodeId, pick: impl Fn(&FaultKind) -> Option<T>) -> Vec<T> {
        let faults = self.faults.faults.iter().zip(&self.faults.held);
        faults.filter(|(_, held)| held.contains(&node)).filter_map(|(fault, _)| pick(&fault.what)).collect()
    }

    /// Another fault of that kind that has hold of a node's disk. (A bit that rots does so once.)
    fn disk_fault_in_force(&self, node: NodeId, kind: &super::DiskFault) -> Option<(u32, super::DiskFault)> {
        let same = |other: &super::DiskFault| {
            std::mem::discriminant(other) == std::mem::discriminant(kind)
                && !matches!(kind, super::DiskFault::Rot(_))
        };
        let faults = self.faults.faults.iter().zip(&self.faults.held).enumerate();
        let held = faults.filter(|(_, (_, held))| held.contains(&node));
        let mut disks = held.filter_map(|(number, (fault, _))| match &fault.what {
            FaultKind::Disk(other) if same(other) => Some((number as u32, other.clone())),
            _ => None,
        });
        disks.next_back()
    }

    /// Shows on a node's timeline whether a fault has hold of it.
    fn mark(&mut self, node: NodeId, what: &str, on: bool) {
        self.recorder.mark(self.now, NodeIndex(node.0), what, on);
    }

    /// A load generator asks how much it shall send: load faults have touched its request.
    #[inline]
    pub(crate) fn load_is_asked(&mut self, node: NodeId) {
        if self.nodes[node.index()].load_faults {
            self.touch_in_force(node, |kind| matches!(kind, FaultKind::Load(factor) if *factor != 1.0));
        }
    }

    /// A memory limit that faults have set has decided what became of a node that uses so many bytes.
    pub(crate) fn touch_memory_faults(&mut self, node: NodeId, used: u64) {
        let memory = self.nodes[node.index()].memory;
        let killed = memory.limit.is_some_and(|limit| used > limit);
        self.touch_in_force(
            node,
            |kind| matches!(kind, FaultKind::MemoryLimit(bytes) if (used > *bytes) == killed),
        );
    }

    /// Each fault that has hold of a node and is one of those has touched something.
    #[cold]
    fn touch_in_force(&mut self, node: NodeId, which: impl Fn(&FaultKind) -> bool) {
        for index in 0..self.faults.faults.len() {
            if which(&self.faults.faults[index].what) && self.faults.held[index].contains(&node) {
                self.faults_touch(index as u32);
            }
        }
    }
}
