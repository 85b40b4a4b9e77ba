//! The traits of a source's images, from a sample of them.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use image::DynamicImage;
use rayon::prelude::*;

use super::decode::Decoder;
use super::{DataError, Source, folder, idx, sheet, source};
use crate::console::counted;

/// Files that are decoded.
const SAMPLED: usize = 64;
/// Difference of a pixel's channels from which it has a colour.
const COLOR_LEVELS: u8 = 24;
/// Share of a set's pixels with a colour from which its images are in colour.
const COLOR_SHARE: f64 = 0.005;
/// Alpha of a pixel that shows something of what is behind it.
const OPAQUE: u8 = 250;
/// Colours of a piece of pixel art at most; photographs have thousands.
const ART_COLORS: usize = 64;
/// Largest side of a piece of pixel art, in pixels.
const ART_PX: usize = 128;

/// The traits of a source's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The number of images, where each is a file of its own.
    pub files: Option<usize>,
    /// Folders that hold images, each of which may be a class; 0 where images are no files.
    pub folders: usize,
    /// The smallest of the images' smaller sides, the middle one and the largest, in pixels.
    pub sides_px: [usize; 3],
    /// Whether all images have the same size.
    pub are_alike: bool,
    /// Whether the images are in colour.
    pub in_color: bool,
    /// Whether most images have transparent parts.
    pub is_transparent: bool,
    /// Whether most images have few colours and pixels, as sprites have.
    pub is_pixel_art: bool,
}

/// The traits of one image.
struct Traits {
    width: usize,
    height: usize,
    /// Share of its pixels that have a colour.
    colored: f64,
    is_transparent: bool,
    is_pixel_art: bool,
}

impl Traits {
    fn of(image: &DynamicImage) -> Self {
        let pixels = image.to_rgba8();
        let (width, height) = (pixels.width() as usize, pixels.height() as usize);
        let (mut colored, mut is_transparent) = (0, false);
        let mut colors = HashSet::new();
        for &image::Rgba([r, g, b, a]) in pixels.pixels() {
            is_transparent |= a < OPAQUE;
            let range = r.max(g).max(b) - r.min(g).min(b);
            colored += usize::from(a >= OPAQUE && range >= COLOR_LEVELS);
            if colors.len() <= ART_COLORS && a >= OPAQUE {
                colors.insert([r, g, b]);
            }
        }
        Self {
            width,
            height,
            colored: colored as f64 / (width * height).max(1) as f64,
            is_transparent,
            is_pixel_art: width.max(height) <= ART_PX && colors.len() <= ART_COLORS,
        }
    }
}

impl Survey {
    /// Samples the images at `path`; a sheet has tiles of `tile`, width and height
    /// in pixels. `None` where a folder has no image that can be used: loading says why.
    pub fn of(path: &Path, tile: Option<(usize, usize)>) -> Result<Option<Self>, DataError> {
        if let Some((width, height)) = tile {
            let of_sheet = sheet::open(path, |sheet| Traits::of(&sheet))?;
            let tile = Traits {
                width,
                height,
                is_pixel_art: of_sheet.is_pixel_art || width.max(height) <= ART_PX / 4,
                ..of_sheet
            };
            return Ok(Some(Self::summary(&[tile], None, 0)));
        }
        match source(path)? {
            Source::Idx(path) => {
                let shape = idx::format(&path)?;
                let of_format = Traits {
                    width: shape.w,
                    height: shape.h,
                    colored: if shape.c == 3 { 1.0 } else { 0.0 },
                    is_transparent: false,
                    is_pixel_art: false,
                };
                Ok(Some(Self::summary(&[of_format], None, 0)))
            }
            Source::Pictures => {
                let files = folder::images_below(path)?;
                let folders: HashSet<_> = files.iter().filter_map(|file| file.parent()).collect();
                let folders = folders.len();
                let decoder = Decoder::new();
                let step = files.len().div_ceil(SAMPLED).max(1);
                let sampled: Vec<&PathBuf> = files.iter().step_by(step).collect();
                let traits = sampled
                    .into_par_iter()
                    // A file that cannot be used is reported when all of them are loaded.
                    .filter_map(|file| decoder.picture(file, |image| Traits::of(&image)).ok());
                let traits: Vec<Traits> = traits.map(|(traits, _)| traits).collect();
                let summary = || Self::summary(&traits, Some(files.len()), folders);
                Ok((!traits.is_empty()).then(summary))
            }
        }
    }

    /// The summary of at least one image.
    fn summary(traits: &[Traits], files: Option<usize>, folders: usize) -> Self {
        let mut sides: Vec<usize> = traits.iter().map(|l| l.width.min(l.height)).collect();
        sides.sort_unstable();
        let most = |count: usize| 2 * count > traits.len();
        let colored: f64 = traits.iter().map(|each| each.colored).sum();
        let first = (traits[0].width, traits[0].height);
        Self {
            files,
            folders,
            sides_px: [sides[0], sides[sides.len() / 2], sides[sides.len() - 1]],
            are_alike: traits.iter().all(|each| (each.width, each.height) == first),
            in_color: colored / traits.len() as f64 > COLOR_SHARE,
            is_transparent: most(traits.iter().filter(|each| each.is_transparent).count()),
            is_pixel_art: most(traits.iter().filter(|each| each.is_pixel_art).count()),
        }
    }
}

impl Display for Survey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(files) = self.files {
            write!(f, "{}, ", counted(files, "file"))?;
        }
        let [least, middle, most] = self.sides_px;
        match least == most {
            true => write!(f, "{middle} pixels a side")?,
            false => write!(f, "{least} to {most} pixels a side, {middle} in the middle")?,
        }
        f.write_str(if self.in_color { ", colour" } else { ", grey" })?;
        if self.is_pixel_art {
            f.write_str(", pixel art")?;
        }
        if self.is_transparent {
            f.write_str(", transparent")?;
        }
        Ok(())
    }
}
