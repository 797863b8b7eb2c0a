//! The one door to mathematics: logarithms, powers and the normal distribution, with the same bits on every machine.
//!
//! `f64::ln`, `f64::exp`, `f64::sin` and their like call the platform's own library, and two platforms may differ in the
//! last bit. One such bit in a delay swaps two events, and the run is another run. So everything here goes through the
//! `libm` crate (plain Rust, compiled with us) and the operations that IEEE 754 rounds correctly: `+ - * /` and the
//! square root. Rust never fuses a multiplication and an addition on its own, so the order of operations written here is
//! the one that is carried out.
//!
//! A result that is not a number stays one (`ln(-1.0)`); callers keep it from ever reaching a recording.

/// The natural logarithm.
#[inline]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// The logarithm to base 2.
#[inline]
pub fn log2(x: f64) -> f64 {
    libm::log2(x)
}

/// The logarithm to base 10.
#[inline]
pub fn log10(x: f64) -> f64 {
    libm::log10(x)
}

/// The natural logarithm of `1 + x`, exact also where `x` is tiny.
#[inline]
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// e to the power of `x`.
#[inline]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// `base` to the power of `exponent`.
#[inline]
pub fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

/// The square root. The hardware's own: IEEE 754 asks for the correctly rounded result, so all machines agree.
#[inline]
pub fn sqrt(x: f64) -> f64 {
    x.sqrt()
}

/// The cube root.
#[inline]
pub fn cbrt(x: f64) -> f64 {
    libm::cbrt(x)
}

/// The sine of an angle in radians.
#[inline]
pub fn sin(radians: f64) -> f64 {
    libm::sin(radians)
}

/// The cosine of an angle in radians.
#[inline]
pub fn cos(radians: f64) -> f64 {
    libm::cos(radians)
}

/// The complementary error function, 1 - erf(x).
#[inline]
pub fn erfc(x: f64) -> f64 {
    libm::erfc(x)
}

/// The natural logarithm of the absolute value of the gamma function; `lgamma(n + 1)` is ln(n!).
#[inline]
pub fn lgamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// The probability that a standard normal value is at most `x`.
#[inline]
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// The inverse of [`normal_cdf`]: the value that a standard normal variable stays below with probability `p`.
///
/// Accurate to about 1 part in 10^16. `p` = 0 gives minus infinity, 1 infinity, and what lies outside 0 to 1 NaN.
///
/// Source: M. J. Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied Statistics 37
/// (1988), pages 477 to 484, routine PPND16: three quotients of polynomials of degree 7, one for the middle of the
/// distribution and two for its tails.
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let from_middle = p - 0.5;
    if from_middle.abs() <= 0.425 {
        let r = 0.180625 - from_middle * from_middle;
        return from_middle * horner(r, &CENTRAL_ABOVE) / horner(r, &CENTRAL_BELOW);
    }
    let tail = if from_middle < 0.0 { p } else { 1.0 - p };
    if tail == 0.0 {
        return if from_middle < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let r = sqrt(-ln(tail));
    let size = if r <= 5.0 {
        horner(r - 1.6, &MIDDLE_ABOVE) / horner(r - 1.6, &MIDDLE_BELOW)
    } else {
        horner(r - 5.0, &FAR_ABOVE) / horner(r - 5.0, &FAR_BELOW)
    };
    if from_middle < 0.0 { -size } else { size }
}

/// A polynomial whose coefficients are given from the highest power down.
#[inline]
fn horner(x: f64, coefficients: &[f64; 8]) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

