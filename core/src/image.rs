//! Values as pixels, and pixels as text.

use core::fmt;

/// Grey level, 0 to 255, of a generator output with scale 1/128 and zero point 0:
/// `q / 128` of `[-1, 1]` on `[0, 255]`, rounded. The brightest value, 127, is 254.
#[inline]
pub const fn grey_level(q: i8) -> u8 {
    (((q as i32 + 128) * 255 + 128) >> 8) as u8
}

/// Writes an image as half blocks for a terminal with 24-bit colours: two rows of pixels in a
/// line of text. `pixel(x, y)` is RGB; below a last odd row is `background`.
pub fn write_half_blocks(
    out: &mut impl fmt::Write,
    width_px: u32,
    height_px: u32,
    background: [u8; 3],
    pixel: impl Fn(u32, u32) -> [u8; 3],
) -> fmt::Result {
    for y in (0..height_px).step_by(2) {
        for x in 0..width_px {
            let [r, g, b] = pixel(x, y);
            let below = y + 1;
            let [r2, g2, b2] = match below < height_px {
                true => pixel(x, below),
                false => background,
            };
            write!(out, "\x1b[38;2;{r};{g};{b};48;2;{r2};{g2};{b2}m\u{2580}")?;
        }
        out.write_str("\x1b[0m\n")?;
    }
    Ok(())
}
