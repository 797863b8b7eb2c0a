//! What the distributions promise: moments, quantiles, text, and the same bits everywhere.

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::{
    rng::{Rng, square},
    time::{ms, ns, secs, us},
};

/// A word whose unit is exactly `p` rounded down to 2^-53.
fn word_at(p: f64) -> u64 {
    ((p * 9_007_199_254_740_992.0) as u64) << 11
}

/// One distribution of every family over numbers, with its mean and variance from the textbook's closed form.
fn families() -> Vec<(Distribution, f64, f64)> {
    let empirical = Distribution::empirical(&[(0.0, 1.0), (0.5, 3.0), (0.75, 3.0), (1.0, 11.0)]).unwrap();
    vec![
        (Distribution::uniform(2.0, 8.0), 5.0, 3.0),
        (Distribution::normal(20.0, 4.0), 20.0, 16.0),
        // Mean m exp(s^2/2); variance m^2 exp(s^2) (exp(s^2) - 1) for m = 10, s = 0.5.
        (Distribution::lognormal(10.0, 0.5), 11.331_484_530_668_263, 36.469_585_401_238_67),
        (Distribution::exponential(10.0), 10.0, 100.0),
        // Mean a/(a-1); variance a/((a-1)^2 (a-2)) for a = 5.
        (Distribution::pareto(1.0, 5.0), 1.25, 5.0 / 48.0),
        // Pieces of share 1/2, 1/4, 1/4 with means 2, 3, 7 and variances 4/12, 0, 64/12.
        (empirical, 3.5, 0.5 * (4.0 / 12.0 + 2.25) + 0.25 * 0.25 + 0.25 * (64.0 / 12.0 + 12.25)),
        (Distribution::exponential(2.0).plus(3.0), 5.0, 4.0),
    ]
}

#[test]
fn the_mean_is_the_closed_form_and_samples_have_it_and_the_variance() {
    let n = 200_000_u32;
    for (distribution, mean, variance) in families() {
        assert!((distribution.mean().unwrap() - mean).abs() < 1e-14 * mean, "{distribution}");
        for seed in [1, 2, 3] {
            let mut rng = Rng::seeded(seed);
            let values: Vec<f64> = (0..n).map(|_| rng.sample(&distribution)).collect();
            let n = f64::from(n);
            let got = values.iter().sum::<f64>() / n;
            let standard_error = (variance / n).sqrt();
            // The error is at most 1 % of the mean, so that passing means something.
            assert!(4.0 * standard_error < 0.01 * mean, "{distribution}: too few samples");
            assert!((got - mean).abs() <= 4.0 * standard_error, "{distribution}: mean {got}, not {mean}");

            let squares: Vec<f64> = values.iter().map(|x| square(x - mean)).collect();
            let spread = squares.iter().sum::<f64>() / n;
            let standard_error = (squares.iter().map(|s| square(s - spread)).sum::<f64>() / n / n).sqrt();
            assert!((spread - variance).abs() <= 4.0 * standard_error, "{distribution}: variance {spread}");
            assert!(4.0 * standard_error < 0.15 * variance, "{distribution}: too few samples");
        }
    }
}

#[test]
fn the_share_of_samples_below_a_quantile_is_its_probability() {
    let n = 100_000_u32;
    // A Pareto without a mean has quantiles all the same.
    let all = families().into_iter().map(|family| family.0).chain([Distribution::pareto(1.0, 0.8)]);
    for distribution in all {
        for p in [0.01, 0.1, 0.5, 0.9, 0.99, 0.999] {
            let limit = distribution.quantile(p);
            let mut rng = Rng::seeded(6);
            let share = (0..n).filter(|_| rng.sample(&distribution) < limit).count() as f64 / f64::from(n);
            let standard_error = (p * (1.0 - p) / f64::from(n)).sqrt();
            // Between 0.5 and 0.75 the empirical one is constant, and no share of that lies below it.
            assert!((share - p).abs() <= 4.0 * standard_error, "{distribution}: {share} below quantile {p}");
        }
    }
}

