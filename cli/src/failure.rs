//! How a command can end: exit statuses, and failures with the sentence that is shown.

use std::io;

use scenarios::lab::{LabError, UnknownLab};

/// The exit status. Scripts rely on these numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Everything came as expected: a broken variant missed the goals that it names, the others met theirs.
    AsExpected = 0,
    /// Something did not.
    NotAsExpected = 1,
    /// The command line, a plan or a file of faults is wrong: nothing was run.
    Usage = 2,
    /// An expectation could not be judged, and nothing else was wrong.
    Unknown = 3,
    /// Files were not written, or not every span was acknowledged.
    ExportIncomplete = 4,
}

/// Why a command did not get to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for does not exist or is not allowed.
    #[error("{0}")]
    Usage(String),
    /// The lab itself is wrong.
    #[error("{0}")]
    Lab(String),
    /// Something did not leave the program.
    #[error("{0}")]
    Export(String),
    /// Standard output refused what was written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Usage(_) => Status::Usage,
            Self::Lab(_) => Status::NotAsExpected,
            Self::Export(_) | Self::Output(_) => Status::ExportIncomplete,
        }
    }
    pub(crate) fn usage(error: impl ToString) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<UnknownLab> for Failure {
    fn from(error: UnknownLab) -> Self {
        Self::usage(error)
    }
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        Self::usage(error)
    }
}
