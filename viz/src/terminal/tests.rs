//! What the waterfall promises: it fits, it folds what repeats, it says what it left out.

use sim_core::{
    record::{Recording, SpanIndex},
    time::SimTime,
};

use super::*;
use crate::testing::{Maker, one_of_everything};

fn plain(recording: &Recording, trace: u32, rows: usize) -> String {
    waterfall(recording, trace, 80, rows, Colour::Never)
}

/// A request that asks the cache once and the database many times, one of them in vain.
fn herd(queries: u64) -> Recording {
    let mut m = Maker::new();
    let (client, web, cache) =
        (m.node("clients", "clients"), m.node("web-0", "web"), m.node("cache", "cache"));
    let databases = [m.node("db-0", "db"), m.node("db-1", "db")];
    let root = m.span(None, client, "GET /hot", 1_900, 2_000);
    let serve = m.span(Some(root), web, "serve", 1_910, 1_990);
    m.span(Some(serve), cache, "get", 1_912, 1_914);
    for query in 0..queries {
        let span = m.span(Some(serve), databases[query as usize % 2], "query", 1_915 + query, 1_965 + query);
        m.span(Some(span), databases[query as usize % 2], "scan", 1_916 + query, 1_960 + query);
        if query == 3 {
            m.fail(span, "too many\u{1b}[31m connections");
        }
    }
    m.recording
}

#[test]
fn a_small_trace_is_drawn_whole() {
    let text = plain(&one_of_everything(), 0, 20);
    let id = one_of_everything().trace_id(0);
    assert_eq!(
        text,
        format!(
            "trace {id}: 2 spans, 62ms, from 1.9s of the run\n\
             web-0 GET /hot                              0s     62ms ████████████████████████\n\
             ├ ✗ db query                               1ms     59ms ███████████████████████▌\n\
             ├ • packet.dropped: partition             50ms                             •\n\
             └ • retry                                 55ms                               •\n\
             ✗ too many connections\n"
        )
    );
}

#[test]
fn repetition_is_folded_and_the_worst_of_it_stays() {
    let text = plain(&herd(40), 0, 20);
    let lines: Vec<&str> = text.lines().collect();
    assert!(text.contains("+ 38 more db query, "), "{text}");
    assert!(lines.iter().any(|line| line.contains("✗ db-1 query")), "the failed one is shown: {text}");
    assert!(text.contains("(+1 inside)") || text.contains("scan"), "{text}");
    // Root, serve, get, two queries with a scan each are shown: 76 of 83 spans are not.
    assert!(text.contains("76 of 83 spans left out"), "{text}");
    assert!(!text.contains('\u{1b}'), "what a run recorded cannot paint the terminal: {text:?}");
}

/// A page whose time is spent deep down, below many short calls: 100 ms, 80 of them in one scan.
fn page() -> Recording {
    let mut m = Maker::new();
    let (web, price, db) = (m.node("web", "web"), m.node("price", "price"), m.node("db", "db"));
    let root = m.span(None, web, "page", 0, 100);
    for part in 0..14 {
        m.span(
            Some(root),
            web,
            ["menu", "head", "foot", "basket", "offer", "map", "news"][part as usize % 7],
            part,
            part + 1,
        );
    }
    let call = m.span(Some(root), web, "price.Get", 14, 98);
    // Runs beside it and holds nobody up.
    m.span(Some(root), web, "log", 14, 97);
    let serve = m.span(Some(call), price, "price.Get", 15, 97);
    let ask = m.span(Some(serve), price, "db.Ask", 16, 96);
    m.span(Some(ask), db, "scan", 16, 96);
    m.recording
}

