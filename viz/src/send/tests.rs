//! Receivers that take everything, take some, say no, say nothing, or are not there: each span ends up in one box of the
//! report.

mod grpc_receiver;
mod http_receiver;

use std::{net::TcpListener, time::Instant};

use http_receiver::{Answer, Receiver};

use super::*;
use crate::{
    otlp::{ExportOptions, count_points, count_spans, metric_requests, trace_requests},
    testing::{Maker, one_of_everything},
};

/// Requests with that many spans each.
fn requests(spans: &[usize]) -> Vec<ExportTraceServiceRequest> {
    let request = |&count: &usize| {
        let mut m = Maker::new();
        let node = m.node("n", "n");
        let root = m.span(None, node, "root", 0, 100);
        for _ in 1..count {
            m.span(Some(root), node, "step", 1, 2);
        }
        let mut all: Vec<_> = trace_requests(&m.recording, &ExportOptions::default()).collect();
        assert_eq!(all.len(), 1);
        all.remove(0)
    };
    spans.iter().map(request).collect()
}

/// Gives up quickly.
fn quick() -> SendOptions {
    SendOptions { timeout: Duration::from_secs(5), pause: Duration::from_millis(1), ..SendOptions::default() }
}

fn send(endpoint: &str, options: SendOptions, requests: Vec<ExportTraceServiceRequest>) -> SendReport {
    Sender::new(endpoint.parse().unwrap(), options).unwrap().send_traces(requests).unwrap()
}

/// What is in no box would be lost in silence.
fn everything_is_accounted_for(report: &SendReport) {
    let failed: u64 = report.failures.iter().map(|f| f.count).sum();
    assert_eq!(report.acknowledged + failed, report.offered, "{report}");
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn everything_taken_is_everything_acknowledged_and_the_bytes_arrive_unchanged() {
    let receiver = Receiver::start(|_, _| Answer::Ok);
    let all = requests(&[3, 5]);
    let options = SendOptions { headers: vec![("x-key".to_owned(), "secret value".to_owned())], ..quick() };
    let report = send(&receiver.url(), options, all.clone());
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.offered, report.acknowledged, report.requests), (8, 8, 2));
    assert_eq!(report.to_string(), format!("all 8 spans were acknowledged by {}", receiver.url()));
    let received = receiver.received();
    assert_eq!(received.iter().map(|r| r.traces()).collect::<Vec<_>>(), all);
    for request in &received {
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(request.header("x-key"), Some("secret value"));
    }
}

#[test]
fn an_empty_partial_success_is_a_full_one() {
    let receiver = Receiver::start(|_, _| Answer::Partial(0, ""));
    assert!(send(&receiver.url(), quick(), requests(&[4])).is_complete());
    let receiver = Receiver::start(|_, _| Answer::Partial(0, "consider larger batches"));
    let report = send(&receiver.url(), quick(), requests(&[4]));
    assert!(
        report.is_complete() && report.to_string().contains("the receiver says: consider larger batches")
    );
}

#[test]
fn rejected_spans_are_counted_with_the_receivers_words() {
    let receiver = Receiver::start(|n, _| if n == 0 { Answer::Partial(2, "too old") } else { Answer::Ok });
    let report = send(&receiver.url(), quick(), requests(&[3, 5]));
    assert!(!report.is_complete());
    assert_eq!((report.acknowledged, report.rejected()), (6, 2));
    assert!(report.to_string().starts_with("6 of 8 spans were acknowledged"), "{report}");
    assert!(report.to_string().contains("2 in 1 request rejected: too old"), "{report}");
    everything_is_accounted_for(&report);
    // A receiver that claims to reject more than it got, or fewer than none, cannot upset the sums.
    for (claimed, acknowledged) in [(99, 0), (-5, 3)] {
        let receiver = Receiver::start(move |_, _| Answer::Partial(claimed, "odd"));
        let report = send(&receiver.url(), quick(), requests(&[3]));
        assert_eq!(report.acknowledged, acknowledged);
        everything_is_accounted_for(&report);
    }
}

#[test]
fn a_request_that_is_too_large_is_halved_until_it_fits() {
    let receiver = Receiver::start(|_, request| {
        if count_spans(&request.traces()) > 3 { Answer::Status(413, "too large") } else { Answer::Ok }
    });
    let report = send(&receiver.url(), quick(), requests(&[10, 2]));
    assert!(report.is_complete(), "{report}");
    let sizes: Vec<usize> = receiver.received().iter().map(|r| count_spans(&r.traces())).collect();
    assert_eq!(sizes, [10, 5, 2, 3, 5, 2, 3, 2]);
}

#[test]
fn a_single_span_that_is_too_large_is_told_and_the_others_go_on() {
    let receiver = Receiver::start(|_, request| {
        let request = request.traces();
        let has_root = request.resource_spans[0].scope_spans[0].spans.iter().any(|s| s.name == "root");
        if has_root { Answer::Status(413, "the root is too large") } else { Answer::Ok }
    });
    let report = send(&receiver.url(), quick(), requests(&[8]));
    assert_eq!((report.acknowledged, report.count(FailureKind::TooLarge)), (7, 1));
    assert!(report.to_string().contains("the root is too large"), "{report}");
    everything_is_accounted_for(&report);
}

