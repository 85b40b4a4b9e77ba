//! Transposed convolution.

use super::{activation::requantize, dot};
use crate::model::{Layer, Window};

/// Each output pixel gathers the taps that land on it; no zero is ever multiplied.
///
/// `y[oy][ox][o] = requantize(bias[o] + sum (x[iy][ix][c] - zero_point) * w[o][ky][kx][c])`
/// over all `iy * stride + ky - crop_top = oy` inside the input, and likewise for `x`.
///
/// *Shapes*: `x` `[h_in, w_in, c_in]`, weights `[c_out, k, k, c_in]`, `y`
/// `[h_out, w_out, c_out]`. One bias and one multiplier per output channel.
pub fn conv_transpose(layer: &Layer<'_>, window: Window, x: &[i8], y: &mut [i8]) {
    let row_len = layer.output_shape.w * layer.output_shape.c;
    for (oy, row) in y.chunks_exact_mut(row_len.max(1)).enumerate() {
        let pixels = row.chunks_exact_mut(layer.output_shape.c.max(1));
        for (ox, pixel) in pixels.enumerate() {
            output_pixel(layer, window, x, (oy, ox), pixel);
        }
    }
}

fn output_pixel(
    layer: &Layer<'_>,
    window: Window,
    x: &[i8],
    (oy, ox): (usize, usize),
    pixel: &mut [i8],
) {
    let (kernel, c_in) = (window.kernel, layer.input_shape.c);
    let zero_point = i16::from(layer.input.zero_point);
    let filters = layer.weights.chunks_exact((kernel * kernel * c_in).max(1));
    for ((y, filter), (bias, multiplier)) in pixel.iter_mut().zip(filters).zip(layer.channels()) {
        let mut acc = bias;
        for (ky, iy) in taps(oy + window.crop_top, window, layer.input_shape.h) {
            for (kx, ix) in taps(ox + window.crop_left, window, layer.input_shape.w) {
                let x = x
                    .get((iy * layer.input_shape.w + ix) * c_in..)
                    .unwrap_or(&[]);
                let w = filter.get((ky * kernel + kx) * c_in..).unwrap_or(&[]);
                let taps = (x.get(..c_in).unwrap_or(&[]), w.get(..c_in).unwrap_or(&[]));
                acc = acc.wrapping_add(dot(taps.0, taps.1, zero_point));
            }
        }
        *y = requantize(acc, multiplier, layer.sum.zero_point, &layer.activation);
    }
}

/// The taps `(k, i)` with `i * stride + k = at` and `i` inside `0..len`.
fn taps(at: usize, window: Window, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let stride = window.stride.max(1);
    let (first, i) = (at % stride, at / stride);
    // `i` falls by one from tap to tap; the first ones may lie behind the input's end.
    let skip = (i + 1).saturating_sub(len);
    let count = (window.kernel.saturating_sub(first))
        .div_ceil(stride)
        .min(i + 1);
    (skip..count).map(move |n| (first + n * stride, i - n))
}
