//! Exhaustive search: every state that a small configuration of a protocol can reach, in any order of events.
//!
//! A simulation follows one order of events; this search follows all of them. Time does not pass: an armed timer may fire
//! at any moment, a message may arrive at any moment or never, a node may crash between any two steps. So what holds in
//! every state found here holds under every delay, of this configuration. The protocol is the same code that runs in the
//! simulator; the search calls its handlers and carries out its effects as the [host](crate::protocol::Hosted) does.
//!
//! ```text
//!   state  =  for each node: the protocol (or down), records on disk, persists without a sync and what waits for it, timers
//!             + messages on the way + where each script is + budgets that are left
//!   step   =  a message arrives | a timer fires | a command | a sync | a crash | a restart | a message is lost or doubled
//! ```
//!
//! | part | choices | what it means |
//! |---|---|---|
//! | network | [`Network::Set`] | what was sent once can arrive at any time, never, and again and again |
//! | | [`Network::Multiset`] | what was sent arrives once, in any order; losses and copies where a budget allows them |
//! | storage | [`Storage::AtOnce`] | a persist is durable when the handler returns |
//! | | [`Storage::Stepwise`] | a sync is a step; a crash before it loses what was persisted, and nothing that waits for it goes out |
//! | commands | [`offer`](Exhaustive::offer) | the application may say any of these at any time, also again |
//! | | [`script`](Exhaustive::script) | it says these in this order, each once, whenever it likes |
//!
//! The search goes breadth first, so the sequence of steps that it gives for a violation is a shortest one. A state is known
//! by 128 bits of a hash: among a hundred million states the chance that two share one is below 10^-22.
//!
//! **What is left out.** Each handler sees the same time and the same draws, so a protocol that decides by chance or by its
//! clock is searched for one outcome only. A crash falls between handlers; one that cuts a handler's sends short is covered
//! where messages can be lost. Incarnations are not told apart, since nothing that a protocol sees depends on them. One sync
//! covers all that was persisted before it: an earlier sync would have been a step of its own, and leads to the same states.

mod print;
mod state;
mod step;
mod walk;

use std::{fmt, hash::Hash};

use self::print::print_of;
use crate::{
    node::NodeId,
    protocol::Protocol,
    rng::{Key, Rng},
};

pub use state::State;

/// A protocol that can be searched: its states, messages, records and timers can be copied, compared and hashed. A bound of
/// the search, not of the trait; whatever fits has it.
pub trait Searchable:
    Protocol<
        Message: Clone + Eq + Hash,
        Command: Clone + fmt::Debug,
        Event: Clone + Eq + Hash + fmt::Debug,
        Record: Clone + Eq + Hash,
        Timer: Hash,
    > + Clone
    + Eq
    + Hash
{
}

impl<P> Searchable for P where
    P: Protocol<
            Message: Clone + Eq + Hash,
            Command: Clone + fmt::Debug,
            Event: Clone + Eq + Hash + fmt::Debug,
            Record: Clone + Eq + Hash,
            Timer: Hash,
        > + Clone
        + Eq
        + Hash
{
}

/// What becomes of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A set that never shrinks: an arrival takes nothing out, and what is sent twice is there once. It contains loss,
    /// duplication and any delay, and keeps the number of states finite where nodes repeat themselves. As in TLA+.
    Set,
    /// Each message sent is there once more, and an arrival takes it out. One that arrives at a node that is down is lost.
    #[default]
    Multiset,
}

/// When a persist is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// When the handler returns: no crash loses a record.
    #[default]
    AtOnce,
    /// After a sync, which is a step of its own. What was sent or announced after the persist waits for it.
    Stepwise {
        /// Whether a crash may leave the first few persists that had no sync on the disk; otherwise it takes them all.
        torn: bool,
    },
}

/// How often things may happen that would otherwise happen without end. Each has a counter in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Crashes, over all nodes. What is down may start again at any time.
    pub crashes: u32,
    /// Messages lost, in a [`Network::Multiset`]; without a number any of them, at any time.
    pub losses: Option<u32>,
    /// Messages that arrive and stay on their way, in a [`Network::Multiset`].
    pub copies: u32,
    /// Timers that fire, over all nodes; without a number as often as they are armed.
    pub timers: Option<u32>,
}

impl Default for Budgets {
    /// No crash, no loss, no copy; timers at will.
    fn default() -> Self {
        Self { crashes: 0, losses: Some(0), copies: 0, timers: None }
    }
}

type Check<T> = Box<dyn Fn(&T) -> Result<(), String>>;
type Test<T> = Box<dyn Fn(&T) -> bool>;
type View<T> = Box<dyn Fn(&T) -> u128>;
type EventCheck<E> = Box<dyn Fn(NodeId, &E) -> Result<(), String>>;

/// A configuration to search. See the module.
pub struct Exhaustive<P: Searchable> {
    names: Vec<String>,
    configs: Vec<P::Config>,
    before: Vec<(NodeId, P::Command)>,
    offers: Vec<(NodeId, P::Command)>,
    scripts: Vec<(NodeId, Vec<P::Command>)>,
    network: Network,
    storage: Storage,
    budgets: Budgets,
    always: Vec<(String, Check<State<P>>)>,
    at_end: Vec<(String, Check<State<P>>)>,
    sometimes: Vec<(String, Test<State<P>>)>,
    within: Vec<Test<State<P>>>,
    events: Vec<(String, EventCheck<P::Event>)>,
    keep: Option<Test<P::Event>>,
    identity: Option<View<State<P>>>,
    rng: Rng,
}

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Distinct states, with the first.
    pub states: usize,
    /// Steps tried, with those that lead to a state known already, or nowhere.
    pub transitions: u64,
    /// Steps to the farthest state, on the shortest way to it.
    pub depth: u32,
    /// States from which no step leads to another state.
    pub ends: usize,
    /// Steps that led out of the bounds, and were not followed.
    pub cut: u64,
    /// Whether every state within the bounds was seen: no violation and no limit stopped the search.
    pub complete: bool,
    /// What was wrong, with a shortest way to it.
    pub violation: Option<Violation>,
    /// The names of those [`sometimes`](Exhaustive::sometimes) that never were.
    pub never: Vec<String>,
}

