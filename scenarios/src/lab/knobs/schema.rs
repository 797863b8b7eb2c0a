//! From a JSON Schema to knobs.
//!
//! schemars describes a struct as an object, an enum as `oneOf`, and puts named types aside under `$defs`. Only what a lab's
//! struct can be made of is understood; anything else is an error that names the field.

use serde::{
    Serialize,
    de::{Deserializer, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;
use sim_core::time::Duration;

use super::{Choice, Knob, KnobError, KnobKind, KnobRange};

/// The names of a struct's fields in the order of their declaration: a schema lists them by the alphabet.
pub(super) fn field_order<L: Serialize>(value: &L) -> Vec<String> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a struct")
        }
        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut keys = Vec::new();
            while let Some((key, IgnoredAny)) = map.next_entry::<String, _>()? {
                keys.push(key);
            }
            Ok(keys)
        }
    }
    let text = serde_json::to_string(value).unwrap_or_default();
    serde_json::Deserializer::from_str(&text).deserialize_map(Keys).unwrap_or_default()
}

/// The knobs of an object's schema. Fields that `order` does not name come last.
pub(super) fn knobs(root: &Value, order: &[String], defaults: &toml::Table) -> Result<Vec<Knob>, KnobError> {
    fields(root, root, order, Some(defaults), "")
}

fn fields(
    root: &Value,
    object: &Value,
    order: &[String],
    defaults: Option<&toml::Table>,
    path: &str,
) -> Result<Vec<Knob>, KnobError> {
    let Some(properties) = object.get("properties").and_then(Value::as_object) else { return Ok(Vec::new()) };
    let mut names: Vec<&String> = properties.keys().collect();
    names.sort_by_key(|name| order.iter().position(|one| one == *name).unwrap_or(order.len()));
    let knob = |name: &String| {
        let default = defaults.and_then(|defaults| defaults.get(name)).cloned();
        self::knob(root, name, &properties[name], default, path)
    };
    names.into_iter().map(knob).collect()
}

/// The order in which a nested object's fields were declared: all but optional ones stand in `required`.
fn declared(object: &Value) -> Vec<String> {
    let required = object.get("required").and_then(Value::as_array).into_iter().flatten();
    required.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn knob(
    root: &Value,
    name: &str,
    own: &Value,
    default: Option<toml::Value>,
    path: &str,
) -> Result<Knob, KnobError> {
    let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut optional = false;
    let schema = resolve(root, own, &mut optional);
    let inner = default.as_ref().and_then(toml::Value::as_table);
    let kind = kind(root, schema, inner, &path)?;
    let help = [own, schema].into_iter().find_map(|schema| schema.get("description")).and_then(Value::as_str);
    let unit = [own, schema].into_iter().find_map(|schema| schema.get("x-unit")).and_then(Value::as_str);
    let range = range(own).or_else(|| range(schema));
    if kind == KnobKind::Duration
        && let Some(KnobRange::Numbers { .. }) = range
    {
        let reason =
            "a duration's range is written #[schemars(extend(\"x-range\" = [\"1ms\", \"1min\"]))]".to_owned();
        return Err(KnobError::Malformed { path, reason });
    }
    Ok(Knob {
        name: name.to_owned(),
        help: help.unwrap_or_default().to_owned(),
        kind,
        unit: unit.unwrap_or_default().to_owned(),
        range,
        optional,
        default,
    })
}

/// Follows references, and takes the other half of "this or null".
fn resolve<'s>(root: &'s Value, mut schema: &'s Value, optional: &mut bool) -> &'s Value {
    // A schema that refers to itself in a circle would be a type without end, which no `Copy` struct is.
    for _ in 0..8 {
        let is_null = |one: &Value| one.get("type").and_then(Value::as_str) == Some("null");
        if let Some(name) =
            schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"))
        {
            let Some(target) = root.get("$defs").and_then(|all| all.get(name)) else { break };
            schema = target;
        } else if let Some([one, other]) = schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice)
            && (is_null(one) || is_null(other))
        {
            *optional = true;
            schema = if is_null(one) { other } else { one };
        } else {
            break;
        }
    }
    let types = schema.get("type").and_then(Value::as_array);
    *optional |= types.is_some_and(|types| types.iter().any(|one| one == "null"));
    schema
}

