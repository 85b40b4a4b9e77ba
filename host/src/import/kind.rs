//! The PyTorch modules that a layer can be made of, and the shapes of their weights.

use std::fmt;

use crate::nn::Conv;

/// The PyTorch module that a layer's weight belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `Linear`
    Linear,
    /// `ConvTranspose2d`
    ConvTranspose2d,
    /// `Conv2d` of stride 1
    Conv2d,
    /// Nearest `Upsample` by the layer's stride, then a `Conv2d` of stride 1.
    UpsampleConv2d,
    /// `Conv2d` of stride 1, then a `PixelShuffle` by the layer's stride.
    Conv2dPixelShuffle,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linear => "Linear",
            Self::ConvTranspose2d => "ConvTranspose2d",
            Self::Conv2d => "Conv2d",
            Self::UpsampleConv2d => "Conv2d behind Upsample",
            Self::Conv2dPixelShuffle => "Conv2d before PixelShuffle",
        })
    }
}

impl Kind {
    /// Shape of the weight that makes this layer, `None` where no such module does.
    pub fn weight_shape(self, conv: &Conv) -> Option<Vec<usize>> {
        let (c_in, c_out) = (conv.c_in, conv.c_out);
        let (kernel, stride) = (conv.geometry.kernel, conv.geometry.stride);
        let (a, b, side) = match self {
            Self::Linear => return None,
            Self::ConvTranspose2d => (c_in, c_out, kernel),
            Self::Conv2d => (c_out, c_in, (stride == 1).then_some(kernel)?),
            Self::UpsampleConv2d => (c_out, c_in, (kernel + 1).checked_sub(stride)?),
            Self::Conv2dPixelShuffle => {
                let crops = crops(conv);
                let shuffled = [kernel, crops[0], crops[1], crops[2], crops[3]];
                let whole = shuffled.iter().all(|len| len % stride == 0);
                let side = whole.then_some(kernel / stride)?;
                (c_out * stride * stride, c_in, side)
            }
        };
        (side > 0).then(|| vec![a, b, side, side])
    }

    /// `Conv2d` of this kind in front of a layer of other numbers than the weight's: what to say
    /// of a weight of this shape.
    pub fn hint(shape: &[usize], conv: &Conv, i: usize) -> Option<String> {
        let (c_in, c_out, stride) = (conv.c_in, conv.c_out, conv.geometry.stride);
        let &[out, of, side, other] = shape else {
            return None;
        };
        if stride == 1 || of != c_in || side != other {
            return None;
        }
        let pad = side / 2;
        let (key, kind, kernel, crop) = if out == c_out {
            let name = format!("behind Upsample({stride})");
            (
                "upsample",
                name,
                side + stride - 1,
                side - 1 - pad.min(side - 1),
            )
        } else if out == c_out * stride * stride {
            let name = format!("before PixelShuffle({stride})");
            let crop = stride * (side - 1 - pad.min(side - 1));
            ("pixel_shuffle", name, side * stride, crop)
        } else {
            return None;
        };
        let crop = [crop; 4];
        Some(format!(
            "if it is a Conv2d {kind}, of padding {pad}, say {key} = [{i}] in [import], and of the \
             layer kernel = {kernel}, stride = {stride}, crop = {crop:?}"
        ))
    }
}

/// Pixels cut off at the top, left, bottom and right.
fn crops(conv: &Conv) -> [usize; 4] {
    let g = conv.geometry;
    let full = |i: usize| (g.small[i] - 1) * g.stride + g.kernel;
    let (bottom, right) = (full(0) - g.top - g.big[0], full(1) - g.left - g.big[1]);
    [g.top, g.left, bottom, right]
}

/// Whether a weight of the layer's shape may be a `ConvTranspose2d`'s or, behind an `Upsample` if
/// the stride is not 1, a `Conv2d`'s: as many channels in as out, and both give a map of this size.
pub fn is_ambiguous(conv: &Conv) -> bool {
    let g = conv.geometry;
    // A Conv2d of padding p gives `stride * len + 2 p - kernel + 1` pixels.
    let padding = |i: usize| {
        let twice = (g.big[i] + g.kernel).checked_sub(1 + g.stride * g.small[i])?;
        (twice % 2 == 0).then_some(twice / 2)
    };
    conv.c_in == conv.c_out && padding(0).is_some() && padding(0) == padding(1)
}

/// Whether each output pixel of a `Conv2d` has an input pixel at its own place, so that a channel
/// that is always 1 can bring a bias to it.
pub fn reaches_all(conv: &Conv) -> bool {
    let g = conv.geometry;
    (0..2).all(|i| g.big[i] <= g.small[i] * g.stride)
}
