//! The same layers spelled in dfdx's own ops: what runs on `Cuda`, and the reference
//! that the fast `Cpu` kernels are tested against.

use dfdx::prelude::{
    Axis, BroadcastTo, Device, GatherTo, HasErr, HasShape, MeanTo, ReshapeTo, SumTo, Tape, TryAdd,
    TryConcatAlong, TryMatMul, TryMul, TrySub,
};
use gan_core::Shape;

use super::augment::Change;
use super::conv::Conv;
use super::geometry::Geometry;
use super::network::{Block, Network, PassStats};
use super::norm::{BatchStats, NORM_EPSILON};
use super::op::linear_on_tape;
use super::{Activation, Backend, Float, Mat};

type Result<T, D> = std::result::Result<T, <D as HasErr>::Err>;

/// A whole pass, op by op; dfdx computes every gradient, mask or not. Shapes as in
/// [`Backend::forward_pass`].
pub fn forward_pass<E: Float, D: Backend<E>, T: Tape<E, D>>(
    network: &Network<E, D>,
    mut x: Mat<E, D, T>,
) -> Result<(Mat<E, D, T>, PassStats<E>), D> {
    let mut pass_stats = Vec::with_capacity(network.blocks.len());
    for Block {
        spec,
        weight,
        gamma,
        beta,
        ..
    } in &network.blocks
    {
        let w = &weight.tensor;
        x = linear_on_tape(spec.op, x, w)?;
        let mut stats = None;
        x = match gamma {
            Some(gamma) => {
                let (y, batch) = norm_act(x, &gamma.tensor, &beta.tensor, spec.activation)?;
                stats = Some(batch);
                y
            }
            None => bias_act(x, &beta.tensor, spec.activation)?,
        };
        pass_stats.push(stats);
    }
    Ok((x, pass_stats))
}

/// Convolution: gather the windows, then one product. *Shapes*: `x` `[n * big, c_in]`, `w`
/// `[k * k * c_in, c_out]`, result `[n * small, c_out]`.
pub(super) fn conv2d<E: Float, D: Device<E>, T: Tape<E, D>>(
    x: Mat<E, D, T>,
    w: &Mat<E, D>,
    conv: Conv,
) -> Result<Mat<E, D, T>, D> {
    let g = &conv.geometry;
    let n = x.shape().0 / g.big_len();
    let windows = gather_or_zero(x, per_image(&window_index(g), n, g.big_len()))?;
    let shape = (n * g.small_len(), g.taps() * conv.c_in);
    windows.try_reshape_like(&shape)?.try_matmul(w.clone())
}

/// Transposed convolution: one product, then for each output pixel the sum of the taps
/// that land on it. *Shapes*: `x` `[n * small, c_in]`, `w` `[c_in, k * k * c_out]`, result
/// `[n * big, c_out]`.
pub(super) fn conv_transpose2d<E: Float, D: Device<E>, T: Tape<E, D>>(
    x: Mat<E, D, T>,
    w: &Mat<E, D>,
    conv: Conv,
) -> Result<Mat<E, D, T>, D> {
    let g = &conv.geometry;
    let (pixels, taps) = (x.shape().0, g.taps());
    let n = pixels / g.small_len();
    let contributions = x
        .try_matmul(w.clone())?
        .try_reshape_like(&(pixels * taps, conv.c_out))?;
    let (index, slots) = contribution_index(g);
    let landed = gather_or_zero(contributions, per_image(&index, n, g.small_len() * taps))?;
    landed
        .try_reshape_like(&(n * g.big_len(), slots, conv.c_out))?
        .try_sum::<(usize, usize), Axis<1>>()
}

/// Dense layer. *Shapes*: `x` any matrix of `n * n_in` values, `w` `[n_in, n_out]`, result
/// `[n * n_out / c, c]`.
pub(super) fn dense<E: Float, D: Device<E>, T: Tape<E, D>>(
    x: Mat<E, D, T>,
    w: &Mat<E, D>,
    c: usize,
) -> Result<Mat<E, D, T>, D> {
    let ((rows, cols), (n_in, n_out)) = (*x.shape(), *w.shape());
    let n = rows * cols / n_in;
    x.try_reshape_like(&(n, n_in))?
        .try_matmul(w.clone())?
        .try_reshape_like(&(n * n_out / c, c))
}

