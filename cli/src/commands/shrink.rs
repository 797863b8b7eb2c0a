//! `shrink`: a failing run becomes the smallest that fails in the same way, told as a story, with the files to keep it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use scenarios::lab::{
    LabEntry,
    experiment::{LabExperiment, as_variant},
    find_in,
    nearest::{did_you_mean, nearest},
};
use serde::Serialize;
use sim_core::{
    plan::Plan,
    search::{
        Experiment, Failure as Found,
        explore::Explore,
        shrink::{Effort, Needed, ShrinkError, Shrunk, Size, shrink, story},
    },
    time::Duration,
};
use viz::{files, otlp::ExportOptions, terminal::number};

use crate::{
    asked::Asked,
    console::{BOLD, Console, DIM, painted},
    delivery::quoted,
    document::{self, VariantDocument},
    failure::{Failure, Status},
    input,
    panics::caught,
    runs::Session,
    show::text::hanging,
    sweeping::{SearchArguments, carry::cores, quiet::Quiet},
};

/// Runs with more messages keep the network's chance: to fix each delivery would take longer than it helps.
const DELIVERIES_MOST: u64 = 20_000;

/// The most lines of a story on the terminal.
const STORY_SHOWN: usize = 60;

/// Make a failing run small: the fewest nodes, faults, operations and deliveries that fail in the same way
///
/// A smaller run counts only when the same property fails, of the same kind and with the same roles of nodes. The result
/// does not depend on the number of workers. It writes a plan for `replay`, a Rust test, the story, and the recording as
/// traces and metrics.
#[derive(Debug, Args)]
pub(crate) struct ShrinkArguments {
    /// The lab, or a plan file (TOML)
    #[arg(value_name = "NAME|PLAN")]
    pub(crate) name: String,
    /// The seed that fails, as `sweep` named it
    #[arg(long, value_name = "N", default_value = "1", value_parser = input::seed)]
    seed: u64,
    /// The variant; without it, the first
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// The property or goal that fails, where there are several; without it, the first
    #[arg(long, value_name = "NAME")]
    property: Option<String>,
    /// Where to write [default: shrunk-NAME-SEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many threads [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// How many runs at most
    #[arg(long, value_name = "RUNS", default_value = "5000", value_parser = clap::value_parser!(u64).range(1..))]
    effort: u64,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    search: SearchArguments,
}

/// What `shrink --json` prints. It is the one document with a real time in it: how long the search took.
#[derive(Serialize)]
struct ShrinkDocument<'a> {
    scenario: &'a str,
    variant: &'a str,
    seed: u64,
    property: &'a str,
    kind: &'a str,
    roles: &'a [String],
    before: Size,
    after: Size,
    story: &'a [String],
    certificate: &'a [Needed],
    executions: u64,
    seconds: f64,
    files: Vec<String>,
}

pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: &ShrinkArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    let (experiment, plan, seed) = failing_run(labs, arguments)?;
    let quiet = Quiet(&experiment);
    let recording = quiet.run(&plan, sim_core::record::RecordingLevel::Full).map_err(Failure::Lab)?;
    let chosen = choose(&quiet.judge(&recording), arguments.property.as_deref())?.fingerprint();
    let effort = Effort {
        workers: arguments.workers.map_or_else(cores, usize::from),
        executions: arguments.effort,
        deliveries: recording.messages.len() as u64 <= DELIVERIES_MOST,
        ..Effort::default()
    };
    drop(recording);
    if console.shows_progress() {
        console.tell(&format!(
            "Making it small: {chosen}. This takes up to {} runs.\n",
            number(effort.executions as f64)
        ));
    }
    let began = Instant::now();
    let shrunk = shrink(&quiet, &plan, Some(&chosen), effort).map_err(|error| match error {
        ShrinkError::Run(told) => Failure::Lab(told),
        other => Failure::usage(other),
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let story = story(&shrunk.recording, &shrunk.failure);
    let name = experiment.lab().name();
    let folder = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("shrunk-{name}-{seed}")));
    let kept = Kept { experiment: &experiment, before: &plan, shrunk: &shrunk, story: &story, seed };
    let files = kept.write(&folder)?;
    if arguments.json {
        let document = ShrinkDocument {
            scenario: name,
            variant: experiment.variant(),
            seed,
            property: &shrunk.failure.property,
            kind: &shrunk.failure.kind,
            roles: &shrunk.failure.roles,
            before: shrunk.before,
            after: shrunk.after,
            story: &story,
            certificate: &shrunk.certificate,
            executions: shrunk.executions,
            seconds,
            files: files.iter().map(|path| path.display().to_string()).collect(),
        };
        console.print_raw(document::text(&document).as_bytes())?;
    } else {
        console.print(&kept.text(&folder, &files, seconds, console.width()))?;
    }
    Ok(Status::AsExpected)
}

