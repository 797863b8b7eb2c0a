//! The search for an order: Wing & Gong's algorithm (1993) with Lowe's memoised configurations (2016).
//!
//! A *configuration* is the set of operations that have taken effect, and the state they led to. The search goes depth
//! first from the empty one: any operation that was invoked before the first pending end may be the next. Two configurations
//! with the same operations and the same state have the same future, so the second is not looked into.
//!
//! Operations come in two kinds. *Certain* ones must take effect between their invocation and their end. *Optional* ones
//! may: those whose outcome is unknown, at any time after their invocation, and those that a witness can do without,
//! inside their interval. Optional operations are tried last, and pruned by four rules, each of which only drops an order
//! for which there is another one with fewer optional operations:
//!
//! - of two configurations with the same certain operations and the same state, one whose optional operations include
//!   those of the other is dropped: what was not used can still be used;
//! - an optional operation that changes nothing is not used;
//! - an optional operation is not used where the next one leads to the same state without it;
//! - of two that do the same, the one that was invoked first and can wait no longer is used first.
//!
//! And a certain operation that only observes, and may observe what is there, takes effect at once: in an order where it
//! comes later it can as well come now.

use std::hash::Hash;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::model::Model;

/// No place at all: the end of an operation that may still happen.
pub(super) const NEVER: u64 = u64::MAX;
/// How many operations that the state does not allow cost as much as one configuration.
const REFUSALS_PER_CONFIGURATION: u64 = 64;

/// An operation as the search sees it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Its action, by number.
    pub action: u32,
    /// The place of its invocation.
    pub call: u64,
    /// The place of its end, [`NEVER`] where it has none.
    pub end: u64,
    /// The certain operation that must come before.
    pub after: Option<u32>,
    /// Its process, numbered from 0: of two operations of one process the later one never comes first.
    pub process: u32,
    /// For an optional one: the optional operation with the same action that is used first while it can be.
    pub twin: Option<u32>,
    /// Whether the state after it does not depend on the state before it.
    pub overwrites: bool,
    /// Whether it never changes the state.
    pub only_observes: bool,
    /// Which operation of the history it is.
    pub operation: usize,
}

/// What to find an order for.
#[derive(Clone, Debug, Default)]
pub(super) struct Problem {
    /// In order of invocation.
    pub certain: Vec<Step>,
    /// In order of invocation.
    pub optional: Vec<Step>,
    /// Whether operations that do not overlap keep their order; otherwise only those of one process do.
    pub real_time: bool,
    /// How many processes there are.
    pub processes: usize,
    /// Whether optional operations have an end.
    pub relaxed: bool,
}

/// What the search found.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// An order, as operations of the history.
    Order(Vec<usize>),
    /// There is none. With real time: no order gets past the end of this operation of the history.
    NoOrder { furthest: usize },
    /// The budget was used up. No order tried so far gets past the end of this operation.
    Exhausted { furthest: usize },
}

/// States and actions by number, and which state follows which: each pair is asked of the model once.
pub(super) struct Machine<'m, M: Model> {
    model: &'m M,
    states: Vec<M::State>,
    numbers: FxHashMap<M::State, u32>,
    actions: Vec<M::Action>,
    action_numbers: FxHashMap<M::Action, u32>,
    follows: FxHashMap<u64, SmallVec<[u32; 2]>>,
    scratch: Vec<M::State>,
}

impl<'m, M: Model> Machine<'m, M> {
    pub(super) fn new(model: &'m M) -> Self {
        let mut machine = Self {
            model,
            states: Vec::new(),
            numbers: FxHashMap::default(),
            actions: Vec::new(),
            action_numbers: FxHashMap::default(),
            follows: FxHashMap::default(),
            scratch: Vec::new(),
        };
        machine.state(model.initial());
        machine
    }
    fn state(&mut self, state: M::State) -> u32 {
        number(&mut self.numbers, &mut self.states, state)
    }
    pub(super) fn action(&mut self, action: M::Action) -> u32 {
        number(&mut self.action_numbers, &mut self.actions, action)
    }
    pub(super) fn action_of(&self, number: u32) -> &M::Action {
        &self.actions[number as usize]
    }
}

