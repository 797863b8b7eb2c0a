//! Histories that others recorded.
//!
//! | format | what |
//! |---|---|
//! | `edn` | Jepsen histories: maps with `:process`, `:type`, `:f`, `:value`, one after the other or in one vector |
//! | `jsonl` | the same as JSON, one object a line |
//! | `etcd` | lines that Jepsen logs for its etcd test: `INFO  jepsen.util - 3 :invoke :cas [4 2]` |
//! | `kv` | lines of a text store: `{:process 0, :type :append, :f :get, :key "x", :value nil}` |
//!
//! Events come in the order in which they happened; a history whose events all carry a time that never goes back keeps it.
//! A process that is neither a number nor a text (`:nemesis`) is no client, and is left out. Values that are all pairs of
//! a key and a value, as Jepsen's independent tests write them, are taken apart.
//!
//! Whatever cannot be read is an [`Unreadable`] with its line: nothing is guessed, and nothing is skipped silently but log
//! lines that are no operations.

mod edn;
mod etcd;
mod events;
mod jsonl;
mod kv;

use std::fmt;

use super::history::History;

/// A format of histories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Jepsen's own.
    Edn,
    /// JSON objects, one a line.
    JsonLines,
    /// Jepsen's log of its etcd test.
    Etcd,
    /// A text store's log.
    KeyValue,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Edn, Self::JsonLines, Self::Etcd, Self::KeyValue];
    /// The name, as written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edn => "edn",
            Self::JsonLines => "jsonl",
            Self::Etcd => "etcd",
            Self::KeyValue => "kv",
        }
    }
    /// The format that a text looks like, by its first operation.
    pub fn guess(text: &str) -> Option<Self> {
        for line in text.lines().map(str::trim) {
            if line.contains("jepsen.util") {
                return Some(Self::Etcd);
            }
            let Some(inside) = line.strip_prefix('{') else {
                match line.chars().next() {
                    Some('[' | '(' | '#') => return Some(Self::Edn),
                    None | Some(';') => continue,
                    // A log has other lines too.
                    _ if line.starts_with("INFO") || line.starts_with("WARN") => continue,
                    _ => return None,
                }
            };
            if inside.trim_start().starts_with('"') {
                return Some(Self::JsonLines);
            }
            let of_store =
                [":f :get", ":f :put", ":f :append"].iter().any(|function| line.contains(function));
            let keyed = line.contains(":key \"") && !line.contains(":time");
            return Some(if of_store && keyed { Self::KeyValue } else { Self::Edn });
        }
        None
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a text is no history.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Unreadable {
    /// The line, from 1.
    pub line: u32,
    /// What was wrong, and what is expected.
    pub message: String,
}

impl Unreadable {
    fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Reads a history.
pub fn read(text: &str, format: Format) -> Result<History, Unreadable> {
    let events = match format {
        Format::Edn => edn::events(text)?,
        Format::JsonLines => jsonl::events(text)?,
        Format::Etcd => etcd::events(text)?,
        Format::KeyValue => kv::events(text)?,
    };
    events::history(events)
}