#[test]
fn a_receiver_that_is_busy_for_a_while_gets_everything_in_the_end() {
    for status in [429, 502, 503, 504] {
        let receiver =
            Receiver::start(move |n, _| if n < 3 { Answer::Status(status, "busy") } else { Answer::Ok });
        let report = send(&receiver.url(), quick(), requests(&[3]));
        assert!(report.is_complete(), "{status}: {report}");
        assert_eq!(receiver.received().len(), 4);
    }
}

#[test]
fn a_receiver_may_say_when_to_come_again() {
    let receiver = Receiver::start(|n, _| if n == 0 { Answer::Later(0) } else { Answer::Ok });
    let began = Instant::now();
    let options = SendOptions { pause: Duration::from_secs(60), ..quick() };
    assert!(send(&receiver.url(), options, requests(&[3])).is_complete());
    assert!(began.elapsed() < Duration::from_secs(5), "its word goes before our own pause");
}

#[test]
fn a_receiver_that_stays_busy_is_left_after_four_tries_and_the_rest_is_not_tried() {
    let receiver = Receiver::start(|_, _| Answer::Status(503, "busy"));
    let report = send(&receiver.url(), quick(), requests(&[3, 4, 5]));
    assert_eq!(receiver.received().len(), 4);
    assert_eq!((report.count(FailureKind::Unreachable), report.count(FailureKind::NotTried)), (3, 9));
    assert!(report.to_string().contains("HTTP 503"), "{report}");
    assert!(report.to_string().contains("busy"), "{report}");
    everything_is_accounted_for(&report);
}

#[test]
fn one_bad_request_does_not_stop_the_others() {
    let receiver = Receiver::start(|n, _| if n == 0 { Answer::Status(400, "bad span") } else { Answer::Ok });
    let report = send(&receiver.url(), quick(), requests(&[3, 4]));
    assert_eq!((report.acknowledged, report.count(FailureKind::Refused)), (4, 3));
    assert!(report.to_string().contains("bad span"), "{report}");
    everything_is_accounted_for(&report);
}

#[test]
fn a_service_that_is_none_is_asked_once() {
    for (status, hint) in [(404, "404"), (401, "401"), (301, "301")] {
        let receiver = Receiver::start(move |_, _| Answer::Status(status, "no"));
        let report = send(&receiver.url(), quick(), requests(&[3, 4]));
        assert_eq!(receiver.received().len(), 1);
        assert!(report.to_string().contains(hint), "{report}");
        everything_is_accounted_for(&report);
    }
    let receiver = Receiver::start(|_, _| Answer::Page);
    let report = send(&receiver.url(), quick(), requests(&[3]));
    assert_eq!(report.acknowledged, 0, "a web page is no acknowledgement");
    assert!(report.to_string().contains("another service"), "{report}");
}

#[test]
fn silence_is_a_time_out_and_not_a_failure_that_is_known() {
    let receiver = Receiver::start(|_, _| Answer::Silence);
    let options = SendOptions { timeout: Duration::from_millis(200), ..quick() };
    let began = Instant::now();
    let report = send(&receiver.url(), options, requests(&[3, 4]));
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!((report.count(FailureKind::TimedOut), report.count(FailureKind::NotTried)), (3, 4));
    assert!(report.to_string().contains("may have arrived"), "{report}");
    everything_is_accounted_for(&report);
}

#[test]
fn nobody_there_is_a_sentence() {
    for scheme in ["http", "grpc"] {
        let report = send(&format!("{scheme}://{}", nobody()), quick(), requests(&[3, 4]));
        assert_eq!(
            (report.count(FailureKind::Unreachable), report.count(FailureKind::NotTried)),
            (3, 4),
            "{report}"
        );
        assert!(report.to_string().to_lowercase().contains("connection refused"), "{report}");
        everything_is_accounted_for(&report);
    }
}

#[test]
fn a_connection_that_breaks_is_made_anew() {
    let receiver = Receiver::start(|n, _| if n == 1 { Answer::HangUp } else { Answer::Ok });
    let report = send(&receiver.url(), quick(), requests(&[3, 4, 5]));
    assert!(report.is_complete(), "{report}");
}

#[test]
fn a_header_that_cannot_travel_is_refused_at_once() {
    for (name, value) in [("", "x"), ("a b", "x"), ("a", "line\nbreak"), ("ä", "x"), ("a", "ä")] {
        let options = SendOptions { headers: vec![(name.to_owned(), value.to_owned())], ..quick() };
        let error = Sender::new("http://localhost".parse().unwrap(), options).unwrap_err().to_string();
        assert!(error.contains("header"), "{error}");
    }
}

#[test]
fn metrics_go_to_their_own_path() {
    let receiver = Receiver::start(|_, _| Answer::Ok);
    let metrics = metric_requests(&one_of_everything(), &ExportOptions::default());
    let points: usize = metrics.iter().map(count_points).sum();
    let sender = Sender::new(receiver.url().parse().unwrap(), quick()).unwrap();
    let report = sender.send_metrics(metrics).unwrap();
    assert_eq!((report.acknowledged, report.noun), (points as u64, "data points"));
    assert_eq!(receiver.received()[0].path, "/v1/metrics");
}