/// A state that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise was broken; `the protocol` where its code panicked or wrote to a node that does not exist.
    pub what: String,
    /// What was found instead.
    pub reason: String,
    /// The steps from the first state, each in a line.
    pub steps: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.what, self.reason)?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:4}. {step}", number + 1)?;
        }
        Ok(())
    }
}

impl<P: Searchable> Default for Exhaustive<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Searchable> Exhaustive<P> {
    /// A configuration without nodes.
    pub fn new() -> Self {
        Self {
            names: Vec::new(),
            configs: Vec::new(),
            before: Vec::new(),
            offers: Vec::new(),
            scripts: Vec::new(),
            network: Network::default(),
            storage: Storage::default(),
            budgets: Budgets::default(),
            always: Vec::new(),
            at_end: Vec::new(),
            sometimes: Vec::new(),
            within: Vec::new(),
            events: Vec::new(),
            keep: None,
            identity: None,
            rng: Rng::new(&Key::root(0)),
        }
    }

    /// One more node. Nodes are numbered from 0 in this order; all are up in the first state, without records.
    pub fn node(&mut self, name: impl Into<String>, config: P::Config) -> NodeId {
        self.names.push(name.into());
        self.configs.push(config);
        NodeId((self.names.len() - 1) as u32)
    }
    /// The network; by default [`Network::Multiset`].
    pub fn network(&mut self, network: Network) -> &mut Self {
        self.network = network;
        self
    }
    /// The disks; by default [`Storage::AtOnce`].
    pub fn storage(&mut self, storage: Storage) -> &mut Self {
        self.storage = storage;
        self
    }
    /// What may go wrong, and how often.
    pub fn budgets(&mut self, budgets: Budgets) -> &mut Self {
        self.budgets = budgets;
        self
    }

    /// A command that belongs to the set-up: it is done, in the order of these calls, before the first state. What is
    /// persisted in the set-up is synced.
    pub fn before(&mut self, node: NodeId, command: P::Command) -> &mut Self {
        self.before.push((node, command));
        self
    }
    /// Commands that the node's application may give at any time, and again.
    pub fn offer(&mut self, node: NodeId, commands: impl IntoIterator<Item = P::Command>) -> &mut Self {
        self.offers.extend(commands.into_iter().map(|command| (node, command)));
        self
    }
    /// Commands that the node's application gives in this order, each once. Several scripts of a node mix at will.
    pub fn script(&mut self, node: NodeId, commands: impl IntoIterator<Item = P::Command>) -> &mut Self {
        self.scripts.push((node, commands.into_iter().collect()));
        self
    }

    /// What must hold in every state.
    pub fn always(
        &mut self,
        what: impl Into<String>,
        check: impl Fn(&State<P>) -> Result<(), String> + 'static,
    ) -> &mut Self {
        self.always.push((what.into(), Box::new(check)));
        self
    }
    /// What must hold in every state from which no step leads to another.
    pub fn at_end(
        &mut self,
        what: impl Into<String>,
        check: impl Fn(&State<P>) -> Result<(), String> + 'static,
    ) -> &mut Self {
        self.at_end.push((what.into(), Box::new(check)));
        self
    }
    /// What must hold in at least one state; else [`Found::never`] names it. It keeps promises from holding only because
    /// nothing ever happened.
    pub fn sometimes(
        &mut self,
        what: impl Into<String>,
        holds: impl Fn(&State<P>) -> bool + 'static,
    ) -> &mut Self {
        self.sometimes.push((what.into(), Box::new(holds)));
        self
    }
    /// What must hold of every event that a node announces.
    pub fn events(
        &mut self,
        what: impl Into<String>,
        check: impl Fn(NodeId, &P::Event) -> Result<(), String> + 'static,
    ) -> &mut Self {
        self.events.push((what.into(), Box::new(check)));
        self
    }
    /// Keeps these events in the state, in order, for [`always`](Self::always) to read with [`State::events`]. They outlive crashes, and
    /// states that differ in them are different states. By default none is kept.
    pub fn keep_events(&mut self, keep: impl Fn(&P::Event) -> bool + 'static) -> &mut Self {
        self.keep = Some(Box::new(keep));
        self
    }
    /// A bound: states beyond it are neither counted nor looked at. Several bounds hold together.
    pub fn within(&mut self, holds: impl Fn(&State<P>) -> bool + 'static) -> &mut Self {
        self.within.push(Box::new(holds));
        self
    }

    /// States of which this says the same are one state: for nodes that are alike (say a sorted list of what each is), or to
    /// leave out what has no say. It must not merge states from which different things can follow.
    pub fn identify_by<T: Hash>(&mut self, view: impl Fn(&State<P>) -> T + 'static) -> &mut Self {
        self.identity = Some(Box::new(move |state| print_of(&view(state))));
        self
    }

    /// Searches until everything was seen, a promise was broken, or so many states are known.
    ///
    /// # Panics
    /// When a command is meant for a node that does not exist.
    pub fn run(&self, states_max: usize) -> Found {
        walk::walk(self, states_max, |_| {})
    }
    /// As [`run`](Self::run), and shows each state as it is found: the first comes first.
    pub fn run_with(&self, states_max: usize, seen: impl FnMut(&State<P>)) -> Found {
        walk::walk(self, states_max, seen)
    }
}
