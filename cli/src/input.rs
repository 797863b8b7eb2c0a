//! What people write: seeds, files of faults, plans. Every error names the file and shows the line.

use std::{fs, path::Path};

use sim_core::{fault::FaultPlan, plan::Plan};

use crate::failure::Failure;

/// A seed. A plan is TOML, whose whole numbers end at 2^63 - 1.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    let number = text.replace('_', "").parse::<u64>().ok().filter(|seed| i64::try_from(*seed).is_ok());
    number.ok_or_else(|| format!("a seed is a whole number from 0 to {}", i64::MAX))
}

fn read(path: &Path, what: &str) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|reason| Failure::usage(format!("cannot read the {what} {}: {reason}", path.display())))
}

/// Reads a file of faults.
pub(crate) fn faults(path: &Path) -> Result<FaultPlan, Failure> {
    let text = read(path, "file of faults")?;
    FaultPlan::from_toml(&text)
        .map_err(|error| Failure::usage(format!("{} is no file of faults: {error}", path.display())))
}

/// Reads a plan.
pub(crate) fn plan(path: &Path) -> Result<Plan, Failure> {
    let text = read(path, "plan")?;
    Plan::from_toml(&text)
        .map_err(|message| Failure::usage(format!("{} is no plan: {message}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fits_into_a_plan() {
        assert_eq!(seed("42"), Ok(42));
        assert_eq!(seed("1_000"), Ok(1_000));
        let largest = i64::MAX as u64;
        assert_eq!(seed(&largest.to_string()), Ok(largest));
        let plan = Plan::new("x", largest, sim_core::time::secs(1));
        assert_eq!(Plan::from_toml(&plan.to_toml()), Ok(plan));
        for text in ["", "-1", "x", "1.5", "9223372036854775808"] {
            assert!(seed(text).unwrap_err().contains("9223372036854775807"), "{text}");
        }
    }
}
