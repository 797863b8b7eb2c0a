//! How fast the checkers judge: histories of 10,000 operations by 10 clients, a twentieth of them of unknown outcome, over
//! 100, 10 and 1 keys, valid and with one flipped read. `cargo bench -p sim-core --bench check`.
//!
//! The operations are Jepsen's for a register with compare-and-set: reads, writes and compare-and-sets of five values, which
//! is harder than unique values, since a read may have many explanations. A history is made by a real register: each
//! operation takes effect at a random instant between its invocation and its end; of two operations whose outcome nobody
//! knows one took effect, some of them long after its client gave up. A flipped read gives another one of the five values.
//!
//! Before the timings a count is printed: of 20 histories of each kind, how many were ok, violated, and unknown.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the wall clock; the checkers that it measures do not"
)]

use std::time::{Duration as Wall, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::{Value as Json, json};
use sim_core::{
    check::{Budget, History, HistoryBuilder, OperationId, Report, linearizable, models::Register},
    time::{SimTime, us},
};

const OPERATIONS: usize = 10_000;
const CLIENTS: usize = 10;
const VALUES: u64 = 5;

/// SplitMix64: enough for a workload, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

enum Event {
    Invoke(usize),
    /// Takes effect.
    Effect(usize),
    End(usize),
}

struct Asked {
    client: usize,
    key: usize,
    function: &'static str,
    from: u64,
    to: u64,
    unknown: bool,
    output: Option<Json>,
}

/// A history, with one read flipped where wanted.
fn history(keys: usize, seed: u64, flipped: bool) -> History {
    let mut chance = Chance(seed);
    let mut asked: Vec<Asked> = Vec::with_capacity(OPERATIONS);
    let mut events: Vec<(u64, Event)> = Vec::with_capacity(3 * OPERATIONS);
    let mut free_at = [0_u64; CLIENTS];
    for index in 0..OPERATIONS {
        let client = index % CLIENTS;
        let function = ["read", "write", "cas"][chance.below(3) as usize];
        let unknown = chance.below(20) == 0;
        let from = free_at[client] + 1 + chance.below(200);
        let length = 1 + chance.below(1000);
        let end = from + if unknown { 5000 } else { length };
        free_at[client] = end;
        let key = chance.below(keys as u64) as usize;
        asked.push(Asked {
            client,
            key,
            function,
            from: chance.below(VALUES),
            to: chance.below(VALUES),
            unknown,
            output: None,
        });
        events.push((from, Event::Invoke(index)));
        events.push((end, Event::End(index)));
        if !unknown {
            events.push((from + chance.below(length + 1), Event::Effect(index)));
        } else if chance.below(2) == 0 {
            events.push((from + chance.below(20_000), Event::Effect(index)));
        }
    }
    // At one instant invocations come first, then effects, then ends.
    let rank = |event: &Event| match event {
        Event::Invoke(_) => 0,
        Event::Effect(_) => 1,
        Event::End(_) => 2,
    };
    events.sort_by_key(|(at, event)| (*at, rank(event)));
    let mut values = vec![Json::Null; keys];
    let mut builder = HistoryBuilder::new();
    let mut ids: Vec<Option<OperationId>> = vec![None; OPERATIONS];
    let mut known_reads: Vec<usize> =
        (0..OPERATIONS).filter(|i| asked[*i].function == "read" && !asked[*i].unknown).collect();
    let flip = if flipped {
        // In the middle, where the past is long and the future too.
        let middle = known_reads.len() / 4 + chance.below(known_reads.len() as u64 / 2) as usize;
        Some(known_reads.swap_remove(middle))
    } else {
        None
    };
    for (at, event) in events {
        let at = SimTime::ZERO + us(at);
        match event {
            Event::Invoke(index) => {
                let one = &asked[index];
                let input = match one.function {
                    "read" => Json::Null,
                    "write" => json!(one.to),
                    _ => json!([one.from, one.to]),
                };
                let client = format!("client-{}", one.client);
                ids[index] = Some(builder.invoke(&client, at, one.function, &one.key.to_string(), input));
            }
            Event::Effect(index) => {
                let one = &mut asked[index];
                let value = &mut values[one.key];
                one.output = Some(match one.function {
                    "read" => value.clone(),
                    "write" => {
                        *value = json!(one.to);
                        Json::Null
                    }
                    _ => {
                        let finds = *value == json!(one.from);
                        if finds {
                            *value = json!(one.to);
                        }
                        json!(finds)
                    }
                });
            }
            Event::End(index) => {
                let one = &asked[index];
                let id = ids[index].expect("it was invoked");
                match &one.output {
                    Some(output) if !one.unknown && flip == Some(index) => {
                        let value = output.as_u64().map_or(0, |value| (value + 1) % VALUES);
                        builder.ok(id, at, value);
                    }
                    Some(output) if !one.unknown => builder.ok(id, at, output.clone()),
                    _ => builder.unknown(id, at, "timeout"),
                }
            }
        }
    }
    builder.build()
}

fn judge(history: &History) -> Report {
    linearizable(history, &Register::with_cas(), Budget::default())
}

fn verdicts(c: &mut Criterion) {
    println!("budget {} configurations; 20 histories each", Budget::default().0);
    println!("keys  flipped   ok  violated  unknown  slowest ms  configurations: most  witness: most");
    for keys in [100, 10, 1] {
        for flipped in [false, true] {
            let (mut ok, mut violated, mut unknown) = (0, 0, 0);
            let (mut slowest, mut examined, mut witness) = (Wall::ZERO, 0, 0);
            for seed in 0..20 {
                let history = history(keys, seed, flipped);
                let start = Instant::now();
                let report = judge(&history);
                slowest = slowest.max(start.elapsed());
                examined = examined.max(report.examined);
                witness = witness.max(report.witness().map_or(0, |witness| witness.operations.len()));
                ok += u32::from(report.is_ok());
                violated += u32::from(report.is_violated());
                unknown += u32::from(report.is_unknown());
                assert!(flipped || !report.is_violated(), "{report}");
            }
            println!(
                "{keys:4}  {:7}  {ok:3}  {violated:8}  {unknown:7}  {:10.0}  {examined:20}  {witness:13}",
                if flipped { "one" } else { "none" },
                slowest.as_secs_f64() * 1e3
            );
        }
    }
    let mut group = c.benchmark_group("linearizable");
    group.sample_size(10);
    if std::env::var_os("X").is_some() {
        return;
    }
    for keys in [100, 10] {
        for flipped in [false, true] {
            let history = history(keys, 1, flipped);
            let name = format!("{keys} keys, {}", if flipped { "one read flipped" } else { "valid" });
            group.bench_with_input(BenchmarkId::from_parameter(name), &history, |b, history| {
                b.iter(|| judge(history));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
