//! How large a request may be, and how that is known before it is encoded.
//!
//! A gRPC server refuses a message over 4 MiB unless it is told otherwise, so a request stays below 3. Most are a third of
//! that, so that files, which are cut between requests, are well filled.

use prost::Message;

/// The encoded size, in bytes, that no request reaches; only a single span that is larger by itself gets through.
pub const REQUEST_BYTES_MAX: usize = 3 * 1024 * 1024;

/// The most spans in a request.
pub const REQUEST_SPANS_MAX: usize = 30_000;

/// A request that has grown to this encoded size, in bytes, takes no further trace.
pub const BATCH_BYTES: usize = 1024 * 1024;

/// A request that has this many spans takes no further trace.
pub const BATCH_SPANS: usize = 8_192;

/// What a message costs, in bytes, as a field of another, at most: its own bytes, a tag of one byte and a length of up to
/// five.
pub(super) fn framed(message: &impl Message) -> usize {
    message.encoded_len() + 6
}
