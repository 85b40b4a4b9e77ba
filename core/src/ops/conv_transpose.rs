//! Transposed convolution, by sub-pixel phases.

use super::activation::Requantizer;
use super::kernels::{Blocks, Dsp, KernelSet, Packed, Portable, Row, Taps};
use super::{SectionLens, WeightPlace};
use crate::error::LayerError;
use crate::geometry::{Axis, Span, divide};
use crate::layer::Layer;
use crate::layout::quads;
use crate::slice::{part, part_at, part_mut};
use crate::types::{Shape, Window};

/// The operator's code in a layer's entry.
pub(crate) const CODE: u8 = 1;

/// The window of a layer's entry.
pub(crate) fn window(fields: [u8; 6]) -> Window {
    let [kernel, stride, crop_top, crop_left, crop_bottom, crop_right] = fields.map(usize::from);
    Window {
        kernel,
        stride,
        crop_top,
        crop_left,
        crop_bottom,
        crop_right,
    }
}

/// A window in the order of a layer's entry.
pub(crate) const fn window_fields(v: Window) -> [usize; 6] {
    [
        v.kernel,
        v.stride,
        v.crop_top,
        v.crop_left,
        v.crop_bottom,
        v.crop_right,
    ]
}

/// Lengths of the sections.
pub(crate) fn section_lens(
    window: Window,
    input: Shape,
    output: Shape,
) -> Result<SectionLens, LayerError> {
    if window.kernel == 0 || window.stride == 0 {
        return Err(LayerError::Window);
    }
    // `LayerSpec` may have more than the bytes of a file hold.
    let side = |len: usize, crops: [usize; 2]| {
        let whole = (len - 1)
            .saturating_mul(window.stride)
            .saturating_add(window.kernel);
        let left = whole.saturating_sub(crops[0].saturating_add(crops[1]));
        if left > 0 {
            Ok(left)
        } else {
            Err(LayerError::Crops)
        }
    };
    let rows = side(input.h, [window.crop_top, window.crop_bottom])?;
    let columns = side(input.w, [window.crop_left, window.crop_right])?;
    if (rows, columns) != (output.h, output.w) {
        return Err(LayerError::OutputShape);
    }
    let product = |factors: [usize; 4]| {
        let factors = factors.into_iter().map(|factor| factor as u64);
        factors.fold(1, u64::saturating_mul)
    };
    Ok(SectionLens {
        weights: product([window.kernel, window.kernel, output.c, 4 * quads(input.c)]),
        channels: output.c,
        zero_point_corrections: product([window.kernel, window.stride, output.c, 1]),
    })
}

/// Place of a weight in the layout.
pub(crate) const fn weight_index(
    window: Window,
    c_in: usize,
    c_out: usize,
    at: WeightPlace,
) -> usize {
    let (n, r) = divide(at.kx, window.stride);
    let (taps, before) = taps_and_before(window, r);
    let position = taps - 1 - n;
    let group = position - position % 2;
    let group_taps = if group + 1 < taps { 2 } else { 1 };
    let quads = quads(c_in);
    (at.ky * window.kernel + before + group) * c_out * quads * 4
        + ((at.output * quads + at.input / 4) * group_taps + position % 2) * 4
        + at.input % 4
}

/// Taps of phase `r`, and of all phases before it: the first `kernel % stride` phases have
/// one more than the others.
const fn taps_and_before(window: Window, r: usize) -> (usize, usize) {
    let (taps, more) = divide(window.kernel, window.stride);
    if r < more {
        (taps + 1, r * (taps + 1))
    } else {
        (taps, r * taps + more)
    }
}

/// A kernel row, a phase and an output channel: what a zero-point correction belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PhasePlace {
    pub ky: usize,
    pub phase: usize,
    pub output: usize,
}

/// All of them, in the order of the zero-point corrections.
pub(crate) fn phase_places(window: Window, c_out: usize) -> impl Iterator<Item = PhasePlace> {
    let rows = (0..window.kernel).flat_map(move |ky| (0..window.stride).map(move |r| (ky, r)));
    rows.flat_map(move |(ky, phase)| (0..c_out).map(move |output| PhasePlace { ky, phase, output }))
}

