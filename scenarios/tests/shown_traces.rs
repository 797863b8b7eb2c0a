//! The trace that a lab shows for a missed goal is one in which the break can be seen.
//!
//! Goal: whoever opens that one trace sees what was lost, late or slow, under whatever seed. Method: each broken variant runs
//! under a few seeds, and what the trace should hold is looked up in the recording by other means than the lab's.

use scenarios::{find, lab::LabEntry};
use sim_core::{
    record::{OperationOutcome, Recording, RecordingLevel, Span, SpanStatus},
    time::{Duration, ms},
};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

/// The run of a variant, the spans of its shown trace, and why it is shown.
fn shown(lab: &LabEntry, variant: &str, seed: u64) -> Option<(Recording, Vec<Span>, String)> {
    let plan = lab.plan(variant, seed, &[]).unwrap();
    let recording = lab.run(&plan, RecordingLevel::Full).unwrap();
    let judgement = lab.judge(&[(variant, &recording)]).unwrap();
    let shown = lab.shown(&judgement.variants[0], &recording)?;
    let spans: Vec<Span> = recording.spans.iter().filter(|span| span.trace == shown.trace).copied().collect();
    assert!(!spans.is_empty());
    Some((recording, spans, shown.why))
}

fn each_seed(lab: &str, variant: &str, look: impl Fn(&Recording, &[Span], &str)) {
    let lab = find(lab).unwrap();
    for seed in SEEDS {
        let (recording, spans, why) = shown(lab, variant, seed).expect("a broken variant shows a trace");
        look(&recording, &spans, &why);
    }
}

fn named(recording: &Recording, spans: &[Span], name: &str) -> Vec<Span> {
    spans.iter().filter(|span| recording.text(span.name) == name).copied().collect()
}

fn took(span: &Span) -> Duration {
    span.end.since(span.start)
}

#[test]
fn a_reading_that_was_lost_was_dropped_and_never_appended() {
    each_seed("network-faults", "fire-and-forget", |recording, spans, why| {
        assert!(why.contains("readings that never came"), "{why}");
        assert!(named(recording, spans, "append").is_empty());
        let dropped = recording.span_events.iter().any(|event| {
            recording.text(event.name) == "packet.dropped"
                && recording.spans[event.span.0 as usize].trace == spans[0].trace
        });
        assert!(dropped);
    });
}

#[test]
fn a_heartbeat_is_on_its_way_when_its_sender_is_called_dead() {
    each_seed("failure-detector", "timeout-200", |recording, spans, why| {
        let [sent, heard] = spans else { panic!("a heartbeat is sent and heard") };
        let sender = recording.node_name(sent.node);
        assert!(why.contains(sender), "{why}");
        let dead = recording.states.iter().any(|state| {
            recording.text(state.key) == sender
                && recording.text(state.value) == "dead"
                && (sent.start..heard.start).contains(&state.at)
        });
        assert!(dead);
    });
}

#[test]
fn a_write_that_was_acknowledged_is_read_back_in_vain() {
    each_seed("write-ahead-log", "no-sync", |recording, spans, why| {
        assert!(why.contains("acknowledged and lost"), "{why}");
        let acknowledged = recording.operations.iter().any(|operation| {
            recording.spans.get(operation.span.0 as usize).is_some_and(|span| span.trace == spans[0].trace)
                && matches!(operation.outcome, OperationOutcome::Ok(_))
        });
        assert!(acknowledged);
        let read = named(recording, spans, "read_back");
        assert!(read.len() == 1 && matches!(read[0].status, SpanStatus::Error(_)));
    });
}

#[test]
fn a_torn_write_is_shown_where_one_comes_back() {
    let lab = find("write-ahead-log").unwrap();
    let torn = (1..=20).find_map(|seed| shown(lab, "no-checksum", seed)).expect("one seed in five tears");
    let read = named(&torn.0, &torn.1, "read_back");
    assert_eq!(read.len(), 1, "{}", torn.2);
}

#[test]
fn a_page_of_the_herd_waits_for_the_database() {
    each_seed("thundering-herd", "naive", |recording, spans, why| {
        assert!(why.contains("pages that asked the database"), "{why}");
        let queue = named(recording, spans, "db.queue");
        assert!(queue.len() == 1 && took(&queue[0]) > ms(400));
    });
}

#[test]
fn the_slowest_product_page_has_the_scan_in_it() {
    each_seed("finding-slow-service", "unindexed", |recording, spans, _| {
        assert_eq!(named(recording, spans, "currency.scan").len(), 1);
        let longest = named(recording, &recording.spans, "GET /product").iter().map(took).max();
        assert_eq!(longest, Some(took(&spans[0])));
    });
}

#[test]
fn a_variant_that_misses_nothing_shows_no_break() {
    for (lab, variant) in [("network-faults", "numbered"), ("failure-detector", "timeout-1000")] {
        assert!(shown(find(lab).unwrap(), variant, 1).is_none(), "{lab} {variant}");
    }
}