// The coefficients of PPND16, highest power first: numerator ("above") and denominator ("below") of each quotient.
const CENTRAL_ABOVE: [f64; 8] = [
    2_509.080_928_730_122_7,
    33_430.575_583_588_13,
    67_265.770_927_008_7,
    45_921.953_931_549_87,
    13_731.693_765_509_46,
    1_971.590_950_306_551_4,
    133.141_667_891_784_38,
    3.387_132_872_796_366_5,
];
const CENTRAL_BELOW: [f64; 8] = [
    5_226.495_278_852_854,
    28_729.085_735_721_943,
    39_307.895_800_092_71,
    21_213.794_301_586_597,
    5_394.196_021_424_751,
    687.187_007_492_057_9,
    42.313_330_701_600_91,
    1.0,
];
const MIDDLE_ABOVE: [f64; 8] = [
    7.745_450_142_783_414e-4,
    0.022_723_844_989_269_184,
    0.241_780_725_177_450_6,
    1.270_458_252_452_368_4,
    3.647_848_324_763_204_5,
    5.769_497_221_460_691,
    4.630_337_846_156_546,
    1.423_437_110_749_683_5,
];
const MIDDLE_BELOW: [f64; 8] = [
    1.050_750_071_644_416_9e-9,
    5.475_938_084_995_345e-4,
    0.015_198_666_563_616_457,
    0.148_103_976_427_480_08,
    0.689_767_334_985_1,
    1.676_384_830_183_803_8,
    2.053_191_626_637_759,
    1.0,
];
const FAR_ABOVE: [f64; 8] = [
    2.010_334_399_292_288_1e-7,
    2.711_555_568_743_487_6e-5,
    0.001_242_660_947_388_078_4,
    0.026_532_189_526_576_124,
    0.296_560_571_828_504_87,
    1.784_826_539_917_291_3,
    5.463_784_911_164_114,
    6.657_904_643_501_103,
];
const FAR_BELOW: [f64; 8] = [
    2.044_263_103_389_939_8e-15,
    1.421_511_758_316_446e-7,
    1.846_318_317_510_054_8e-5,
    7.868_691_311_456_133e-4,
    0.014_875_361_290_850_615,
    0.136_929_880_922_735_8,
    0.599_832_206_555_888,
    1.0,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Equal up to a relative error of `tolerance`.
    fn close(got: f64, expected: f64, tolerance: f64) -> bool {
        (got - expected).abs() <= tolerance * expected.abs()
    }

    #[test]
    fn elementary_functions_agree_with_forty_digit_arithmetic() {
        // Computed independently with 40 decimal digits, then rounded to the nearest double.
        let tolerance = 4.5e-16; // two units in the last place
        for (got, expected) in [
            (ln(0.1), -2.3025850929940455),
            (ln(50.0), 3.912_023_005_428_146),
            (log2(50.0), 5.643_856_189_774_724),
            (log10(50.0), 1.698_970_004_336_018_7),
            (ln_1p(-0.2), -0.223_143_551_314_209_76),
            (exp(0.1), 1.105_170_918_075_647_7),
            (exp(50.0), 5.184_705_528_587_072e21),
            (pow(10.0, 1.7), 50.118_723_362_727_22),
            (pow(50.0, 1.7), 773.123_736_777_479_2),
            (sqrt(2.0), std::f64::consts::SQRT_2),
            (cbrt(50.0), 3.684_031_498_640_387),
            (sin(50.0), -0.262_374_853_703_928_77),
            (cos(50.0), 0.964_966_028_492_113_3),
            (erfc(2.0), 0.004_677_734_981_047_266),
            (lgamma(0.1), 2.252_712_651_734_206),
            (lgamma(50.0), 144.565_743_946_344_9),
        ] {
            assert!(close(got, expected, tolerance), "{got:?} is not {expected:?}");
        }
    }

    #[test]
    fn the_normal_distribution_agrees_with_forty_digit_arithmetic() {
        for (x, expected) in [
            (-37.0, 5.725_571_222_524_577e-300),
            (-10.0, 7.619_853_024_160_525e-24),
            (-5.0, 2.866_515_718_791_939e-7),
            (-0.5, 0.308_537_538_725_986_9),
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (5.0, 0.999_999_713_348_428_1),
        ] {
            // Far out, the rounding of the argument is magnified by its square: 37^2 units in the last place.
            let tolerance = 1e-15 + 2.3e-16 * x * x;
            assert!(close(normal_cdf(x), expected, tolerance), "cdf({x}) = {:?}", normal_cdf(x));
        }
        for (p, expected) in [
            (1e-300, -37.047_096_299_361_2),
            (1e-20, -9.262_340_089_798_407),
            (1e-10, -6.361_340_902_404_057),
            (0.001, -3.090_232_306_167_813_6),
            (0.01, -2.326_347_874_040_841),
            (0.05, -1.644_853_626_951_472_6),
            (0.075, -1.439_531_470_938_456),
            (0.25, -0.674_489_750_196_081_7),
            (0.4, -0.253_347_103_135_799_7),
            (0.6, 0.253_347_103_135_799_7),
            (0.975, 1.959_963_984_540_053_8),
            (0.999, 3.090_232_306_167_813),
        ] {
            let got = normal_quantile(p);
            assert!(close(got, expected, 1e-15), "quantile({p}) = {got:?}, not {expected:?}");
        }
    }

    #[test]
    fn the_ends_of_the_normal_distribution_are_infinite_and_outside_is_nothing() {
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(0.5), 0.0);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
        for p in [-0.1, 1.1, f64::NAN] {
            assert!(normal_quantile(p).is_nan());
        }
    }

    /// The last bits, so that a change of the library under us, or of a platform, is noticed.
    #[test]
    fn the_bits_are_the_same_everywhere() {
        let fold = |f: fn(f64) -> f64| {
            (1..=1_000_u64).fold(0_u64, |all, k| all.rotate_left(7) ^ f(k as f64 * 0.037).to_bits())
        };
        let bits = [
            fold(ln),
            fold(log2),
            fold(log10),
            fold(ln_1p),
            fold(|x| exp(-x)),
            fold(|x| pow(x, -0.4)),
            fold(sqrt),
            fold(cbrt),
            fold(sin),
            fold(cos),
            fold(|x| erfc(x / 8.0)),
            fold(lgamma),
            fold(|x| normal_quantile(x / 37.5)),
            fold(|x| normal_cdf(x - 18.0)),
        ];
        let expected = [
            0xb9ae_f455_fa9a_76b5,
            0x9725_3b05_b724_5fc5,
            0x9d86_d03d_633a_2c77,
            0x044d_4d1f_4306_24a7,
            0x28ea_0788_c830_915f,
            0x954b_84e7_4fe9_1aa4,
            0x7ee1_625c_ad42_3b0f,
            0x382c_ebaa_281f_7200,
            0x443b_69ff_fbcd_4d12,
            0x0550_33e4_55fc_7710,
            0x96bc_3580_ed01_4e14,
            0xebc6_0edb_16bb_a195,
            0xb04c_bd21_71ee_b729,
            0x3bd8_933c_3197_a431,
        ];
        assert_eq!(bits, expected, "{bits:#018x?}");
    }

    proptest! {
        #[test]
        fn the_quantile_undoes_the_cdf(x in -37.0..5.0_f64) {
            // Above 5 a double near 1 no longer tells neighbours apart. At x one unit in the last place of the
            // probability moves the result by eps * cdf / density, which is at most eps * 7e5 here.
            let back = normal_quantile(normal_cdf(x));
            prop_assert!((back - x).abs() <= 1e-9, "{x} -> {back}");
            if x < 0.0 {
                prop_assert!((back - x).abs() <= 1e-14 * x.abs().max(1.0), "{x} -> {back}");
            }
        }

        #[test]
        fn the_cdf_undoes_the_quantile(p in 1e-9..1.0_f64) {
            let back = normal_cdf(normal_quantile(p));
            prop_assert!((back - p).abs() <= 1e-14 * p, "{p} -> {back}");
        }

        #[test]
        fn a_larger_probability_has_no_smaller_quantile(a in 0.0..1.0_f64, b in 0.0..1.0_f64) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(normal_quantile(low) <= normal_quantile(high));
            // Nor do neighbours where the quotients meet, at 0.075 and 0.925 and at e^-25.
            for seam in [0.075, 0.925, exp(-25.0)] {
                let step = seam * 1e-12 * (a + 0.01);
                prop_assert!(normal_quantile(seam - step) <= normal_quantile(seam + step));
            }
        }

        #[test]
        fn the_quantile_is_symmetric(p in 0.0..0.5_f64) {
            // Only where 1 - p is exact, that is for p on the grid of 2^-53.
            let p = (p * 9_007_199_254_740_992.0).floor() / 9_007_199_254_740_992.0;
            prop_assert_eq!(normal_quantile(1.0 - p), -normal_quantile(p));
        }
    }
}
