//! The standard environment variables of OpenTelemetry, `OTEL_EXPORTER_OTLP_*`.
//!
//! Everything here is a function of a look-up that is passed in; the command line passes in the real environment. The
//! variable for traces alone (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, and so on) goes before the common one; an empty one counts as
//! absent. (OpenTelemetry specification, "OpenTelemetry Protocol Exporter".)

use std::time::Duration;

use super::{Endpoint, EndpointError, SendOptions};

/// Why a variable cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The endpoint is none.
    #[error("{variable}: {error}")]
    Endpoint {
        /// The variable.
        variable: String,
        /// What is wrong.
        error: EndpointError,
    },
    /// Another value is.
    #[error("{variable}: `{value}` {reason}")]
    Value {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
        /// What is wrong, and what is allowed.
        reason: &'static str,
    },
}

/// The first of the two variables that is set: its name, its value, and whether it is the one for traces alone.
fn variable(lookup: &impl Fn(&str) -> Option<String>, name: &str) -> Option<(String, String, bool)> {
    [("OTEL_EXPORTER_OTLP_TRACES_", true), ("OTEL_EXPORTER_OTLP_", false)].into_iter().find_map(
        |(prefix, traces)| {
            let variable = format!("{prefix}{name}");
            let value = lookup(&variable)?.trim().to_owned();
            (!value.is_empty()).then_some((variable, value, traces))
        },
    )
}

impl Endpoint {
    /// The endpoint that the environment names: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` (used as it is) or
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` (`/v1/traces` is appended), spoken to by `OTEL_EXPORTER_OTLP_PROTOCOL`: `http/protobuf`
    /// (the default) or `grpc`. `grpc://` needs no protocol. `None` where neither is set.
    ///
    /// # Errors
    /// When a variable is set to something else.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, EnvironmentError> {
        let Some((name, text, traces)) = variable(&lookup, "ENDPOINT") else {
            return Ok(None);
        };
        let endpoint: Self =
            text.parse().map_err(|error| EnvironmentError::Endpoint { variable: name.clone(), error })?;
        let whole = |endpoint: Self| if traces { keep_path(endpoint, &text) } else { endpoint };
        match variable(&lookup, "PROTOCOL") {
            None => Ok(Some(whole(endpoint))),
            Some((variable, value, _)) => match value.as_str() {
                "http/protobuf" if endpoint.protocol() == super::SendProtocol::Http => {
                    Ok(Some(whole(endpoint)))
                }
                "grpc" => {
                    let after_scheme = text.split_once("://").map_or("", |(_, rest)| rest);
                    let authority = after_scheme.split('/').next().unwrap_or("");
                    let port_was_given = authority.rfind(':') > authority.rfind(']');
                    Ok(Some(endpoint.by_grpc(port_was_given)))
                }
                "http/protobuf" => Err(EnvironmentError::Value {
                    variable,
                    value,
                    reason: "does not go with an endpoint that starts with grpc://",
                }),
                _ => Err(EnvironmentError::Value {
                    variable,
                    value,
                    reason: "is not a protocol that is built in: http/protobuf or grpc",
                }),
            },
        }
    }
}

/// The endpoint for traces alone has its path already, be it only `/`.
fn keep_path(endpoint: Endpoint, text: &str) -> Endpoint {
    // Parsing took a final /v1/traces off, and appending it gives the same address.
    if text.trim_end_matches('/').ends_with("/v1/traces") { endpoint } else { endpoint.with_whole_path() }
}

impl SendOptions {
    /// The defaults, with the headers (`OTEL_EXPORTER_OTLP_HEADERS`: `name=value,name=value`, percent-encoded) and the time-out
    /// (`OTEL_EXPORTER_OTLP_TIMEOUT`, in milliseconds) that the environment names.
    ///
    /// # Errors
    /// When a variable is set to something else.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let mut options = Self::default();
        if let Some((variable, value, _)) = variable(&lookup, "TIMEOUT") {
            match value.parse::<u64>() {
                Ok(millis) if millis > 0 => options.timeout = Duration::from_millis(millis),
                _ => {
                    let reason = "is not a time-out: a number of milliseconds, at least 1";
                    return Err(EnvironmentError::Value { variable, value, reason });
                }
            }
        }
        if let Some((variable, value, _)) = variable(&lookup, "HEADERS") {
            match headers(&value) {
                Some(headers) => options.headers = headers,
                None => {
                    let reason =
                        "is not a list of headers: name=value,name=value, with special characters as %2C";
                    // The value may be a secret.
                    return Err(EnvironmentError::Value {
                        variable,
                        value: "(the value)".to_owned(),
                        reason,
                    });
                }
            }
        }
        Ok(options)
    }
}

