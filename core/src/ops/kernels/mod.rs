//! The inner loops, in interchangeable sets that give the same bits.
//!
//! A convolution's input row is laid out once as a *plane*, a few blocks of 32-bit words
//! in which neighbouring pixels are neighbouring words; then every tap of every output
//! pixel is a fixed offset into it, and its margins hold the zero point, so that the loops
//! know no border. Sums are kept as `i32` `[block][phase][c_out][px]`.
//!
//! | set | word of a plane | where |
//! |---|---|---|
//! | [`Portable`] | two channels of a pixel, `i16` each | any machine, the reference |
//! | [`Dsp`] | the same | Cortex-M4, M7, M33: `SMLAD` |
//! | [`Packed`] | one channel of two pixels, half a row apart | Cortex-M0+, M3, RISC-V |

mod dsp;
mod packed;
mod portable;

pub use dsp::Dsp;
pub use packed::Packed;
pub use portable::Portable;

/// The set that this target runs.
#[cfg(gan_kernels = "dsp")]
pub type Native = Dsp;
/// The set that this target runs.
#[cfg(gan_kernels = "packed")]
pub type Native = Packed;
/// The set that this target runs.
#[cfg(gan_kernels = "portable")]
pub type Native = Portable;

/// The blocks into which a set cuts a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Outputs of a phase in a block.
    pub(crate) px: usize,
    /// Blocks in a row.
    pub(crate) count: usize,
    /// Words of one lane of a block.
    pub(crate) words: usize,
    /// Lanes: `words` for each pair of channels, or for each channel.
    pub(crate) lanes: usize,
}

impl Blocks {
    /// Each block of a plane with its sums.
    pub(crate) fn zip<'s, 'p>(
        &self,
        sums: &'s mut [i32],
        plane: &'p [u32],
        block_sums: usize,
    ) -> impl Iterator<Item = (&'s mut [i32], &'p [u32])> {
        let blocks = plane.chunks_exact(self.block_words().max(1));
        sums.chunks_mut(block_sums.max(1)).zip(blocks)
    }

    /// First pixel of a row in block `at`, and the word of each lane where it lies: block
    /// `at` begins with column `at * px - margin`.
    pub(crate) const fn first_pixel(&self, at: usize, margin: usize) -> (usize, usize) {
        let column = at * self.px;
        (column.saturating_sub(margin), margin.saturating_sub(column))
    }

    /// Words of a plane.
    pub(crate) const fn plane_words(&self) -> usize {
        self.count * self.block_words()
    }

    /// Words of a plane's block.
    pub(crate) const fn block_words(&self) -> usize {
        self.lanes * self.words
    }

    /// Sums of a phase and output channel.
    pub(crate) const fn row_px(&self) -> usize {
        self.count * self.px
    }
}

/// A row of a convolution's input, without its values.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Channels of a pixel.
    pub(crate) c_in: usize,
    /// Margin columns on the left.
    pub(crate) margin: usize,
    /// Value that fills the margins.
    pub(crate) zero_point: i8,
}

/// The taps of one pass over a plane.
#[derive(Clone, Copy, Debug)]
pub struct Taps {
    /// Words between a block's start and the first tap of its first pixel.
    pub(crate) offset: usize,
    /// 1 or 2 neighbouring columns.
    pub(crate) count: usize,
    /// Sums between one block's and the next one's.
    pub(crate) block_sums: usize,
}

/// A set of inner loops. They trust what they are told of a row, which only this crate can
/// say: the fields of [`Blocks`], [`Row`] and [`Taps`] are its own.
pub trait KernelSet {
    /// Cuts rows with `outputs` pixels in the largest phase, whose taps reach `reach`
    /// columns further than the outputs, over `quads` groups of four input channels.
    fn blocks(outputs: usize, reach: usize, quads: usize) -> Blocks;

    /// Lays out one input row `[w, c_in]`; channels are filled up to a multiple of four
    /// with zeros. `margins`: whether the plane's margins must be written too.
    fn pack(values: &[i8], row: &Row, blocks: &Blocks, plane: &mut [u32], margins: bool);

    /// Adds the products of every block to its `sums` `[c_out][px]`; weights are
    /// `[c_out][c_in / 4][taps][4]`.
    fn accumulate(sums: &mut [i32], plane: &[u32], weights: &[u8], blocks: &Blocks, taps: Taps);

    /// Sets sums to zero.
    fn clear(sums: &mut [i32]) {
        sums.fill(0);
    }

    /// Lays out a dense layer's input, less its zero point, for [`dense`](Self::dense):
    /// two words for each four values.
    fn pack_dense(values: &[i8], zero_point: i8, words: &mut [u32]) {
        Portable::pack_dense(values, zero_point, words);
    }

    /// The products of four dense outputs, summed; `weights` are `[n_in / 4][4][4]`.
    #[inline(always)]
    fn dense(words: &[u32], weights: &[u8]) -> [i32; 4] {
        Portable::dense(words, weights)
    }
}

/// Two `i16` as the word of a plane, the first in the low half.
#[expect(clippy::cast_sign_loss, reason = "bits")]
pub(crate) const fn pair(low: i16, high: i16) -> u32 {
    (low as u16 as u32) | ((high as u16 as u32) << 16)
}

/// The halves of [`pair`].
#[expect(clippy::cast_possible_truncation, reason = "the low half")]
pub(crate) const fn halves(word: u32) -> (i32, i32) {
    (word as i16 as i32, word as i32 >> 16)
}
