//! Images and text on a display of any size and colour.

use core::fmt::Write;
use core::iter::repeat_n;

use embedded_graphics::mono_font::iso_8859_1::{FONT_6X10, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyleBuilder};
use embedded_graphics::pixelcolor::{Gray8, Rgb888};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Baseline, Text};
use gan_core::image::grey_level;
use gan_core::{Mode, Model, Shape};
use heapless::{String, Vec};

use crate::display::MAX_WIDTH_PX;
use crate::event::Fault;

/// Characters of the longest text.
const MAX_TEXT: usize = 160;

/// Columns of text that are left for the head-up display beside an image, at least.
const MIN_COLUMNS: u32 = 10;

/// Pixels between lines of text.
const LINE_GAP_PX: u32 = 2;

/// The mapping of an image's values to colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Palette {
    /// The values themselves.
    Plain,
    /// Light for dark.
    Inverted,
    /// Grey as black, red, yellow, white.
    Warm,
}

impl Palette {
    /// The next one that makes a difference.
    #[must_use]
    pub const fn next(self, is_grey: bool) -> Self {
        match self {
            Self::Plain => Self::Inverted,
            Self::Inverted if is_grey => Self::Warm,
            _ => Self::Plain,
        }
    }

    /// The colour of one pixel's values.
    fn color<C: From<Gray8> + From<Rgb888>>(self, pixel: &[i8]) -> C {
        let level = |q: i8| match self {
            Self::Inverted => 255 - grey_level(q),
            _ => grey_level(q),
        };
        match (self, pixel) {
            (_, &[r, g, b]) => Rgb888::new(level(r), level(g), level(b)).into(),
            (Self::Warm, &[q, ..]) => {
                let third =
                    |from: u16| (3 * u16::from(level(q))).saturating_sub(from).min(255) as u8;
                Rgb888::new(third(0), third(255), third(510)).into()
            }
            (_, &[q, ..]) => Gray8::new(level(q)).into(),
            (_, []) => Gray8::BLACK.into(),
        }
    }
}

/// The text about an image.
pub struct Hud<'a> {
    /// Label of its class.
    pub label: &'a str,
    /// Seed of its latent.
    pub seed: u64,
    /// Share of the way to the next seed.
    pub percent: u8,
    /// Score by the model's critic.
    pub score: Option<i8>,
    /// The time that it took.
    pub ms: u32,
}

/// The places of the image and the text.
pub struct Screen {
    /// Display pixels an image pixel.
    scale: u32,
    shape: Shape,
    corner: Point,
    text: Rectangle,
    font: &'static MonoFont<'static>,
    /// Whether two texts share a line.
    is_paired: bool,
}

impl Screen {
    /// Makes the image as large as the display allows, the text beside or below it.
    ///
    /// *Errors*: an image that leaves no room for text.
    pub fn new<D: DrawTarget>(display: &D, shape: Shape) -> Result<Self, Fault> {
        let size = display.bounding_box().size;
        let too_large = Fault::TooLarge {
            width_px: shape.w,
            height_px: shape.h,
        };
        let picture = Size::new(shape.w as u32, shape.h as u32);
        if picture.width == 0 || picture.height == 0 || size.width as usize > MAX_WIDTH_PX {
            return Err(too_large);
        }
        let font = font(size);
        let line = line_px(font);
        let fits = |room: Size| (room.width / picture.width).min(room.height / picture.height);
        let narrower = size
            .width
            .saturating_sub(MIN_COLUMNS * font.character_size.width);
        let beside = fits(Size::new(narrower, size.height));
        let below = fits(Size::new(size.width, size.height.saturating_sub(2 * line)));
        let scale = beside.max(below);
        if scale == 0 {
            return Err(too_large);
        }
        let scaled = picture * scale;
        let is_paired = below >= beside;
        let margin = |room: u32, used: u32| ((room - used) / 2) as i32;
        let (corner, text) = if is_paired {
            let left = margin(size.width, scaled.width);
            let top = margin(size.height - 2 * line, scaled.height);
            let text = Point::new(0, (size.height - 2 * line) as i32);
            (
                Point::new(left, top),
                Rectangle::new(text, Size::new(size.width, 2 * line)),
            )
        } else {
            let top = margin(size.height, scaled.height);
            let left = top.min(margin(narrower, scaled.width));
            let edge = left + scaled.width as i32 + 1;
            let text = Size::new(size.width - edge as u32, size.height);
            (
                Point::new(left, top),
                Rectangle::new(Point::new(edge, top), text),
            )
        };
        Ok(Self {
            scale,
            shape,
            corner,
            text,
            font,
            is_paired,
        })
    }

    /// Shows one row of the image, magnified. *Shape*: `values` `[w, c]`.
    pub fn show_row<D: DrawTarget>(
        &self,
        display: &mut D,
        palette: Palette,
        row: usize,
        values: &[i8],
    ) -> Result<(), Fault>
    where
        D::Color: From<Gray8> + From<Rgb888>,
    {
        let scale = self.scale as usize;
        let pixels = values.chunks(self.shape.c.max(1));
        let colors = pixels.flat_map(|pixel| repeat_n(palette.color(pixel), scale));
        let line: Vec<D::Color, MAX_WIDTH_PX> = colors.take(MAX_WIDTH_PX).collect();
        let top = self.corner + Point::new(0, (row * scale) as i32);
        let area = Rectangle::new(top, Size::new(line.len() as u32, self.scale));
        let lines = line.iter().copied().cycle().take(line.len() * scale);
        display
            .fill_contiguous(&area, lines)
            .map_err(|_| Fault::Display)
    }