fn kind(
    root: &Value,
    schema: &Value,
    inner: Option<&toml::Table>,
    path: &str,
) -> Result<KnobKind, KnobError> {
    if let Some(choices) = choices(root, schema, path)? {
        return Ok(KnobKind::Choice(choices));
    }
    let of_type = match schema.get("type") {
        Some(Value::String(one)) => one.as_str(),
        Some(Value::Array(many)) => {
            many.iter().filter_map(Value::as_str).find(|one| *one != "null").unwrap_or("")
        }
        _ => "",
    };
    Ok(match of_type {
        "number" => KnobKind::Number,
        "integer" => KnobKind::Whole,
        "boolean" => KnobKind::Switch,
        "string" if schema.get("format").and_then(Value::as_str) == Some("duration") => KnobKind::Duration,
        "string" => KnobKind::Text,
        "object" => KnobKind::Group(fields(root, schema, &declared(schema), inner, path)?),
        "array" if schema.get("items").is_some_and(Value::is_object) => {
            let item = resolve(root, &schema["items"], &mut false);
            KnobKind::List(Box::new(kind(root, item, None, path)?))
        }
        _ => {
            let reason = "this field is no knob: a knob is a number, a duration, a switch, a text, a choice, a group of \
                          those or a list of equals"
                .to_owned();
            return Err(KnobError::Malformed { path: path.to_owned(), reason });
        }
    })
}

/// The choices of an enum's schema, in the order of declaration; `None` where it is none.
fn choices(root: &Value, schema: &Value, path: &str) -> Result<Option<Vec<Choice>>, KnobError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let help = schema.get("description").and_then(text).unwrap_or_default();
    let plain = |name: String, help: String| Choice { name, help, fields: Vec::new() };
    if let Some(names) = schema.get("enum").and_then(Value::as_array) {
        return Ok(Some(names.iter().filter_map(text).map(|name| plain(name, String::new())).collect()));
    }
    if let Some(name) = schema.get("const").and_then(text) {
        return Ok(Some(vec![plain(name, help)]));
    }
    let Some(parts) = schema.get("oneOf").and_then(Value::as_array) else { return Ok(None) };
    let mut all = Vec::new();
    for part in parts {
        if let Some(found) = choices(root, part, path)? {
            all.extend(found);
        } else if let Some((name, data)) =
            part.get("properties").and_then(Value::as_object).and_then(|all| all.iter().next())
        {
            let data = resolve(root, data, &mut false);
            let help = part.get("description").and_then(text).unwrap_or_default();
            let fields = fields(root, data, &declared(data), None, &format!("{path}.{name}"))?;
            if fields.is_empty() {
                let reason = format!(
                    "give the data of the choice `{name}` names: {name} {{ .. }} instead of {name}(..)"
                );
                return Err(KnobError::Malformed { path: path.to_owned(), reason });
            }
            all.push(Choice { name: name.clone(), help, fields });
        }
    }
    Ok(Some(all))
}

fn range(schema: &Value) -> Option<KnobRange> {
    if let Some([min, max]) = schema.get("x-range").and_then(Value::as_array).map(Vec::as_slice) {
        let duration = |end: &Value| end.as_str().and_then(|text| text.parse::<Duration>().ok());
        return Some(KnobRange::Durations { min: duration(min)?, max: duration(max)? });
    }
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let (min, max) = (number("minimum"), number("maximum"));
    (min.is_some() || max.is_some()).then_some(KnobRange::Numbers { min, max })
}
