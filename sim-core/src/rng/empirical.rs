//! A distribution given by points: "half of the requests took at most 4 ms, 99 of 100 at most 30 ms".

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Quantity;

/// A distribution measured somewhere: pairs of a probability and the value that is not exceeded with it, with straight
/// lines between them.
///
/// The first point stands at probability 0 (the least value) and the last at 1 (the greatest): nothing is made up beyond
/// what was measured. Probabilities rise, values never fall; a step between two equal values is a share that is constant.
/// In text it is a list, `[[0.0, "1ms"], [0.5, "4ms"], [0.99, "30ms"], [1.0, "80ms"]]`. A clone shares the points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f64, T)>", into = "Vec<(f64, T)>", bound = "T: Quantity")]
pub struct Empirical<T: Quantity> {
    points: Arc<[(f64, T)]>,
}

impl<T: Quantity> Empirical<T> {
    /// From its points, in order.
    ///
    /// # Errors
    /// Says what is wrong with the points and what is allowed.
    pub fn new(points: impl Into<Arc<[(f64, T)]>>) -> Result<Self, String> {
        let points = points.into();
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return Err("an empirical distribution needs points: [probability, value] from 0 to 1".to_owned());
        };
        if first.0 != 0.0 || last.0 != 1.0 {
            return Err(format!(
                "an empirical distribution goes from probability 0 (the least value) to 1 (the greatest), not from {} \
                 to {}",
                first.0, last.0
            ));
        }
        if let Some((_, value)) = points.iter().find(|(_, value)| !value.to_f64().is_finite()) {
            return Err(format!("a value of an empirical distribution must be finite, not {value}"));
        }
        for pair in points.windows(2) {
            let [(p, low), (q, high)] = pair else { continue };
            // Written so that a probability which is not a number is refused too.
            if p.partial_cmp(q) != Some(std::cmp::Ordering::Less) {
                return Err(format!(
                    "probabilities of an empirical distribution must rise, but {q} follows {p}"
                ));
            }
            if low > high {
                return Err(format!(
                    "values of an empirical distribution must not fall, but {high} follows {low}"
                ));
            }
        }
        Ok(Self { points })
    }

    /// The points, from probability 0 to 1.
    pub fn points(&self) -> &[(f64, T)] {
        &self.points
    }

    /// The value at a probability in 0..=1.
    pub(super) fn at(&self, p: f64) -> T {
        // The first point beyond `p`; there is one before it, because the first stands at 0.
        let next = self.points.partition_point(|point| point.0 <= p);
        match (self.points.get(next.wrapping_sub(1)), self.points.get(next)) {
            (Some(&(low, a)), Some(&(high, b))) => {
                let (a, b) = (a.to_f64(), b.to_f64());
                T::from_f64((a + (p - low) / (high - low) * (b - a)).min(b))
            }
            (Some(&(_, last)), None) => last,
            (None, _) => self.points[0].1,
        }
    }

    /// The mean: each straight line's middle, weighted with its share.
    pub(super) fn mean(&self) -> f64 {
        let middle = |pair: &[(f64, T)]| 0.5 * pair[0].1.to_f64() + 0.5 * pair[1].1.to_f64();
        self.points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * middle(pair)).sum()
    }
}

impl<T: Quantity> TryFrom<Vec<(f64, T)>> for Empirical<T> {
    type Error = String;
    fn try_from(points: Vec<(f64, T)>) -> Result<Self, String> {
        Self::new(points)
    }
}
impl<T: Quantity> From<Empirical<T>> for Vec<(f64, T)> {
    fn from(empirical: Empirical<T>) -> Self {
        empirical.points.to_vec()
    }
}
