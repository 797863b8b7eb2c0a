//! The laws of times between arrivals, of service and of holding: what queueing theory writes as M, D, E and H.

use sim_core::{
    rng::{Delay, Rng},
    time::{Duration, secs},
};

/// A law of positive times.
#[derive(Clone, Debug)]
pub enum Law {
    /// One of the simulator's own distributions.
    Plain(Delay),
    /// The sum of so many exponential stages of this mean (E): more even than exponential, c^2 = 1 / stages.
    Stages(u32, Delay),
    /// The first with this chance, else the second (H, and mixes of short and long jobs).
    Mixture(f64, Delay, Delay),
}

impl Law {
    /// Exponential of that mean in seconds (M).
    pub fn exponential(mean: f64) -> Self {
        Self::Plain(Delay::exponential(Duration::from_secs_f64(mean)))
    }
    /// Always one second (D).
    pub fn one_second() -> Self {
        Self::Plain(Delay::constant(secs(1)))
    }
    /// Erlang: a sum of `stages` exponentials, of that mean in all, in seconds (E).
    pub fn erlang(stages: u32, mean: f64) -> Self {
        Self::Stages(stages, Delay::exponential(Duration::from_secs_f64(mean / f64::from(stages))))
    }
    /// A mixture of two exponentials with that mean (in seconds) and squared coefficient of variation (more than 1), of
    /// which each brings half of the total time (H with balanced means).
    pub fn hyperexponential(mean: f64, c_squared: f64) -> Self {
        let share = 0.5 * (1.0 + ((c_squared - 1.0) / (c_squared + 1.0)).sqrt());
        let branch = |p: f64| Delay::exponential(Duration::from_secs_f64(mean / (2.0 * p)));
        Self::Mixture(share, branch(share), branch(1.0 - share))
    }
    /// One value.
    #[inline]
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        match self {
            Self::Plain(delay) => rng.duration(delay),
            Self::Stages(stages, stage) => {
                (0..*stages).fold(Duration::ZERO, |sum, _| sum + rng.duration(stage))
            }
            Self::Mixture(share, first, second) => {
                let first_one = rng.chance(*share);
                rng.duration(if first_one { first } else { second })
            }
        }
    }
}
