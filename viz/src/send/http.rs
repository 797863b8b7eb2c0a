//! OTLP by HTTP: the same bytes as by gRPC, as the body of a POST.

use std::time::Duration;

use ureq::Agent;

use super::{Attempt, Endpoint, SendOptions, signal::Signal, with_causes};

/// The longest answer that is read; a success has a few bytes.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// How much of a refusal's text is worth telling.
const REASON_CHARACTERS_MAX: usize = 300;

/// Connections to one receiver, kept open between requests.
pub(super) struct Http {
    agent: Agent,
    endpoint: Endpoint,
    headers: Vec<(String, String)>,
}

impl Http {
    pub(super) fn new(endpoint: &Endpoint, options: &SendOptions) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false) // an answer is an answer; what it means is decided below
            .timeout_global(Some(options.timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None) // the environment is read by the command line and nobody else
            .user_agent(concat!("shaketable/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { agent, endpoint: endpoint.clone(), headers: options.headers.clone() }
    }

    pub(super) fn send<R: Signal>(&mut self, request: &R) -> Attempt {
        let mut post = self.agent.post(self.endpoint.url(R::PATH)).content_type("application/x-protobuf");
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        let mut answer = match post.send(request.encode_to_vec()) {
            Ok(answer) => answer,
            Err(error) => return judge(error),
        };
        let status = answer.status();
        let pause = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body = match answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec() {
            Ok(body) => body,
            Err(error) if status.is_success() => return judge(error),
            Err(_) => Vec::new(), // the status says enough
        };
        let reason = || {
            let said = words(&body);
            let colon = if said.is_empty() { "" } else { ": " };
            format!("HTTP {status}{colon}{said}")
        };
        match status.as_u16() {
            200..=299 => match R::read_response(&body) {
                Ok((rejected, message)) => Attempt::Accepted { rejected, message },
                Err(error) => Attempt::RefusedForGood(format!(
                    "HTTP {status}, but the answer is not OTLP ({error}): is there another service at this address?"
                )),
            },
            413 => Attempt::TooLarge(reason()),
            429 | 502..=504 => Attempt::Again { reason: reason(), pause },
            300..=399 | 401 | 403 | 404 | 405 | 407 | 415 | 501 => Attempt::RefusedForGood(reason()),
            _ => Attempt::Refused(reason()),
        }
    }
}

/// What an error below HTTP means. Where the connection broke while the request was on its way, it is tried again: the
/// receiver drops spans that it has already.
fn judge(error: ureq::Error) -> Attempt {
    match error {
        ureq::Error::Timeout(_) => Attempt::TimedOut,
        error @ (ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::HostNotFound) => {
            Attempt::Again { reason: with_causes(&error), pause: None }
        }
        error => Attempt::RefusedForGood(with_causes(&error)),
    }
}

/// What the body of a refusal says: the printable text in it. (It is a protobuf `Status`, JSON, or plain text.)
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let printable: String = text
        .chars()
        .map(|c| if c.is_control() || c == char::REPLACEMENT_CHARACTER { ' ' } else { c })
        .collect();
    let said: Vec<&str> = printable.split_whitespace().collect();
    said.join(" ").chars().take(REASON_CHARACTERS_MAX).collect()
}
