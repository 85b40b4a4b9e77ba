//! Writing a `.gan` file from a description of its model.

use crate::error::{CriticError, FileError, LayerError, ModelError, SeedsError, TooLarge};
use crate::fixed::Multiplier;
use crate::format::field::{activation, critic, entry, header, layout};
use crate::format::{MAGIC, VERSION, aligned, entry_at, file_crc, gate_at};
use crate::layout::nibble;
use crate::model::Model;
use crate::ops::{
    self, KernelShape, SectionLens, phase_places, section_lens, tap_sum, weight_index,
};
use crate::slice::part;
use crate::types::{Activation, Function, MAX_LAYERS, Op, Quant, Shape, WeightBits};

/// A model's description, to be written.
#[derive(Clone, Copy, Debug)]
pub struct ModelSpec<'a> {
    /// Name of the model, one line.
    pub name: &'a str,
    /// Name of the data that it was trained on, one line.
    pub dataset: &'a str,
    /// Names of the classes, a line each; none for a model without classes.
    pub labels: &'a [&'a str],
    /// Latent values, without the class.
    pub latent_len: u16,
    /// Training steps behind the weights.
    pub steps: u32,
    /// Seed of the training.
    pub seed: u64,
    /// Layers, the first one first.
    pub layers: &'a [LayerSpec<'a>],
}

/// A layer's description, to be written.
#[derive(Clone, Copy, Debug)]
pub struct LayerSpec<'a> {
    /// Operator.
    pub op: Op,
    /// `[1, 1, n]` for the first layer.
    pub input_shape: Shape,
    /// Shape of the output, which is the next layer's input.
    pub output_shape: Shape,
    /// `[c_out][k][k][c_in]` or `[n_out][n_in]`, each in the range of its bits.
    pub weights: &'a [i8],
    /// Bits of each weight.
    pub weight_bits: WeightBits,
    /// One bias for each output channel (transposed convolution) or value (dense).
    pub bias: &'a [i32],
    /// One multiplier for each bias.
    pub multipliers: &'a [Multiplier],
    /// Scale and zero point of the requantized sum, which the activation reads.
    pub pre_activation: Quant,
    /// Scale and zero point of the output: [`pre_activation`](Self::pre_activation) unless the
    /// activation is a table.
    pub output: Quant,
    /// Clamp or table.
    pub activation: Activation<'a>,
    /// The function that the clamp or table holds.
    pub function: Function,
}

/// A critic's description, to be written.
#[derive(Clone, Copy, Debug)]
pub struct CriticSpec<'a> {
    /// Flag of a critic that sees two by two pixels as one.
    pub halved: bool,
    /// The least score that passes.
    pub passing: i8,
    /// Both layers, dense, over `[1, 1, n]` as [`seen_shape`](crate::critic::seen_shape) has it.
    pub layers: [LayerSpec<'a>; 2],
}

fn lens(layer: &LayerSpec<'_>) -> Result<SectionLens, LayerError> {
    section_lens(
        layer.op,
        layer.weight_bits,
        layer.input_shape,
        layer.output_shape,
    )
}

/// Length of the file that [`encode`] will write.
pub fn encoded_bytes(spec: &ModelSpec<'_>) -> usize {
    let text = entry_at(spec.layers.len()) + text_len(spec);
    let zero_points = spec.layers.iter().map(|layer| layer.output.zero_point);
    let layers = spec.layers.iter().zip([0].into_iter().chain(zero_points));
    layers.fold(text, |at, (layer, zero_point)| {
        end_of_layer(at, layer, zero_point)
    })
}

