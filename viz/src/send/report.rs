//! What became of everything that was sent.

use std::fmt;

/// Why something was not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FailureKind {
    /// The receiver took the request and rejected some of what was in it.
    Rejected,
    /// A single one is too large for the receiver.
    TooLarge,
    /// The receiver refused the request.
    Refused,
    /// The receiver was not there, or had no time, at any try.
    Unreachable,
    /// There was no answer in time: it may have arrived or not.
    TimedOut,
    /// It was not sent, since the receiver had failed before.
    NotTried,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rejected => "rejected",
            Self::TooLarge => "too large",
            Self::Refused => "refused",
            Self::Unreachable => "receiver not reachable",
            Self::TimedOut => "timed out, may have arrived",
            Self::NotTried => "not tried",
        })
    }
}

/// How many were not acknowledged for one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// How many spans (or data points).
    pub count: u64,
    /// In how many requests.
    pub requests: u64,
    /// The receiver's words, or the system's.
    pub reason: String,
}

/// What became of everything that was sent. Its text is one sentence, and one more for each reason of failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendReport {
    /// To where.
    pub endpoint: String,
    /// `spans` or `data points`.
    pub noun: &'static str,
    /// How many there were to send.
    pub offered: u64,
    /// How many requests were sent (halves and repetitions not counted).
    pub requests: u64,
    /// How many the receiver said that it has taken.
    pub acknowledged: u64,
    /// The others, by kind and reason, in order of their first appearance.
    pub failures: Vec<Failure>,
    /// Words of the receiver that came with a success.
    pub warnings: Vec<String>,
}

impl SendReport {
    pub(super) fn new(noun: &'static str, endpoint: String) -> Self {
        Self {
            endpoint,
            noun,
            offered: 0,
            requests: 0,
            acknowledged: 0,
            failures: Vec::new(),
            warnings: Vec::new(),
        }
    }
    pub(super) fn fail(&mut self, kind: FailureKind, count: u64, reason: &str) {
        match self.failures.iter_mut().find(|f| f.kind == kind && f.reason == reason) {
            Some(known) => {
                known.count += count;
                known.requests += 1;
            }
            None => self.failures.push(Failure { kind, count, requests: 1, reason: reason.to_owned() }),
        }
    }
    pub(super) fn warn(&mut self, message: String) {
        if !self.warnings.contains(&message) {
            self.warnings.push(message);
        }
    }
    /// Whether the receiver has everything. Compare `acknowledged` with the number recorded too, where that is known.
    pub fn is_complete(&self) -> bool {
        self.acknowledged == self.offered && self.failures.is_empty()
    }
    /// How many the receiver rejected from requests that it took.
    pub fn rejected(&self) -> u64 {
        self.count(FailureKind::Rejected)
    }
    /// How many failed in that way.
    pub fn count(&self, kind: FailureKind) -> u64 {
        self.failures.iter().filter(|f| f.kind == kind).map(|f| f.count).sum()
    }
}

impl fmt::Display for SendReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, noun, offered, acknowledged, .. } = self;
        if self.is_complete() {
            write!(f, "all {offered} {noun} were acknowledged by {endpoint}")?;
        } else {
            write!(f, "{acknowledged} of {offered} {noun} were acknowledged by {endpoint}")?;
        }
        for Failure { kind, count, requests, reason } in &self.failures {
            let plural = if *requests == 1 { "" } else { "s" };
            write!(f, "; {count} in {requests} request{plural} {kind}: {reason}")?;
        }
        for warning in &self.warnings {
            write!(f, "; the receiver says: {warning}")?;
        }
        Ok(())
    }
}
