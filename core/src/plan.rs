//! The arena's plan: where scratch and rows lie in the memory that the caller brings.
//!
//! The arena begins with the *scratch* of the layer at work (a plane and sums, see
//! [`kernels`](crate::ops::kernels)). Behind it lies a ring of rows before each layer but the
//! first, which reads the caller's input, and one behind the last. Row `i` lies in slot
//! `i % rows`.

use heapless::Vec;

use crate::layer::Layer;
use crate::types::MAX_LAYERS;

/// The part of an image that is in memory at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Layers pull the rows that they need: the least memory. No row is computed twice.
    Streamed,
    /// One layer after the other, whole, for inspection.
    WholeLayers,
}

/// Rows between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    /// Offset from the first byte behind the scratch.
    pub at_bytes: usize,
    pub rows: usize,
    pub row_bytes: usize,
}

impl Ring {
    /// Rings begin at multiples of 4: some loops read words.
    const fn bytes(&self) -> usize {
        (self.rows * self.row_bytes).next_multiple_of(4)
    }

    /// Offset of row `i`.
    pub fn row_at(&self, i: usize) -> usize {
        self.at_bytes + i % self.rows.max(1) * self.row_bytes
    }

    /// The ring's place in the arena.
    pub const fn range(&self) -> core::ops::Range<usize> {
        self.at_bytes..self.at_bytes + self.rows * self.row_bytes
    }
}

/// The arena's plan.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub scratch_words: usize,
    /// `rings[i]` takes the output of layer `i`.
    pub rings: Vec<Ring, MAX_LAYERS>,
    /// Bytes of all rings.
    pub row_bytes: usize,
}

impl Plan {
    pub fn new(layers: &[Layer<'_>], mode: Mode) -> Self {
        let scratch_words = layers.iter().map(Layer::scratch_words).max().unwrap_or(0) as usize;
        let mut rings: Vec<Ring, MAX_LAYERS> = Vec::new();
        let whole = |i: usize| {
            let layer = layers.get(i);
            layer.map_or(0, |layer| layer.output_shape.len().next_multiple_of(4))
        };
        // Whole layers take turns at the two ends of what the largest two neighbours need.
        let pairs = (0..layers.len()).map(|i| whole(i) + whole(i + 1));
        let (mut at_bytes, ends) = (0, pairs.max().unwrap_or(0));
        for (i, layer) in layers.iter().enumerate() {
            let shape = layer.output_shape;
            let rows = match mode {
                Mode::Streamed => layers.get(i + 1).map_or(1, Layer::window_rows),
                Mode::WholeLayers => shape.h,
            };
            let mut ring = Ring {
                at_bytes,
                rows,
                row_bytes: shape.w * shape.c,
            };
            at_bytes += ring.bytes();
            if mode == Mode::WholeLayers {
                ring.at_bytes = if i % 2 == 0 { 0 } else { ends - ring.bytes() };
            }
            // A model has no more layers than the plan has room for.
            let _ = rings.push(ring);
        }
        let row_bytes = match mode {
            Mode::Streamed => at_bytes,
            Mode::WholeLayers => ends,
        };
        Self {
            scratch_words,
            rings,
            row_bytes,
        }
    }

    /// Words of the arena.
    pub const fn words(&self) -> usize {
        self.scratch_words + self.row_bytes.div_ceil(4)
    }
}

#[cfg(test)]
mod tests {
    use super::{Mode, Plan};
    use crate::layer::Layer;
    use crate::layer::tests::{flat, layer};
    use crate::types::{Op, Shape, Window};

    /// A dense layer of 4x4 pixels, then two that double the sides.
    fn layers() -> [Layer<'static>; 3] {
        let twice = Op::ConvTranspose(Window {
            kernel: 4,
            stride: 2,
            crop_top: 1,
            crop_left: 1,
            crop_bottom: 1,
            crop_right: 1,
        });
        let map = |side| Shape {
            h: side,
            w: side,
            c: 3,
        };
        [
            layer(Op::Dense, [flat(5), map(4)], &[]),
            layer(twice, [map(4), map(8)], &[]),
            layer(twice, [map(8), map(16)], &[]),
        ]
    }

    #[test]
    fn streamed_rows_are_those_that_a_window_needs() {
        let plan = Plan::new(&layers(), Mode::Streamed);
        let rows: Vec<_> = plan.rings.iter().map(|ring| ring.rows).collect();
        assert_eq!(rows, [2, 2, 1]);
        assert_eq!(plan.row_bytes, 2 * 12 + 2 * 24 + 48);
        let ends: Vec<_> = plan.rings.iter().map(|ring| ring.range()).collect();
        assert!(ends.is_sorted_by(|a, b| a.end <= b.start), "{ends:?}");
        assert_eq!(plan.rings[1].row_at(5), plan.rings[1].row_at(1));
    }

    #[test]
    fn whole_layers_leave_the_one_before_alone() {
        let plan = Plan::new(&layers(), Mode::WholeLayers);
        assert_eq!(plan.row_bytes, 8 * 24 + 16 * 48);
        for pair in plan.rings.windows(2) {
            let [a, b] = [pair[0].range(), pair[1].range()];
            assert!(a.end <= b.start || b.end <= a.start, "{a:?} {b:?}");
            assert!(a.end.max(b.end) <= plan.row_bytes);
        }
        assert_eq!(plan.words(), plan.scratch_words + plan.row_bytes / 4);
    }
}
