//! Sub-pixel geometry: a transposed convolution of stride `s` is `s * s` small
//! convolutions, one per output phase, each with its own taps only (Shi et al. 2016).
//!
//! Output column `out` belongs to phase `(out + crop) % stride`. A phase's taps are
//! ordered by the input column that they read, leftmost first.

use crate::types::{Shape, Window};

/// `(a / b, a % b)` for `b > 0`; strides are nearly always 1 or 2, and small cores have
/// no divider.
pub(crate) const fn divide(a: usize, b: usize) -> (usize, usize) {
    match b {
        0 | 1 => (a, 0),
        2 => (a >> 1, a & 1),
        _ => (a / b, a % b),
    }
}

/// Taps of phase `r` of a kernel: every `stride`-th from `r` on.
pub(crate) const fn phase_taps(kernel: usize, stride: usize, r: usize) -> usize {
    divide(kernel + stride - 1 - r, stride).0
}

/// Rows or columns of a transposed convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub kernel: usize,
    pub stride: usize,
    /// Positions that are cut off before the first output.
    pub crop: usize,
    pub len_in: usize,
    pub len_out: usize,
}

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

/// Every `stride`-th output and the taps that land on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    /// Taps, 0 where the kernel is smaller than the stride.
    pub taps: usize,
    /// First output.
    pub first_out: usize,
    /// Outputs.
    pub count: usize,
    /// Input under the first tap of the first output; each further tap or output is one
    /// further right.
    pub first_in: isize,
}

impl Axis {
    /// Taps of phase `r`.
    pub const fn taps(&self, r: usize) -> usize {
        phase_taps(self.kernel, self.stride, r)
    }

    /// Phase `r`, below the stride.
    #[expect(clippy::cast_possible_wrap, reason = "pixels are counted in 16 bits")]
    pub const fn phase(&self, r: usize) -> Phase {
        let behind = divide(self.crop, self.stride).1;
        let first_out = if r >= behind {
            r - behind
        } else {
            r + self.stride - behind
        };
        let left = self.len_out.saturating_sub(first_out);
        let taps = self.taps(r);
        Phase {
            taps,
            first_out,
            count: divide(left + self.stride - 1, self.stride).0,
            first_in: divide(first_out + self.crop, self.stride).0 as isize + 1 - taps as isize,
        }
    }

    /// Phase of an output, and the last input that reaches it, counted beyond the end.
    pub const fn at(&self, out: usize) -> (usize, usize) {
        let (last, r) = divide(out + self.crop, self.stride);
        (r, last)
    }

    /// Inputs that one output can need at once.
    pub const fn window(&self) -> usize {
        self.taps(0)
    }

    /// The most taps that land inside the input for one output.
    pub const fn most_landing(&self) -> usize {
        if self.window() < self.len_in {
            self.window()
        } else {
            self.len_in
        }
    }

    /// The inputs that all phases read together.
    #[expect(clippy::cast_sign_loss, reason = "the maximum is not negative")]
    pub const fn span(&self) -> Span {
        let (mut margin, mut end, mut outputs) = (0, 0, 0);
        let mut r = 0;
        while r < self.stride {
            let phase = self.phase(r);
            let last = phase.first_in + phase.taps as isize - 1;
            if phase.taps > 0 && -phase.first_in > margin {
                margin = -phase.first_in;
            }
            if phase.taps > 0 && last > end {
                end = last;
            }
            if phase.count > outputs {
                outputs = phase.count;
            }
            r += 1;
        }
        Span {
            margin: margin as usize,
            reach: (margin + end) as usize,
            outputs,
        }
    }
}

/// The inputs that all phases of an axis read together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Inputs before the first one that taps reach.
    pub margin: usize,
    /// Inputs that `n` neighbouring outputs of any phase read, less `n`, from `margin`
    /// before the first input on.
    pub reach: usize,
    /// Outputs of the largest phase.
    pub outputs: usize,
}

#[cfg(test)]
mod tests {
    use super::Axis;

    /// Kernels smaller than, equal to and larger than the stride, crops at each side of it.
    fn axes() -> impl Iterator<Item = Axis> {
        (1..6)
            .flat_map(|kernel| (1..4).map(move |stride| (kernel, stride)))
            .flat_map(|(kernel, stride)| {
                let axis = move |crop, len_in: usize| Axis {
                    kernel,
                    stride,
                    crop,
                    len_in,
                    len_out: (len_in - 1) * stride + kernel - crop,
                };
                (0..kernel).flat_map(move |crop| (2..5).map(move |len_in| axis(crop, len_in)))
            })
    }

    /// Inputs, also beyond the ends, whose taps land on an output.
    fn inputs(axis: Axis, out: usize) -> Vec<isize> {
        let at = |input: isize| (out + axis.crop) as isize - input * axis.stride as isize;
        let reaches = |&input: &isize| (0..axis.kernel as isize).contains(&at(input));
        (-20..40).filter(reaches).collect()
    }

    #[test]
    fn a_phase_reads_what_reaches_its_outputs() {
        for axis in axes() {
            let mut outputs = 0;
            for r in 0..axis.stride {
                let phase = axis.phase(r);
                outputs += phase.count;
                for n in 0..phase.count {
                    let first = phase.first_in + n as isize;
                    let read: Vec<isize> = (first..first + phase.taps as isize).collect();
                    let out = phase.first_out + n * axis.stride;
                    assert_eq!(read, inputs(axis, out), "{axis:?} {out}");
                    if let Some(&last) = read.last() {
                        assert_eq!(axis.at(out), (r, last as usize), "{axis:?} {out}");
                    }
                }
            }
            assert_eq!(outputs, axis.len_out, "{axis:?}");
        }
    }

    #[test]
    fn windows_and_spans_hold_what_is_read() {
        for axis in axes() {
            let span = axis.span();
            for out in 0..axis.len_out {
                let read = inputs(axis, out);
                let landing = read.iter().filter(|&&i| i >= 0 && i < axis.len_in as isize);
                assert!(read.len() <= axis.window() && landing.count() <= axis.most_landing());
            }
            for phase in (0..axis.stride)
                .map(|r| axis.phase(r))
                .filter(|phase| phase.taps > 0)
            {
                let last = phase.first_in + (phase.count + phase.taps) as isize - 2;
                let end = (phase.count + span.reach) as isize - span.margin as isize;
                assert!(
                    -phase.first_in <= span.margin as isize && last < end,
                    "{axis:?}"
                );
                assert!(phase.count <= span.outputs);
            }
        }
    }
}
