//! A knob that is swept: `--set rate=20..200`, or `--set rate=20..200/10` for ten values.

use scenarios::lab::{
    LabEntry,
    knobs::{Knob, KnobKind},
};
use serde::{Deserialize, Serialize};
use sim_core::{math, time::Duration};

use crate::failure::Failure;

/// How many values there are when nobody says.
const STEPS: usize = 8;
/// From this ratio of the ends on, steps are factors and not differences.
const LOGARITHMIC: f64 = 20.0;

/// The knob and its values, as one would write them after `=`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KnobRange {
    pub(crate) knob: String,
    pub(crate) values: Vec<String>,
}

/// Takes the range out of what is set, where there is one.
pub(crate) fn split(lab: &LabEntry, sets: &[String]) -> Result<(Vec<String>, Option<KnobRange>), Failure> {
    let (mut plain, mut range) = (Vec::new(), None);
    let knobs = lab.knobs()?;
    for set in sets {
        let wanted = set.split_once('=').filter(|(_, value)| value.contains(".."));
        let Some((name, text)) = wanted else {
            plain.push(set.clone());
            continue;
        };
        let knob = knobs.get(name.trim()).map_err(Failure::usage)?;
        if range.is_some() {
            return Err(Failure::usage(
                "only one knob can be swept at a time: two ranges were given with --set",
            ));
        }
        range =
            Some(KnobRange { knob: knob.name.clone(), values: values(knob, text).map_err(Failure::Usage)? });
    }
    Ok((plain, range))
}

fn values(knob: &Knob, text: &str) -> Result<Vec<String>, String> {
    let name = &knob.name;
    let (ends, steps) = match text.split_once('/') {
        None => (text, STEPS),
        Some((ends, steps)) => {
            let steps = steps.trim().parse::<usize>().ok().filter(|n| (2..=100).contains(n));
            (ends, steps.ok_or(format!("`{text}`: the number of values after `/` is from 2 to 100"))?)
        }
    };
    let (from, to) = ends.split_once("..").unwrap_or((ends, ends));
    let number = |text: &str| -> Result<f64, String> {
        match knob.kind {
            KnobKind::Duration => {
                text.parse::<Duration>().map(|time| time.as_nanos() as f64).map_err(|error| error.to_string())
            }
            KnobKind::Number | KnobKind::Whole => {
                let number = text.trim().replace('_', "").parse::<f64>().ok().filter(|n| n.is_finite());
                number.ok_or(format!("`{text}` is no number"))
            }
            _ => Err(format!("the knob `{name}` has no range to sweep: only numbers and durations have")),
        }
    };
    let (low, high) = (number(from)?, number(to)?);
    if low >= high {
        return Err(format!("there is nothing between {from} and {to}: the smaller one comes first"));
    }
    let shown = |value: f64| match knob.kind {
        KnobKind::Duration => Duration::from_nanos_f64(value).to_string(),
        KnobKind::Whole => format!("{value:.0}"),
        _ => format!("{value}"),
    };
    let mut values: Vec<String> = Vec::new();
    for step in 0..steps {
        let share = step as f64 / (steps - 1) as f64;
        let value = if step == 0 {
            low
        } else if step == steps - 1 {
            high
        } else if low > 0.0 && high / low >= LOGARITHMIC {
            rounded(math::exp(math::ln(low) + share * (math::ln(high) - math::ln(low))))
        } else {
            rounded(low + share * (high - low))
        };
        let text = shown(value);
        if !values.contains(&text) {
            values.push(text);
        }
    }
    Ok(values)
}

/// To three digits that matter: nobody asks for 1.285714ms.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values_of(kind: KnobKind, text: &str) -> Result<Vec<String>, String> {
        let knobs = scenarios::find("write-ahead-log").unwrap().knobs().unwrap();
        let knob = knobs.iter().find(|knob| knob.kind == kind).expect("a knob of that kind");
        values(knob, text)
    }

    #[test]
    fn steps_are_differences_or_factors() {
        let number = |text: &str| values_of(KnobKind::Number, text).unwrap();
        assert_eq!(number("10..80"), ["10", "20", "30", "40", "50", "60", "70", "80"]);
        assert_eq!(number("1..1000/4"), ["1", "10", "100", "1000"]);
        assert_eq!(values_of(KnobKind::Whole, "1..4").unwrap(), ["1", "2", "3", "4"], "each value once");
        assert_eq!(values_of(KnobKind::Duration, "1ms..3ms/3").unwrap(), ["1ms", "2ms", "3ms"]);
        assert_eq!(values_of(KnobKind::Duration, "1ms..1s/4").unwrap(), ["1ms", "10ms", "100ms", "1s"]);
    }

    #[test]
    fn what_is_no_range_is_told() {
        let told = |kind, text: &str| values_of(kind, text).unwrap_err();
        assert!(told(KnobKind::Number, "5..1").contains("the smaller one comes first"));
        assert!(told(KnobKind::Number, "1..x").contains("`x` is no number"));
        assert!(told(KnobKind::Duration, "1..5").contains("write a number and a unit"));
        assert!(told(KnobKind::Number, "1..5/1").contains("from 2 to 100"));
        assert!(told(KnobKind::Switch, "1..5").contains("no range to sweep"));
    }
}
