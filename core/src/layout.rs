//! Where each weight lies: in the order in which the inner loops read them.
//!
//! - Transposed convolution: `[ky][phase][group][c_out][c_in / 4][tap of the group][4]`.
//!   A phase `kx % stride` has its taps in the order of the input columns that they read,
//!   so by falling `kx`, in groups of two; the last may be single.
//! - Dense: `[row][outputs of the row / 4][n_in / 4][4 outputs][4 inputs]`. With 4 bits, each
//!   16 of these are 8 bytes: the first 8 in the low halves, the others in the high ones.
//!
//! Input channels and dense outputs are filled up to multiples of four with zeros. The
//! zero-point corrections of a transposed convolution are `[ky][phase][c_out]`.

/// Groups of four.
pub(crate) const fn quads(n: usize) -> usize {
    n.div_ceil(4)
}

/// Byte and shift of the 4-bit weight whose place, counted as if each had 8 bits, is `at`.
pub(crate) const fn nibble(at: usize) -> (usize, usize) {
    (at / 16 * 8 + at % 8, at / 8 % 2 * 4)
}

#[cfg(test)]
mod tests {
    use super::{nibble, quads};

    #[test]
    fn groups_of_four_are_rounded_up() {
        assert_eq!([0, 1, 4, 5, 8].map(quads), [0, 1, 1, 2, 2]);
    }

    #[test]
    fn sixteen_weights_of_four_bits_are_eight_bytes() {
        assert_eq!([nibble(0), nibble(7), nibble(8)], [(0, 0), (7, 0), (0, 4)]);
        assert_eq!(
            [nibble(15), nibble(16), nibble(31)],
            [(7, 4), (8, 0), (15, 4)]
        );
        let mut halves: Vec<_> = (0..64).map(nibble).collect();
        halves.sort_unstable();
        let all = (0..32).flat_map(|byte| [(byte, 0), (byte, 4)]);
        assert!(halves.into_iter().eq(all), "a half twice or not at all");
    }
}
