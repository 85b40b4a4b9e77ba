//! From a file's bytes to a picture of the format asked for, within bounds.
//!
//! What a file claims costs nothing: its pixels are counted before memory is taken for them,
//! and pictures that are decoded at the same time share [`PICTURES_BYTES`].

use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbaImage};

use super::{DataError, DataRequest};

/// Memory for all pictures that are being decoded, and so for the largest one.
const PICTURES_BYTES: u64 = 640 << 20;
/// Memory for all files that are being read; a JPEG decoder has a copy of its own.
const FILES_BYTES: u64 = 128 << 20;
/// Largest file of a picture.
const FILE_BYTES: u64 = FILES_BYTES / 2;
/// Memory for what a file holds beside its pixels, such as colour profiles.
const EXTRAS_BYTES: u64 = 16 << 20;
/// What an extended WebP may take in any case: its frame can be larger than it claims, up to
/// 14 bits a side, at 12 bits a pixel.
const WEBP_FRAME_BYTES: u64 = 3 << 27;

/// Memory that threads share: who finds too little waits.
struct Memory {
    free_bytes: Mutex<u64>,
    given_back: Condvar,
}

/// Part of a [`Memory`], given back when dropped.
struct Taken<'a>(&'a Memory, u64);

impl Memory {
    fn new(bytes: u64) -> Self {
        Self {
            free_bytes: Mutex::new(bytes),
            given_back: Condvar::new(),
        }
    }

    /// Waits for `bytes`, which have to be no more than there were at first.
    fn take(&self, bytes: u64) -> Taken<'_> {
        let free = self.free_bytes.lock();
        let free = free.unwrap_or_else(PoisonError::into_inner);
        let waited = self.given_back.wait_while(free, |free| *free < bytes);
        *waited.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Taken(self, bytes)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let free = self.0.free_bytes.lock();
        *free.unwrap_or_else(PoisonError::into_inner) += self.1;
        self.0.given_back.notify_all();
    }
}

/// Decodes files on any number of threads in bounded memory.
pub(super) struct Decoder {
    files: Memory,
    pictures: Memory,
}

impl Decoder {
    pub fn new() -> Self {
        Self {
            files: Memory::new(FILES_BYTES),
            pictures: Memory::new(PICTURES_BYTES),
        }
    }

    /// The picture of a file, turned upright as its camera says. Its format is that of its
    /// content, whatever it is called; of an animation, the first frame.
    pub fn picture<T>(
        &self,
        path: &Path,
        then: impl FnOnce(DynamicImage) -> T,
    ) -> Result<T, DataError> {
        let about = std::fs::metadata(path).map_err(DataError::io(path))?;
        // A pipe would be waited for, and a device has no end.
        if !about.is_file() {
            return Err(DataError::content(path, "is not a file"));
        }
        if about.len() > FILE_BYTES {
            let problem = format!("has more than {} MiB", FILE_BYTES >> 20);
            return Err(DataError::content(path, problem));
        }
        // Files first, then pictures: who holds a picture waits for nothing.
        let _file_memory = self.files.take(2 * about.len());
        let mut bytes = Vec::with_capacity(about.len() as usize);
        let file = File::open(path).map_err(DataError::io(path))?;
        let mut file = file.take(about.len());
        file.read_to_end(&mut bytes).map_err(DataError::io(path))?;
        if bytes.is_empty() {
            return Err(DataError::content(path, "is empty"));
        }
        let decode = || {
            let (decoder, needed) = open(path, &bytes)?;
            let _picture_memory = self.pictures.take(needed);
            decode(decoder).map(then).map_err(|e| damaged(path, &e))
        };
        // A decoder's bug is one file's trouble, not the run's.
        let broken = |_| {
            Err(DataError::content(
                path,
                "cannot be decoded: its decoder failed",
            ))
        };
        catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(broken)
    }
}

/// The picture in some bytes.
pub(super) fn decode_bytes(path: &Path, bytes: &[u8]) -> Result<DynamicImage, DataError> {
    let (decoder, _) = open(path, bytes)?;
    decode(decoder).map_err(|e| damaged(path, &e))
}

