//! Drawing an image, row by row.
//!
//! The last layer is asked for its rows, top to bottom. A layer asked for a row asks the
//! one before for the input rows that are still missing, computes its row and leaves it in
//! the ring behind it. So each layer holds only the few rows that one output row reads,
//! and each row is computed once.

use crate::error::InferError;
use crate::model::Model;
use crate::ops::kernels::{KernelSet, Native};
use crate::ops::output_row;
use crate::plan::{Mode, Plan, Ring};
use crate::slice::{part, part_at};
use crate::types::MAX_LAYERS;

impl Model<'_> {
    /// Draws the image of `input` (see [`Model::fill_input`]) and hands each row to
    /// `sink` as `(row, values [w * c])`, top to bottom.
    ///
    /// *Errors*: an arena below [`Model::required_words`] of [`Mode::Streamed`], an input
    /// of the wrong length.
    pub fn run(
        &self,
        input: &[i8],
        arena: &mut [u32],
        sink: impl FnMut(usize, &[i8]),
    ) -> Result<(), InferError> {
        self.run_with::<Native>(input, arena, sink)
    }

    /// Runs like [`run`](Self::run) by a chosen set of inner loops; the result is the same.
    pub fn run_with<K: KernelSet>(
        &self,
        input: &[i8],
        arena: &mut [u32],
        mut sink: impl FnMut(usize, &[i8]),
    ) -> Result<(), InferError> {
        let mut drawing = Drawing::new(self, Mode::Streamed, input, arena)?;
        let last = self.layers().len() - 1;
        for row in 0..self.output_shape().h {
            drawing.pull::<K>(last, row);
            sink(row, drawing.row(last, row));
        }
        Ok(())
    }

    /// Runs like [`run`](Self::run), layer by layer, and hands every layer's finished output to
    /// `observer` as `(layer, values [h * w * c])`.
    ///
    /// *Errors*: an arena below [`Model::required_words`] of [`Mode::WholeLayers`], an
    /// input of the wrong length.
    pub fn run_observed(
        &self,
        input: &[i8],
        arena: &mut [u32],
        mut observer: impl FnMut(usize, &[i8]),
    ) -> Result<(), InferError> {
        let mut drawing = Drawing::new(self, Mode::WholeLayers, input, arena)?;
        for (i, layer) in self.layers().iter().enumerate() {
            for row in 0..layer.output_shape.h {
                drawing.compute::<Native>(i, row);
            }
            let range = drawing.plan.rings.get(i).map_or(0..0, Ring::range);
            observer(i, part(drawing.rows, range));
        }
        Ok(())
    }
}

/// An image on its way.
struct Drawing<'r> {
    model: &'r Model<'r>,
    plan: Plan,
    input: &'r [i8],
    scratch: &'r mut [u32],
    rows: &'r mut [i8],
    /// Rows that each layer has computed.
    done: [usize; MAX_LAYERS],
}

impl<'r> Drawing<'r> {
    fn new(
        model: &'r Model<'r>,
        mode: Mode,
        input: &'r [i8],
        arena: &'r mut [u32],
    ) -> Result<Self, InferError> {
        let (need, have) = (model.input_len(), input.len());
        if need != have {
            return Err(InferError::InputLength { need, have });
        }
        let plan = Plan::new(model.layers(), mode);
        let (need_bytes, have_bytes) = (4 * plan.words(), 4 * arena.len());
        let too_small = InferError::ArenaTooSmall {
            need_bytes,
            have_bytes,
        };
        let arena = arena.get_mut(..plan.words()).ok_or(too_small)?;
        let parts = arena.split_at_mut_checked(plan.scratch_words);
        let (scratch, rows) = parts.ok_or(too_small)?;
        Ok(Self {
            model,
            plan,
            input,
            scratch,
            rows: bytemuck::must_cast_slice_mut(rows),
            done: [0; MAX_LAYERS],
        })
    }

    /// Row `row` of layer `layer`'s output, as long as it lives.
    fn row(&self, layer: usize, row: usize) -> &[i8] {
        let ring = self.plan.rings.get(layer);
        let row = ring.map_or(0..0, |ring| {
            let at = ring.row_at(row);
            at..at + ring.row_bytes
        });
        part(self.rows, row)
    }

