//! Users who wait for their answer before they ask again: exact mean value analysis (Reiser and Lavenberg 1980) of the
//! machine repairman. Each thinks for 9 seconds on average, the server needs 1.

use fidelity::{
    closed_loop::{ClosedLoop, ClosedLoopRun},
    gate::{Tolerance::Relative, four_standard_errors},
    law::Law,
    run::over_seeds,
    station::Station,
    tally::Window,
    theory::machine_repairman,
};

fn users(users: usize, window: Window) -> Vec<ClosedLoopRun> {
    let model =
        ClosedLoop { users, think: Law::exponential(9.0), service: Law::exponential(1.0), window };
    over_seeds(40, |seed| model.run(seed))
}

#[test]
fn q13_throughput_and_response_of_a_closed_loop() {
    for (count, length) in [(1, 1e5), (5, 2.5e4), (10, 2e4), (20, 2.5e4), (50, 1.5e4)] {
        let window = Window::new(2e3, length);
        let runs = users(count, window);
        let (throughput, response) = machine_repairman(count as u32, 9.0);
        let own: Vec<f64> = runs.iter().map(|r| r.throughput(window)).collect();
        four_standard_errors(&format!("Q13 throughput, {count} users"), throughput, Relative(0.01), &own).holds();
        let own: Vec<f64> = runs.iter().map(ClosedLoopRun::response).collect();
        four_standard_errors(&format!("Q13 response, {count} users"), response, Relative(0.01), &own).holds();
        // Each user either thinks or waits, at every moment: the users counted the thinking, the machine the waiting.
        for (index, run) in runs.iter().enumerate() {
            let all = u128::from(window.nanos()) * count as u128;
            assert_eq!(run.thinking.area() + run.asking.area(), all, "{count} users, seed {}", index + 1);
            let law = count as f64 / run.throughput(window) - run.thought();
            assert!((run.response() - law).abs() < 1e-9 * law.max(count as f64), "R = N / X - Z: {law}");
        }
        println!("  Pass  Q13 R = N/X - Z, {count} users: exact in 40 of 40 runs");
    }
}

// Ten users bring the server to a load of 0.832, and wait 3.02 seconds. Customers who come on their own clock at that rate
// wait 5.95: a closed loop says nothing about them.
#[test]
fn q13_rejects_open_arrivals_of_the_same_rate() {
    let (throughput, response) = machine_repairman(10, 9.0);
    let station = Station::markov(throughput, Window::new(2e3, 2e4));
    let own = over_seeds(20, |seed| station.run(seed).sojourn.mean());
    four_standard_errors("Q13 response, open arrivals", response, Relative(0.01), &own).is_rejected();
}