/// Sum of the weights, laid out, of a kernel row and phase to an output channel.
pub(crate) fn tap_sum(
    window: Window,
    c_in: usize,
    c_out: usize,
    at: PhasePlace,
    weights: &[u8],
) -> i32 {
    let (taps, before) = taps_and_before(window, at.phase);
    let tap_bytes = c_out * quads(c_in) * 4;
    let mut sum: i32 = 0;
    for group in (0..taps).step_by(2) {
        let bytes = (taps - group).min(2) * quads(c_in) * 4;
        let from = (at.ky * window.kernel + before + group) * tap_bytes + at.output * bytes;
        let weights = part_at(weights, from, bytes);
        sum = weights
            .iter()
            .fold(sum, |sum, &w| sum.wrapping_add(i32::from(w as i8)));
    }
    sum
}

/// The first zero-point correction that is not what the weights say.
pub(crate) fn wrong_zero_point_correction(layer: &Layer<'_>, window: Window) -> Option<usize> {
    let (c_in, c_out) = (layer.input_shape.c, layer.output_shape.c);
    let zero_point = i32::from(layer.input.zero_point);
    let stored = layer.zero_point_corrections.as_chunks::<4>().0.iter();
    let mut stored = stored.zip(phase_places(window, c_out));
    stored.position(|(&stored, place)| {
        let sum = tap_sum(window, c_in, c_out, place, layer.weights);
        i32::from_le_bytes(stored) != sum.wrapping_mul(-zero_point)
    })
}

/// Place of the first padding weight that is not 0.
pub(crate) fn wrong_padding(layer: &Layer<'_>, window: Window) -> Option<usize> {
    let (c_in, c_out) = (layer.input_shape.c, layer.output_shape.c);
    let taps = (0..window.kernel).flat_map(|ky| (0..window.kernel).map(move |kx| (ky, kx)));
    let inputs = move || c_in..4 * quads(c_in);
    let filling = taps.flat_map(|(ky, kx)| {
        let place = move |output, input| WeightPlace {
            output,
            ky,
            kx,
            input,
        };
        (0..c_out).flat_map(move |output| inputs().map(move |input| place(output, input)))
    });
    let mut places = filling.map(|place| weight_index(window, c_in, c_out, place));
    places.find(|&at| layer.weight(at) != 0)
}

/// Multiplications for one image.
pub(crate) fn mac_count(window: Window, input: Shape, output: Shape) -> u64 {
    let landing = |axis: Axis| -> u64 {
        let taps =
            (0..axis.len_in).flat_map(|i| (0..axis.kernel).map(move |k| i * axis.stride + k));
        let landing = taps.filter(|&at| at >= axis.crop && at - axis.crop < axis.len_out);
        landing.count() as u64
    };
    landing(window.vertical(input, output))
        * landing(window.horizontal(input, output))
        * input.c as u64
        * output.c as u64
}

/// The most products of one sum.
pub(crate) fn most_terms(window: Window, input: Shape, output: Shape) -> usize {
    let rows = window.vertical(input, output).most_landing();
    let columns = window.horizontal(input, output).most_landing();
    rows * columns * input.c
}

fn blocks<K: KernelSet>(span: &Span, c_in: usize) -> Blocks {
    K::blocks(span.outputs, span.reach, quads(c_in))
}

/// Words that [`output_row`] works in: starts, a plane and the sums of an output row; the most
/// that any set of inner loops needs.
pub(crate) fn scratch_words(window: Window, input: Shape, output: Shape) -> u64 {
    let span = window.horizontal(input, output).span();
    let sets = [
        blocks::<Portable>(&span, input.c),
        blocks::<Dsp>(&span, input.c),
        blocks::<Packed>(&span, input.c),
    ];
    let channels = window.stride as u64 * output.c as u64;
    let words = sets.map(|blocks| {
        let [count, px, words, lanes] =
            [blocks.count, blocks.px, blocks.words, blocks.lanes].map(|n| n as u64);
        count * words * lanes + channels * (1 + count * px)
    });
    words.into_iter().max().unwrap_or(0)
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
    let span = columns.span();
    let blocks = blocks::<K>(&span, shapes.0.c);
    let row = Row {
        c_in: shapes.0.c,
        margin: span.margin,
        zero_point: layer.input.zero_point,
    };
    let channels = columns.stride * shapes.1.c;
    let Some((starts, scratch)) = scratch.split_at_mut_checked(channels) else {
        return;
    };
    let Some((plane, scratch)) = scratch.split_at_mut_checked(blocks.plane_words()) else {
        return;
    };
    let starts: &mut [i32] = bytemuck::must_cast_slice_mut(starts);
    let sums = part_mut(scratch, ..channels * blocks.row_px());
    let sums: &mut [i32] = bytemuck::must_cast_slice_mut(sums);
    K::clear(sums);
    // The taps `(ky, iy)` inside the input.
    let (r, last) = rows.at(oy);
    let inside = (0..rows.taps(r)).filter_map(|n| {
        let iy = last.checked_sub(n).filter(|&iy| iy < rows.len_in)?;
        Some((r + n * rows.stride, iy))
    });
    start(layer, starts);
    for (i, (ky, iy)) in inside.enumerate() {
        // The margins stay from row to row.
        K::pack(input_row(iy), &row, &blocks, plane, i == 0);
        add_row::<K>(layer, (ky, &columns), &row, &blocks, plane, sums);
        correct(layer, ky, starts);
    }
    finish(layer, &columns, &blocks, starts, sums, y);
}

