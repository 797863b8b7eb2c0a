//! What expectations may rely on when they look at a run.

use sim_core::{
    plan::Plan,
    record::{Ending, RecordingLevel, SpanKind},
    time::{ms, secs},
};

use super::{
    Bounds, Measure, MeasureError, Recorded, Run, attempt, check, percent,
    testing::{RecordingBuilder, at},
};

fn never_recorded(measure: Measure) -> (Recorded, Option<String>, String) {
    match measure.value() {
        Err(error @ MeasureError::NeverRecorded { .. }) => {
            let text = error.to_string();
            let MeasureError::NeverRecorded { what, nearest, .. } = error else { unreachable!() };
            (what, nearest, text)
        }
        other => panic!("expected an error about a name, got {other:?}"),
    }
}

#[test]
fn counters_add_up_over_nodes_and_are_cut_by_windows() {
    let recording = RecordingBuilder::lasting(10_000)
        .counter("web-1", "db.query", &[(100, 1.0), (5_000, 2.0)])
        .counter("web-2", "db.query", &[(5_000, 4.0), (10_000, 8.0)])
        .counter("db", "db.query", &[])
        .done();
    let run = Run::new(&recording);
    assert_eq!(run.count("db.query").value(), Ok(15.0));
    assert_eq!(run.between(secs(0), secs(5)).count("db.query").value(), Ok(1.0));
    assert_eq!(run.after(secs(5)).count("db.query").value(), Ok(14.0));
    assert_eq!(run.between(secs(5), secs(6)).between(ms(5_500), secs(9)).count("db.query").value(), Ok(0.0));
    assert_eq!(run.node("web-2").count("db.query").value(), Ok(12.0));
    assert_eq!(run.node("db").count("db.query").value(), Ok(0.0));
    assert_eq!(run.service("web").counter("db.query").rate().to_string(), "1.5/s");
    assert_eq!(run.over_nodes("web", |node| node.count("db.query")).each().within(3..=12).met, Ok(true));
    let by_second = run.every(secs(2), |window| window.count("db.query"));
    assert_eq!(
        by_second.samples().unwrap().iter().map(|one| one.value).collect::<Vec<_>>(),
        [1.0, 0.0, 6.0, 0.0, 0.0]
    );
    let chosen =
        run.over_windows([(secs(0), secs(1)), (secs(5), secs(6))], |window| window.count("db.query"));
    assert_eq!(chosen.sum().value(), Ok(7.0));
}

#[test]
fn a_name_that_was_never_recorded_is_an_error_that_names_the_nearest() {
    let recording = RecordingBuilder::lasting(1_000)
        .counter("web-1", "db.query", &[])
        .gauge("web-1", "db.load", &[])
        .state(5, "web-1", "role", "leader")
        .operation("web-1", "read", 0, 5, Ok("1"))
        .message("web-1", "web-2", "Heartbeat", 1, None)
        .span("web-1", "GET /hot", 0, 10, None)
        .fault("crash db", 10, 1)
        .done();
    let run = Run::new(&recording);
    let near = |name: &str| Some(name.to_owned());
    for (measure, what, nearest) in [
        (run.count("db.querry"), Recorded::Counter, near("db.query")),
        (run.gauge("db.laod").max(), Recorded::Gauge, near("db.load")),
        (run.spans("GET /hit").count(), Recorded::Span, near("GET /hot")),
        (run.states("rolle").changes().count(), Recorded::State, near("role")),
        (run.states("role").became("laeder").count(), Recorded::StateValue, near("role=leader")),
        (run.states("role").holders("laeder").max(), Recorded::StateValue, near("role=leader")),
        (run.operations("raed").count(), Recorded::Operation, near("read")),
        (run.messages("Hartbeat").count(), Recorded::Message, near("Heartbeat")),
        (run.all_messages().to("web-3").count(), Recorded::Node, near("web-1")),
        (run.fault("crash dd").touched(), Recorded::Fault, near("crash db")),
        (run.node("wbe-2").count("db.query"), Recorded::Node, near("web-2")),
        (run.service("wep").count("db.query"), Recorded::Service, near("web")),
        (run.histogram("nothing").p99(), Recorded::Histogram, None),
        (run.spans("GET /hot").share_of("wed").mean(), Recorded::Service, near("web")),
        (run.spans("GET /hot").with("kee", "x").count(), Recorded::Attribute, None),
        (run.spans("GET /hot").with_event("retry").count(), Recorded::SpanEvent, None),
        (run.spans("GET /hot").count_below("query").mean(), Recorded::Span, None),
    ] {
        let (asked, found, text) = never_recorded(measure);
        assert_eq!((asked, found), (what, nearest), "{text}");
        assert!(text.starts_with(&format!("the run recorded no {what} `")), "{text}");
    }
    let (_, _, text) = never_recorded(run.count("db.load"));
    assert!(text.contains("there is a gauge of that name"), "{text}");
    assert!(run.property("safe").met.is_err());
}

