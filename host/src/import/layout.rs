//! From PyTorch's layouts, channels first, to ours, channels last.

use crate::config::Image;
use crate::nn::Conv;

/// Place in PyTorch's order, `[c, h, w]`, of each value of the first map in ours.
fn places(map: &Image) -> impl Iterator<Item = usize> {
    let (pixels, c) = (map.height * map.width, map.channels);
    (0..pixels).flat_map(move |pixel| (0..c).map(move |channel| channel * pixels + pixel))
}

/// Values of the first map, `[c, h, w]` to `[h, w, c]`.
pub fn map_to_nhwc(values: &[f32], map: &Image) -> Vec<f32> {
    places(map).map(|place| values[place]).collect()
}

/// `[c * h * w, n_in]` to `[n_in, h * w * c]`.
pub fn linear(weight: &[f32], n_in: usize, map: &Image) -> Vec<f32> {
    let row = |i: usize| places(map).map(move |place| weight[place * n_in + i]);
    (0..n_in).flat_map(row).collect()
}

/// `[n_in, c, h, w]`, of one pixel, to `[n_in, h * w * c]`.
pub fn first_conv_transpose(weight: &[f32], n_in: usize, map: &Image) -> Vec<f32> {
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

/// A `Conv2d`'s `[c_out, c_in, side, side]` behind a nearest `Upsample` by the layer's stride, to
/// `[c_in, k * k * c_out]`. Each pixel is `stride` pixels wide when the kernel meets it, so the
/// transposed kernel, of side `side + stride - 1`, is the sum of the turned one at each place:
/// for 3 taps and stride 2, `M w M^T` with `M = [[0,0,1],[0,1,1],[1,1,0],[1,0,0]]`.
pub fn upsampled(weight: &[f32], conv: &Conv) -> Vec<f32> {
    let (k, stride) = (conv.geometry.kernel, conv.geometry.stride);
    let side = k + 1 - stride;
    let mut ours = vec![0f64; k * k * conv.c_in * conv.c_out];
    for (at, &w) in weight.iter().enumerate() {
        let (plane, y, x) = (at / (side * side), at / side % side, at % side);
        let (o, i) = (plane / conv.c_in, plane % conv.c_in);
        for place in 0..stride * stride {
            let ky = place / stride + side - 1 - y;
            let kx = place % stride + side - 1 - x;
            ours[((i * k + ky) * k + kx) * conv.c_out + o] += f64::from(w);
        }
    }
    ours.into_iter().map(|w| w as f32).collect()
}

/// A `Conv2d`'s `[c_out * stride * stride, c_in, side, side]` before a `PixelShuffle` by the layer's
/// stride, to `[c_in, k * k * c_out]` with `k = side * stride`: each output pixel takes the taps
/// of its own channel of the `Conv2d`.
pub fn pixel_shuffled(weight: &[f32], conv: &Conv) -> Vec<f32> {
    let (k, stride) = (conv.geometry.kernel, conv.geometry.stride);
    let side = k / stride;
    let mut ours = vec![0f32; k * k * conv.c_in * conv.c_out];
    for (at, &w) in weight.iter().enumerate() {
        let (plane, y, x) = (at / (side * side), at / side % side, at % side);
        let (channel, i) = (plane / conv.c_in, plane % conv.c_in);
        let (o, phase) = (channel / (stride * stride), channel % (stride * stride));
        let ky = phase / stride + stride * (side - 1 - y);
        let kx = phase % stride + stride * (side - 1 - x);
        ours[((i * k + ky) * k + kx) * conv.c_out + o] = w;
    }
    ours
}

/// Weights `[k * k * c_out]` of an input channel that is always 1, which add to each output pixel
/// what `of_channel` (`[c_out * stride * stride]`, the `Conv2d`'s) has for its place in `stride` by
/// `stride` pixels: only the taps from the input pixel at the same place are not 0.
pub fn phase_offsets(of_channel: &[f32], conv: &Conv) -> Vec<f32> {
    let g = conv.geometry;
    let mut ours = vec![0f32; g.taps() * conv.c_out];
    for (channel, &offset) in of_channel.iter().enumerate() {
        let (o, phase) = (
            channel / (g.stride * g.stride),
            channel % (g.stride * g.stride),
        );
        let (ky, kx) = (g.top + phase / g.stride, g.left + phase % g.stride);
        ours[(ky * g.kernel + kx) * conv.c_out + o] = offset;
    }
    ours
}
