//! Knobs: the fields of a lab's struct, as people see and set them.
//!
//! Everything comes from the struct itself. serde and schemars tell each knob's name, its help (the doc comment), its range
//! (`#[schemars(range(min = 1, max = 64))]`; for a duration `#[schemars(extend("x-range" = ["1ms", "1min"]))]`) and its
//! choices (an enum, with `#[serde(rename_all = "kebab-case")]`). A value is written as one would say it, without quotes:
//! `rate=2_000`, `ttl=500ms`, `fill=single-flight`, `fill={early-refresh={beta=2.0}}`.
//!
//! A knob is set on the struct's TOML table, which is also what a plan holds. The table is checked and read back: an unknown
//! name, a value out of range or a missing unit is an error that says what is allowed.

mod schema;
mod value;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use sim_core::time::Duration;

use super::{
    nearest::{did_you_mean, nearest},
    registry::is_kebab,
};

/// One knob.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Knob {
    /// Its name: the field's.
    pub name: String,
    /// The doc comment.
    pub help: String,
    /// What kind of value it takes.
    pub kind: KnobKind,
    /// The unit of a number as UCUM writes it (`1/s`, `By`), as `#[schemars(extend("x-unit" = "1/s"))]` says it; empty for
    /// none.
    pub unit: String,
    /// What is allowed beyond the kind, where something is.
    pub range: Option<KnobRange>,
    /// Whether `none` is a value too.
    pub optional: bool,
    /// Its value in the first variant; `None` where that has none.
    pub default: Option<toml::Value>,
}

/// What kind of value a knob takes.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KnobKind {
    /// A number with or without decimals.
    Number,
    /// A whole number.
    Whole,
    /// A duration with its unit.
    Duration,
    /// `true` or `false`.
    Switch,
    /// Any text.
    Text,
    /// One of these.
    Choice(Vec<Choice>),
    /// A group of values, written `{name=value, name=value}`.
    Group(Vec<Knob>),
    /// A list, written `[value, value]`.
    List(Box<KnobKind>),
}

/// One of the choices of a knob.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Choice {
    /// How it is written.
    pub name: String,
    /// The doc comment.
    pub help: String,
    /// The data that belongs to it; empty for a plain one.
    pub fields: Vec<Knob>,
}

/// The least and the most that is allowed.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum KnobRange {
    /// Of numbers; both ends are allowed.
    Numbers {
        /// The least.
        min: Option<f64>,
        /// The most.
        max: Option<f64>,
    },
    /// Of durations; both ends are allowed.
    Durations {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
}

/// Why a knob cannot be set like that, or a plan's table of knobs is not one of the lab.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum KnobError {
    /// Not of the form `knob=value`.
    #[error("`{text}` sets no knob: write knob=value, such as {example}")]
    NoAssignment {
        /// What was written.
        text: String,
        /// One of the lab's knobs with a value.
        example: String,
    },
    /// There is no such knob.
    #[error("there is no knob `{name}`{}{}", list("the knobs are", known), did_you_mean(nearest.as_deref()))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest knob.
        nearest: Option<String>,
        /// All knobs.
        known: Vec<String>,
    },
    /// The value is of another kind, or no choice.
    #[error("the knob `{name}` cannot be `{given}`: {wanted}")]
    Wrong {
        /// Which knob.
        name: String,
        /// The value.
        given: String,
        /// What is allowed.
        wanted: String,
    },
    /// The value is too small or too large.
    #[error("the knob `{name}` cannot be {given}: {allowed} is allowed")]
    OutOfRange {
        /// Which knob.
        name: String,
        /// The value.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// A plan lacks a knob: a plan alone decides its run, so it names them all.
    #[error("the knob `{name}` is missing")]
    Missing {
        /// Which knob.
        name: String,
    },
    /// The struct itself refuses the table.
    #[error("the knobs cannot be read at `{path}`: {reason}")]
    Malformed {
        /// Where.
        path: String,
        /// What serde says.
        reason: String,
    },
}

fn list(what: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; {what} {}", names.join(", ")) }
}

/// The knobs of a lab, in the order of the struct's fields.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(transparent)]
pub struct Knobs(Vec<Knob>);

