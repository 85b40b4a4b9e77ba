//! Reading: every byte of a file is accounted for.

use core::ops::Range;

use super::field::{activation, critic, entry, header, layout};
use super::{
    ALIGN, FUNCTIONS_SINCE, MAGIC, OLDEST_VERSION, VERSION, aligned, entry_at, file_crc, is_control,
};
use crate::error::{CriticError, FileError, LayerError, SectionError, SeedsError};
use crate::layer::Layer;
use crate::ops::{self, conv_transpose, dense, section_lens};
use crate::slice::part;
use crate::types::{Activation, Function, LUT16_LEN, MAX_LAYERS, Op, Quant, Shape, WeightBits};

/// The header's fields, without the layers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    pub text: &'a str,
    pub latent_len: usize,
    pub class_count: usize,
    pub steps: u32,
    pub seed: u64,
    pub crc32: u32,
    pub layer_count: usize,
}

/// A file's sections, taken in their order: each begins at the first multiple of [`ALIGN`]
/// behind the one before, and what lies between is zero.
pub(crate) struct Sections<'a> {
    bytes: &'a [u8],
    version: u16,
    /// End of the sections that were taken, in bytes.
    end: usize,
}

impl<'a> Sections<'a> {
    /// The next section, which has to be at `found`.
    fn take(&mut self, found: usize, need_bytes: u64) -> Result<&'a [u8], SectionError> {
        let need = aligned(self.end);
        if found != need {
            return Err(SectionError::Offset { found, need });
        }
        // The same on every machine: no file has as many bytes.
        let need_bytes = need_bytes.min(u64::from(u32::MAX)) as usize;
        let rest = part(self.bytes, need..);
        let left_bytes = rest.len();
        let section = rest.get(..need_bytes).ok_or(SectionError::Length {
            need_bytes,
            left_bytes,
        })?;
        ensure_zero(self.bytes, self.end..need)?;
        self.end = need + need_bytes;
        Ok(section)
    }

    /// Nothing may follow but zeros up to a multiple of [`ALIGN`].
    pub(crate) fn finish(&self) -> Result<(), FileError> {
        let (need_bytes, have_bytes) = (self.end, self.bytes.len());
        if have_bytes > aligned(need_bytes) {
            return Err(FileError::WrongLength {
                need_bytes,
                have_bytes,
            });
        }
        match first_non_zero(self.bytes, need_bytes..need_bytes + ALIGN) {
            Some(at) => Err(FileError::NotZero { at }),
            None => Ok(()),
        }
    }
}

/// The first of these bytes that is not zero, as far as the file has them.
fn first_non_zero(bytes: &[u8], range: Range<usize>) -> Option<usize> {
    let rest = part(bytes, range.start..);
    let i = rest.iter().take(range.len()).position(|&byte| byte != 0)?;
    Some(range.start + i)
}

/// Checks that these bytes are zero, as far as the file has them.
fn ensure_zero(bytes: &[u8], range: Range<usize>) -> Result<(), SectionError> {
    match first_non_zero(bytes, range) {
        Some(at) => Err(SectionError::NotZero { at }),
        None => Ok(()),
    }
}

/// A field of a file, as far as the file has it.
fn array<const N: usize>(bytes: &[u8], field: Range<usize>) -> Option<[u8; N]> {
    bytes.get(field)?.first_chunk().copied()
}

fn read_u16(bytes: &[u8], field: Range<usize>) -> Option<u16> {
    array(bytes, field).map(u16::from_le_bytes)
}

fn read_u32(bytes: &[u8], field: Range<usize>) -> Option<u32> {
    array(bytes, field).map(u32::from_le_bytes)
}

fn read_len(bytes: &[u8], field: Range<usize>) -> Option<usize> {
    usize::try_from(read_u32(bytes, field)?).ok()
}

/// A field of what begins at `at`.
const fn behind(at: usize, field: Range<usize>) -> Range<usize> {
    at + field.start..at + field.end
}

