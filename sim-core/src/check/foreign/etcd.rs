//! The log of Jepsen's etcd test, which Porcupine takes its test cases from: `process`, `type`, function, value.
//!
//! Two things are as etcd meant them. A compare-and-set that ends with `:fail` and its two values *looked* and found another
//! value than the first: an answer, not a failure. And what failed with `:timed-out` may have happened after all, unless
//! it was a read.

use serde_json::Value as Json;

use super::{
    Unreadable,
    edn::{Edn, Reader},
    events::{Event, Kind},
};

/// The name under which operations are logged.
const LOGGER: &str = "jepsen.util";

pub(super) fn events(text: &str) -> Result<Vec<Event>, Unreadable> {
    let mut events = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = index as u32 + 1;
        let Some((_, logged)) = text.split_once(LOGGER) else { continue };
        let Some((_, logged)) = logged.split_once("- ") else { continue };
        events.extend(event(logged.trim(), line)?);
    }
    Ok(events)
}

fn event(logged: &str, line: u32) -> Result<Option<Event>, Unreadable> {
    let wrong = |what: String| {
        let message =
            format!("{what}; an operation is a line such as `INFO  {LOGGER} - 3 :invoke :cas [4 2]`");
        Unreadable::new(line, message)
    };
    let mut reader = Reader::new(logged, line);
    let process = match reader.value(0)? {
        Edn::Int(process) => process.to_string(),
        Edn::Keyword(_) => return Ok(None),
        // Something else was logged.
        _ => return Ok(None),
    };
    let mut keyword = |what: &str| match reader.value(0) {
        Ok(Edn::Keyword(name)) => Ok(name),
        Ok(other) => Err(wrong(format!("{} stands where {what} should be", other.into_json()))),
        Err(_) => Err(wrong(format!("{what} is missing"))),
    };
    let kind = keyword("the type")?;
    let function = keyword("the function")?;
    let mut kind = Kind::of(&kind).ok_or_else(|| wrong(Kind::refused(&kind)))?;
    let value = reader.value(0).map_err(|_| wrong("the value is missing".to_owned()))?;
    // A reason stands where the value would be: `:timed-out`.
    let reason = match &value {
        Edn::Keyword(reason) => Some(reason.clone()),
        _ => None,
    };
    let mut value = value.into_json();
    match (kind, function.as_str(), &reason) {
        (Kind::Fail, "cas", None) => (kind, value) = (Kind::Ok, Json::Bool(false)),
        (Kind::Fail, "cas" | "write", Some(_)) => kind = Kind::Unknown,
        _ => {}
    }
    Ok(Some(Event { line, process, kind, function, key: None, value, time: None, error: reason }))
}
