//! What a user asks for.

pub mod buttons;

/// A request of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub enum Action {
    /// The class after this one.
    NextClass,
    /// The class before this one.
    PreviousClass,
    /// The image of the next seed.
    NewSeed,
    /// A latent interpolation from seed to seed, or its end.
    Interpolate,
    /// Other colours.
    NextPalette,
}