fn number<T: Clone + Eq + Hash>(numbers: &mut FxHashMap<T, u32>, all: &mut Vec<T>, one: T) -> u32 {
    if let Some(number) = numbers.get(&one) {
        return *number;
    }
    let number = all.len() as u32;
    all.push(one.clone());
    numbers.insert(one, number);
    number
}

/// A model whose states and actions are numbers; state 0 is the first.
pub(super) trait Numbered {
    fn follow(&mut self, state: u32, action: u32) -> SmallVec<[u32; 2]>;
}

impl<M: Model> Numbered for Machine<'_, M> {
    fn follow(&mut self, state: u32, action: u32) -> SmallVec<[u32; 2]> {
        let key = (u64::from(state) << 32) | u64::from(action);
        if let Some(known) = self.follows.get(&key) {
            return known.clone();
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.model.step(&self.states[state as usize], &self.actions[action as usize], &mut scratch);
        let mut next: SmallVec<[u32; 2]> = SmallVec::new();
        for state in scratch.drain(..) {
            let state = self.state(state);
            if !next.contains(&state) {
                next.push(state);
            }
        }
        self.scratch = scratch;
        self.follows.insert(key, next.clone());
        next
    }
}

/// The certain operations that have taken effect, and the state: what two configurations are compared by. The set begins
/// at its first word that is not full and ends at its last that is not empty, so equal sets have equal words.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Configuration {
    first_word: u32,
    state: u32,
    words: SmallVec<[u64; 2]>,
}

/// A set of optional operations, without empty words at its end.
type Used = SmallVec<[u64; 2]>;

fn includes(large: &[u64], small: &[u64]) -> bool {
    small.len() <= large.len() && small.iter().zip(large).all(|(small, large)| small & !large == 0)
}

/// Which operation a step of the search took.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Certain(u32),
    Optional(u32),
}

/// Where the search goes on when it comes back to a configuration.
#[derive(Clone, Copy)]
enum Cursor {
    /// Behind this node of the list of certain operations.
    Certain(u32),
    /// At this optional operation, where operations invoked before that place may take effect.
    Optional(u32, u64),
    /// Nowhere: there was no choice.
    Nowhere,
}

struct Frame {
    choice: Choice,
    state_before: u32,
    floor_before: u64,
    top_before: u32,
    latest_before: u64,
    /// Other states that may follow the same choice.
    others: SmallVec<[u32; 2]>,
    resume: Cursor,
}

/// The doubly linked list of events of certain operations that have not taken effect. With real time these are
/// invocations and ends in their order; without, only the next operation of each process is in the list.
struct Pending {
    next: Vec<u32>,
    previous: Vec<u32>,
    real_time: bool,
    /// Without real time: the operation that follows in the same process.
    successor: Vec<Option<u32>>,
}

const HEAD: u32 = 0;
fn call_node(certain: u32) -> u32 {
    1 + 2 * certain
}
fn certain_of(node: u32) -> (u32, bool) {
    ((node - 1) / 2, (node - 1) % 2 == 1)
}

