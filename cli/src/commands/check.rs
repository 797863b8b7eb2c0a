//! `check`: was what the clients of some system saw possible at all?

use std::{fs, path::PathBuf};

use clap::{Args, ValueEnum, builder::PossibleValue};
use serde_json::{Value, json};
use sim_core::{
    check::{
        Budget, History, Operation, Outcome, Report, Verdict,
        foreign::{self, Format},
        models::KnownModel,
    },
    time::SimTime,
};

use crate::{
    console::{BAD, Console, DIM, GOOD, NOTE, painted},
    document,
    failure::{Failure, Status},
    show::text::{counted, wrapped},
};

/// Judge a history that some system recorded
///
/// Reads the operations of clients from a file and looks for an order that explains what they were told. Exit status: 0
/// there is one, 1 there is none, 2 the file cannot be read, 3 not decided within the budget.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The file with the history
    file: PathBuf,
    /// What the object should have done
    #[arg(long)]
    model: ModelName,
    /// How the file is written; guessed from its first operation where it is not said
    #[arg(long)]
    format: Option<FormatName>,
    /// What is asked of the history
    #[arg(long, default_value = "linearizable")]
    consistency: Consistency,
    /// How many configurations may be looked at before the answer is unknown
    #[arg(long, value_name = "N", default_value_t = Budget::default().0)]
    budget: u64,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

/// A [`KnownModel`] on the command line.
#[derive(Clone, Copy, Debug)]
struct ModelName(KnownModel);

impl ValueEnum for ModelName {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: [ModelName; KnownModel::ALL.len()] = {
            let mut all = [ModelName(KnownModel::Register); KnownModel::ALL.len()];
            let mut index = 0;
            while index < all.len() {
                all[index] = ModelName(KnownModel::ALL[index]);
                index += 1;
            }
            all
        };
        &ALL
    }
    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

/// A [`Format`] on the command line.
#[derive(Clone, Copy, Debug)]
struct FormatName(Format);

impl ValueEnum for FormatName {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [FormatName; 4] = [
            FormatName(Format::Edn),
            FormatName(Format::JsonLines),
            FormatName(Format::Etcd),
            FormatName(Format::KeyValue),
        ];
        &ALL
    }
    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

/// Which promise is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Consistency {
    /// Each operation took effect at one instant between its invocation and its end
    Linearizable,
    /// One order of all operations agrees with each process's own
    Sequential,
}

pub(crate) fn carry_out(arguments: &CheckArguments, console: &mut Console<'_>) -> Result<Status, Failure> {
    let file = arguments.file.display();
    let bytes = fs::read(&arguments.file)
        .map_err(|reason| Failure::usage(format!("cannot read the history {file}: {reason}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Failure::usage(format!("{file}, line {line}: the text is not UTF-8"))
    })?;
    let format = match arguments.format {
        Some(FormatName(format)) => format,
        None => Format::guess(&text).ok_or_else(|| {
            let names: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
            Failure::usage(format!(
                "{file}: it cannot be told how the history is written; say --format {}",
                names.join(", ")
            ))
        })?,
    };
    let wrong = |line: u32, message: &str| {
        Failure::usage(format!("{file}, line {line}: {message}{}", shown_line(&text, line)))
    };
    let history = foreign::read(&text, format).map_err(|error| wrong(error.line, &error.message))?;
    let model = arguments.model.0;
    model.fits(&history).map_err(|misfit| wrong(misfit.line, &misfit.message))?;
    let budget = Budget(arguments.budget);
    let report = match arguments.consistency {
        Consistency::Linearizable => model.linearizable(&history, budget),
        Consistency::Sequential => model.sequential(&history, budget),
    };
    let judged = Judged { arguments, format, history: &history, report: &report };
    if arguments.json {
        console.print_raw(document::text(&judged.document()).as_bytes())?;
    } else {
        console.print(&judged.page(console.width()))?;
    }
    Ok(match report.verdict {
        Verdict::Ok => Status::AsExpected,
        Verdict::Violated(_) => Status::NotAsExpected,
        Verdict::Unknown(_) => Status::Unknown,
    })
}

/// The line itself, under the message about it.
fn shown_line(text: &str, line: u32) -> String {
    let Some(shown) = (line as usize).checked_sub(1).and_then(|index| text.lines().nth(index)) else {
        return String::new();
    };
    let short: String = shown.chars().take(100).collect();
    let more = if short.len() < shown.len() { "…" } else { "" };
    format!("\n{:>width$} |\n{line} | {short}{more}", "", width = line.to_string().len())
}

/// A history and what was found.
struct Judged<'a> {
    arguments: &'a CheckArguments,
    format: Format,
    history: &'a History,
    report: &'a Report,
}

impl Judged<'_> {
    fn verdict(&self) -> &'static str {
        match self.report.verdict {
            Verdict::Ok => "ok",
            Verdict::Violated(_) => "violated",
            Verdict::Unknown(_) => "unknown",
        }
    }

    fn page(&self, width: usize) -> String {
        let style = match self.report.verdict {
            Verdict::Ok => GOOD,
            Verdict::Violated(_) => BAD,
            Verdict::Unknown(_) => NOTE,
        };
        let operations = self.history.operations();
        let processes = operations.iter().map(|operation| operation.process + 1).max().unwrap_or(0);
        let facts = format!(
            "{} by {}, read as {}, against the model {}",
            counted(operations.len() as u64, "operation"),
            match processes {
                1 => "1 process".to_owned(),
                n => format!("{n} processes"),
            },
            self.format,
            self.arguments.model.0.name()
        );
        let mut page = format!("{}  {}\n", painted(style, self.verdict()), painted(DIM, facts));
        page.push_str(&wrapped(&self.report.sentence, "", width));
        let picture = self.report.picture.text(width);
        if !picture.is_empty() {
            page.push_str(&format!("\n{picture}"));
        }
        page
    }

    fn document(&self) -> Value {
        let witness: Vec<Value> = match self.report.witness() {
            None => Vec::new(),
            Some(witness) => witness
                .operations
                .iter()
                .enumerate()
                .map(|(index, operation)| self.operation(operation, index == witness.culprit))
                .collect(),
        };
        json!({
            "file": self.arguments.file.display().to_string(),
            "format": self.format.name(),
            "model": self.arguments.model.0.name(),
            "operations": self.history.len(),
            "verdict": self.verdict(),
            "sentence": self.report.sentence,
            "witness": witness,
            "examined": self.report.examined,
        })
    }

    fn operation(&self, operation: &Operation, culprit: bool) -> Value {
        let (outcome, output) = match &operation.outcome {
            Outcome::Ok(output) => ("ok", output.clone()),
            Outcome::Fail(reason) => ("fail", Value::from(reason.as_str())),
            Outcome::Unknown(reason) => ("unknown", Value::from(reason.as_str())),
        };
        let at = |at: SimTime| {
            let known = self.history.is_timed() && at != SimTime::MAX;
            known.then(|| at.as_nanos())
        };
        let line = |line: u32| (line > 0).then_some(line);
        json!({
            "client": &*operation.client,
            "function": &*operation.function,
            "key": &*operation.key,
            "input": operation.input,
            "outcome": outcome,
            "output": output,
            "invoked_ns": at(operation.invoked),
            "completed_ns": at(operation.completed),
            "line": line(operation.line),
            "line_completed": line(operation.line_completed),
            "culprit": culprit,
        })
    }
}
