//! A tile sheet: one image that holds many, row by row, without gaps.

use std::path::Path;

use image::DynamicImage;

use super::decode::{Decoder, fit};
use super::{DataError, DataRequest, Images};
use crate::memory::reserved;

/// The result of `then` for the sheet at `path`.
pub(super) fn open<T>(path: &Path, then: impl FnOnce(DynamicImage) -> T) -> Result<T, DataError> {
    if path.is_dir() {
        let problem = "is a folder; --tile cuts one image, a sheet, into tiles";
        return Err(DataError::content(path, problem));
    }
    let (result, _) = Decoder::new().picture(path, then)?;
    Ok(result)
}

/// The tiles of a sheet of this name, left to right, top to bottom. Wholly
/// transparent tiles at the end are the sheet's padding and do not count.
pub(super) fn cut(
    request: &DataRequest,
    (tile_w, tile_h): (usize, usize),
    (path, sheet): (&Path, &DynamicImage),
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Images, DataError> {
    let (w, h) = (sheet.width() as usize, sheet.height() as usize);
    if tile_w == 0 || tile_h == 0 || !w.is_multiple_of(tile_w) || !h.is_multiple_of(tile_h) {
        let problem = format!(
            "{w}x{h} pixels are not whole tiles of {tile_w}x{tile_h}: --tile is the size of one"
        );
        return Err(DataError::content(path, problem));
    }
    let columns = w / tile_w;
    let tile = |i: usize| {
        let corner = (i % columns * tile_w, i / columns * tile_h);
        sheet.crop_imm(
            corner.0 as u32,
            corner.1 as u32,
            tile_w as u32,
            tile_h as u32,
        )
    };
    let mut count = columns * (h / tile_h);
    let blank = |i: usize| tile(i).into_rgba8().pixels().all(|pixel| pixel[3] == 0);
    while count > 0 && blank(count - 1) {
        count -= 1;
    }
    let each = request.height * request.width * request.channels;
    let what = format!("--tile, {count} tiles of {tile_w}x{tile_h} pixels,");
    let mut pixels = reserved(what, &[count, each])?;
    for i in 0..count {
        pixels.extend(fit(tile(i), request));
        progress(i + 1, count);
    }
    Ok(Images {
        height: request.height,
        width: request.width,
        channels: request.channels,
        pixels,
        labels: Vec::new(),
    })
}
