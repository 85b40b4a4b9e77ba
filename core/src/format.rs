//! The `.gan` file, version 3. This page is the specification; nothing else knows an offset.
//!
//! All numbers are little-endian. Sections begin at multiples of 16 bytes, in the order
//! text, then each layer's weights, biases, mantissas, shifts, corrections and table, then the
//! critic and the vetted seeds; gaps are zero.
//!
//! Header, 48 bytes:
//!
//! | at | type | content |
//! |---|---|---|
//! | 0 | `[u8; 4]` | magic, `GAN8` |
//! | 4 | `u16` | version, 3 |
//! | 6 | `u16` | layers, 1 to [`MAX_LAYERS`] |
//! | 8 | `u32` | length of the file in bytes |
//! | 12 | `u32` | CRC-32 (IEEE 802.3) of bytes 0 to 11 and 16 to the end |
//! | 16 | `u16` | latent values |
//! | 18 | `u16` | classes, 0 for none |
//! | 20 | `u32` | training steps |
//! | 24 | `u64` | training seed |
//! | 32 | `u32` | length of the text in bytes |
//! | 36 | `u32` | header length: 48 + 64 * layers |
//! | 40 | `u32` | offset of the vetted seeds, or 0 |
//! | 44 | `u32` | offset of the critic, or 0 |
//!
//! Layer table, 64 bytes a layer:
//!
//! | at | type | content |
//! |---|---|---|
//! | 0 | `u8` | operator: 0 dense, 1 transposed convolution |
//! | 1 | `u8` | weight layout: 1, `i8` as in [`layout`]; 2, 4 bits as there, dense only |
//! | 2 | `u8` | activation: 0 clamp, 1 table, 2 wide table |
//! | 3 | `u8` | kernel (0 for dense) |
//! | 4 | `u8` | stride (0 for dense) |
//! | 5 | `[u8; 4]` | crop top, left, bottom, right (0 for dense) |
//! | 9 | `[i8; 2]` | clamp minimum, maximum (-128, 127 with either table) |
//! | 11 | `i8` | zero point of the requantized sum; 0 with a wide table |
//! | 12 | `i8` | zero point of the output; the sum's unless there is a table |
//! | 13 | `[u8; 3]` | zero |
//! | 16 | `[u16; 6]` | input `h, w, c`, output `h, w, c`; at most [`MAX_MAP_LEN`] values each |
//! | 28 | `f32` | scale of the requantized sum |
//! | 32 | `f32` | scale of the output; the sum's unless there is a table |
//! | 36 | `u32` | offset of the weights, `i8` |
//! | 40 | `u32` | offset of the biases, `i32` |
//! | 44 | `u32` | offset of the multipliers' mantissas, `i32` |
//! | 48 | `u32` | offset of the multipliers' shifts, `i8` |
//! | 52 | `u32` | offset of the table, 256 `i8` or (wide) 513 `i16`, or 0 |
//! | 56 | `u32` | offset of the corrections, `i32`, or 0 where the input's zero point is 0 |
//! | 60 | `[u8; 4]` | zero |
//!
//! A correction is minus the input's zero point times the sum of the weights of a kernel
//! row and phase: it lets the runtime multiply inputs that still hold their zero point.
//!
//! Text: UTF-8 lines without a line break at the end: the model's name, the data set's
//! name, one label per class. The first layer's input is the latent (scale 1/32, zero
//! point 0) and the class, 96 (so 3.0) in its place and 0 in the others'.
//!
//! Critic (see [`gate`](crate::gate)), 144 bytes:
//!
//! | at | type | content |
//! |---|---|---|
//! | 0 | `u8` | 1 if it sees two by two pixels as one, else 0 |
//! | 1 | `i8` | the least score that passes |
//! | 2 | `[u8; 14]` | zero |
//! | 16 | | two entries as in the layer table, both dense; their sections follow |
//!
//! Vetted seeds: `u32`, how many of each class; then as many `u32` for each class (once
//! without classes), in rising order.

