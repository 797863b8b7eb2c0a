//! The story of a lab: the `//!` text at the head of its file.
//!
//! One source for the page that `explain` prints, for the report, and for the list. It begins with `# Title`; what follows,
//! up to the first `##`, is the story itself. `## Predict`, `## Watch` and `## Try next` are required: questions to answer
//! before running (each with its answer after the question mark), what to look at, and what to do next. Further sections are free.

use serde::Serialize;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Story {
    /// The text after `# `.
    pub title: String,
    /// All of it, as Markdown, with the title.
    pub text: String,
    /// The questions under `## Predict`: each item up to its first question mark.
    pub predict: Vec<String>,
    /// Their answers: what follows in the item, empty where nothing does. For after the run.
    pub answers: Vec<String>,
    /// The items under `## Watch`.
    pub watch: Vec<String>,
    /// The text under `## Try next`.
    pub try_next: Vec<String>,
}

impl Story {
    /// The story at the head of a Rust file.
    pub fn of_source(source: &str) -> Self {
        let lines = source.lines().map(str::trim_end).map_while(|line| line.strip_prefix("//!"));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        let title =
            lines.iter().find_map(|line| line.strip_prefix("# ")).unwrap_or_default().trim().to_owned();
        let text = lines.join("\n");
        let sections = sections(&text);
        let items = |heading: &str| {
            let section = sections.iter().find(|(known, _)| *known == heading);
            items(section.map_or(&[], |(_, lines)| lines.as_slice()))
        };
        let asked = items("Predict").into_iter().map(|item| match item.split_once('?') {
            Some((question, answer)) => (format!("{question}?"), answer.trim().to_owned()),
            None => (item, String::new()),
        });
        let (predict, answers) = asked.unzip();
        let (watch, try_next) = (items("Watch"), items("Try next"));
        Self { title, predict, answers, watch, try_next, text }
    }
    /// What is told, in order: heading and lines. The beginning has no heading; the title is left out, and so are the
    /// questions with their answers, what to watch and what to try, which have places of their own.
    pub fn sections(&self) -> Vec<(&str, Vec<&str>)> {
        let mut sections = sections(&self.text);
        sections.retain(|(heading, _)| !SPECIAL.contains(heading));
        sections
    }
    /// What is missing: for the test over all labs.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.title.is_empty() {
            problems.push("the story does not begin with `//! # Title`".to_owned());
        }
        for (heading, found) in
            [("Predict", &self.predict), ("Watch", &self.watch), ("Try next", &self.try_next)]
        {
            if found.is_empty() {
                problems.push(format!("the story has no `## {heading}`"));
            }
        }
        problems
    }
}

/// The sections that every story has.
const SPECIAL: [&str; 3] = ["Predict", "Watch", "Try next"];

/// All sections, in order. The first has no heading; the title is left out.
fn sections(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut sections = vec![("", Vec::new())];
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            sections.push((heading.trim(), Vec::new()));
        } else if !line.starts_with("# ")
            && let Some((_, lines)) = sections.last_mut()
        {
            lines.push(line);
        }
    }
    sections
}

/// List items, or paragraphs, each in one line.
fn items(lines: &[&str]) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut open = false;
    for line in lines.iter().map(|line| line.trim()) {
        let item = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "));
        match (item, items.last_mut()) {
            _ if line.is_empty() => open = false,
            (None, Some(last)) if open => {
                last.push(' ');
                last.push_str(line);
            }
            _ => {
                items.push(item.unwrap_or(line).to_owned());
                open = true;
            }
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_file_is_its_story() {
        let story = Story::of_source(
            "//! # Thundering herd\n//!\n//! One hot page.\n//!\n//! ## Predict\n//! - How many queries\n//!   at once? A hundred.\n//!   Or five more.\n//! - And later?\n//!\n//! ## Watch\n//! db.load and\n//! db.queue\n//!\n//! the slowest trace\n//! ## Try next\n//! Halve the ttl.\n\nuse x;\n//! not this\n",
        );
        assert_eq!(story.title, "Thundering herd");
        assert_eq!(story.predict, ["How many queries at once?", "And later?"]);
        assert_eq!(story.answers, ["A hundred. Or five more.", ""]);
        assert_eq!(story.watch, ["db.load and db.queue", "the slowest trace"]);
        assert_eq!(story.try_next, ["Halve the ttl."]);
        assert!(
            story.text.starts_with("# Thundering herd\n\nOne hot page.") && !story.text.contains("not this")
        );
        assert_eq!(story.sections(), [("", vec!["", "One hot page.", ""])]);
        assert_eq!(story.problems(), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_named() {
        let problems = Story::of_source("//! A text.\n//! ## Predict\n//! Why?\n").problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[2].contains("## Try next"));
    }
}
