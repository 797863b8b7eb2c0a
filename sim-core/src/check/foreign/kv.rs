//! The log of a store of texts, as Porcupine reads it. It looks like EDN, but its texts stand between the first and the
//! last quotation mark of their part as they are: nothing in them is escaped.

use serde_json::Value as Json;

use super::{
    Unreadable,
    events::{Event, Kind},
};

pub(super) fn events(text: &str) -> Result<Vec<Event>, Unreadable> {
    let mut events = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = index as u32 + 1;
        if !text.trim().is_empty() {
            events.push(event(text.trim(), line)?);
        }
    }
    Ok(events)
}

fn event(text: &str, line: u32) -> Result<Event, Unreadable> {
    let wrong = |what: &str| {
        let message = format!(
            "{what}; an operation is a line such as {{:process 0, :type :invoke, :f :put, :key \"x\", :value \"y\"}}"
        );
        Unreadable::new(line, message)
    };
    let inside = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(|| wrong("the line does not stand in braces"))?;
    let part = |name: &str| {
        let (_, rest) = inside.split_once(&format!("{name} "))?;
        Some(rest.trim_start())
    };
    let word = |rest: &str| rest.split([',', ' ', '}']).next().unwrap_or_default().to_owned();
    let process = part(":process").map(word).filter(|p| p.parse::<u64>().is_ok());
    let process = process.ok_or_else(|| wrong(":process, a number, is missing"))?;
    let kind = part(":type").map(word).ok_or_else(|| wrong(":type is missing"))?;
    let kind = kind.trim_start_matches(':');
    let kind = Kind::of(kind).ok_or_else(|| wrong(&Kind::refused(kind)))?;
    let function = part(":f").map(word).filter(|f| f.len() > 1).ok_or_else(|| wrong(":f is missing"))?;
    let function = function.trim_start_matches(':').to_owned();
    let keyed = part(":key")
        .and_then(|rest| rest.strip_prefix('"'))
        .ok_or_else(|| wrong(":key, a text, is missing"))?;
    let (key, behind) =
        keyed.split_once("\", :value").ok_or_else(|| wrong(":value is missing after :key"))?;
    let value = match behind.trim() {
        "nil" => Json::Null,
        quoted => {
            let text = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            Json::from(text.ok_or_else(|| wrong(":value is neither nil nor a text in quotation marks"))?)
        }
    };
    let key = Some(Json::from(key));
    Ok(Event { line, process, kind, function, key, value, time: None, error: None })
}