#[test]
fn the_error_says_when_spans_were_switched_off() {
    let recording = RecordingBuilder::lasting(1_000).done();
    let (_, _, text) = never_recorded(Run::new(&recording).spans("GET").p99());
    assert!(text.contains("no spans at all"), "{text}");
}

#[test]
fn or_zero_forgives_what_did_not_happen_but_no_misspelling() {
    let quiet = RecordingBuilder::lasting(1_000).done();
    let other = RecordingBuilder::lasting(1_000).counter("web-1", "lost", &[(1, 1.0)]).done();
    assert_eq!(Run::new(&quiet).count("lost").or_zero().value(), Ok(0.0));
    let among = Run::among(&quiet, vec![&other]);
    assert_eq!(among.count("lost").or_zero().value(), Ok(0.0));
    assert!(never_recorded(among.count("lots").or_zero()).2.contains("no other variant did either"));
    assert!(among.histogram("lost").p99().or_zero().value().is_err(), "another kind is another name");
}

#[test]
fn a_window_outside_the_run_is_an_error_unless_the_run_fell_quiet() {
    let build = || RecordingBuilder::lasting(8_000).counter("a", "n", &[(100, 1.0)]);
    let stopped = build().done();
    let run = Run::new(&stopped);
    assert!(matches!(run.after(secs(9)).count("n").value(), Err(MeasureError::Impossible(_))));
    assert!(matches!(run.between(secs(2), secs(2)).count("n").value(), Err(MeasureError::Impossible(_))));
    let quiet = build()
        .with(|recording| {
            recording.ending = Ending::Quiet;
            recording.origin.plan = toml::to_string(&Plan::new("x", 1, secs(10))).unwrap();
        })
        .done();
    let run = Run::new(&quiet);
    assert_eq!(run.end(), at(10_000));
    assert_eq!(run.after(secs(9)).count("n").value(), Ok(0.0));
}

#[test]
fn gauges_of_nodes_are_summed_in_the_view_and_know_their_units() {
    let recording = RecordingBuilder::lasting(1_000)
        .gauge("web-1", "load", &[(100, 3.0), (500, 0.0)])
        .gauge("web-2", "load", &[(200, 4.0), (500, 0.0)])
        .done();
    let run = Run::new(&recording);
    assert_eq!(run.gauge("load").max().value(), Ok(7.0));
    assert_eq!(run.gauge("load").max().to_string(), "7"); // and not 700 %
    assert_eq!(run.node("web-2").gauge("load").max().value(), Ok(4.0));
    assert_eq!(run.between(ms(300), ms(500)).gauge("load").min().value(), Ok(7.0));
    assert_eq!(run.between(ms(300), ms(500)).gauge("load").last().value(), Ok(7.0));
    assert!(run.gauge("load").peaks().each().at_most(7).holds());
}

#[test]
fn histograms_in_seconds_and_milliseconds_are_times() {
    let recording = RecordingBuilder::lasting(1_000)
        .latencies("web-1", "page", "s", &[(400, 0.1), (900, 0.5)])
        .latencies("web-1", "page.ms", "ms", &[(400, 100.0)])
        .latencies("web-1", "batch", "", &[(1, 5.0), (2, 7.0)])
        .done();
    let run = Run::new(&recording);
    assert!(run.histogram("page").max().equals(ms(500)).holds());
    assert!(run.histogram("page.ms").max().equals(ms(100)).holds());
    assert!(run.histogram("batch").mean().equals(6).holds());
    assert_eq!(run.histogram("page").started_between(ms(300), ms(401)).list().unwrap().len(), 2);
    assert_eq!(run.before(ms(500)).histogram("page").count().value(), Ok(1.0));
}