use crate::error::ModelError;
use crate::fixed::Multiplier;
use crate::gate::Critic;
use crate::layout;
use crate::model::{Activation, Layer, Op, Quant, Shape, WIDE_TABLE_LEN, WeightBits, Window};

/// Layers that a file may have.
pub const MAX_LAYERS: usize = 16;

/// Values that a layer may read or write: sizes of what it works in stay far below 32 bits.
pub const MAX_MAP_LEN: usize = 1 << 24;

const MAGIC: [u8; 4] = *b"GAN8";
const VERSION: u16 = 3;
const HEADER_LEN: usize = 48;
const RECORD_LEN: usize = 64;
const ALIGN: usize = 16;
/// Where the header says where the gate is.
const SEEDS_AT: usize = 40;
const CRITIC_AT: usize = 44;
/// Bytes of a critic before its layers' entries.
const CRITIC_LEN: usize = 16;
/// Weight layouts.
const LAYOUT_8: u8 = 1;
const LAYOUT_4: u8 = 2;
/// Where the checksum lies, which it does not cover.
const CRC_AT: usize = 12;

/// A model's description, to be written.
#[derive(Clone, Copy, Debug)]
pub struct ModelSpec<'a> {
    /// One line.
    pub name: &'a str,
    /// One line.
    pub dataset: &'a str,
    /// One line per class; none for a model without classes.
    pub labels: &'a [&'a str],
    /// Latent values, without the class.
    pub latent_len: u16,
    /// Training steps behind the weights.
    pub steps: u32,
    /// Seed of the training.
    pub seed: u64,
    /// First to last.
    pub layers: &'a [LayerSpec<'a>],
}

/// A layer's description, to be written.
#[derive(Clone, Copy, Debug)]
pub struct LayerSpec<'a> {
    /// Operator.
    pub op: Op,
    /// `[1, 1, n]` for the first layer.
    pub input_shape: Shape,
    /// What the next layer reads.
    pub output_shape: Shape,
    /// `[c_out][k][k][c_in]` or `[n_out][n_in]`, each in the range of its bits.
    pub weights: &'a [i8],
    /// Of the weights.
    pub weight_bits: WeightBits,
    /// Per output channel (transposed convolution) or value (dense).
    pub bias: &'a [i32],
    /// As many as biases.
    pub multipliers: &'a [Multiplier],
    /// Of the requantized sum.
    pub sum: Quant,
    /// Of the output: the sum's unless the activation is a table.
    pub output: Quant,
    /// Clamp or table.
    pub activation: Activation<'a>,
}

/// A critic's description, to be written.
#[derive(Clone, Copy, Debug)]
pub struct CriticSpec<'a> {
    /// Whether it sees two by two pixels as one.
    pub halved: bool,
    /// The least score that passes.
    pub passing: i8,
    /// Both dense, over `[1, 1, n]` as [`seen_shape`](crate::gate::seen_shape) has it.
    pub layers: [LayerSpec<'a>; 2],
}

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

/// Continues a CRC-32 (reflected, polynomial 0xEDB88320), bitwise: flash is dearer than
/// the milliseconds that a table would save once at start.
fn crc32(mut crc: u32, bytes: &[u8]) -> u32 {
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    crc
}

fn file_crc(bytes: &[u8]) -> u32 {
    let (before, after) = bytes.split_at(bytes.len().min(CRC_AT));
    !crc32(crc32(!0, before), after.get(4..).unwrap_or(&[]))
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

/// Checks everything about a file but its layers.
pub(crate) fn read_header(bytes: &[u8]) -> Result<Header<'_>, ModelError> {
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
    let text_at = HEADER_LEN + RECORD_LEN * layer_count;
    let text = bytes
        .get(text_at..)
        .and_then(|rest| rest.get(..len_at(32).ok()?));
    let text = text.and_then(|text| core::str::from_utf8(text).ok());
    let text = text.ok_or(ModelError::BadText)?;
    let class_count = usize::from(u16_at(18)?);
    if len_at(36)? != text_at
        || text.bytes().filter(|&byte| byte == b'\n').count() != 1 + class_count
    {
        return Err(ModelError::BadText);
    }
    Ok(Header {
        text,
        latent_len: usize::from(u16_at(16)?),
        class_count,
        steps: read_u32(bytes, 20).ok_or(too_short)?,
        seed: array(bytes, 24).map(u64::from_le_bytes).ok_or(too_short)?,
        crc32: stored,
        layer_count,
    })
}

