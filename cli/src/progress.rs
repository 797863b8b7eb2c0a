//! A bar on standard error for runs that take longer than a second. Shorter ones need none, and a pipe gets none.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// How long nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);
const REDRAW: Duration = Duration::from_millis(100);

/// Shows how far a series of runs has come, until it is dropped.
pub(crate) struct Progress(Option<(Sender<String>, JoinHandle<()>)>);

impl Progress {
    /// For so many runs; shows nothing where nobody looks.
    pub(crate) fn of(runs: usize, wanted: bool) -> Self {
        Self(wanted.then(|| {
            let (sender, receiver) = channel();
            (sender, thread::spawn(move || draw(runs as u64, &receiver)))
        }))
    }
    /// The next run begins.
    pub(crate) fn next(&self, name: &str) {
        if let Some((sender, _)) = &self.0 {
            // The bar is a comfort: if its thread is gone, the runs go on.
            let _ = sender.send(name.to_owned());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.0.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

fn draw(runs: u64, names: &Receiver<String>) {
    let mut begun = 0_u64;
    let mut bar: Option<ProgressBar> = None;
    let mut name = String::new();
    loop {
        match names.recv_timeout(if bar.is_some() { REDRAW } else { PATIENCE }) {
            Ok(next) => {
                begun += 1;
                name = next;
            }
            Err(RecvTimeoutError::Timeout) if begun > 0 => {
                let bar = bar.get_or_insert_with(|| {
                    let style =
                        ProgressStyle::with_template("{bar:24} {pos} of {len} runs done  {elapsed}  {msg}");
                    ProgressBar::new(runs)
                        .with_elapsed(PATIENCE)
                        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                });
                bar.set_position(begun.saturating_sub(1));
                bar.set_message(name.clone());
                bar.tick();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}
