//! `list`: the labs, in teaching order.

use clap::Args;
use scenarios::lab::{LabEntry, nearest::nearest};

use crate::{
    console::{BOLD, Console, DIM, painted},
    document::{self, LabDocument},
    failure::{Failure, Status},
    show::text::{fitted, wrapped},
};

/// Show the labs, in teaching order
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only this shelf
    #[arg(long)]
    shelf: Option<String>,
    /// Only labs on this learning path, a letter
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Only labs of this week of the curriculum
    #[arg(long, value_name = "N")]
    week: Option<u8>,
    /// Print a JSON array instead
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print a Markdown table instead
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: &ListArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    let labs = chosen(labs, arguments)?;
    if arguments.json {
        let documents = labs.iter().map(|lab| LabDocument::of(lab)).collect::<Result<Vec<_>, _>>()?;
        console.print_raw(document::text(&documents).as_bytes())?;
    } else if arguments.markdown {
        console.print_raw(markdown(&labs).as_bytes())?;
    } else {
        console.print(&table(&labs, console.width()))?;
    }
    Ok(Status::AsExpected)
}

fn chosen<'l>(labs: &'l [LabEntry], arguments: &ListArguments) -> Result<Vec<&'l LabEntry>, Failure> {
    let known = |given: Option<&str>, what: &str, all: Vec<String>| match given {
        Some(given) if !all.iter().any(|one| one.eq_ignore_ascii_case(given)) => {
            // A letter or a number is near to every other one: only words have neighbours.
            let near = nearest(given, all.iter().map(String::as_str)).filter(|_| given.len() > 2);
            let near = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            let there = if all.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are: {}", all.join(", "))
            };
            Err(Failure::usage(format!("no lab has the {what} `{given}`; {there}{near}")))
        }
        _ => Ok(()),
    };
    let shelves = labs.iter().map(|lab| lab.shelf().to_owned());
    known(arguments.shelf.as_deref(), "shelf", unique(shelves.collect()))?;
    let paths = labs.iter().flat_map(|lab| lab.about().path.chars()).map(String::from);
    known(arguments.path.as_deref(), "path", sorted(paths.collect()))?;
    let mut weeks: Vec<u8> = labs.iter().flat_map(|lab| lab.about().weeks).copied().collect();
    weeks.sort_unstable();
    weeks.dedup();
    let week = arguments.week.map(|week| week.to_string());
    known(week.as_deref(), "week", weeks.iter().map(u8::to_string).collect())?;

    let on_shelf = |lab: &LabEntry| {
        arguments.shelf.as_deref().is_none_or(|shelf| lab.shelf().eq_ignore_ascii_case(shelf))
    };
    let on_path = |lab: &LabEntry| {
        let wanted = arguments.path.as_deref().map(str::to_ascii_uppercase);
        wanted.is_none_or(|path| lab.about().path.to_ascii_uppercase().contains(&path))
    };
    let in_week = |lab: &LabEntry| arguments.week.is_none_or(|week| lab.about().weeks.contains(&week));
    Ok(labs.iter().filter(|lab| on_shelf(lab) && on_path(lab) && in_week(lab)).collect())
}

/// Without what came before, in the order of first appearance.
fn unique(names: Vec<String>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

fn sorted(names: Vec<String>) -> Vec<String> {
    let mut names = unique(names);
    names.sort();
    names
}

/// Where a lab stands in the curriculum: `week 12, path A`.
fn place(lab: &LabEntry) -> String {
    let about = lab.about();
    let weeks: Vec<String> = about.weeks.iter().map(u8::to_string).collect();
    let mut parts = Vec::new();
    match weeks.as_slice() {
        [] => {}
        [one] => parts.push(format!("week {one}")),
        many => parts.push(format!("weeks {}", many.join(", "))),
    }
    if !about.path.is_empty() {
        parts.push(format!("path {}", about.path));
    }
    parts.join(", ")
}

fn table(labs: &[&LabEntry], width: usize) -> String {
    let names = labs.iter().map(|lab| lab.name().chars().count()).max().unwrap_or(0);
    let places = labs.iter().map(|lab| place(lab).chars().count()).max().unwrap_or(0);
    let titles = width.saturating_sub(2 + names + 2 + 2 + places).max(12);
    let mut out = String::new();
    let mut shelf = "";
    for lab in labs {
        if lab.shelf() != shelf {
            if !shelf.is_empty() {
                out.push('\n');
            }
            shelf = lab.shelf();
            out.push_str(&format!("{}\n", painted(BOLD, shelf)));
        }
        let title = fitted(lab.title(), titles);
        let line = match place(lab) {
            place if place.is_empty() => format!("  {:names$}  {title}", lab.name()),
            place => format!("  {:names$}  {title}  {}", lab.name(), painted(DIM, place)),
        };
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let count = labs.len();
    let plural = if count == 1 { "lab" } else { "labs" };
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&wrapped(
        &format!("{count} {plural}. Read one with `shaketable explain NAME`, run it with `shaketable scenario NAME`."),
        "",
        width,
    ));
    out
}

fn markdown(labs: &[&LabEntry]) -> String {
    let mut out =
        "| shelf | lab | what it is about | variants | week | path |\n|---|---|---|---|---|---|\n".to_owned();
    let cell = |text: &str| text.replace('|', "\\|");
    for lab in labs {
        let about = lab.about();
        let weeks: Vec<String> = about.weeks.iter().map(u8::to_string).collect();
        let variants: Vec<&str> = lab.variants().into_iter().map(|variant| variant.name).collect();
        out.push_str(&format!(
            "| {} | `{}` | {} | {} | {} | {} |\n",
            lab.shelf(),
            lab.name(),
            cell(lab.title()),
            variants.join(", "),
            weeks.join(", "),
            about.path
        ));
    }
    out
}