/// The run that is to become small: a lab's seed, or a plan file.
fn failing_run<'l>(
    labs: &'l [LabEntry],
    arguments: &ShrinkArguments,
) -> Result<(LabExperiment<'l>, Plan, u64), Failure> {
    let set_up = |lab: &LabEntry, message: String| {
        Failure::Lab(format!("the lab `{}` panicked while it was set up: {message}", lab.name()))
    };
    let path = Path::new(&arguments.name);
    if path.extension().is_some_and(|extension| extension == "toml") || path.is_file() {
        if arguments.variant.is_some() || !arguments.search.set.is_empty() {
            return Err(Failure::usage("a plan has a variant and knobs already: edit them in the file"));
        }
        let plan = input::plan(path)?;
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::usage(format!("{} cannot be run: {error}", path.display()))
        };
        let lab = find_in(labs, &plan.scenario).map_err(|error| wrong(&error))?;
        let experiment =
            caught(|| LabExperiment::of_plan(lab, &plan)).map_err(|message| set_up(lab, message))?;
        let seed = plan.seed;
        return Ok((experiment.map_err(|error| wrong(&error))?, plan, seed));
    }
    let lab = find_in(labs, &arguments.name)?;
    let first = || lab.variants().first().map_or(String::new(), |variant| variant.name.to_owned());
    let variant = arguments.variant.clone().unwrap_or_else(first);
    let settings = arguments.search.settings(arguments.search.set.clone())?;
    let experiment =
        caught(|| LabExperiment::new(lab, &variant, &settings)).map_err(|message| set_up(lab, message))??;
    let plan = Quiet(&experiment).plan(arguments.seed).map_err(|error| match settings.explore {
        Explore::KFaults { .. } => Failure::Usage(error),
        _ => Failure::Lab(error),
    })?;
    Ok((experiment, plan, arguments.seed))
}

/// The failure that is meant: that of a name, or the first property or goal, or the first of all.
fn choose<'f>(found: &'f [Found], property: Option<&str>) -> Result<&'f Found, Failure> {
    let Some(first) = found.first() else {
        return Err(Failure::usage("this run does not fail: there is nothing to make small"));
    };
    let Some(wanted) = property else {
        let counts = |one: &&Found| one.kind != "claim" && one.kind != "not measured";
        return Ok(found.iter().find(counts).unwrap_or(first));
    };
    found.iter().find(|one| one.property == wanted || one.fingerprint() == wanted).ok_or_else(|| {
        let names: Vec<&str> = found.iter().map(|one| one.property.as_str()).collect();
        let near = did_you_mean(nearest(wanted, names.iter().copied()));
        Failure::usage(format!(
            "`{wanted}` does not fail in this run{near}; what fails: {}",
            names.join(", ")
        ))
    })
}

/// All that is kept of it.
struct Kept<'a> {
    experiment: &'a LabExperiment<'a>,
    before: &'a Plan,
    shrunk: &'a Shrunk,
    story: &'a [String],
    seed: u64,
}

