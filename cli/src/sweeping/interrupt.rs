//! Ctrl-C during a sweep: the runs that are under way end, and what was done is kept and shown. A second one ends at once.

use std::sync::{
    Once,
    atomic::{AtomicBool, Ordering},
};

static ALLOWED: AtomicBool = AtomicBool::new(false);
static LISTENING: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static ONCE: Once = Once::new();
/// As shells count it: 128 and the number of the signal.
const STATUS: i32 = 130;

/// This is the program, not a part of another one (a test): it may have a handler of its own.
pub(crate) fn allow() {
    ALLOWED.store(true, Ordering::Relaxed);
}

/// Listens as long as it lives.
#[derive(Debug)]
pub(crate) struct Listening(());

impl Listening {
    pub(crate) fn begin() -> Self {
        INTERRUPTED.store(false, Ordering::SeqCst);
        LISTENING.store(true, Ordering::SeqCst);
        if ALLOWED.load(Ordering::Relaxed) {
            // Without a handler Ctrl-C ends the program, and the result file is whole all the same.
            ONCE.call_once(|| drop(ctrlc::set_handler(heard)));
        }
        Self(())
    }
    pub(crate) fn is_interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::SeqCst)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENING.store(false, Ordering::SeqCst);
    }
}

fn heard() {
    if !LISTENING.load(Ordering::SeqCst) || INTERRUPTED.swap(true, Ordering::SeqCst) {
        std::process::exit(STATUS);
    }
}
