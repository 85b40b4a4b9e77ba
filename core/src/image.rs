//! The last layer's values as pixels.

/// Grey level, 0 to 255, of a generator output with scale 1/128 and zero point 0:
/// `q / 128` of `[-1, 1]` on `[0, 255]`, rounded. The brightest value, 127, is 254.
#[inline]
pub const fn grey_level(q: i8) -> u8 {
    (((q as i32 + 128) * 255 + 128) >> 8) as u8
}
