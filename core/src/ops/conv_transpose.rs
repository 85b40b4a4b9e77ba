//! Transposed convolution, by sub-pixel phases.

use super::activation::requantize_row;
use super::kernels::{Blocks, KernelSet, Row, Taps};
use crate::geometry::Axis;
use crate::layout::quads;
use crate::model::{Layer, Op, Shape, Window};

impl Window {
    /// Rows, top to bottom.
    pub(crate) const fn vertical(&self, input: Shape, output: Shape) -> Axis {
        Axis {
            kernel: self.kernel,
            stride: self.stride,
            crop: self.crop_top,
            len_in: input.h,
            len_out: output.h,
        }
    }

    /// Columns, left to right.
    pub(crate) const fn horizontal(&self, input: Shape, output: Shape) -> Axis {
        Axis {
            kernel: self.kernel,
            stride: self.stride,
            crop: self.crop_left,
            len_in: input.w,
            len_out: output.w,
        }
    }
}

fn blocks<K: KernelSet>(columns: &Axis, c_in: usize) -> Blocks {
    K::blocks(columns.count(), columns.reach(), quads(c_in))
}

/// Words that [`output_row`] works in: a plane and the sums of an output row.
pub(crate) fn scratch_words<K: KernelSet>(op: Op, input: Shape, output: Shape) -> usize {
    let Op::ConvTranspose(window) = op else {
        return 0;
    };
    let columns = window.horizontal(input, output);
    let blocks = blocks::<K>(&columns, input.c);
    blocks.plane_words() + window.stride * output.c * blocks.row_px()
}

/// One output row: each input row that reaches it is laid out once, and every phase adds
/// its own taps' products to the sums; no zero that a stride inserts is ever multiplied,
/// and rows outside the input are not either.
///
/// `y[oy][ox][o] = requantize(bias[o] + sum (x[iy][ix][c] - zero_point) * w[o][ky][kx][c])`
/// over all `iy * stride + ky - crop_top = oy` inside the input, and likewise for `x`.
///
/// *Shapes*: `input_row(iy)` `[w_in, c_in]`, `y` `[w_out, c_out]`, weights as in
/// [`layout`](crate::layout). One bias and one multiplier per output channel.
pub(crate) fn output_row<'x, K: KernelSet>(
    layer: &Layer<'_>,
    window: Window,
    oy: usize,
    input_row: impl Fn(usize) -> &'x [i8],
    scratch: &mut [u32],
    y: &mut [i8],
) {
    let shapes = (layer.input_shape, layer.output_shape);
    let columns = window.horizontal(shapes.0, shapes.1);
    let rows = window.vertical(shapes.0, shapes.1);
    let blocks = blocks::<K>(&columns, shapes.0.c);
    let row = Row {
        c_in: shapes.0.c,
        margin: columns.margin(),
        zero_point: layer.input.zero_point,
    };
    let Some((plane, sums)) = scratch.split_at_mut_checked(blocks.plane_words()) else {
        return;
    };
    let sums: &mut [i32] = bytemuck::must_cast_slice_mut(sums);
    // The taps `(ky, iy)` inside the input.
    let (r, last) = rows.at(oy);
    let inside = (0..rows.taps(r)).filter_map(|n| {
        let iy = last.checked_sub(n).filter(|&iy| iy < rows.len_in)?;
        Some((r + n * rows.stride, iy))
    });
    start(layer, inside.clone().map(|(ky, _)| ky), &blocks, sums);
    for (ky, iy) in inside {
        K::widen(input_row(iy), &row, &blocks, plane);
        add_row::<K>(layer, ky, &columns, &blocks, plane, sums);
    }
    finish(layer, &columns, &blocks, sums, y);
}

/// Puts the bias into every sum, and the corrections of the rows that will be added:
/// planes hold values with their zero point.
fn start(
    layer: &Layer<'_>,
    kys: impl Iterator<Item = usize> + Clone,
    blocks: &Blocks,
    sums: &mut [i32],
) {
    let (c_out, stride) = (layer.output_shape.c, layer.stride());
    let block_sums = (stride * c_out * blocks.px).max(1);
    for r in 0..stride {
        for (c, (bias, _)) in layer.channels(0).take(c_out).enumerate() {
            let at = |ky: usize| layer.correction((ky * stride + r) * c_out + c);
            let corrections = kys.clone().map(at).fold(0i32, i32::wrapping_add);
            let start = bias.wrapping_add(corrections);
            for block in sums.chunks_mut(block_sums) {
                let at = (r * c_out + c) * blocks.px;
                let sums = block.get_mut(at..).and_then(|s| s.get_mut(..blocks.px));
                sums.unwrap_or(&mut []).fill(start);
            }
        }
    }
}

/// Adds what kernel row `ky` makes of the plane to the sums of all phases.
fn add_row<K: KernelSet>(
    layer: &Layer<'_>,
    ky: usize,
    columns: &Axis,
    blocks: &Blocks,
    plane: &[u32],
    sums: &mut [i32],
) {
    let c_out = layer.output_shape.c;
    let tap_bytes = c_out * 4 * quads(layer.input_shape.c);
    let weights = layer.weights.get(ky * columns.kernel * tap_bytes..);
    let mut weights = weights.unwrap_or(&[]);
    let (phase_sums, margin) = ((c_out * blocks.px).max(1), columns.margin());
    let planes = || plane.chunks_exact(blocks.block_words().max(1));
    for r in 0..columns.stride {
        let phase = columns.phase(r);
        let mut offset = margin.wrapping_add_signed(phase.first_in);
        for tap in (0..phase.taps).step_by(2) {
            let count = (phase.taps - tap).min(2);
            let Some((group, rest)) = weights.split_at_checked(count * tap_bytes) else {
                return;
            };
            let taps = Taps { offset, count };
            let sums = sums
                .chunks_exact_mut(phase_sums)
                .skip(r)
                .step_by(columns.stride);
            for (block, sums) in planes().zip(sums) {
                K::accumulate(sums, block, group, blocks, taps);
            }
            (weights, offset) = (rest, offset + count);
        }
    }
}

/// Requantizes the sums into the output row.
fn finish(layer: &Layer<'_>, columns: &Axis, blocks: &Blocks, sums: &[i32], y: &mut [i8]) {
    let (c_out, stride) = (layer.output_shape.c, columns.stride);
    let block_sums = (stride * c_out * blocks.px).max(1);
    for r in 0..stride {
        let first_out = columns.phase(r).first_out;
        for (c, (_, multiplier)) in layer.channels(0).take(c_out).enumerate() {
            for (at, block) in sums.chunks_exact(block_sums).enumerate() {
                let sums = block.get((r * c_out + c) * blocks.px..);
                let sums = sums.and_then(|s| s.get(..blocks.px)).unwrap_or(&[]);
                let first = (first_out + stride * at * blocks.px) * c_out + c;
                let y = y.get_mut(first..).unwrap_or(&mut []);
                requantize_row(layer, multiplier, sums, y, stride * c_out);
            }
        }
    }
}
