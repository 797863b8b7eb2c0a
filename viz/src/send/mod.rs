//! Sending requests to an OTLP receiver, and counting what it took.
//!
//! The program holds the answers itself: a receiver may refuse some spans and still answer "OK" (a *partial success*), and
//! libraries pass over that in silence. Here each span ends up in one of a few boxes, acknowledged or not, and the
//! [`SendReport`] says so in sentences. The files of a run are written first, so nothing is lost by a failed send.
//!
//! What goes wrong, and what is done about it:
//!
//! | the receiver | answer |
//! |---|---|
//! | is not there, or says "try again" (HTTP 429, 502, 503, 504; gRPC `UNAVAILABLE`, ...) | tries again, with pauses that double |
//! | finds a request too large (HTTP 413, gRPC `RESOURCE_EXHAUSTED`) | sends it in two halves |
//! | does not answer in time | an error; the spans *may* have arrived |
//! | takes only some spans | counted as rejected, with its message |
//! | refuses everything (no such service, no permission, not there after all tries) | the rest is not tried |

mod endpoint;
mod environment;
mod grpc;
mod http;
mod report;
mod signal;

use std::time::Duration;

pub use endpoint::{Endpoint, EndpointError, SendProtocol};
pub use environment::EnvironmentError;
use grpc::Grpc;
use http::Http;
pub use report::{Failure, FailureKind, SendReport};
use signal::Signal;

use crate::otlp::{ExportMetricsServiceRequest, ExportTraceServiceRequest};

/// How requests are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendOptions {
    /// How long one request may take, from connecting to the whole answer.
    pub timeout: Duration,
    /// Sent along with each request: names and values.
    pub headers: Vec<(String, String)>,
    /// How often a request is tried again after the first time.
    pub retries: u32,
    /// The pause before the second try; it doubles with each further one.
    pub pause: Duration,
}

impl Default for SendOptions {
    /// 10 s, no headers, three more tries after 100, 200 and 400 ms.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            headers: Vec::new(),
            retries: 3,
            pause: Duration::from_millis(100),
        }
    }
}

/// Why nothing could be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A header that no request can carry.
    #[error(
        "`{name}` cannot be sent as a header: a name has letters, digits and hyphens, a value has visible characters"
    )]
    Header {
        /// Its name.
        name: String,
    },
    /// The machinery for sending did not start.
    #[error("cannot start sending to {endpoint}: {reason}")]
    Start {
        /// To where.
        endpoint: String,
        /// Why not.
        reason: String,
    },
}

/// The longest pause that a receiver may ask for (`Retry-After`).
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What became of one request.
enum Attempt {
    /// It was taken, apart from some.
    Accepted { rejected: u64, message: String },
    /// It is too large for the receiver.
    TooLarge(String),
    /// Not now.
    Again { reason: String, pause: Option<Duration> },
    /// No answer in time.
    TimedOut,
    /// Not this one.
    Refused(String),
    /// Neither this one nor any other.
    RefusedForGood(String),
}

enum Connection {
    Http(Http),
    Grpc(Grpc),
}

/// Sends to one receiver.
#[derive(Clone, Debug)]
pub struct Sender {
    endpoint: Endpoint,
    options: SendOptions,
}

impl Sender {
    /// Prepares to send; nothing is connected yet.
    ///
    /// # Errors
    /// When a header cannot be sent.
    pub fn new(endpoint: Endpoint, options: SendOptions) -> Result<Self, SendError> {
        for (name, value) in &options.headers {
            let name_ok =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            let value_ok = value.bytes().all(|b| (b' '..=b'~').contains(&b));
            if !(name_ok && value_ok) {
                return Err(SendError::Header { name: name.clone() });
            }
        }
        Ok(Self { endpoint, options })
    }

    /// Sends spans, one request after the other, and says what became of each.
    ///
    /// # Errors
    /// Only where sending could not start; everything else is in the report.
    pub fn send_traces(
        &self,
        requests: impl IntoIterator<Item = ExportTraceServiceRequest>,
    ) -> Result<SendReport, SendError> {
        self.send(requests)
    }

    /// Sends metrics. Jaeger takes none (404, or `UNIMPLEMENTED`): this is for collectors.
    ///
    /// # Errors
    /// Only where sending could not start; everything else is in the report.
    pub fn send_metrics(
        &self,
        requests: impl IntoIterator<Item = ExportMetricsServiceRequest>,
    ) -> Result<SendReport, SendError> {
        self.send(requests)
    }

    fn send<R: Signal>(&self, requests: impl IntoIterator<Item = R>) -> Result<SendReport, SendError> {
        let mut connection = match self.endpoint.protocol() {
            SendProtocol::Http => Connection::Http(Http::new(&self.endpoint, &self.options)),
            SendProtocol::Grpc => Connection::Grpc(Grpc::new(&self.endpoint, &self.options)?),
        };
        let mut report = SendReport::new(R::NOUN, self.endpoint.to_string());
        let mut stopped = false;
        for request in requests {
            let count = request.count() as u64;
            report.offered += count;
            if stopped {
                report.fail(FailureKind::NotTried, count, "the receiver had failed before");
                continue;
            }
            report.requests += 1;
            stopped = self.send_one(&mut connection, request, &mut report);
        }
        Ok(report)
    }

    /// Sends one request, in halves where it must be. Whether to stop.
    fn send_one<R: Signal>(&self, connection: &mut Connection, request: R, report: &mut SendReport) -> bool {
        let mut waiting = vec![request];
        let mut stopped = false;
        while let Some(request) = waiting.pop() {
            let count = request.count() as u64;
            if stopped {
                report.fail(FailureKind::NotTried, count, "the receiver had failed before");
                continue;
            }
            match self.try_until_answered(connection, &request) {
                Attempt::Accepted { rejected, message } => {
                    let rejected = rejected.min(count);
                    report.acknowledged += count - rejected;
                    if rejected > 0 {
                        let message = if message.is_empty() { "no reason given" } else { &message };
                        report.fail(FailureKind::Rejected, rejected, message);
                    } else if !message.is_empty() {
                        report.warn(message);
                    }
                }
                Attempt::TooLarge(reason) => match request.halve() {
                    Ok((first, second)) => waiting.extend([second, first]),
                    Err(_) => report.fail(FailureKind::TooLarge, count, &reason),
                },
                Attempt::Again { reason, .. } => {
                    report.fail(FailureKind::Unreachable, count, &reason);
                    stopped = true;
                }
                Attempt::TimedOut => {
                    let reason = format!("no answer within {:?}", self.options.timeout);
                    report.fail(FailureKind::TimedOut, count, &reason);
                    stopped = true;
                }
                Attempt::Refused(reason) => report.fail(FailureKind::Refused, count, &reason),
                Attempt::RefusedForGood(reason) => {
                    report.fail(FailureKind::Refused, count, &reason);
                    stopped = true;
                }
            }
        }
        stopped
    }

    fn try_until_answered<R: Signal>(&self, connection: &mut Connection, request: &R) -> Attempt {
        let mut pause = self.options.pause;
        let mut left = self.options.retries;
        loop {
            let attempt = match connection {
                Connection::Http(http) => http.send(request),
                Connection::Grpc(grpc) => grpc.send(request),
            };
            match attempt {
                Attempt::Again { pause: asked, .. } if left > 0 => {
                    std::thread::sleep(asked.unwrap_or(pause).min(PAUSE_MAX));
                    pause = pause.saturating_mul(2);
                    left -= 1;
                }
                answered => return answered,
            }
        }
    }
}

/// An error with what caused it, as one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
