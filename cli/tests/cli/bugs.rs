//! `bugs`: its document, and what it refuses.

use shaketable::Status;

use crate::common::{json, run};

#[test]
fn a_bug_is_found_shrunk_and_its_twin_stands() {
    let all = json(&["bugs", "--only", "10", "--json", "--workers", "2"]);
    let one = &all[0];
    for field in ["protocol", "title", "runs", "property", "before", "after", "target", "seconds"] {
        assert!(one.get(field).is_some_and(|value| !value.is_null()), "{field} in {one}");
    }
    assert_eq!((&one["bug"], &one["ok"]), (&10.into(), &true.into()));
    assert_eq!((&one["twin_failures"], &one["twin_runs"]), (&0.into(), &2_001.into()));
}

#[test]
fn a_bug_that_is_not_there_is_an_error_with_those_that_are() {
    let ran = run(&["bugs", "--only", "11"]);
    assert_eq!(ran.status, Status::Usage);
    assert!(ran.error.contains("no bug 11") && ran.error.contains("1, 2, 3"), "{}", ran.error);
}
