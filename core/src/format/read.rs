//! Reading: every byte of a file is accounted for.

use super::{
    ALIGN, CRC_AT, CRITIC_AT, CRITIC_LEN, HEADER_LEN, LAYOUT_4, LAYOUT_8, MAGIC, MAX_LAYERS,
    RECORD_LEN, SEEDS_AT, VERSION, aligned, file_crc, is_control, record_at,
};
use crate::error::ModelError;
use crate::gate::Critic;
use crate::layout;
use crate::model::{Activation, Layer, Op, Quant, Shape, WIDE_TABLE_LEN, WeightBits, Window};

/// What the header says, beside the layers.
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
    /// Of what was taken.
    end: usize,
}

impl<'a> Sections<'a> {
    /// The next section, of a layer or of the gate, which has to be at `found`.
    fn take(
        &mut self,
        layer: Option<usize>,
        found: usize,
        need_bytes: u64,
    ) -> Result<&'a [u8], ModelError> {
        let need = aligned(self.end);
        if found != need {
            return Err(match layer {
                Some(layer) => ModelError::SectionOffset { layer, found, need },
                None => ModelError::GateOffset { found, need },
            });
        }
        // The same on every machine: no file has as many bytes.
        let need_bytes = need_bytes.min(u64::from(u32::MAX)) as usize;
        let rest = self.bytes.get(need..).unwrap_or(&[]);
        let left_bytes = rest.len();
        let section = rest.get(..need_bytes).ok_or(match layer {
            Some(layer) => ModelError::SectionLength {
                layer,
                need_bytes,
                left_bytes,
            },
            None => ModelError::GateLength {
                need_bytes,
                left_bytes,
            },
        })?;
        ensure_zero(self.bytes, self.end, need - self.end)?;
        self.end = need + need_bytes;
        Ok(section)
    }

    /// Nothing may follow but zeros up to a multiple of [`ALIGN`].
    pub(crate) fn finish(&self) -> Result<(), ModelError> {
        let (need_bytes, have_bytes) = (self.end, self.bytes.len());
        if have_bytes > aligned(need_bytes) {
            return Err(ModelError::WrongLength {
                need_bytes,
                have_bytes,
            });
        }
        ensure_zero(self.bytes, need_bytes, ALIGN)
    }
}