/// Where the entry of layer number `index` begins.
pub(crate) const fn record_at(index: usize) -> usize {
    HEADER_LEN + RECORD_LEN * index
}

/// Offsets of what keeps pictures off the display.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateAt {
    pub seeds: Option<usize>,
    pub critic: Option<usize>,
}

/// Where the vetted seeds and the critic begin.
pub(crate) fn gate_at(bytes: &[u8]) -> Result<GateAt, ModelError> {
    let at = |field| {
        let at = read_len(bytes, field).filter(|at| at % ALIGN == 0);
        let at = at.ok_or(ModelError::BadGate)?;
        Ok(Some(at).filter(|&at| at != 0))
    };
    Ok(GateAt {
        seeds: at(SEEDS_AT)?,
        critic: at(CRITIC_AT)?,
    })
}

/// Reads the critic at `at` of `picture`s whose values mean `input`.
pub(crate) fn read_critic(
    bytes: &[u8],
    at: usize,
    picture: Shape,
    input: Quant,
) -> Result<Critic<'_>, ModelError> {
    let head: [u8; 2] = array(bytes, at).ok_or(ModelError::BadGate)?;
    let [halved @ (0 | 1), passing] = head else {
        return Err(ModelError::BadGate);
    };
    let read = |i: usize, input| {
        let record = at + CRITIC_LEN + RECORD_LEN * i;
        let layer = read_layer(bytes, record, i, input);
        let layer = layer.map_err(|_| ModelError::BadGate)?;
        layer.check(i).map_err(|_| ModelError::BadGate)?;
        Ok(layer)
    };
    let first = read(0, input)?;
    let second = read(1, first.output)?;
    Critic::new(picture, halved == 1, passing as i8, [first, second])
}

/// Reads the vetted seeds: `[classes][n]`, or none.
pub(crate) fn read_seeds(
    bytes: &[u8],
    at: Option<usize>,
    class_count: usize,
) -> Result<&[[u8; 4]], ModelError> {
    let Some(at) = at else { return Ok(&[]) };
    let seeds = || {
        let each = read_len(bytes, at).filter(|&each| each > 0)?;
        let len = each.checked_mul(class_count.max(1))?.checked_mul(4)?;
        Some(bytes.get(at + 4..)?.get(..len)?.as_chunks().0)
    };
    seeds().ok_or(ModelError::BadGate)
}

