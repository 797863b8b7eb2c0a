//! The rules of the format, checked line by line with a small reader of it.

use super::*;
use crate::testing::{Maker, one_of_everything};

fn text(recording: &Recording) -> String {
    let mut out = Vec::new();
    write_openmetrics(recording, &ExportOptions::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Name, labels, value, time of a sample line.
fn sample(line: &str) -> (&str, &str, f64, f64) {
    let (name, rest) = line.split_once('{').unwrap();
    let (labels, rest) = rest.rsplit_once("} ").unwrap();
    let (value, time) = rest.split_once(' ').unwrap();
    (name, labels, value.parse().unwrap(), time.parse().unwrap())
}

/// Checks a text against the rules, and gives the number of its samples.
fn check(text: &str) -> usize {
    let body = text.strip_suffix("# EOF\n").expect("the last line is # EOF");
    assert!(!body.contains("# EOF"));
    let mut families: Vec<(String, String)> = Vec::new();
    let mut metrics_done: BTreeSet<String> = BTreeSet::new();
    let mut metric_now = String::new();
    let mut time_before = f64::NEG_INFINITY;
    let mut value_before = 0.0;
    let mut samples = 0;
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(families.iter().all(|(known, _)| known != name), "one block for a family: {name}");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
            assert!(!name.starts_with(|c: char| c.is_ascii_digit()), "{name}");
            families.push((name.to_owned(), kind.to_owned()));
            continue;
        }
        let (family, kind) = families.last().expect("a TYPE comes first");
        if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').unwrap();
            assert!(
                name == family && family.ends_with(&format!("_{unit}")),
                "the unit is the suffix: {line}"
            );
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.starts_with(&format!("{family} ")), "{line}");
        } else {
            samples += 1;
            let (name, labels, value, time) = sample(line);
            let suffix = name.strip_prefix(family.as_str()).unwrap();
            let allowed: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_count", "_sum"],
                other => panic!("{other}"),
            };
            assert!(allowed.contains(&suffix), "{line}");
            let labels = labels.split(",le=").next().unwrap();
            let metric = format!("{family}{{{labels}}}");
            if metric == metric_now {
                let new_point = kind != "histogram" || time > time_before;
                assert!(time > time_before || (!new_point && time == time_before), "time rises: {line}");
                let bucket_of_same_point = suffix == "_bucket" && time == time_before;
                if kind == "counter" || bucket_of_same_point {
                    assert!(value >= value_before, "it never falls: {line}");
                }
            } else {
                assert!(metrics_done.insert(metric.clone()), "a metric's samples stand together: {line}");
                metric_now = metric;
            }
            (time_before, value_before) = (time, value);
        }
    }
    samples
}

#[test]
fn one_of_everything_keeps_the_rules() {
    let text = text(&one_of_everything());
    assert!(check(&text) > 50);
    let labels = "scenario=\"thundering-herd\",variant=\"naive\",seed=\"42\"";
    let db = format!("{{{labels},node=\"db\",service=\"db\"}}");
    for line in [
        "# TYPE db_queries counter".to_owned(),
        "# HELP db_queries Total of db.queries, in virtual time.".to_owned(),
        format!("db_queries_total{db} 0.0 946684800"),
        format!("db_queries_total{db} 2.0 946684802"),
        format!("db_queries_total{db} 5.0 946684802.1"),
        format!("db_load{db} 0.5 946684802"),
        "# UNIT latency_seconds seconds".to_owned(),
        format!("latency_seconds_count{db} 1 946684802"),
        format!("latency_seconds_bucket{{{labels},node=\"db\",service=\"db\",le=\"+Inf\"}} 1 946684802"),
        format!("latency_seconds_bucket{{{labels},node=\"db\",service=\"db\",le=\"0.05\"}} 0 946684802"),
        format!("runs_total{{{labels}}} 1.0 946684800.1"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn no_metrics_are_an_empty_text_that_ends() {
    assert_eq!(text(&Maker::new().recording), "# EOF\n");
}

#[test]
fn names_that_become_the_same_are_told_apart() {
    let mut m = Maker::new();
    let node = m.node("n", "n");
    let points = [(0, 1.0), (500, 2.0)];
    m.series("a.b", node, MetricKind::Gauge, "", &points);
    m.series("a_b", node, MetricKind::Gauge, "", &points);
    m.series("a-b", node, MetricKind::Counter, "", &points);
    m.series("a_b_total", node, MetricKind::Counter, "", &points);
    m.series("a/b", node, MetricKind::Histogram, "s", &points);
    m.series("a_b_seconds", node, MetricKind::Histogram, "s", &points);
    m.series("a_b_seconds_count", node, MetricKind::Gauge, "", &points);
    m.series("9 lives", node, MetricKind::Gauge, "", &points);
    m.series("", node, MetricKind::Gauge, "", &points);
    let text = text(&m.recording);
    check(&text);
    let families: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(
        families,
        [
            "a_b",
            "a_b_2",
            "a_b_3",
            "a_b_4",
            "a_b_seconds",
            "a_b_2_seconds",
            "a_b_seconds_count_2",
            "_9_lives",
            "_"
        ]
    );
}

#[test]
fn units_are_words() {
    for (ucum, words) in [
        ("", ""),
        ("s", "seconds"),
        ("By", "bytes"),
        ("{request}", ""),
        ("{request}/s", "per_second"),
        ("By/s", "bytes_per_second"),
        ("1", "ratio"),
        ("1/s", "per_second"),
        ("m2", "m2"),
    ] {
        assert_eq!(unit_name(ucum), words, "{ucum}");
    }
}

#[test]
fn labels_with_quotes_and_line_breaks_stay_in_their_line() {
    let mut m = Maker::new();
    let node = m.node("n\"1\"\n\\", "n");
    m.series("x\ny", node, MetricKind::Gauge, "", &[(0, f64::INFINITY), (200, -0.5)]);
    let text = text(&m.recording);
    assert!(text.contains("node=\"n\\\"1\\\"\\n\\\\\""), "{text}");
    assert!(text.contains("} +Inf 946684800\n"), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
}
