//! A scenario as a test: many seeds, a failure that explains itself, and a file of plans that failed once.
//!
//! ```no_run
//! # fn register() -> sim_core::search::scenario::Scenario { unimplemented!() }
//! # /*
//! #[test]
//! # */
//! fn no_read_goes_back() {
//!     register().seeds(0..1000).regressions("tests/regressions/register.toml").assert_holds();
//! }
//! ```
//!
//! A failure is shrunk, told as a numbered story, and kept in the file of regressions, whose plans are run first next time.
//! The last line of its message replays it.
//!
//! Around the runs, and only here, the environment is read; a run itself depends on its plan alone:
//!
//! | variable | what it does |
//! |---|---|
//! | `SHAKETABLE_SEEDS=0..100000` | other seeds than the test names; `17` is that one seed |
//! | `SHAKETABLE_PLAN=file#2` | the second plan of a file of regressions and nothing else; `file` alone: all of it, or a `plan.toml` |
//! | `CARGO_MANIFEST_DIR`, `CARGO_PKG_NAME` | set by cargo: where relative paths begin, and `-p` of the replay line |

pub mod regressions;

use std::{
    collections::BTreeMap,
    fmt::Write,
    ops::Range,
    path::{Path, PathBuf},
};

use self::regressions::Kept;
use super::{
    Experiment, Failure, Trial,
    shrink::{Effort, Shrunk, shrink, story},
    sweep::first_trial,
};
use crate::{plan::Plan, record::RecordingLevel};

const SEEDS: &str = "SHAKETABLE_SEEDS";
const PLAN: &str = "SHAKETABLE_PLAN";

/// A test over a range of seeds; see the module, and [`Scenario::seeds`](super::scenario::Scenario::seeds).
pub struct Seeds<'a> {
    experiment: &'a dyn Experiment,
    seeds: Range<u64>,
    workers: usize,
    regressions: Option<PathBuf>,
    effort: Effort,
}

impl<'a> Seeds<'a> {
    /// For any experiment. One worker, no file, the usual effort.
    pub fn new(experiment: &'a dyn Experiment, seeds: Range<u64>) -> Self {
        Self { experiment, seeds, workers: 1, regressions: None, effort: Effort::default() }
    }
    /// On so many threads; at least one. Whatever the number, the result is the same.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }
    /// The file of plans that failed once. A relative path begins at the folder of the `Cargo.toml` of the crate under test.
    /// There need not be a file: the first failure makes it.
    pub fn regressions(mut self, path: impl Into<PathBuf>) -> Self {
        self.regressions = Some(path.into());
        self
    }
    /// How much may be spent on making a failing plan small. Its number of workers is that of [`workers`](Self::workers).
    pub fn effort(mut self, effort: Effort) -> Self {
        self.effort = effort;
        self
    }

    /// Runs the kept plans, then the seeds.
    ///
    /// # Panics
    /// When something does not hold: with the property, the seed, the size of the shrunk plan, its story, what happens
    /// without each of its parts, and a line that replays it. When a `sometimes` property held in no run. When the file of
    /// regressions cannot be understood: it is left as it is.
    #[track_caller]
    pub fn assert_holds(&self) {
        if let Err(message) = self.holds() {
            panic!("{message}");
        }
    }
    /// For the test of a broken twin: finds the first seed that fails this property, and makes its plan small. Where the
    /// file of regressions has plans of this property, at least one of them must still fail; where it has none, this one is
    /// kept.
    ///
    /// # Panics
    /// When no seed fails it, or no kept plan does.
    #[track_caller]
    pub fn expect_failure(&self, property: &str) -> Shrunk {
        match self.fails(property) {
            Ok(shrunk) => shrunk,
            Err(message) => panic!("{message}"),
        }
    }

    fn holds(&self) -> Result<(), String> {
        if let Some(name) = setting(PLAN) {
            return self.all_hold(&name, &self.asked_plans(&name)?);
        }
        if let Some(path) = &self.regressions {
            let kept: Vec<(usize, Kept)> =
                self.kept(path)?.into_iter().enumerate().map(|(index, kept)| (index + 1, kept)).collect();
            self.all_hold(&path.display().to_string(), &kept)?;
        }
        let seeds = self.asked_seeds()?;
        let all: Vec<u64> = seeds.clone().collect();
        let mut sometimes: BTreeMap<String, bool> = BTreeMap::new();
        let is_wrong = |trial: &Trial| !trial.failures.is_empty() || trial.error.is_some();
        let (_, found) = first_trial(self.experiment, &all, self.workers, is_wrong, |trial| {
            for (name, &held) in &trial.sometimes {
                *sometimes.entry(name.clone()).or_default() |= held;
            }
        });
        if let Some(trial) = found {
            return Err(self.failed(&trial));
        }
        let never: Vec<String> =
            sometimes.iter().filter(|(_, held)| !**held).map(|(name, _)| format!("`{name}`")).collect();
        // A part of the test's own seeds need not reach everything.
        let is_whole = seeds.start <= self.seeds.start && self.seeds.end <= seeds.end;
        if !never.is_empty() && is_whole {
            return Err(format!(
                "never reached with seeds {}..{}: {}\na `sometimes` property must hold in one run at least, or the test \
                 has not tested what it is about",
                seeds.start,
                seeds.end,
                never.join(", ")
            ));
        }
        Ok(())
    }

