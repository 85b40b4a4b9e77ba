//! Latents: the same seed gives the same image on every machine.
//!
//! Integers only: a PCG32 generator and a table of normal quantiles. An interpolation between two
//! latents takes its two weights from `libm`, whose floats are the same everywhere.

use crate::slice::{part, part_mut};

/// One step of a quantized latent: its values are `q / 32`, its zero point is 0.
pub const LATENT_SCALE: f32 = 1.0 / 32.0;

/// The class's value behind the latent, where training has 1.0: 3.0 at [`LATENT_SCALE`].
/// The weights of the classes are stored as a third for it: they are the largest of an
/// output, and would leave few steps to the others.
pub const ONE_HOT: i8 = 96;

/// `round(32 * quantile((i + 0.5) / 256))` of the standard normal distribution: 256
/// equally likely values, the largest 2.9 standard deviations out.
pub const NORMAL_QUANTILES: [i8; 256] = [
    -92, -81, -75, -71, -67, -65, -63, -61, -59, -57, -56, -54, -53, -52, -51, -50, -49, -48, -47,
    -46, -45, -44, -43, -43, -42, -41, -40, -40, -39, -38, -38, -37, -37, -36, -35, -35, -34, -34,
    -33, -33, -32, -32, -31, -31, -30, -30, -29, -29, -28, -28, -27, -27, -26, -26, -25, -25, -25,
    -24, -24, -23, -23, -23, -22, -22, -21, -21, -21, -20, -20, -19, -19, -19, -18, -18, -18, -17,
    -17, -17, -16, -16, -15, -15, -15, -14, -14, -14, -13, -13, -13, -12, -12, -12, -11, -11, -11,
    -10, -10, -10, -9, -9, -9, -8, -8, -8, -7, -7, -7, -6, -6, -6, -6, -5, -5, -5, -4, -4, -4, -3,
    -3, -3, -2, -2, -2, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6,
    6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10, 10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14,
    15, 15, 15, 16, 16, 17, 17, 17, 18, 18, 18, 19, 19, 19, 20, 20, 21, 21, 21, 22, 22, 23, 23, 23,
    24, 24, 25, 25, 25, 26, 26, 27, 27, 28, 28, 29, 29, 30, 30, 31, 31, 32, 32, 33, 33, 34, 34, 35,
    35, 36, 37, 37, 38, 38, 39, 40, 40, 41, 42, 43, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54,
    56, 57, 59, 61, 63, 65, 67, 71, 75, 81, 92,
];

/// PCG-XSH-RR 64/32 (O'Neill 2014).
#[derive(Clone, Debug)]
pub struct Pcg32 {
    state: u64,
}

/// Multiplier of PCG's 64-bit linear congruential generator.
const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
/// Its increment, which selects PCG's default stream.
const INCREMENT: u64 = 1_442_695_040_888_963_407;

impl Pcg32 {
    /// Starts at a state that the finalizer of SplitMix64 (Steele et al. 2014) makes of
    /// `seed`, so that neighbouring seeds have nothing in common.
    pub const fn new(seed: u64) -> Self {
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self {
            state: z ^ (z >> 31),
        }
    }

    /// The next 32 random bits.
    #[expect(clippy::cast_possible_truncation, reason = "PCG keeps the low bits")]
    pub const fn next_u32(&mut self) -> u32 {
        let old = self.state;
        self.state = old.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let xorshifted = (((old >> 18) ^ old) >> 27) as u32;
        xorshifted.rotate_right((old >> 59) as u32)
    }
}

/// Fills `out` with the quantized normal latent of `seed`: each random word gives four
/// values, lowest byte first, through [`NORMAL_QUANTILES`].
pub fn fill_latent(seed: u64, out: &mut [i8]) {
    let mut rng = Pcg32::new(seed);
    for word in out.chunks_mut(4) {
        for (value, byte) in word.iter_mut().zip(rng.next_u32().to_le_bytes()) {
            *value = NORMAL_QUANTILES[usize::from(byte)];
        }
    }
}