#[test]
fn quantiles_agree_with_forty_digit_arithmetic() {
    let empirical = Distribution::empirical(&[(0.0, 1.0), (0.5, 3.0), (0.75, 3.0), (1.0, 11.0)]).unwrap();
    for (distribution, expected) in [
        (Distribution::constant(4.0), [4.0, 4.0, 4.0]),
        (Distribution::uniform(2.0, 8.0), [2.06, 5.0, 7.94]),
        (Distribution::normal(20.0, 4.0), [10.694_608_503_836_635, 20.0, 29.305_391_496_163_363]),
        (Distribution::lognormal(10.0, 0.5), [3.124_927_728_289_663_3, 10.0, 32.000_740_079_429_62]),
        (
            Distribution::exponential(10.0),
            [0.100_503_358_535_014_41, 6.931_471_805_599_453, 46.051_701_859_880_91],
        ),
        (
            Distribution::pareto(1.0, 2.5),
            [1.004_028_225_920_907_5, 1.319_507_910_772_894_2, 6.309_573_444_801_93],
        ),
        (empirical, [1.04, 3.0, 10.68]),
        (Distribution::uniform(0.0, 1.0).plus(5.0), [5.01, 5.5, 5.99]),
    ] {
        for (p, expected) in [0.01, 0.5, 0.99].into_iter().zip(expected) {
            let got = distribution.quantile(p);
            // At 0.99 the rounding of 1 - p is magnified a hundredfold.
            assert!(
                (got - expected).abs() <= 3e-15 * expected,
                "{distribution} at {p}: {got:?}, not {expected:?}"
            );
        }
    }
}

#[test]
fn delays_are_the_same_distributions_in_whole_nanoseconds() {
    for (delay, expected) in [
        (Delay::constant(ms(4)), [4_000_000; 3]),
        (Delay::uniform(ms(2), ms(8)), [2_060_000, 5_000_000, 7_940_000]),
        (Delay::normal(ms(20), ms(4)), [10_694_609, 20_000_000, 29_305_391]),
        (Delay::normal(ms(1), ms(2)), [0, 1_000_000, 5_652_696]),
        (Delay::lognormal(ms(10), 0.5), [3_124_928, 10_000_000, 32_000_740]),
        (Delay::exponential(ms(10)), [100_503, 6_931_472, 46_051_702]),
        (Delay::pareto(ms(1), 2.5), [1_004_028, 1_319_508, 6_309_573]),
        (
            Delay::empirical(&[(0.0, ms(1)), (0.9, ms(10)), (1.0, ms(100))]).unwrap(),
            [1_100_000, 6_000_000, 91_000_000],
        ),
        (Delay::exponential(ms(1)).plus(us(300)), [310_050, 993_147, 4_905_170]),
    ] {
        for (p, expected) in [0.01, 0.5, 0.99].into_iter().zip(expected) {
            assert_eq!(delay.quantile(p), ns(expected), "{delay} at {p}");
            // A sample at that word is the same up to the rounding of a nanosecond.
            let sampled = delay.sample(word_at(p)).as_nanos();
            assert!(sampled.abs_diff(expected) <= 1, "{delay} at the word of {p}: {sampled}");
        }
    }
}

#[test]
fn the_mean_of_a_clipped_normal_counts_what_was_clipped() {
    // Numerical integration of max(0, x) over the normal density, with 40 digits: 1.39559 ms.
    let delay = Delay::normal(ms(1), ms(2));
    assert_eq!(delay.mean(), Some(ns(1_395_593)));
    let (mut rng, n) = (Rng::seeded(1), 200_000_u32);
    let values: Vec<f64> = (0..n).map(|_| rng.duration(&delay).as_millis_f64()).collect();
    let mean = values.iter().sum::<f64>() / f64::from(n);
    let variance = values.iter().map(|x| square(x - mean)).sum::<f64>() / f64::from(n);
    assert!((mean - 1.395_593).abs() < 4.0 * (variance / f64::from(n)).sqrt(), "{mean}");
}

