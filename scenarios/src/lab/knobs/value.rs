//! From what somebody typed to a knob's value, and the check of values that were typed into a plan.

use sim_core::time::Duration;

use super::{Choice, Knob, KnobError, KnobKind, KnobRange, find, shown};
use crate::lab::nearest::{did_you_mean, nearest};

/// What was typed, before it is known what it should be.
enum Typed {
    Word(String),
    Fields(Vec<(String, Typed)>),
    List(Vec<Typed>),
}

/// The value of a knob; `None` for `none` where that is allowed.
pub(super) fn parse(knob: &Knob, text: &str) -> Result<Option<toml::Value>, KnobError> {
    let mut rest = text;
    let typed = typed(&mut rest, "").filter(|_| rest.trim().is_empty());
    let typed = typed.ok_or_else(|| {
        wrong(&knob.name, text.trim(), format!("brackets or `=` are missing; {}", allowed(knob)))
    })?;
    convert(knob, &knob.name, &typed)
}

/// Reads one value from the front of `rest`, up to one of `ends`.
fn typed(rest: &mut &str, ends: &str) -> Option<Typed> {
    *rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        let mut fields = Vec::new();
        *rest = inside.trim_start();
        while !eat(rest, '}') {
            let (name, after) = rest.split_once('=')?;
            *rest = after;
            fields.push((unquoted(name), typed(rest, ",}")?));
            if !eat(rest, ',') && !rest.starts_with('}') {
                return None;
            }
            *rest = rest.trim_start();
        }
        return Some(Typed::Fields(fields));
    }
    if let Some(inside) = rest.strip_prefix('[') {
        let mut items = Vec::new();
        *rest = inside.trim_start();
        while !eat(rest, ']') {
            items.push(typed(rest, ",]")?);
            if !eat(rest, ',') && !rest.starts_with(']') {
                return None;
            }
            *rest = rest.trim_start();
        }
        return Some(Typed::List(items));
    }
    let end = rest.find(|c| ends.contains(c)).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    Some(Typed::Word(unquoted(word)))
}

fn eat(rest: &mut &str, wanted: char) -> bool {
    *rest = rest.trim_start();
    rest.strip_prefix(wanted).map(|after| *rest = after).is_some()
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    inner.unwrap_or(text).to_owned()
}

fn retold(typed: &Typed) -> String {
    match typed {
        Typed::Word(word) => word.clone(),
        Typed::Fields(fields) => {
            let all: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}={}", retold(value))).collect();
            format!("{{{}}}", all.join(", "))
        }
        Typed::List(items) => format!("[{}]", items.iter().map(retold).collect::<Vec<_>>().join(", ")),
    }
}

fn wrong(path: &str, given: &str, wanted: String) -> KnobError {
    KnobError::Wrong { name: path.to_owned(), given: given.to_owned(), wanted }
}

/// What a knob takes, in words.
fn allowed(knob: &Knob) -> String {
    let none = if knob.optional { ", or none" } else { "" };
    let range = knob.range.as_ref().map(|range| format!(", {}", within(range))).unwrap_or_default();
    format!("{}{range}{none}", wanted(&knob.kind))
}

fn wanted(kind: &KnobKind) -> String {
    match kind {
        KnobKind::Number => "it takes a number".to_owned(),
        KnobKind::Whole => "it takes a whole number".to_owned(),
        KnobKind::Duration => {
            "it takes a duration: a number and a unit (ns, us, ms, s, min, h), such as 50ms or 1.5s"
                .to_owned()
        }
        KnobKind::Switch => "it takes true or false".to_owned(),
        KnobKind::Text => "it takes a text".to_owned(),
        KnobKind::Choice(choices) => {
            let all: Vec<String> = choices.iter().map(written).collect();
            format!("it takes one of {}", all.join(", "))
        }
        KnobKind::Group(fields) => format!("it takes {{{}}}", names(fields)),
        KnobKind::List(item) => format!("it takes a list [.., ..]; of each {}", wanted(item)),
    }
}