/// Batch normalization and activation. *Shapes*: `x` `[rows, c]`, `gamma`, `beta` `[1, c]`.
fn norm_act<E: Float, D: Device<E>, T: Tape<E, D>>(
    x: Mat<E, D, T>,
    gamma: &Mat<E, D>,
    beta: &Mat<E, D>,
    act: Activation,
) -> Result<(Mat<E, D, T>, BatchStats<E>), D> {
    let shape = *x.shape();
    let c = (shape.1,);
    let mean = x.retaped::<T>().try_mean::<(usize,), Axis<0>>()?;
    let means = mean.as_vec();
    let centred = x.try_sub(mean.try_broadcast_like::<_, Axis<0>>(&shape)?)?;
    let var = centred
        .retaped::<T>()
        .try_square()?
        .try_mean::<(usize,), Axis<0>>()?;
    let stats = BatchStats {
        mean: means,
        var: var.as_vec(),
    };
    let gamma = gamma.retaped::<T>().try_reshape_like(&c)?;
    let beta = beta.retaped::<T>().try_reshape_like(&c)?;
    let scale = (var + E::of(NORM_EPSILON))
        .try_sqrt()?
        .try_recip()?
        .try_mul(gamma)?;
    let y = centred
        .try_mul(scale.try_broadcast_like::<_, Axis<0>>(&shape)?)?
        .try_add(beta.try_broadcast_like::<_, Axis<0>>(&shape)?)?;
    Ok((act.on_tape(y)?, stats))
}

/// Bias and activation. *Shapes*: `x` `[rows, c]`, `bias` `[1, c]`.
fn bias_act<E: Float, D: Device<E>, T: Tape<E, D>>(
    x: Mat<E, D, T>,
    bias: &Mat<E, D>,
    act: Activation,
) -> Result<Mat<E, D, T>, D> {
    let shape = *x.shape();
    let bias = bias.retaped::<T>().try_reshape_like(&(shape.1,))?;
    act.on_tape(x.try_add(bias.try_broadcast_like::<_, Axis<0>>(&shape)?)?)
}

/// Changes each image of a batch on its own. Shapes as in [`Backend::augment`].
pub fn augment<E: Float, D: Device<E>, T: Tape<E, D>>(
    x: Mat<E, D, T>,
    shape: Shape,
    changes: &[Change],
) -> Result<Mat<E, D, T>, D> {
    let (n, pixels) = (changes.len(), shape.h * shape.w);
    let x = recolor(x, shape, changes)?;
    let index = changes.iter().enumerate().flat_map(|(i, change)| {
        let source = move |pixel| change.source(shape, pixel);
        (0..pixels).map(move |pixel| source(pixel).map(|from| i * pixels + from))
    });
    gather_or_zero(x, index.collect())?.try_reshape_like(&(n * pixels, shape.c))
}

/// The colours of [`augment`].
fn recolor<E: Float, D: Device<E>, T: Tape<E, D>>(
    x: Mat<E, D, T>,
    shape: Shape,
    changes: &[Change],
) -> Result<Mat<E, D, T>, D> {
    let (n, rows) = (changes.len(), changes.len() * shape.h * shape.w);
    let by_pixel = (rows, shape.c);
    let by_image = (n, shape.len());
    let device = x.device().clone();
    let factors = |factor: fn(&Change) -> f32| {
        let of_image = |change| std::iter::repeat_n(E::of(f64::from(factor(change))), shape.len());
        device.try_tensor_from_vec(changes.iter().flat_map(of_image).collect(), by_image)
    };
    let x = x.try_reshape_like(&by_pixel)?;
    let pixel_means = x
        .retaped::<T>()
        .try_mean::<(usize,), Axis<1>>()?
        .try_broadcast_like::<_, Axis<1>>(&by_pixel)?
        .try_reshape_like(&by_image)?;
    let x = x.try_reshape_like(&by_image)?;
    let means = x
        .retaped::<T>()
        .try_mean::<(usize,), Axis<1>>()?
        .try_broadcast_like::<_, Axis<1>>(&by_image)?;
    x.try_mul(factors(|change| change.own)?)?
        .try_add(pixel_means.try_mul(factors(|change| change.pixel_mean)?)?)?
        .try_add(means.try_mul(factors(|change| change.image_mean)?)?)?
        .try_add(factors(|change| change.offset)?)?
        .try_reshape_like(&by_pixel)
}