impl Kept<'_> {
    /// Writes the files; gives their paths, those that people read first.
    fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
        let session =
            Session::run(self.experiment.lab(), vec![self.shrunk.plan.clone()], Asked::default(), false)?;
        let Some(outcome) = session.outcomes.first() else {
            return Err(Failure::Lab("the small plan gave no run".to_owned()));
        };
        let summary = VariantDocument::of(&session, outcome).summary(&session);
        // It makes the folder, and writes plan.toml among the others.
        let options = ExportOptions::default();
        let written =
            files::write_run(folder, &outcome.recording, &options, &summary, outcome.worst_trace_id())
                .map_err(|error| Failure::Export(error.to_string()))?;
        let mut certificate = String::new();
        for needed in &self.shrunk.certificate {
            certificate.push_str(&format!("without {}: {}\n", needed.without, needed.then));
        }
        let story = format!("{}\n\n{}\n\n{certificate}", self.head(), self.story.join("\n"));
        let texts = [
            ("story.txt", story),
            ("test.rs", self.test()),
            ("before.toml", self.before.to_toml()),
            ("certificate.json", document::text(&self.shrunk.certificate)),
        ];
        let mut paths = vec![written.plan];
        for (name, text) in texts {
            let path = folder.join(name);
            fs::write(&path, text)
                .map_err(|reason| Failure::Export(format!("cannot write {}: {reason}", path.display())))?;
            paths.push(path);
        }
        paths.extend(written.traces);
        paths.extend([written.metrics_otlp, written.metrics_text, written.summary]);
        Ok(paths)
    }

    fn head(&self) -> String {
        let (lab, variant) = (self.experiment.lab().name(), self.experiment.variant());
        format!(
            "{}\n{lab}, {variant}, seed {}\n{}",
            self.shrunk.after,
            self.seed,
            self.shrunk.failure.fingerprint()
        )
    }

    /// A variant that keeps what this one violates, under the same small plan: measured, not presumed.
    fn holds_in(&self) -> Option<String> {
        let lab = self.experiment.lab();
        let fingerprint = self.shrunk.failure.fingerprint();
        let keeps = |name: &str| {
            let plan = as_variant(lab, &self.shrunk.plan, name).ok()?;
            let experiment = LabExperiment::of_plan(lab, &plan).ok()?;
            let recording = Quiet(&experiment).run(&plan, experiment.level()).ok()?;
            let failures = experiment.judge(&recording);
            let judged = failures.iter().all(|one| {
                one.fingerprint() != fingerprint
                    && one.kind != "panic"
                    && one.property != self.shrunk.failure.property
            });
            judged.then(|| name.to_owned())
        };
        let fixed = |kind| kind == scenarios::lab::variants::VariantKind::Fixed;
        lab.variants().iter().filter(|one| fixed(one.kind)).find_map(|one| keeps(one.name))
    }

    /// A test that runs the plan through the public API.
    fn test(&self) -> String {
        let (lab, variant) = (self.experiment.lab().name(), self.experiment.variant());
        let Shrunk { failure, after, .. } = self.shrunk;
        let mut text = format!(
            "//! {}: {lab}, {variant}, made small from seed {}: {after}.\n\
             //!\n\
             //! `shaketable shrink` wrote it. The plan lies beside this file; what happens in it is told in story.txt.\n\
             \n\
             use scenarios::{{\n    find,\n    lab::experiment::{{LabExperiment, as_variant}},\n}};\n\
             use sim_core::{{plan::Plan, search::Failure}};\n\
             \n\
             /// How the run fails: property, kind and roles of the witnesses.\n\
             const FAILURE: &str = {:?};\n\
             \n\
             /// What fails when the small plan is run with that variant.\n\
             fn failures(variant: &str) -> Vec<String> {{\n\
             \x20   let plan = Plan::from_toml(include_str!(\"plan.toml\")).expect(\"a plan\");\n\
             \x20   let lab = find(&plan.scenario).expect(\"a lab of the catalogue\");\n\
             \x20   let plan = as_variant(lab, &plan, variant).expect(\"a variant of the lab\");\n\
             \x20   let experiment = LabExperiment::of_plan(lab, &plan).expect(\"a plan of the lab\");\n\
             \x20   let failures = experiment.failures(&plan).expect(\"the plan can be run\");\n\
             \x20   failures.iter().map(Failure::fingerprint).collect()\n\
             }}\n\
             \n\
             #[test]\n\
             fn {}_fails_as_it_did() {{\n\
             \x20   let failures = failures({variant:?});\n\
             \x20   assert!(failures.iter().any(|one| one == FAILURE), \"{{failures:?}}\");\n\
             }}\n",
            failure.fingerprint(),
            self.seed,
            failure.fingerprint(),
            variant.replace('-', "_"),
        );
        if let Some(fixed) = self.holds_in() {
            text.push_str(&format!(
                "\n\
                 #[test]\n\
                 fn {}_holds() {{\n\
                 \x20   let failures = failures({fixed:?});\n\
                 \x20   assert!(!failures.iter().any(|one| one == FAILURE), \"{{failures:?}}\");\n\
                 }}\n",
                fixed.replace('-', "_"),
            ));
        }
        text
    }

    fn text(&self, folder: &Path, files: &[PathBuf], seconds: f64, width: usize) -> String {
        let Shrunk { failure, before, after, executions, certificate, .. } = self.shrunk;
        let (lab, variant) = (self.experiment.lab().name(), self.experiment.variant());
        let mut out = format!("{}\n", painted(BOLD, after));
        out.push_str(&hanging(&format!("{}: {}", failure.fingerprint(), failure.detail), "", "  ", width));
        out.push_str(&painted(DIM, format!("{lab}, {variant}, seed {}; before: {before}\n", self.seed)));
        out.push_str(&format!("\n{}\n", painted(BOLD, "What happens")));
        let (first, last) = ends(self.story.len());
        for line in &self.story[..first] {
            out.push_str(&told(line, width));
        }
        if first < last {
            let between = &self.story[first..last];
            out.push_str(&format!(
                "   ... {} lines between, all of them in story.txt\n",
                number(between.len() as f64)
            ));
            for line in between.iter().filter(|line| line.contains("  fault `")).take(STORY_SHOWN) {
                out.push_str(&told(line, width));
            }
        }
        for line in &self.story[last..] {
            out.push_str(&told(line, width));
        }
        if !certificate.is_empty() {
            out.push_str(&format!("\n{}\n", painted(BOLD, "What happens without")));
            for Needed { without, then } in certificate {
                out.push_str(&hanging(&format!("{without}: {then}"), "  ", "    ", width));
            }
        }
        out.push_str(&format!("\n{}\n", painted(BOLD, format!("Files in {}", folder.display()))));
        let names: Vec<String> = files
            .iter()
            .map(|path| path.strip_prefix(folder).unwrap_or(path).display().to_string())
            .collect();
        out.push_str(&hanging(&names.join(", "), "  ", "  ", width));
        out.push_str(&format!(
            "\n{} runs in {} s. Run it again:\n  shaketable replay {}\n",
            number(*executions as f64),
            number((seconds * 10.0).round() / 10.0),
            quoted(&folder.join("plan.toml").display().to_string())
        ));
        out
    }
}