/// Whether `len` bytes from `from` on are zero, as far as there are any.
fn ensure_zero(bytes: &[u8], from: usize, len: usize) -> Result<(), ModelError> {
    let rest = bytes.get(from..).unwrap_or(&[]);
    match rest.iter().take(len).position(|&byte| byte != 0) {
        Some(i) => Err(ModelError::NotZero { at: from + i }),
        None => Ok(()),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn read_len(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(read_u32(bytes, at)?).ok()
}

/// Checks everything about a file but its sections, which begin behind the text.
pub(crate) fn read_header(bytes: &[u8]) -> Result<(Header<'_>, Sections<'_>), ModelError> {
    let too_short = ModelError::WrongLength {
        need_bytes: HEADER_LEN,
        have_bytes: bytes.len(),
    };
    if !bytes.starts_with(&MAGIC) {
        return Err(ModelError::BadMagic);
    }
    if bytes.len() < HEADER_LEN {
        return Err(too_short);
    }
    let u16_at = |at| read_u16(bytes, at).ok_or(too_short);
    let len_at = |at| read_len(bytes, at).ok_or(too_short);
    let found = u16_at(4)?;
    if found != VERSION {
        return Err(ModelError::UnsupportedVersion {
            found,
            supported: VERSION,
        });
    }
    let (need_bytes, have_bytes) = (len_at(8)?, bytes.len());
    if need_bytes != have_bytes {
        return Err(ModelError::WrongLength {
            need_bytes,
            have_bytes,
        });
    }
    let stored = read_u32(bytes, CRC_AT).ok_or(too_short)?;
    let computed = file_crc(bytes);
    if stored != computed {
        return Err(ModelError::BadCrc { stored, computed });
    }
    let layer_count = usize::from(u16_at(6)?);
    if layer_count == 0 || layer_count > MAX_LAYERS {
        return Err(ModelError::LayerCount { found: layer_count });
    }
    let (found, need) = (len_at(36)?, record_at(layer_count));
    if found != need {
        return Err(ModelError::HeaderLength { found, need });
    }
    let class_count = usize::from(u16_at(18)?);
    let text = read_text(bytes, need, len_at(32)?, class_count)?;
    let header = Header {
        text,
        latent_len: usize::from(u16_at(16)?),
        class_count,
        steps: read_u32(bytes, 20).ok_or(too_short)?,
        seed: array(bytes, 24).map(u64::from_le_bytes).ok_or(too_short)?,
        crc32: stored,
        layer_count,
    };
    let end = need + text.len();
    Ok((header, Sections { bytes, end }))
}

fn read_text(
    bytes: &[u8],
    at: usize,
    need_bytes: usize,
    class_count: usize,
) -> Result<&str, ModelError> {
    let rest = bytes.get(at..).unwrap_or(&[]);
    let text = rest.get(..need_bytes).ok_or(ModelError::TextLength {
        need_bytes,
        left_bytes: rest.len(),
    })?;
    let text = core::str::from_utf8(text).map_err(|_| ModelError::NotUtf8)?;
    let found = 1 + text.bytes().filter(|&byte| byte == b'\n').count();
    let need = 2 + class_count;
    if found != need {
        return Err(ModelError::LineCount { found, need });
    }
    // A line break is known to end a line here.
    let mut controls = text
        .char_indices()
        .filter(|&(_, c)| c != '\n' && is_control(c));
    match controls.next() {
        Some((at, _)) => Err(ModelError::ControlCharacter { at }),
        None => Ok(text),
    }
}

/// Offsets of what keeps pictures off the display, `None` for what is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateAt {
    pub seeds: Option<usize>,
    pub critic: Option<usize>,
}

/// Where the header says that the vetted seeds and the critic begin.
pub(crate) fn gate_at(bytes: &[u8]) -> GateAt {
    let at = |field| read_len(bytes, field).filter(|&at| at != 0);
    GateAt {
        seeds: at(SEEDS_AT),
        critic: at(CRITIC_AT),
    }
}

/// Reads the critic at `at` of `picture`s whose values mean `input`; its layers' numbers in
/// errors begin with `number`.
pub(crate) fn read_critic<'a>(
    sections: &mut Sections<'a>,
    at: usize,
    (picture, input): (Shape, Quant),
    number: usize,
) -> Result<Critic<'a>, ModelError> {
    let entries = (CRITIC_LEN + 2 * RECORD_LEN) as u64;
    let head = sections.take(None, at, entries)?;
    let [halved, passing] = array(head, 0).unwrap_or([0; 2]);
    if halved > 1 {
        return Err(ModelError::CriticCode { found: halved });
    }
    ensure_zero(sections.bytes, at + 2, CRITIC_LEN - 2)?;
    let mut read = |i: usize, input| {
        let (record, layer) = (at + CRITIC_LEN + RECORD_LEN * i, number + i);
        if array(sections.bytes, record) == Some([CONV_TRANSPOSE]) {
            let (at, found) = (0, CONV_TRANSPOSE);
            return Err(ModelError::UnknownCode { layer, at, found });
        }
        let read = read_layer(sections, record, layer, input)?;
        read.check(layer)?;
        Ok(read)
    };
    let first = read(0, input)?;
    let second = read(1, first.output)?;
    let layers = [first, second];
    Critic::new(picture, halved == 1, passing as i8, layers, number)
}

/// Reads the vetted seeds: `[classes][n]`, or none.
pub(crate) fn read_seeds<'a>(
    sections: &mut Sections<'a>,
    at: Option<usize>,
    class_count: usize,
) -> Result<&'a [[u8; 4]], ModelError> {
    let Some(at) = at else { return Ok(&[]) };
    // Where `at` is wrong, so is this, and is not used.
    let each = read_u32(sections.bytes, at).unwrap_or(0);
    let count = u64::from(each) * class_count.max(1) as u64;
    let section = sections.take(None, at, 4 + 4 * count)?;
    let seeds = section.get(4..).unwrap_or(&[]).as_chunks::<4>().0;
    if each == 0 {
        let found = 0;
        return Err(ModelError::SeedCount { found, class_count });
    }
    let mut before = None;
    for (index, &seed) in seeds.iter().enumerate() {
        let seed = Some(u32::from_le_bytes(seed));
        if (index as u64).is_multiple_of(u64::from(each)) {
            before = None;
        }
        if before >= seed {
            return Err(ModelError::SeedOrder { index });
        }
        before = seed;
    }
    Ok(seeds)
}

