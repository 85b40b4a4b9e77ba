//! From a file's bytes to an image of the format asked for, within bounds.
//!
//! What a file claims costs nothing: its pixels are counted before memory is taken for them,
//! and images that are decoded at the same time share [`PICTURES_BYTES`].

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use gan_core::Shape;
use image::codecs::gif::GifDecoder;
use image::imageops::FilterType;
use image::{
    AnimationDecoder, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgba, RgbaImage,
};
use sha2::{Digest, Sha256};

use super::framing::{Colour, Fit};
use super::{DataError, DataRequest};
use crate::files::open_regular;

/// Memory for all images that are being decoded, and so for the largest one.
const PICTURES_BYTES: u64 = 640 << 20;
/// Memory for all files that are being read; a JPEG decoder has a copy of its own.
const FILES_BYTES: u64 = 128 << 20;
/// Largest file of an image.
const FILE_BYTES: u64 = FILES_BYTES / 2 - END_BYTES;
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

    /// What `then` makes of the image of a file, turned upright as its camera says, and what
    /// is odd about the file. Its format is that of its content, whatever it is called; of an
    /// animation, the first frame.
    pub fn picture<T>(
        &self,
        path: &Path,
        then: impl FnOnce(DynamicImage) -> T,
    ) -> Result<(T, Option<String>), DataError> {
        let file = open_regular(path, FILE_BYTES).map_err(DataError::io(path))?;
        // Files first, then images: who holds an image waits for nothing.
        let _file_memory = self.files.take(2 * (file.len_bytes() + END_BYTES));
        let mut bytes = file.read(END_BYTES).map_err(DataError::io(path))?;
        if bytes.is_empty() {
            return Err(DataError::content(path, "is empty"));
        }
        let decode = || {
            let (picture, oddity, _memory) = self.decode(path, &mut bytes)?;
            let oddity = oddity.map(str::to_owned).or_else(|| dark_range(&picture));
            Ok((then(picture), oddity))
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

    /// The image in some bytes, which get the end that they lack; and whether they lack it.
    fn decode(&self, path: &Path, bytes: &mut Vec<u8>) -> Result<Held<'_>, DataError> {
        let once = |bytes: &[u8]| {
            let (decoder, needed) = open(path, bytes)?;
            let memory = self.pictures.take(needed);
            let picture = decode(decoder).map_err(|e| damaged(path, &e))?;
            Ok((picture, memory))
        };
        match image::guess_format(bytes) {
            Ok(ImageFormat::Png) if add_png_end(bytes) => {
                let (picture, memory) = once(bytes)?;
                Ok((picture, Some("has no end (IEND chunk): it was cut"), memory))
            }
            Ok(ImageFormat::Gif) => {
                let (picture, memory) = once(bytes)?;
                let oddity = is_animation(bytes).then_some(ANIMATION);
                Ok((picture, oddity, memory))
            }
            Ok(ImageFormat::Jpeg) if !jpeg_has_end(bytes) => {
                let [first, second] = JPEG_ENDS;
                let data = bytes.len() - bytes.iter().rev().take_while(|&&b| b == 0xff).count();
                let mut with = |filling: u8| {
                    bytes.truncate(data);
                    bytes.extend([filling; JPEG_FILLING_BYTES]);
                    bytes.extend([0xff, 0xd9]);
                    once(bytes)
                };
                let digest = with(first).map(|(picture, _)| Sha256::digest(picture.as_bytes()));
                let cut = || DataError::content(path, "is cut: pixels are missing at its end");
                let digest = digest.map_err(|_| cut())?;
                let (picture, memory) = with(second).map_err(|_| cut())?;
                if Sha256::digest(picture.as_bytes()) != digest {
                    return Err(cut());
                }
                Ok((
                    picture,
                    Some("has no end marker (ff d9): it was cut"),
                    memory,
                ))
            }
            _ => once(bytes).map(|(picture, memory)| (picture, None, memory)),
        }
    }
}

/// A decoded image, what is odd about it, and the memory that it takes.
type Held<'a> = (DynamicImage, Option<&'static str>, Taken<'a>);

/// What is put between the data of a JPEG without its end marker and a marker. The decoder
/// paints what is missing grey, and says nothing; but if coded data are missing, it takes the
/// filling for them, and other filling gives other pixels.
const JPEG_ENDS: [u8; 2] = [0x00, 0x5a];
const JPEG_FILLING_BYTES: usize = 64;
/// The most that is put behind a file.
const END_BYTES: u64 = JPEG_FILLING_BYTES as u64 + 2;