/// Checks everything about a file but its sections, which begin behind the text.
pub(crate) fn read_header(bytes: &[u8]) -> Result<(Header<'_>, Sections<'_>), FileError> {
    let too_short = FileError::WrongLength {
        need_bytes: header::LEN,
        have_bytes: bytes.len(),
    };
    if !bytes.starts_with(&MAGIC) {
        return Err(FileError::BadMagic);
    }
    if bytes.len() < header::LEN {
        return Err(too_short);
    }
    let u16_at = |field| read_u16(bytes, field).ok_or(too_short);
    let len_at = |field| read_len(bytes, field).ok_or(too_short);
    let version = u16_at(header::VERSION)?;
    if !(OLDEST_VERSION..=VERSION).contains(&version) {
        return Err(FileError::UnsupportedVersion {
            found: version,
            newest: VERSION,
        });
    }
    let (need_bytes, have_bytes) = (len_at(header::FILE_LEN)?, bytes.len());
    if need_bytes != have_bytes {
        return Err(FileError::WrongLength {
            need_bytes,
            have_bytes,
        });
    }
    let stored = read_u32(bytes, header::CRC32).ok_or(too_short)?;
    let computed = file_crc(bytes);
    if stored != computed {
        return Err(FileError::BadCrc { stored, computed });
    }
    let layer_count = usize::from(u16_at(header::LAYER_COUNT)?);
    if layer_count == 0 || layer_count > MAX_LAYERS {
        return Err(FileError::LayerCount { found: layer_count });
    }
    let (found, need) = (len_at(header::HEADER_LEN)?, entry_at(layer_count));
    if found != need {
        return Err(FileError::HeaderLength { found, need });
    }
    let class_count = usize::from(u16_at(header::CLASS_COUNT)?);
    let text = read_text(bytes, need, len_at(header::TEXT_LEN)?, class_count)?;
    let seed = array(bytes, header::SEED);
    let header = Header {
        text,
        latent_len: usize::from(u16_at(header::LATENT_LEN)?),
        class_count,
        steps: read_u32(bytes, header::STEPS).ok_or(too_short)?,
        seed: seed.map(u64::from_le_bytes).ok_or(too_short)?,
        crc32: stored,
        layer_count,
    };
    let end = need + text.len();
    let sections = Sections {
        bytes,
        version,
        end,
    };
    Ok((header, sections))
}

fn read_text(
    bytes: &[u8],
    at: usize,
    need_bytes: usize,
    class_count: usize,
) -> Result<&str, FileError> {
    let rest = part(bytes, at..);
    let text = rest.get(..need_bytes).ok_or(FileError::TextLength {
        need_bytes,
        left_bytes: rest.len(),
    })?;
    let text = core::str::from_utf8(text).map_err(|_| FileError::NotUtf8)?;
    let found = 1 + text.bytes().filter(|&byte| byte == b'\n').count();
    let need = 2 + class_count;
    if found != need {
        return Err(FileError::LineCount { found, need });
    }
    // A line break is known to end a line here.
    let mut controls = text
        .char_indices()
        .filter(|&(_, c)| c != '\n' && is_control(c));
    match controls.next() {
        Some((at, _)) => Err(FileError::ControlCharacter { at }),
        None => Ok(text),
    }
}

/// Offsets of vetted seeds and critic, `None` for what is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateAt {
    pub seeds: Option<usize>,
    pub critic: Option<usize>,
}

/// Offsets of the vetted seeds and the critic, by the header.
pub(crate) fn gate_at(bytes: &[u8]) -> GateAt {
    let at = |field| read_len(bytes, field).filter(|&at| at != 0);
    GateAt {
        seeds: at(header::VETTED_SEEDS),
        critic: at(header::CRITIC),
    }
}

/// The fields at the critic's beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CriticHead {
    pub halved: bool,
    pub passing: i8,
}

/// Takes the critic's head and entries, which have to be at `at`.
pub(crate) fn read_critic_head(
    sections: &mut Sections<'_>,
    at: usize,
) -> Result<CriticHead, CriticError> {
    let head = sections.take(at, (critic::LEN + 2 * entry::LEN) as u64)?;
    let [halved] = array(head, critic::HALVED).unwrap_or_default();
    let [passing] = array(head, critic::PASSING).unwrap_or_default();
    if halved > 1 {
        return Err(CriticError::UnknownCode { found: halved });
    }
    ensure_zero(sections.bytes, behind(at, critic::RESERVED))?;
    Ok(CriticHead {
        halved: halved == 1,
        passing: passing as i8,
    })
}