/// Operators.
const DENSE: u8 = 0;
const CONV_TRANSPOSE: u8 = 1;

/// Reads the layer whose entry is at `record`, and whose number in errors is `layer`;
/// `input` is what its input values mean.
pub(crate) fn read_layer<'a>(
    sections: &mut Sections<'a>,
    record: usize,
    layer: usize,
    input: Quant,
) -> Result<Layer<'a>, ModelError> {
    let bytes = sections.bytes;
    let entry: [u8; RECORD_LEN] = array(bytes, record).ok_or(ModelError::WrongLength {
        need_bytes: record + RECORD_LEN,
        have_bytes: bytes.len(),
    })?;
    let unknown = |at, found| ModelError::UnknownCode { layer, at, found };
    let [op, layout, act, window @ .., _, _, _, _] = *entry.first_chunk::<13>().unwrap_or(&[0; 13]);
    let [.., min, max, sum_zp, out_zp] = *entry.first_chunk::<13>().unwrap_or(&[0; 13]);
    let (min, max) = (min as i8, max as i8);
    let weight_bits = match (layout, op) {
        (LAYOUT_8, _) => WeightBits::Eight,
        (LAYOUT_4, DENSE) => WeightBits::Four,
        _ => return Err(unknown(1, layout)),
    };
    let op = match op {
        DENSE => {
            ensure_zero(bytes, record + 3, window.len())?;
            Op::Dense
        }
        CONV_TRANSPOSE => {
            let [kernel, stride, crop_top, crop_left, crop_bottom, crop_right] =
                window.map(usize::from);
            Op::ConvTranspose(Window {
                kernel,
                stride,
                crop_top,
                crop_left,
                crop_bottom,
                crop_right,
            })
        }
        _ => return Err(unknown(0, op)),
    };
    let table_bytes = match act {
        0 => 0,
        1 => 256,
        2 => 2 * WIDE_TABLE_LEN,
        _ => return Err(unknown(2, act)),
    };
    if min > max || act != 0 && (min, max) != (i8::MIN, i8::MAX) {
        return Err(ModelError::Clamp { layer });
    }
    ensure_zero(bytes, record + 13, 3)?;
    ensure_zero(bytes, record + 60, 4)?;
    let side = |at| read_u16(&entry, at).map_or(0, usize::from);
    let dims = |at| Shape {
        h: side(at),
        w: side(at + 2),
        c: side(at + 4),
    };
    let (input_shape, output_shape) = (dims(16), dims(22));
    let lens = layout::lens(layer, op, weight_bits, input_shape, output_shape)?;
    let corrections = match input.zero_point {
        0 => 0,
        _ => 4 * lens.corrections,
    };
    let channels = lens.channels as u64;
    let mut section = |at: usize, len: u64| match len {
        0 => ensure_zero(bytes, record + at, 4).map(|()| &[][..]),
        _ => sections.take(Some(layer), read_len(&entry, at).unwrap_or(0), len),
    };
    let scale = |at| f32::from_le_bytes(array(&entry, at).unwrap_or_default());
    Ok(Layer {
        op,
        input_shape,
        output_shape,
        input,
        sum: Quant {
            scale: scale(28),
            zero_point: sum_zp as i8,
        },
        output: Quant {
            scale: scale(32),
            zero_point: out_zp as i8,
        },
        weight_bits,
        weights: section(36, lens.weights)?,
        bias: section(40, 4 * channels)?,
        mantissas: section(44, 4 * channels)?,
        shifts: section(48, channels)?,
        corrections: section(56, corrections)?,
        activation: {
            let table = section(52, table_bytes as u64)?;
            match (table.first_chunk(), table.as_chunks().0.first_chunk()) {
                (_, Some(wide)) => Activation::WideTable(wide),
                (Some(narrow), None) => Activation::Table(narrow),
                (None, None) => Activation::Clamp { min, max },
            }
        },
    })
}
