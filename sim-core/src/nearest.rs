//! "Did you mean ...?": the known word that is closest to the one that was typed.
//!
//! Close means few edits (a letter put in, left out, replaced, or two neighbours swapped). Each error message about an
//! unknown name ends with such a suggestion, or with none when nothing is close: a far-fetched one misleads.

/// The candidate nearest to `word`: at most one edit for every three letters of it, and at least one allowed. Case and
/// `_` against `-` do not count. A candidate that contains the word, or is contained in it, is taken when none is near.
/// Among equals the first one wins.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = normal(word);
    let allowed = (wanted.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    let mut part: Option<&str> = None;
    for candidate in candidates {
        let known = normal(candidate);
        let distance = edits(&wanted, &known);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
        if part.is_none()
            && wanted.len() >= 3
            && known.len() >= 3
            && (contains(&known, &wanted) || contains(&wanted, &known))
        {
            part = Some(candidate);
        }
    }
    best.map(|(_, candidate)| candidate).or(part)
}

/// " Did you mean `x`?", or nothing: the end of an error message.
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

fn normal(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn contains(long: &[char], short: &[char]) -> bool {
    long.windows(short.len()).any(|window| window == short)
}

/// The optimal string alignment distance: insertions, deletions, replacements, and swaps of neighbours.
fn edits(a: &[char], b: &[char]) -> usize {
    let width = b.len() + 1;
    let mut rows = vec![0_usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = replaced.min(rows[(i - 1) * width + j] + 1).min(rows[i * width + j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[(i - 2) * width + j - 2] + 1);
                }
                least
            };
        }
    }
    rows[rows.len() - 1]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABS: [&str; 4] = ["thundering-herd", "cache-dies", "retry-storm", "two-phase-commit"];

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(nearest("thundring-herd", LABS), Some("thundering-herd"));
        assert_eq!(nearest("retry_strom", LABS), Some("retry-storm"));
        assert_eq!(nearest("ttl", ["rate", "ttl"]), Some("ttl"));
        assert_eq!(nearest("tll", ["rate", "ttl"]), Some("ttl"));
    }

    #[test]
    fn a_part_of_a_name_is_enough() {
        assert_eq!(nearest("herd", LABS), Some("thundering-herd"));
        assert_eq!(nearest("db.queue.length", ["db.load", "db.queue"]), Some("db.queue"));
    }

    #[test]
    fn nothing_is_suggested_when_nothing_is_close() {
        assert_eq!(nearest("raft", LABS), None);
        assert_eq!(nearest("x", []), None);
    }

    proptest! {
        #[test]
        fn a_known_word_is_its_own_neighbour_and_distance_is_symmetric(a in "[a-z]{1,12}", b in "[a-z]{1,12}") {
            prop_assert_eq!(nearest(&a, [b.as_str(), a.as_str()]).map(normal), Some(normal(&a)));
            prop_assert_eq!(edits(&normal(&a), &normal(&b)), edits(&normal(&b), &normal(&a)));
        }
    }
}
