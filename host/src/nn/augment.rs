//! The change of each image that an augmentation makes, forward and backward.

use gan_core::Shape;
use rayon::prelude::*;

use super::Float;

/// The change of one image: its colours first, then the place of its pixels.
///
/// Colours become `own * x + pixel_mean * m + image_mean * mean + offset`, where `m` is the
/// mean of a pixel's channels and `mean` that of the whole image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Factor of the value itself.
    pub own: f32,
    /// Factor of the mean of the pixel's channels.
    pub pixel_mean: f32,
    /// Factor of the mean of the image.
    pub image_mean: f32,
    /// The value that is added to every channel.
    pub offset: f32,
    /// The image moves down and right by so many pixels; zeros come in from outside.
    pub shift: [isize; 2],
    /// Top and left of a rectangle of zeros, in pixels.
    pub hole_at: [isize; 2],
    /// Height and width of that rectangle, in pixels.
    pub hole_len: [isize; 2],
    /// Left and right are exchanged.
    pub flipped: bool,
}

impl Change {
    /// The change that leaves an image as it is.
    pub const NONE: Self = Self {
        own: 1.0,
        pixel_mean: 0.0,
        image_mean: 0.0,
        offset: 0.0,
        shift: [0; 2],
        hole_at: [0; 2],
        hole_len: [0; 2],
        flipped: false,
    };

    /// The pixel of the image that is seen at `pixel`, if any.
    pub fn source(&self, shape: Shape, pixel: usize) -> Option<usize> {
        let at = [(pixel / shape.w) as isize, (pixel % shape.w) as isize];
        if (0..2).all(|i| (0..self.hole_len[i]).contains(&(at[i] - self.hole_at[i]))) {
            return None;
        }
        let (y, x) = (at[0] - self.shift[0], at[1] - self.shift[1]);
        let inside = (0..shape.h as isize).contains(&y) && (0..shape.w as isize).contains(&x);
        let x = match self.flipped {
            true => shape.w as isize - 1 - x,
            false => x,
        };
        inside.then_some(y as usize * shape.w + x as usize)
    }

    /// The linear part of the change of colours, which is its own adjoint; `offset` is added
    /// where it is given. *Shapes*: `x`, `y` one image of `c` channels.
    fn recolor<E: Float>(&self, x: &[E], c: usize, offset: f32, y: &mut [E]) {
        let mean_of = |values: &[E]| {
            let sum = values.iter().fold(E::zero(), |sum, &v| sum + v);
            sum / E::of(values.len() as f64)
        };
        let factor = |v: f32| E::of(f64::from(v));
        let (own, pixel) = (factor(self.own), factor(self.pixel_mean));
        let common = factor(self.image_mean) * mean_of(x) + factor(offset);
        for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
            let shared = pixel * mean_of(x) + common;
            y.iter_mut()
                .zip(x)
                .for_each(|(y, &x)| *y = own * x + shared);
        }
    }
}

/// Changes each image by its own change. *Shapes*: `x`, `y` `[n, h, w, c]`.
pub fn change_images<E: Float>(x: &[E], shape: Shape, changes: &[Change], y: &mut [E]) {
    let c = shape.c;
    let images = x.par_chunks(shape.len()).zip(y.par_chunks_mut(shape.len()));
    images.zip(changes).for_each(|((x, y), change)| {
        let mut colours = vec![E::zero(); shape.len()];
        change.recolor(x, c, change.offset, &mut colours);
        for (pixel, y) in y.chunks_exact_mut(c).enumerate() {
            match change.source(shape, pixel) {
                Some(from) => y.copy_from_slice(&colours[from * c..(from + 1) * c]),
                None => y.fill(E::zero()),
            }
        }
    });
}

/// Adds the gradient of [`change_images`] for its input to `gx`: the adjoint of each change.
/// *Shapes*: `gy`, `gx` `[n, h, w, c]`.
pub fn change_images_grad<E: Float>(gy: &[E], shape: Shape, changes: &[Change], gx: &mut [E]) {
    let c = shape.c;
    let images = gy
        .par_chunks(shape.len())
        .zip(gx.par_chunks_mut(shape.len()));
    images.zip(changes).for_each(|((gy, gx), change)| {
        let (mut moved, mut g) = (vec![E::zero(); shape.len()], vec![E::zero(); shape.len()]);
        for (pixel, gy) in gy.chunks_exact(c).enumerate() {
            // No two pixels have the same source.
            if let Some(from) = change.source(shape, pixel) {
                moved[from * c..(from + 1) * c].copy_from_slice(gy);
            }
        }
        change.recolor(&moved, c, 0.0, &mut g);
        gx.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
    });
}
