//! The operators, one file each: sizes, checks and one output row, on slices that
//! [`Model::parse`](crate::Model::parse) has measured. Each function here is one `match` on the
//! operator.

pub mod activation;
pub(crate) mod conv_transpose;
pub(crate) mod dense;
pub mod kernels;

use crate::error::LayerError;
use crate::layer::Layer;
use crate::layout::nibble;
use crate::types::{MAX_MAP_LEN, Op, Shape, WeightBits};
use kernels::KernelSet;

pub(crate) use conv_transpose::{phase_places, tap_sum};

/// The operator of a code and its window in a layer's entry; `None` for an unknown code.
pub(crate) fn from_code(code: u8, window: [u8; 6]) -> Option<Op> {
    Some(match code {
        dense::CODE => Op::Dense,
        conv_transpose::CODE => Op::ConvTranspose(conv_transpose::window(window)),
        _ => return None,
    })
}

/// Code and window of an operator in a layer's entry; zeros where it has no window.
pub(crate) fn to_code(op: Op) -> (u8, [usize; 6]) {
    match op {
        Op::Dense => (dense::CODE, [0; 6]),
        Op::ConvTranspose(window) => (conv_transpose::CODE, conv_transpose::window_fields(window)),
    }
}

/// Lengths that follow from an operator and its shapes; below 2^50, so in more than the 32
/// bits of a small core.
pub(crate) struct SectionLens {
    /// Bytes of the weights.
    pub weights: u64,
    /// Biases and multipliers.
    pub channels: usize,
    /// Zero-point corrections, where the input has a zero point.
    pub zero_point_corrections: u64,
}

/// Lengths of the sections of a layer, whose shapes have to fit the operator.
pub(crate) fn section_lens(
    op: Op,
    bits: WeightBits,
    input: Shape,
    output: Shape,
) -> Result<SectionLens, LayerError> {
    let len = |s: Shape| {
        let len = s.h.checked_mul(s.w).and_then(|len| len.checked_mul(s.c));
        let len = len.filter(|&len| len > 0 && len <= MAX_MAP_LEN);
        len.ok_or(LayerError::MapSize)
    };
    let (input_len, output_len) = (len(input)?, len(output)?);
    match op {
        Op::Dense => Ok(dense::section_lens(input_len, output, output_len, bits)),
        Op::ConvTranspose(window) => conv_transpose::section_lens(window, input, output),
    }
}

/// The weights of a layer as [`LayerSpec`](crate::encode::LayerSpec) has them:
/// `[outputs][kernel][kernel][inputs]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelShape {
    /// Output channels; values of a dense layer.
    pub outputs: usize,
    /// Rows and columns of the kernel, 1 for a dense layer.
    pub kernel: usize,
    /// Input channels; values of a dense layer.
    pub inputs: usize,
}

/// One weight of a [`KernelShape`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightPlace {
    pub output: usize,
    pub ky: usize,
    pub kx: usize,
    pub input: usize,
}

impl KernelShape {
    pub(crate) const fn of(op: Op, input: Shape, output: Shape) -> Self {
        match op {
            Op::Dense => Self {
                outputs: output.len(),
                kernel: 1,
                inputs: input.len(),
            },
            Op::ConvTranspose(window) => Self {
                outputs: output.c,
                kernel: window.kernel,
                inputs: input.c,
            },
        }
    }

    /// Number of weights.
    pub(crate) const fn len(self) -> usize {
        self.outputs * self.kernel * self.kernel * self.inputs
    }

    /// The place of weight `i`, counted in the order of the shape.
    pub(crate) const fn place(self, i: usize) -> WeightPlace {
        let tap = i / self.inputs;
        WeightPlace {
            output: tap / self.kernel / self.kernel,
            ky: tap / self.kernel % self.kernel,
            kx: tap % self.kernel,
            input: i % self.inputs,
        }
    }
}

/// Place of a weight in the [`layout`](crate::layout), counted as if each had 8 bits.
pub(crate) const fn weight_index(op: Op, input: Shape, output: Shape, at: WeightPlace) -> usize {
    match op {
        Op::Dense => dense::weight_index(input, output, at.output, at.input),
        Op::ConvTranspose(window) => conv_transpose::weight_index(window, input.c, output.c, at),
    }
}