/// Reads the layer whose entry is at `record`, and whose number in errors is `index`;
/// `input` is what its input values mean.
pub(crate) fn read_layer(
    bytes: &[u8],
    record: usize,
    index: usize,
    input: Quant,
) -> Result<Layer<'_>, ModelError> {
    let record = bytes.get(record..).and_then(|rest| rest.get(..RECORD_LEN));
    let record = record.ok_or(ModelError::BadSection { layer: index })?;
    let unknown = ModelError::UnknownCode { layer: index };
    let &[
        op,
        layout,
        act,
        kernel,
        stride,
        top,
        left,
        bottom,
        right,
        min,
        max,
        sum_zp,
        out_zp,
        ..,
    ] = record
    else {
        return Err(unknown);
    };
    let window = [kernel, stride, top, left, bottom, right].map(usize::from);
    let weight_bits = match layout {
        LAYOUT_8 => WeightBits::Eight,
        LAYOUT_4 => WeightBits::Four,
        _ => return Err(unknown),
    };
    let op = match op {
        0 if window == [0; 6] => Op::Dense,
        1 => Op::ConvTranspose(Window {
            kernel: window[0],
            stride: window[1],
            crop_top: window[2],
            crop_left: window[3],
            crop_bottom: window[4],
            crop_right: window[5],
        }),
        _ => return Err(unknown),
    };
    let dims = |at| {
        Some(Shape {
            h: usize::from(read_u16(record, at)?),
            w: usize::from(read_u16(record, at + 2)?),
            c: usize::from(read_u16(record, at + 4)?),
        })
    };
    let shapes = (dims(16).ok_or(unknown)?, dims(22).ok_or(unknown)?);
    let bad_shape = ModelError::BadShape { layer: index };
    let lens = layout::lens(op, weight_bits, shapes.0, shapes.1).ok_or(bad_shape)?;
    let section = |at, len: usize| {
        let start = read_len(record, at).filter(|start| start % ALIGN == 0);
        let section = start.and_then(|start| bytes.get(start..start.checked_add(len)?));
        section.ok_or(ModelError::BadSection { layer: index })
    };
    let scale = |at| array(record, at).map(f32::from_le_bytes).ok_or(unknown);
    let activation = match act {
        0 => Activation::Clamp {
            min: min as i8,
            max: max as i8,
        },
        1 => {
            let table = section(52, 256)?.first_chunk();
            Activation::Table(table.ok_or(ModelError::BadSection { layer: index })?)
        }
        2 => {
            let table = section(52, 2 * WIDE_TABLE_LEN)?.as_chunks().0.first_chunk();
            Activation::WideTable(table.ok_or(ModelError::BadSection { layer: index })?)
        }
        _ => return Err(unknown),
    };
    let corrections = match lens.corrections {
        0 => &[],
        _ if input.zero_point == 0 => &[],
        len => section(56, len * 4)?,
    };
    Ok(Layer {
        op,
        input_shape: shapes.0,
        output_shape: shapes.1,
        input,
        sum: Quant {
            scale: scale(28)?,
            zero_point: sum_zp as i8,
        },
        output: Quant {
            scale: scale(32)?,
            zero_point: out_zp as i8,
        },
        activation,
        weight_bits,
        weights: section(36, lens.weights)?,
        bias: section(40, lens.channels * 4)?,
        mantissas: section(44, lens.channels * 4)?,
        shifts: section(48, lens.channels)?,
        corrections,
    })
}

const fn aligned(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

fn lens(layer: &LayerSpec<'_>) -> Option<layout::Lens> {
    layout::lens(
        layer.op,
        layer.weight_bits,
        layer.input_shape,
        layer.output_shape,
    )
}

/// Length of the file that [`encode`] will write.
pub fn encoded_bytes(spec: &ModelSpec<'_>) -> usize {
    let text = record_at(spec.layers.len()) + text_len(spec);
    let zero_points = spec.layers.iter().map(|layer| layer.output.zero_point);
    let layers = spec.layers.iter().zip([0].into_iter().chain(zero_points));
    layers.fold(text, |at, (layer, zero_point)| {
        end_of_layer(at, layer, zero_point)
    })
}

/// Where the sections of a layer end that begin behind `at`.
fn end_of_layer(at: usize, layer: &LayerSpec<'_>, input_zero_point: i8) -> usize {
    let lens = lens(layer);
    let (weights, corrections) = lens.map_or((0, 0), |lens| (lens.weights, lens.corrections));
    let corrections = if input_zero_point == 0 {
        0
    } else {
        corrections
    };
    let sections = [
        weights,
        4 * layer.bias.len(),
        4 * layer.multipliers.len(),
        layer.multipliers.len(),
        4 * corrections,
        layer.activation.table_bytes(),
    ];
    let sections = sections.into_iter().filter(|&len| len > 0);
    sections.fold(at, |at, len| aligned(at) + len)
}

fn lines<'a>(spec: &ModelSpec<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    [spec.name, spec.dataset]
        .into_iter()
        .chain(spec.labels.iter().copied())
}

fn text_len(spec: &ModelSpec<'_>) -> usize {
    lines(spec).map(|line| line.len() + 1).sum::<usize>() - 1
}

