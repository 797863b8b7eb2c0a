//! Carries out the plan's faults: when, on whom, for how long, and what they touched.

use std::rc::Rc;

use super::{Fault, FaultKind, FaultPlan, MessageTrigger, PacketAction, PacketRule, Partition, Target, When};
use crate::{
    executor::queue::Class,
    net::{Changed, Link, Loss},
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
    partitions: Vec<ActivePartition>,
    links: Vec<ActiveLink>,
    rules: Vec<ActiveRule>,
    triggers: Vec<Armed>,
    /// Faults whose role nobody holds yet.
    waiting: Vec<u32>,
}

struct ActivePartition {
    fault: u32,
    shape: Resolved,
}

enum Resolved {
    /// Nodes of different groups cannot reach each other.
    Split(Vec<Vec<NodeId>>),
    OneWay(Vec<NodeId>, Vec<NodeId>),
}

struct ActiveLink {
    fault: u32,
    change: super::LinkChange,
    on: Option<Vec<NodeId>>,
    from: Option<Vec<NodeId>>,
    to: Option<Vec<NodeId>>,
}

struct ActiveRule {
    fault: u32,
    rule: PacketRule,
    on: Option<Vec<NodeId>>,
    from: Option<Vec<NodeId>>,
    to: Option<Vec<NodeId>>,
    seen: u64,
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
                what: fault.what.to_string(),
                on: fault.on.to_string(),
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
    fn all_named(&self, names: &[String]) -> Vec<NodeId> {
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
            Target::Nodes(names) => self.all_named(names),
            Target::Group(group) => self.nodes_of_service(group),
            Target::State { key, value } => vec![NodeId(self.recorder.role_holder(key, value)?.0)],
            Target::Minority(group) => {
                choose(group, self.nodes_of_service(group).len().saturating_sub(1) / 2)
            }
            Target::Any { group, count } => choose(group, *count),
        })
    }

    /// A fault changed something.
    pub(crate) fn faults_touch(&mut self, fault: u32) {
        self.recorder.fault_mut(fault).touched += 1;
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
                    self.faults_touch(number);
                    self.crash(node, false, "fault");
                    self.start(node);
                }
            }
            FaultKind::Restart => {}
            FaultKind::Pause => {
                for &node in nodes {
                    if begin {
                        self.faults_touch(number);
                        self.freeze(node);
                    } else {
                        self.thaw(node);
                    }
                }
                self.mark_states(nodes, "paused", begin);
            }
            FaultKind::Slow(_) => {
                for &node in nodes {
                    if begin {
                        self.faults_touch(number);
                    }
                    // What overlaps multiplies, and the end of one leaves the others in force.
                    let slow = self.in_force(node, |kind| match kind {
                        FaultKind::Slow(factor) => Some(*factor),
                        _ => None,
                    });
                    self.cpu_retime(node, Some(slow.iter().product()), None);
                    self.mark_states(&[node], "slow", !slow.is_empty());
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
                    let by = if begin { *by } else { super::Offset::from_nanos(-by.as_nanos()) };
                    self.nodes[node.index()].clock.jump(by);
                    if begin {
                        self.faults_touch(number);
                    }
                }
            }
            FaultKind::ClockDrift(ppm) => {
                for &node in nodes {
                    let now = self.now;
                    let clock = &mut self.nodes[node.index()].clock;
                    let drift = clock.drift_ppm() + if begin { *ppm } else { -*ppm };
                    clock.set_drift(now, drift);
                    self.retime_timers(node);
                    if begin {
                        self.faults_touch(number);
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
                    self.nodes[node.index()].load = load.iter().product();
                    if begin {
                        self.faults_touch(number);
                    }
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

    fn mark_states(&mut self, nodes: &[NodeId], what: &str, begin: bool) {
        let now = self.now;
        for node in nodes {
            self.recorder.state(now, NodeIndex(node.0), what, if begin { "yes" } else { "" });
        }
    }

    fn resolve_partition(&self, partition: &Partition, on: &[NodeId]) -> Resolved {
        match partition {
            Partition::Isolate => {
                let rest = (0..self.nodes.len() as u32).map(NodeId).filter(|n| !on.contains(n)).collect();
                Resolved::Split(vec![on.to_vec(), rest])
            }
            Partition::Split(groups) => {
                Resolved::Split(groups.iter().map(|names| self.all_named(names)).collect())
            }
            Partition::OneWay { from, to } => Resolved::OneWay(self.all_named(from), self.all_named(to)),
            // Whoever is on neither side is the bridge: it reaches both.
            Partition::Bridge { left, right } => {
                Resolved::Split(vec![self.all_named(left), self.all_named(right)])
            }
            Partition::Regions(groups) => {
                let in_region = |regions: &Vec<String>| {
                    (0..self.nodes.len() as u32)
                        .map(NodeId)
                        .filter(|n| regions.iter().any(|r| **r == *self.nodes[n.index()].region))
                        .collect()
                };
                Resolved::Split(groups.iter().map(in_region).collect())
            }
        }
    }

    /// The fault that keeps packets from one node from reaching another.
    pub(crate) fn blocking_fault(&self, from: NodeId, to: NodeId) -> Option<u32> {
        if from == to {
            return None; // a node always reaches itself
        }
        self.faults
            .partitions
            .iter()
            .find(|partition| match &partition.shape {
                Resolved::Split(groups) => {
                    let group = |node: NodeId| groups.iter().position(|g| g.contains(&node));
                    matches!((group(from), group(to)), (Some(a), Some(b)) if a != b)
                }
                Resolved::OneWay(a, b) => a.contains(&from) && b.contains(&to),
            })
            .map(|partition| partition.fault)
    }

    /// A link as the faults in force leave it, and which of them change it.
    pub(crate) fn faulty_link(
        &self,
        from: NodeId,
        to: NodeId,
        base: Option<Rc<Link>>,
    ) -> (Option<Rc<Link>>, Vec<Changed>) {
        let Some(base) = base else { return (None, Vec::new()) };
        if self.faults.links.is_empty() {
            return (Some(base), Vec::new());
        }
        let mut link = (*base).clone();
        let mut by = Vec::new();
        for active in &self.faults.links {
            if !side_matches(&active.on, &active.from, &active.to, from, to) {
                continue;
            }
            let change = &active.change;
            by.push(Changed {
                fault: active.fault,
                every_packet: change.delay.is_some()
                    || !change.extra_delay.is_zero()
                    || change.bandwidth.is_some(),
                loss: change.loss.is_some(),
                duplication: change.duplication.is_some(),
                corruption: change.corruption.is_some(),
            });
            if let Some(delay) = &change.delay {
                link.delay = delay.clone();
            }
            if !change.extra_delay.is_zero() {
                link.delay = link.delay.clone().plus(change.extra_delay);
            }
            if let Some(loss) = change.loss {
                link.loss = if loss > 0.0 { Loss::Independent(loss) } else { Loss::Never };
            }
            link.duplication = change.duplication.unwrap_or(link.duplication);
            link.corruption = change.corruption.unwrap_or(link.corruption);
            link.bandwidth = change.bandwidth.or(link.bandwidth);
        }
        (Some(Rc::new(link)), by)
    }

    /// What the rules in force say of a packet: the first rule that is for it.
    pub(crate) fn packet_rule(&mut self, packet: &crate::net::Packet) -> Option<PacketAction> {
        let kind = &self.recorder.recording().names[packet.kind.0 as usize];
        for active in &mut self.faults.rules {
            let rule = &active.rule;
            if rule.kind.as_ref().is_some_and(|k| k != kind)
                || !side_matches(&active.on, &active.from, &active.to, packet.from, packet.to)
            {
                continue;
            }
            active.seen += 1;
            let last = rule.count.map(|count| rule.first + count);
            if active.seen >= rule.first && last.is_none_or(|last| active.seen < last) {
                let (fault, action) = (active.fault, rule.action);
                self.faults_touch(fault);
                return Some(action);
            }
        }
        None
    }

    /// A memory limit that a fault has set has killed a node.
    pub(crate) fn touch_memory_faults(&mut self, node: NodeId) {
        for index in 0..self.faults.faults.len() {
            let limit = matches!(self.faults.faults[index].what, FaultKind::MemoryLimit(_));
            if limit && self.faults.held[index].contains(&node) {
                self.faults_touch(index as u32);
            }
        }
    }
}

/// Whether a packet is one that a change or rule is for: `on` is either end, `from` and `to` are its ends.
fn side_matches(
    on: &Option<Vec<NodeId>>,
    senders: &Option<Vec<NodeId>>,
    receivers: &Option<Vec<NodeId>>,
    from: NodeId,
    to: NodeId,
) -> bool {
    on.as_ref().is_none_or(|nodes| nodes.contains(&from) || nodes.contains(&to))
        && senders.as_ref().is_none_or(|nodes| nodes.contains(&from))
        && receivers.as_ref().is_none_or(|nodes| nodes.contains(&to))
}
