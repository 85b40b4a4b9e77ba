//! The critic, a judge of single images: two dense layers over the image, halved in size
//! where it is large. Its score says how ordinary an image is; more is better.

use crate::error::{CriticError, InferError, LayerError};
use crate::layer::Layer;
use crate::ops::dense;
use crate::ops::kernels::Native;
use crate::types::Shape;

/// A judge of single images, small enough for the device.
#[derive(Clone, Copy, Debug)]
pub struct Critic<'a> {
    /// Shape of the generator's images.
    picture: Shape,
    halved: bool,
    passing: i8,
    layers: [Layer<'a>; 2],
}

/// The image as a critic sees it: whole, or halved, two by two pixels as one; a last odd
/// row or column is left out.
pub const fn seen_shape(picture: Shape, halved: bool) -> Shape {
    Shape {
        h: picture.h >> halved as u32,
        w: picture.w >> halved as u32,
        c: picture.c,
    }
}

impl<'a> Critic<'a> {
    /// *Errors*: a layer that does not fit the images or the other layer.
    pub(crate) fn new(
        picture: Shape,
        halved: bool,
        passing: i8,
        layers: [Layer<'a>; 2],
    ) -> Result<Self, CriticError> {
        let flat = |c| Shape { h: 1, w: 1, c };
        let [first, second] = &layers;
        let hidden = first.output_shape;
        let seen = flat(seen_shape(picture, halved).len());
        let needed = [(first, seen, flat(hidden.c)), (second, hidden, flat(1))];
        for (index, (layer, input, output)) in needed.into_iter().enumerate() {
            if layer.input_shape != input {
                let error = LayerError::InputShape;
                return Err(CriticError::Layer { index, error });
            }
            if layer.output_shape != output {
                let error = LayerError::OutputShape;
                return Err(CriticError::Layer { index, error });
            }
        }
        Ok(Self {
            picture,
            halved,
            passing,
            layers,
        })
    }

    /// Its layers, both dense.
    pub const fn layers(&self) -> &[Layer<'a>; 2] {
        &self.layers
    }

    /// Whether it sees two by two pixels as one.
    pub const fn is_halved(&self) -> bool {
        self.halved
    }

    /// The least score of an image that needs no further candidate.
    pub const fn passing(&self) -> i8 {
        self.passing
    }

    /// Values that it sees.
    pub const fn input_len(&self) -> usize {
        seen_shape(self.picture, self.halved).len()
    }

    /// Bytes of its layers.
    pub fn flash_bytes(&self) -> usize {
        self.layers.iter().map(Layer::flash_bytes).sum()
    }

    const fn hidden_words(&self) -> usize {
        self.layers[0].output_shape.len().div_ceil(4)
    }

    fn scratch_words(&self) -> usize {
        let words = self.layers.iter().map(|layer| {
            let (n_in, n_out) = (layer.input_shape.len(), layer.output_shape.len());
            dense::scratch_words(n_in, n_out, layer.weight_bits)
        });
        words.max().unwrap_or(0)
    }

    /// Words of the arena that [`score`](Self::score) takes.
    pub(crate) fn words(&self) -> usize {
        self.scratch_words() + self.hidden_words()
    }

    /// Takes a row of the image, top to bottom. *Shapes*: `values` `[w * c]`, `seen`
    /// [`input_len`](Self::input_len). Means of two are rounded up, across and then down.
    pub fn take_row(&self, row: usize, values: &[i8], seen: &mut [i8]) {
        let shape = seen_shape(self.picture, self.halved);
        let row_len = shape.w * shape.c;
        let at = (row >> u32::from(self.halved)) * row_len;
        let Some(into) = seen.get_mut(at..at + row_len) else {
            return;
        };
        if !self.halved {
            into.iter_mut().zip(values).for_each(|(to, &v)| *to = v);
            return;
        }
        let mean = |a: i8, b: i8| ((i16::from(a) + i16::from(b) + 1) >> 1) as i8;
        let c = shape.c.max(1);
        let mut pixels = values.chunks_exact(c);
        for to in into.chunks_exact_mut(c) {
            let (Some(left), Some(right)) = (pixels.next(), pixels.next()) else {
                return;
            };
            for (to, (&left, &right)) in to.iter_mut().zip(left.iter().zip(right)) {
                let across = mean(left, right);
                *to = if row.is_multiple_of(2) {
                    across
                } else {
                    mean(*to, across)
                };
            }
        }
    }

    /// The score of the image whose rows were [taken](Self::take_row): how ordinary it is; more
    /// is better.
    ///
    /// *Errors*: an arena or a `seen` that is too small.
    pub fn score(&self, seen: &[i8], arena: &mut [u32]) -> Result<i8, InferError> {
        let (need, have) = (self.input_len(), seen.len());
        let seen = seen.get(..need).filter(|_| need == have);
        let seen = seen.ok_or(InferError::InputLength { need, have })?;
        let too_small = InferError::ArenaTooSmall {
            need_bytes: 4 * self.words(),
            have_bytes: 4 * arena.len(),
        };
        let arena = arena.get_mut(..self.words()).ok_or(too_small)?;
        let parts = arena.split_at_mut_checked(self.scratch_words());
        let (scratch, hidden) = parts.ok_or(too_small)?;
        let [first, second] = &self.layers;
        let hidden: &mut [i8] = bytemuck::must_cast_slice_mut(hidden);
        let hidden = hidden.get_mut(..first.output_shape.len());
        let hidden = hidden.ok_or(too_small)?;
        dense::output_row::<Native>(first, 0, seen, scratch, hidden);
        let mut score = [0];
        dense::output_row::<Native>(second, 0, hidden, scratch, &mut score);
        let [score] = score;
        Ok(score)
    }
}

#[cfg(test)]
mod tests {
    use super::{Critic, seen_shape};
    use crate::error::{CriticError, InferError, LayerError};
    use crate::layer::Layer;
    use crate::layer::tests::{flat, layer};
    use crate::types::{Op, Shape};

