//! The one rule by which a measured figure passes or fails.
//!
//! Two kinds of claim exist. An *exact* one (a count, a bound, an identity) must hold in every run, to the last digit. A
//! *statistical* one compares the mean m of independent runs with the theory's value: with s the standard deviation of
//! the runs and R their number, m must be within 4 s / sqrt(R) of it. Four standard errors let a true model fail once in
//! 16,000 checks; with few seeds s is uncertain too, and it is once in 4,000 with 40 of them and once in 1,300 with 20.
//! A short run has a wide error and would pass anything, so 4 s / sqrt(R) must also be within the tolerance that the check
//! states; where it is not, the check is void, and a void check is a failed test.
//!
//! Seeds are 1 to R, always. A run is a function of its seed, so a failing gate is a fact to explain, not bad luck.

use std::fmt;

/// How wide four standard errors may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// As a share of the theory's value: 0.02 is two percent.
    Relative(f64),
    /// In the unit of the value.
    Absolute(f64),
}

/// What the rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The measurement agrees with the theory, and was long enough to disagree.
    Pass,
    /// The measurement contradicts the theory.
    Fail,
    /// The runs are too short to say.
    Void,
}

/// A measurement, what it was compared with, and the verdict.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was measured.
    pub what: String,
    /// The estimate.
    pub mean: f64,
    /// The standard error of the estimate.
    pub standard_error: f64,
    /// The theory's value.
    pub theory: f64,
    /// A difference that is declared in advance: a theory that holds in the limit, a reference that was itself measured.
    pub bias: f64,
    /// How wide four standard errors may be, in the unit of the value.
    pub tolerance: f64,
    /// How many seeds: 1 to this.
    pub seeds: usize,
    /// The verdict.
    pub verdict: Verdict,
}

/// The statistical rule for the mean of one estimate per seed.
pub fn four_standard_errors(what: &str, theory: f64, tolerance: Tolerance, estimates: &[f64]) -> Outcome {
    let mean = estimates.iter().sum::<f64>() / estimates.len() as f64;
    with_pooled_estimate(what, theory, tolerance, 0.0, mean, estimates)
}

/// The rule for an estimate from all seeds together, such as the quantile of all samples: a mean of quantiles would be
/// biased. The spread of the seeds' own estimates gives its error. `bias` is declared in advance.
pub fn with_pooled_estimate(
    what: &str,
    theory: f64,
    tolerance: Tolerance,
    bias: f64,
    pooled: f64,
    estimates: &[f64],
) -> Outcome {
    let count = estimates.len() as f64;
    let mean = estimates.iter().sum::<f64>() / count;
    let variance = estimates.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (count - 1.0);
    let standard_error = (variance / count).sqrt();
    let tolerance = match tolerance {
        Tolerance::Relative(share) => share * theory.abs(),
        Tolerance::Absolute(width) => width,
    };
    // A single run, or no number at all, says nothing: NaN compares as false.
    let verdict = if (pooled - theory).abs() > 4.0 * standard_error + bias {
        Verdict::Fail
    } else if 4.0 * standard_error <= tolerance {
        Verdict::Pass
    } else {
        Verdict::Void
    };
    Outcome {
        what: what.to_owned(),
        mean: pooled,
        standard_error,
        theory,
        bias,
        tolerance,
        seeds: estimates.len(),
        verdict,
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: measured {:.6}, theory {:.6}, difference {:+.6} = {:+.2} SE, 4 SE {:.6} (at most {:.6}",
            self.what,
            self.mean,
            self.theory,
            self.mean - self.theory,
            (self.mean - self.theory) / self.standard_error,
            4.0 * self.standard_error,
            self.tolerance,
        )?;
        if self.bias > 0.0 {
            write!(f, ", declared bias {:.6}", self.bias)?;
        }
        write!(f, "), seeds 1..={}", self.seeds)
    }
}

impl Outcome {
    /// Prints the measurement; the test fails unless the gate passes.
    ///
    /// # Panics
    /// When the measurement contradicts the theory, or is too short to say.
    #[track_caller]
    pub fn holds(self) {
        println!("  {:?}  {self}", self.verdict);
        match self.verdict {
            Verdict::Pass => {}
            Verdict::Fail => panic!("the measurement contradicts the theory: {self}"),
            Verdict::Void => panic!("void: the run is too short to say anything: {self}"),
        }
    }
    /// A test of the test: the model has a known mistake, and the gate must see it.
    ///
    /// # Panics
    /// When the gate does not reject the measurement.
    #[track_caller]
    pub fn is_rejected(self) {
        println!("  rejected as it must be: {self}");
        assert_eq!(self.verdict, Verdict::Fail, "the gate lets a wrong model through: {self}");
    }
}

/// The exact rule: what was counted is what the theory says, in every run.
///
/// # Panics
/// When one of the runs differs.
#[track_caller]
pub fn exactly<T: PartialEq + fmt::Debug>(what: &str, theory: &T, runs: &[T]) {
    for (index, measured) in runs.iter().enumerate() {
        assert!(measured == theory, "{what}: seed {} measured {measured:?}, theory {theory:?}", index + 1);
    }
    println!("  Pass  {what}: exactly {theory:?} in {} of {} runs", runs.len(), runs.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: [f64; 4] = [0.9, 1.1, 1.0, 1.0]; // mean 1, standard error 0.0408

    #[test]
    fn four_standard_errors_away_is_the_limit() {
        let at = |theory| four_standard_errors("x", theory, Tolerance::Absolute(0.2), &RUNS).verdict;
        assert_eq!(at(1.16), Verdict::Pass);
        assert_eq!(at(1.17), Verdict::Fail);
        assert_eq!(at(0.83), Verdict::Fail);
    }

    #[test]
    fn runs_that_are_too_short_are_void() {
        let outcome = four_standard_errors("x", 1.0, Tolerance::Relative(0.1), &RUNS);
        assert_eq!(outcome.verdict, Verdict::Void);
        assert!(std::panic::catch_unwind(|| outcome.holds()).is_err());
    }

    #[test]
    fn a_single_run_and_no_number_are_void() {
        assert_eq!(four_standard_errors("x", 1.0, Tolerance::Absolute(9.0), &[1.0]).verdict, Verdict::Void);
        let outcome = four_standard_errors("x", 1.0, Tolerance::Absolute(9.0), &[1.0, f64::NAN]);
        assert_eq!(outcome.verdict, Verdict::Void);
    }

    #[test]
    fn a_declared_bias_widens_the_gate_and_nothing_else() {
        let with = |bias| with_pooled_estimate("x", 1.2, Tolerance::Absolute(0.2), bias, 1.0, &RUNS).verdict;
        assert_eq!((with(0.0), with(0.05)), (Verdict::Fail, Verdict::Pass));
    }
}