fn written(choice: &Choice) -> String {
    if choice.fields.is_empty() {
        choice.name.clone()
    } else {
        format!("{{{}={{{}}}}}", choice.name, names(&choice.fields))
    }
}

fn names(fields: &[Knob]) -> String {
    fields.iter().map(|field| format!("{}=..", field.name)).collect::<Vec<_>>().join(", ")
}

fn within(range: &KnobRange) -> String {
    match range {
        KnobRange::Numbers { min: Some(min), max: Some(max) } => format!("from {min} to {max}"),
        KnobRange::Numbers { min: Some(min), max: None } => format!("at least {min}"),
        KnobRange::Numbers { min: None, max: Some(max) } => format!("at most {max}"),
        KnobRange::Numbers { min: None, max: None } => "any number".to_owned(),
        KnobRange::Durations { min, max } => format!("from {min} to {max}"),
    }
}

fn convert(knob: &Knob, path: &str, typed: &Typed) -> Result<Option<toml::Value>, KnobError> {
    if let Typed::Word(word) = typed
        && knob.optional
        && word == "none"
    {
        return Ok(None);
    }
    let value = of_kind(&knob.kind, path, typed, &allowed(knob))?;
    check_range(knob, path, &value)?;
    Ok(Some(value))
}

fn of_kind(kind: &KnobKind, path: &str, typed: &Typed, allowed: &str) -> Result<toml::Value, KnobError> {
    let refuse = || wrong(path, &retold(typed), allowed.to_owned());
    Ok(match (kind, typed) {
        (KnobKind::Number, Typed::Word(word)) => {
            let number = word.replace('_', "").parse::<f64>().ok().filter(|number| number.is_finite());
            toml::Value::Float(number.ok_or_else(refuse)?)
        }
        (KnobKind::Whole, Typed::Word(word)) => {
            toml::Value::Integer(word.replace('_', "").parse::<i64>().map_err(|_| refuse())?)
        }
        (KnobKind::Switch, Typed::Word(word)) => toml::Value::Boolean(word.parse().map_err(|_| refuse())?),
        (KnobKind::Duration, Typed::Word(word)) => {
            toml::Value::String(word.parse::<Duration>().map_err(|_| refuse())?.to_string())
        }
        (KnobKind::Text, Typed::Word(word)) => toml::Value::String(word.clone()),
        (KnobKind::Choice(choices), Typed::Word(word)) => {
            let choice = choice(choices, path, word, allowed)?;
            if !choice.fields.is_empty() {
                return Err(wrong(path, word, format!("it needs its data: {}", written(choice))));
            }
            toml::Value::String(word.clone())
        }
        (KnobKind::Choice(choices), Typed::Fields(fields)) => {
            let [(name, data)] = fields.as_slice() else { return Err(refuse()) };
            let choice = choice(choices, path, name, allowed)?;
            let Typed::Fields(data) = data else { return Err(refuse()) };
            let data = group(&choice.fields, &format!("{path}.{name}"), data)?;
            toml::Value::Table(toml::Table::from_iter([(name.clone(), data)]))
        }
        (KnobKind::Group(knobs), Typed::Fields(fields)) => group(knobs, path, fields)?,
        (KnobKind::List(kind), Typed::List(items)) => {
            let items = items.iter().map(|item| of_kind(kind, path, item, allowed));
            toml::Value::Array(items.collect::<Result<_, _>>()?)
        }
        _ => return Err(refuse()),
    })
}

fn choice<'k>(choices: &'k [Choice], path: &str, name: &str, allowed: &str) -> Result<&'k Choice, KnobError> {
    choices.iter().find(|choice| choice.name == name).ok_or_else(|| {
        let near = nearest(name, choices.iter().map(|choice| choice.name.as_str()));
        wrong(path, name, format!("{allowed}{}", did_you_mean(near)))
    })
}

