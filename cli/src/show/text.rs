//! Lines of text: broken between words, cut, set to the left and to the right.

/// A text in lines of at most `width` columns, each with the indent before it and a line feed behind it. A word that is
/// longer than a line (a link, a hash) is left whole, so that it can be copied.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize) -> String {
    hanging(text, indent, indent, width)
}

/// The same with another indent before the first line.
pub(crate) fn hanging(text: &str, first: &str, others: &str, width: usize) -> String {
    let mut out = String::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && columns(&line) + 1 + columns(word) > width {
            out.push_str(line.trim_end());
            out.push('\n');
            line = others.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out
}

/// How many columns a text without colours takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// A text in exactly that many columns: filled up, or cut with a mark.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    let length = columns(text);
    if length <= width {
        return format!("{text}{}", " ".repeat(width - length));
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// What belongs to the left and to the right end of a line; below each other where the line is too short.
pub(crate) fn spread(left: &str, right: &str, width: usize) -> (String, String) {
    let free = width.checked_sub(columns(left) + columns(right)).filter(|free| *free >= 2);
    match free {
        Some(free) => (left.to_owned(), format!("{}{right}", " ".repeat(free))),
        None => {
            let indent = width.saturating_sub(columns(right));
            (left.to_owned(), format!("\n{}{right}", " ".repeat(indent)))
        }
    }
}

/// `1 span`, `2 spans`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", viz::terminal::number(count as f64))
}

/// The size of files: `353 MB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let fits = units.into_iter().find(|(_, unit)| bytes as f64 >= *unit);
    let (unit, of) = fits.unwrap_or(("B", 1.0));
    format!("{} {unit}", viz::terminal::number(bytes as f64 / of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_a_long_word_stays_whole() {
        assert_eq!(hanging("one two three four", "- ", "  ", 11), "- one two\n  three\n  four\n");
        assert_eq!(
            wrapped("see http://localhost:16686/trace/1 there", " ", 12),
            " see\n http://localhost:16686/trace/1\n there\n"
        );
        assert_eq!(wrapped("", "  ", 20), "\n");
    }

    #[test]
    fn the_right_end_goes_below_where_the_line_is_full() {
        assert_eq!(spread("ab", "cd", 6), ("ab".to_owned(), "  cd".to_owned()));
        assert_eq!(spread("abc", "cd", 6), ("abc".to_owned(), "\n    cd".to_owned()));
    }
}
