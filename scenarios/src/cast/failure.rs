//! Why a request failed, in one word or two: what metrics count by and spans show.

use std::borrow::Cow;

use sim_core::net::rpc::CallError;

/// The reason why a request failed. There are few different ones in a run, and no ids in them, since each becomes a metric
/// (`requests.failed.timed_out`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    reason: Cow<'static, str>,
}

impl Failure {
    /// The deadline passed.
    pub const TIMED_OUT: Self = Self { reason: Cow::Borrowed("timed out") };

    /// A failure of that reason.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into() }
    }
    /// The reason, such as `timed out`.
    pub fn reason(&self) -> &str {
        &self.reason
    }
    /// The reason as the end of a metric's name, such as `timed_out`.
    pub fn metric(&self) -> String {
        self.reason.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(error.label())
    }
}
impl From<&'static str> for Failure {
    fn from(reason: &'static str) -> Self {
        Self::new(reason)
    }
}
impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::new(reason)
    }
}
