//! Random trouble: crashes, power failures, isolations, slow links and drifting clocks, drawn for a seed.

use sim_core::{
    fault::{Fault, FaultKind, FaultPlan, Partition},
    math,
    net::Link,
    rng::{Delay, Rng},
    time::{Duration, ms, secs, us},
};

/// What a storm is made of.
#[derive(Clone, Copy)]
pub struct Weather {
    pub crashes: bool,
    pub isolations: bool,
    /// In parts in a million.
    pub drift: f64,
    pub faults_max: f64,
    /// No fault begins or lasts beyond this.
    pub until: Duration,
}

impl Weather {
    pub const ALL: Self =
        Self { crashes: true, isolations: true, drift: 0.0, faults_max: 40.0, until: secs(5) };
}

/// A number between two others, each order of magnitude equally likely.
pub fn log_uniform(rng: &mut Rng, from: f64, to: f64) -> f64 {
    let (low, high) = (math::ln(from), math::ln(to));
    math::exp(low + (high - low) * rng.unit())
}

fn seconds(rng: &mut Rng, from: f64, to: f64) -> Duration {
    Duration::from_secs_f64(log_uniform(rng, from, to))
}

/// Faults on servers `server-0` to `server-(n-1)`.
pub fn faults(seed: u64, servers: u32, weather: Weather) -> FaultPlan {
    let mut rng = Rng::seeded(seed).fork("storm");
    let mut plan = FaultPlan::none();
    let count = log_uniform(&mut rng, 1.0, weather.faults_max) as u64;
    for number in 0..count {
        let at = us(rng.below(weather.until.as_nanos() / 1_000));
        let last = weather.until.saturating_sub(at).max(ms(1));
        let lasting = seconds(&mut rng, 0.001, 2.0).min(last);
        let on = format!("server-{}", rng.below(u64::from(servers)));
        let isolates = weather.isolations && (!weather.crashes || rng.chance(0.5));
        let what: FaultKind = match isolates {
            true => Partition::Isolate.into(),
            false if rng.chance(0.5) => FaultKind::Crash,
            false => FaultKind::PowerFailure,
        };
        plan.push(Fault::at(at, format!("fault {number}"), what).on(on).lasting(lasting));
    }
    if weather.drift > 0.0 {
        for server in 0..servers {
            let drift = (rng.unit() * 2.0 - 1.0) * weather.drift;
            let fault = Fault::at(Duration::ZERO, format!("drift {server}"), FaultKind::ClockDrift(drift));
            plan.push(fault.on(format!("server-{server}")));
        }
    }
    plan
}

/// A link with delays between half and one and a half of something from 0.5 to 50 ms, and a little loss and duplication.
pub fn link(seed: u64) -> Link {
    let mut rng = Rng::seeded(seed).fork("link");
    let mean = seconds(&mut rng, 0.000_5, 0.05);
    let (loss, duplication) = (rng.unit() * 0.05, rng.unit() * 0.05);
    Link::new(Delay::uniform(mean / 2, mean + mean / 2)).loss(loss).duplication(duplication)
}