/// Rows of `x` `[rows, c]` by index; `None` gathers a row of zeros.
fn gather_or_zero<E: Float, D: Device<E>, T: Tape<E, D>>(
    x: Mat<E, D, T>,
    index: Vec<Option<usize>>,
) -> Result<Mat<E, D, T>, D> {
    let (rows, c) = *x.shape();
    let zero_row = x.device().try_zeros_like(&(1, c))?;
    let x = (x, zero_row)
        .try_concat_along(Axis::<0>)
        .expect("dfdx's concatenation cannot fail for equal widths");
    let index: Vec<usize> = index.into_iter().map(|row| row.unwrap_or(rows)).collect();
    let shape = (index.len(),);
    let index = x.device().try_tensor_from_vec(index, shape)?;
    x.try_gather::<(usize, usize), (usize,)>(index)
}

/// One image's index repeated for `n` images of `rows` rows.
fn per_image(index: &[Option<usize>], n: usize, rows: usize) -> Vec<Option<usize>> {
    let image = |i: usize| index.iter().map(move |row| row.map(|row| i * rows + row));
    (0..n).flat_map(image).collect()
}

/// The big pixel that each small pixel and tap touch: `[small * taps]`.
fn window_index(g: &Geometry) -> Vec<Option<usize>> {
    let mut index = Vec::with_capacity(g.small_len() * g.taps());
    for pixel in 0..g.small_len() {
        let (y, x) = (pixel / g.small[1], pixel % g.small[1]);
        for tap in 0..g.taps() {
            index.push(touched(g, y, x, tap));
        }
    }
    index
}

/// The rows of the product `[small * taps]` that land on each big pixel, padded
/// to the same number of slots: `[big * slots]`.
fn contribution_index(g: &Geometry) -> (Vec<Option<usize>>, usize) {
    let mut landing = vec![Vec::new(); g.big_len()];
    for (row, pixel) in window_index(g).into_iter().enumerate() {
        if let Some(pixel) = pixel {
            landing[pixel].push(Some(row));
        }
    }
    let slots = landing.iter().map(Vec::len).max().unwrap_or(0).max(1);
    for rows in &mut landing {
        rows.resize(slots, None);
    }
    (landing.concat(), slots)
}

/// The big pixel that `tap` of small pixel `(y, x)` touches, if it is inside.
fn touched(g: &Geometry, y: usize, x: usize, tap: usize) -> Option<usize> {
    let inside = |at: usize, tap: usize, margin: usize, len: usize| {
        (at * g.stride + tap)
            .checked_sub(margin)
            .filter(|&i| i < len)
    };
    let row = inside(y, tap / g.kernel, g.top, g.big[0])?;
    let column = inside(x, tap % g.kernel, g.left, g.big[1])?;
    Some(row * g.big[1] + column)
}

#[cfg(feature = "cuda")]
impl Backend<f32> for dfdx::prelude::Cuda {
    fn forward_pass<T: Tape<f32, Self>>(
        network: &Network<f32, Self>,
        x: Mat<f32, Self, T>,
        _: super::GradMask,
    ) -> Result<(Mat<f32, Self, T>, PassStats<f32>), Self> {
        forward_pass(network, x)
    }

    fn augment<T: Tape<f32, Self>>(
        x: Mat<f32, Self, T>,
        shape: Shape,
        changes: Vec<Change>,
    ) -> Result<Mat<f32, Self, T>, Self> {
        augment(x, shape, &changes)
    }
}