/// A page of 100 ms: 10 ms at the gateway, 80 ms at `currency` of which 30 ms wait for `db`, and a call in parallel.
fn page() -> RecordingBuilder {
    RecordingBuilder::lasting(1_000)
        .span("gateway", "GET /page", 0, 100, None)
        .span("gateway", "convert", 5, 95, Some(0))
        .kind(SpanKind::Client)
        .span("currency-1", "convert", 10, 90, Some(1))
        .kind(SpanKind::Server)
        .attribute("table", "old")
        .attribute("table", "unindexed")
        .span("db", "query", 20, 50, Some(2))
        .span("reviews-1", "reviews", 40, 60, Some(0))
        .failed()
        .span("gateway", "GET /page", 200, 210, None)
}

#[test]
fn self_time_is_what_no_child_covers() {
    let recording = page().done();
    let run = Run::new(&recording);
    let shares = run.spans("GET /page").slowest(0.5);
    assert_eq!(shares.count().value(), Ok(1.0));
    assert_eq!(shares.share_of("currency").max().to_string(), "50 %");
    assert_eq!(shares.share_of("db").max().to_string(), "30 %");
    // 10 ms around the calls, and 10 ms of the client's side on the wire.
    assert_eq!(shares.share_of("gateway").max().to_string(), "20 %");
    assert_eq!(run.spans("convert").client().self_times().max().to_string(), "10ms");
    assert_eq!(run.spans("convert").server().self_times().max().to_string(), "50ms");
    assert_eq!(run.spans("GET /page").count_below("query").max().value(), Ok(1.0));
    assert_eq!(run.spans("GET /page").count_below("query").min().value(), Ok(0.0));
}

#[test]
fn a_child_that_outlives_its_parent_owns_no_time_after_it() {
    let recording = RecordingBuilder::lasting(1_000)
        .span("a", "call", 0, 100, None)
        .span("b", "work", 50, 900, Some(0))
        .done();
    let run = Run::new(&recording);
    assert_eq!(run.spans("call").share_of("b").max().to_string(), "50 %");
    assert_eq!(run.spans("call").self_times().max().to_string(), "50ms");
}

#[test]
fn spans_are_chosen_by_window_node_error_and_attribute() {
    let recording = page().done();
    let run = Run::new(&recording);
    assert_eq!(run.spans("GET /page").roots().count().value(), Ok(2.0));
    assert_eq!(run.after(ms(150)).spans("GET /page").max().to_string(), "10ms");
    assert_eq!(run.service("currency").spans("convert").count().value(), Ok(1.0));
    assert_eq!(run.spans("reviews").failed().count().value(), Ok(1.0));
    assert_eq!(run.spans("reviews").succeeded().count().value(), Ok(0.0));
    assert_eq!(run.spans("convert").with("table", "unindexed").count().value(), Ok(1.0));
    assert_eq!(run.spans("convert").with("table", "old").count().value(), Ok(0.0));
    assert!(matches!(run.spans("reviews").succeeded().p99().value(), Err(MeasureError::Empty { .. })));
    let first = &run.spans("GET /page").list().unwrap()[0];
    assert_eq!((first.node(), first.service(), first.children().len()), ("gateway", "gateway", 2));
}

#[test]
fn the_slowest_part_is_rounded_up_to_whole_spans() {
    let recording =
        (0..150).fold(RecordingBuilder::lasting(1_000), |b, i| b.span("a", "x", i, 2 * i + 1, None)).done();
    let slowest = Run::new(&recording).spans("x").slowest(0.01);
    assert_eq!(slowest.count().value(), Ok(2.0));
    assert!(slowest.durations().each().at_least(ms(149)).holds());
}

#[test]
fn states_tell_who_was_what_for_how_long() {
    let recording = RecordingBuilder::lasting(10_000)
        .state(1_000, "n-1", "role", "leader")
        .state(2_000, "n-2", "role", "follower")
        .state(4_000, "n-2", "role", "leader")
        .state(7_000, "n-1", "role", "")
        .done();
    let run = Run::new(&recording);
    let role = run.states("role");
    assert_eq!(role.became("leader").count().value(), Ok(2.0));
    assert_eq!(role.became("leader").first().to_string(), "1s");
    assert_eq!(run.after(secs(3)).states("role").became("follower").count().value(), Ok(0.0));
    assert_eq!(role.holders("leader").max().value(), Ok(2.0));
    assert_eq!(role.holders("leader").time_above(1.0).to_string(), "3s");
    assert_eq!(role.time_in("leader").to_string(), "12s");
    assert_eq!(run.between(secs(5), secs(6)).states("role").time_in("leader").to_string(), "2s");
    assert_eq!(run.node("n-2").states("role").time_in("leader").to_string(), "6s");
    assert_eq!(role.at(secs(3)).unwrap()["n-2"], "follower");
    assert_eq!(role.last().unwrap().keys().collect::<Vec<_>>(), ["n-2"]);
    assert_eq!(role.became_where("any", |value| value.starts_with("foll")).list().unwrap()[0].1, "n-2");
    assert_eq!(role.became("candidate").count().or_zero().value(), Ok(0.0));
}

