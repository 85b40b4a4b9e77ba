//! From PyTorch's layouts, channels first, to ours, channels last.

use crate::config::FirstMap;
use crate::nn::Conv;

/// Place in PyTorch's order, `[c, h, w]`, of each value of the first map in ours.
fn places(map: &FirstMap) -> impl Iterator<Item = usize> {
    let (pixels, c) = (map.height * map.width, map.channels);
    (0..pixels).flat_map(move |pixel| (0..c).map(move |channel| channel * pixels + pixel))
}

/// Values of the first map, `[c, h, w]` to `[h, w, c]`; one for each channel stay as they are.
pub fn map_to_nhwc(values: &[f32], map: &FirstMap) -> Vec<f32> {
    if values.len() == map.channels {
        return values.to_vec();
    }
    places(map).map(|place| values[place]).collect()
}

/// `[c * h * w, n_in]` to `[n_in, h * w * c]`.
pub fn linear(weight: &[f32], n_in: usize, map: &FirstMap) -> Vec<f32> {
    let row = |i: usize| places(map).map(move |place| weight[place * n_in + i]);
    (0..n_in).flat_map(row).collect()
}

/// `[n_in, c, h, w]`, of one pixel, to `[n_in, h * w * c]`.
pub fn first_conv_transpose(weight: &[f32], n_in: usize, map: &FirstMap) -> Vec<f32> {
    let rows = weight.chunks_exact(weight.len() / n_in);
    rows.flat_map(|row| places(map).map(|place| row[place]))
        .collect()
}

/// `[c_in, c_out, k, k]`, or of a `Conv2d` `[c_out, c_in, k, k]`, to `[c_in, k * k * c_out]`.
/// A convolution of stride 1 is a transposed one with its kernel turned by half a turn.
pub fn convolution(weight: &[f32], conv: &Conv, is_plain: bool) -> Vec<f32> {
    let (taps, c_in, c_out) = (conv.geometry.taps(), conv.c_in, conv.c_out);
    let at = |i: usize, tap: usize, o: usize| match is_plain {
        true => (o * c_in + i) * taps + taps - 1 - tap,
        false => (i * c_out + o) * taps + tap,
    };
    let mut ours = Vec::with_capacity(weight.len());
    for i in 0..c_in {
        for tap in 0..taps {
            ours.extend((0..c_out).map(|o| weight[at(i, tap, o)]));
        }
    }
    ours
}