/// The end of a layer's sections, which begin behind `at`.
fn end_of_layer(at: usize, layer: &LayerSpec<'_>, input_zero_point: i8) -> usize {
    let lens = lens(layer).map(|lens| [lens.weights, lens.zero_point_corrections]);
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
    let too_small = FileError::BufferTooSmall {
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
        return Err(FileError::LineCount { found, need }.into());
    }
    let found = spec.layers.len();
    if found == 0 || found > MAX_LAYERS {
        return Err(FileError::LayerCount { found }.into());
    }
    out.fill(0);
    let text_at = entry_at(found);
    let mut writer = Writer { out, at: text_at };
    for (i, line) in lines(spec).enumerate() {
        writer.push(if i > 0 { b"\n" } else { b"" });
        writer.push(line.as_bytes());
    }
    let mut zero_point = 0;
    for (index, layer) in spec.layers.iter().enumerate() {
        let written = write_layer(&mut writer, entry_at(index), layer, zero_point);
        written.map_err(|error| ModelError::Layer { index, error })?;
        zero_point = layer.output.zero_point;
    }
    write_header(&mut writer, spec)?;
    seal(writer.out)?;
    Ok(need_bytes)
}

/// Writes the header of a file that fills its buffer, but for the checksum.
fn write_header(w: &mut Writer<'_>, spec: &ModelSpec<'_>) -> Result<(), FileError> {
    let layer_count: u16 = fitting(spec.layers.len())?;
    let class_count: u16 = fitting(spec.labels.len())?;
    w.put(header::MAGIC.start, &MAGIC);
    w.put(header::VERSION.start, &VERSION.to_le_bytes());
    w.put(header::LAYER_COUNT.start, &layer_count.to_le_bytes());
    w.put_len(header::FILE_LEN.start, w.out.len())?;
    w.put(header::LATENT_LEN.start, &spec.latent_len.to_le_bytes());
    w.put(header::CLASS_COUNT.start, &class_count.to_le_bytes());
    w.put(header::STEPS.start, &spec.steps.to_le_bytes());
    w.put(header::SEED.start, &spec.seed.to_le_bytes());
    w.put_len(header::TEXT_LEN.start, text_len(spec))?;
    w.put_len(header::HEADER_LEN.start, entry_at(spec.layers.len()))?;
    Ok(())
}

/// A number in the type of its field.
fn fitting<T: TryFrom<usize>>(value: usize) -> Result<T, TooLarge> {
    T::try_from(value).map_err(|_| TooLarge(value))
}

