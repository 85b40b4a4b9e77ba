//! Drawing a picture: the ten-minute read.
//!
//! Two ends of the caller's arena take turns: a layer reads its input from one and writes
//! its output to the other.

use crate::error::InferError;
use crate::model::{Layer, Model, Op};
use crate::ops::{conv_transpose::conv_transpose, dense::dense};

/// Arena bytes for layers of these `(input, output)` lengths; the first layer reads the
/// caller's input where it is.
pub(crate) fn required_bytes(lens: impl Iterator<Item = (usize, usize)>) -> usize {
    let needs = lens.enumerate();
    let needs = needs.map(|(i, (input, output))| if i == 0 { output } else { input + output });
    needs.max().unwrap_or(0)
}

impl Model<'_> {
    /// Draws the picture of `input` (see [`Model::fill_input`]) and hands each row to
    /// `sink` as `(row, values [w * c])`, top to bottom.
    ///
    /// *Errors*: an arena below [`Model::required_bytes`], an input of the wrong length.
    pub fn run(
        &self,
        input: &[i8],
        arena: &mut [i8],
        mut sink: impl FnMut(usize, &[i8]),
    ) -> Result<(), InferError> {
        let last = self.layers().len() - 1;
        let row_len = self.output_shape().w * self.output_shape().c;
        self.run_observed(input, arena, |layer, output| {
            if layer == last {
                let rows = output.chunks_exact(row_len.max(1)).enumerate();
                rows.for_each(|(row, values)| sink(row, values));
            }
        })
    }

    /// As [`run`](Self::run), but hands every layer's finished output to `observer` as
    /// `(layer, values [h * w * c])`.
    pub fn run_observed(
        &self,
        input: &[i8],
        arena: &mut [i8],
        mut observer: impl FnMut(usize, &[i8]),
    ) -> Result<(), InferError> {
        let (need, have) = (self.input_len(), input.len());
        if need != have {
            return Err(InferError::InputLength { need, have });
        }
        let (need_bytes, have_bytes) = (self.required_bytes(), arena.len());
        let too_small = InferError::ArenaTooSmall {
            need_bytes,
            have_bytes,
        };
        let arena = arena.get_mut(..need_bytes).ok_or(too_small)?;
        for (i, layer) in self.layers().iter().enumerate() {
            let (input_len, output_len) = (layer.input_shape.len(), layer.output_shape.len());
            let at_front = i % 2 == 0;
            let split = if at_front {
                output_len
            } else {
                need_bytes - output_len
            };
            let (front, back) = arena.split_at_mut_checked(split).ok_or(too_small)?;
            let (output, other) = if at_front {
                (front, back)
            } else {
                (back, front)
            };
            let x = match (i, at_front) {
                (0, _) => input,
                (_, true) => &other[other.len().saturating_sub(input_len)..],
                (_, false) => other.get(..input_len).unwrap_or(&[]),
            };
            run_layer(layer, x, output);
            observer(i, output);
        }
        Ok(())
    }
}

fn run_layer(layer: &Layer<'_>, x: &[i8], y: &mut [i8]) {
    match layer.op {
        Op::Dense => dense(layer, x, y),
        Op::ConvTranspose(window) => conv_transpose(layer, window, x, y),
    }
}