    fn fails(&self, property: &str) -> Result<Shrunk, String> {
        let is_it = |failure: &Failure| failure.property == property;
        if let Some(name) = setting(PLAN) {
            for (_, kept) in &self.asked_plans(&name)? {
                if let Some(shrunk) = self.as_it_is(&kept.plan, |all| all.iter().find(|one| is_it(one)))? {
                    return Ok(shrunk);
                }
            }
            return Err(format!("{name}: no plan of it fails `{property}`"));
        }
        let mut must_keep = false;
        if let Some(path) = &self.regressions {
            let mut kept = self.kept(path)?;
            kept.retain(|one| one.property == property);
            must_keep = kept.is_empty();
            let mut still = 0;
            for one in &kept {
                still +=
                    usize::from(self.as_it_is(&one.plan, |all| all.iter().find(|one| is_it(one)))?.is_some());
            }
            if still == 0 && !must_keep {
                return Err(format!(
                    "{}: none of its {} plans of `{property}` fails any more. Take them out, and a new one is found",
                    path.display(),
                    kept.len()
                ));
            }
        }
        let seeds = self.asked_seeds()?;
        let all: Vec<u64> = seeds.clone().collect();
        let wanted = |trial: &Trial| trial.error.is_some() || trial.failures.iter().any(is_it);
        let (_, found) = first_trial(self.experiment, &all, self.workers, wanted, |_| {});
        let Some(trial) = found else {
            return Err(format!("`{property}` fails with no seed of {}..{}", seeds.start, seeds.end));
        };
        let failure = trial.failures.iter().find(|one| is_it(one));
        let shrunk = self.shrunk(&trial, failure)?;
        if let (true, Some(path)) = (must_keep, &self.regressions) {
            self.keep(path, &trial, &shrunk).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(shrunk)
    }

    fn effort_now(&self) -> Effort {
        Effort { workers: self.workers, ..self.effort }
    }
    fn shrunk(&self, trial: &Trial, failure: Option<&Failure>) -> Result<Shrunk, String> {
        let seed = trial.seed;
        if let Some(error) = &trial.error {
            return Err(format!("seed {seed} cannot be run: {error}"));
        }
        let plan = self.experiment.plan(seed).map_err(|error| format!("seed {seed}: {error}"))?;
        let fingerprint = failure.map(Failure::fingerprint);
        shrink(self.experiment, &plan, fingerprint.as_deref(), self.effort_now()).map_err(|error| {
            let what = failure.map_or(String::new(), headline);
            format!("{what}\nseed {seed}, and it cannot be shrunk: {error}")
        })
    }
    /// The plan as it is, with its story and certificate, where one of its failures is chosen.
    fn as_it_is(
        &self,
        plan: &Plan,
        choose: impl Fn(&[Failure]) -> Option<&Failure>,
    ) -> Result<Option<Shrunk>, String> {
        let recording = self.experiment.run(plan, RecordingLevel::Full)?;
        let failures = self.experiment.judge(&recording);
        let Some(failure) = choose(&failures) else { return Ok(None) };
        let none = Effort { executions: 0, ..self.effort_now() };
        let shrunk = shrink(self.experiment, plan, Some(&failure.fingerprint()), none);
        shrunk.map(Some).map_err(|error| error.to_string())
    }

    fn all_hold(&self, name: &str, plans: &[(usize, Kept)]) -> Result<(), String> {
        for (number, kept) in plans {
            let file = name.rsplit_once('#').map_or(name, |(file, _)| file);
            let place = if *number == 0 { file.to_owned() } else { format!("{file}#{number}") };
            let failing = self.as_it_is(&kept.plan, |all| {
                all.iter().find(|one| one.property == kept.property).or(all.first())
            });
            if let Some(shrunk) = failing.map_err(|error| format!("plan {place}: {error}"))? {
                let origin = format!("plan {place}:\n{}", shrunk.after);
                return Err(report(&shrunk, &origin, &format!("{PLAN}={place}")));
            }
        }
        Ok(())
    }

    fn failed(&self, trial: &Trial) -> String {
        let shrunk = match self.shrunk(trial, trial.failures.first()) {
            Ok(shrunk) => shrunk,
            Err(message) => return message,
        };
        let mut origin = format!(
            "seed {}, shrunk in {} runs from {} to\n{}",
            trial.seed, shrunk.executions, shrunk.before, shrunk.after
        );
        let mut replay = format!("{SEEDS}={}", trial.seed);
        if let Some(path) = &self.regressions {
            match self.keep(path, trial, &shrunk) {
                Ok(number) => replay = format!("{PLAN}={}#{number}", path.display()),
                Err(error) => {
                    let _ = write!(origin, "\nthe plan could not be kept in {}: {error}", path.display());
                }
            }
        }
        report(&shrunk, &origin, &replay)
    }

    fn keep(&self, path: &Path, trial: &Trial, shrunk: &Shrunk) -> Result<usize, String> {
        let kept = Kept {
            property: shrunk.failure.property.clone(),
            found_by: trial.seed,
            plan: shrunk.plan.clone(),
        };
        regressions::keep(&in_crate(path), &kept)
    }
    fn kept(&self, path: &Path) -> Result<Vec<Kept>, String> {
        regressions::read(&in_crate(path)).map_err(|error| {
            format!("{}: {error}\nthe file is left as it is; mend it or take it away", path.display())
        })
    }

    /// The plans that the environment asks for, with their numbers in the file; a file that is one plan has the number 0.
    fn asked_plans(&self, name: &str) -> Result<Vec<(usize, Kept)>, String> {
        let wrong = |error: String| format!("{PLAN}={name}: {error}");
        let (file, number) = match name.rsplit_once('#') {
            None => (name, None),
            Some((file, number)) => {
                let number = number.parse::<usize>();
                (file, Some(number.map_err(|_| wrong("after # stands a number, as in file#2".to_owned()))?))
            }
        };
        let text =
            std::fs::read_to_string(in_crate(Path::new(file))).map_err(|error| wrong(error.to_string()))?;
        let one = toml::from_str::<toml::Table>(&text).is_ok_and(|table| table.contains_key("scenario"));
        if one {
            let plan = Plan::from_toml(&text).map_err(wrong)?;
            return Ok(vec![(0, Kept { property: String::new(), found_by: plan.seed, plan })]);
        }
        let mut all: Vec<(usize, Kept)> = regressions::parse(&text)
            .map_err(wrong)?
            .into_iter()
            .enumerate()
            .map(|(index, kept)| (index + 1, kept))
            .collect();
        let count = all.len();
        all.retain(|(index, _)| number.is_none_or(|number| number == *index));
        if all.is_empty() {
            return Err(wrong(format!("there is no such plan: the file has {count}")));
        }
        Ok(all)
    }

    fn asked_seeds(&self) -> Result<Range<u64>, String> {
        let seeds = match setting(SEEDS) {
            None => self.seeds.clone(),
            Some(text) => seeds_of(&text)
                .ok_or_else(|| format!("{SEEDS}={text}: write a range such as 0..1000, or one seed"))?,
        };
        if seeds.is_empty() {
            return Err(format!("there is no seed in {}..{}: nothing was tested", seeds.start, seeds.end));
        }
        Ok(seeds)
    }
}

fn seeds_of(text: &str) -> Option<Range<u64>> {
    let number = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    match text.split_once("..") {
        None => number(text).and_then(|seed| Some(seed..seed.checked_add(1)?)),
        Some((from, to)) => match to.strip_prefix('=') {
            None => Some(number(from)?..number(to)?),
            Some(last) => Some(number(from)?..number(last)?.checked_add(1)?),
        },
    }
}

fn headline(failure: &Failure) -> String {
    let detail = if failure.detail.is_empty() { "" } else { ": " };
    format!("`{}` ({}) does not hold{detail}{}", failure.property, failure.kind, failure.detail)
}

/// The message of a failing test.
fn report(shrunk: &Shrunk, origin: &str, replay: &str) -> String {
    let mut text = format!("{}\n{origin}\n\n", headline(&shrunk.failure));
    for line in story(&shrunk.recording, &shrunk.failure) {
        text.push_str(&line);
        text.push('\n');
    }
    if !shrunk.certificate.is_empty() {
        text.push('\n');
    }
    for needed in &shrunk.certificate {
        let _ = writeln!(text, "without {}: {}", needed.without, needed.then);
    }
    let _ = write!(text, "\nreplay it with\n{replay} {}", command());
    text
}

/// How to run the test that runs now, alone: also where it is ignored otherwise.
fn command() -> String {
    let package = setting("CARGO_PKG_NAME").map_or(String::new(), |name| format!(" -p {name}"));
    // The test harness names its threads after their tests; on one thread it runs them on the main one.
    match std::thread::current().name().filter(|name| *name != "main") {
        Some(test) => format!("cargo test{package} {test} -- --exact --include-ignored"),
        None => format!("cargo test{package}"),
    }
}

/// A path of the crate under test: cargo runs tests in its folder and says which that is.
fn in_crate(path: &Path) -> PathBuf {
    setting("CARGO_MANIFEST_DIR").map_or_else(|| path.to_owned(), |folder| Path::new(&folder).join(path))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the harness of tests around runs, never a run: it decides which plans are run, not what they do"
)]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::seeds_of;

    #[test]
    fn seeds_are_a_range_or_one() {
        assert_eq!(seeds_of("0..100_000"), Some(0..100_000));
        assert_eq!(seeds_of("3..=9"), Some(3..10));
        assert_eq!(seeds_of("17"), Some(17..18));
        assert_eq!(seeds_of("many"), None);
        assert_eq!(seeds_of("18446744073709551615"), None);
    }
}
