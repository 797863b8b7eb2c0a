//! OTLP by gRPC: a small asynchronous runtime of its own, which lives as long as the sending.

use tokio::runtime::Runtime;
use tonic::{
    Code,
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
    transport::Channel,
};

use super::{Attempt, Endpoint, SendError, SendOptions, signal::Signal, with_causes};

/// A connection, made at the first request and made anew when it breaks.
pub(super) struct Grpc {
    runtime: Runtime,
    channel: Channel,
    headers: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
    timeout: std::time::Duration,
}

impl Grpc {
    pub(super) fn new(endpoint: &Endpoint, options: &SendOptions) -> Result<Self, SendError> {
        let start = |reason: String| SendError::Start { endpoint: endpoint.to_string(), reason };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| start(error.to_string()))?;
        let address = tonic::transport::Endpoint::from_shared(format!("http://{}", endpoint.authority()))
            .map_err(|error| start(with_causes(&error)))?
            .connect_timeout(options.timeout);
        let channel = {
            let _inside = runtime.enter();
            address.connect_lazy()
        };
        let mut headers = Vec::new();
        for (name, value) in &options.headers {
            let wrong = || SendError::Header { name: name.clone() };
            let key =
                AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes()).map_err(|_| wrong())?;
            headers.push((key, value.parse().map_err(|_| wrong())?));
        }
        Ok(Self { runtime, channel, headers, timeout: options.timeout })
    }

    pub(super) fn send<R: Signal>(&mut self, request: &R) -> Attempt {
        let mut message = tonic::Request::new(request.clone());
        for (name, value) in &self.headers {
            message.metadata_mut().insert(name.clone(), value.clone());
        }
        let call = R::call(self.channel.clone(), message);
        let timeout = self.timeout;
        // The timer needs the runtime, so it is made inside.
        let answer = self.runtime.block_on(async move { tokio::time::timeout(timeout, call).await });
        match answer {
            Err(_) => Attempt::TimedOut,
            Ok(Ok((rejected, message))) => Attempt::Accepted { rejected, message },
            Ok(Err(status)) => judge(&status),
        }
    }
}

/// What a gRPC error means for the one who sends, after the OTLP specification's list of errors that may be retried.
fn judge(status: &tonic::Status) -> Attempt {
    let said = match status.message() {
        "" => with_causes(status),
        message => match std::error::Error::source(status) {
            Some(cause) => format!("{message}: {}", with_causes(cause)),
            None => message.to_owned(),
        },
    };
    let reason = format!("gRPC {:?}: {said}", status.code());
    match status.code() {
        Code::ResourceExhausted | Code::OutOfRange if speaks_of_size(status.message()) => {
            Attempt::TooLarge(reason)
        }
        Code::Unavailable
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::DataLoss
        | Code::ResourceExhausted => Attempt::Again { reason, pause: None },
        Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied => {
            Attempt::RefusedForGood(reason)
        }
        _ => Attempt::Refused(reason),
    }
}

/// `RESOURCE_EXHAUSTED` also means "over your quota", where halves fare no better. Go's server says "received message larger
/// than max", Rust's (with `OUT_OF_RANGE`) "decoded message length too large", C++'s "received message larger than max".
fn speaks_of_size(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.is_empty()
        || ["larg", "size", "length", "too big", "bytes"].iter().any(|word| message.contains(word))
}
