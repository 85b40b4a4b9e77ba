//! Everything random in a run is a function of its seed and the step.
//!
//! Nothing is carried from step to step, so a resumed run draws what an uninterrupted
//! one would have drawn, whatever happened before.

use gan_core::latent::Pcg32;

/// The purpose of a draw; each has a stream of its own.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// First weights of the generator.
    GeneratorInit = 1,
    /// First weights of the discriminator.
    DiscriminatorInit,
    /// Order of the images in an epoch.
    Epoch,
    /// Latents and classes of a step.
    Latents,
    /// Changes to what the discriminator sees; three draws a step.
    Augment,
    /// First weights of a classifier.
    ClassifierInit,
    /// Order of a classifier's images in an epoch.
    ClassifierOrder,
    /// Shifts of a classifier's images in a step.
    ClassifierShift,
    /// Which real images stand on which side of a comparison.
    Split,
    /// Parts of a comparison's images.
    Subsample,
    /// First centres of groups of images.
    Groups,
}

/// The generator for `purpose` at `index` (a step or an epoch) of the run with `seed`.
pub fn stream(seed: u64, purpose: Purpose, index: u64) -> Pcg32 {
    // Odd constants keep the three apart; Pcg32 mixes the sum.
    let key = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add((purpose as u64).wrapping_mul(0xd1b5_4a32_d192_ed03))
        .wrapping_add(index.wrapping_mul(0xabc9_8388_fb8f_ac03));
    Pcg32::new(key)
}

/// A number from 0 to `below - 1`; the bias of at most `below / 2^32` is of no account here.
pub fn below(rng: &mut Pcg32, below: usize) -> usize {
    ((u64::from(rng.next_u32()) * below as u64) >> 32) as usize
}

/// A number from 0 to 1.
pub fn uniform(rng: &mut Pcg32) -> f32 {
    rng.next_u32() as f32 / u32::MAX as f32
}

/// 64 random bits.
pub fn next_u64(rng: &mut Pcg32) -> u64 {
    (u64::from(rng.next_u32()) << 32) | u64::from(rng.next_u32())
}

/// A standard normal number (Box and Muller 1958).
pub fn normal(rng: &mut Pcg32) -> f32 {
    let uniform = |rng: &mut Pcg32| (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
    let radius = (-2.0 * uniform(rng).ln()).sqrt();
    (radius * (std::f64::consts::TAU * uniform(rng)).cos()) as f32
}

/// A random order of `n` items (Fisher and Yates).
pub fn permutation(rng: &mut Pcg32, n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        order.swap(i, below(rng, i + 1));
    }
    order
}
