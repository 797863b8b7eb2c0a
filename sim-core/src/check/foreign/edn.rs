//! EDN: the notation in which Clojure programs write data, as far as histories use it.

use serde_json::{Map, Value as Json};

use super::{
    Unreadable,
    events::{Event, Kind},
};

/// How deep values may be nested.
const DEPTH_MAX: u32 = 100;

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Edn {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Without its colon.
    Keyword(String),
    Symbol(String),
    /// A vector, a list or a set.
    List(Vec<Edn>),
    Map(Vec<(Edn, Edn)>),
}

impl Edn {
    /// Keywords and symbols become texts, sets become lists.
    pub(super) fn into_json(self) -> Json {
        match self {
            Self::Nil => Json::Null,
            Self::Bool(truth) => truth.into(),
            Self::Int(number) => number.into(),
            Self::Float(number) => number.into(),
            Self::Text(text) | Self::Keyword(text) | Self::Symbol(text) => text.into(),
            Self::List(values) => values.into_iter().map(Self::into_json).collect(),
            Self::Map(entries) => {
                let text = |key: Self| match key.into_json() {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                let entries = entries.into_iter().map(|(key, value)| (text(key), value.into_json()));
                Json::Object(entries.collect::<Map<_, _>>())
            }
        }
    }
    fn take(entries: &mut Vec<(Self, Self)>, name: &str) -> Option<Self> {
        let place = entries.iter().position(|(key, _)| matches!(key, Self::Keyword(key) if key == name))?;
        Some(entries.swap_remove(place).1)
    }
}

/// Reads values one after the other, and knows its line.
pub(super) struct Reader<'t> {
    rest: &'t str,
    line: u32,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, line: u32) -> Self {
        Self { rest: text, line }
    }
    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Unreadable> {
        Err(Unreadable::new(self.line, message))
    }
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }
    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = &self.rest[next.len_utf8()..];
        self.line += u32::from(next == '\n');
        Some(next)
    }
    /// Skips white space, commas, comments, and values that are commented out.
    fn skip(&mut self) -> Result<(), Unreadable> {
        loop {
            match self.peek() {
                Some(c) if c.is_whitespace() || c == ',' => {
                    self.next();
                }
                Some(';') => while self.next().is_some_and(|c| c != '\n') {},
                Some('#') if self.rest.starts_with("#_") => {
                    self.rest = &self.rest[2..];
                    self.value(0)?;
                }
                _ => return Ok(()),
            }
        }
    }
    fn word(&mut self) -> &'t str {
        let ends = |c: char| c.is_whitespace() || ",;()[]{}\"".contains(c);
        let length = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        word
    }

    pub(super) fn value(&mut self, depth: u32) -> Result<Edn, Unreadable> {
        if depth > DEPTH_MAX {
            return self.wrong(format!("values are nested more than {DEPTH_MAX} deep"));
        }
        self.skip()?;
        let Some(first) = self.peek() else { return self.wrong("a value is missing at the end of the text") };
        match first {
            '[' | '(' => {
                self.next();
                let close = if first == '[' { ']' } else { ')' };
                Ok(Edn::List(self.values(close, depth)?))
            }
            '{' => {
                let line = self.line;
                self.next();
                let values = self.values('}', depth)?;
                if values.len() % 2 != 0 {
                    return Err(Unreadable::new(line, "a map has a key without a value"));
                }
                let mut entries = Vec::with_capacity(values.len() / 2);
                let mut values = values.into_iter();
                while let (Some(key), Some(value)) = (values.next(), values.next()) {
                    entries.push((key, value));
                }
                Ok(Edn::Map(entries))
            }
            '"' => self.text(),
            '#' => {
                self.next();
                if self.peek() == Some('{') {
                    self.next();
                    return Ok(Edn::List(self.values('}', depth)?));
                }
                // A tag says what a value was made from; the value says enough.
                self.word();
                self.value(depth + 1)
            }
            '\\' => {
                self.next();
                let Some(character) = self.next() else {
                    return self.wrong("a character is missing after \\");
                };
                Ok(Edn::Text(format!("{character}{}", self.word())))
            }
            ')' | ']' | '}' => self.wrong(format!("`{first}` closes nothing")),
            _ => self.atom(),
        }
    }
    fn values(&mut self, close: char, depth: u32) -> Result<Vec<Edn>, Unreadable> {
        let line = self.line;
        let mut values = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                Some(c) if c == close => {
                    self.next();
                    return Ok(values);
                }
                None => {
                    return Err(Unreadable::new(
                        line,
                        format!("what is opened here is never closed with `{close}`"),
                    ));
                }
                Some(_) => values.push(self.value(depth + 1)?),
            }
        }
    }
    fn text(&mut self) -> Result<Edn, Unreadable> {
        let line = self.line;
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(Edn::Text(text)),
                Some('\\') => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('u') => {
                        let digits: String = self.rest.chars().take(4).collect();
                        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                        let Some(code) = code else { return self.wrong("\\u takes four hexadecimal digits") };
                        self.rest = &self.rest[4..];
                        text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    Some(other) => text.push(other),
                    None => return Err(Unreadable::new(line, "the text that begins here never ends")),
                },
                Some(other) => text.push(other),
                None => return Err(Unreadable::new(line, "the text that begins here never ends")),
            }
        }
    }
    fn atom(&mut self) -> Result<Edn, Unreadable> {
        let word = self.word();
        if let Some(keyword) = word.strip_prefix(':') {
            return Ok(Edn::Keyword(keyword.to_owned()));
        }
        match word {
            "nil" => return Ok(Edn::Nil),
            "true" => return Ok(Edn::Bool(true)),
            "false" => return Ok(Edn::Bool(false)),
            _ => {}
        }
        let digits = word.trim_end_matches(['N', 'M']);
        let begins = digits.trim_start_matches(['-', '+']);
        if begins.starts_with(|c: char| c.is_ascii_digit()) {
            if let Ok(number) = digits.trim_start_matches('+').parse::<i64>() {
                return Ok(Edn::Int(number));
            }
            return match digits.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Edn::Float(number)),
                _ => self.wrong(format!("`{word}` is no number")),
            };
        }
        Ok(Edn::Symbol(word.to_owned()))
    }
}

