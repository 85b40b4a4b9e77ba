//! Images out: grids as PNG and in the terminal.

use std::io::Cursor;
use std::path::Path;

use gan_core::image::write_half_blocks;
use image::{ImageFormat, Rgb, RgbImage};

use crate::data::Images;
use crate::files::write_atomic;

/// Background of grids: neither black nor white, so that images' edges show.
const BACKGROUND: Rgb<u8> = Rgb([96, 96, 112]);

/// Images in rows of `columns`, each pixel `scale` pixels wide, 2 pixels apart.
pub fn grid(images: &Images, columns: usize, scale: usize) -> RgbImage {
    let (h, w) = (images.height * scale, images.width * scale);
    let columns = columns.clamp(1, images.len().max(1));
    let rows = images.len().div_ceil(columns);
    let (full_w, full_h) = (columns * (w + 2) + 2, rows * (h + 2) + 2);
    let mut out = RgbImage::from_pixel(full_w as u32, full_h as u32, BACKGROUND);
    for i in 0..images.len() {
        let corner = (2 + i % columns * (w + 2), 2 + i / columns * (h + 2));
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            let at = (corner.0 + x, corner.1 + y);
            let pixel = pixel(images, i, y / scale, x / scale);
            out.put_pixel(at.0 as u32, at.1 as u32, Rgb(pixel));
        }
    }
    out
}

fn pixel(images: &Images, i: usize, y: usize, x: usize) -> [u8; 3] {
    let at = (y * images.width + x) * images.channels;
    match images.image(i)[at..at + images.channels] {
        [grey] => [grey; 3],
        [r, g, b] => [r, g, b],
        _ => BACKGROUND.0,
    }
}

/// Two grids of one height, a wider gap between them.
pub fn side_by_side(left: &RgbImage, right: &RgbImage) -> RgbImage {
    let gap = 8;
    let height = left.height().max(right.height());
    let width = left.width() + gap + right.width();
    let mut out = RgbImage::from_pixel(width, height, BACKGROUND);
    image::imageops::replace(&mut out, left, 0, 0);
    image::imageops::replace(&mut out, right, i64::from(left.width() + gap), 0);
    out
}

/// The bytes of a PNG.
pub fn png(picture: &RgbImage) -> std::io::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(std::io::Error::other)?;
    Ok(bytes.into_inner())
}

/// Writes a PNG, whole or not at all.
pub fn save_png(path: &Path, picture: &RgbImage) -> std::io::Result<()> {
    write_atomic(path, &png(picture)?)
}

/// A picture as text for a terminal with 24-bit colours.
pub fn to_terminal(picture: &RgbImage) -> String {
    let mut text = String::new();
    let (width, height) = picture.dimensions();
    let pixel = |x, y| picture.get_pixel(x, y).0;
    // Writing to a string cannot fail.
    let _ = write_half_blocks(&mut text, width, height, BACKGROUND.0, pixel);
    text
}