impl Pending {
    fn new(problem: &Problem) -> Self {
        let count = problem.certain.len();
        let mut pending = Self {
            next: vec![HEAD; 2 * count + 1],
            previous: vec![HEAD; 2 * count + 1],
            real_time: problem.real_time,
            successor: vec![None; count],
        };
        if problem.real_time {
            let mut events: Vec<(u64, u32)> = Vec::with_capacity(2 * count);
            for (index, step) in problem.certain.iter().enumerate() {
                let node = call_node(index as u32);
                events.push((step.call, node));
                events.push((step.end, node + 1));
            }
            events.sort_unstable();
            for (_, node) in events {
                pending.push_back(node);
            }
        } else {
            for (index, step) in problem.certain.iter().enumerate() {
                match step.after {
                    Some(before) => pending.successor[before as usize] = Some(index as u32),
                    None => pending.push_back(call_node(index as u32)),
                }
            }
        }
        pending
    }
    fn push_back(&mut self, node: u32) {
        let last = self.previous[HEAD as usize];
        self.next[last as usize] = node;
        self.previous[node as usize] = last;
        self.next[node as usize] = HEAD;
        self.previous[HEAD as usize] = node;
    }
    fn remove(&mut self, node: u32) {
        let (previous, next) = (self.previous[node as usize], self.next[node as usize]);
        self.next[previous as usize] = next;
        self.previous[next as usize] = previous;
    }
    /// Puts a node back where it was: nodes come back in the opposite order in which they went.
    fn restore(&mut self, node: u32) {
        let (previous, next) = (self.previous[node as usize], self.next[node as usize]);
        self.next[previous as usize] = node;
        self.previous[next as usize] = node;
    }
    fn take(&mut self, certain: u32) {
        let node = call_node(certain);
        self.remove(node);
        if self.real_time {
            self.remove(node + 1);
        } else if let Some(successor) = self.successor[certain as usize] {
            self.push_back(call_node(successor));
        }
    }
    fn give_back(&mut self, certain: u32) {
        let node = call_node(certain);
        if self.real_time {
            self.restore(node + 1);
        } else if let Some(successor) = self.successor[certain as usize] {
            self.remove(call_node(successor));
        }
        self.restore(node);
    }
}

/// Searches an order. `examined` counts configurations up, and the search gives up when it reaches `limit`.
pub(super) fn search(problem: &Problem, machine: &mut dyn Numbered, limit: u64, examined: &mut u64) -> Found {
    Search::new(problem, machine).run(limit, examined)
}

struct Search<'p> {
    problem: &'p Problem,
    machine: &'p mut dyn Numbered,
    pending: Pending,
    seen: FxHashMap<Configuration, SmallVec<[Used; 1]>>,
    frames: Vec<Frame>,
    done: Vec<u64>,
    /// Every word of `done` below this one is full.
    first_word: usize,
    /// One more than the greatest certain operation that has taken effect.
    top: u32,
    used: Vec<u64>,
    used_words: usize,
    state: u32,
    /// The latest invocation among the operations that have taken effect.
    floor: u64,
    /// The same for each process, and one more: 0 where none has.
    latest: Vec<u64>,
    refusals: u64,
    /// The furthest pending end at which a configuration was stuck; without real time, how many certain operations.
    furthest: (u64, usize),
}

impl<'p> Search<'p> {
    fn new(problem: &'p Problem, machine: &'p mut dyn Numbered) -> Self {
        Self {
            problem,
            machine,
            pending: Pending::new(problem),
            seen: FxHashMap::default(),
            frames: Vec::new(),
            done: vec![0; problem.certain.len().div_ceil(64)],
            first_word: 0,
            top: 0,
            used: vec![0; problem.optional.len().div_ceil(64)],
            used_words: 0,
            state: 0,
            floor: 0,
            latest: vec![0; problem.processes],
            refusals: 0,
            furthest: (0, 0),
        }
    }

    fn is_done(&self, certain: u32) -> bool {
        self.done[certain as usize / 64] >> (certain % 64) & 1 == 1
    }
    fn is_used(&self, optional: u32) -> bool {
        self.used[optional as usize / 64] >> (optional % 64) & 1 == 1
    }

    fn run(mut self, limit: u64, examined: &mut u64) -> Found {
        let mut cursor = Cursor::Certain(HEAD);
        loop {
            if self.pending.next[HEAD as usize] == HEAD {
                return Found::Order(self.order());
            }
            if let Some((choice, resume)) = self.next_choice(cursor, examined) {
                let states = self.states_after(choice);
                match self.enter(choice, states, resume, examined) {
                    true => cursor = Cursor::Certain(HEAD),
                    false => cursor = resume,
                }
            } else {
                let Some(frame) = self.leave() else {
                    return Found::NoOrder { furthest: self.furthest.1 };
                };
                cursor = frame.resume;
                if self.enter(frame.choice, frame.others, frame.resume, examined) {
                    cursor = Cursor::Certain(HEAD);
                }
            }
            if *examined > limit {
                return Found::Exhausted { furthest: self.furthest.1 };
            }
        }
    }

