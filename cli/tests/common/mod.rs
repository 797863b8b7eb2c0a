//! Running commands in the test's own process, on the labs of the tests.

pub mod labs;
pub mod receiver;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde_json::Value;
use shaketable::{Console, Status};

/// What a command did.
pub struct Ran {
    pub status: Status,
    pub out: String,
    pub error: String,
}

/// Runs a command in an empty environment.
pub fn run(arguments: &[&str]) -> Ran {
    run_with(arguments, &|_| None)
}

/// Runs a command in an environment.
pub fn run_with(arguments: &[&str], environment: &dyn Fn(&str) -> Option<String>) -> Ran {
    let (mut out, mut error) = (Vec::new(), Vec::new());
    let status = {
        let mut console = Console::plain(&mut out, &mut error, environment);
        let arguments = ["shaketable"].iter().chain(arguments).map(OsString::from);
        shaketable::run(&labs::labs(), arguments, &mut console)
    };
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { status, out: text(out), error: text(error) }
}

/// Runs a command that prints a JSON document.
pub fn json(arguments: &[&str]) -> Value {
    let ran = run(arguments);
    assert_eq!(ran.error, "");
    serde_json::from_str(&ran.out).expect("the output is JSON")
}

/// The output without the one line that differs from one time to the next.
pub fn without_wall_time(out: &str) -> String {
    let (wall, others): (Vec<&str>, Vec<&str>) =
        out.lines().partition(|line| line.contains(" of wall time: "));
    assert_eq!(wall.len(), 1, "{out}");
    others.join("\n") + "\n"
}

/// A file in a folder, with that text.
pub fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The keys of an object, sorted.
pub fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