impl Knobs {
    /// The knobs of a struct; the defaults are the values of `first`.
    ///
    /// # Errors
    /// When the struct has a field that is no knob: neither number, duration, switch, text, choice, group nor list.
    pub fn of<L: Serialize + JsonSchema>(first: &L) -> Result<Self, KnobError> {
        let schema = schemars::SchemaGenerator::default().into_root_schema_for::<L>();
        let order = schema::field_order(first);
        Ok(Self(schema::knobs(schema.as_value(), &order, &table(first)?)?))
    }
    /// The knobs.
    pub fn iter(&self) -> impl Iterator<Item = &Knob> {
        self.0.iter()
    }
    /// The knob of that name.
    ///
    /// # Errors
    /// When there is none; names the nearest.
    pub fn get(&self, name: &str) -> Result<&Knob, KnobError> {
        find(&self.0, name)
    }
    /// Sets one knob of a table, as written on the command line: `ttl=500ms`.
    ///
    /// # Errors
    /// When there is no such knob or it cannot have that value.
    pub fn set(&self, table: &mut toml::Table, assignment: &str) -> Result<(), KnobError> {
        let Some((name, text)) = assignment.split_once('=').filter(|(name, _)| !name.trim().is_empty())
        else {
            return Err(KnobError::NoAssignment { text: assignment.to_owned(), example: self.example() });
        };
        let knob = self.get(name.trim())?;
        match value::parse(knob, text)? {
            Some(value) => table.insert(knob.name.clone(), value),
            None => table.remove(&knob.name),
        };
        Ok(())
    }
    /// Checks that a table has all knobs, no others, and each with a value that it may have.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, table: &toml::Table) -> Result<(), KnobError> {
        value::check_group(&self.0, "", table)
    }
    /// What is wrong with the knobs as their author wrote them: a knob without help, a choice that is not written like-this.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for knob in &self.0 {
            if knob.help.is_empty() {
                problems.push(format!("the knob `{}` has no doc comment", knob.name));
            }
            let KnobKind::Choice(choices) = &knob.kind else { continue };
            for choice in choices.iter().filter(|choice| !is_kebab(&choice.name)) {
                let name = &choice.name;
                problems
                    .push(format!("`{name}` of `{}`: add #[serde(rename_all = \"kebab-case\")]", knob.name));
            }
        }
        problems
    }
    fn example(&self) -> String {
        let with_default =
            self.0.iter().find_map(|knob| Some(format!("{}={}", knob.name, shown(knob.default.as_ref()?))));
        with_default.unwrap_or_else(|| "ttl=500ms".to_owned())
    }
}

fn find<'k>(knobs: &'k [Knob], name: &str) -> Result<&'k Knob, KnobError> {
    knobs.iter().find(|knob| knob.name == name).ok_or_else(|| KnobError::Unknown {
        name: name.to_owned(),
        nearest: nearest(name, knobs.iter().map(|knob| knob.name.as_str())).map(str::to_owned),
        known: knobs.iter().map(|knob| knob.name.clone()).collect(),
    })
}

/// A struct's values as a TOML table, which is how a plan holds them.
///
/// # Errors
/// When a value has no place in TOML, such as a number above `i64::MAX`.
pub fn table<L: Serialize>(value: &L) -> Result<toml::Table, KnobError> {
    toml::Table::try_from(value)
        .map_err(|error| KnobError::Malformed { path: String::new(), reason: error.to_string() })
}

/// The struct that a table stands for. See [`Knobs::check`] for what serde would let pass.
///
/// # Errors
/// When it is none; the path says where.
pub fn read<L: DeserializeOwned>(table: &toml::Table) -> Result<L, KnobError> {
    serde_path_to_error::deserialize(table.clone()).map_err(|error| KnobError::Malformed {
        path: error.path().to_string(),
        reason: error.into_inner().message().trim().to_owned(),
    })
}

/// The same lab with one knob changed: `patch(naive, "fill=single-flight")`.
///
/// # Errors
/// When there is no such knob or it cannot have that value.
pub fn patch<L: Serialize + DeserializeOwned + JsonSchema>(
    value: L,
    assignment: &str,
) -> Result<L, KnobError> {
    let mut changed = table(&value)?;
    Knobs::of(&value)?.set(&mut changed, assignment)?;
    read(&changed)
}

/// A value as one writes it on the command line.
pub fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Float(x) if *x == x.trunc() && x.abs() < 1e15 => format!("{x:.1}"),
        toml::Value::Float(x) => x.to_string(),
        toml::Value::Table(table) => {
            let fields: Vec<String> =
                table.iter().map(|(key, value)| format!("{key}={}", shown(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        toml::Value::Array(values) => {
            format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
