//! The judge: closed forms from textbooks. Tests compare with them; no model may use them.

/// Erlang B: the share of arrivals that find all `slots` taken when `load` Erlangs are offered and nobody waits
/// (Erlang 1917). By the recursion B(n) = a B(n-1) / (n + a B(n-1)).
pub fn erlang_b(slots: u32, load: f64) -> f64 {
    (1..=slots).fold(1.0, |blocked, n| load * blocked / (f64::from(n) + load * blocked))
}

/// Erlang C: the share of arrivals that wait for one of `servers` when `load` Erlangs are offered and all wait
/// (Erlang 1917).
pub fn erlang_c(servers: u32, load: f64) -> f64 {
    let blocked = erlang_b(servers, load);
    let idle = 1.0 - load / f64::from(servers);
    blocked / (idle + (1.0 - idle) * blocked)
}

/// The share of arrivals turned away by M/M/1 with room for `room` customers, the one in service included, at the ratio
/// `rho` of arrivals to service.
pub fn full(rho: f64, room: i32) -> f64 {
    if rho == 1.0 {
        1.0 / f64::from(room + 1)
    } else {
        (1.0 - rho) * rho.powi(room) / (1.0 - rho.powi(room + 1))
    }
}

/// Throughput and mean response time of one exponential server (mean 1) and `users` who think for `think` on average:
/// exact mean value analysis (Reiser and Lavenberg 1980).
pub fn machine_repairman(users: u32, think: f64) -> (f64, f64) {
    let (mut queue, mut throughput, mut response) = (0.0, 0.0, 1.0);
    for n in 1..=users {
        response = 1.0 + queue;
        throughput = f64::from(n) / (think + response);
        queue = throughput * response;
    }
    (throughput, response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 6e-6, "{a} is not {b}");
    }

    #[test]
    fn the_closed_forms_give_the_tables_figures() {
        near(erlang_b(10, 5.0), 0.018_385);
        near(erlang_b(100, 90.0), 0.026_957);
        near(erlang_c(2, 1.6), 0.711_111);
        near(erlang_c(10, 8.0), 0.409_180);
        near(full(1.0, 10), 1.0 / 11.0);
        near(full(0.8, 10), 0.023_493);
        near(machine_repairman(10, 9.0).0, 0.832_037);
        near(machine_repairman(1, 9.0).1, 1.0);
    }
}
