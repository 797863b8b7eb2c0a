//! Steps: which can be taken from a state, where they lead, and how they read.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use super::{
    Exhaustive, Network, Searchable, State, Storage,
    state::{Envelope, Left, Machine, Packet, Write, put},
};
use crate::{
    node::NodeId,
    protocol::{Effect, Out},
    sim::panic_message,
    time::{Monotonic, Wall},
};

/// A step, by its place in the state from which it is taken.
#[derive(Clone, Copy)]
pub(super) enum Step<T> {
    /// A message arrives, and stays on its way too or not.
    Arrive { packet: usize, stays: bool },
    /// A timer fires.
    Fire { node: NodeId, timer: T },
    /// A command that is offered.
    Offer(usize),
    /// The next command of a script.
    Script(usize),
    /// All that a node has persisted is safe.
    Sync(NodeId),
    /// A node starts again.
    Restart(NodeId),
    /// A node dies; the first few of its persists without a sync are on the disk all the same.
    Crash { node: NodeId, kept: usize },
    /// A message is lost.
    Lose(usize),
}

/// What is broken: which promise, and how.
pub(super) type Broken = (String, String);

/// What a step has led to, and what was announced on the way.
pub(super) struct Taken<P: Searchable> {
    pub(super) state: State<P>,
    pub(super) announced: Vec<(NodeId, P::Event)>,
}

impl<P: Searchable> Exhaustive<P> {
    /// The first state: all nodes up, and the set-up done.
    pub(super) fn first(&self) -> Result<Taken<P>, Broken> {
        let nodes = self.names.len();
        let commands = self.before.iter().chain(&self.offers).map(|(node, _)| node);
        for node in commands.chain(self.scripts.iter().map(|(node, _)| node)) {
            assert!(node.index() < nodes, "a command for {node:?}, but there are {nodes} nodes");
        }
        let left = Left {
            crashes: self.budgets.crashes,
            losses: self.budgets.losses,
            copies: self.budgets.copies,
            timers: self.budgets.timers,
            scripts: vec![0; self.scripts.len()],
        };
        let machines = (0..nodes).map(|_| Rc::new(Machine::new())).collect();
        let mut taken =
            Taken { state: State { machines, network: Rc::default(), left }, announced: Vec::new() };
        for node in taken.state.nodes() {
            self.restore(&mut taken, node)?;
            self.sync(&mut taken, node)?;
        }
        for (node, command) in &self.before {
            self.handle(&mut taken, *node, |protocol, out| protocol.on_command(command.clone(), out))?;
            self.sync(&mut taken, *node)?;
        }
        Ok(taken)
    }

    /// The steps that can be taken, always in the same order: what is usual comes before what goes wrong.
    pub(super) fn steps(&self, state: &State<P>) -> Vec<Step<P::Timer>> {
        let is_set = self.network == Network::Set;
        let left = &state.left;
        let up = |node: NodeId| state.machines[node.index()].protocol.is_some();
        let mut steps = Vec::new();
        for (packet, there) in state.network.iter().enumerate() {
            // In a set, an arrival where nobody is up changes nothing.
            if !is_set || up(there.envelope.to) {
                steps.push(Step::Arrive { packet, stays: is_set });
            }
        }
        if left.timers != Some(0) {
            for node in state.nodes() {
                let timers = state.timers(node).iter();
                steps.extend(timers.map(|&timer| Step::Fire { node, timer }));
            }
        }
        for (offer, (node, _)) in self.offers.iter().enumerate() {
            if up(*node) {
                steps.push(Step::Offer(offer));
            }
        }
        for (script, (node, commands)) in self.scripts.iter().enumerate() {
            if up(*node) && (left.scripts[script] as usize) < commands.len() {
                steps.push(Step::Script(script));
            }
        }
        steps.extend(state.nodes().filter(|&node| state.is_behind(node)).map(Step::Sync));
        steps.extend(state.nodes().filter(|&node| !up(node)).map(Step::Restart));
        if left.crashes > 0 {
            for node in state.nodes().filter(|&node| up(node)) {
                let torn = self.storage == (Storage::Stepwise { torn: true });
                let most = if torn { state.machines[node.index()].writes.len() } else { 0 };
                steps.extend((0..=most).map(|kept| Step::Crash { node, kept }));
            }
        }
        if !is_set && left.losses != Some(0) {
            steps.extend((0..state.network.len()).map(Step::Lose));
        }
        if !is_set && left.copies > 0 {
            let received = |packet: &usize| up(state.network[*packet].envelope.to);
            let packets = (0..state.network.len()).filter(received);
            steps.extend(packets.map(|packet| Step::Arrive { packet, stays: true }));
        }
        steps
    }