    fn step(&self, choice: Choice) -> &'p Step {
        match choice {
            Choice::Certain(index) => &self.problem.certain[index as usize],
            Choice::Optional(index) => &self.problem.optional[index as usize],
        }
    }
    fn order(&self) -> Vec<usize> {
        self.frames.iter().map(|frame| self.step(frame.choice).operation).collect()
    }

    /// The next operation that may take effect here and has a state to lead to, and where to go on after it.
    fn next_choice(&mut self, cursor: Cursor, examined: &mut u64) -> Option<(Choice, Cursor)> {
        if matches!(cursor, Cursor::Certain(HEAD))
            && let Some(certain) = self.forced()
        {
            return Some((Choice::Certain(certain), Cursor::Nowhere));
        }
        let (mut optional, limit) = match cursor {
            Cursor::Nowhere => return None,
            Cursor::Optional(index, limit) => (index, limit),
            Cursor::Certain(mut node) => loop {
                node = self.pending.next[node as usize];
                if node == HEAD {
                    self.note_furthest(self.frames.len() as u64, None);
                    break (0, NEVER);
                }
                let (certain, is_end) = certain_of(node);
                let step = &self.problem.certain[certain as usize];
                if is_end {
                    self.note_furthest(step.end, Some(step.operation));
                    break (0, step.end);
                }
                // Without real time only what is ready is in the list.
                if self.problem.real_time && step.after.is_some_and(|before| !self.is_done(before)) {
                    continue;
                }
                let action = step.action;
                if self.leads_somewhere(action, examined) {
                    return Some((Choice::Certain(certain), Cursor::Certain(node)));
                }
            },
        };
        let after_optional = matches!(self.frames.last(), Some(Frame { choice: Choice::Optional(_), .. }));
        while let Some(step) = self.problem.optional.get(optional as usize) {
            let index = optional;
            optional += 1;
            if step.call >= limit {
                break; // as all that follow
            }
            if (after_optional && step.overwrites) || !self.is_available(index) {
                continue;
            }
            if step.twin.is_some_and(|twin| self.is_available(twin)) {
                continue;
            }
            let action = step.action;
            if self.leads_somewhere(action, examined) {
                return Some((Choice::Optional(index), Cursor::Optional(optional, limit)));
            }
        }
        None
    }

    /// A certain operation that may take effect here, leads nowhere else, and keeps no other operation from taking effect.
    fn forced(&mut self) -> Option<u32> {
        let mut node = HEAD;
        loop {
            node = self.pending.next[node as usize];
            if node == HEAD {
                return None;
            }
            let (certain, is_end) = certain_of(node);
            let step = &self.problem.certain[certain as usize];
            if is_end {
                self.note_furthest(step.end, Some(step.operation));
                return None;
            }
            let ready = !self.problem.real_time || step.after.is_none_or(|before| self.is_done(before));
            if step.only_observes
                && ready
                && (!self.problem.relaxed || (self.problem.real_time && step.call <= self.floor))
                && self.machine.follow(self.state, step.action).contains(&self.state)
            {
                return Some(certain);
            }
        }
    }

    fn is_available(&self, optional: u32) -> bool {
        let step = &self.problem.optional[optional as usize];
        !self.is_used(optional)
            && step.end > self.floor
            && step.after.is_none_or(|before| self.is_done(before))
            && self.latest[step.process as usize] <= step.call
    }

    fn note_furthest(&mut self, place: u64, operation: Option<usize>) {
        if place >= self.furthest.0 {
            let operation = operation.or_else(|| {
                // Any operation that is stuck here.
                let node = self.pending.next[HEAD as usize];
                (node != HEAD).then(|| self.problem.certain[certain_of(node).0 as usize].operation)
            });
            self.furthest = (place, operation.unwrap_or(self.furthest.1));
        }
    }

    fn leads_somewhere(&mut self, action: u32, examined: &mut u64) -> bool {
        let possible = !self.machine.follow(self.state, action).is_empty();
        if !possible {
            self.refusals += 1;
            if self.refusals == REFUSALS_PER_CONFIGURATION {
                self.refusals = 0;
                *examined += 1;
            }
        }
        possible
    }

    /// The states that the choice leads to, without those to which a shorter way leads.
    fn states_after(&mut self, choice: Choice) -> SmallVec<[u32; 2]> {
        let action = self.step(choice).action;
        let mut states = self.machine.follow(self.state, action);
        if matches!(choice, Choice::Optional(_)) {
            states.retain(|state| *state != self.state);
        }
        if let Some(Frame { choice: Choice::Optional(_), state_before, .. }) = self.frames.last() {
            let without = self.machine.follow(*state_before, action);
            states.retain(|state| !without.contains(state));
        }
        states
    }

    /// Lets an operation take effect, with the first of the states that leads to a new configuration.
    fn enter(
        &mut self,
        choice: Choice,
        mut states: SmallVec<[u32; 2]>,
        resume: Cursor,
        examined: &mut u64,
    ) -> bool {
        if states.is_empty() {
            return false;
        }
        let frame_state = self.state;
        let (floor_before, top_before) = (self.floor, self.top);
        let process = self.step(choice).process as usize;
        let latest_before = self.latest[process];
        self.latest[process] = self.step(choice).call + 1;
        self.take_effect(choice);
        while !states.is_empty() {
            let state = states.remove(0);
            self.state = state;
            *examined += 1;
            if self.is_new() {
                self.frames.push(Frame {
                    choice,
                    state_before: frame_state,
                    floor_before,
                    top_before,
                    latest_before,
                    others: states,
                    resume,
                });
                return true;
            }
        }
        self.take_back(choice, frame_state, floor_before, top_before, latest_before);
        false
    }

    fn leave(&mut self) -> Option<Frame> {
        let frame = self.frames.pop()?;
        let Frame { choice, state_before, floor_before, top_before, latest_before, .. } = frame;
        self.take_back(choice, state_before, floor_before, top_before, latest_before);
        Some(frame)
    }

    fn take_effect(&mut self, choice: Choice) {
        match choice {
            Choice::Certain(index) => {
                self.floor = self.floor.max(self.problem.certain[index as usize].call);
                self.pending.take(index);
                self.done[index as usize / 64] |= 1 << (index % 64);
                self.top = self.top.max(index + 1);
                while self.done.get(self.first_word) == Some(&u64::MAX) {
                    self.first_word += 1;
                }
            }
            Choice::Optional(index) => {
                self.floor = self.floor.max(self.problem.optional[index as usize].call);
                let word = index as usize / 64;
                self.used[word] |= 1 << (index % 64);
                self.used_words = self.used_words.max(word + 1);
            }
        }
    }

    fn take_back(&mut self, choice: Choice, state: u32, floor: u64, top: u32, latest: u64) {
        let process = self.step(choice).process as usize;
        self.latest[process] = latest;
        match choice {
            Choice::Certain(index) => {
                self.pending.give_back(index);
                self.done[index as usize / 64] &= !(1 << (index % 64));
                self.first_word = self.first_word.min(index as usize / 64);
            }
            Choice::Optional(index) => {
                self.used[index as usize / 64] &= !(1 << (index % 64));
                while self.used_words > 0 && self.used[self.used_words - 1] == 0 {
                    self.used_words -= 1;
                }
            }
        }
        (self.state, self.floor, self.top) = (state, floor, top);
    }

    /// Whether this configuration has a future that no configuration seen before has. It is seen from now on.
    fn is_new(&mut self) -> bool {
        let words = match (self.top as usize).div_ceil(64) {
            end if end > self.first_word => SmallVec::from_slice(&self.done[self.first_word..end]),
            _ => SmallVec::new(),
        };
        let configuration = Configuration { first_word: self.first_word as u32, state: self.state, words };
        let used = &self.used[..self.used_words];
        let others = self.seen.entry(configuration).or_default();
        if others.iter().any(|other| includes(used, other)) {
            return false;
        }
        others.retain(|other| !includes(other, used));
        others.push(SmallVec::from_slice(used));
        true
    }
}