/// The events of a text: maps one after the other, or in one vector.
pub(super) fn events(text: &str) -> Result<Vec<Event>, Unreadable> {
    let mut reader = Reader::new(text, 1);
    let mut events = Vec::new();
    reader.skip()?;
    let close = match reader.peek() {
        Some('[') => Some(']'),
        Some('(') => Some(')'),
        _ => None,
    };
    let opened = reader.line;
    if close.is_some() {
        reader.next();
    }
    loop {
        reader.skip()?;
        match (reader.peek(), close) {
            (None, None) => break,
            (None, Some(close)) => {
                return Err(Unreadable::new(
                    opened,
                    format!("what is opened here is never closed with `{close}`"),
                ));
            }
            (Some(c), Some(close)) if c == close => {
                reader.next();
                reader.skip()?;
                if reader.peek().is_some() {
                    return reader.wrong("there is more after the end of the history");
                }
                break;
            }
            _ => {}
        }
        let line = reader.line;
        match reader.value(0)? {
            Edn::Map(entries) => events.extend(event(entries, line)?),
            _ => {
                return Err(Unreadable::new(
                    line,
                    "an operation is a map such as {:process 0, :type :invoke, :f :read, :value nil}",
                ));
            }
        }
    }
    Ok(events)
}

/// An event, or nothing where its process is no client.
pub(super) fn event(mut entries: Vec<(Edn, Edn)>, line: u32) -> Result<Option<Event>, Unreadable> {
    let mut missing = |name: &str, what: &str| {
        Edn::take(&mut entries, name)
            .ok_or_else(|| Unreadable::new(line, format!("an operation needs :{name}, {what}")))
    };
    let process = match missing("process", "a number")? {
        Edn::Int(number) => number.to_string(),
        Edn::Text(text) => text,
        Edn::Keyword(_) | Edn::Symbol(_) | Edn::Nil => return Ok(None),
        other => {
            return Err(Unreadable::new(line, format!(":process is a number, not {}", other.into_json())));
        }
    };
    let kind = match missing("type", "one of :invoke, :ok, :fail, :info")? {
        Edn::Keyword(name) | Edn::Text(name) => {
            Kind::of(&name).ok_or_else(|| Unreadable::new(line, Kind::refused(&name)))?
        }
        other => return Err(Unreadable::new(line, Kind::refused(&other.into_json().to_string()))),
    };
    let function = match missing("f", "the function, such as :read")? {
        Edn::Keyword(name) | Edn::Text(name) | Edn::Symbol(name) => name,
        other => {
            return Err(Unreadable::new(line, format!(":f is a function's name, not {}", other.into_json())));
        }
    };
    let time = match Edn::take(&mut entries, "time") {
        Some(Edn::Int(time)) => u64::try_from(time).ok(),
        _ => None,
    };
    let key = Edn::take(&mut entries, "key").filter(|key| *key != Edn::Nil).map(Edn::into_json);
    let error = Edn::take(&mut entries, "error").map(|error| match error.into_json() {
        Json::String(text) => text,
        other => other.to_string(),
    });
    let value = Edn::take(&mut entries, "value").map_or(Json::Null, Edn::into_json);
    Ok(Some(Event { line, process, kind, function, key, value, time, error }))
}