/// The value that every sum of a phase and output channel begins with: the bias.
fn start(layer: &Layer<'_>, starts: &mut [i32]) {
    for phase in starts.chunks_exact_mut(layer.output_shape.c.max(1)) {
        for (start, (bias, _)) in phase.iter_mut().zip(layer.channels(0)) {
            *start = bias;
        }
    }
}

/// Adds the zero-point corrections of a kernel row that is added: planes hold values with
/// their zero point.
fn correct(layer: &Layer<'_>, ky: usize, starts: &mut [i32]) {
    let corrections = part(layer.zero_point_corrections, 4 * ky * starts.len()..);
    for (start, &correction) in starts.iter_mut().zip(corrections.as_chunks::<4>().0) {
        *start = start.wrapping_add(i32::from_le_bytes(correction));
    }
}

/// Adds what kernel row `ky` makes of the plane to the sums of all phases.
fn add_row<K: KernelSet>(
    layer: &Layer<'_>,
    (ky, columns): (usize, &Axis),
    row: &Row,
    blocks: &Blocks,
    plane: &[u32],
    sums: &mut [i32],
) {
    let c_out = layer.output_shape.c;
    let tap_bytes = c_out * 4 * quads(layer.input_shape.c);
    let mut weights = part(layer.weights, ky * columns.kernel * tap_bytes..);
    let phase_sums = c_out * blocks.px;
    for r in 0..columns.stride {
        let phase = columns.phase(r);
        let mut offset = row.margin.wrapping_add_signed(phase.first_in);
        let sums = part_mut(sums, r * phase_sums..);
        let mut left = phase.taps;
        while left > 0 {
            let count = left.min(2);
            let Some((group, rest)) = weights.split_at_checked(count * tap_bytes) else {
                return;
            };
            let taps = Taps {
                offset,
                count,
                block_sums: columns.stride * phase_sums,
            };
            K::accumulate(sums, plane, group, blocks, taps);
            (weights, offset, left) = (rest, offset + count, left - count);
        }
    }
}