fn headers(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let name = name.trim();
            (!name.is_empty()).then_some((name.to_owned(), percent_decoded(value.trim())?))
        })
        .collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'%', [high, low, tail @ ..]) = (first, tail) {
            let digit = |byte: u8| (byte as char).to_digit(16);
            bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
            rest = tail;
        } else if *first == b'%' {
            return None;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let name = name.strip_prefix("OTEL_EXPORTER_OTLP_")?;
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        }
    }

    fn url(set: &[(&str, &str)]) -> String {
        let endpoint = Endpoint::from_env(lookup(set)).unwrap().unwrap();
        match endpoint.protocol() {
            super::super::SendProtocol::Http => endpoint.url("/v1/traces"),
            super::super::SendProtocol::Grpc => endpoint.to_string(),
        }
    }

    #[test]
    fn nothing_set_is_nothing_named() {
        assert_eq!(Endpoint::from_env(|_| None), Ok(None));
        assert_eq!(SendOptions::from_env(|_| None), Ok(SendOptions::default()));
        assert_eq!(Endpoint::from_env(lookup(&[("ENDPOINT", " ")])), Ok(None));
    }

    #[test]
    fn the_variable_for_traces_goes_first_and_is_used_as_it_is() {
        let common = ("ENDPOINT", "http://a:1/base");
        assert_eq!(url(&[common]), "http://a:1/base/v1/traces");
        assert_eq!(url(&[common, ("TRACES_ENDPOINT", "http://b:2/custom")]), "http://b:2/custom");
        assert_eq!(url(&[("TRACES_ENDPOINT", "http://b:2/v1/traces")]), "http://b:2/v1/traces");
        assert_eq!(url(&[("TRACES_ENDPOINT", "http://b:2")]), "http://b:2/");
    }

    #[test]
    fn the_protocol_has_a_variable_of_its_own() {
        assert_eq!(url(&[("ENDPOINT", "http://a:4317"), ("PROTOCOL", "grpc")]), "grpc://a:4317");
        assert_eq!(url(&[("ENDPOINT", "http://a"), ("PROTOCOL", "grpc")]), "grpc://a:4317");
        assert_eq!(url(&[("ENDPOINT", "http://[::1]"), ("PROTOCOL", "grpc")]), "grpc://[::1]:4317");
        assert_eq!(url(&[("ENDPOINT", "http://[::1]:5"), ("TRACES_PROTOCOL", "grpc")]), "grpc://[::1]:5");
        for (endpoint, protocol, hint) in
            [("http://a", "http/json", "http/protobuf or grpc"), ("grpc://a", "http/protobuf", "grpc://")]
        {
            let set = [("ENDPOINT", endpoint), ("PROTOCOL", protocol)];
            let error = Endpoint::from_env(lookup(&set)).unwrap_err().to_string();
            assert!(error.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && error.contains(hint), "{error}");
        }
    }

    #[test]
    fn headers_and_time_out_are_read() {
        let set =
            [("HEADERS", "api-key=a%2Cb%3D, tenant = x=y ,"), ("TRACES_TIMEOUT", "250"), ("TIMEOUT", "9")];
        let options = SendOptions::from_env(lookup(&set)).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(options.headers, [pair("api-key", "a,b="), pair("tenant", "x=y")]);
        assert_eq!(options.timeout, Duration::from_millis(250));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_variable_but_a_secret_is_not_shown() {
        for (name, value) in
            [("TIMEOUT", "10s"), ("TIMEOUT", "0"), ("HEADERS", "secret"), ("HEADERS", "a=secret%2")]
        {
            let error = SendOptions::from_env(lookup(&[(name, value)])).unwrap_err().to_string();
            assert!(error.contains(&format!("OTEL_EXPORTER_OTLP_{name}")), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
