//! `explain`: a lab's page, or the page about faults.

use clap::Args;
use scenarios::lab::{LabEntry, find_in};
use serde_json::json;

use crate::{
    asked::Asked,
    console::Console,
    document,
    failure::{Failure, Status},
    runs::Session,
    show,
};

/// Show a lab's page, or `explain faults`: every kind of fault and how it is written
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The lab; or faults
    pub(crate) name: String,
    /// Show the answers too, as measured under seed 1
    #[arg(long)]
    answers: bool,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

/// The page that is of no lab.
pub(crate) const FAULTS: &str = "faults";

pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: &ExplainArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    if arguments.name == FAULTS && find_in(labs, FAULTS).is_err() {
        match arguments.json {
            true => console.print_raw(document::text(&show::fault_page::document()).as_bytes())?,
            false => console.print(&show::fault_page::page(console.width()))?,
        }
        return Ok(Status::AsExpected);
    }
    let lab = find_in(labs, &arguments.name)?;
    if arguments.json {
        console.print_raw(document::text(&page_document(lab, arguments.answers)?).as_bytes())?;
        return Ok(Status::AsExpected);
    }
    let plan = |name: &str| lab.plan(name, 1, &[]);
    let runs = match arguments.answers {
        false => None,
        true => {
            let plans = lab.variants().iter().map(|one| plan(one.name)).collect::<Result<_, _>>()?;
            Some(Session::run(lab, plans, Asked::default(), console.shows_progress())?)
        }
    };
    console.print(&show::page(lab, runs.as_ref(), console.width())?)?;
    Ok(Status::AsExpected)
}

fn page_document(lab: &LabEntry, with_answers: bool) -> Result<serde_json::Value, Failure> {
    let variants = lab.variants();
    let plan = lab.plan(variants.first().map_or("", |one| one.name), 1, &[])?;
    let faults: Vec<String> = plan.faults.faults().iter().map(ToString::to_string).collect();
    let story = lab.story();
    let predict: Vec<serde_json::Value> = story
        .predict
        .iter()
        .zip(&story.answers)
        .map(|(question, answer)| {
            if with_answers {
                json!({ "question": question, "answer": answer })
            } else {
                json!({ "question": question })
            }
        })
        .collect();
    Ok(json!({
        "name": lab.name(),
        "shelf": lab.shelf(),
        "title": lab.title(),
        "about": document::value(&lab.about()),
        "story": show::told(story),
        "predict": predict,
        "watch": story.watch,
        "try_next": story.try_next,
        "variants": document::value(&variants),
        "knobs": document::value(&document::knobs(lab)?),
        "faults": faults,
    }))
}