    const PICTURE: Shape = Shape { h: 2, w: 2, c: 1 };
    const TWICE: [u8; 16] = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn dense<'a>(n_in: usize, n_out: usize, weights: &'a [u8]) -> Layer<'a> {
        layer(Op::Dense, [flat(n_in), flat(n_out)], weights)
    }

    fn halved() -> Critic<'static> {
        let layers = [dense(1, 1, &TWICE), dense(1, 1, &TWICE)];
        Critic::new(PICTURE, true, 3, layers).unwrap()
    }

    #[test]
    fn a_halved_picture_is_seen_in_means_of_four() {
        assert_eq!(
            seen_shape(Shape { h: 5, w: 7, c: 3 }, true),
            Shape { h: 2, w: 3, c: 3 }
        );
        let mut seen = [99];
        halved().take_row(0, &[1, 2], &mut seen);
        assert_eq!(seen, [2]);
        halved().take_row(1, &[4, 5], &mut seen);
        assert_eq!(seen, [4]);
        halved().take_row(2, &[100, 100], &mut seen);
        assert_eq!(seen, [4], "a row too many");
    }

    #[test]
    fn a_score_is_what_two_layers_make_of_it() {
        let critic = halved();
        let mut arena = vec![0; critic.words()];
        assert_eq!(critic.score(&[-5], &mut arena), Ok(-20));
        let short = InferError::InputLength { need: 1, have: 2 };
        assert_eq!(critic.score(&[1, 1], &mut arena), Err(short));
        let end = arena.len() - 1;
        let small = critic.score(&[1], &mut arena[..end]);
        assert!(matches!(small, Err(InferError::ArenaTooSmall { .. })));
    }

    #[test]
    fn layers_have_to_fit_the_pictures_and_each_other() {
        let error = |layers| Critic::new(PICTURE, false, 0, layers).err();
        let of = |index, error| Some(CriticError::Layer { index, error });
        assert_eq!(error([dense(4, 3, &[]), dense(3, 1, &[])]), None);
        let wrong = [dense(1, 3, &[]), dense(3, 1, &[])];
        assert_eq!(error(wrong), of(0, LayerError::InputShape));
        let wrong = [dense(4, 3, &[]), dense(2, 1, &[])];
        assert_eq!(error(wrong), of(1, LayerError::InputShape));
        let wrong = [dense(4, 3, &[]), dense(3, 2, &[])];
        assert_eq!(error(wrong), of(1, LayerError::OutputShape));
        let square = Shape { h: 3, w: 1, c: 1 };
        let wrong = layer(Op::Dense, [flat(4), square], &[]);
        assert_eq!(
            error([wrong, dense(3, 1, &[])]),
            of(0, LayerError::OutputShape)
        );
    }
}
