//! How sure one may be of a share and of a mean: intervals that hold the true value in 95 of 100 sweeps.

use serde::Serialize;

/// A value with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Interval {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The 97.5 % quantile of the normal distribution.
const NORMAL: f64 = 1.959_964;
/// The 97.5 % quantiles of Student's t, for 1 to 30 degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// A share, with Wilson's interval (1927): right for shares near 0 and 1 too, and for few runs. Without runs: anything.
pub(crate) fn share(count: u64, of: u64) -> Interval {
    if of == 0 {
        return Interval { value: 0.0, low: 0.0, high: 1.0 };
    }
    let (n, p) = (of as f64, count as f64 / of as f64);
    let square = NORMAL * NORMAL;
    let middle = (p + square / (2.0 * n)) / (1.0 + square / n);
    let half = NORMAL / (1.0 + square / n) * (p * (1.0 - p) / n + square / (4.0 * n * n)).sqrt();
    // Exactly none and exactly all are possible: rounding must not say otherwise.
    let low = if count == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if count == of { 1.0 } else { (middle + half).min(1.0) };
    Interval { value: p, low, high }
}

/// A mean, with Student's interval. `None` without values; a single value has no width that anybody could know.
pub(crate) fn mean(values: &[f64]) -> Option<Interval> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let value = values.iter().sum::<f64>() / n as f64;
    if n == 1 {
        return Some(Interval { value, low: value, high: value });
    }
    let variance = values.iter().map(|x| (x - value) * (x - value)).sum::<f64>() / (n - 1) as f64;
    // Beyond the table 1.96 + 2.4 / degrees is right to three digits.
    let quantile = STUDENT.get(n - 2).copied().unwrap_or(NORMAL + 2.4 / (n - 1) as f64);
    let half = quantile * (variance / n as f64).sqrt();
    Some(Interval { value, low: value - half, high: value + half })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_wilsons_interval() {
        let near = |interval: Interval, low: f64, high: f64| {
            assert!((interval.low - low).abs() < 5e-4 && (interval.high - high).abs() < 5e-4, "{interval:?}");
        };
        // Known values: 0 of 10, 5 of 10, 10 of 10, 81 of 263.
        near(share(0, 10), 0.0, 0.2775);
        near(share(5, 10), 0.2366, 0.7634);
        near(share(10, 10), 0.7225, 1.0);
        near(share(81, 263), 0.2553, 0.3662);
        assert_eq!(share(0, 0), Interval { value: 0.0, low: 0.0, high: 1.0 });
    }

    #[test]
    fn a_mean_has_students_interval() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[3.0]), Some(Interval { value: 3.0, low: 3.0, high: 3.0 }));
        // Mean 3, deviation 1.5811, t(4) = 2.776: 3 plus or minus 1.963.
        let five = mean(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert!((five.low - 1.037).abs() < 1e-3 && (five.high - 4.963).abs() < 1e-3, "{five:?}");
        let many: Vec<f64> = (0..100).map(|n| f64::from(n % 2)).collect();
        let many = mean(&many).unwrap();
        // Deviation 0.50252, t(99) = 1.984: half a width of 0.0997.
        assert!((many.high - 0.5 - 0.0997).abs() < 1e-4, "{many:?}");
    }
}
