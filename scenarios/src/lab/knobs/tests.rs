//! What people see of knobs: the list, the values, and the errors.

use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sim_core::time::{Duration, ms, secs};

use super::*;

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
struct Herd {
    /// Requests per second.
    #[schemars(range(min = 1, max = 100_000))]
    rate: f64,
    /// How long a page lives.
    #[schemars(extend("x-range" = ["1ms", "1min"]))]
    ttl: Duration,
    /// Web servers.
    #[schemars(range(min = 1, max = 64))]
    webs: u64,
    /// Whether the cache is filled at the start.
    warm: bool,
    /// How a miss is filled.
    fill: Fill,
    /// Where the time-out lies, if there is one.
    timeout: Option<Duration>,
    plain: Plain,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Fill {
    /// Every miss asks.
    EveryMiss,
    /// One asks for all.
    SingleFlight,
    /// Ask before it is too late.
    EarlyRefresh {
        /// How eagerly.
        #[schemars(range(min = 0.0))]
        beta: f64,
        /// At most this much too early.
        window: Duration,
    },
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Plain {
    On,
    HalfOff,
}

const NAIVE: Herd = Herd {
    rate: 2_000.0,
    ttl: secs(4),
    webs: 4,
    warm: true,
    fill: Fill::EveryMiss,
    timeout: None,
    plain: Plain::On,
};

fn error(assignment: &str) -> String {
    patch(NAIVE, assignment).unwrap_err().to_string()
}

#[test]
fn knobs_come_in_the_order_of_the_fields_with_help_kind_range_and_default() {
    let knobs = Knobs::of(&NAIVE).unwrap();
    let names: Vec<&str> = knobs.iter().map(|knob| knob.name.as_str()).collect();
    assert_eq!(names, ["rate", "ttl", "webs", "warm", "fill", "timeout", "plain"]);
    let rate = knobs.get("rate").unwrap();
    assert_eq!((rate.help.as_str(), &rate.kind), ("Requests per second.", &KnobKind::Number));
    assert_eq!(rate.range, Some(KnobRange::Numbers { min: Some(1.0), max: Some(100_000.0) }));
    assert_eq!(rate.default, Some(toml::Value::Float(2_000.0)));
    let ttl = knobs.get("ttl").unwrap();
    assert_eq!(ttl.range, Some(KnobRange::Durations { min: ms(1), max: secs(60) }));
    assert_eq!(ttl.default.as_ref().map(shown).as_deref(), Some("4s"));
    let KnobKind::Choice(choices) = &knobs.get("fill").unwrap().kind else { panic!("a choice") };
    assert_eq!(knobs.get("fill").unwrap().help, "How a miss is filled.");
    let told: Vec<(&str, &str, usize)> =
        choices.iter().map(|one| (one.name.as_str(), one.help.as_str(), one.fields.len())).collect();
    assert_eq!(
        told,
        [
            ("every-miss", "Every miss asks.", 0),
            ("single-flight", "One asks for all.", 0),
            ("early-refresh", "Ask before it is too late.", 2)
        ]
    );
    assert_eq!(choices[2].fields[0].help, "How eagerly.");
    let timeout = knobs.get("timeout").unwrap();
    assert_eq!((timeout.optional, &timeout.kind, &timeout.default), (true, &KnobKind::Duration, &None));
    let KnobKind::Choice(plain) = &knobs.get("plain").unwrap().kind else { panic!("a choice") };
    assert_eq!(plain.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["on", "half-off"]);
}

#[test]
fn a_knob_is_set_as_one_says_it() {
    for (assignment, wanted) in [
        ("ttl=500ms", Herd { ttl: ms(500), ..NAIVE }),
        ("ttl = \"1.5s\"", Herd { ttl: ms(1_500), ..NAIVE }),
        ("rate=2_500", Herd { rate: 2_500.0, ..NAIVE }),
        ("rate=0.25e4", Herd { rate: 2_500.0, ..NAIVE }),
        ("webs=8", Herd { webs: 8, ..NAIVE }),
        ("warm=false", Herd { warm: false, ..NAIVE }),
        ("fill=single-flight", Herd { fill: Fill::SingleFlight, ..NAIVE }),
        ("fill={early-refresh={beta=2.0, window=5ms}}", {
            Herd { fill: Fill::EarlyRefresh { beta: 2.0, window: ms(5) }, ..NAIVE }
        }),
        ("fill={ early-refresh = { window = \"5ms\", beta = 2, } }", {
            Herd { fill: Fill::EarlyRefresh { beta: 2.0, window: ms(5) }, ..NAIVE }
        }),
        ("timeout=1s", Herd { timeout: Some(secs(1)), ..NAIVE }),
        ("timeout=none", NAIVE),
        ("plain=half-off", Herd { plain: Plain::HalfOff, ..NAIVE }),
    ] {
        assert_eq!(patch(NAIVE, assignment), Ok(wanted), "{assignment}");
    }
}

#[test]
fn errors_name_the_knob_what_is_allowed_and_the_nearest_name() {
    for (assignment, parts) in [
        (
            "tll=4s",
            vec!["no knob `tll`", "did you mean `ttl`?", "rate, ttl, webs, warm, fill, timeout, plain"],
        ),
        ("ttl", vec!["`ttl` sets no knob", "knob=value", "rate=2000.0"]),
        ("=5", vec!["sets no knob"]),
        ("ttl=500", vec!["`ttl` cannot be `500`", "ns, us, ms, s, min, h", "50ms", "from 1ms to 60s"]),
        ("ttl=2min", vec!["`ttl` cannot be 120s", "from 1ms to 60s is allowed"]),
        ("rate=many", vec!["`rate` cannot be `many`", "a number, from 1 to 100000"]),
        ("rate=0", vec!["`rate` cannot be 0.0", "from 1 to 100000 is allowed"]),
        ("rate=inf", vec!["`rate` cannot be `inf`"]),
        ("webs=2.5", vec!["a whole number, from 1 to 64"]),
        ("webs=-1", vec!["`webs` cannot be -1", "from 1 to 64"]),
        ("warm=yes", vec!["true or false"]),
        (
            "fill=singel-flight",
            vec!["did you mean `single-flight`?", "every-miss, single-flight, {early-refresh={beta=.."],
        ),
        ("fill=early-refresh", vec!["it needs its data: {early-refresh={beta=.., window=..}}"]),
        ("fill={early-refresh={beta=1.0}}", vec!["`fill.early-refresh.window` is missing"]),
        (
            "fill={early-refresh={beta=-1.0, window=1s}}",
            vec!["`fill.early-refresh.beta` cannot be -1.0", "at least 0"],
        ),
        (
            "fill={early-refresh={bata=1.0}}",
            vec!["no knob `fill.early-refresh.bata`", "did you mean `beta`?"],
        ),
        ("fill={early-refresh={beta=1.0", vec!["brackets or `=` are missing"]),
        ("timeout=soon", vec!["`timeout` cannot be `soon`", "or none"]),
        ("warm={a=1}", vec!["`warm` cannot be `{a=1}`"]),
    ] {
        let text = error(assignment);
        for part in parts {
            assert!(text.contains(part), "{assignment}: {text} does not say {part}");
        }
    }
}

#[test]
fn a_plans_table_is_checked_before_it_is_read() {
    let knobs = Knobs::of(&NAIVE).unwrap();
    let good = table(&NAIVE).unwrap();
    assert_eq!(knobs.check(&good), Ok(()));
    assert_eq!(read::<Herd>(&good), Ok(NAIVE));
    let changed = |change: &dyn Fn(&mut toml::Table)| {
        let mut table = good.clone();
        change(&mut table);
        knobs.check(&table).unwrap_err().to_string()
    };
    assert!(changed(&|t| drop(t.remove("rate"))).contains("`rate` is missing"));
    assert!(changed(&|t| drop(t.insert("ratte".into(), 1.into()))).contains("did you mean `rate`?"));
    assert!(changed(&|t| drop(t.insert("webs".into(), 65.into()))).contains("from 1 to 64 is allowed"));
    assert!(changed(&|t| drop(t.insert("ttl".into(), 5.into()))).contains("it takes a duration"));
    assert!(changed(&|t| drop(t.insert("rate".into(), f64::NAN.into()))).contains("it takes a number"));
    let mut whole = good.clone();
    whole.insert("rate".into(), 2_000.into());
    assert_eq!(knobs.check(&whole).and_then(|()| read::<Herd>(&whole)), Ok(NAIVE), "2000 is a number too");
}

#[test]
fn a_field_that_cannot_be_set_is_refused_by_its_name() {
    #[derive(Serialize, JsonSchema)]
    struct Odd {
        choice: Tuple,
    }
    #[derive(Serialize, JsonSchema)]
    enum Tuple {
        #[expect(dead_code, reason = "only its schema is read")]
        Lease(u64),
        None,
    }
    let error = Knobs::of(&Odd { choice: Tuple::None }).unwrap_err().to_string();
    assert!(error.contains("`choice`") && error.contains("Lease { .. }"), "{error}");
}

proptest! {
    #[test]
    fn what_is_shown_can_be_set_again(rate in 1.0_f64..100_000.0, millis in 1_u64..60_000, beta in 0.0_f64..10.0) {
        let herd = Herd { rate, ttl: ms(millis), fill: Fill::EarlyRefresh { beta, window: ms(millis) }, ..NAIVE };
        let mut again = NAIVE;
        for (name, value) in table(&herd).unwrap() {
            again = patch(again, &format!("{name}={}", shown(&value))).unwrap();
        }
        prop_assert_eq!(again, herd);
    }

    #[test]
    fn no_text_whatever_is_a_panic(text in "[-a-z0-9={},.\\[\\]\" ]{0,30}") {
        let _ = patch(NAIVE, &text);
        let _ = patch(NAIVE, &format!("fill={text}"));
    }
}