/// The image in some bytes.
pub(super) fn decode_bytes(path: &Path, bytes: &[u8]) -> Result<DynamicImage, DataError> {
    let (decoder, _) = open(path, bytes)?;
    decode(decoder).map_err(|e| damaged(path, &e))
}

/// Kinds of images that are read, for messages.
pub(super) const KINDS: &str = "png, jpg, webp, gif, bmp, tiff, ppm";

/// A decoder of some bytes, and what it and [`fit`] take at most, which is within bounds.
fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<(impl ImageDecoder + use<'a>, u64), DataError> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(DataError::io(path))?;
    let Some(format) = reader.format().filter(ImageFormat::reading_enabled) else {
        let problem = format!("is none of {KINDS} by its content");
        return Err(DataError::content(path, problem));
    };
    reader.limits(limits(EXTRAS_BYTES));
    let extended = format == ImageFormat::WebP
        && bytes
            .get(12..)
            .is_some_and(|chunk| chunk.starts_with(b"VP8X"));
    let mut decoder = reader.into_decoder().map_err(|e| damaged(path, &e))?;
    let (w, h) = decoder.dimensions();
    let decoded = decoder.total_bytes();
    let own = match format {
        // A copy of all pixels, and strips or tiles, which may be as large.
        ImageFormat::Tiff => decoded.saturating_mul(2),
        // A frame within the canvas is in the eight bytes a pixel already.
        ImageFormat::Gif => 0,
        _ if extended => WEBP_FRAME_BYTES,
        _ => 0,
    };
    let needed = needed(w.into(), h.into(), decoded);
    let needed = needed.and_then(|needed| needed.checked_add(own));
    let Some(needed) = needed.filter(|&needed| needed <= PICTURES_BYTES) else {
        return Err(too_large(path, w as usize, h as usize));
    };
    if matches!(format, ImageFormat::Tiff | ImageFormat::Gif) {
        let limits = frame_limits(decoded);
        decoder.set_limits(limits).map_err(|e| damaged(path, &e))?;
    }
    Ok((decoder, needed))
}

fn limits(bytes: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(bytes);
    limits
}

/// The memory for a frame, or a strip, beside the image of `decoded` bytes.
fn frame_limits(decoded: u64) -> Limits {
    limits(EXTRAS_BYTES + decoded.saturating_mul(2))
}

const ANIMATION: &str = "is an animation: only its first image is used";

/// A GIF is an animation if it has a second frame, which is decoded within the first one's limits.
fn is_animation(bytes: &[u8]) -> bool {
    let second = GifDecoder::new(Cursor::new(bytes)).and_then(|mut decoder| {
        decoder.set_limits(frame_limits(decoder.total_bytes()))?;
        decoder.into_frames().nth(1).transpose()
    });
    matches!(second, Ok(Some(_)))
}

