//! Many servers, pools and full houses: Erlang's formulas (1917), on which telephone exchanges, thread pools and bulkheads
//! are sized alike.

use fidelity::{
    gate::{
        Outcome,
        Tolerance::{Absolute, Relative},
        four_standard_errors,
    },
    law::Law,
    pool::{Pool, PoolRun},
    run::over_seeds,
    station::{Station, StationRun},
    tally::Window,
    theory::{erlang_b, erlang_c, full},
};

/// Both figures of M/M/c: the share that waits is C(c, a), the mean wait C / (c - a).
fn erlang_wait(cores: u32, rho: f64, seeds: u64, window: Window) {
    let load = rho * f64::from(cores);
    let station = Station::markov(load, window).cores(cores);
    let runs = over_seeds(seeds, |seed| {
        let run = station.run(seed);
        (run.share_waiting(), run.wait.mean())
    });
    let waiting = erlang_c(cores, load);
    let own: Vec<f64> = runs.iter().map(|r| r.0).collect();
    let what = format!("Q3 share that waits, {cores} cores at {rho}");
    four_standard_errors(&what, waiting, Relative(0.03), &own).holds();
    let own: Vec<f64> = runs.iter().map(|r| r.1).collect();
    let what = format!("Q3 mean wait, {cores} cores at {rho}");
    four_standard_errors(&what, waiting / (f64::from(cores) - load), Relative(0.03), &own).holds();
}

#[test]
fn q3_m_m_c_with_2_cores() {
    erlang_wait(2, 0.8, 40, Window::new(1e3, 6e4));
}
#[test]
fn q3_m_m_c_with_10_cores() {
    erlang_wait(10, 0.8, 40, Window::new(200.0, 2.2e4));
    erlang_wait(10, 0.9, 40, Window::new(500.0, 6e4));
}
#[test]
fn q3_m_m_c_with_100_cores() {
    erlang_wait(100, 0.95, 40, Window::new(100.0, 3.2e4));
}

// Ten servers with a queue each, picked at random, are ten times M/M/1 and not M/M/10: customers wait although a
// server is free. Each of the ten is a node of rate 0.8; that is the same as one such node ten times over.
#[test]
fn q3_rejects_a_queue_for_each_server() {
    let station = Station::markov(0.8, Window::new(2e3, 2e4));
    let own = over_seeds(20, |seed| station.run(seed).wait.mean());
    let theory = erlang_c(10, 8.0) / 2.0;
    four_standard_errors("Q3 mean wait, a queue each", theory, Relative(0.03), &own).is_rejected();
}

fn loss(slots: usize, load: f64, hold: Law, window: Window) -> Vec<f64> {
    let pool = Pool { slots, arrivals: Law::exponential(1.0 / load), hold, queue: false, window };
    over_seeds(20, |seed| pool.run(seed).share_refused())
}

fn erlang_loss(slots: u32, load: f64, length: f64) -> Outcome {
    let own = loss(slots as usize, load, Law::exponential(1.0), Window::new(100.0, length));
    let what = format!("Q8 blocked share, {load} Erlangs on {slots} slots");
    four_standard_errors(&what, erlang_b(slots, load), Relative(0.02), &own)
}

#[test]
fn q8_a_pool_without_a_queue_blocks_as_erlang_b_says() {
    erlang_loss(10, 5.0, 1.5e5).holds();
    erlang_loss(10, 10.0, 1.2e4).holds();
    erlang_loss(50, 40.0, 2.5e4).holds();
    erlang_loss(100, 90.0, 1.2e4).holds();
}

#[test]
fn q8_rejects_a_slot_too_many() {
    let own = loss(11, 5.0, Law::exponential(1.0), Window::new(100.0, 2e4));
    four_standard_errors("Q8 blocked share, 11 slots", erlang_b(10, 5.0), Relative(0.02), &own).is_rejected();
}

// Erlang's loss formula holds for any law of holding times of the same mean (Sevastyanov 1957). The three runs of a seed
// have the same arrivals.
#[test]
fn q9_the_blocked_share_depends_on_the_mean_holding_time_alone() {
    let window = Window::new(100.0, 1.5e5);
    let theory = erlang_b(10, 5.0);
    let laws = [
        ("constant", Law::one_second()),
        ("exponential", Law::exponential(1.0)),
        ("hyperexponential, c^2 = 9", Law::hyperexponential(1.0, 9.0)),
    ];
    let runs: Vec<(&str, Vec<f64>)> =
        laws.map(|(name, law)| (name, loss(10, 5.0, law, window))).into_iter().collect();
    for (name, own) in &runs {
        let what = format!("Q9 blocked share, {name}");
        four_standard_errors(&what, theory, Relative(0.025), own).holds();
    }
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let differences: Vec<f64> = runs[a].1.iter().zip(&runs[b].1).map(|(x, y)| x - y).collect();
        let what = format!("Q9 difference, {} and {}", runs[a].0, runs[b].0);
        four_standard_errors(&what, 0.0, Absolute(0.03 * theory), &differences).holds();
    }
}

// Ten connections, held for 100 ms, 80 requests a second: a = 8. The wait is not a part of the hold.
#[test]
fn q10_the_wait_for_a_connection_is_erlang_c() {
    let pool = Pool {
        slots: 10,
        arrivals: Law::exponential(1.0 / 80.0),
        hold: Law::exponential(0.1),
        queue: true,
        window: Window::new(20.0, 4.5e3),
    };
    let runs = over_seeds(40, |seed| pool.run(seed));
    let waiting = erlang_c(10, 8.0);
    let own: Vec<f64> = runs.iter().map(PoolRun::share_waiting).collect();
    four_standard_errors("Q10 share that waits", waiting, Relative(0.03), &own).holds();
    let own: Vec<f64> = runs.iter().map(|r| r.wait.mean() * 1e3).collect();
    four_standard_errors("Q10 mean wait in ms", waiting * 100.0 / 2.0, Relative(0.03), &own).holds();
}

const LENGTH: f64 = 1.2e5;

fn bounded(rho: f64, room: usize) -> Vec<StationRun> {
    let station = Station::markov(rho, Window::new(1e3, LENGTH)).room(room);
    over_seeds(20, |seed| station.run(seed))
}

// M/M/1/10, the one in service included: (1 - r) r^K / (1 - r^(K + 1)) are turned away, the rest is served. The tolerance
// is a hundredth of all arrivals and a tenth of those turned away.
#[test]
fn q11_a_full_house_turns_away_as_many_as_m_m_1_k() {
    for rho in [0.8, 0.95, 1.0, 1.2, 2.0] {
        let runs = bounded(rho, 10);
        let theory = full(rho, 10);
        let own: Vec<f64> = runs.iter().map(StationRun::share_refused).collect();
        let tolerance = Absolute((0.1 * theory).min(0.01));
        four_standard_errors(&format!("Q11 refused at {rho}"), theory, tolerance, &own).holds();
        let own: Vec<f64> = runs.iter().map(|r| r.sojourn.count as f64 / LENGTH).collect();
        four_standard_errors(&format!("Q11 goodput at {rho}"), rho * (1.0 - theory), Absolute(0.01), &own)
            .holds();
    }
}

// At load 1 a house of 10 turns away 1/11 and one of 11 turns away 1/12: who counts the one in service apart is seen.
#[test]
fn q11_rejects_room_for_one_more() {
    let own: Vec<f64> = bounded(1.0, 11).iter().map(StationRun::share_refused).collect();
    four_standard_errors("Q11 refused, room for 11", full(1.0, 10), Absolute(0.01), &own).is_rejected();
}
