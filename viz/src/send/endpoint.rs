//! Where to send: `http://host:4318` or `grpc://host:4317`.

use std::{fmt, str::FromStr};

/// How OTLP travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendProtocol {
    /// Protobuf in an HTTP POST; port 4318.
    Http,
    /// gRPC; port 4317.
    Grpc,
}

impl SendProtocol {
    fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 4318,
            Self::Grpc => 4317,
        }
    }
}

/// An OTLP receiver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    protocol: SendProtocol,
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    host: String,
    port: u16,
    /// What comes before `/v1/traces`: empty, or `/prefix`.
    prefix: String,
    /// The whole path, where it was given as it is: nothing is appended.
    path: Option<String>,
}

/// Why a text names no OTLP receiver.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not an OTLP endpoint: {reason}")]
pub struct EndpointError {
    /// The text.
    pub text: String,
    /// What is wrong with it, and what is allowed.
    pub reason: String,
}

const ALLOWED: &str =
    "write http://HOST:PORT (OTLP over HTTP, port 4318 if left out) or grpc://HOST:PORT (4317)";

impl Endpoint {
    /// By which protocol it is spoken to.
    pub fn protocol(&self) -> SendProtocol {
        self.protocol
    }
    /// `host:port`.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
    /// Where requests of one kind are posted to.
    pub(super) fn url(&self, signal_path: &str) -> String {
        let authority = self.authority();
        match &self.path {
            Some(path) => format!("http://{authority}{path}"),
            None => format!("http://{authority}{}{signal_path}", self.prefix),
        }
    }
    /// The same receiver by gRPC, which has no path. For the environment, which names the protocol in a variable of its own.
    pub(super) fn by_grpc(self, port_was_given: bool) -> Self {
        let port = if port_was_given { self.port } else { SendProtocol::Grpc.default_port() };
        Self { protocol: SendProtocol::Grpc, port, prefix: String::new(), path: None, ..self }
    }
    /// The same receiver with a path that is used as it is.
    pub(super) fn with_whole_path(self) -> Self {
        let path = if self.prefix.is_empty() { "/".to_owned() } else { self.prefix.clone() };
        match self.protocol {
            SendProtocol::Http => Self { prefix: String::new(), path: Some(path), ..self },
            SendProtocol::Grpc => self,
        }
    }
}

fn parse(text: &str) -> Result<Endpoint, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let likely = match text.rsplit_once(':') {
            Some((_, "4317")) => SendProtocol::Grpc,
            _ => SendProtocol::Http,
        };
        let hint = if text.is_empty() || text.contains(char::is_whitespace) {
            String::new()
        } else {
            format!("; did you mean {}://{text}?", likely.scheme())
        };
        return Err(format!("it has no scheme; {ALLOWED}{hint}"));
    };
    let protocol = match scheme.to_ascii_lowercase().as_str() {
        "http" => SendProtocol::Http,
        "grpc" => SendProtocol::Grpc,
        "https" | "grpcs" => {
            return Err(format!(
                "encrypted connections ({scheme}) are not built in; {ALLOWED}, and let a collector on this machine pass \
                 it on"
            ));
        }
        _ => return Err(format!("the scheme `{scheme}` is not known; {ALLOWED}")),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if rest.contains(['?', '#']) {
        return Err(format!("it has a query or a fragment; {ALLOWED}"));
    }
    if authority.contains('@') {
        return Err(format!("it has a user name; {ALLOWED}, and give credentials as headers"));
    }
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("it has a space in it; {ALLOWED}"));
    }
    let (host, port) = match authority.rfind(':') {
        // The colons inside [::1] belong to the address.
        Some(colon) if !authority[colon..].contains(']') => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let name_ok = address.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if bracketed && address.parse::<std::net::Ipv6Addr>().is_err() || !bracketed && !name_ok {
        return Err(format!("`{host}` is no host name or address (IPv6 in brackets: [::1]); {ALLOWED}"));
    }
    if address.is_empty() {
        return Err(format!("it has no host; {ALLOWED}"));
    }
    let port = match port {
        None => protocol.default_port(),
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => number,
            _ => return Err(format!("`{port}` is no port (1 to 65535); {ALLOWED}")),
        },
    };
    let path = path.trim_end_matches('/');
    // The full address of the receiver's own documentation is accepted too.
    let prefix = path.strip_suffix("/v1/traces").unwrap_or(path);
    if protocol == SendProtocol::Grpc && !prefix.is_empty() {
        return Err(format!("gRPC has no path (`{path}`); {ALLOWED}"));
    }
    Ok(Endpoint { protocol, host: host.to_owned(), port, prefix: prefix.to_owned(), path: None })
}

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        parse(text.trim()).map_err(|reason| EndpointError { text: text.to_owned(), reason })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_deref().unwrap_or(&self.prefix);
        write!(f, "{}://{}{path}", self.protocol.scheme(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_that_is_left_out_is_the_one_of_the_protocol() {
        assert_eq!(read("http://localhost").to_string(), "http://localhost:4318");
        assert_eq!(read("grpc://localhost").to_string(), "grpc://localhost:4317");
        assert_eq!(read(" HTTP://10.0.0.1:80/ ").to_string(), "http://10.0.0.1:80");
        assert_eq!(read("grpc://[::1]").authority(), "[::1]:4317");
    }

    #[test]
    fn the_signal_is_appended_once() {
        for text in ["http://h:1/otel", "http://h:1/otel/", "http://h:1/otel/v1/traces"] {
            assert_eq!(read(text).url("/v1/traces"), "http://h:1/otel/v1/traces");
        }
        assert_eq!(read("http://h").url("/v1/metrics"), "http://h:4318/v1/metrics");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_and_what_is_allowed_is_named() {
        for (text, hint) in [
            ("", "no scheme"),
            ("localhost:4317", "did you mean grpc://localhost:4317?"),
            ("localhost:4318", "did you mean http://localhost:4318?"),
            ("https://collector", "not built in"),
            ("ftp://host", "`ftp`"),
            ("http://", "no host"),
            ("http://:4318", "no host"),
            ("http://host:99999", "no port"),
            ("http://host:+80", "no port"),
            ("http://host:", "no port"),
            ("http://user:secret@host", "headers"),
            ("http://host/?a=b", "query"),
            ("http://ho st", "space"),
            ("http://[::g]", "no host name"),
            ("http://::1", "no host name"),
            ("grpc://host/path", "no path"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(hint) && error.contains("grpc://HOST:PORT"), "{text}: {error}");
        }
    }
}
