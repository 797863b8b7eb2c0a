//! The simulation: build a world, run it, take the recording.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::{Context, Poll},
};

use crate::{
    executor::task::{Fetched, TaskFuture},
    fault::engine::FaultEngine,
    net::{Link, PlannedOverride, Topology, draws::DrawRule, regions::Regions},
    node::{Node, NodeId, NodeSpec},
    plan::{OverrideFate, Plan, PlanError, Ties},
    protocol::Protocol,
    record::{Ending, FaultRecord, Origin, Recorder, Recording, RecordingLevel},
    rng::{Key, Rng},
    time::SimTime,
    world::{Core, World},
};

/// A world under construction, then under way.
///
/// ```
/// use sim_core::{Sim, plan::Plan, record::RecordingLevel, time::{ms, secs}};
///
/// let mut sim = Sim::new(&Plan::new("hello", 42, secs(1)), RecordingLevel::Full);
/// let server = sim.node("server", async |node| {
///     let mut mailbox = node.mailbox::<String>();
///     let received = mailbox.recv().await;
///     node.state("heard", &received.message);
/// });
/// sim.node("client", async move |node| {
///     node.sleep(ms(10)).await;
///     node.send(server, &"hello".to_owned());
/// });
/// let recording = sim.run().unwrap();
/// assert_eq!(recording.states.len(), 1);
/// ```
pub struct Sim {
    world: Rc<World>,
    plan: Plan,
}

impl Sim {
    /// An empty world for a plan.
    pub fn new(plan: &Plan, level: RecordingLevel) -> Self {
        let origin = Origin {
            scenario: plan.scenario.clone(),
            variant: plan.variant.clone(),
            knobs: toml::to_string(&plan.knobs).expect("knobs can be written as TOML"),
            seed: plan.seed,
            plan: plan.to_toml(),
        };
        let recorder = Recorder::new(origin, level);
        let core = Core::new(Key::root(plan.seed), recorder, FaultEngine::new(&plan.faults));
        Self { world: Rc::new(World { core: RefCell::new(core) }), plan: plan.clone() }
    }