    /// Takes a step.
    pub(super) fn take(&self, state: &State<P>, step: Step<P::Timer>) -> Result<Taken<P>, Broken> {
        let mut taken = Taken { state: state.clone(), announced: Vec::new() };
        match step {
            Step::Arrive { packet, stays } => {
                let envelope = Rc::clone(&state.network[packet].envelope);
                if !stays {
                    taken.state.take(packet);
                } else if self.network == Network::Multiset {
                    taken.state.left.copies -= 1;
                }
                if state.protocol(envelope.to).is_some() {
                    let (from, message) = (envelope.from, envelope.message.clone());
                    self.handle(&mut taken, envelope.to, |protocol, out| {
                        protocol.on_message(from, message, out);
                    })?;
                }
            }
            Step::Fire { node, timer } => {
                if let Some(timers) = &mut taken.state.left.timers {
                    *timers -= 1;
                }
                Rc::make_mut(&mut taken.state.machines[node.index()]).timers.remove(&timer);
                self.handle(&mut taken, node, |protocol, out| protocol.on_timer(timer, out))?;
            }
            Step::Offer(offer) => {
                let (node, command) = &self.offers[offer];
                self.handle(&mut taken, *node, |protocol, out| protocol.on_command(command.clone(), out))?;
            }
            Step::Script(script) => {
                let (node, commands) = &self.scripts[script];
                let command = commands[taken.state.left.scripts[script] as usize].clone();
                taken.state.left.scripts[script] += 1;
                self.handle(&mut taken, *node, |protocol, out| protocol.on_command(command, out))?;
            }
            Step::Sync(node) => self.sync(&mut taken, node)?,
            Step::Restart(node) => self.restore(&mut taken, node)?,
            Step::Crash { node, kept } => {
                taken.state.left.crashes -= 1;
                let machine = Rc::make_mut(&mut taken.state.machines[node.index()]);
                machine.protocol = None;
                machine.held.clear();
                machine.held_events.clear();
                machine.timers.clear();
                for write in std::mem::take(&mut machine.writes).into_iter().take(kept) {
                    write.apply(&mut machine.records);
                }
                machine.seal();
            }
            Step::Lose(packet) => {
                if let Some(losses) = &mut taken.state.left.losses {
                    *losses -= 1;
                }
                taken.state.take(packet);
            }
        }
        Ok(taken)
    }

    /// Calls a handler of a node that is up, and carries out what it says.
    fn handle(
        &self,
        taken: &mut Taken<P>,
        node: NodeId,
        handler: impl FnOnce(&mut P, &mut Out<P>),
    ) -> Result<(), Broken> {
        let machine = Rc::make_mut(&mut taken.state.machines[node.index()]);
        let Some(protocol) = &mut machine.protocol else { return Ok(()) };
        let mut out = Out::with_rng(Monotonic::ZERO, Wall::START, self.rng.clone());
        catch_unwind(AssertUnwindSafe(|| handler(protocol, &mut out)))
            .map_err(|panic| self.panicked(&*panic, node))?;
        self.carry_out(taken, node, out)
    }

