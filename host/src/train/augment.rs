//! Differentiable augmentation (Zhao et al. 2020): what the discriminator sees, real or
//! generated, is changed at random, so that it cannot learn a small set by heart.

use dfdx::prelude::{Axis, BroadcastTo, Device, HasShape, MeanTo, ReshapeTo, Tape, TryAdd, TryMul};
use gan_core::latent::Pcg32;

use crate::config::{Augmentation, Image};
use crate::nn::Mat;
use crate::nn::generic::gather_or_zero;
use crate::random;

/// Changes each image of a batch on its own. *Shapes*: `x` any matrix of `n` images
/// `[h, w, c]`, values from -1 to 1, result `[n * h * w, c]`.
pub fn augment<D: Device<f32>, T: Tape<f32, D>>(
    x: Mat<f32, D, T>,
    image: Image,
    kinds: &[Augmentation],
    rng: &mut Pcg32,
) -> Result<Mat<f32, D, T>, D::Err> {
    let (rows, cols) = *x.shape();
    let pixels = image.height * image.width;
    let n = rows * cols / (pixels * image.channels);
    let mut x = x.try_reshape_like(&(n * pixels, image.channels))?;
    if kinds.contains(&Augmentation::Color) {
        x = recolor(x, n, rng)?;
    }
    if kinds.iter().any(|kind| *kind != Augmentation::Color) {
        let index = (0..n).flat_map(|i| {
            let source = Moved::draw(image, kinds, rng);
            (0..pixels).map(move |pixel| source.of(pixel).map(|from| i * pixels + from))
        });
        x = gather_or_zero(x, index.collect())?;
    }
    Ok(x)
}

/// `contrast * (saturation * (x - m) + m + brightness - mean) + mean`, where `m` is the mean
/// of a pixel's channels and `mean` that of the brightened image.
fn recolor<D: Device<f32>, T: Tape<f32, D>>(
    x: Mat<f32, D, T>,
    n: usize,
    rng: &mut Pcg32,
) -> Result<Mat<f32, D, T>, D::Err> {
    let (rows, c) = *x.shape();
    let per_picture = rows / n * c;
    let (mut own, mut pixel, mut picture, mut offset) = (vec![], vec![], vec![], vec![]);
    for _ in 0..n {
        let mut draw = || random::uniform(rng);
        let (brightness, saturation, contrast) = (draw() - 0.5, 2.0 * draw(), draw() + 0.5);
        // A grey image has no saturation.
        let saturation = if c == 1 { 1.0 } else { saturation };
        let factors = [
            (&mut own, contrast * saturation),
            (&mut pixel, contrast * (1.0 - saturation)),
            (&mut picture, 1.0 - contrast),
            (&mut offset, brightness),
        ];
        for (values, factor) in factors {
            values.resize(values.len() + per_picture, factor);
        }
    }
    let device = x.device().clone();
    let constant = |values: Vec<f32>| device.try_tensor_from_vec(values, (n, per_picture));
    let pixel_means = x
        .retaped::<T>()
        .try_mean::<(usize,), Axis<1>>()?
        .try_broadcast_like::<_, Axis<1>>(&(rows, c))?
        .try_reshape_like(&(n, per_picture))?;
    let x = x.try_reshape_like(&(n, per_picture))?;
    let means = x
        .retaped::<T>()
        .try_mean::<(usize,), Axis<1>>()?
        .try_broadcast_like::<_, Axis<1>>(&(n, per_picture))?;
    x.try_mul(constant(own)?)?
        .try_add(pixel_means.try_mul(constant(pixel)?)?)?
        .try_add(means.try_mul(constant(picture)?)?)?
        .try_add(constant(offset)?)?
        .try_reshape_like(&(rows, c))
}

/// Where the pixels of one image come from.
#[derive(Clone, Copy)]
struct Moved {
    image: Image,
    /// Down and right, in pixels.
    shift: [isize; 2],
    /// Top and left of the hole, and its height and width, in pixels.
    hole: ([isize; 2], [isize; 2]),
    /// Whether left and right are exchanged.
    flipped: bool,
}

impl Moved {
    fn draw(image: Image, kinds: &[Augmentation], rng: &mut Pcg32) -> Self {
        let sides = [image.height as isize, image.width as isize];
        let has = |kind| kinds.contains(&kind);
        let (mut shift, mut hole) = ([0; 2], ([0; 2], [0; 2]));
        for (axis, &side) in sides.iter().enumerate() {
            if has(Augmentation::Translation) {
                let most = (side + 4) / 8;
                shift[axis] = random::below(rng, 2 * most as usize + 1) as isize - most;
            }
            if has(Augmentation::Cutout) {
                let len = (side + 1) / 2;
                let centre = random::below(rng, side as usize + 1) as isize;
                hole.0[axis] = centre - len / 2;
                hole.1[axis] = len;
            }
        }
        Self {
            image,
            shift,
            hole,
            flipped: has(Augmentation::Flip) && random::below(rng, 2) == 1,
        }
    }

    /// The pixel that is seen at `pixel`, `None` for grey.
    fn of(self, pixel: usize) -> Option<usize> {
        let Image { height, width, .. } = self.image;
        let at = [(pixel / width) as isize, (pixel % width) as isize];
        let (corner, len) = self.hole;
        if (0..2).all(|i| (0..len[i]).contains(&(at[i] - corner[i]))) {
            return None;
        }
        let (y, x) = (at[0] - self.shift[0], at[1] - self.shift[1]);
        let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
        let x = match self.flipped {
            true => width as isize - 1 - x,
            false => x,
        };
        inside.then_some(y as usize * width + x as usize)
    }
}
