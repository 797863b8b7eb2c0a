//! The harness itself, before anything is proved with it: what is sent to a real Jaeger is read back the same, to the
//! nanosecond and the last bit, and a comparison notices every change.
//!
//! The spans are in `data/trace-*.jsonl`, written by hand: seven spans in three traces and three requests, of two services,
//! with parents across requests, events out of order, links to other traces, each kind, each status, each type of attribute
//! and the extremes of each.

use std::{collections::BTreeSet, fmt::Write as _, fs, net::TcpStream, path::Path};

use jaeger_test::{Jaeger, Spans, compare};

fn data() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// All requests of the data, one a line.
fn lines() -> String {
    ["trace-000.jsonl", "trace-001.jsonl"].map(|file| fs::read_to_string(data().join(file)).unwrap()).concat()
}

/// Changes of the text of the data, one fact each, with the field that the comparison must name.
const CHANGES: [(&str, &str, &str); 17] = [
    (r#""parentSpanId":"00000000000000a3""#, r#""parentSpanId":"00000000000000a1""#, "parent_span_id"),
    (r#""name":"publish""#, r#""name":"publishes""#, "name"),
    (r#""kind":4"#, r#""kind":5"#, "kind"),
    (r#""startTimeUnixNano":"946684800000000007""#, r#""startTimeUnixNano":"946684800000000006""#, "start"),
    (r#""endTimeUnixNano":"946684800052200001""#, r#""endTimeUnixNano":"946684800052200002""#, "end"),
    (r#""stringValue":"naive""#, r#""stringValue":"naïve""#, "attributes `variant`"),
    (r#""intValue":"9223372036854775807""#, r#""intValue":"9223372036854775806""#, "attributes `most`"),
    (r#"0.3333333333333333"#, r#"0.33333333333333337"#, "attributes `third`"),
    (r#""doubleValue":2.0"#, r#""intValue":"2""#, "attributes `scale`"),
    (r#""key":"hedged""#, r#""key":"hedge""#, "attributes `hedge`"),
    (r#""boolValue":true"#, r#""boolValue":false"#, "attributes `hedged`"),
    (r#""timeUnixNano":"946684800050000000""#, r#""timeUnixNano":"946684800050000001""#, "events["),
    (r#""key":"last""#, r#""key":"latest""#, "events[1]"),
    (
        r#"{"traceId":"5a1b00000000000000000000000000b2","spanId":"00000000000000b1","traceState":"","attributes""#,
        r#"{"traceId":"5a1b00000000000000000000000000b3","spanId":"00000000000000b1","traceState":"","attributes""#,
        "links[0]",
    ),
    (r#""message":"no answer in 50ms""#, r#""message":"no answer in 51ms""#, "status"),
    (r#""stringValue":"server-1""#, r#""stringValue":"server-3""#, "resource `service.instance.id`"),
    (r#""version":"0.1.0""#, r#""version":"0.2.0""#, "scope_version"),
];

#[test]
fn what_is_sent_is_read_back_the_same() {
    let Some(jaeger) = Jaeger::for_test() else { return };
    let meant = Spans::from_folder(&data()).unwrap();
    assert_eq!(jaeger.services(), Ok(vec![]), "a new server is empty");
    assert_eq!(jaeger.send_json_lines(&lines()), Ok(3));
    let got = jaeger.read_back(&meant).unwrap();
    assert_eq!(compare(&meant, &got), Ok(7));
    assert_eq!(jaeger.services(), Ok(vec!["client".to_owned(), "server".to_owned()]));

    // What the real server answers is held against expectations that are wrong in one place each.
    for (from, to, field) in CHANGES {
        let wrong = Spans::from_json_lines(&lines().replacen(from, to, 1)).unwrap();
        let error = compare(&wrong, &got).expect_err(field);
        assert!(error.contains(field), "{field} was changed, and the comparison says {error}");
    }
    // The raw answer is there for who wants it.
    let raw = jaeger.trace("5a1b00000000000000000000000000b2").unwrap();
    assert_eq!(Spans::from_json(&raw).unwrap().len(), 2);
}

#[test]
fn a_trace_of_thousands_of_spans_sent_in_pieces_comes_back_whole() {
    let Some(jaeger) = Jaeger::for_test() else { return };
    // 10 requests of 500 spans: more than fits into any buffer of a few hundred kilobytes on the way.
    let trace = "5a1b00000000000000000000000000d4";
    let mut lines = String::new();
    for request in 0..10_u64 {
        let spans: Vec<String> = (request * 500..(request + 1) * 500)
            .map(|n| {
                let parent = if n == 0 { String::new() } else { format!("{:016x}", n.div_ceil(2)) };
                let (id, start, end) = (n + 1, 946_684_800_000_000_000 + n, 946_684_800_000_000_001 + 3 * n);
                format!(
                    r#"{{"traceId":"{trace}","spanId":"{id:016x}","parentSpanId":"{parent}","name":"hop","kind":1,
                    "startTimeUnixNano":"{start}","endTimeUnixNano":"{end}",
                    "attributes":[{{"key":"n","value":{{"intValue":"{n}"}}}},
                                  {{"key":"part","value":{{"doubleValue":{part:?}}}}}]}}"#,
                    part = n as f64 / 7.0,
                )
                .replace('\n', " ")
            })
            .collect();
        let resource = r#"{"attributes":[{"key":"service.name","value":{"stringValue":"relay"}}]}"#;
        let spans = spans.join(",");
        writeln!(
            lines,
            r#"{{"resourceSpans":[{{"resource":{resource},"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#
        )
        .unwrap();
    }
    let meant = Spans::from_json_lines(&lines).unwrap();
    assert_eq!(jaeger.send_json_lines(&lines), Ok(10));
    assert_eq!(compare(&meant, &jaeger.read_back(&meant).unwrap()), Ok(5_000));
}

#[test]
fn each_server_is_its_own_and_ends_with_its_value() {
    let Some(first) = Jaeger::for_test() else { return };
    let Some(second) = Jaeger::for_test() else { return };
    let endpoints = [
        first.http_endpoint(),
        first.grpc_endpoint(),
        first.query_url(),
        second.http_endpoint(),
        second.grpc_endpoint(),
    ];
    assert_eq!(endpoints.iter().collect::<BTreeSet<_>>().len(), endpoints.len(), "{endpoints:?}");

    let meant = Spans::from_json_lines(&lines()).unwrap();
    first.send_json_lines(&lines()).unwrap();
    assert_eq!(compare(&meant, &first.read_back(&meant).unwrap()), Ok(7));
    assert_eq!(second.services(), Ok(vec![]));
    let error = second.trace("5a1b00000000000000000000000000a1").unwrap_err();
    assert_eq!(error, "Jaeger has no trace 5a1b00000000000000000000000000a1");

    let addresses = endpoints.map(|endpoint| endpoint.trim_start_matches("http://").to_owned());
    drop(first);
    assert!(TcpStream::connect(&addresses[0]).is_err());
    assert!(TcpStream::connect(&addresses[1]).is_err());
    assert!(TcpStream::connect(&addresses[3]).is_ok(), "the other one goes on");
}

/// The reason why no span without duration may be exported: in a simulation, where much takes no time, that is tempting.
#[test]
fn jaeger_changes_a_span_without_duration_and_the_comparison_says_so() {
    let Some(jaeger) = Jaeger::for_test() else { return };
    let (long, short) =
        (r#""endTimeUnixNano":"946684800000000008""#, r#""endTimeUnixNano":"946684800000000007""#);
    assert!(lines().contains(long), "the data has no {long}");
    let lines = lines().replace(long, short);
    let meant = Spans::from_json_lines(&lines).unwrap();
    assert_eq!(jaeger.send_json_lines(&lines), Ok(3));
    assert_eq!(
        compare(&meant, &jaeger.read_back(&meant).unwrap()).unwrap_err(),
        "span 00000000000000b1 of trace 5a1b00000000000000000000000000b2 (\"publish\"): \
         end: expected 946684800000000007, got 946684800000000008"
    );
}

#[test]
fn a_request_that_jaeger_refuses_is_an_error() {
    let Some(jaeger) = Jaeger::for_test() else { return };
    let error = jaeger.send_json_lines("{\"resourceSpans\": 5}").unwrap_err();
    assert!(error.starts_with("request 1") && error.contains("400"), "{error}");
}

#[test]
fn every_change_of_one_fact_is_noticed_and_named() {
    let meant = Spans::from_json_lines(&lines()).unwrap();
    assert_eq!(compare(&meant, &meant.clone()), Ok(7));
    for (from, to, field) in CHANGES {
        assert!(lines().contains(from), "the data has no {from}");
        let changed = Spans::from_json_lines(&lines().replacen(from, to, 1)).unwrap();
        for error in [compare(&meant, &changed).unwrap_err(), compare(&changed, &meant).unwrap_err()] {
            assert!(error.contains(field), "{field} was changed, and the comparison says {error}");
        }
    }
}

#[test]
fn spans_too_few_too_many_or_twice_are_noticed() {
    let meant = Spans::from_json_lines(&lines()).unwrap();
    let last = lines().lines().last().unwrap().to_owned();
    let without_last = Spans::from_json_lines(&lines().replace(&last, "")).unwrap();
    let twice = Spans::from_json_lines(&(lines() + &last)).unwrap();
    for (expected, got, words) in [
        (
            &meant,
            &without_last,
            "span ffffffffffffffff of trace ffffffffffffffffffffffffffffffff (\"request\") is missing (7 expected, 6 got)",
        ),
        (&without_last, &meant, "was not expected (6 expected, 7 got)"),
        (&meant, &twice, "was not expected (7 expected, 8 got)"),
        (&twice, &meant, "is missing (8 expected, 7 got)"),
        (&meant, &Spans::default(), "is missing (7 expected, 0 got)"),
        (&Spans::default(), &Spans::default(), "no spans to compare"),
    ] {
        let error = compare(expected, got).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_way_of_writing_makes_no_difference() {
    let one = r#"{"resourceSpans":[{"resource":{"attributes":[]},"scopeSpans":[{"scope":null,"spans":[
        {"traceId":"0000000000000000000000000000ABCD","spanId":"00000000000000EF","parentSpanId":"0000000000000000",
         "name":"n","kind":0,"startTimeUnixNano":5,"endTimeUnixNano":"6","status":null,"droppedEventsCount":0,
         "attributes":[{"key":"b","value":{"intValue":7}},{"key":"a","value":null},{"key":"c","value":{"doubleValue":1e2}}]
        }]}],"schemaUrl":""}]}"#;
    let other = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a"},
        {"key":"c","value":{"doubleValue":100}},{"key":"b","value":{"intValue":"7"}}],"endTimeUnixNano":"6","status":{},
        "startTimeUnixNano":"5","name":"n","spanId":"00000000000000ef","traceId":"0000000000000000000000000000abcd"}]}]}]}"#;
    let [one, other] = [one, other].map(|text| Spans::from_json_lines(&text.replace('\n', " ")).unwrap());
    assert_eq!(compare(&one, &other), Ok(1));
}

#[test]
fn what_the_comparison_does_not_understand_is_an_error() {
    for (from, to, words) in [
        (
            r#""droppedLinksCount":0"#,
            r#""droppedLinksCount":3"#,
            "`droppedLinksCount` is 3, and no comparison looks at it",
        ),
        (r#""doubleValue":0.1"#, r#""doubleValue":null,"intValue":"1","boolValue":true"#, "has two values"),
        (r#""intValue":"1""#, r#""intValue":"one""#, "should be a whole number of 64 bits, and is \"one\""),
        (r#""spanId":"00000000000000a2""#, r#""spanId":"a2""#, "should be 16 hexadecimal digits"),
        (r#""traceId":"5a1b00000000000000000000000000a1""#, r#""traceId":"""#, "needs a traceId"),
        (r#""boolValue":true"#, r#""bool":true"#, "`bool` is no kind of value"),
        (r#""kind":3"#, r#""kind":"client""#, "should be a whole number"),
    ] {
        assert!(lines().contains(from), "the data has no {from}");
        let error = Spans::from_json_lines(&lines().replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(words) && error.starts_with("line 1: "), "{error}");
    }
    assert!(
        Spans::from_folder(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err().contains("no trace-*.jsonl")
    );
}
