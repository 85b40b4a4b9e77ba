//! Where the taps of a (transposed) convolution land.

/// Relates the *big* map of a strided convolution (its input, or a transposed
/// convolution's output) to the *small* one.
///
/// Tap `(ky, kx)` of small pixel `(y, x)` touches big pixel
/// `(y * stride + ky - top, x * stride + kx - left)`; taps outside the big map
/// read zero and are not written. A convolution pads by `top`/`left`, a
/// transposed convolution crops by them: the same numbers, so that each is the
/// other's backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Height and width of the big map, in pixels.
    pub big: [usize; 2],
    /// Height and width of the small map, in pixels.
    pub small: [usize; 2],
    /// Side of the square kernel, in taps.
    pub kernel: usize,
    /// Distance of neighbouring small pixels on the big map, in pixels.
    pub stride: usize,
    /// Rows padded (or cropped) above the big map.
    pub top: usize,
    /// Columns padded (or cropped) left of the big map.
    pub left: usize,
}

/// Rows or columns padded (convolution) or cropped (transposed convolution) on
/// each side. Keras `SAME` with kernel 5 and stride 2 crops 1, 1, 2, 2; PyTorch's
/// `padding=2, output_padding=1` crops 2, 2, 1, 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margins {
    /// Margin above.
    pub top: usize,
    /// Margin on the left.
    pub left: usize,
    /// Margin below.
    pub bottom: usize,
    /// Margin on the right.
    pub right: usize,
}

impl Geometry {
    /// A convolution of a `[h, w]` map: `out = (in + margins - kernel) / stride + 1`,
    /// or `None` where the kernel does not fit.
    pub fn conv(input: [usize; 2], kernel: usize, stride: usize, pad: Margins) -> Option<Self> {
        let side = |len: usize, margin: usize| {
            let room = (len + margin).checked_sub(kernel)?;
            room.checked_div(stride).map(|steps| steps + 1)
        };
        let small = [
            side(input[0], pad.top + pad.bottom)?,
            side(input[1], pad.left + pad.right)?,
        ];
        (kernel > 0).then_some(Self {
            big: input,
            small,
            kernel,
            stride,
            top: pad.top,
            left: pad.left,
        })
    }

    /// A transposed convolution of a `[h, w]` map:
    /// `out = (in - 1) * stride + kernel - margins`, or `None` where nothing is left.
    pub fn conv_transpose(
        input: [usize; 2],
        kernel: usize,
        stride: usize,
        crop: Margins,
    ) -> Option<Self> {
        let side = |len: usize, margin: usize| {
            let full = len.checked_sub(1)? * stride + kernel;
            full.checked_sub(margin).filter(|&len| len > 0)
        };
        let big = [
            side(input[0], crop.top + crop.bottom)?,
            side(input[1], crop.left + crop.right)?,
        ];
        (kernel > 0 && stride > 0).then_some(Self {
            big,
            small: input,
            kernel,
            stride,
            top: crop.top,
            left: crop.left,
        })
    }

    /// Pixels of the big map.
    pub fn big_len(&self) -> usize {
        self.big[0] * self.big[1]
    }

    /// Pixels of the small map.
    pub fn small_len(&self) -> usize {
        self.small[0] * self.small[1]
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel * self.kernel
    }
}
