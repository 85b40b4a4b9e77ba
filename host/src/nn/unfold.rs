//! `unfold` and its adjoint `fold`: what turns a convolution into one matrix product.

use super::Float;
use super::geometry::Geometry;

/// Copies each small pixel's window of one big image into a row of `cols`.
///
/// *Shapes*: `image` `[big_h, big_w, c]`, `cols` `[small_h * small_w, k * k * c]`.
/// Taps outside the image become zero.
pub fn unfold<E: Float>(image: &[E], c: usize, g: &Geometry, cols: &mut [E]) {
    let run = g.kernel * c;
    for (pixel, window) in cols.chunks_exact_mut(g.taps() * c).enumerate() {
        let (y, x) = (pixel / g.small[1], pixel % g.small[1]);
        let (taps, big_x) = columns_inside(g, x);
        for (ky, row) in window.chunks_exact_mut(run).enumerate() {
            let Some(big_y) = row_inside(g, y, ky) else {
                row.fill(E::zero());
                continue;
            };
            let from = (big_y * g.big[1] + big_x) * c;
            let (head, rest) = row.split_at_mut(taps.start * c);
            let (body, tail) = rest.split_at_mut(taps.len() * c);
            head.fill(E::zero());
            body.copy_from_slice(&image[from..from + body.len()]);
            tail.fill(E::zero());
        }
    }
}

/// Adds each row of `cols` onto its window of one big image: the adjoint of [`unfold`].
///
/// *Shapes*: as for [`unfold`]. `image` is added to, not overwritten.
pub fn fold<E: Float>(cols: &[E], c: usize, g: &Geometry, image: &mut [E]) {
    let run = g.kernel * c;
    for (pixel, window) in cols.chunks_exact(g.taps() * c).enumerate() {
        let (y, x) = (pixel / g.small[1], pixel % g.small[1]);
        let (taps, big_x) = columns_inside(g, x);
        for (ky, row) in window.chunks_exact(run).enumerate() {
            let Some(big_y) = row_inside(g, y, ky) else {
                continue;
            };
            let to = (big_y * g.big[1] + big_x) * c;
            let body = &row[taps.start * c..taps.end * c];
            for (sum, &v) in image[to..to + body.len()].iter_mut().zip(body) {
                *sum += v;
            }
        }
    }
}

/// The big row that tap row `ky` of small row `y` touches, if it is inside.
fn row_inside(g: &Geometry, y: usize, ky: usize) -> Option<usize> {
    (y * g.stride + ky)
        .checked_sub(g.top)
        .filter(|&row| row < g.big[0])
}

/// The tap columns of small column `x` that land inside, and the big column of the first.
fn columns_inside(g: &Geometry, x: usize) -> (std::ops::Range<usize>, usize) {
    let origin = x * g.stride; // big column of tap 0, plus `left`
    let first = g.left.saturating_sub(origin).min(g.kernel);
    let end = (g.big[1] + g.left).saturating_sub(origin).min(g.kernel);
    let end = end.max(first);
    let big_x = (origin + first).saturating_sub(g.left).min(g.big[1]);
    (first..end, big_x)
}
