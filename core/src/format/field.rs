//! Where each field lies: the tables of [`format`](super) as ranges of bytes.

/// Fields of the file's header.
pub(crate) mod header {
    use core::ops::Range;

    pub const MAGIC: Range<usize> = 0..4;
    pub const VERSION: Range<usize> = 4..6;
    pub const LAYER_COUNT: Range<usize> = 6..8;
    pub const FILE_LEN: Range<usize> = 8..12;
    pub const CRC32: Range<usize> = 12..16;
    pub const LATENT_LEN: Range<usize> = 16..18;
    pub const CLASS_COUNT: Range<usize> = 18..20;
    pub const STEPS: Range<usize> = 20..24;
    pub const SEED: Range<usize> = 24..32;
    pub const TEXT_LEN: Range<usize> = 32..36;
    pub const HEADER_LEN: Range<usize> = 36..40;
    pub const VETTED_SEEDS: Range<usize> = 40..44;
    pub const CRITIC: Range<usize> = 44..48;
    pub const LEN: usize = 48;
}

/// Fields of a layer's entry.
pub(crate) mod entry {
    use core::ops::Range;

    pub const OPERATOR: Range<usize> = 0..1;
    pub const LAYOUT: Range<usize> = 1..2;
    pub const ACTIVATION: Range<usize> = 2..3;
    pub const WINDOW: Range<usize> = 3..9;
    pub const CLAMP: Range<usize> = 9..11;
    pub const PRE_ACTIVATION_ZERO_POINT: Range<usize> = 11..12;
    pub const OUTPUT_ZERO_POINT: Range<usize> = 12..13;
    pub const FUNCTION: Range<usize> = 13..14;
    pub const RESERVED: Range<usize> = 14..16;
    pub const INPUT_SHAPE: Range<usize> = 16..22;
    pub const OUTPUT_SHAPE: Range<usize> = 22..28;
    pub const PRE_ACTIVATION_SCALE: Range<usize> = 28..32;
    pub const OUTPUT_SCALE: Range<usize> = 32..36;
    pub const WEIGHTS: Range<usize> = 36..40;
    pub const BIASES: Range<usize> = 40..44;
    pub const MANTISSAS: Range<usize> = 44..48;
    pub const SHIFTS: Range<usize> = 48..52;
    pub const TABLE: Range<usize> = 52..56;
    pub const ZERO_POINT_CORRECTIONS: Range<usize> = 56..60;
    pub const SLOPE: Range<usize> = 60..64;
    pub const LEN: usize = 64;
}

/// Fields of the critic, ahead of its layers' entries.
pub(crate) mod critic {
    use core::ops::Range;

    pub const HALVED: Range<usize> = 0..1;
    pub const PASSING: Range<usize> = 1..2;
    pub const RESERVED: Range<usize> = 2..16;
    pub const LEN: usize = 16;
}

/// Codes of [`entry::LAYOUT`].
pub(crate) mod layout {
    pub const EIGHT_BITS: u8 = 1;
    pub const FOUR_BITS: u8 = 2;
}

/// Codes of [`entry::ACTIVATION`].
pub(crate) mod activation {
    pub const CLAMP: u8 = 0;
    pub const LUT8: u8 = 1;
    pub const LUT16: u8 = 2;
}