impl Layer<'_> {
    fn kernel_shape(&self) -> KernelShape {
        KernelShape::of(self.op, self.input_shape, self.output_shape)
    }

    /// The weights as [`LayerSpec`](crate::encode::LayerSpec) has them: `[c_out][k][k][c_in]` or
    /// `[n_out][n_in]`.
    pub fn weights(&self) -> impl Iterator<Item = i8> {
        let shape = self.kernel_shape();
        (0..shape.len()).map(move |i| {
            let (input, output) = (self.input_shape, self.output_shape);
            self.weight(weight_index(self.op, input, output, shape.place(i)))
        })
    }

    /// Weights and biases, without what fills them up to multiples of four.
    pub fn parameter_count(&self) -> usize {
        self.kernel_shape().len() + self.bias.len() / 4
    }

    /// Multiplications executed for one image: taps that land inside both maps.
    pub fn mac_count(&self) -> u64 {
        let (input, output) = (self.input_shape, self.output_shape);
        match self.op {
            Op::Dense => input.len() as u64 * output.len() as u64,
            Op::ConvTranspose(window) => conv_transpose::mac_count(window, input, output),
        }
    }

    /// The most products that one sum has: taps outside the input do not count.
    pub(crate) fn most_terms(&self) -> usize {
        match self.op {
            Op::Dense => self.input_shape.len(),
            Op::ConvTranspose(window) => {
                conv_transpose::most_terms(window, self.input_shape, self.output_shape)
            }
        }
    }

    /// Byte of the first padding weight that is not 0.
    pub(crate) fn wrong_padding(&self) -> Option<usize> {
        let at = match self.op {
            Op::Dense => dense::wrong_padding(self),
            Op::ConvTranspose(window) => conv_transpose::wrong_padding(self, window),
        };
        at.map(|at| match self.weight_bits {
            WeightBits::Eight => at,
            WeightBits::Four => nibble(at).0,
        })
    }

    /// The first zero-point correction that is not what the weights say.
    pub(crate) fn wrong_zero_point_correction(&self) -> Option<usize> {
        match self.op {
            Op::Dense => None,
            Op::ConvTranspose(window) => conv_transpose::wrong_zero_point_correction(self, window),
        }
    }

    /// Words of scratch, the most that any set of inner loops needs: an arena fits on every
    /// machine or on none. In 64 bits, until the check has bounded it.
    pub(crate) fn scratch_words(&self) -> u64 {
        let (input, output) = (self.input_shape, self.output_shape);
        match self.op {
            Op::Dense => {
                let row_len = output.w * output.c;
                dense::scratch_words(input.len(), row_len, self.weight_bits) as u64
            }
            Op::ConvTranspose(window) => conv_transpose::scratch_words(window, input, output),
        }
    }

    /// Input rows that one output row can need at once.
    pub(crate) fn window_rows(&self) -> usize {
        match self.op {
            Op::Dense => self.input_shape.h,
            Op::ConvTranspose(window) => {
                let rows = window.vertical(self.input_shape, self.output_shape);
                rows.window().min(self.input_shape.h)
            }
        }
    }

    /// Input rows, from the first on, that must exist before output row `row`.
    pub(crate) fn rows_before(&self, row: usize) -> usize {
        match self.op {
            Op::Dense => self.input_shape.h,
            Op::ConvTranspose(window) => {
                let rows = window.vertical(self.input_shape, self.output_shape);
                (rows.at(row).1 + 1).min(rows.len_in)
            }
        }
    }
}

/// One output row: `whole()` is the input `[h, w, c]`, `input_row(iy)` one of its rows; which is
/// asked for depends on the operator.
#[inline]
pub(crate) fn output_row<'x, K: KernelSet>(
    layer: &Layer<'_>,
    row: usize,
    whole: impl Fn() -> &'x [i8],
    input_row: impl Fn(usize) -> &'x [i8],
    scratch: &mut [u32],
    y: &mut [i8],
) {
    match layer.op {
        Op::Dense => dense::output_row::<K>(layer, row, whole(), scratch, y),
        Op::ConvTranspose(window) => {
            conv_transpose::output_row::<K>(layer, window, row, input_row, scratch, y);
        }
    }
}
