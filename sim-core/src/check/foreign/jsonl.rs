//! JSON lines: one event a line, with the names that Jepsen has for its parts.

use serde_json::{Map, Value as Json};

use super::{
    Unreadable,
    events::{Event, Kind},
};

pub(super) fn events(text: &str) -> Result<Vec<Event>, Unreadable> {
    let mut events = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = index as u32 + 1;
        if text.trim().is_empty() {
            continue;
        }
        let object = match serde_json::from_str(text) {
            Ok(Json::Object(object)) => object,
            Ok(_) => {
                let message = r#"an operation is an object such as {"process":0,"type":"invoke","f":"read","value":null}"#;
                return Err(Unreadable::new(line, message));
            }
            Err(error) => {
                let place = error.to_string().replace("at line 1 column", "at column");
                return Err(Unreadable::new(line, format!("no JSON: {place}")));
            }
        };
        events.extend(event(object, line)?);
    }
    Ok(events)
}

fn event(mut object: Map<String, Json>, line: u32) -> Result<Option<Event>, Unreadable> {
    let wrong = |message: String| Unreadable::new(line, message);
    let mut needed = |name: &str, what: &str| {
        object.remove(name).ok_or_else(|| wrong(format!("an operation needs \"{name}\", {what}")))
    };
    let process = match needed("process", "a number")? {
        Json::Number(number) => number.to_string(),
        Json::String(text) if text == "nemesis" || text == ":nemesis" => return Ok(None),
        Json::String(text) => text,
        Json::Null => return Ok(None),
        other => return Err(wrong(format!("\"process\" is a number or a text, not {other}"))),
    };
    let name = |value: Json| match value {
        Json::String(text) => text.trim_start_matches(':').to_owned(),
        other => other.to_string(),
    };
    let kind = name(needed("type", "one of invoke, ok, fail, info")?);
    let kind = Kind::of(&kind).ok_or_else(|| wrong(Kind::refused(&kind)))?;
    let function = name(needed("f", "the function, such as \"read\"")?);
    let key = object.remove("key").filter(|key| !key.is_null());
    let value = object.remove("value").unwrap_or(Json::Null);
    let time = object.remove("time").and_then(|time| time.as_u64());
    let error = object.remove("error").filter(|error| !error.is_null()).map(name);
    Ok(Some(Event { line, process, kind, function, key, value, time, error }))
}
