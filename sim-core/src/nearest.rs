//! The nearest valid name, for errors about misspelt ones.

/// The candidate that takes the fewest changes (a letter added, removed, replaced, or two neighbours swapped) to become
/// `word`; `None` where even the nearest would have to change in more than about a third of its letters.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, candidate)| {
            distance <= candidate.chars().count().max(word.chars().count()).div_ceil(3)
        })
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment: Levenshtein's distance with swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_nonsense_has_none() {
        let names = ["thundering-herd", "write-ahead-log", "ttl"];
        assert_eq!(nearest("thundering-hred", names), Some("thundering-herd"));
        assert_eq!(nearest("write-ahead", names), Some("write-ahead-log"));
        assert_eq!(nearest("tll", names), Some("ttl"));
        assert_eq!(nearest("coffee", names), None);
        assert_eq!(nearest("x", []), None);
    }
}