#[test]
fn a_mean_that_is_infinite_or_too_large_is_none() {
    assert_eq!(Delay::pareto(ms(1), 1.0).mean(), None);
    assert_eq!(Delay::pareto(ms(1), 1.0).plus(ms(1)).mean(), None);
    assert_eq!(Delay::pareto(ms(1), 2.0).mean(), Some(ms(2)));
    assert_eq!(Delay::lognormal(secs(1), 10.0).mean(), None); // e^50 s is 164 trillion years
    assert_eq!(Delay::constant(Duration::MAX).mean(), Some(Duration::MAX));
}

#[test]
fn extremes_saturate_and_are_never_nan() {
    let words = [0, 1, 1 << 11, u64::MAX / 2, 1 << 63, u64::MAX];
    for spread in [0.0, 1e-300, 1.0, 1e300, f64::MAX, f64::INFINITY, f64::NAN, -1.0] {
        for (a, b) in [(0.0, spread), (spread, 0.0), (spread, spread), (1.0, spread), (spread, 1.0)] {
            let delay = Duration::from_secs_f64;
            for distribution in [
                Distribution::constant(a),
                Distribution::uniform(a, b),
                Distribution::normal(a, b),
                Distribution::lognormal(a, b),
                Distribution::exponential(a),
                Distribution::pareto(a, b),
                Distribution::pareto(a, b).plus(b),
            ] {
                let all = words.map(|word| distribution.sample(word)).into_iter();
                for x in all.chain([0.0, 1.0, f64::NAN].map(|p| distribution.quantile(p))) {
                    // What is finite stays finite; what is not is refused by `validate`.
                    assert!(x.is_finite() || distribution.validate().is_err(), "{distribution:?}: {x}");
                }
            }
            for distribution in [
                Delay::uniform(delay(a), delay(b)),
                Delay::normal(delay(a), delay(b)),
                Delay::lognormal(delay(a), b),
                Delay::pareto(delay(a), b).plus(delay(b)),
            ] {
                let least = distribution.minimum();
                if distribution.validate().is_ok() {
                    assert!(words.iter().all(|&word| distribution.sample(word) >= least), "{distribution:?}");
                }
            }
        }
    }
    // The ends of the tails that the words reach.
    assert_eq!(Delay::exponential(secs(1)).sample(u64::MAX), ns(36_736_800_570)); // 53 ln 2
    assert_eq!(Delay::pareto(ns(1), 1.0).sample(u64::MAX), ns(1 << 53));
    assert_eq!(Delay::exponential(secs(1)).quantile(1.0), Duration::MAX);
    assert_eq!(Distribution::normal(0.0, 1.0).sample(0), -Distribution::normal(0.0, 1.0).sample(u64::MAX));
}