#[test]
fn operations_are_counted_by_outcome_and_listed_with_their_texts() {
    let recording = RecordingBuilder::lasting(10_000)
        .operation("c-1", "read", 0, 30, Ok("7"))
        .operation("c-1", "read", 100, 150, Err("refused"))
        .operation("c-2", "write", 200, 260, Ok("null"))
        .done();
    let run = Run::new(&recording);
    assert_eq!(run.operations("read").ok().count().value(), Ok(1.0));
    assert_eq!(run.operations("read").failed().list().unwrap()[0].output, "refused");
    assert_eq!(run.all_operations().latencies().max().to_string(), "60ms");
    assert_eq!(run.node("c-2").operations("read").count().value(), Ok(0.0));
    let all_seven = attempt(|| {
        let reads = run.operations("read").ok().list()?;
        let outputs: Vec<&str> = reads.iter().map(|read| read.output).collect();
        Ok(check(outputs.join(", "), "all 7", outputs.iter().all(|&output| output == "7")))
    });
    assert!(all_seven.holds());
    assert!(attempt(|| Ok(check(run.operations("cas").list()?.len().to_string(), "", true))).met.is_err());
}

#[test]
fn messages_faults_and_properties_are_counted() {
    let recording = RecordingBuilder::lasting(10_000)
        .message("a", "b", "Ping", 10, Some(15))
        .message("a", "b", "Ping", 20, None)
        .message("b", "a", "Pong", 30, Some(35))
        .fault("crash db", 2_000, 1)
        .always("one leader", 10, 10)
        .always("no loss", 10, 9)
        .done();
    let run = Run::new(&recording);
    assert_eq!(run.messages("Ping").count().value(), Ok(2.0));
    assert_eq!(run.messages("Ping").arrived().to("b").count().value(), Ok(1.0));
    assert_eq!(run.node("b").all_messages().originals().bytes().to_string(), "100 B");
    assert_eq!(run.messages("Ping").dropped().times().first().to_string(), "20ms");
    assert_eq!(run.fault("crash db").touched().value(), Ok(1.0));
    assert_eq!(
        run.fault("crash db").times().until_next(&run.messages("Pong").times()).max().to_string(),
        "never"
    );
    assert!(run.property("one leader").holds());
    let broken = run.property("no loss");
    assert!(!broken.holds() && broken.measured.contains("two leaders"), "{broken:?}");
}

#[test]
fn knobs_can_be_part_of_a_bound() {
    let recording = RecordingBuilder::lasting(1_000)
        .with(|recording| recording.origin.knobs = "rate = 20.0\nttl = \"4s\"\nfill = \"none\"\n".to_owned())
        .done();
    let run = Run::new(&recording);
    assert!((run.knob("rate").per_second() * run.knob("ttl")).equals(80).holds());
    assert!(matches!(run.knob("fill").value(), Err(MeasureError::Units(_))));
    assert_eq!(never_recorded(run.knob("tll")).1.as_deref(), Some("ttl"));
}

#[test]
fn a_view_notes_how_much_recording_it_needed() {
    let recording = RecordingBuilder::lasting(0).done();
    let needed = |look: &dyn Fn(&Run)| {
        let run = Run::new(&recording);
        look(&run);
        run.level_read()
    };
    assert_eq!(needed(&|run| drop(run.count("x"))), RecordingLevel::Essential);
    assert_eq!(needed(&|run| drop(run.after(secs(1)).spans("x"))), RecordingLevel::Spans);
    assert_eq!(needed(&|run| drop(run.every(secs(1), |w| w.spans("x").p99()))), RecordingLevel::Spans);
    assert_eq!(needed(&|run| drop(run.over_nodes("web", |w| w.messages("x").count()))), RecordingLevel::Full);
}

#[test]
fn percent_is_a_share() {
    assert!(percent(98).equals(0.98).holds());
}