    /// Starts a node with what its disk holds.
    fn restore(&self, taken: &mut Taken<P>, node: NodeId) -> Result<(), Broken> {
        let machine = Rc::make_mut(&mut taken.state.machines[node.index()]);
        let records = machine.records.clone();
        let mut out = Out::with_rng(Monotonic::ZERO, Wall::START, self.rng.clone());
        let protocol =
            catch_unwind(AssertUnwindSafe(|| P::restore(&self.configs[node.index()], records, &mut out)));
        machine.protocol = Some(protocol.map_err(|panic| self.panicked(&*panic, node))?);
        self.carry_out(taken, node, out)
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send), node: NodeId) -> Broken {
        let name = &self.names[node.index()];
        ("the protocol".to_owned(), format!("{name} panicked: {}", panic_message(panic)))
    }

    fn carry_out(&self, taken: &mut Taken<P>, node: NodeId, mut out: Out<P>) -> Result<(), Broken> {
        let at_once = self.storage == Storage::AtOnce;
        for effect in out.take() {
            let machine = Rc::make_mut(&mut taken.state.machines[node.index()]);
            let write = match effect {
                Effect::Send(to, message) => {
                    self.send(taken, node, to, message)?;
                    continue;
                }
                Effect::Announce(event) => {
                    self.announce(taken, node, event)?;
                    continue;
                }
                Effect::Arm(timer, _) => {
                    machine.timers.insert(timer);
                    continue;
                }
                Effect::Disarm(timer) => {
                    machine.timers.remove(&timer);
                    continue;
                }
                Effect::State(..) => continue,
                Effect::Append(record) => Write::Append(record),
                Effect::Truncate(keep) => Write::Truncate(keep),
                Effect::Replace(records) => Write::Replace(records),
            };
            if at_once {
                write.apply(&mut machine.records);
            } else {
                machine.writes.push(write);
            }
        }
        Rc::make_mut(&mut taken.state.machines[node.index()]).seal();
        Ok(())
    }

    /// All that a node has persisted is safe, and what waited for it goes out.
    fn sync(&self, taken: &mut Taken<P>, node: NodeId) -> Result<(), Broken> {
        let machine = Rc::make_mut(&mut taken.state.machines[node.index()]);
        for write in std::mem::take(&mut machine.writes) {
            write.apply(&mut machine.records);
        }
        let held = std::mem::take(&mut machine.held);
        let events = std::mem::take(&mut machine.held_events);
        if !held.is_empty() {
            let network = Rc::make_mut(&mut taken.state.network);
            for packet in held {
                put(network, packet, self.network == Network::Set);
            }
        }
        for event in events {
            self.announce(taken, node, event)?;
        }
        Rc::make_mut(&mut taken.state.machines[node.index()]).seal();
        Ok(())
    }

    /// Puts a message on its way, or to what waits for a sync.
    fn send(
        &self,
        taken: &mut Taken<P>,
        from: NodeId,
        to: NodeId,
        message: P::Message,
    ) -> Result<(), Broken> {
        if to.index() >= self.names.len() {
            let (name, nodes) = (&self.names[from.index()], self.names.len());
            let reason = format!("{name} sends {message:?} to node {to:?}, but there are {nodes} nodes");
            return Err(("the protocol".to_owned(), reason));
        }
        let packet = Packet { envelope: Rc::new(Envelope::new(from, to, message)), count: 1 };
        let is_set = self.network == Network::Set;
        let machine = &mut taken.state.machines[from.index()];
        if machine.writes.is_empty() {
            put(Rc::make_mut(&mut taken.state.network), packet, is_set);
        } else {
            put(&mut Rc::make_mut(machine).held, packet, is_set);
        }
        Ok(())
    }

    fn announce(&self, taken: &mut Taken<P>, node: NodeId, event: P::Event) -> Result<(), Broken> {
        let machine = &mut taken.state.machines[node.index()];
        let keeps = self.keep.as_ref().is_some_and(|keep| keep(&event));
        if !machine.writes.is_empty() {
            // What nobody will look at, or look at twice, need not tell states apart.
            if keeps || (!self.events.is_empty() && !machine.held_events.contains(&event)) {
                Rc::make_mut(machine).held_events.push(event);
            }
            return Ok(());
        }
        for (what, check) in &self.events {
            check(node, &event).map_err(|reason| (what.clone(), reason))?;
        }
        if keeps {
            Rc::make_mut(machine).events.push(event.clone());
        }
        taken.announced.push((node, event));
        Ok(())
    }

    /// A step in words.
    pub(super) fn describe(&self, state: &State<P>, step: Step<P::Timer>) -> String {
        let name = |node: NodeId| self.names[node.index()].as_str();
        match step {
            Step::Arrive { packet, stays } => {
                let envelope = &state.network[packet].envelope;
                let copy = if stays && self.network == Network::Multiset { " (a copy)" } else { "" };
                let lost =
                    if state.protocol(envelope.to).is_none() { " (lost: the receiver is down)" } else { "" };
                let (from, to) = (name(envelope.from), name(envelope.to));
                format!("{from} -> {to}: {:?}{copy}{lost}", envelope.message)
            }
            Step::Fire { node, timer } => format!("{}: timer {timer:?}", name(node)),
            Step::Offer(offer) => {
                let (node, command) = &self.offers[offer];
                format!("{}: command {command:?}", name(*node))
            }
            Step::Script(script) => {
                let (node, commands) = &self.scripts[script];
                format!("{}: command {:?}", name(*node), commands[state.left.scripts[script] as usize])
            }
            Step::Sync(node) => format!("{}: sync", name(node)),
            Step::Restart(node) => format!("{}: restart", name(node)),
            Step::Crash { node, kept: 0 } => format!("{}: crash", name(node)),
            Step::Crash { node, kept } => {
                format!("{}: crash, and the first {kept} persists without a sync stay", name(node))
            }
            Step::Lose(packet) => {
                let envelope = &state.network[packet].envelope;
                format!("lost: {} -> {}: {:?}", name(envelope.from), name(envelope.to), envelope.message)
            }
        }
    }
}