/// Writes a file and returns its length.
///
/// *Errors*: a line break in a name, a number too large for its field, a buffer below
/// [`encoded_bytes`], and whatever [`Model::parse`](crate::Model::parse) finds wrong with
/// the result.
pub fn encode(spec: &ModelSpec<'_>, out: &mut [u8]) -> Result<usize, ModelError> {
    let (need_bytes, have_bytes) = (encoded_bytes(spec), out.len());
    let too_small = ModelError::BufferTooSmall {
        need_bytes,
        have_bytes,
    };
    let out = out.get_mut(..need_bytes).ok_or(too_small)?;
    if lines(spec).any(|line| line.contains('\n')) {
        return Err(ModelError::BadText);
    }
    let found = spec.layers.len();
    if found == 0 || found > MAX_LAYERS {
        return Err(ModelError::LayerCount { found });
    }
    out.fill(0);
    let text_at = record_at(found);
    let mut writer = Writer { out, at: text_at };
    for (i, line) in lines(spec).enumerate() {
        writer.push(if i > 0 { b"\n" } else { b"" });
        writer.push(line.as_bytes());
    }
    let mut zero_point = 0;
    for (i, layer) in spec.layers.iter().enumerate() {
        write_layer(&mut writer, (record_at(i), i), layer, zero_point)?;
        zero_point = layer.output.zero_point;
    }
    let u16_of = |v: usize| u16::try_from(v).map_err(|_| ModelError::BadText);
    writer.put(0, &MAGIC);
    writer.put(4, &VERSION.to_le_bytes());
    writer.put(6, &u16_of(found)?.to_le_bytes());
    writer.put_len(8, need_bytes)?;
    writer.put(16, &spec.latent_len.to_le_bytes());
    writer.put(18, &u16_of(spec.labels.len())?.to_le_bytes());
    writer.put(20, &spec.steps.to_le_bytes());
    writer.put(24, &spec.seed.to_le_bytes());
    writer.put_len(32, text_len(spec))?;
    writer.put_len(36, text_at)?;
    seal(writer.out)?;
    Ok(need_bytes)
}

/// Writes the checksum and reads the file back.
fn seal(out: &mut [u8]) -> Result<(), ModelError> {
    let crc = file_crc(out);
    if let Some(place) = out.get_mut(CRC_AT..CRC_AT + 4) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    crate::Model::parse(out).map(drop)
}

/// A file's bytes before its gate, or before its vetted seeds only.
fn without_gate(file: &[u8], keep_critic: bool) -> Result<&[u8], ModelError> {
    let at = gate_at(file)?;
    let critic = at.critic.filter(|_| !keep_critic);
    let end = critic.or(at.seeds).unwrap_or(file.len());
    file.get(..end).ok_or(ModelError::BadGate)
}

/// Writes `file` with other vetted seeds, `[classes][n]` in rising order, or with none, and
/// returns its length; a critic stays.
///
/// *Errors*: a file that is not a model, a number of seeds that is no multiple of its
/// classes, a buffer that is too small.
pub fn encode_seeds(file: &[u8], seeds: &[u32], out: &mut [u8]) -> Result<usize, ModelError> {
    let classes = crate::Model::parse(file)?.class_count().max(1);
    if !seeds.len().is_multiple_of(classes) {
        return Err(ModelError::BadGate);
    }
    let kept = without_gate(file, true)?;
    let need_bytes = match seeds {
        [] => kept.len(),
        _ => aligned(kept.len()) + 4 + 4 * seeds.len(),
    };
    let mut w = Writer::behind(kept, need_bytes, out)?;
    w.put(SEEDS_AT, &[0; 4]);
    if !seeds.is_empty() {
        w.section(SEEDS_AT)?;
        let each = seeds.len().checked_div(classes).unwrap_or(0);
        let each = u32::try_from(each).map_err(|_| ModelError::BadGate)?;
        w.push(&each.to_le_bytes());
        seeds.iter().for_each(|seed| w.push(&seed.to_le_bytes()));
    }
    seal(w.out)?;
    Ok(need_bytes)
}