    /// Computes row `row` of layer `layer` after the rows that it needs.
    fn pull<K: KernelSet>(&mut self, layer: usize, row: usize) {
        if let Some(before) = layer.checked_sub(1) {
            let need = self
                .model
                .layers()
                .get(layer)
                .map_or(0, |layer| layer.rows_before(row));
            while let Some(next) = self.done.get(before).copied().filter(|&done| done < need) {
                self.pull::<K>(before, next);
            }
        }
        self.compute::<K>(layer, row);
        if let Some(done) = self.done.get_mut(layer) {
            *done += 1;
        }
    }

    /// Computes row `row` of layer `layer` from rows that exist.
    fn compute<K: KernelSet>(&mut self, i: usize, row: usize) {
        let (Some(layer), Some(ring)) = (self.model.layers().get(i), self.plan.rings.get(i)) else {
            return;
        };
        let before = i.checked_sub(1).and_then(|i| self.plan.rings.get(i));
        // The ring that is read and the row that is written do not overlap; either may lie
        // first.
        let at = ring.row_at(row);
        let Some((front, back)) = self.rows.split_at_mut_checked(at) else {
            return;
        };
        let Some((y, back)) = back.split_at_mut_checked(ring.row_bytes) else {
            return;
        };
        let behind = at + ring.row_bytes;
        let input = |from: usize, len: usize| {
            let (rows, from) = match from.checked_sub(behind) {
                Some(from) => (&*back, from),
                None => (&*front, from),
            };
            part_at(rows, from, len)
        };
        let scratch = &mut *self.scratch;
        let whole = || before.map_or(self.input, |ring| input(ring.at_bytes, ring.range().len()));
        let input_row =
            |iy| before.map_or(self.input, |ring| input(ring.row_at(iy), ring.row_bytes));
        output_row::<K>(layer, row, whole, input_row, scratch, y);
    }
}

#[cfg(test)]
mod tests {
    use crate::error::InferError;
    use crate::model::Model;
    use crate::ops::kernels::{Dsp, KernelSet, Packed, Portable};
    use crate::plan::Mode;

    const FILES: [&[u8]; 3] = [
        include_bytes!("../fuzz/seeds/rich.gan"),
        include_bytes!("../fuzz/seeds/plain.gan"),
        include_bytes!("../fuzz/seeds/tiny.gan"),
    ];

    fn drawn<K: KernelSet>(model: &Model<'_>, input: &[i8]) -> Vec<i8> {
        let mut arena = vec![0xAAAA_AAAA; model.required_words(Mode::Streamed)];
        let mut picture = Vec::new();
        let mut next = 0;
        let take = |row, values: &[i8]| {
            assert_eq!(row, next);
            next += 1;
            picture.extend_from_slice(values);
        };
        model.run_with::<K>(input, &mut arena, take).unwrap();
        picture
    }

    #[test]
    fn rows_and_whole_layers_and_all_loops_give_the_same_picture() {
        for file in FILES {
            let model = Model::parse(file).unwrap();
            let mut input = vec![0; model.input_len()];
            let class = (model.class_count() > 0).then_some(0);
            model.fill_input(1, class, &mut input).unwrap();
            let picture = drawn::<Portable>(&model, &input);
            assert_eq!(picture.len(), model.output_shape().len());
            assert_eq!(drawn::<Packed>(&model, &input), picture);
            assert_eq!(drawn::<Dsp>(&model, &input), picture);
            let mut arena = vec![0; model.required_words(Mode::WholeLayers)];
            let mut layers = Vec::new();
            let observe = |_, values: &[i8]| layers.push(values.to_vec());
            model.run_observed(&input, &mut arena, observe).unwrap();
            assert_eq!(
                (layers.len(), layers.last()),
                (model.layers().len(), Some(&picture))
            );
        }
    }

    #[test]
    fn too_little_memory_and_a_wrong_input_are_errors() {
        let model = Model::parse(FILES[0]).unwrap();
        let words = model.required_words(Mode::Streamed);
        let run = |len, words| model.run(&vec![0; len], &mut vec![0; words], |_, _| ());
        assert_eq!(run(5, words), Ok(()));
        let error = InferError::InputLength { need: 5, have: 4 };
        assert_eq!(run(4, words), Err(error));
        let short = run(5, 0);
        assert!(matches!(
            short,
            Err(InferError::ArenaTooSmall { have_bytes: 0, .. })
        ));
    }
}