/// A decoder of some bytes, and what it and [`fit`] take at most, which is within bounds.
fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<(impl ImageDecoder + use<'a>, u64), DataError> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(DataError::io(path))?;
    if reader.format().is_none() {
        let problem = "is neither PNG nor JPEG nor WebP by its content";
        return Err(DataError::content(path, problem));
    }
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_is_whole(bytes) {
        return Err(DataError::content(path, "is cut: its end is missing"));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(EXTRAS_BYTES);
    reader.limits(limits);
    let extended = reader.format() == Some(ImageFormat::WebP)
        && bytes
            .get(12..)
            .is_some_and(|chunk| chunk.starts_with(b"VP8X"));
    let decoder = reader.into_decoder().map_err(|e| damaged(path, &e))?;
    let (w, h) = decoder.dimensions();
    let needed = needed(w.into(), h.into(), decoder.total_bytes());
    match needed.filter(|&needed| needed <= PICTURES_BYTES) {
        Some(needed) if extended => Ok((decoder, needed.max(WEBP_FRAME_BYTES))),
        Some(needed) => Ok((decoder, needed)),
        None => Err(too_large(path, w as usize, h as usize)),
    }
}

/// Whether a JPEG has its end marker: the decoder paints what is missing grey.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[first, marker]) = bytes.get(at..at + 2) {
        at += match (first, marker) {
            (0xff, 0xd9) => return true,
            // Fill bytes, coded data with its escaped ff, and restart markers.
            (0..=0xfe, _) | (0xff, 0xff) => 1,
            (0xff, 0x00 | 0x01 | 0xd0..=0xd8) => 2,
            _ => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        };
    }
    false
}

/// Most memory that decoding and fitting a picture of `decoded` bytes take: beside it, either
/// 8 bytes a pixel (a progressive JPEG's coefficients, an animation's canvas and frame, RGBA
/// and its crop) or itself, turned.
fn needed(w: u64, h: u64, decoded: u64) -> Option<u64> {
    let eight = w.checked_mul(h)?.checked_mul(8)?;
    decoded.checked_add(eight.max(decoded))
}

fn too_large(path: &Path, w: usize, h: usize) -> DataError {
    let megapixels = PICTURES_BYTES / 11_000_000;
    let problem = format!("{w}x{h} pixels are over the limit, some {megapixels} megapixels");
    DataError::content(path, problem)
}

/// Whether a raw picture of these sizes can be fitted within bounds.
pub(super) fn check_size(path: &Path, (w, h, c): (usize, usize, usize)) -> Result<(), DataError> {
    let pixels = (w as u64).checked_mul(h as u64);
    let bytes = pixels.and_then(|pixels| pixels.checked_mul(c as u64));
    let needed = bytes.and_then(|bytes| needed(w as u64, h as u64, bytes));
    match needed.filter(|&needed| needed <= PICTURES_BYTES) {
        Some(_) => Ok(()),
        None => Err(too_large(path, w, h)),
    }
}

fn decode(mut decoder: impl ImageDecoder) -> Result<DynamicImage, image::ImageError> {
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn damaged(path: &Path, error: &image::ImageError) -> DataError {
    DataError::content(path, format!("cannot be decoded: {error}"))
}

/// A decoded picture in the format asked for: transparent parts on white, centre-cropped
/// to its aspect, resized (nearest pixel where it is an exact enlargement, Lanczos
/// elsewhere).
pub(super) fn fit(picture: DynamicImage, request: &DataRequest) -> Vec<u8> {
    // Before the resize, or the colour of transparent pixels would bleed into their neighbours.
    let picture = DynamicImage::ImageRgba8(on_white(picture.into_rgba8()));
    let (w, h) = (picture.width() as usize, picture.height() as usize);
    let crop_w = w.min((h * request.width).div_ceil(request.height));
    let crop_h = h.min((w * request.height).div_ceil(request.width));
    let corner = ((w - crop_w) / 2, (h - crop_h) / 2);
    let size = (request.width as u32, request.height as u32);
    let mut picture = picture.crop_imm(
        corner.0 as u32,
        corner.1 as u32,
        crop_w as u32,
        crop_h as u32,
    );
    if (picture.width(), picture.height()) != size {
        let enlarged =
            request.width.is_multiple_of(crop_w) && request.height.is_multiple_of(crop_h);
        let filter = if enlarged {
            FilterType::Nearest
        } else {
            FilterType::Lanczos3
        };
        picture = picture.resize_exact(size.0, size.1, filter);
    }
    match request.channels {
        1 => picture.into_luma8().into_raw(),
        _ => picture.into_rgb8().into_raw(),
    }
}

fn on_white(mut picture: RgbaImage) -> RgbaImage {
    for pixel in picture.pixels_mut() {
        let alpha = u16::from(pixel[3]);
        for value in &mut pixel.0[..3] {
            let mixed = (u16::from(*value) * alpha + 255 * (255 - alpha) + 127) / 255;
            *value = mixed as u8;
        }
        pixel[3] = 255;
    }
    picture
}