/// Writes `file` with another critic, and returns its length; vetted seeds do not stay.
///
/// *Errors*: a file that is not a model, a critic that does not fit it, a buffer that is too
/// small.
pub fn encode_critic(
    file: &[u8],
    critic: &CriticSpec<'_>,
    out: &mut [u8],
) -> Result<usize, ModelError> {
    let model = crate::Model::parse(file)?;
    let zero_point = model
        .layers()
        .last()
        .map_or(0, |layer| layer.output.zero_point);
    let kept = without_gate(file, false)?;
    let [first, second] = &critic.layers;
    let head_at = aligned(kept.len());
    let head_end = head_at + CRITIC_LEN + 2 * RECORD_LEN;
    let end = end_of_layer(head_end, first, zero_point);
    let need_bytes = end_of_layer(end, second, first.output.zero_point);
    let mut w = Writer::behind(kept, need_bytes, out)?;
    w.put(SEEDS_AT, &[0; 4]);
    w.section(CRITIC_AT)?;
    w.push(&[u8::from(critic.halved)]);
    w.push(&critic.passing.to_le_bytes());
    w.at = head_end;
    let record = head_at + CRITIC_LEN;
    write_layer(&mut w, (record, 0), first, zero_point)?;
    let behind = record + RECORD_LEN;
    write_layer(&mut w, (behind, 1), second, first.output.zero_point)?;
    seal(w.out)?;
    Ok(need_bytes)
}

/// Writes the entry at `record`, and its sections; `index` is the layer's number in errors.
fn write_layer(
    w: &mut Writer<'_>,
    (record, index): (usize, usize),
    layer: &LayerSpec<'_>,
    input_zero_point: i8,
) -> Result<(), ModelError> {
    let bad_shape = ModelError::BadShape { layer: index };
    let lens = lens(layer).ok_or(bad_shape)?;
    let taps = match layer.op {
        Op::Dense => layer.input_shape.len(),
        Op::ConvTranspose(v) => v.kernel * v.kernel * layer.input_shape.c,
    };
    let given = (layer.bias.len(), layer.multipliers.len());
    if given != (lens.channels, lens.channels) || layer.weights.len() != taps * lens.channels {
        return Err(bad_shape);
    }
    let (op, window) = match layer.op {
        Op::Dense => (0, [0; 6]),
        Op::ConvTranspose(v) => (
            1,
            [
                v.kernel,
                v.stride,
                v.crop_top,
                v.crop_left,
                v.crop_bottom,
                v.crop_right,
            ],
        ),
    };
    let (act, [min, max]) = match layer.activation {
        Activation::Clamp { min, max } => (0, [min, max]),
        Activation::Table(_) => (1, [-128, 127]),
        Activation::WideTable(_) => (2, [-128, 127]),
    };
    let layout = match layer.weight_bits {
        WeightBits::Eight => LAYOUT_8,
        WeightBits::Four => LAYOUT_4,
    };
    w.put(record, &[op, layout, act]);
    for (i, value) in window.into_iter().enumerate() {
        w.put(
            record + 3 + i,
            &[u8::try_from(value).map_err(|_| bad_shape)?],
        );
    }
    for (i, v) in [min, max, layer.sum.zero_point, layer.output.zero_point]
        .iter()
        .enumerate()
    {
        w.put(record + 9 + i, &v.to_le_bytes());
    }
    let shapes = [layer.input_shape, layer.output_shape].map(|s| [s.h, s.w, s.c]);
    for (i, &value) in shapes.as_flattened().iter().enumerate() {
        let value = u16::try_from(value).map_err(|_| bad_shape)?;
        w.put(record + 16 + 2 * i, &value.to_le_bytes());
    }
    w.put(record + 28, &layer.sum.scale.to_le_bytes());
    w.put(record + 32, &layer.output.scale.to_le_bytes());
    w.section(record + 36)?;
    let weights_at = w.at;
    write_weights(w, layer).ok_or(ModelError::BadValue { layer: index })?;
    w.at += lens.weights;
    w.section(record + 40)?;
    layer.bias.iter().for_each(|v| w.push(&v.to_le_bytes()));
    w.section(record + 44)?;
    layer
        .multipliers
        .iter()
        .for_each(|m| w.push(&m.mantissa.to_le_bytes()));
    w.section(record + 48)?;
    layer
        .multipliers
        .iter()
        .for_each(|m| w.push(&m.shift.to_le_bytes()));
    if let (Op::ConvTranspose(window), false) = (layer.op, input_zero_point == 0) {
        w.section(record + 56)?;
        let channels = (layer.input_shape.c, layer.output_shape.c);
        for i in 0..lens.corrections {
            let (ky, r) = (
                i / channels.1 / window.stride,
                i / channels.1 % window.stride,
            );
            let weights = w.out.get(weights_at..).unwrap_or(&[]);
            let sum = layout::tap_sum(window, channels, (ky, r, i % channels.1), weights);
            w.push(&sum.wrapping_mul(-i32::from(input_zero_point)).to_le_bytes());
        }
    }
    let table = match layer.activation {
        Activation::Clamp { .. } => return Ok(()),
        Activation::Table(table) => table.as_slice(),
        Activation::WideTable(table) => table.as_flattened(),
    };
    w.section(record + 52)?;
    w.push(table);
    Ok(())
}

