//! The walk: breadth first over all states, and the way back from one that must not be.

use rustc_hash::FxHashSet;

use super::{
    Exhaustive, Found, Searchable, State, Violation,
    step::{Broken, Taken},
};

/// How a state was found first: from which, and by which of its steps. It suffices to walk there again.
#[derive(Clone, Copy)]
struct Origin {
    from: u32,
    step: u32,
}

struct Walk<'a, P: Searchable> {
    search: &'a Exhaustive<P>,
    known: FxHashSet<u128>,
    origins: Vec<Origin>,
    /// Whether each of the `sometimes` has been.
    been: Vec<bool>,
    found: Found,
}

pub(super) fn walk<P: Searchable>(
    search: &Exhaustive<P>,
    states_max: usize,
    mut seen: impl FnMut(&State<P>),
) -> Found {
    let found = Found {
        states: 0,
        transitions: 0,
        depth: 0,
        ends: 0,
        cut: 0,
        complete: false,
        violation: None,
        never: Vec::new(),
    };
    let mut walk = Walk {
        search,
        known: FxHashSet::default(),
        origins: Vec::new(),
        been: vec![false; search.sometimes.len()],
        found,
    };
    match walk.all(states_max.min(u32::MAX as usize), &mut seen) {
        Ok(complete) => walk.found.complete = complete,
        Err((broken, way)) => walk.found.violation = Some(walk.violation(broken, way)),
    }
    walk.found.states = walk.origins.len();
    let unseen = search.sometimes.iter().zip(&walk.been).filter(|(_, been)| !**been);
    walk.found.never = unseen.map(|((what, _), _)| what.clone()).collect();
    walk.found
}

/// What is broken, and where: in a known state, or on a step out of it.
type BrokenAt = (Broken, Option<(u32, Option<u32>)>);

impl<P: Searchable> Walk<'_, P> {
    /// Whether all was seen.
    fn all(&mut self, states_max: usize, seen: &mut impl FnMut(&State<P>)) -> Result<bool, BrokenAt> {
        let first = self.search.first().map_err(|broken| (broken, None))?.state;
        if states_max == 0 {
            return Ok(false);
        }
        if !self.is_within(&first) {
            return Ok(true);
        }
        self.known.insert(self.print(&first));
        self.origins.push(Origin { from: 0, step: 0 });
        seen(&first);
        self.look(&first).map_err(|broken| (broken, Some((0, None))))?;
        let mut level = vec![(0_u32, first)];
        loop {
            let mut next_level = Vec::new();
            for (index, state) in level {
                let here = self.print(&state);
                let mut leads = false;
                for (number, step) in self.search.steps(&state).into_iter().enumerate() {
                    self.found.transitions += 1;
                    let number = number as u32;
                    let taken = self.search.take(&state, step);
                    let next = taken.map_err(|broken| (broken, Some((index, Some(number)))))?.state;
                    if !self.is_within(&next) {
                        leads = true;
                        self.found.cut += 1;
                        continue;
                    }
                    let print = self.print(&next);
                    leads |= print != here;
                    if !self.known.insert(print) {
                        continue;
                    }
                    if self.origins.len() == states_max {
                        return Ok(false);
                    }
                    let there = self.origins.len() as u32;
                    self.origins.push(Origin { from: index, step: number });
                    seen(&next);
                    self.look(&next).map_err(|broken| (broken, Some((there, None))))?;
                    next_level.push((there, next));
                }
                if !leads {
                    self.found.ends += 1;
                    check(&self.search.at_end, &state).map_err(|broken| (broken, Some((index, None))))?;
                }
            }
            if next_level.is_empty() {
                return Ok(true);
            }
            self.found.depth += 1;
            level = next_level;
        }
    }

    fn print(&self, state: &State<P>) -> u128 {
        self.search.identity.as_ref().map_or_else(|| state.print(), |identity| identity(state))
    }
    fn is_within(&self, state: &State<P>) -> bool {
        self.search.within.iter().all(|holds| holds(state))
    }
    fn look(&mut self, state: &State<P>) -> Result<(), Broken> {
        for ((_, holds), been) in self.search.sometimes.iter().zip(&mut self.been) {
            *been = *been || holds(state);
        }
        check(&self.search.always, state)
    }

    /// Walks to the place again, and writes down the steps.
    fn violation(&self, (what, reason): Broken, place: Option<(u32, Option<u32>)>) -> Violation {
        let Some((mut index, last)) = place else { return Violation { what, reason, steps: Vec::new() } };
        let mut numbers: Vec<u32> = last.into_iter().collect();
        while index != 0 {
            let origin = self.origins[index as usize];
            numbers.push(origin.step);
            index = origin.from;
        }
        let mut steps = Vec::new();
        let mut state = self.search.first().map(|taken| taken.state).ok();
        for number in numbers.into_iter().rev() {
            let Some(here) = &state else { break };
            let step = self.search.steps(here)[number as usize];
            let mut text = self.search.describe(here, step);
            let taken = self.search.take(here, step).ok();
            for (node, event) in taken.iter().flat_map(|Taken { announced, .. }| announced) {
                text.push_str(&format!("; {} announces {event:?}", self.search.names[node.index()]));
            }
            steps.push(text);
            state = taken.map(|taken| taken.state);
        }
        Violation { what, reason, steps }
    }
}

fn check<P: Searchable>(checks: &[(String, super::Check<State<P>>)], state: &State<P>) -> Result<(), Broken> {
    for (what, check) in checks {
        check(state).map_err(|reason| (what.clone(), reason))?;
    }
    Ok(())
}
