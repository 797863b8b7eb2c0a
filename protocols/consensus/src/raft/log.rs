//! The log in memory: the entries that are kept, and where they begin.

use std::collections::VecDeque;

use super::messages::{Entry, Index, Position, Term};

/// Entries after a base, which stands for all that a snapshot has replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    base: Position,
    entries: VecDeque<Entry>,
}

impl Log {
    /// An empty log that goes on after `base`.
    pub fn new(base: Position) -> Self {
        Self { base, entries: VecDeque::new() }
    }
    /// What stands before the first entry that is kept.
    pub fn base(&self) -> Position {
        self.base
    }
    /// The end of the log.
    pub fn last(&self) -> Position {
        match self.entries.back() {
            Some(entry) => Position::new(entry.term, self.base.index + self.entries.len() as Index),
            None => self.base,
        }
    }
    /// How many entries are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// The entry at that index, where it is kept.
    pub fn get(&self, index: Index) -> Option<&Entry> {
        let offset = index.checked_sub(self.base.index + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }
    /// The term of the entry at that index: none before the base and after the end.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index { Some(self.base.term) } else { self.get(index).map(|entry| entry.term) }
    }
    /// The index and term of the entry at that index.
    pub fn position(&self, index: Index) -> Option<Position> {
        self.term_at(index).map(|term| Position::new(term, index))
    }
    /// Copies of the entries from `first` to `last`, as far as they are kept.
    pub fn range(&self, first: Index, last: Index) -> Vec<Entry> {
        let from = first.saturating_sub(self.base.index + 1) as usize;
        let until = (last.saturating_sub(self.base.index) as usize).min(self.entries.len());
        if from < until { self.entries.range(from..until).cloned().collect() } else { Vec::new() }
    }
    /// Copies of the entries from `first` on, of about `bytes` at most, but one at least where there is one.
    pub fn batch(&self, first: Index, bytes: usize) -> Vec<Entry> {
        let Some(from) = first.checked_sub(self.base.index + 1) else { return Vec::new() };
        let mut size = 0;
        let mut until = from as usize;
        while let Some(entry) = self.entries.get(until) {
            size += entry.size();
            if size > bytes && until > from as usize {
                break;
            }
            until += 1;
        }
        self.range(first, self.base.index + until as Index)
    }
    /// All entries that are kept.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }
    /// The first entry of the term that the entry at `index` has, as far as the log is kept.
    pub fn first_of_its_term(&self, index: Index) -> Index {
        let term = self.term_at(index);
        let mut first = index;
        while first > self.base.index + 1 && self.term_at(first - 1) == term {
            first -= 1;
        }
        first
    }
    /// The last entry at `index` or before that is of this term.
    pub fn last_of_term(&self, term: Term, index: Index) -> Option<Index> {
        let mut at = index.min(self.last().index);
        while let Some(found) = self.term_at(at) {
            if found == term {
                return Some(at);
            }
            if found < term || at == 0 {
                return None; // terms rise along a log
            }
            at -= 1;
        }
        None
    }

    /// One more entry; gives its index.
    pub fn push(&mut self, entry: Entry) -> Index {
        self.entries.push_back(entry);
        self.base.index + self.entries.len() as Index
    }
    /// Forgets all entries after `index`.
    pub fn cut_after(&mut self, index: Index) {
        self.entries.truncate(index.saturating_sub(self.base.index) as usize);
    }
    /// Forgets the entries up to `index`, which becomes the base, as far as the log reaches.
    pub fn forget_through(&mut self, index: Index) {
        let Some(base) = self.position(index) else { return };
        self.entries.drain(..(index - self.base.index) as usize);
        self.base = base;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::Payload;

    /// A log of entries with these terms, from index 1.
    fn log(terms: &[Term]) -> Log {
        let mut log = Log::default();
        for &term in terms {
            log.push(Entry { term, payload: Payload::Noop });
        }
        log
    }

    #[test]
    fn an_empty_log_ends_at_its_base() {
        let log = Log::new(Position::new(3, 9));
        assert_eq!(log.last(), Position::new(3, 9));
        assert_eq!((log.term_at(8), log.term_at(9), log.term_at(10)), (None, Some(3), None));
        assert_eq!(log.batch(10, 100), []);
        assert_eq!(log.batch(4, 100), []);
    }

    #[test]
    fn what_is_forgotten_is_asked_for_in_vain() {
        let mut log = log(&[1, 1, 2, 2, 5]);
        log.forget_through(3);
        assert_eq!((log.base(), log.last(), log.len()), (Position::new(2, 3), Position::new(5, 5), 2));
        assert_eq!((log.get(3), log.term_at(3), log.term_at(2)), (None, Some(2), None));
        assert_eq!(log.range(1, 4).len(), 1);
        log.forget_through(9);
        assert_eq!(log.len(), 2, "beyond the end nothing is forgotten");
        log.cut_after(1);
        assert_eq!(log.last(), log.base());
    }

    #[test]
    fn a_batch_has_one_entry_at_least_and_keeps_to_its_size() {
        let log = log(&[1; 10]);
        assert_eq!(log.batch(1, 0).len(), 1);
        assert_eq!(log.batch(1, 16).len(), 4);
        assert_eq!(log.batch(9, 1_000).len(), 2);
        assert_eq!(log.batch(11, 1_000).len(), 0);
    }

    #[test]
    fn a_term_is_found_from_both_sides() {
        let log = log(&[1, 1, 4, 4, 4, 6]);
        assert_eq!((log.first_of_its_term(5), log.first_of_its_term(2)), (3, 1));
        assert_eq!(log.last_of_term(4, 6), Some(5));
        assert_eq!(log.last_of_term(4, 4), Some(4));
        assert_eq!(log.last_of_term(5, 6), None);
        assert_eq!(log.last_of_term(1, 99), Some(2));
    }
}