/// Requantizes the sums into the output row.
fn finish(
    layer: &Layer<'_>,
    columns: &Axis,
    blocks: &Blocks,
    starts: &[i32],
    sums: &[i32],
    y: &mut [i8],
) {
    let (c_out, stride) = (layer.output_shape.c, columns.stride);
    let mut phases = sums.chunks_exact((c_out * blocks.px).max(1));
    for block in 0..blocks.count {
        let starts = starts.chunks_exact(c_out.max(1));
        for ((r, starts), sums) in starts.enumerate().zip(&mut phases) {
            let first = columns.phase(r).first_out + stride * block * blocks.px;
            let y = part_mut(y, first * c_out..);
            let sums = sums.chunks_exact(blocks.px.max(1));
            let channels = layer.channels(0).zip(starts).zip(sums).enumerate();
            for (c, (((_, multiplier), &start), sums)) in channels {
                let requantizer = Requantizer {
                    multiplier,
                    zero_point: layer.pre_activation.zero_point,
                    activation: layer.activation,
                };
                let y = part_mut(y, c..);
                requantizer.apply_row(start, sums, y, stride * c_out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        mac_count, output_row, scratch_words, section_lens, weight_index, wrong_padding,
        wrong_zero_point_correction,
    };
    use crate::error::LayerError;
    use crate::layer::tests::layer;
    use crate::ops::WeightPlace;
    use crate::ops::kernels::{Dsp, KernelSet, Packed, Portable};
    use crate::types::{Op, Shape, Window};

    const TWICE: Window = Window {
        kernel: 2,
        stride: 2,
        crop_top: 0,
        crop_left: 0,
        crop_bottom: 0,
        crop_right: 0,
    };
    const SHAPES: [Shape; 2] = [Shape { h: 1, w: 2, c: 1 }, Shape { h: 2, w: 4, c: 1 }];

    /// The places of all weights of a kernel.
    fn places(window: Window, c_in: usize, c_out: usize) -> impl Iterator<Item = usize> {
        let k = window.kernel;
        (0..c_out * k * k * c_in).map(move |i| {
            let at = WeightPlace {
                output: i % c_out,
                ky: i / c_out % k,
                kx: i / c_out / k % k,
                input: i / c_out / k / k,
            };
            weight_index(window, c_in, c_out, at)
        })
    }

    #[test]
    fn every_weight_has_a_place_of_its_own_and_the_others_are_zero() {
        let window = Window { kernel: 5, ..TWICE };
        let map = |side, c| Shape {
            h: side,
            w: side,
            c,
        };
        let shapes = [map(1, 3), map(5, 2)];
        let mut bytes = vec![0u8; 5 * 5 * 2 * 4];
        for at in places(window, 3, 2) {
            assert_eq!(bytes[at], 0, "two weights at {at}");
            bytes[at] = 1;
        }
        let others: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == 0).collect();
        assert_eq!(others.len(), 5 * 5 * 2);
        for at in others {
            let mut weights = bytes.clone();
            weights[at] = 1;
            let layer = layer(Op::ConvTranspose(window), shapes, &weights);
            assert_eq!(wrong_padding(&layer, window), Some(at));
        }
    }

    fn rows<K: KernelSet>(weights: &[u8]) -> [[i8; 4]; 2] {
        let layer = layer(Op::ConvTranspose(TWICE), SHAPES, weights);
        let mut scratch = vec![7; scratch_words(TWICE, SHAPES[0], SHAPES[1]) as usize];
        [0, 1].map(|oy| {
            let mut y = [0; 4];
            output_row::<K>(&layer, TWICE, oy, |_| &[3, -2], &mut scratch, &mut y);
            y
        })
    }

    #[test]
    fn each_input_leaves_a_kernel_at_its_place() {
        let mut weights = [0; 16];
        for (value, at) in [1, 3, 2, 4].into_iter().zip(places(TWICE, 1, 1)) {
            weights[at] = value;
        }
        // The kernel is 1, 2 above 3, 4.
        let expected = [[3, 6, -2, -4], [9, 12, -6, -8]];
        assert_eq!(rows::<Portable>(&weights), expected);
        assert_eq!(rows::<Packed>(&weights), expected);
        assert_eq!(rows::<Dsp>(&weights), expected);
        assert_eq!(mac_count(TWICE, SHAPES[0], SHAPES[1]), 8);
    }

    #[test]
    fn zero_point_corrections_are_those_of_the_weights() {
        let mut weights = [0; 16];
        weights[0] = 5;
        let mut layer = layer(Op::ConvTranspose(TWICE), SHAPES, &weights);
        layer.input.zero_point = 3;
        let corrections = [-15i32, 0, 0, 0].map(i32::to_le_bytes);
        layer.zero_point_corrections = corrections.as_flattened();
        assert_eq!(wrong_zero_point_correction(&layer, TWICE), None);
        let corrections = [-15i32, 0, 1, 0].map(i32::to_le_bytes);
        layer.zero_point_corrections = corrections.as_flattened();
        assert_eq!(wrong_zero_point_correction(&layer, TWICE), Some(2));
    }

    #[test]
    fn shapes_have_to_follow_from_the_window() {
        let error = |window| section_lens(window, SHAPES[0], SHAPES[1]).err();
        assert_eq!(error(TWICE), None);
        assert_eq!(
            error(Window { kernel: 0, ..TWICE }),
            Some(LayerError::Window)
        );
        assert_eq!(
            error(Window { stride: 0, ..TWICE }),
            Some(LayerError::Window)
        );
        assert_eq!(
            error(Window {
                crop_top: 2,
                ..TWICE
            }),
            Some(LayerError::Crops)
        );
        assert_eq!(
            error(Window {
                crop_left: 1,
                ..TWICE
            }),
            Some(LayerError::OutputShape)
        );
    }
}
