//! Real runs in a real Jaeger. What a run recorded, here in this process, is what Jaeger tells of it after another process
//! has run the same plan and sent it: span by span and field by field, over HTTP and over gRPC. A third process replays the
//! plan from its file, for an empty Jaeger, and the answer is the same.
//!
//! What a recording means is worked out without the export's code (`src/recorded.rs`), so these tests hold the export and
//! the sending against the recording, not against themselves. Every lab of the catalogue takes part, and a lab of this
//! package that records one of everything.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use jaeger_test::{Jaeger, Spans, compare, one_of_everything};
use scenarios::lab::LabEntry;
use shaketable_tests::program;
use sim_core::record::RecordingLevel;
use tempfile::TempDir;

/// Which variants of a lab are sent, and with which knobs. Each trace is asked for by itself, about a thousand a second, so
/// labs with a trace for each of their many requests are run at a lower rate. A lab that is not named here is sent in its
/// first variant, as it is.
const SHORTER: [(&str, &[&str], &[&str]); 5] = [
    ("finding-slow-service", &["unindexed", "tune-reviews", "indexed"], &["rate=15"]),
    ("network-faults", &["numbered-acked"], &[]),
    ("thundering-herd", &["naive", "single-flight", "lease", "stale-while-revalidate"], &["rate=40"]),
    ("failure-detector", &["phi"], &["period=300ms"]),
    ("write-ahead-log", &["no-sync", "sync-each", "group-commit"], &["rate=60"]),
];

/// The seed of all runs.
const SEED: u64 = 42;

/// One run, and what it recorded.
struct Case {
    program: PathBuf,
    lab: String,
    variant: String,
    sets: &'static [&'static str],
    /// The plan as it is written to files.
    plan: String,
    recorded: Spans,
}

impl Case {
    fn of(program: &Path, lab: &LabEntry, variant: &str, sets: &'static [&'static str]) -> Self {
        let owned: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let plan = lab.plan(variant, SEED, &owned).unwrap();
        let recording = lab.run(&plan, RecordingLevel::Full).unwrap();
        Self {
            program: program.to_owned(),
            lab: lab.name().to_owned(),
            variant: variant.to_owned(),
            sets,
            plan: recording.origin.plan.clone(),
            recorded: Spans::recorded(&recording),
        }
    }

    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for lab in scenarios::catalogue() {
            let (variants, sets) = SHORTER
                .iter()
                .find(|(name, ..)| *name == lab.name())
                .map_or_else(|| (vec![lab.variants()[0].name], &[][..]), |&(_, v, s)| (v.to_vec(), s));
            cases.extend(variants.into_iter().map(|variant| Self::of(program(), lab, variant, sets)));
        }
        for (name, ..) in SHORTER {
            assert!(cases.iter().any(|case| case.lab == name), "there is no lab `{name}`");
        }
        let other = Path::new(env!("CARGO_BIN_EXE_one-of-everything"));
        cases.push(Self::of(other, &one_of_everything(), "everything", &[]));
        cases
    }

    fn name(&self) -> String {
        format!("{} {} {}", self.lab, self.variant, self.sets.join(" "))
    }

    /// Another process runs the lab and sends what it records.
    fn scenario(&self, out: &Path, otlp: &str) {
        let mut command = Command::new(&self.program);
        command.args(["scenario", &self.lab, "--variant", &self.variant, "--seed", &SEED.to_string()]);
        command.args(self.sets.iter().flat_map(|set| ["--set", set]));
        self.send(command, out, otlp);
    }

    /// Another process runs a plan from its file and sends what it records.
    fn replay(&self, plan: &Path, out: &Path, otlp: &str) {
        let mut command = Command::new(&self.program);
        command.arg("replay").arg(plan);
        self.send(command, out, otlp);
    }

    fn send(&self, mut command: Command, out: &Path, otlp: &str) {
        command.args(["--otlp", otlp, "--out"]).arg(out);
        // A busy machine may take longer over a request than the usual ten seconds.
        let output = command.env("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "60000").output().unwrap();
        // With other knobs a lab may miss what it expects of itself (1) or be unable to judge (3). Not here: a plan that was
        // refused (2), or a span that was not taken (4).
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{}: {}", self.name(), said(&output));
    }

    /// Where a run is written: its plan, its spans.
    fn folder(&self, out: &TempDir) -> PathBuf {
        out.path().join(&self.variant)
    }

    /// Everything that was recorded is there, and nothing else.
    fn check(&self, told: &Spans, whose: &str) {
        let compared =
            compare(&self.recorded, told).unwrap_or_else(|e| panic!("{}, {whose}: {e}", self.name()));
        assert_eq!(compared, self.recorded.len());
        println!("{}: {compared} spans are what was recorded, {whose}", self.name());
    }

    fn check_jaeger(&self, jaeger: &Jaeger, whose: &str) {
        let told = jaeger.read_back(&self.recorded).unwrap_or_else(|e| panic!("{}: {e}", self.name()));
        self.check(&told, whose);
    }
}