/// The weights in [`slerp`] are in units of 2^-14.
const WEIGHT_BITS: u32 = 14;

/// Below this sine the two latents lie on one line, and the arc is taken for straight.
const LEAST_SINE: f32 = 1e-2;

/// Moves the latent `from` a share `t` (0 to 1) of the way to `to`, on the arc between
/// them: spherical interpolation (Shoemake 1985) keeps the length that the generator was
/// trained on, where a straight line would pass near zero.
///
/// *Arithmetic*: the weights are `f32`, rounded to 2^-14; the sums are integers, rounded
/// half up, saturating. At 0 and 1 the result is `from` and `to`. Values beyond the
/// shorter of the two slices stay, and count for nothing.
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
pub fn slerp(from: &mut [i8], to: &[i8], t: f32) {
    let len = from.len().min(to.len());
    let (from, to) = (part_mut(from, ..len), part(to, ..len));
    let (a, b) = arc_weights(from, to, t.clamp(0.0, 1.0));
    for (from, &to) in from.iter_mut().zip(to) {
        let sum = a * i32::from(*from) + b * i32::from(to);
        let rounded = (sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
        *from = rounded.clamp(-128, 127) as i8;
    }
}

/// Weights of `from` and `to` in units of 2^-14.
#[expect(clippy::cast_possible_truncation, reason = "at most 100 x 2^14")]
#[expect(clippy::cast_precision_loss, reason = "a float is as good")]
fn arc_weights(from: &[i8], to: &[i8], t: f32) -> (i32, i32) {
    let dot = |a: &[i8], b: &[i8]| {
        let products = a.iter().zip(b).map(|(&a, &b)| i64::from(a) * i64::from(b));
        products.sum::<i64>() as f32
    };
    let lengths = libm::sqrtf(dot(from, from) * dot(to, to)).max(1.0);
    let angle = libm::acosf((dot(from, to) / lengths).clamp(-1.0, 1.0));
    let sine = libm::sinf(angle);
    let (a, b) = if sine > LEAST_SINE {
        let weight = |share: f32| libm::sinf(share * angle) / sine;
        (weight(1.0 - t), weight(t))
    } else {
        (1.0 - t, t)
    };
    let steps = |weight: f32| libm::roundf(weight * (1 << WEIGHT_BITS) as f32) as i32;
    (steps(a), steps(b))
}

#[cfg(test)]
mod tests {
    use super::{NORMAL_QUANTILES, Pcg32, fill_latent, slerp};

    #[test]
    fn the_quantiles_rise_and_are_symmetric() {
        assert!(NORMAL_QUANTILES.is_sorted());
        let mirrored = NORMAL_QUANTILES.iter().rev().map(|&q| -q);
        assert!(NORMAL_QUANTILES.into_iter().eq(mirrored));
    }

    #[test]
    fn a_seed_fills_the_same_latent_for_ever() {
        let [mut short, mut long, mut other] = [[0; 4], [0; 4], [0; 4]];
        fill_latent(1, &mut short[..3]);
        fill_latent(1, &mut long);
        fill_latent(2, &mut other);
        assert_eq!((long, other), ([-15, -59, -5, -17], [22, 19, -21, 0]));
        assert_eq!(short[..3], long[..3]);
        let [mut one, mut same] = [Pcg32::new(7), Pcg32::new(7)];
        assert_eq!(one.next_u32(), same.next_u32());
        assert_ne!(one.next_u32(), Pcg32::new(7).next_u32());
    }

    #[test]
    fn a_walk_begins_and_ends_at_its_latents() {
        let (a, b) = ([40, -90, 3, 0], [-7, 20, 90, -55]);
        let at = |t| {
            let mut from = a;
            slerp(&mut from, &b, t);
            from
        };
        assert_eq!((at(0.0), at(1.0), at(-5.0)), (a, b, a));
        assert!(at(0.5) != a && at(0.5) != b);
        let mut same = a;
        slerp(&mut same, &a, 0.3);
        assert_eq!(same, a);
    }
}
