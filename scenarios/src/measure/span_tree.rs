//! Parents, children and self time of spans.
//!
//! The *self time* of a span is the part of its interval in which none of its children runs, wherever they run: what it
//! waits for belongs to those it waits for. A child that outlives its parent counts to the parent's end.

use std::collections::BTreeMap;

use sim_core::{
    record::{Name, Recording, Span, SpanIndex, Value},
    time::{Duration, SimTime},
};

/// For each span its children, in order of their start, and the attributes by span and key.
pub(super) struct SpanTree {
    /// Where each span's children begin in `children`; one more entry than there are spans.
    first: Vec<u32>,
    children: Vec<u32>,
    attributes: BTreeMap<(u32, Name), Value>,
}

impl SpanTree {
    pub(super) fn new(recording: &Recording) -> Self {
        let spans = &recording.spans;
        let mut first = vec![0_u32; spans.len() + 1];
        let parent = |span: &Span| Some(span.parent.0 as usize).filter(|&parent| parent < spans.len());
        for span in spans {
            if let Some(parent) = parent(span) {
                first[parent + 1] += 1;
            }
        }
        for i in 1..first.len() {
            first[i] += first[i - 1];
        }
        let mut next = first.clone();
        let mut children = vec![0_u32; first[spans.len()] as usize];
        for (i, span) in spans.iter().enumerate() {
            if let Some(parent) = parent(span) {
                children[next[parent] as usize] = i as u32;
                next[parent] += 1;
            }
        }
        // A later value of one key replaces an earlier one, which is what collecting into a map does.
        let attributes = recording.attributes.iter().map(|one| ((one.span.0, one.key), one.value)).collect();
        Self { first, children, attributes }
    }
    pub(super) fn children(&self, span: SpanIndex) -> &[u32] {
        let i = span.0 as usize;
        &self.children[self.first[i] as usize..self.first[i + 1] as usize]
    }
    /// The span and everything below it, parents before children.
    pub(super) fn family(&self, root: SpanIndex) -> Vec<SpanIndex> {
        let mut family = vec![root];
        let mut done = 0;
        while done < family.len() {
            family.extend(self.children(family[done]).iter().map(|&child| SpanIndex(child)));
            done += 1;
        }
        family
    }
    pub(super) fn attribute(&self, span: SpanIndex, key: Name) -> Option<Value> {
        self.attributes.get(&(span.0, key)).copied()
    }
    /// The self time of a span, as far as it lies in `[from, to]`.
    pub(super) fn self_time(
        &self,
        recording: &Recording,
        span: SpanIndex,
        from: SimTime,
        to: SimTime,
    ) -> Duration {
        let own = &recording.spans[span.0 as usize];
        let (start, end) = (own.start.max(from), own.end.min(to));
        if end <= start {
            return Duration::ZERO;
        }
        let mut busy = Duration::ZERO;
        let mut covered = start;
        // Children come in order of their start, so one pass makes the union of their intervals.
        for &child in self.children(span) {
            let child = &recording.spans[child as usize];
            let (from, to) = (child.start.max(covered), child.end.min(end));
            if to > from {
                busy += to.since(from);
                covered = to;
            }
        }
        end.since(start).saturating_sub(busy)
    }
}