#[test]
fn the_critical_path_is_unfolded_first_and_what_is_folded_is_counted() {
    let text = plain(&page(), 0, 6);
    let lines: Vec<&str> = text.lines().collect();
    // Five spans from the page down to the scan, and one line for 14 short ones and the one that held nobody up.
    for name in ["web page", "price.Get", "price price.Get", "db.Ask", "db scan"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert!(lines[6].starts_with("└ + 15 more, 97ms in all "), "{text}");
    assert!(text.ends_with("15 of 20 spans left out\n"), "{text}");
    // With a line more, the long one comes before the short ones.
    let text = plain(&page(), 0, 7);
    assert!(text.contains("├ log") && text.contains("└ + 14 more, 14ms in all "), "{text}");
}

#[test]
fn what_leads_to_a_failure_comes_before_what_took_long() {
    let mut recording = page();
    let name = recording.names.len() as u32;
    recording.names.push("out of paper".to_owned());
    recording.spans[9].status = sim_core::record::SpanStatus::Error(sim_core::record::Name(name));
    let text = plain(&recording, 0, 3);
    assert!(text.contains("├ ✗ head") && text.contains("\n✗ out of paper\n"), "{text}");
}

#[test]
fn events_have_the_lines_that_are_left() {
    let mut m = Maker::new();
    let node = m.node("writer", "writer");
    let root = m.span(None, node, "reading", 10, 210);
    m.span(Some(root), node, "again", 150, 151);
    for at in [20, 30, 40] {
        m.event(root, at, "packet.dropped", "loss");
    }
    m.event(root, 200, "gave up", "");
    let text = plain(&m.recording, 0, 12);
    let begins = ["trace", "writer reading", "├ • packet.dropped: loss", "├ again", "└ • gave up"];
    for (line, begin) in text.lines().zip(begins) {
        assert!(line.starts_with(begin), "{text}");
    }
    assert!(text.contains("10ms       3x") && !text.contains("left out"), "{text}");
    // A long one is told instead of marked on the time line.
    m.event(root, 205, "packet.dropped", "Reading to store: partition");
    let text = plain(&m.recording, 0, 12);
    assert!(
        text.contains("└ • packet.dropped: Reading to store: partition  ") && text.contains(" 195ms\n"),
        "{text}"
    );
    m.recording.span_events.pop();
    // Spans come first; what has no line is counted.
    let text = plain(&m.recording, 0, 3);
    assert!(text.ends_with("1 of 4 events left out\n") && text.contains("again"), "{text}");
}

#[test]
fn no_line_is_wider_than_asked_and_rows_are_as_few_as_asked() {
    for width in [40, 60, 80, 133] {
        for rows in [1, 2, 5, 100] {
            let text = waterfall(&herd(12), 0, width, rows, Colour::Never);
            let body: Vec<&str> = text.lines().skip(1).collect();
            for line in &body {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            let bars = body.iter().filter(|line| line.contains(['█', '▌', '▐', '░'])).count();
            assert!((1..=rows).contains(&bars), "{rows}: {text}");
        }
    }
}

#[test]
fn what_was_left_out_is_the_whole_trace_but_the_rows() {
    for rows in 1..40 {
        let text = plain(&herd(12), 0, rows);
        let bars = |mark: char| text.lines().skip(1).filter(|line| line.contains(mark)).count();
        let shown = text.lines().skip(1).filter(|line| line.contains(['█', '▌', '▐'])).count();
        let left_out = text
            .lines()
            .find_map(|line| line.strip_suffix(" of 27 spans left out")?.parse::<usize>().ok())
            .unwrap_or(0);
        assert_eq!(shown + left_out, 27, "{rows} rows, {} folds: {text}", bars('░'));
    }
}

#[test]
fn deep_and_odd_trees_are_drawn_without_fear() {
    let mut m = Maker::new();
    let node = m.node("n", "n");
    let mut parent = m.span(None, node, "level", 0, 1);
    for _ in 0..50_000 {
        parent = m.span(Some(parent), node, "level", 0, 1);
    }
    let text = plain(&m.recording, 0, 50);
    assert!(text.contains("49,990 of 50,001 spans left out"), "{text}");
    // A span that is its own parent, and one whose parent is in no trace.
    m.change(SpanIndex(0)).parent = SpanIndex(0);
    m.change(SpanIndex(1)).parent = SpanIndex(4_000_000);
    assert!(plain(&m.recording, 0, 50).contains("left out"));
    assert_eq!(plain(&m.recording, 9, 50), "trace 9: no spans were recorded\n");
}

#[test]
fn a_trace_of_no_length_has_a_mark_and_an_open_span_lasts_to_the_end() {
    let mut m = Maker::new();
    let node = m.node("n", "n");
    m.span(None, node, "instant", 5, 5);
    let open = m.span(None, node, "loop", 5, 5);
    m.change(open).end = SimTime::MAX;
    assert!(plain(&m.recording, 0, 5).contains("0s ▌\n"));
    let text = plain(&m.recording, 1, 5);
    assert!(text.contains("~ n loop") && text.contains("9.99s") && text.contains("~ cut short"), "{text}");
}

#[test]
fn colours_come_only_when_asked_and_change_no_letter() {
    let recording = herd(12);
    let (plain, coloured) = (plain(&recording, 0, 20), waterfall(&recording, 0, 80, 20, Colour::Always));
    assert!(!plain.contains('\u{1b}'));
    let mut stripped = String::new();
    let mut escape = false;
    for c in coloured.chars() {
        match (escape, c) {
            (_, '\u{1b}') => escape = true,
            (true, 'm') => escape = false,
            (true, _) => {}
            (false, c) => stripped.push(c),
        }
    }
    assert_ne!(plain, coloured);
    assert_eq!(plain, stripped);
}

#[test]
fn the_worst_trace_is_the_longest_then_a_failed_one_then_the_first() {
    let mut m = Maker::new();
    let node = m.node("n", "n");
    assert_eq!(worst_trace(&m.recording), None);
    let short = m.span(None, node, "request", 0, 5);
    let long = m.span(None, node, "request", 0, 10);
    m.span(Some(short), node, "child", 0, 500); // no root: does not count
    let later = m.span(None, node, "request", 20, 30);
    m.span(None, node, "background", 0, 900);
    m.fail(short, "failed, but short");
    assert_eq!(worst_trace(&m.recording), Some(3));
    let background = m.name("background");
    let requests = |span: &sim_core::record::Span| span.name != background;
    assert_eq!(worst_trace_where(&m.recording, requests), Some(1), "the first of two equal ones");
    m.fail(later, "timed out");
    assert_eq!(worst_trace_where(&m.recording, requests), Some(2), "the failed one of two equal ones");
    m.fail(long, "timed out");
    assert_eq!(worst_trace_where(&m.recording, requests), Some(1));
    assert_eq!(worst_trace_where(&m.recording, |_| false), None);
}