    /// Adds a node and the code that it runs, from its start and again after each restart.
    ///
    /// What the closure captures must be `Send`: plain data, so that two nodes share nothing.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn node(&mut self, spec: impl Into<NodeSpec>, code: impl AsyncFn(Node) + Send + 'static) -> NodeId {
        let code = Rc::new(code);
        let factory = move |node: Node| -> TaskFuture {
            let code = Rc::clone(&code);
            Box::pin(async move { code(node).await })
        };
        self.world.core.borrow_mut().add_node(spec.into(), Rc::new(factory))
    }
    /// Adds a node that runs a protocol and nothing else. `config` is asked at each start.
    pub fn protocol<P: Protocol>(
        &mut self,
        spec: impl Into<NodeSpec>,
        config: impl Fn(NodeId) -> P::Config + Send + 'static,
    ) -> NodeId {
        self.node(spec, async move |node| {
            let hosted = node.host::<P>(config(node.id())).await;
            loop {
                drop(hosted.next().await);
            }
        })
    }

    /// The seed's own stream of that name, for what is drawn while the world is built (a random graph, a set of keys).
    pub fn rng(&self, name: &str) -> Rng {
        Rng::new(&self.world.core.borrow().root.fork("build").fork(name))
    }
    /// The node of that name, if there is one.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.world.core.borrow().find(name)
    }
    /// All nodes of a service, in order of creation.
    pub fn service(&self, service: &str) -> Vec<NodeId> {
        self.world.core.borrow().nodes_of_service(service)
    }
    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.world.core.borrow().nodes.len()
    }

    /// The link of all pairs that have none of their own.
    pub fn default_link(&mut self, link: Link) {
        let mut core = self.world.core.borrow_mut();
        core.net.default_link = Some(Rc::new(link));
        core.net.epoch += 1;
    }
    /// Only nodes that the topology links can talk; call [`Sim::default_link`] afterwards to let the others talk too.
    pub fn topology(&mut self, topology: Topology) {
        let mut core = self.world.core.borrow_mut();
        core.net.default_link = None;
        core.net.topology.merge(topology);
        core.net.epoch += 1;
    }
    /// Links two nodes in both directions; all other pairs keep what they have.
    pub fn link(&mut self, a: NodeId, b: NodeId, link: Link) {
        let mut core = self.world.core.borrow_mut();
        core.net.topology.connect(a, b, link);
        core.net.epoch += 1;
    }
    /// Links one node to another, in that direction only.
    pub fn link_one_way(&mut self, from: NodeId, to: NodeId, link: Link) {
        let mut core = self.world.core.borrow_mut();
        core.net.topology.connect_one_way(from, to, link);
        core.net.epoch += 1;
    }
    /// How far regions are apart; nodes say theirs in their [`NodeSpec`].
    pub fn regions(&mut self, regions: Regions) {
        let mut core = self.world.core.borrow_mut();
        core.net.regions = Some(regions);
        core.net.epoch += 1;
    }
    /// Ends the run at the first check of an `always` property that fails.
    pub fn stop_at_first_violation(&mut self) {
        self.world.core.borrow_mut().stop_at_violation = true;
    }
    /// The names of all nodes and of their services, in order of creation.
    pub fn roster(&self) -> Vec<(String, String)> {
        let core = self.world.core.borrow();
        core.nodes.iter().map(|node| (node.name.to_string(), node.service.to_string())).collect()
    }
    /// Makes a property known, so that one that is never checked is seen not to hold.
    pub fn expect_property(&mut self, kind: crate::record::PropertyKind, statement: &str) {
        self.world.core.borrow_mut().recorder.declare_property(kind, statement);
    }

    /// Runs to the plan's end, or until nothing is left to happen, or until a node's code panics.
    ///
    /// # Errors
    /// When the plan names somebody who does not exist, or a value of it is out of its range.
    pub fn run(self) -> Result<Recording, PlanError> {
        self.prepare()?;
        let ending = self.main_loop();
        Ok(self.finish(ending))
    }

    fn prepare(&self) -> Result<(), PlanError> {
        self.plan.faults.validate().map_err(PlanError::Invalid)?;
        let mut core = self.world.core.borrow_mut();
        if self.plan.ties == Ties::Seeded {
            let key = core.root.fork("ties").word();
            core.queue.permute_ties(key);
        }
        core.net.draws = DrawRule::of(self.plan.draws, &core.root);
        if let Some(operations) = &self.plan.operations {
            let mut known = BTreeMap::new();
            for (name, numbers) in operations {
                let client = core.find(name).ok_or_else(|| {
                    let names = core.nodes.iter().map(|n| n.name.to_string()).collect();
                    PlanError::unknown("node", name, "operations".to_owned(), names)
                })?;
                known.insert(client, numbers.clone());
            }
            core.operations = Some(known);
        }
        core.plan_faults()?;
        for one in &self.plan.overrides {
            let find = |name: &str| {
                core.find(name).ok_or_else(|| {
                    let known = core.nodes.iter().map(|n| n.name.to_string()).collect();
                    PlanError::unknown("node", name, "override".to_owned(), known)
                })
            };
            let (from, to) = (find(&one.from)?, find(&one.to)?);
            if one.ordinal == 0 {
                return Err(PlanError::Invalid("override: `ordinal` is counted from 1".to_owned()));
            }
            if one.fate == OverrideFate::default() {
                return Err(PlanError::Invalid(format!(
                    "override {} from {} to {}: it sets nothing; allowed are delay, lost, duplicated, corrupted",
                    one.ordinal, one.from, one.to
                )));
            }
            let what = one.kind.as_deref().unwrap_or("message");
            let record = core.recorder.fault(FaultRecord {
                name: format!("override: {what} {} from {} to {}", one.ordinal, one.from, one.to),
                what: one.fate.to_string(),
                on: one.from.clone(),
                nodes: Vec::new(),
                began: Vec::new(),
                ended: Vec::new(),
                touched: 0,
            });
            let planned = PlannedOverride {
                kind: one.kind.clone(),
                ordinal: one.ordinal,
                fate: one.fate.clone(),
                record,
            };
            core.net.plan_override(from, to, planned);
        }
        Ok(())
    }

    fn main_loop(&self) -> Ending {
        let end = self.plan.end();
        // Faults planned for the very start come before the first line of any node's code.
        {
            let mut core = self.world.core.borrow_mut();
            while let Some((time, next)) = core.queue.pop(SimTime::ZERO) {
                core.step(time, next);
            }
        }
        let mut care = true;
        loop {
            if care {
                if let Some(ending) = self.world.core.borrow().stop.clone() {
                    return ending;
                }
                if let Some(ending) = self.bury() {
                    return ending;
                }
                self.start_nodes();
                care = self.world.core.borrow().needs_care();
                if care {
                    continue;
                }
            }
            let mut core = self.world.core.borrow_mut();
            if let Some(task) = core.tasks.pop_ready() {
                drop(core);
                match self.poll(task) {
                    Ok(needs_care) => care = needs_care,
                    Err(ending) => return ending,
                }
                continue;
            }
            match core.queue.pop(end) {
                Some((time, next)) => {
                    core.step(time, next);
                    care = core.needs_care();
                }
                None if core.queue.len() == 0 => return Ending::Quiet,
                None => {
                    core.now = end;
                    return Ending::Until;
                }
            }
        }
    }

    /// Starts nodes that are to start.
    fn start_nodes(&self) {
        loop {
            let mut core = self.world.core.borrow_mut();
            if core.starts.is_empty() {
                return;
            }
            for node in std::mem::take(&mut core.starts) {
                let state = &mut core.nodes[node.index()];
                if state.up || !state.powered {
                    continue;
                }
                state.up = true;
                let incarnation = state.incarnation;
                let factory = Rc::clone(state.factory.as_ref().expect("a node has code"));
                let handle = Node::new(Rc::clone(&self.world), node, incarnation);
                // The closure only makes the future: the node's code runs when the task is polled.
                let future = factory(handle);
                core.tasks.spawn(future, node, incarnation, crate::record::SpanIndex::NONE);
            }
        }
    }

    /// Drops what has died, outside all borrows. A destructor that panics ends the run.
    fn bury(&self) -> Option<Ending> {
        loop {
            let (things, futures) = {
                let mut core = self.world.core.borrow_mut();
                (std::mem::take(&mut core.graveyard), std::mem::take(&mut core.doomed))
            };
            if things.is_empty() && futures.is_empty() {
                return None;
            }
            let dropped = catch_unwind(AssertUnwindSafe(|| drop((futures, things))));
            if let Err(panic) = dropped {
                return Some(Ending::Panicked { node: "-".to_owned(), message: panic_message(&*panic) });
            }
        }
    }

    /// Polls a task once; gives whether the main loop has more to do than to poll and dispatch.
    #[inline]
    fn poll(&self, id: crate::executor::task::TaskId) -> Result<bool, Ending> {
        let mut running = {
            let mut core = self.world.core.borrow_mut();
            if core.park(id) {
                return Ok(false);
            }
            match core.tasks.fetch(id) {
                Fetched::Gone => return Ok(false),
                Fetched::Run(running) => {
                    core.current_span = running.span;
                    running
                }
            }
        };
        let mut context = Context::from_waker(&running.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| running.future.as_mut().poll(&mut context)));
        let mut core = self.world.core.borrow_mut();
        core.current_span = crate::record::SpanIndex::NONE;
        match polled {
            Ok(Poll::Ready(())) => {
                core.tasks.finished(id);
                drop(core);
                drop(running); // outside the borrow: what it holds may act when it is dropped
                Ok(self.world.core.borrow().needs_care())
            }
            Ok(Poll::Pending) => {
                let killed = core.tasks.put_back(id, running);
                let care = core.needs_care();
                drop(core);
                Ok(care | killed.is_some())
            }
            Err(panic) => {
                let message = panic_message(&*panic);
                let node = core.nodes[running.node.index()].name.to_string();
                Err(Ending::Panicked { node, message })
            }
        }
    }

    fn finish(self, ending: Ending) -> Recording {
        self.clear();
        let mut core = self.world.core.borrow_mut();
        let recorder = std::mem::replace(
            &mut core.recorder,
            Recorder::new(Origin::default(), RecordingLevel::Essential),
        );
        let (now, events, run_hash) = (core.now, core.dispatched, core.run_hash);
        recorder.finish(now, ending, events, run_hash)
    }

    /// Takes the world apart: handles inside it point back to it.
    fn clear(&self) {
        {
            let mut core = self.world.core.borrow_mut();
            // Nobody acts on the way out: every handle goes dead first.
            for node in &mut core.nodes {
                node.up = false;
            }
        }
        for _ in 0..100 {
            let things: Vec<Box<dyn std::any::Any>> = {
                let mut core = self.world.core.borrow_mut();
                let mut things: Vec<Box<dyn std::any::Any>> = std::mem::take(&mut core.graveyard);
                things.push(Box::new(std::mem::take(&mut core.doomed)));
                let futures = core.tasks.clear();
                let quiet = futures.is_empty() && things.len() == 1;
                things.push(Box::new(futures));
                for node in &mut core.nodes {
                    things.push(Box::new((
                        std::mem::take(&mut node.mailboxes),
                        std::mem::take(&mut node.services),
                        std::mem::take(&mut node.listeners),
                        std::mem::take(&mut node.hosts),
                        node.factory.take(),
                    )));
                }
                if quiet {
                    things.push(Box::new(core.queue.clear().len()));
                }
                things
            };
            drop(things);
            let core = self.world.core.borrow();
            if core.graveyard.is_empty() && core.doomed.is_empty() {
                return;
            }
        }
    }
}

/// What a panic says.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.clear();
    }
}
