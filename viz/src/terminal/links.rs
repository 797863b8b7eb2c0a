//! Links into Jaeger's user interface.
//!
//! Its search looks back from now, and a run lies in the year 2000: a search link needs a start and an end of its own.

use std::fmt::Write;

use sim_core::{
    record::{Recording, TraceId},
    time::SimTime,
};

use crate::epoch::Epoch;

/// How many traces a search link asks for. Jaeger's own default is 20.
const LIMIT: u32 = 100;

/// The page of one trace.
pub fn trace_link(base: &str, trace: TraceId) -> String {
    format!("{}/trace/{trace}", base.trim_end_matches('/'))
}

/// The page that compares two traces.
pub fn compare_link(base: &str, first: TraceId, second: TraceId) -> String {
    format!("{}/trace/{first}...{second}", base.trim_end_matches('/'))
}

/// The traces of a service over the whole run.
pub fn search_link(base: &str, recording: &Recording, epoch: Epoch, service: &str) -> String {
    // Microseconds, rounded outwards so that the first and the last span are in.
    let start = epoch.at(SimTime::ZERO) / 1_000;
    let end = epoch.at(recording.ended).div_ceil(1_000);
    format!(
        "{}/search?service={}&lookback=custom&start={start}&end={end}&limit={LIMIT}",
        base.trim_end_matches('/'),
        percent_encoded(service)
    )
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EPOCH_DEFAULT;

    #[test]
    fn links_name_the_trace_and_the_time_of_the_run() {
        let recording = Recording { ended: SimTime::from_nanos(1_500_000_001), ..Recording::default() };
        let id = TraceId([0xab; 16]);
        let hex = "ab".repeat(16);
        assert_eq!(trace_link("http://localhost:16686/", id), format!("http://localhost:16686/trace/{hex}"));
        assert_eq!(compare_link("http://j", id, id), format!("http://j/trace/{hex}...{hex}"));
        assert_eq!(
            search_link("http://j", &recording, EPOCH_DEFAULT, "web & more"),
            "http://j/search?service=web%20%26%20more&lookback=custom&start=946684800000000&end=946684801500001&limit=100"
        );
    }
}