/// Writes the checksum and reads the file back.
fn seal(out: &mut [u8]) -> Result<(), ModelError> {
    let crc = file_crc(out);
    if let Some(place) = out.get_mut(header::CRC32) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    Model::parse(out).map(drop)
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
    let class_count = Model::parse(file)?.class_count();
    let (classes, found) = (class_count.max(1), seeds.len());
    if !found.is_multiple_of(classes) {
        return Err(SeedsError::Count { found, class_count }.into());
    }
    let kept = without_gate(file, true);
    let need_bytes = match seeds {
        [] => kept.len(),
        _ => aligned(kept.len()) + 4 + 4 * seeds.len(),
    };
    let mut w = Writer::behind(kept, need_bytes, out)?;
    w.put(header::VETTED_SEEDS.start, &[0; 4]);
    if !seeds.is_empty() {
        w.section(header::VETTED_SEEDS.start)?;
        let each = seeds.len().checked_div(classes).unwrap_or(0);
        let each: u32 = fitting(each)?;
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
    let model = Model::parse(file)?;
    let zero_point = model
        .layers()
        .last()
        .map_or(0, |layer| layer.output.zero_point);
    let kept = without_gate(file, false);
    let [first, second] = &critic.layers;
    let head_at = aligned(kept.len());
    let head_end = head_at + critic::LEN + 2 * entry::LEN;
    let end = end_of_layer(head_end, first, zero_point);
    let need_bytes = end_of_layer(end, second, first.output.zero_point);
    let mut w = Writer::behind(kept, need_bytes, out)?;
    w.put(header::VETTED_SEEDS.start, &[0; 4]);
    w.section(header::CRITIC.start)?;
    w.push(&[u8::from(critic.halved)]);
    w.push(&critic.passing.to_le_bytes());
    w.at = head_end;
    let zero_points = [zero_point, first.output.zero_point];
    for (index, (layer, zero_point)) in critic.layers.iter().zip(zero_points).enumerate() {
        let record = head_at + critic::LEN + entry::LEN * index;
        let written = write_layer(&mut w, record, layer, zero_point);
        written.map_err(|error| CriticError::Layer { index, error })?;
    }
    seal(w.out)?;
    Ok(need_bytes)
}

/// Writes the entry at `at`, and its sections.
fn write_layer(
    w: &mut Writer<'_>,
    at: usize,
    layer: &LayerSpec<'_>,
    input_zero_point: i8,
) -> Result<(), LayerError> {
    write_entry(w, at, layer)?;
    let lens = lens(layer)?;
    let weights = KernelShape::of(layer.op, layer.input_shape, layer.output_shape).len();
    let given = (layer.bias.len(), layer.multipliers.len());
    if given != (lens.channels, lens.channels) || layer.weights.len() != weights {
        return Err(LayerError::NumberCount);
    }
    write_shapes(w, at, layer)?;
    w.section(at + entry::WEIGHTS.start)?;
    let weights_at = w.at;
    write_weights(w, layer)?;
    w.at += lens.weights as usize;
    w.section(at + entry::BIASES.start)?;
    layer.bias.iter().for_each(|v| w.push(&v.to_le_bytes()));
    let multipliers = layer.multipliers.iter();
    w.section(at + entry::MANTISSAS.start)?;
    multipliers
        .clone()
        .for_each(|m| w.push(&m.mantissa.to_le_bytes()));
    w.section(at + entry::SHIFTS.start)?;
    multipliers.for_each(|m| w.push(&m.shift.to_le_bytes()));
    match layer.op {
        Op::ConvTranspose(window) if input_zero_point != 0 => {
            w.section(at + entry::ZERO_POINT_CORRECTIONS.start)?;
            let (c_in, c_out) = (layer.input_shape.c, layer.output_shape.c);
            for place in phase_places(window, c_out) {
                let weights = part(w.out, weights_at..);
                let sum = tap_sum(window, c_in, c_out, place, weights);
                w.push(&sum.wrapping_mul(-i32::from(input_zero_point)).to_le_bytes());
            }
        }
        Op::Dense | Op::ConvTranspose(_) => {}
    }
    let table = match layer.activation {
        Activation::Clamp { .. } => return Ok(()),
        Activation::Lut8(table) => table.as_slice(),
        Activation::Lut16(table) => table.as_flattened(),
    };
    w.section(at + entry::TABLE.start)?;
    w.push(table);
    Ok(())
}

/// Writes the fields of the entry at `at`, but for shapes and the sections' offsets.
fn write_entry(w: &mut Writer<'_>, at: usize, layer: &LayerSpec<'_>) -> Result<(), TooLarge> {
    let (op, window) = ops::to_code(layer.op);
    let (activation, clamp) = match layer.activation {
        Activation::Clamp { min, max } => (activation::CLAMP, [min, max]),
        Activation::Lut8(_) => (activation::LUT8, [i8::MIN, i8::MAX]),
        Activation::Lut16(_) => (activation::LUT16, [i8::MIN, i8::MAX]),
    };
    let layout = match layer.weight_bits {
        WeightBits::Eight => layout::EIGHT_BITS,
        WeightBits::Four => layout::FOUR_BITS,
    };
    let (function, slope) = layer.function.to_code();
    w.put(at + entry::FUNCTION.start, &[function]);
    w.put(at + entry::SLOPE.start, &slope.to_le_bytes());
    w.put(at + entry::OPERATOR.start, &[op]);
    w.put(at + entry::LAYOUT.start, &[layout]);
    w.put(at + entry::ACTIVATION.start, &[activation]);
    for (i, value) in window.into_iter().enumerate() {
        let byte: u8 = fitting(value)?;
        w.put(at + entry::WINDOW.start + i, &[byte]);
    }
    w.put(at + entry::CLAMP.start, &clamp.map(i8::cast_unsigned));
    let (pre_activation, output) = (layer.pre_activation, layer.output);
    w.put(
        at + entry::PRE_ACTIVATION_ZERO_POINT.start,
        &pre_activation.zero_point.to_le_bytes(),
    );
    w.put(
        at + entry::OUTPUT_ZERO_POINT.start,
        &output.zero_point.to_le_bytes(),
    );
    w.put(
        at + entry::PRE_ACTIVATION_SCALE.start,
        &pre_activation.scale.to_le_bytes(),
    );
    w.put(at + entry::OUTPUT_SCALE.start, &output.scale.to_le_bytes());
    Ok(())
}

fn write_shapes(w: &mut Writer<'_>, at: usize, layer: &LayerSpec<'_>) -> Result<(), TooLarge> {
    for (field, shape) in [
        (entry::INPUT_SHAPE, layer.input_shape),
        (entry::OUTPUT_SHAPE, layer.output_shape),
    ] {
        for (i, value) in [shape.h, shape.w, shape.c].into_iter().enumerate() {
            let side: u16 = fitting(value)?;
            w.put(at + field.start + 2 * i, &side.to_le_bytes());
        }
    }
    Ok(())
}

/// Puts each weight where [`layout`](crate::layout) says. *Errors*: one with too many bits.
fn write_weights(w: &mut Writer<'_>, layer: &LayerSpec<'_>) -> Result<(), LayerError> {
    let (op, input, output) = (layer.op, layer.input_shape, layer.output_shape);
    let shape = KernelShape::of(op, input, output);
    for (index, &weight) in layer.weights.iter().enumerate() {
        let at = weight_index(op, input, output, shape.place(index));
        match layer.weight_bits {
            WeightBits::Eight => w.put(w.at + at, &weight.to_le_bytes()),
            WeightBits::Four if (-7..=7).contains(&weight) => {
                let (byte, shift) = nibble(at);
                let place = w
                    .out
                    .get_mut(w.at + byte)
                    .ok_or(LayerError::Weight { index })?;
                *place |= (weight as u8 & 0xf) << shift;
            }
            WeightBits::Four => return Err(LayerError::Weight { index }),
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
    fn behind(kept: &[u8], need_bytes: usize, out: &'o mut [u8]) -> Result<Self, FileError> {
        let have_bytes = out.len();
        let too_small = FileError::BufferTooSmall {
            need_bytes,
            have_bytes,
        };
        let out = out.get_mut(..need_bytes).ok_or(too_small)?;
        out.fill(0);
        let mut writer = Self { out, at: 0 };
        writer.push(kept);
        // A file of version 3 is one of version 4 whose functions are not named.
        writer.put(header::VERSION.start, &VERSION.to_le_bytes());
        writer.put_len(header::FILE_LEN.start, need_bytes)?;
        Ok(writer)
    }

    /// Writes at a fixed place; [`encoded_bytes`] made room for it.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.out.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn put_len(&mut self, at: usize, len: usize) -> Result<(), TooLarge> {
        self.put(at, &fitting::<u32>(len)?.to_le_bytes());
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) {
        self.put(self.at, bytes);
        self.at += bytes.len();
    }

    /// Begins a section and notes its offset at `field`.
    fn section(&mut self, field: usize) -> Result<(), TooLarge> {
        self.at = aligned(self.at);
        self.put_len(field, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::{LayerSpec, ModelSpec, encode, encode_seeds, encoded_bytes};
    use crate::error::{FileError, LayerError, ModelError, SeedsError};
    use crate::fixed::Multiplier;
    use crate::model::Model;
    use crate::types::{Activation, Function, Op, Quant, Shape, WeightBits};

    const RICH: &[u8] = include_bytes!("../fuzz/seeds/rich.gan");
    const HALF: Multiplier = Multiplier {
        mantissa: 1 << 30,
        shift: 0,
    };
    const QUANT: Quant = Quant {
        scale: 0.25,
        zero_point: 0,
    };
    const LAYER: LayerSpec<'_> = LayerSpec {
        op: Op::Dense,
        input_shape: Shape { h: 1, w: 1, c: 2 },
        output_shape: Shape { h: 1, w: 1, c: 3 },
        weights: &[1, -2, 3, -4, 5, -6],
        weight_bits: WeightBits::Eight,
        bias: &[7, 8, 9],
        multipliers: &[HALF; 3],
        pre_activation: QUANT,
        output: QUANT,
        activation: Activation::Lut8(&[5; 256]),
        function: Function::LeakyRelu { slope: 0.2 },
    };

    fn written(layer: LayerSpec<'_>) -> Result<Vec<u8>, ModelError> {
        let spec = ModelSpec {
            name: "one",
            dataset: "none",
            labels: &[],
            latent_len: 2,
            steps: 3,
            seed: 4,
            layers: &[layer],
        };
        let mut bytes = vec![0xAA; encoded_bytes(&spec)];
        assert_eq!(encode(&spec, &mut bytes)?, bytes.len());
        Ok(bytes)
    }

    #[test]
    fn a_layer_is_read_back_as_it_was_described() {
        for weight_bits in [WeightBits::Eight, WeightBits::Four] {
            let bytes = written(LayerSpec {
                weight_bits,
                ..LAYER
            })
            .unwrap();
            let model = Model::parse(&bytes).unwrap();
            let layer = model.layers().first().unwrap();
            assert!(layer.weights().eq(LAYER.weights.iter().copied()));
            let channels = LAYER.bias.iter().copied().zip([HALF; 3]);
            assert!(layer.channels(0).eq(channels));
            assert_eq!(
                (layer.function, layer.activation),
                (LAYER.function, LAYER.activation)
            );
            assert_eq!((layer.pre_activation, layer.output), (QUANT, QUANT));
            assert_eq!(layer.parameter_count(), 9);
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_its_layer() {
        let error = |layer| written(layer).err();
        let of = |error| Some(ModelError::Layer { index: 0, error });
        let eight = LayerSpec {
            weights: &[1, 2, 3, 8, 5, 6],
            weight_bits: WeightBits::Four,
            ..LAYER
        };
        assert_eq!(error(eight), of(LayerError::Weight { index: 3 }));
        let few = LayerSpec {
            bias: &[1],
            ..LAYER
        };
        assert_eq!(error(few), of(LayerError::NumberCount));
        let function = Function::Relu;
        assert_eq!(
            error(LayerSpec { function, ..LAYER }),
            of(LayerError::Function)
        );
        let function = Function::LeakyRelu { slope: 1.0 };
        assert_eq!(
            error(LayerSpec { function, ..LAYER }),
            of(LayerError::Slope)
        );
    }

    #[test]
    fn seeds_can_be_taken_out_and_put_back() {
        let mut bare = vec![0; RICH.len()];
        let len = encode_seeds(RICH, &[], &mut bare).unwrap();
        assert_eq!(Model::parse(&bare[..len]).unwrap().vetted_count(), 0);
        let mut again = vec![0; RICH.len()];
        let seeds = [3, 9, 70, 5, 6, 4_000_000_000];
        assert_eq!(
            encode_seeds(&bare[..len], &seeds, &mut again),
            Ok(RICH.len())
        );
        assert!(again == RICH, "other bytes");
        let error = encode_seeds(RICH, &seeds[..5], &mut again);
        let (found, class_count) = (5, 2);
        assert_eq!(error, Err(SeedsError::Count { found, class_count }.into()));
        let (need_bytes, have_bytes) = (RICH.len(), 0);
        let error = FileError::BufferTooSmall {
            need_bytes,
            have_bytes,
        };
        assert_eq!(encode_seeds(RICH, &seeds, &mut []), Err(error.into()));
    }
}
