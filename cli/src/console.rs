//! Where a command writes to, and what it may know of its surroundings.
//!
//! A closed pipe (`shaketable list | head -1`) is no failure: what nobody reads is dropped, and the command goes on to write
//! its files. Every other error of the output is one.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use crate::failure::{Failure, Status};

/// The width of everything that does not go to a terminal.
const WIDTH_DEFAULT: usize = 80;
/// Lines on a very wide terminal stay readable.
const WIDTH_MAX: usize = 110;
/// On a narrower terminal lines are broken by the terminal itself.
const WIDTH_MIN: usize = 60;

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// See the module.
pub struct Console<'a> {
    out: Box<dyn Write + 'a>,
    error: Box<dyn Write + 'a>,
    /// Whether the reader of the output has gone.
    closed: bool,
    out_is_terminal: bool,
    error_is_terminal: bool,
    colour: ColorChoice,
    width: usize,
    environment: Environment<'a>,
}

impl Console<'static> {
    pub(crate) fn of_the_process() -> Self {
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self {
            out: Box::new(io::BufWriter::new(io::stdout())),
            error: Box::new(io::stderr()),
            closed: false,
            out_is_terminal: io::stdout().is_terminal(),
            error_is_terminal: io::stderr().is_terminal(),
            colour: ColorChoice::Auto,
            width: match width {
                Some(width) if io::stdout().is_terminal() => width.clamp(WIDTH_MIN, WIDTH_MAX),
                _ => WIDTH_DEFAULT,
            },
            environment: &|name| std::env::var(name).ok(),
        }
    }
}

impl<'a> Console<'a> {
    /// A console that is no terminal: 80 columns, no colour, no progress.
    pub fn plain(out: impl Write + 'a, error: impl Write + 'a, environment: Environment<'a>) -> Self {
        Self {
            out: Box::new(out),
            error: Box::new(error),
            closed: false,
            out_is_terminal: false,
            error_is_terminal: false,
            colour: ColorChoice::Auto,
            width: WIDTH_DEFAULT,
            environment,
        }
    }
    pub(crate) fn set_colour(&mut self, colour: clap::ColorChoice) {
        self.colour = match colour {
            clap::ColorChoice::Auto => ColorChoice::Auto,
            clap::ColorChoice::Always => ColorChoice::Always,
            clap::ColorChoice::Never => ColorChoice::Never,
        };
    }
    pub(crate) fn width(&self) -> usize {
        self.width
    }
    /// Whether a progress bar would be seen and would spoil nothing.
    pub(crate) fn shows_progress(&self) -> bool {
        self.error_is_terminal
    }
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }
    /// What `auto` means here: NO_COLOR, CLICOLOR_FORCE and TERM are heard.
    fn choice(&self, is_terminal: bool) -> ColorChoice {
        match (self.colour, is_terminal) {
            (ColorChoice::Auto, true) => AutoStream::choice(&io::stdout()),
            (ColorChoice::Auto, false) => ColorChoice::Never,
            (chosen, _) => chosen,
        }
    }
    /// Writes a text for people, whose colours are taken out where they are not wanted.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Failure> {
        let text = coloured(text, self.choice(self.out_is_terminal));
        self.print_raw(text.as_bytes())
    }
    /// Writes bytes as they are.
    pub(crate) fn print_raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = if self.closed { Ok(()) } else { self.out.write_all(bytes) };
        self.heard(written)
    }
    /// Everything so far reaches the reader: what follows takes time.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let flushed = if self.closed { Ok(()) } else { self.out.flush() };
        self.heard(flushed)
    }
    fn heard(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => Ok(other?),
        }
    }
    /// Says what went wrong.
    pub(crate) fn complain(&mut self, text: &str) {
        let red = AnsiColor::Red.on_default().bold();
        self.tell(&format!("{red}error:{red:#} {}\n", text.trim_end()));
    }
    /// Writes to standard error. There is nobody to tell when that fails.
    pub(crate) fn tell(&mut self, text: &str) {
        let text = coloured(text, self.choice(self.error_is_terminal));
        let _ = self.error.write_all(text.as_bytes());
        let _ = self.error.flush();
    }
    /// Ends a command: flushes, tells a failure, gives the status.
    pub(crate) fn end(&mut self, done: Result<Status, Failure>) -> Status {
        let done = done.and_then(|status| self.flush().map(|()| status));
        match done {
            Ok(status) => status,
            Err(failure) => {
                // What was written before the failure comes before the sentence about it.
                let _ = self.flush();
                self.complain(&failure.to_string());
                failure.status()
            }
        }
    }
}

fn coloured(text: &str, choice: ColorChoice) -> String {
    match choice {
        ColorChoice::Never => anstream::adapter::strip_str(text).to_string(),
        _ => text.to_owned(),
    }
}

/// Text in a style.
pub(crate) fn painted(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// What may be skipped.
pub(crate) const DIM: Style = Style::new().dimmed();
/// As expected.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Not as expected.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Worth a look.
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default();