/// Puts each weight where [`layout`] says; `None` if one has more bits than the layer's.
fn write_weights(w: &mut Writer<'_>, layer: &LayerSpec<'_>) -> Option<()> {
    let (input, output) = (layer.input_shape, layer.output_shape);
    for (i, &weight) in layer.weights.iter().enumerate() {
        let at = match layer.op {
            Op::Dense => layout::dense_index(input, output, i / input.len(), i % input.len()),
            Op::ConvTranspose(v) => {
                let (c, tap) = (i % input.c, i / input.c);
                let (kx, ky) = (tap % v.kernel, tap / v.kernel % v.kernel);
                let o = tap / v.kernel / v.kernel;
                layout::conv_index(v, (input.c, output.c), (o, ky, kx, c))
            }
        };
        match layer.weight_bits {
            WeightBits::Eight => w.put(w.at + at, &weight.to_le_bytes()),
            WeightBits::Four if (-7..=7).contains(&weight) => {
                let place = w.out.get_mut(w.at + at / 16 * 8 + at % 8)?;
                *place |= (weight as u8 & 0xf) << (at / 8 % 2 * 4);
            }
            WeightBits::Four => return None,
        }
    }
    Some(())
}

/// A buffer and how far it is written.
struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl<'o> Writer<'o> {
    /// Begins behind a copy of `kept`, in a file of `need_bytes`.
    fn behind(kept: &[u8], need_bytes: usize, out: &'o mut [u8]) -> Result<Self, ModelError> {
        let have_bytes = out.len();
        let too_small = ModelError::BufferTooSmall {
            need_bytes,
            have_bytes,
        };
        let out = out.get_mut(..need_bytes).ok_or(too_small)?;
        out.fill(0);
        let mut writer = Self { out, at: 0 };
        writer.push(kept);
        writer.put_len(8, need_bytes)?;
        Ok(writer)
    }

    /// Writes at a fixed place; [`encoded_bytes`] made room for it.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.out.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn put_len(&mut self, at: usize, len: usize) -> Result<(), ModelError> {
        let have_bytes = self.out.len();
        let too_long = ModelError::WrongLength {
            need_bytes: len,
            have_bytes,
        };
        self.put(at, &u32::try_from(len).map_err(|_| too_long)?.to_le_bytes());
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) {
        self.put(self.at, bytes);
        self.at += bytes.len();
    }

    /// Begins a section and notes its offset at `field`.
    fn section(&mut self, field: usize) -> Result<(), ModelError> {
        self.at = aligned(self.at);
        self.put_len(field, self.at)
    }
}