/// Reads layer `index` of the critic at `at`, a dense one.
pub(crate) fn read_critic_layer<'a>(
    sections: &mut Sections<'a>,
    at: usize,
    index: usize,
    input: Quant,
) -> Result<Layer<'a>, LayerError> {
    let entry_at = at + critic::LEN + entry::LEN * index;
    let op = array(sections.bytes, behind(entry_at, entry::OPERATOR));
    if op == Some([conv_transpose::CODE]) {
        return Err(LayerError::UnknownCode {
            at: entry::OPERATOR.start,
            found: conv_transpose::CODE,
        });
    }
    read_layer(sections, entry_at, input)
}

/// Reads the vetted seeds: `[classes][n]`, or none.
pub(crate) fn read_seeds<'a>(
    sections: &mut Sections<'a>,
    at: Option<usize>,
    class_count: usize,
) -> Result<&'a [[u8; 4]], SeedsError> {
    let Some(at) = at else { return Ok(&[]) };
    // Where `at` is wrong, so is this, and is not used.
    let each = read_u32(sections.bytes, at..at.saturating_add(4)).unwrap_or(0);
    let count = u64::from(each) * class_count.max(1) as u64;
    let section = sections.take(at, 4 + 4 * count)?;
    let seeds = part(section, 4..).as_chunks::<4>().0;
    if each == 0 {
        let found = 0;
        return Err(SeedsError::Count { found, class_count });
    }
    let mut before = None;
    for (index, &seed) in seeds.iter().enumerate() {
        let seed = Some(u32::from_le_bytes(seed));
        if (index as u64).is_multiple_of(u64::from(each)) {
            before = None;
        }
        if before >= seed {
            return Err(SeedsError::Order { index });
        }
        before = seed;
    }
    Ok(seeds)
}

/// A layer's entry.
struct Entry<'a> {
    entry: &'a [u8; entry::LEN],
    /// The file, and where in it the entry begins.
    bytes: &'a [u8],
    at: usize,
}

impl Entry<'_> {
    fn array<const N: usize>(&self, field: Range<usize>) -> [u8; N] {
        array(self.entry, field).unwrap_or([0; N])
    }

    fn byte(&self, field: Range<usize>) -> u8 {
        let [byte] = self.array(field);
        byte
    }

    fn ensure_zero(&self, field: Range<usize>) -> Result<(), SectionError> {
        ensure_zero(self.bytes, behind(self.at, field))
    }

    fn unknown(&self, field: Range<usize>) -> LayerError {
        LayerError::UnknownCode {
            at: field.start,
            found: self.byte(field),
        }
    }

    fn shape(&self, field: Range<usize>) -> Shape {
        let sides: [u8; 6] = self.array(field);
        let [h, w, c] = [0, 2, 4].map(|at| read_u16(&sides, at..at + 2).map_or(0, usize::from));
        Shape { h, w, c }
    }

    fn quant(&self, scale: Range<usize>, zero_point: Range<usize>) -> Quant {
        Quant {
            scale: f32::from_le_bytes(self.array(scale)),
            zero_point: self.byte(zero_point) as i8,
        }
    }

    fn operator(&self) -> Result<Op, LayerError> {
        let window: [u8; 6] = self.array(entry::WINDOW);
        let op = ops::from_code(self.byte(entry::OPERATOR), window);
        let op = op.ok_or_else(|| self.unknown(entry::OPERATOR))?;
        if ops::to_code(op).1 == [0; 6] {
            self.ensure_zero(entry::WINDOW)?;
        }
        Ok(op)
    }

    fn weight_bits(&self) -> Result<WeightBits, LayerError> {
        match (self.byte(entry::LAYOUT), self.byte(entry::OPERATOR)) {
            (layout::EIGHT_BITS, _) => Ok(WeightBits::Eight),
            (layout::FOUR_BITS, dense::CODE) => Ok(WeightBits::Four),
            _ => Err(self.unknown(entry::LAYOUT)),
        }
    }

    /// Bytes of the activation's table, and its clamp.
    fn activation(&self) -> Result<(usize, [i8; 2]), LayerError> {
        let table_bytes = match self.byte(entry::ACTIVATION) {
            activation::CLAMP => 0,
            activation::LUT8 => 256,
            activation::LUT16 => 2 * LUT16_LEN,
            _ => return Err(self.unknown(entry::ACTIVATION)),
        };
        let clamp: [u8; 2] = self.array(entry::CLAMP);
        let [min, max] = clamp.map(|limit| limit as i8);
        if min > max || table_bytes > 0 && (min, max) != (i8::MIN, i8::MAX) {
            return Err(LayerError::Clamp);
        }
        Ok((table_bytes, [min, max]))
    }

    fn function(&self, version: u16) -> Result<Function, LayerError> {
        if version < FUNCTIONS_SINCE {
            self.ensure_zero(entry::FUNCTION)?;
        }
        // As bits: even a comparison would pull in floating point.
        let slope = f32::from_le_bytes(self.array(entry::SLOPE));
        let function = Function::from_code(self.byte(entry::FUNCTION), slope);
        let function = function.ok_or_else(|| self.unknown(entry::FUNCTION))?;
        match function {
            Function::LeakyRelu { slope } if slope.to_bits() >= 1f32.to_bits() => {
                return Err(LayerError::Slope);
            }
            Function::LeakyRelu { .. } => {}
            _ => self.ensure_zero(entry::SLOPE)?,
        }
        Ok(function)
    }

    /// The section of `len` bytes whose offset is in `field`; an empty section has no offset.
    fn section<'s>(
        &self,
        sections: &mut Sections<'s>,
        field: Range<usize>,
        len: u64,
    ) -> Result<&'s [u8], SectionError> {
        if len == 0 {
            return self.ensure_zero(field).map(|()| &[][..]);
        }
        let found = read_len(self.entry, field).unwrap_or(0);
        sections.take(found, len)
    }
}