/// The bits of a few samples of each family, so that a change of a formula or a platform is noticed.
#[test]
fn samples_are_what_they_were() {
    let words = [0, 0x0123_4567_89ab_cdef, 0x8000_0000_0000_0000, 0xfedc_ba98_7654_3210, u64::MAX];
    let bits: Vec<[u64; 5]> = families()
        .into_iter()
        .map(|(distribution, ..)| words.map(|word| distribution.sample(word).to_bits()))
        .collect();
    // All within 3 units in the last place of the exact values (60 digits).
    let expected: [[u64; 5]; 7] = [
        [
            0x4000_0000_0000_0000,
            0x4000_369d_0369_d036,
            0x4014_0000_0000_0000,
            0x401f_e4b1_7e4b_17e4,
            0x401f_ffff_ffff_ffff,
        ],
        [
            0xc02a_56c1_6759_f130,
            0x4023_11d2_3f56_2003,
            0x4034_0000_0000_0000,
            0x403e_7716_e054_effe,
            0x404a_95b0_59d6_7c4c,
        ],
        [
            0x3fc4_4173_acc8_b130,
            0x4005_a026_f218_0372,
            0x4024_0000_0000_0000,
            0x4042_7f21_472c_a966,
            0x4083_bf5f_d195_843b,
        ],
        [
            0x0000_0000_0000_0000,
            0x3fa6_ce67_f582_a1de,
            0x401b_b9d3_beb8_c86b,
            0x404b_149b_c7a0_9a1e,
            0x4076_f5e3_59f1_05f8,
        ],
        [
            0x3ff0_0000_0000_0000,
            0x3ff0_03a6_8faa_bad9,
            0x3ff2_6111_86ba_e675,
            0x4007_a227_84de_f9da,
            0x4098_4060_03b2_ae5f,
        ],
        [
            0x3ff0_0000_0000_0000,
            0x3ff0_48d1_59e2_6af2,
            0x4008_0000_0000_0000,
            0x4025_b72e_a61d_950c,
            0x4025_ffff_ffff_fffe,
        ],
        [
            0x4008_0000_0000_0000,
            0x4008_123e_b991_354e,
            0x4011_8b90_bfbe_8e7c,
            0x402b_aa16_394d_4818,
            0x4053_1e4f_7b27_37fa,
        ],
    ];
    assert_eq!(bits, expected, "{bits:#018x?}");

    let nanos = [
        Delay::constant(ms(5)),
        Delay::uniform(us(250), ms(50)),
        Delay::normal(ms(10), ms(4)),
        Delay::lognormal(ms(10), 1.0),
        Delay::exponential(ms(10)),
        Delay::pareto(ms(1), 1.5),
        Delay::empirical(&[(0.0, ms(1)), (0.9, ms(10)), (1.0, ms(100))]).unwrap(),
        Delay::exponential(ms(1)).plus(us(300)),
    ]
    .map(|delay| words.map(|word| delay.sample(word).as_nanos()));
    // As computed independently with 60 digits and rounded to the nearest nanosecond; but the last Pareto value would be
    // 60 ns more, 1.4 parts in 10^15.
    let expected = [
        [5_000_000, 5_000_000, 5_000_000, 5_000_000, 5_000_000],
        [250_000, 471_111, 25_125_000, 49_778_889, 50_000_000],
        [0, 0, 10_000_000, 20_465_193, 43_169_444],
        [2504, 730_729, 10_000_000, 136_849_707, 39_932_514_421],
        [0, 44_544, 6_931_472, 54_161_004, 367_368_006],
        [1_000_000, 1_002_974, 1_587_401, 36_993_181, 43_290_557_638_723_656],
        [1_000_000, 1_044_444, 6_000_000, 96_000_000, 100_000_000],
        [300_000, 304_454, 993_147, 5_716_100, 37_036_801],
    ];
    assert_eq!(nanos, expected, "{nanos:?}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Link {
    latency: Delay,
}

fn read(text: &str) -> Result<Delay, String> {
    toml::from_str::<Link>(text).map(|link| link.latency).map_err(|error| error.to_string())
}

#[test]
fn each_family_is_written_by_hand_in_toml() {
    for (text, delay) in [
        (r#"latency = { constant = "5ms" }"#, Delay::constant(ms(5))),
        (r#"latency = { uniform = { from = "0ms", to = "50ms" } }"#, Delay::uniform(ns(0), ms(50))),
        (r#"latency = { normal = { mean = "10ms", deviation = "2ms" } }"#, Delay::normal(ms(10), ms(2))),
        (r#"latency = { lognormal = { median = "10ms", sigma = 1 } }"#, Delay::lognormal(ms(10), 1.0)),
        (r#"latency = { exponential = { mean = "10ms" } }"#, Delay::exponential(ms(10))),
        (r#"latency = { pareto = { scale = "1ms", shape = 1.5 } }"#, Delay::pareto(ms(1), 1.5)),
        (
            r#"latency = { empirical = [[0, "1ms"], [0.9, "10ms"], [1, "0.1s"]] }"#,
            Delay::empirical(&[(0.0, ms(1)), (0.9, ms(10)), (1.0, ms(100))]).unwrap(),
        ),
        (
            r#"latency = { shifted = { by = "300us", plus = { exponential = { mean = "1ms" } } } }"#,
            Delay::exponential(ms(1)).plus(us(300)),
        ),
        ("[latency.exponential]\nmean = \"10ms\"", Delay::exponential(ms(10))),
    ] {
        assert_eq!(read(text).as_ref(), Ok(&delay), "{text}");
    }
    assert_eq!(
        toml::from_str::<std::collections::BTreeMap<String, Distribution>>(
            "size = { uniform = { from = 1, to = 9.5 } }"
        )
        .unwrap()["size"],
        Distribution::uniform(1.0, 9.5)
    );
}

#[test]
fn what_is_malformed_is_refused_with_what_is_allowed() {
    for (text, hint) in [
        (
            r#"latency = { exponetial = { mean = "10ms" } }"#,
            "expected one of `constant`, `uniform`, `normal`, `lognormal`, `exponential`, `pareto`, `empirical`, `shifted`",
        ),
        (r#"latency = "5ms""#, "expected one of `constant`, `uniform`"),
        (r#"latency = { exponential = { average = "10ms" } }"#, "available keys: mean"),
        (r#"latency = { uniform = { from = "1ms" } }"#, "missing field `to`"),
        (r#"latency = { constant = "5" }"#, "write a number and a unit"),
        (
            r#"latency = { uniform = { from = "2ms", to = "1ms" } }"#,
            "uniform: `from` (2ms) must not be more than `to` (1ms)",
        ),
        (
            r#"latency = { lognormal = { median = "1ms", sigma = -1 } }"#,
            "`sigma` must be finite and at least 0, not -1",
        ),
        (
            r#"latency = { lognormal = { median = "0ms", sigma = 1 } }"#,
            "`median` must be finite and more than 0, not 0s",
        ),
        (
            r#"latency = { pareto = { scale = "1ms", shape = 0 } }"#,
            "`shape` must be finite and more than 0, not 0",
        ),
        (
            r#"latency = { pareto = { scale = "1ms", shape = nan } }"#,
            "`shape` must be finite and more than 0, not NaN",
        ),
        (r#"latency = { empirical = [] }"#, "[probability, value] from 0 to 1"),
        (
            r#"latency = { empirical = [[0.5, "1ms"], [1, "2ms"]] }"#,
            "from probability 0 (the least value) to 1",
        ),
        (
            r#"latency = { empirical = [[0, "1ms"], [nan, "1ms"], [1, "2ms"]] }"#,
            "must rise, but NaN follows 0",
        ),
        (r#"latency = { empirical = [[0, "3ms"], [1, "2ms"]] }"#, "must not fall, but 2ms follows 3ms"),
        // A mistake inside a shifted one is found too.
        (
            r#"latency = { shifted = { by = "1ms", plus = { pareto = { scale = "1ms", shape = -2 } } } }"#,
            "`shape` must be finite and more than 0, not -2",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(hint), "{text}: {error}");
    }
    for distribution in [
        Distribution::constant(f64::NAN),
        Distribution::uniform(f64::NEG_INFINITY, 0.0),
        Distribution::normal(0.0, -1.0),
        Distribution::exponential(-1.0),
    ] {
        assert!(distribution.validate().unwrap_err().contains("finite"), "{distribution:?}");
    }
}

#[test]
fn a_distribution_is_told_in_words() {
    let empirical = Delay::empirical(&[(0.0, ms(1)), (0.9, ms(10)), (1.0, ms(100))]).unwrap();
    for (delay, words) in [
        (ms(5).into(), "constant 5ms"),
        (Delay::uniform(ns(0), ms(50)), "uniform, 0s to 50ms"),
        (Delay::normal(ms(10), ms(2)), "normal, mean 10ms, deviation 2ms"),
        (Delay::lognormal(ms(10), 0.5), "lognormal, median 10ms, sigma 0.5"),
        (Delay::exponential(ms(10)), "exponential, mean 10ms"),
        (Delay::pareto(ms(1), 2.0), "Pareto, scale 1ms, shape 2"),
        (empirical, "empirical, 3 points, 1ms to 100ms"),
        (Delay::exponential(ms(1)).plus(us(300)), "300us plus exponential, mean 1ms"),
    ] {
        assert_eq!(delay.to_string(), words);
    }
}

#[test]
fn a_schema_names_every_family() {
    let schema = schemars::schema_for!(Delay).to_value().to_string();
    for family in
        ["constant", "uniform", "normal", "lognormal", "exponential", "pareto", "empirical", "shifted"]
    {
        assert!(schema.contains(family), "{schema}");
    }
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![0..100_000_000_000_u64, any::<u64>()].prop_map(Duration::from_nanos)
}

/// Any delay that is valid.
fn delay() -> impl Strategy<Value = Delay> {
    let positive = || duration().prop_map(|d| d.plus(ns(1)));
    let points = prop::collection::vec((1..1_000_000_u64, duration()), 0..6).prop_map(|mut inner| {
        let mut values: Vec<Duration> = inner.iter().map(|point| point.1).collect();
        values.extend([ms(3), ms(700)]);
        values.sort_unstable();
        inner.sort_unstable();
        inner.dedup_by_key(|point| point.0);
        let middle = inner.iter().map(|point| point.0 as f64 / 1e6);
        let probabilities: Vec<f64> = [0.0].into_iter().chain(middle).chain([1.0]).collect();
        let points: Vec<(f64, Duration)> = probabilities.into_iter().zip(values).collect();
        Delay::empirical(&points).unwrap()
    });
    let simple = prop_oneof![
        duration().prop_map(Delay::constant),
        (duration(), duration()).prop_map(|(a, b)| Delay::uniform(a.min(b), a.max(b))),
        (duration(), duration()).prop_map(|(mean, deviation)| Delay::normal(mean, deviation)),
        (positive(), 0.0..5.0_f64).prop_map(|(median, sigma)| Delay::lognormal(median, sigma)),
        duration().prop_map(Delay::exponential),
        (positive(), 1e-3..10.0_f64).prop_map(|(scale, shape)| Delay::pareto(scale, shape)),
        points,
    ];
    simple.prop_recursive(2, 4, 1, |inner| (inner, duration()).prop_map(|(delay, by)| delay.plus(by)))
}

proptest! {
    #[test]
    fn text_wire_and_back_is_the_same_delay(latency in delay()) {
        let link = Link { latency };
        let text = toml::to_string(&link).unwrap();
        prop_assert_eq!(&toml::from_str::<Link>(&text).unwrap(), &link, "{}", text);
        let wire = crate::codec::encode(&link);
        prop_assert_eq!(&crate::codec::decode::<Link>(&wire).unwrap(), &link);
    }

    #[test]
    fn a_larger_word_gives_no_smaller_delay(delay in delay(), a in any::<u64>(), b in any::<u64>()) {
        let (low, high) = (delay.sample(a.min(b)), delay.sample(a.max(b)));
        prop_assert!(delay.validate().is_ok());
        prop_assert!(low <= high, "{}: {} then {}", delay, low, high);
        prop_assert!(low >= delay.minimum() && high <= delay.quantile(1.0), "{}", delay);
    }
}