/// Whether a JPEG has its end marker.
fn jpeg_has_end(bytes: &[u8]) -> bool {
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

/// Gives a PNG the IEND chunk that it lacks; whether it lacked it. The decoder refuses a PNG
/// whose pixels are not all there.
fn add_png_end(bytes: &mut Vec<u8>) -> bool {
    let mut at = 8;
    while let Some(&[a, b, c, d, ref kind @ ..]) = bytes.get(at..at + 8) {
        let next = u32::from_be_bytes([a, b, c, d]) as usize + at + 12;
        let (is_end, is_whole) = (kind == b"IEND", next <= bytes.len());
        if is_end && is_whole {
            return false;
        }
        if !is_whole {
            // The decoder looks how much of the pixels an unfinished chunk has.
            at = if is_end { at } else { bytes.len() };
            break;
        }
        at = next;
    }
    bytes.truncate(at);
    bytes.extend(b"\0\0\0\0IEND\xae\x42\x60\x82");
    true
}

/// The largest value of an image of 12 bits.
const LARGEST_OF_12_BITS: u16 = (1 << 12) - 1;

/// Says so where an image of 16 bits has values of at most 12: it is nearly black.
fn dark_range(picture: &DynamicImage) -> Option<String> {
    // Samples, how many a pixel has, and how many of them are no transparency.
    let (samples, each, colours) = match picture {
        DynamicImage::ImageLuma16(p) => (p.as_raw(), 1, 1),
        DynamicImage::ImageLumaA16(p) => (p.as_raw(), 2, 1),
        DynamicImage::ImageRgb16(p) => (p.as_raw(), 3, 3),
        DynamicImage::ImageRgba16(p) => (p.as_raw(), 4, 3),
        _ => return None,
    };
    let values = samples
        .chunks_exact(each)
        .flat_map(|pixel| &pixel[..colours]);
    let (mut least, mut most) = (u16::MAX, 0);
    for &value in values {
        (least, most) = (least.min(value), most.max(value));
    }
    (1..=LARGEST_OF_12_BITS).contains(&most).then(|| {
        format!(
            "its 16-bit values go from {least} to {most} of 65535, so it is nearly black: \
             if they have 12 bits, multiply them by 16"
        )
    })
}

/// Most memory that decoding and fitting an image of `decoded` bytes take: beside it, either
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

/// Checks that a raw image of this shape can be fitted within bounds.
pub(super) fn check_size(path: &Path, shape: Shape) -> Result<(), DataError> {
    let Shape { h, w, c } = shape;
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
    let error = error.to_string();
    // PNG's decoder prints a struct behind these words.
    let error = error.split(" while decoding ChunkType").next();
    let error = error.unwrap_or_default();
    DataError::content(path, format!("cannot be decoded: {error}"))
}

/// A decoded image in the format asked for: transparent parts on the background, then
/// cut, padded or stretched to its aspect, and resized (nearest pixel where it is an exact
/// enlargement, Lanczos elsewhere).
pub(super) fn fit(picture: DynamicImage, request: &DataRequest) -> Vec<u8> {
    let background = request.framing.background;
    // Before the resize, or the colour of transparent pixels would bleed into their neighbours.
    let picture = DynamicImage::ImageRgba8(on_background(picture.into_rgba8(), background));
    let (w, h) = (picture.width(), picture.height());
    let (width, height) = (request.width as u32, request.height as u32);
    // Width and height of what is as wide, or as high, in the aspect of the other.
    let wide = |of: u32, a: u32, b: u32| (u64::from(of) * u64::from(a)).div_ceil(u64::from(b));
    let picture = match request.framing.fit {
        Fit::Crop => {
            let crop_w = u64::from(w).min(wide(h, width, height)) as u32;
            let crop_h = u64::from(h).min(wide(w, height, width)) as u32;
            let corner = ((w - crop_w) / 2, (h - crop_h) / 2);
            let cropped = picture.crop_imm(corner.0, corner.1, crop_w, crop_h);
            resize(cropped, width, height)
        }
        Fit::Stretch => resize(narrowed(picture, width, height), width, height),
        Fit::Pad => {
            let inner_w = u64::from(width).min(wide(w, height, h)) as u32;
            let inner_h = u64::from(height).min(wide(h, width, w)) as u32;
            let inner = resize(picture, inner_w, inner_h);
            let Colour([r, g, b]) = background;
            let mut ground = RgbaImage::from_pixel(width, height, Rgba([r, g, b, 255]));
            let (x, y) = ((width - inner_w) / 2, (height - inner_h) / 2);
            image::imageops::replace(&mut ground, &inner.into_rgba8(), x.into(), y.into());
            ground.into()
        }
    };
    match request.channels {
        1 => picture.into_luma8().into_raw(),
        _ => picture.into_rgb8().into_raw(),
    }
}

fn resize(picture: DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (w, h) = (picture.width(), picture.height());
    if (w, h) == (width, height) {
        return picture;
    }
    let filter = if width.is_multiple_of(w) && height.is_multiple_of(h) {
        FilterType::Nearest
    } else {
        FilterType::Lanczos3
    };
    picture.resize_exact(width, height, filter)
}

/// Most memory of a resize beside the image.
const RESIZE_BYTES: u64 = 64 << 20;

/// An image that is not so wide that its resize, which squeezes it to `height` in floats
/// first, would take more than [`RESIZE_BYTES`]; never narrower than four times `width`.
fn narrowed(picture: DynamicImage, width: u32, height: u32) -> DynamicImage {
    let column_bytes = 16 * u64::from(height);
    let widest = (RESIZE_BYTES / column_bytes).max(4 * u64::from(width));
    if u64::from(picture.width()) <= widest {
        return picture;
    }
    picture.thumbnail_exact(widest as u32, picture.height())
}

fn on_background(mut picture: RgbaImage, Colour(background): Colour) -> RgbaImage {
    for pixel in picture.pixels_mut() {
        let alpha = u16::from(pixel[3]);
        for (value, behind) in pixel.0.iter_mut().zip(background) {
            let mixed = u16::from(*value) * alpha + u16::from(behind) * (255 - alpha);
            *value = ((mixed + 127) / 255) as u8;
        }
        pixel[3] = 255;
    }
    picture
}