/// Where the beginning of a story ends and its end begins, when it is too long to be shown; equal when it is not.
fn ends(lines: usize) -> (usize, usize) {
    if lines <= STORY_SHOWN { (lines, lines) } else { (STORY_SHOWN / 4, lines - STORY_SHOWN / 2) }
}

/// A line of the story, with its time to the microsecond: the exact one is in story.txt.
fn told(line: &str, width: usize) -> String {
    let parts = || {
        let (number, rest) = line.split_once(". ")?;
        let (at, text) = rest.split_once("  ")?;
        let at: Duration = at.trim().parse().ok()?;
        let micros = (at.as_nanos() + 500) / 1_000;
        Some((number.trim().to_owned(), format!("{}.{:06}s", micros / 1_000_000, micros % 1_000_000), text))
    };
    match parts() {
        Some((number, at, text)) => {
            let first = format!("{number:>4}. {at:>11}  ");
            hanging(text, &first, &" ".repeat(first.len()), width)
        }
        None => hanging(line, "  ", "    ", width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_story_has_a_time_that_can_be_read() {
        assert_eq!(
            told("  3. 1.234567891s  fault `rain` is over", 80),
            "   3.   1.234568s  fault `rain` is over\n"
        );
        assert_eq!(told("  3. 1234567891ns  violated", 80), "   3.   1.234568s  violated\n");
    }

    #[test]
    fn a_long_story_is_shown_from_both_ends() {
        assert_eq!(ends(60), (60, 60));
        assert_eq!(ends(61), (15, 31));
        assert_eq!(ends(23_000), (15, 22_970));
    }

    #[test]
    fn a_failure_is_chosen_by_its_name() {
        let found = |property: &str, kind: &str| Found {
            property: property.to_owned(),
            kind: kind.to_owned(),
            roles: Vec::new(),
            at: sim_core::time::SimTime::ZERO,
            detail: String::new(),
        };
        let all = [found("the queue grows", "claim"), found("quick", "goal"), found("kept", "goal")];
        assert_eq!(choose(&all, None).unwrap().property, "quick");
        assert_eq!(choose(&all, Some("kept")).unwrap().property, "kept");
        assert_eq!(choose(&all, Some("kept (goal)")).unwrap().property, "kept");
        assert_eq!(
            choose(&all, Some("kep")).unwrap_err().to_string(),
            "`kep` does not fail in this run; did you mean `kept`?; what fails: the queue grows, quick, kept"
        );
        assert!(choose(&[], None).unwrap_err().to_string().contains("does not fail"));
    }
}