    /// Shows label, seed, time, and how far an interpolation is or the critic's score.
    pub fn show_hud<D: DrawTarget>(&self, display: &mut D, hud: &Hud<'_>) -> Result<(), Fault>
    where
        D::Color: From<Gray8>,
    {
        let columns = self.columns();
        let mut time = String::<MAX_TEXT>::new();
        let _ = write!(time, "{} ms", hud.ms);
        let mut seed = String::<MAX_TEXT>::new();
        let _ = write!(seed, "seed {}", hud.seed);
        if seed.len() > columns {
            // No word: the number matters.
            seed.clear();
            let _ = write!(seed, "{}", hud.seed);
        }
        let mut last = String::<MAX_TEXT>::new();
        if let (0, Some(score)) = (hud.percent, hud.score) {
            let _ = write!(last, "score {score}");
        } else if hud.percent > 0 {
            let _ = write!(last, "to next {}%", hud.percent);
        }
        let label = self.clipped(hud.label);
        if self.is_paired {
            self.show_line(display, 0, label, &time)?;
            self.show_line(display, 1, &seed, &last)
        } else {
            self.show_line(display, 0, label, "")?;
            self.show_line(display, 1, &seed, "")?;
            self.show_line(display, 2, &time, "")?;
            self.show_line(display, 3, &last, "")
        }
    }

    fn columns(&self) -> usize {
        columns(self.font, self.text.size.width)
    }

    /// As much of a text as fits on a line, with the time on its right where it has to be.
    fn clipped<'t>(&self, text: &'t str) -> &'t str {
        let reserved = if self.is_paired { "12345 ms ".len() } else { 0 };
        let room = self.columns().saturating_sub(reserved);
        let end = text
            .char_indices()
            .nth(room)
            .map_or(text.len(), |(at, _)| at);
        text.get(..end).unwrap_or(text)
    }

    /// One line of the head-up display, over what was there before.
    fn show_line<D: DrawTarget>(
        &self,
        display: &mut D,
        line: u32,
        left: &str,
        right: &str,
    ) -> Result<(), Fault>
    where
        D::Color: From<Gray8>,
    {
        let used = left.chars().count() + right.chars().count();
        let mut text = String::<MAX_TEXT>::new();
        let _ = text.push_str(left);
        for _ in used..self.columns() {
            let _ = text.push(' ');
        }
        let _ = text.push_str(right);
        let at = self.text.top_left + Point::new(0, (line * line_px(self.font)) as i32);
        show_text(display, self.font, at, &text)
    }
}

/// Shows whose images will follow.
pub fn show_boot<D: DrawTarget>(display: &mut D, model: &Model<'_>) -> Result<(), Fault>
where
    D::Color: From<Gray8>,
{
    clear(display)?;
    let (name, crc32) = (model.name(), model.crc32());
    let (dataset, steps) = (model.dataset(), model.steps());
    let (flash, arena) = (model.file_bytes(), model.required_bytes(Mode::Streamed));
    let mut text = String::<MAX_TEXT>::new();
    let _ = write!(text, "{name} CRC {crc32:08x}, {dataset}, {steps} steps, ");
    let _ = write!(text, "{flash} bytes of flash, {arena} of RAM");
    show_words(display, &text)
}

/// Shows what ended the application, whatever was on the display.
pub fn show_fault<D: DrawTarget>(display: &mut D, fault: &Fault) -> Result<(), Fault>
where
    D::Color: From<Gray8>,
{
    clear(display)?;
    let mut text = String::<MAX_TEXT>::new();
    let _ = write!(text, "ERROR {fault}");
    show_words(display, &text)
}

/// The text's font on a display of this size.
fn font(size: Size) -> &'static MonoFont<'static> {
    if size.width >= 200 {
        &FONT_10X20
    } else {
        &FONT_6X10
    }
}

/// Characters that fit into a width.
fn columns(font: &MonoFont<'_>, width_px: u32) -> usize {
    width_px.checked_div(font.character_size.width).unwrap_or(0) as usize
}

fn line_px(font: &MonoFont<'_>) -> u32 {
    font.character_size.height + LINE_GAP_PX
}

/// Makes the display black.
pub fn clear<D: DrawTarget>(display: &mut D) -> Result<(), Fault>
where
    D::Color: From<Gray8>,
{
    display
        .clear(Gray8::BLACK.into())
        .map_err(|_| Fault::Display)
}

/// Text over the whole display, broken between words.
fn show_words<D: DrawTarget>(display: &mut D, text: &str) -> Result<(), Fault>
where
    D::Color: From<Gray8>,
{
    let size = display.bounding_box().size;
    let font = font(size);
    let columns = columns(font, size.width);
    let mut line = String::<MAX_TEXT>::new();
    let mut at = Point::zero();
    // By bytes: the standard's search for a character has a panic in it.
    let words = text.as_bytes().split(|&byte| byte == b' ');
    for word in words.filter_map(|word| core::str::from_utf8(word).ok()) {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
            show_text(display, font, at, &line)?;
            at.y += line_px(font) as i32;
            line.clear();
        }
        if !line.is_empty() {
            let _ = line.push(' ');
        }
        let _ = line.push_str(word);
    }
    show_text(display, font, at, &line)
}

/// One line of white text on black.
fn show_text<D: DrawTarget>(
    display: &mut D,
    font: &'static MonoFont<'static>,
    at: Point,
    text: &str,
) -> Result<(), Fault>
where
    D::Color: From<Gray8>,
{
    let style = MonoTextStyleBuilder::new()
        .font(font)
        .text_color(Gray8::WHITE.into())
        .background_color(Gray8::BLACK.into())
        .build();
    let text = Text::with_baseline(text, at, style, Baseline::Top);
    text.draw(display).map_err(|_| Fault::Display)?;
    Ok(())
}
