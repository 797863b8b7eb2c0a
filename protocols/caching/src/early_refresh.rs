//! Refreshing early: each reader of a cached value throws a die, and whoever loses renews it before its time is over.
//!
//! Long before the expiry the die says "renew" almost never, shortly before it almost always. The more readers there are,
//! the earlier one of them is hit, so a value that is read often is renewed by one or a few readers while all others still
//! find it. The readers need not know of each other.
//!
//! The rule is XFetch (Vattani, Chierichetti, Lowenstein: "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015):
//! with `delta` for what a renewal costs and `u` uniform in (0, 1], renew when `now - delta * beta * ln(u) >= expiry`. The
//! chance of that is `e^(-left / (delta * beta))`, `left` being the time to the expiry.

use sim_core::{math, time::Duration};

/// See the module.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EarlyRefresh {
    beta: f64,
}

impl Default for EarlyRefresh {
    /// With a beta of 1.
    fn default() -> Self {
        Self { beta: 1.0 }
    }
}

impl EarlyRefresh {
    /// How eagerly: 1 is right for most, more refreshes earlier. What is no number, or negative, becomes 0: never early.
    pub fn new(beta: f64) -> Self {
        Self { beta: if beta > 0.0 { beta } else { 0.0 } }
    }
    /// How long before the expiry this throw of the die refreshes: `-cost * beta * ln(u)`, an exponential number whose mean
    /// is `cost * beta`. `cost` is how long it took to make the value. `u` is one draw from [0, 1), as random streams give
    /// it; the rule uses `1 - u`, so that the logarithm is always finite. Whatever lies outside is taken as the nearest end.
    pub fn earliness(self, cost: Duration, u: f64) -> Duration {
        let u = if u > 0.0 { u } else { 0.0 };
        // The largest double below 1: a draw of exactly 1 would be an infinite earliness.
        let u = u.min(1.0 - f64::EPSILON / 2.0);
        cost.mul_f64(-self.beta * math::ln_1p(-u))
    }
    /// Whether a reader who finds a value with that much time left refreshes it now. With no time left it always does.
    pub fn is_due(self, left: Duration, cost: Duration, u: f64) -> bool {
        left.is_zero() || self.earliness(cost, u) >= left
    }
}

#[cfg(test)]
mod tests {
    use sim_core::{
        rng::Rng,
        time::{ms, secs},
    };

    use super::*;

    #[test]
    fn the_earliness_is_the_papers_formula() {
        let policy = EarlyRefresh::default();
        assert_eq!(policy.earliness(ms(100), 0.0), Duration::ZERO);
        // -100 ms x ln(1 - 0.5) = 69.3147 ms
        assert_eq!(policy.earliness(ms(100), 0.5).as_nanos() / 1_000, 69_314);
        assert_eq!(EarlyRefresh::new(2.0).earliness(ms(100), 0.5).as_nanos() / 1_000, 138_629);
    }

    #[test]
    fn what_has_expired_is_due_and_what_cost_nothing_is_not_early() {
        let policy = EarlyRefresh::default();
        assert!(policy.is_due(Duration::ZERO, Duration::ZERO, 0.0));
        assert!(!policy.is_due(ms(1), Duration::ZERO, 0.999));
        assert!(!EarlyRefresh::new(0.0).is_due(ms(1), secs(9), 0.999));
    }

    #[test]
    fn no_draw_and_no_beta_gives_nonsense() {
        let longest = EarlyRefresh::default().earliness(ms(1), 1.0);
        assert_eq!(longest.as_nanos() / 1_000, 36_736); // 53 ln 2 = 36.7368: the last bit of a double
        for u in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            assert_eq!(EarlyRefresh::default().earliness(ms(1), u), Duration::ZERO);
        }
        assert_eq!(EarlyRefresh::default().earliness(ms(1), f64::INFINITY), longest);
        for beta in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            assert_eq!(EarlyRefresh::new(beta), EarlyRefresh::new(0.0));
        }
        assert_eq!(EarlyRefresh::new(f64::INFINITY).earliness(ms(1), 0.5), Duration::MAX);
    }

    #[test]
    fn the_chance_falls_by_e_with_each_cost_that_is_left() {
        let (mut rng, policy, draws) = (Rng::seeded(1), EarlyRefresh::new(2.0), 40_000);
        for costs in [0.5, 1.0, 3.0, 6.0] {
            let left = ms(50).mul_f64(costs);
            let due = (0..draws).filter(|_| policy.is_due(left, ms(50), rng.unit())).count();
            let chance = math::exp(-costs / 2.0);
            // Four standard errors of a share.
            let error = 4.0 * (chance * (1.0 - chance) / f64::from(draws)).sqrt();
            assert!((due as f64 / f64::from(draws) - chance).abs() < error, "{costs}: {due}");
        }
    }

    /// Readers come at a steady `rate`; each that is due starts a renewal, which the others see `cost` later. The paper's
    /// promise, and what it does not promise: not one renewal per cycle but e^(1/beta) on average, and first of them on
    /// average `beta * cost * (ln(rate * beta * cost) + 0.5772)` before the expiry (0.5772 is Euler's constant).
    #[test]
    fn a_cycle_costs_e_to_the_one_over_beta_renewals_and_begins_as_early_as_the_readers_are_many() {
        let mut rng = Rng::seeded(2);
        let (cost, ttl, gap, cycles) = (ms(100), secs(4), ms(1), 2_000);
        for beta in [1.0, 2.0] {
            let policy = EarlyRefresh::new(beta);
            let (mut renewals, mut earliness) = (0_u32, 0.0);
            for _ in 0..cycles {
                let mut left = ttl;
                let mut first: Option<Duration> = None;
                while first.is_none_or(|first| first.saturating_sub(left) < cost) && !left.is_zero() {
                    if policy.is_due(left, cost, rng.unit()) {
                        renewals += 1;
                        earliness += if first.is_none() { left.as_secs_f64() } else { 0.0 };
                        first = first.or(Some(left));
                    }
                    left = left.saturating_sub(gap);
                }
            }
            let (mean, n) = (f64::from(renewals) / f64::from(cycles), f64::from(cycles));
            // 1 plus a geometric number of mean m = e^(1/beta) - 1, whose variance is m + m^2.
            let m = math::exp(1.0 / beta) - 1.0;
            assert!((mean - 1.0 - m).abs() < 4.0 * ((m + m * m) / n).sqrt(), "{mean}");
            // -ln of an exponential number (Gumbel) has the deviation pi / sqrt(6) = 1.2825.
            let scale = beta * cost.as_secs_f64();
            let expected = scale * (math::ln(scale * 1_000.0) + 0.5772);
            let error = (earliness / n - expected).abs();
            // A reader comes every millisecond and not at the very moment: half of one is lost.
            assert!(error < 4.0 * 1.2825 * scale / n.sqrt() + 0.0005, "{error}");
        }
    }
}
