//! Writing.

use super::read::gate_at;
use super::{
    CRC_AT, CRITIC_AT, CRITIC_LEN, CriticSpec, LAYOUT_4, LAYOUT_8, LayerSpec, MAGIC, MAX_LAYERS,
    ModelSpec, RECORD_LEN, SEEDS_AT, VERSION, aligned, file_crc, record_at,
};
use crate::error::ModelError;
use crate::layout;
use crate::model::{Activation, Op, WeightBits};

fn lens(index: usize, layer: &LayerSpec<'_>) -> Result<layout::Lens, ModelError> {
    layout::lens(
        index,
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
    let lens = lens(0, layer).map(|lens| [lens.weights, lens.corrections]);
    // No file is as long, and the sum of a few does not overflow.
    let fit = |len: u64| len.min(u64::from(u32::MAX)) as usize;
    let [weights, corrections] = lens.map_or([0; 2], |lens| lens.map(fit));
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
    let breaks = lines(spec)
        .flat_map(str::bytes)
        .filter(|&byte| byte == b'\n');
    let (need, breaks) = (2 + spec.labels.len(), breaks.count());
    if breaks > 0 {
        let found = need + breaks;
        return Err(ModelError::LineCount { found, need });
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
    let u16_of = |value: usize| u16::try_from(value).map_err(|_| ModelError::TooLarge { value });
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
fn without_gate(file: &[u8], keep_critic: bool) -> &[u8] {
    let at = gate_at(file);
    let critic = at.critic.filter(|_| !keep_critic);
    let end = critic.or(at.seeds).unwrap_or(file.len());
    file.get(..end).unwrap_or(file)
}

/// Writes `file` with other vetted seeds, `[classes][n]` in rising order, or with none, and
/// returns its length; a critic stays.
///
/// *Errors*: a file that is not a model, a number of seeds that is no multiple of its
/// classes, a buffer that is too small.
pub fn encode_seeds(file: &[u8], seeds: &[u32], out: &mut [u8]) -> Result<usize, ModelError> {
    let class_count = crate::Model::parse(file)?.class_count();
    let (classes, found) = (class_count.max(1), seeds.len());
    if !found.is_multiple_of(classes) {
        return Err(ModelError::SeedCount { found, class_count });
    }
    let kept = without_gate(file, true);
    let need_bytes = match seeds {
        [] => kept.len(),
        _ => aligned(kept.len()) + 4 + 4 * seeds.len(),
    };
    let mut w = Writer::behind(kept, need_bytes, out)?;
    w.put(SEEDS_AT, &[0; 4]);
    if !seeds.is_empty() {
        w.section(SEEDS_AT)?;
        let each = seeds.len().checked_div(classes).unwrap_or(0);
        let each = u32::try_from(each).map_err(|_| ModelError::TooLarge { value: each })?;
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
    let number = model.layers().len();
    let zero_point = model
        .layers()
        .last()
        .map_or(0, |layer| layer.output.zero_point);
    let kept = without_gate(file, false);
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
    write_layer(&mut w, (record, number), first, zero_point)?;
    let behind = record + RECORD_LEN;
    write_layer(
        &mut w,
        (behind, number + 1),
        second,
        first.output.zero_point,
    )?;
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
    let too_large = |value| ModelError::TooLarge { value };
    w.put(record, &[op, layout, act]);
    for (i, value) in window.into_iter().enumerate() {
        let value = u8::try_from(value).map_err(|_| too_large(value))?;
        w.put(record + 3 + i, &[value]);
    }
    let lens = lens(index, layer)?;
    let taps = match layer.op {
        Op::Dense => layer.input_shape.len(),
        Op::ConvTranspose(v) => v.kernel * v.kernel * layer.input_shape.c,
    };
    let given = (layer.bias.len(), layer.multipliers.len());
    if given != (lens.channels, lens.channels) || layer.weights.len() != taps * lens.channels {
        return Err(ModelError::NumberCount { layer: index });
    }
    for (i, v) in [min, max, layer.sum.zero_point, layer.output.zero_point]
        .iter()
        .enumerate()
    {
        w.put(record + 9 + i, &v.to_le_bytes());
    }
    let shapes = [layer.input_shape, layer.output_shape].map(|s| [s.h, s.w, s.c]);
    for (i, &value) in shapes.as_flattened().iter().enumerate() {
        let value = u16::try_from(value).map_err(|_| too_large(value))?;
        w.put(record + 16 + 2 * i, &value.to_le_bytes());
    }
    w.put(record + 28, &layer.sum.scale.to_le_bytes());
    w.put(record + 32, &layer.output.scale.to_le_bytes());
    w.section(record + 36)?;
    let weights_at = w.at;
    write_weights(w, layer).map_err(|index_of| ModelError::Weight {
        layer: index,
        index: index_of,
    })?;
    w.at += lens.weights as usize;
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
        for i in 0..lens.corrections as usize {
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

/// Puts each weight where [`layout`] says. *Errors*: the number of one with too many bits.
fn write_weights(w: &mut Writer<'_>, layer: &LayerSpec<'_>) -> Result<(), usize> {
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
                let place = w.out.get_mut(w.at + at / 16 * 8 + at % 8).ok_or(i)?;
                *place |= (weight as u8 & 0xf) << (at / 8 % 2 * 4);
            }
            WeightBits::Four => return Err(i),
        }
    }
    Ok(())
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
