//! Panics of labs.
//!
//! Node code that panics ends its run as a violation, which the judgement tells with the node and the message; Rust's own
//! report of it would only be noise in between. A panic while a world is built is a mistake of the lab, and is told as such.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
};

thread_local! {
    static INSIDE_RUN: Cell<bool> = const { Cell::new(false) };
}

/// From now on panics inside [`caught`] are not reported by Rust itself.
pub(crate) fn keep_quiet_inside_runs() {
    let report = take_hook();
    set_hook(Box::new(move |panic| {
        if !INSIDE_RUN.get() {
            report(panic);
        }
    }));
}

/// The result, or the message of the panic that came instead.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    INSIDE_RUN.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    INSIDE_RUN.set(false);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(caught(|| 1), Ok(1));
        assert_eq!(caught(|| panic!("no node `{}`", "db")), Err::<(), _>("no node `db`".to_owned()));
        assert_eq!(caught(|| panic!("twice")), Err::<(), _>("twice".to_owned()));
    }
}
