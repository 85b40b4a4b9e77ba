//! Parts of slices without a panic.
//!
//! [`Model::parse`](crate::Model::parse) has measured every section, and each caller its scratch,
//! so a part that inference asks for is there. Were it not, an index would panic, and a device
//! would stop in the middle of an image: these functions give an empty slice, over which the
//! loops that follow do nothing, so that values of the image are missing. Nothing outside the
//! slice is read or written. While a file is parsed, an empty slice is what is left of one that
//! is too short, which a check of its length then refuses.

use core::slice::SliceIndex;

/// The part at `range`, or an empty slice where it is not there (see the module's page).
#[inline]
pub(crate) fn part<T>(values: &[T], range: impl SliceIndex<[T], Output = [T]>) -> &[T] {
    values.get(range).unwrap_or(&[])
}

/// The same as [`part`], of `len` values from `from` on, whose sum may overflow.
#[inline]
pub(crate) fn part_at<T>(values: &[T], from: usize, len: usize) -> &[T] {
    let rest = values.get(from..);
    rest.and_then(|rest| rest.get(..len)).unwrap_or(&[])
}

/// The same as [`part`], to be written to.
#[inline]
pub(crate) fn part_mut<T>(values: &mut [T], range: impl SliceIndex<[T], Output = [T]>) -> &mut [T] {
    values.get_mut(range).unwrap_or(&mut [])
}

#[cfg(test)]
mod tests {
    use super::{part, part_at, part_mut};

    #[test]
    fn a_part_that_is_not_there_is_empty() {
        let mut values = [1, 2, 3];
        assert_eq!(part(&values, 1..), [2, 3]);
        assert_eq!(part(&values, 2..4), [0; 0]);
        assert_eq!(part(&values, 4..), [0; 0]);
        assert_eq!(part_at(&values, 1, 2), [2, 3]);
        assert_eq!(part_at(&values, 1, usize::MAX), [0; 0]);
        part_mut(&mut values, ..2).fill(7);
        part_mut(&mut values, ..9).fill(8);
        assert_eq!(values, [7, 7, 3]);
    }
}
