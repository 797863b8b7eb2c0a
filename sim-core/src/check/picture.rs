//! A picture of operations that overlap: one line each, from its invocation to its end.
//!
//! Time runs from left to right in steps, one per event, since what matters is the order of events and not the distance
//! between them. The same rows can be drawn as text or as anything else.

use super::{
    Witness,
    history::{History, Operation},
    tell,
};

/// How many operations a picture shows at most.
const ROWS_MAX: usize = 12;

/// One operation of a picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Who, such as `client-2`.
    pub client: String,
    /// What, such as `read -> 3`.
    pub label: String,
    /// When it was invoked, in words.
    pub from: String,
    /// When it ended, in words; empty where that is unknown.
    pub until: String,
    /// The step of its invocation, from 0.
    pub start: usize,
    /// The step of its end; nothing where that is unknown.
    pub end: Option<usize>,
    /// Whether this is the operation that cannot be.
    pub marked: bool,
    /// At which place of the order that was found it takes effect, from 1.
    pub place: Option<usize>,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    /// What the picture shows; empty where there is nothing to show.
    pub title: String,
    /// The operations, in order of invocation.
    pub rows: Vec<Row>,
    /// How many steps there are.
    pub steps: usize,
    /// How many operations were left out.
    pub hidden: usize,
}

impl Picture {
    fn of(history: &History, title: String, operations: &[&Operation]) -> Self {
        let mut places: Vec<u64> = operations.iter().flat_map(|o| [o.call, o.end]).collect();
        places.sort_unstable();
        places.dedup();
        places.retain(|place| *place != u64::MAX);
        let step = |place: u64| places.binary_search(&place).ok();
        let rows = operations.iter().map(|operation| Row {
            client: operation.client.to_string(),
            label: tell::label(operation),
            from: history.moment(operation, false),
            until: match operation.end {
                u64::MAX => String::new(),
                _ => history.moment(operation, true),
            },
            start: step(operation.call).unwrap_or_default(),
            end: step(operation.end),
            marked: false,
            place: None,
        });
        Self { title, rows: rows.collect(), steps: places.len(), hidden: 0 }
    }

    /// The operations of a witness, the culprit marked. Of many, those nearest to the culprit.
    pub(super) fn of_witness(history: &History, witness: &Witness) -> Self {
        let mut shown: Vec<usize> = (0..witness.operations.len()).collect();
        if shown.len() > ROWS_MAX {
            shown.sort_by_key(|index| {
                (*index != witness.culprit, std::cmp::Reverse(witness.operations[*index].end))
            });
            shown.truncate(ROWS_MAX);
            shown.sort_unstable();
        }
        let operations: Vec<&Operation> = shown.iter().map(|index| &witness.operations[*index]).collect();
        let mut picture = Self::of(history, "what cannot be:".to_owned(), &operations);
        for (row, index) in picture.rows.iter_mut().zip(&shown) {
            row.marked = *index == witness.culprit;
        }
        picture.hidden = witness.operations.len() - shown.len();
        picture
    }

    /// The operations that overlap with one of them.
    pub(super) fn around(history: &History, centre: usize) -> Self {
        let centre = &history.operations()[centre];
        let near = |other: &&Operation| {
            other.key == centre.key && !other.ended_before(centre) && !centre.ended_before(other)
        };
        let mut operations: Vec<&Operation> = history.operations().iter().filter(near).collect();
        let hidden = operations.len().saturating_sub(ROWS_MAX);
        operations.drain(..hidden);
        Self { hidden, ..Self::of(history, "where the search got to:".to_owned(), &operations) }
    }

    /// The most crowded moment, and the order that was found for it.
    pub(super) fn of_orders(history: &History, orders: &[Vec<usize>]) -> Self {
        let operations = history.operations();
        let mut most: Option<(usize, &Vec<usize>, u64)> = None;
        for order in orders {
            let mut events: Vec<(u64, bool)> = Vec::with_capacity(2 * order.len());
            for operation in order.iter().map(|index| &operations[*index]) {
                if operation.end != u64::MAX {
                    events.push((operation.call, true));
                    events.push((operation.end, false));
                }
            }
            events.sort_unstable();
            let mut open = 0;
            for (place, begins) in events {
                if begins {
                    open += 1;
                    if most.is_none_or(|(overlap, ..)| open > overlap) {
                        most = Some((open, order, place));
                    }
                } else {
                    open -= 1;
                }
            }
        }
        let Some((_, order, moment)) = most else { return Self::default() };
        let mut there: Vec<usize> = order
            .iter()
            .copied()
            .filter(|index| {
                let operation = &operations[*index];
                operation.call <= moment && moment < operation.end && operation.end != u64::MAX
            })
            .collect();
        let hidden = there.len().saturating_sub(ROWS_MAX);
        there.truncate(ROWS_MAX);
        let mut shown = there.clone();
        shown.sort_by_key(|index| operations[*index].call);
        let rows: Vec<&Operation> = shown.iter().map(|index| &operations[*index]).collect();
        let title = "its most crowded moment, with an order that explains it:".to_owned();
        let mut picture = Self { hidden, ..Self::of(history, title, &rows) };
        for (row, index) in picture.rows.iter_mut().zip(&shown) {
            row.place = there.iter().position(|other| other == index).map(|place| place + 1);
        }
        picture
    }

    /// The picture as text, in lines of at most that many columns (at least 60).
    pub fn text(&self, width: usize) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let width = width.max(60);
        let longest = |part: fn(&Row) -> usize| self.rows.iter().map(part).max().unwrap_or(0);
        let clients = longest(|row| row.client.chars().count()).min(width / 5);
        let labels = longest(|row| row.label.chars().count()).min(width / 4);
        let times = longest(|row| span(row).chars().count()).min(width / 3);
        let lane = (width - clients - labels - times - 9).min(3 * self.steps.max(2)).max(8);
        let column = |step: usize| step * (lane - 1) / self.steps.saturating_sub(1).max(1);
        let mut text = format!("{}\n", self.title);
        for row in &self.rows {
            let (start, end) = (column(row.start), row.end.map(column));
            let mut line: Vec<char> = vec![' '; lane];
            let last = end.unwrap_or(lane - 1);
            line[start..=last].fill('-');
            line[start] = '|';
            line[last] = if end.is_some() { '|' } else { '>' };
            let place = row.place.map(|place| format!("{place}.")).unwrap_or_default();
            let mark = if row.marked { "!" } else { &place };
            let drawn: String = line.into_iter().collect();
            let all = format!(
                "{mark:>3} {:clients$}  {:labels$}  {drawn} {}",
                tell::shortened(&row.client, clients),
                tell::shortened(&row.label, labels),
                tell::shortened(&span(row), times),
            );
            text.push_str(all.trim_end());
            text.push('\n');
        }
        if self.hidden > 0 {
            text.push_str(&format!("    and {} more\n", self.hidden));
        }
        text
    }
}

fn span(row: &Row) -> String {
    if row.until.is_empty() { format!("{} ..", row.from) } else { format!("{} .. {}", row.from, row.until) }
}
