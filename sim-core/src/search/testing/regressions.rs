//! The file of plans that once failed: run first next time, kept in version control.
//!
//! ```toml
//! [[plan]]
//! property = "no read goes back"   # what failed
//! found-by = 17                    # the seed, before it was shrunk
//! seed = 151318987625447           # and from here on a plan, as everywhere
//! until = "352ms"
//! ```
//!
//! New plans are added at the end, and nothing that is there is ever changed: comments stay, and a file that cannot be read is
//! left as it is.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use crate::plan::Plan;

/// A plan that failed once.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// What did not hold.
    pub property: String,
    /// The seed whose plan, made small, this is.
    pub found_by: u64,
    /// The plan.
    pub plan: Plan,
}

const HEAD: &str =
    "# Plans that failed once. Tests run them before all seeds; keep this file in version control.\n";

/// Tests of one program may share a file.
static WRITING: Mutex<()> = Mutex::new(());

/// The plans of a file in order of finding; none where there is no file.
///
/// # Errors
/// When the file cannot be read or understood: what is wrong, in which entry.
pub fn read(path: &Path) -> Result<Vec<Kept>, String> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.to_string()),
    }
}

/// The plans of a text.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str) -> Result<Vec<Kept>, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    if let Some(other) = table.keys().find(|key| *key != "plan") {
        return Err(format!("`{other}` has no meaning here: the file is a list of [[plan]]"));
    }
    let entries = match table.get("plan") {
        None => return Ok(Vec::new()),
        Some(entries) => entries.as_array().ok_or("`plan` must be a list: [[plan]]")?,
    };
    let one = |(index, entry): (usize, &toml::Value)| {
        kept(entry).map_err(|error| format!("[[plan]] number {}: {error}", index + 1))
    };
    entries.iter().enumerate().map(one).collect()
}

fn kept(entry: &toml::Value) -> Result<Kept, String> {
    let mut plan = entry.as_table().ok_or("it must be a table")?.clone();
    let property = plan.remove("property");
    let property = property.as_ref().and_then(toml::Value::as_str).ok_or("`property` must be a text")?;
    let found_by = plan.remove("found-by");
    let found_by = found_by.and_then(|seed| u64::try_from(seed.as_integer()?).ok());
    let found_by = found_by.ok_or("`found-by` must be a seed, a whole number from 0")?;
    let text = toml::to_string(&plan).map_err(|error| error.to_string())?;
    Ok(Kept { property: property.to_owned(), found_by, plan: Plan::from_toml(&text)? })
}

/// The entry of a plan, as it stands in the file.
fn entry(kept: &Kept) -> Result<String, String> {
    let mut table: toml::Table = toml::from_str(&kept.plan.to_toml()).map_err(|error| error.to_string())?;
    let found_by = i64::try_from(kept.found_by).map_err(|_| "the seed is too large for a file".to_owned())?;
    table.insert("property".to_owned(), toml::Value::String(kept.property.clone()));
    table.insert("found-by".to_owned(), toml::Value::Integer(found_by));
    if kept.plan.knobs.is_empty() {
        table.remove("knobs"); // says nothing
    }
    let mut file = toml::Table::new();
    file.insert("plan".to_owned(), toml::Value::Array(vec![toml::Value::Table(table)]));
    toml::to_string(&file).map_err(|error| error.to_string())
}

/// Adds a plan at the end, unless it is there already; gives its number in the file, counted from 1.
///
/// # Errors
/// When the file cannot be understood or written; then it is as it was.
pub fn keep(path: &Path, new: &Kept) -> Result<usize, String> {
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let all = read(path)?;
    if let Some(index) = all.iter().position(|one| one.plan == new.plan && one.property == new.property) {
        return Ok(index + 1);
    }
    let entry = entry(new)?;
    let written = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        let head = if file.metadata()?.len() == 0 { HEAD } else { "" };
        file.write_all(format!("{head}\n{entry}").as_bytes())
    };
    written().map_err(|error| error.to_string())?;
    Ok(all.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::{Fault, FaultKind, FaultPlan},
        time::{ms, secs},
    };

    fn example() -> Kept {
        let mut plan = Plan::new("register", 7, secs(1));
        plan.operations = Some([("client".to_owned(), [1, 3].into())].into());
        plan.faults =
            FaultPlan::none().with(Fault::at(ms(3), "crash 1", FaultKind::Crash).on("a").lasting(ms(5)));
        Kept { property: "it \"holds\"".to_owned(), found_by: 17, plan }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let (one, mut two) = (example(), example());
        two.plan.knobs.insert("servers".to_owned(), toml::Value::Integer(5));
        let text = format!("{HEAD}\n{}\n{}", entry(&one).unwrap(), entry(&two).unwrap());
        assert_eq!(parse(&text).unwrap(), [one, two], "{text}");
    }

    #[test]
    fn an_entry_that_is_wrong_is_named() {
        let text = format!("{}\n[[plan]]\nproperty = \"x\"\nfound-by = -1\n", entry(&example()).unwrap());
        let error = parse(&text).unwrap_err();
        assert!(error.starts_with("[[plan]] number 2: `found-by` must be a seed"), "{error}");
        let error = parse("[[plans]]\n").unwrap_err();
        assert!(error.contains("`plans` has no meaning here"), "{error}");
    }
}