/// Reads the layer whose entry is at `entry_at`; `input` is what its input values mean.
pub(crate) fn read_layer<'a>(
    sections: &mut Sections<'a>,
    entry_at: usize,
    input: Quant,
) -> Result<Layer<'a>, LayerError> {
    let bytes = sections.bytes;
    let rest = part(bytes, entry_at..);
    let read = Entry {
        entry: rest.first_chunk().ok_or(SectionError::Length {
            need_bytes: entry::LEN,
            left_bytes: rest.len(),
        })?,
        bytes,
        at: entry_at,
    };
    let weight_bits = read.weight_bits()?;
    let op = read.operator()?;
    let (table_bytes, [min, max]) = read.activation()?;
    let function = read.function(sections.version)?;
    read.ensure_zero(entry::RESERVED)?;
    let input_shape = read.shape(entry::INPUT_SHAPE);
    let output_shape = read.shape(entry::OUTPUT_SHAPE);
    let lens = section_lens(op, weight_bits, input_shape, output_shape)?;
    let channels = lens.channels as u64;
    let correction_count = match input.zero_point {
        0 => 0,
        _ => lens.zero_point_corrections,
    };
    // In the order of the file.
    let weights = read.section(sections, entry::WEIGHTS, lens.weights)?;
    let bias = read.section(sections, entry::BIASES, 4 * channels)?;
    let mantissas = read.section(sections, entry::MANTISSAS, 4 * channels)?;
    let shifts = read.section(sections, entry::SHIFTS, channels)?;
    let zero_point_corrections = read.section(
        sections,
        entry::ZERO_POINT_CORRECTIONS,
        4 * correction_count,
    )?;
    let table = read.section(sections, entry::TABLE, table_bytes as u64)?;
    let activation = match (table.first_chunk(), table.as_chunks().0.first_chunk()) {
        (_, Some(lut)) => Activation::Lut16(lut),
        (Some(lut), None) => Activation::Lut8(lut),
        (None, None) => Activation::Clamp { min, max },
    };
    Ok(Layer {
        op,
        input_shape,
        output_shape,
        input,
        pre_activation: read.quant(
            entry::PRE_ACTIVATION_SCALE,
            entry::PRE_ACTIVATION_ZERO_POINT,
        ),
        output: read.quant(entry::OUTPUT_SCALE, entry::OUTPUT_ZERO_POINT),
        activation,
        function,
        weight_bits,
        weights,
        bias,
        mantissas,
        shifts,
        zero_point_corrections,
    })
}