fn said(output: &Output) -> String {
    format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_lab_comes_back_as_it_was_recorded_by_http_by_grpc_and_replayed() {
    let (Some(by_http), Some(by_grpc)) = (Jaeger::for_test(), Jaeger::for_test()) else { return };
    let grpc = |jaeger: &Jaeger| jaeger.grpc_endpoint().replace("http://", "grpc://");
    let cases: Vec<(Case, TempDir)> =
        Case::all().into_iter().map(|case| (case, TempDir::new().unwrap())).collect();
    for (case, out) in &cases {
        case.scenario(out.path(), &by_http.http_endpoint());
        case.check(&Spans::from_folder(&case.folder(out)).unwrap(), "as files");
        case.check_jaeger(&by_http, "told by Jaeger after HTTP");
        case.scenario(out.path(), &grpc(&by_grpc));
        case.check_jaeger(&by_grpc, "told by Jaeger after gRPC");
    }
    drop((by_http, by_grpc));

    let Some(again) = Jaeger::for_test() else { return };
    assert_eq!(again.services(), Ok(vec![]), "a new server is empty");
    for (number, (case, out)) in cases.iter().enumerate() {
        let plan = case.folder(out).join("plan.toml");
        assert_eq!(std::fs::read_to_string(&plan).unwrap(), case.plan, "{}", case.name());
        let other_out = TempDir::new().unwrap();
        let to = if number % 2 == 0 { grpc(&again) } else { again.http_endpoint() };
        case.replay(&plan, other_out.path(), &to);
        case.check_jaeger(&again, "told by an empty Jaeger after a replay");
    }
    // Sending a run twice stores it once: the ids are the plan's.
    let (case, out) = cases.last().unwrap();
    case.replay(&case.folder(out).join("plan.toml"), TempDir::new().unwrap().path(), &again.http_endpoint());
    case.check_jaeger(&again, "told after it was sent twice");
}

/// Needs no server: where there is none, this much is still known.
#[test]
fn the_lab_of_everything_has_everything() {
    let lab = one_of_everything();
    assert_eq!(lab.problems(), Vec::<String>::new());
    let recording = lab.run(&lab.plan("narrow", SEED, &[]).unwrap(), RecordingLevel::Full).unwrap();
    assert!(recording.faults.iter().all(sim_core::record::FaultRecord::had_effect), "{:?}", recording.faults);
    let spans = Spans::recorded(&recording);
    let some = |what: &str, holds: &dyn Fn(&jaeger_test::Span) -> bool| {
        assert!(spans.iter().any(holds), "no span {what}");
    };
    for kind in 1..=5 {
        some("of a kind", &|span| span.kind == kind);
    }
    some("is without length", &|span| span.end == span.start + 1 && span.parent_span_id.is_empty());
    some("without length has a child without length", &|span| {
        span.end == span.start + 1
            && spans.iter().any(|s| s.span_id == span.parent_span_id && s.end == s.start + 1)
    });
    some("outlives its parent", &|span| {
        spans.iter().any(|s| s.span_id == span.parent_span_id && s.end < span.end)
    });
    some("failed with a reason", &|span| span.status.code == 2 && !span.status.message.is_empty());
    some("failed without one", &|span| span.status.code == 2 && span.status.message.is_empty());
    some("has many events", &|span| span.events.len() > 50);
    some("has events at one instant", &|span| span.events.windows(2).any(|two| two[0].time == two[1].time));
    some("links to many others", &|span| span.links.len() > 8);
    some("links to another node's", &|span| {
        span.links
            .iter()
            .any(|link| spans.iter().any(|s| s.span_id == link.span_id && s.resource != span.resource))
    });
    assert!(spans.iter().all(|span| span.links.iter().all(|link| link.trace_id != span.trace_id)));
    let has = |key: &str, value: &str| {
        some(&format!("has {key} = {value}"), &|span| {
            span.attributes.0.iter().any(|(k, v)| k == key && v.to_string() == value)
        });
    };
    has("int.least", "the integer -9223372036854775808");
    has("float.4", "the double 5e-324");
    has("float.7", "\"inf\"");
    has("no", "false");
    has("replaced", "\"the last value stands\"");
    has("sim.cut_short", "true");
    some("is on a clock that is wrong", &|span| {
        let of = |key: &str| span.attributes.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.to_string());
        of("sim.node_clock_ns") != of("sim.start_ns")
    });
}

#[test]
fn what_was_written_can_be_sent_later() {
    let Some(jaeger) = Jaeger::for_test() else { return };
    let case =
        Case::of(program(), &scenarios::catalogue()[0], scenarios::catalogue()[0].variants()[0].name, &[]);
    let out = TempDir::new().unwrap();
    let mut scenario = Command::new(program());
    scenario.args(["scenario", &case.lab, "--variant", &case.variant, "--seed", &SEED.to_string(), "--out"]);
    let output = scenario.arg(out.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let mut export = Command::new(program());
    let output =
        export.arg("export").arg(out.path()).args(["--to", &jaeger.http_endpoint()]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    case.check_jaeger(&jaeger, "told by Jaeger after `export`");
}
