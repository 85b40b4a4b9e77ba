//! First seeds of the images that the program draws for itself, one for each purpose.
//!
//! The ranges are disjoint, so no image that a model was calibrated or chosen by is one that it
//! is judged by.

/// Seeds of a range, more than any command draws.
const RANGE_LEN: u64 = 1 << 32;

/// Seeds that a user gives or a device chooses.
const FROM_USERS: u64 = 0;
/// Images by which floats and integers are compared.
pub const COMPARISON: u64 = 1 << 32;
/// Images by which the risk of a run is watched.
pub const RISK_MONITOR: u64 = 1 << 33;
/// Images that a critic learns from.
pub const CRITIC_TRAINING: u64 = 1 << 40;
/// Images by which a critic's threshold is set.
pub const CRITIC_THRESHOLD: u64 = 1 << 41;
/// The stream of the latents that fine-tuning draws.
pub const FINETUNING: u64 = 1 << 42;
/// Images by which ranges of values are measured.
pub const CALIBRATION: u64 = 1 << 48;

const ALL: [u64; 7] = [
    FROM_USERS,
    COMPARISON,
    RISK_MONITOR,
    CRITIC_TRAINING,
    CRITIC_THRESHOLD,
    FINETUNING,
    CALIBRATION,
];

const _: () = {
    let mut i = 1;
    while i < ALL.len() {
        assert!(ALL[i] - ALL[i - 1] >= RANGE_LEN, "two ranges overlap");
        i += 1;
    }
};