fn group(knobs: &[Knob], path: &str, fields: &[(String, Typed)]) -> Result<toml::Value, KnobError> {
    let mut table = toml::Table::new();
    for (name, typed) in fields {
        let knob = find(knobs, name).map_err(|error| prefixed(error, path))?;
        if let Some(value) = convert(knob, &format!("{path}.{name}"), typed)? {
            table.insert(name.clone(), value);
        }
    }
    check_group(knobs, path, &table)?;
    Ok(toml::Value::Table(table))
}

fn prefixed(error: KnobError, path: &str) -> KnobError {
    match error {
        KnobError::Unknown { name, nearest, known } if !path.is_empty() => {
            KnobError::Unknown { name: format!("{path}.{name}"), nearest, known }
        }
        other => other,
    }
}

/// Checks a table against its knobs: none missing, none unknown, each value of its kind and in its range.
pub(super) fn check_group(knobs: &[Knob], path: &str, table: &toml::Table) -> Result<(), KnobError> {
    let joined = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, value) in table {
        let knob = find(knobs, name).map_err(|error| prefixed(error, path))?;
        check_value(knob, &joined(name), value)?;
    }
    match knobs.iter().find(|knob| !knob.optional && !table.contains_key(&knob.name)) {
        Some(missing) => Err(KnobError::Missing { name: joined(&missing.name) }),
        None => Ok(()),
    }
}

fn check_value(knob: &Knob, path: &str, value: &toml::Value) -> Result<(), KnobError> {
    check_kind(&knob.kind, path, value, &allowed(knob))?;
    check_range(knob, path, value)
}

fn check_kind(kind: &KnobKind, path: &str, value: &toml::Value, allowed: &str) -> Result<(), KnobError> {
    let refuse = || wrong(path, &shown(value), allowed.to_owned());
    let fits = match (kind, value) {
        (KnobKind::Number, toml::Value::Float(x)) => x.is_finite(),
        (KnobKind::Number | KnobKind::Whole, toml::Value::Integer(_))
        | (KnobKind::Switch, toml::Value::Boolean(_))
        | (KnobKind::Text, toml::Value::String(_)) => true,
        (KnobKind::Duration, toml::Value::String(text)) => text.parse::<Duration>().is_ok(),
        (KnobKind::Choice(choices), toml::Value::String(name)) => {
            choice(choices, path, name, allowed)?.fields.is_empty()
        }
        (KnobKind::Choice(choices), toml::Value::Table(table)) => {
            let Some((name, toml::Value::Table(data))) = table.iter().next().filter(|_| table.len() == 1)
            else {
                return Err(refuse());
            };
            let choice = choice(choices, path, name, allowed)?;
            return check_group(&choice.fields, &format!("{path}.{name}"), data);
        }
        (KnobKind::Group(knobs), toml::Value::Table(table)) => return check_group(knobs, path, table),
        (KnobKind::List(kind), toml::Value::Array(items)) => {
            return items.iter().try_for_each(|item| check_kind(kind, path, item, allowed));
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(refuse()) }
}

fn check_range(knob: &Knob, path: &str, value: &toml::Value) -> Result<(), KnobError> {
    let Some(range) = &knob.range else { return Ok(()) };
    let inside = match (range, value) {
        (KnobRange::Numbers { min, max }, toml::Value::Integer(_) | toml::Value::Float(_)) => {
            let number =
                value.as_float().or_else(|| value.as_integer().map(|n| n as f64)).unwrap_or_default();
            min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max)
        }
        (KnobRange::Durations { min, max }, toml::Value::String(text)) => {
            text.parse::<Duration>().is_ok_and(|duration| (*min..=*max).contains(&duration))
        }
        _ => true,
    };
    if inside {
        return Ok(());
    }
    Err(KnobError::OutOfRange { name: path.to_owned(), given: shown(value), allowed: within(range) })
}
